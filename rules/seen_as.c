/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/seen_as.h"

#include "rules/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MORE 0x80 /* in the first byte, beside their number */

void
seen_as_free(struct seen_as *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i].name);
	free(s);
}

static void
seen_as_freep(struct seen_as **s)
{
	seen_as_free(*s);
}

int
seen_as_add(struct seen_as *s, const struct server_name *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].kind == name->kind && strcmp(s->v[i].name, name->name) == 0)
			return 0;
	if (s->n == SEEN_AS_NAMES) {
		s->more = true;
		return -ENOSPC;
	}
	s->v[s->n].name = strdup(name->name);
	if (s->v[s->n].name == NULL)
		return -ENOMEM;
	s->v[s->n++].kind = (uint8_t)name->kind;
	return 1;
}

size_t
seen_as_write(const struct seen_as *s, uint8_t buf[static SEEN_AS_BYTES_MAX])
{
	uint8_t *p = buf;

	*p++ = (uint8_t)(s->n | (s->more ? MORE : 0));
	for (size_t i = 0; i < s->n; i++) {
		size_t len = strlen(s->v[i].name);

		*p++ = s->v[i].kind;
		*p++ = (uint8_t)len;
		memcpy(p, s->v[i].name, len);
		p += len;
	}
	return (size_t)(p - buf);
}

int
seen_as_read(const uint8_t *buf, size_t len, struct seen_as **ret)
{
	_cleanup_(seen_as_freep) struct seen_as *s = calloc(1, sizeof(*s));
	struct server_name name;
	size_t at = 1, n;
	int r;

	if (s == NULL)
		return -ENOMEM;
	if (len == 0)
		return -EBADMSG;
	for (unsigned i = 0; i < (buf[0] & ~MORE); i++) {
		if (len - at < 2 || len - at - 2 < buf[at + 1])
			return -EBADMSG;
		n = buf[at + 1];
		if (server_name_kind(buf[at]) == NULL || n >= sizeof(name.name))
			return -EBADMSG;
		name.kind = buf[at];
		memcpy(name.name, buf + at + 2, n);
		name.name[n] = '\0';
		r = strlen(name.name) == n && server_name_valid(name.name) ? seen_as_add(s, &name)
									   : -EBADMSG;
		if (r != 1)
			return r == -ENOMEM ? r : -EBADMSG;
		at += 2 + n;
	}
	if (at != len)
		return -EBADMSG;
	s->more = (buf[0] & MORE) != 0;
	*ret = steal_ptr(s);
	return 0;
}
