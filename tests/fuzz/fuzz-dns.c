/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input: a DNS message. */
#include "rules/dns.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_message m;
	int r = dns_parse(data, size, &m);

	if (r < 0) {
		if (r != -EBADMSG && r != -ENODATA)
			abort();
		return 0;
	}
	if (strlen(m.name) >= DNS_NAME_MAX || m.n_addrs > DNS_MAX_ADDRS)
		abort();
	if (m.n_addrs > 0 && (!m.response || m.rcode != 0))
		abort();
	for (const char *p = m.name; *p != '\0'; p++)
		if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", *p) == NULL)
			abort();
	for (size_t i = 0; i < m.n_addrs; i++)
		if (m.addrs[i].family != m.addrs[0].family)
			abort();
	return 0;
}
