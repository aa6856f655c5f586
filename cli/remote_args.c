/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a host may be called, and how ssh is told. Pure. */
#include "cli/remote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static int
refuse(struct diag *d, const char *what)
{
	diag_set(d, 0, 0, "-H: %s; expected ssh://[USER@]HOST[:PORT][/SOCKET]", what);
	return -EINVAL;
}

/* The first n bytes of text, which are all of these and do not begin like an option. */
static bool
take(const char *text, size_t n, const char *chars, char *ret, size_t size)
{
	if (n == 0 || n >= size || text[0] == '-' || strspn(text, chars) < n)
		return false;
	memcpy(ret, text, n);
	ret[n] = '\0';
	return true;
}

static bool
take_port(const char *text, size_t n, char ret[static 6])
{
	unsigned value = 0;

	if (!take(text, n, DIGITS, ret, 6))
		return false;
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	return value > 0 && value < 65536;
}

/* HOST, or [IPv6], and a port behind it. */
static int
take_host(const char *text, size_t n, struct remote *r, struct diag *d)
{
	const char *end = text + n, *close = text[0] == '[' ? memchr(text, ']', n) : NULL, *colon;

	if (close != NULL) {
		if (!take(text + 1, (size_t)(close - text) - 1, DIGITS "abcdefABCDEF:.%" LETTERS,
			r->host, sizeof(r->host)))
			return refuse(d, "not an address in the brackets");
		colon = close + 1 < end ? close + 1 : NULL;
		if (colon != NULL && *colon != ':')
			return refuse(d, "something stands behind the bracket");
	} else {
		colon = memchr(text, ':', n);
		if (!take(text, (size_t)((colon != NULL ? colon : end) - text),
			LETTERS DIGITS "._-", r->host, sizeof(r->host)))
			return refuse(d, "not the name of a host");
	}
	if (colon != NULL && !take_port(colon + 1, (size_t)(end - colon) - 1, r->port))
		return refuse(d, "not a port");
	return 0;
}

int
remote_parse(const char *text, const char *fallback, struct remote *ret, struct diag *d)
{
	static const char scheme[] = "ssh://";
	struct remote r = { .user = "" };
	const char *path, *at;
	size_t n;
	int e;

	if (strncmp(text, scheme, sizeof(scheme) - 1) != 0)
		return refuse(d, "only ssh is known");
	text += sizeof(scheme) - 1;
	path = strchr(text, '/');
	n = path != NULL ? (size_t)(path - text) : strlen(text);
	at = memchr(text, '@', n);
	if (at != NULL) {
		if (!take(text, (size_t)(at - text), LETTERS DIGITS "._-", r.user, sizeof(r.user)))
			return refuse(d, "not the name of a user");
		n -= (size_t)(at - text) + 1;
		text = at + 1;
	}
	e = take_host(text, n, &r, d);
	if (e < 0)
		return e;
	if (path == NULL || path[1] == '\0')
		path = fallback;
	/* ssh parts its argument at colons, and expands a percent sign. */
	if (!take(path, strlen(path), LETTERS DIGITS "/._-+@", r.path, sizeof(r.path)) ||
	    r.path[0] != '/')
		return refuse(d, "not the path of a socket");
	*ret = r;
	return 0;
}

void
remote_args(const struct remote *r, const char *forward, const char *ret[REMOTE_ARGS_MAX])
{
	/* A connection of its own: one that is shared would outlive us, and forward for others. */
	static const char *const fixed[] = { "ssh", "-N", "-T", "-o", "ExitOnForwardFailure=yes",
		"-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ClearAllForwardings=no",
		"-o", "StreamLocalBindMask=0177" };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		ret[n++] = fixed[i];
	if (r->port[0] != '\0') {
		ret[n++] = "-p";
		ret[n++] = r->port;
	}
	if (r->user[0] != '\0') {
		ret[n++] = "-l";
		ret[n++] = r->user;
	}
	ret[n++] = "-L";
	ret[n++] = forward;
	ret[n++] = "--";
	ret[n++] = r->host;
	ret[n] = NULL;
}
