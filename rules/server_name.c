/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hello may be cut into several records and several segments. The records of one segment are put
 * together; the next segment is another packet, and nothing is kept between packets: what is here
 * of the extensions is read as far as it goes.
 */
#include "rules/server_name.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

enum {
	RECORD_HANDSHAKE = 22,
	RECORD_HEADER = 5,
	RECORD_MAX = 16384,
	HELLO_CLIENT = 1,
	EXT_SERVER_NAME = 0,
	NAME_HOST = 0,
	LABEL_MAX = 63,
};

struct cursor {
	const uint8_t *p;
	size_t left;
};

/* A number of so many bytes, big end first; false: it is not all here. */
static bool
take_number(struct cursor *c, unsigned bytes, size_t *ret)
{
	size_t v = 0;

	if (c->left < bytes)
		return false;
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | c->p[i];
	c->p += bytes;
	c->left -= bytes;
	*ret = v;
	return true;
}

/* What follows a length of so many bytes; cut: it is as much as is here. */
static bool
take_part(struct cursor *c, unsigned bytes, struct cursor *ret, bool *ret_cut)
{
	size_t len;

	if (!take_number(c, bytes, &len))
		return false;
	*ret_cut = len > c->left;
	len = MIN(len, c->left);
	*ret = (struct cursor){ c->p, len };
	c->p += len;
	c->left -= len;
	return true;
}

static bool
skip_part(struct cursor *c, unsigned bytes)
{
	struct cursor part;
	bool cut;

	return take_part(c, bytes, &part, &cut) && !cut;
}

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool
server_name_valid(const char *name)
{
	size_t label = 0, len = 0;
	bool digits = true; /* the last label is a number: no top-level domain is, an address is */

	for (; name[len] != '\0'; len++) {
		if (name[len] == '.') {
			if (label == 0)
				return false;
			label = 0;
			digits = true;
			continue;
		}
		if (!is_name_char(name[len]) || ++label > LABEL_MAX)
			return false;
		digits &= name[len] >= '0' && name[len] <= '9';
	}
	return label > 0 && len < SERVER_NAME_MAX && !digits;
}

static int
set_name(const uint8_t *p, size_t len, enum server_name_kind kind, struct server_name *ret)
{
	struct server_name n = { .kind = kind };

	if (len > 0 && p[len - 1] == '.')
		len--;
	if (len == 0 || len >= sizeof(n.name) || memchr(p, '\0', len) != NULL)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++)
		n.name[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] - 'A' + 'a' : p[i]);
	if (!server_name_valid(n.name))
		return -EBADMSG;
	*ret = n;
	return 0;
}

/* RFC 6066 3: a list, in which each type of name stands once, and there is one type. */
static int
read_server_name(struct cursor c, bool cut, struct server_name *ret)
{
	struct cursor list, name;
	size_t type;

	if (!take_part(&c, 2, &list, &cut) || !take_number(&list, 1, &type))
		return cut ? -ENODATA : -EBADMSG;
	if (type != NAME_HOST)
		return -ENODATA;
	if (!take_part(&list, 2, &name, &cut))
		return cut ? -ENODATA : -EBADMSG;
	return cut ? -ENODATA : set_name(name.p, name.left, SERVER_NAME_SNI, ret);
}

static int
read_extensions(struct cursor c, struct server_name *ret)
{
	struct cursor ext;
	size_t type;
	bool cut;

	while (take_number(&c, 2, &type) && take_part(&c, 2, &ext, &cut))
		if (type == EXT_SERVER_NAME)
			return read_server_name(ext, cut, ret);
	return -ENODATA;
}

/* RFC 8446 4.1.2. What is not all here has no name here. */
static int
read_hello(struct cursor c, struct server_name *ret)
{
	struct cursor body, exts;
	size_t type, version;
	bool cut;

	if (!take_number(&c, 1, &type) || type != HELLO_CLIENT)
		return -EBADMSG;
	if (!take_part(&c, 3, &body, &cut))
		return -ENODATA;
	if (!take_number(&body, 2, &version))
		return cut ? -ENODATA : -EBADMSG;
	if (version >> 8 != 3)
		return -EBADMSG;
	if (body.left < 32)
		return cut ? -ENODATA : -EBADMSG;
	body.p += 32; /* random */
	body.left -= 32;
	if (!skip_part(&body, 1) || !skip_part(&body, 2) || !skip_part(&body, 1))
		return cut ? -ENODATA : -EBADMSG;
	if (body.left == 0 || !take_part(&body, 2, &exts, &cut))
		return -ENODATA;
	return read_extensions(exts, ret);
}

static int
read_tls(const uint8_t *buf, size_t len, struct server_name *ret)
{
	struct cursor c = { buf, len }, record;
	uint8_t hello[SERVER_NAME_HELLO];
	size_t n = 0, type, version;
	bool cut;

	while (take_number(&c, 1, &type) && take_number(&c, 2, &version)) {
		if (type != RECORD_HANDSHAKE || version >> 8 != 3)
			break;
		if (!take_part(&c, 2, &record, &cut) || record.left > RECORD_MAX)
			break;
		/* One record is the rule: nothing to put together. */
		if (n == 0 && c.left < RECORD_HEADER)
			return read_hello(record, ret);
		record.left = MIN(record.left, sizeof(hello) - n);
		memcpy(hello + n, record.p, record.left);
		n += record.left;
	}
	return n == 0 ? -EBADMSG : read_hello((struct cursor){ hello, n }, ret);
}

static const char *const methods[] = { "GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ",
	"PATCH ", "CONNECT ", "TRACE ", "PROPFIND " };

static bool
begins_with(const struct cursor *c, const char *text)
{
	size_t n = strlen(text);

	return c->left >= n && memcmp(c->p, text, n) == 0;
}

static bool
is_request(const struct cursor *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (begins_with(c, methods[i]))
			return true;
	return false;
}

/* A line without its end. False: its end is not here. */
static bool
take_line(struct cursor *c, struct cursor *ret)
{
	const uint8_t *end = c->left > 0 ? memchr(c->p, '\n', c->left) : NULL;

	if (end == NULL)
		return false;
	*ret = (struct cursor){ c->p, (size_t)(end - c->p) };
	c->left -= ret->left + 1;
	c->p = end + 1;
	if (ret->left > 0 && ret->p[ret->left - 1] == '\r')
		ret->left--;
	return true;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* The value of a Host line; false: it is another one. */
static bool
host_value(struct cursor line, struct cursor *ret)
{
	static const char field[] = "host:";

	if (line.left < sizeof(field) - 1)
		return false;
	for (size_t i = 0; i < sizeof(field) - 1; i++)
		if ((line.p[i] >= 'A' && line.p[i] <= 'Z' ? line.p[i] | 0x20 : line.p[i]) !=
		    field[i])
			return false;
	line.p += sizeof(field) - 1;
	line.left -= sizeof(field) - 1;
	while (line.left > 0 && is_blank(line.p[0])) {
		line.p++;
		line.left--;
	}
	while (line.left > 0 && is_blank(line.p[line.left - 1]))
		line.left--;
	*ret = line;
	return true;
}

static int
read_host(struct cursor v, struct server_name *ret)
{
	size_t n = v.left;

	while (n > 0 && v.p[n - 1] >= '0' && v.p[n - 1] <= '9')
		n--;
	if (n > 0 && n < v.left && v.p[n - 1] == ':')
		v.left = n - 1;
	if (v.left == 0)
		return -ENODATA;
	/* [2001:db8::1], or an IPv4 address: nothing that the connection does not say itself. */
	if (v.p[0] == '[')
		return -ENODATA;
	for (n = 0; n < v.left && (v.p[n] == '.' || (v.p[n] >= '0' && v.p[n] <= '9')); n++)
		;
	return n == v.left ? -ENODATA : set_name(v.p, v.left, SERVER_NAME_HTTP, ret);
}

static bool
is_http1(const struct cursor *line)
{
	static const char version[] = " HTTP/1.";
	const size_t n = sizeof(version) - 1;

	return line->left > n + 1 && memcmp(line->p + line->left - n - 1, version, n) == 0;
}

/* Two lines of Host are refused, as servers have to (RFC 9112 3.2). */
static int
read_http(struct cursor c, struct server_name *ret)
{
	struct cursor line, value, host = { NULL, 0 };

	if (!take_line(&c, &line))
		return -ENODATA;
	if (!is_http1(&line))
		return -EBADMSG;
	while (take_line(&c, &line) && line.left > 0) {
		if (!host_value(line, &value))
			continue;
		if (host.p != NULL)
			return -EBADMSG;
		host = value;
	}
	return host.p == NULL ? -ENODATA : read_host(host, ret);
}

bool
server_name_may_be(const uint8_t *buf, size_t len)
{
	if (len < 16)
		return false;
	if (buf[0] == RECORD_HANDSHAKE)
		return buf[1] == 3 && buf[5] == HELLO_CLIENT;
	return buf[0] >= 'C' && buf[0] <= 'T' && is_request(&(struct cursor){ buf, len });
}

int
server_name_parse(const uint8_t *buf, size_t len, struct server_name *ret)
{
	struct cursor c = { buf, len };

	if (len > 0 && buf[0] == RECORD_HANDSHAKE)
		return read_tls(buf, len, ret);
	return is_request(&c) ? read_http(c, ret) : -EBADMSG;
}

const char *
server_name_kind(enum server_name_kind k)
{
	switch (k) {
	case SERVER_NAME_SNI:
		return "sni";
	case SERVER_NAME_HTTP:
		return "host";
	}
	return NULL;
}
