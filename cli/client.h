/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP over the daemon's unix socket. Whatever goes wrong is reported here, in a sentence, and
 * comes back as the exit code; CLI_OK means *ret holds a value. Answers are bounded in size and
 * time.
 */
#ifndef NANOSEG_CLI_CLIENT_H
#define NANOSEG_CLI_CLIENT_H

#include "cli/cli.h"

#define CLIENT_MAX_ANSWER (64u << 20)
#define CLIENT_MAX_LINE (1u << 20)

int client_get(const struct cli *cli, const char *path, json_t **ret);
/* The answer as it is: malloc'ed, with a NUL behind it. */
int client_get_bytes(const struct cli *cli, const char *path, char **ret, size_t *ret_len);
/*
 * Body is sent as it is. file: what the body came from, for the place of a mistake in it; or NULL.
 */
int client_post(const struct cli *cli, const char *path, const char *type, const char *body,
    size_t len, const char *file, json_t **ret);
/* Posts a value, which it takes over, as JSON. */
int client_post_json(const struct cli *cli, const char *path, json_t *body, json_t **ret);
/* Each line of a stream, until it ends: a negative return of line stops. Never CLI_OK. */
typedef int (*client_line_fn)(void *arg, const json_t *value);
int client_follow(const struct cli *cli, const char *path, client_line_fn line, void *arg);

/* A path with query arguments: name, value, name, value, NULL; those with a NULL value are left
 * out. malloc'ed, or NULL without memory. */
char *client_path(const char *path, ...) __attribute__((sentinel));

#endif
