/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A log from strangers: each line is a record or it is not, and what is one can be read. */
#include "rules/audit.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct audit_chain c = { 0 };
	size_t at = 0;
	struct diag d;

	while (at < size) {
		const char *end = memchr(text + at, '\n', size - at);
		size_t len = end != NULL ? (size_t)(end - text) - at : size - at;
		json_t *o = NULL;
		int r = audit_chain_line(&c, text + at, len, &d, &o);

		if ((r == 0) != (o != NULL) ||
		    (r == 0 && (c.seq == 0 || strlen(c.hash) != AUDIT_HASH_STRLEN - 1)))
			__builtin_trap();
		json_decref(o);
		at += len + 1;
	}
	audit_chain_end(&c, &d);
	return 0;
}
