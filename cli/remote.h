/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -H ssh://[USER@]HOST[:PORT][/SOCKET]: the daemon of another machine, by ssh's own forwarding of
 * its socket to one of ours. Nothing runs over there but sshd, as the user that logs in: who that
 * is to the daemon, the daemon's own rules say. ssh gets a fixed list of arguments, never a shell's
 * line.
 */
#ifndef NANOSEG_CLI_REMOTE_H
#define NANOSEG_CLI_REMOTE_H

#include "rules/util.h"

#include <stdbool.h>

struct remote {
	char user[33], host[256], port[6], path[108]; /* user and port: "" if not given */
};

/* The text as above; fallback is the path where it has none. 0, or -EINVAL with a sentence. */
int remote_parse(const char *text, const char *fallback, struct remote *ret, struct diag *d);

#define REMOTE_ARGS_MAX 24
/* ssh's arguments, NULL-terminated; forward is "LOCAL:REMOTE". Borrowed from both. */
void remote_args(const struct remote *r, const char *forward, const char *ret[REMOTE_ARGS_MAX]);

/*
 * Starts ssh and waits until the socket is there, at most timeout_s. *ret_socket is static and gone
 * when the program ends, as ssh is. CLI_OK, or an exit code, said.
 */
int remote_open(const struct remote *r, unsigned timeout_s, const char **ret_socket);

#endif
