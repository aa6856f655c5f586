/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one table of capabilities per role. Apart from priv.c, because the supervisor reads it too
 * and links no capability library.
 */
#include "config.h"
#include "daemon/priv.h"

#include <linux/capability.h>

#define CAP(x) (1ULL << CAP_##x)

const struct priv_caps *
priv_caps_of(enum role r)
{
	static const struct priv_caps caps[ROLE_COUNT_] = {
		[ROLE_WARDEN] = { CAP(NET_ADMIN) | CAP(SYS_ADMIN) | CAP(NET_RAW) | CAP(SYS_PTRACE) |
				      CAP(DAC_READ_SEARCH),
		    0, true },
		[ROLE_RELAY] = { CAP(DAC_READ_SEARCH), 0, true },
		[ROLE_CAPTURE] = { 0, CAP(NET_RAW), false },
	};

	return &caps[r];
}
