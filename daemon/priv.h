/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a role program does before anything else: its arguments and its privileges. Free of the
 * event library, for the keeper.
 */
#ifndef NANOSEG_DAEMON_PRIV_H
#define NANOSEG_DAEMON_PRIV_H

#include "daemon/proto.h"

#include <stdbool.h>
#include <sys/types.h>

#define ROLE_CONTROL_FD 3

const char *role_name(enum role r); /* "warden" */

/* Arguments every role takes: --instance HEX8 --uid N --gid N --log LEVEL; the rest is its own. */
struct role_args {
	char instance[16];
	uid_t uid;
	gid_t gid;
};

/* Parses the common arguments, removes them from argv; exits with usage on an error. */
void role_parse_args(enum role r, int *argc, char **argv, struct role_args *ret);
/* True if text is exactly 8 lower-case hexadecimal digits. */
bool role_instance_valid(const char *text);

/* Bits 1 << CAP_*. root: uid 0, otherwise uid 0 is refused. */
struct priv_caps {
	uint64_t caps;
	uint64_t opening; /* kept by priv_drop_opening() */
	bool root;
};

const struct priv_caps *priv_caps_of(enum role r);

/*
 * Drops to what the role may have (the table in daemon/privtab.c): uid, gid, supplementary groups,
 * capabilities in every set, the bounding set, no_new_privs, dumpable off, umask 077. uid and gid
 * are given by the supervisor. Exits the process with a sentence on any failure.
 */
void priv_drop(enum role r, uid_t uid, gid_t gid);
/*
 * The same but for the capabilities that a role needs to open something first (capture: NET_RAW for
 * its libpcap handle). priv_drop() must follow.
 */
void priv_drop_opening(enum role r, uid_t uid, gid_t gid);
/* The role's seccomp filter (daemon/seccomp.c). A no-op, said in the log, under sanitizers. */
void priv_seccomp(enum role r);

#endif
