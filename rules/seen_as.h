/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of servers that connections of an edge carried (rules/server_name.h): labels, the first
 * few. It only grows.
 */
#ifndef NANOSEG_RULES_SEEN_AS_H
#define NANOSEG_RULES_SEEN_AS_H

#include "rules/server_name.h"

#define SEEN_AS_NAMES 4
#define SEEN_AS_BYTES_MAX (1 + SEEN_AS_NAMES * (2 + SERVER_NAME_MAX))

struct seen_as {
	uint8_t n;
	bool more; /* there were others */
	struct {
		uint8_t kind;
		char *name;
	} v[SEEN_AS_NAMES];
};

void seen_as_free(struct seen_as *s);
/* 1: it is new. 0: it was there. -ENOSPC: there is no room for it, which is noted. -ENOMEM. */
int seen_as_add(struct seen_as *s, const struct server_name *name);

/* For the store. Its length. */
size_t seen_as_write(const struct seen_as *s, uint8_t buf[static SEEN_AS_BYTES_MAX]);
/* Of its own memory. 0, -EBADMSG or -ENOMEM. */
int seen_as_read(const uint8_t *buf, size_t len, struct seen_as **ret);

#endif
