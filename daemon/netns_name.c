/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/netns_name.h"

#include "rules/util.h"

#include <fnmatch.h>
#include <string.h>

#define UUID "XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX"

/* Docker's: the host's namespace, and Swarm's. */
static const char *const plumbing[] = { "default", "ingress_sbox", "1-*", "lb_*" };
/* containerd's and Podman's; CRI-O and Nomad have the bare UUID. */
static const char *const prefixes[] = { "netns-", "cni-", "" };

bool
netns_name_is_plumbing(const char *basename)
{
	for (size_t k = 0; k < ARRAY_SIZE(plumbing); k++)
		if (fnmatch(plumbing[k], basename, 0) == 0)
			return true;
	return false;
}

static bool
is_uuid(const char *s)
{
	const char *form = UUID;

	for (; *form != '\0'; form++, s++)
		if (*form == '-' ? *s != '-' : *s == '\0' || strchr("0123456789abcdef", *s) == NULL)
			return false;
	return *s == '\0';
}

bool
netns_name_is_engines(const char *basename)
{
	for (size_t k = 0; k < ARRAY_SIZE(prefixes); k++) {
		size_t n = strlen(prefixes[k]);

		if (strncmp(basename, prefixes[k], n) == 0 && is_uuid(basename + n))
			return true;
	}
	return false;
}
