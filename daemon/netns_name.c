/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/netns_name.h"

#include "rules/util.h"

#include <fnmatch.h>
#include <string.h>

#define UUID_LEN 36

/* Docker's: the host's namespace, and Swarm's. */
static const char *const plumbing[] = { "default", "ingress_sbox", "1-*", "lb_*" };
static const char *const prefixes[] = { "netns-", "cni-" };

bool
netns_name_is_plumbing(const char *basename)
{
	for (size_t k = 0; k < ARRAY_SIZE(plumbing); k++)
		if (fnmatch(plumbing[k], basename, 0) == 0)
			return true;
	return false;
}

bool
netns_name_is_engines(const char *basename)
{
	for (size_t k = 0; k < ARRAY_SIZE(prefixes); k++) {
		size_t n = strlen(prefixes[k]);

		if (strncmp(basename, prefixes[k], n) == 0 && strlen(basename + n) == UUID_LEN &&
		    strspn(basename + n, "0123456789abcdef-") == UUID_LEN)
			return true;
	}
	return false;
}
