/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "daemon/http1.h"

#include "rules/util.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* "HTTP/1.x NNN" and a reason that is not looked at. */
static int
parse_status(const char *line, size_t len, int *ret)
{
	const char *d = line + 9;

	if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
	    line[8] != ' ')
		return -EBADMSG;
	if (d[0] < '1' || d[0] > '5' || d[1] < '0' || d[1] > '9' || d[2] < '0' || d[2] > '9')
		return -EBADMSG;
	if (len > 12 && line[12] != ' ')
		return -EBADMSG;
	*ret = (d[0] - '0') * 100 + (d[1] - '0') * 10 + (d[2] - '0');
	return 0;
}

static int
parse_length(const char *value, size_t len, int64_t *ret)
{
	int64_t n = 0;

	if (len == 0 || len > 15)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return -EBADMSG;
		n = n * 10 + (value[i] - '0');
	}
	/* Two lengths that differ: nobody can say where the body ends. */
	if (*ret >= 0 && *ret != n)
		return -EBADMSG;
	*ret = n;
	return 0;
}

static bool
is_name(const char *line, size_t len, const char *name)
{
	return len == strlen(name) && strncasecmp(line, name, len) == 0;
}

static int
parse_field(const char *line, size_t len, struct http1_head *h)
{
	const char *colon = memchr(line, ':', len), *value;
	size_t name_len, value_len;

	if (colon == NULL || colon == line)
		return -EBADMSG;
	name_len = (size_t)(colon - line);
	for (size_t i = 0; i < name_len; i++)
		if (line[i] <= ' ' || line[i] >= 127)
			return -EBADMSG;
	value = colon + 1;
	value_len = len - name_len - 1;
	while (value_len > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		value_len--;
	}
	while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
		value_len--;
	if (is_name(line, name_len, "Transfer-Encoding"))
		return -EPROTONOSUPPORT;
	if (is_name(line, name_len, "Content-Length"))
		return parse_length(value, value_len, &h->content_length);
	return 0;
}

int
http1_parse_head(const char *buf, size_t len, struct http1_head *ret)
{
	struct http1_head h = { .content_length = -1 };
	size_t max = MIN(len, (size_t)HTTP1_HEAD_MAX), at = 0, line_len;
	const char *end;
	int r;

	for (unsigned n = 0;; n++) {
		end = memchr(buf + at, '\n', max - at);
		if (end == NULL)
			break;
		line_len = (size_t)(end - buf) - at;
		if (memchr(buf + at, '\0', line_len) != NULL)
			return -EBADMSG;
		if (line_len > 0 && buf[at + line_len - 1] == '\r')
			line_len--;
		if (n > 0 && line_len == 0) {
			*ret = h;
			return (int)(end + 1 - buf);
		}
		r = n == 0 ? parse_status(buf + at, line_len, &h.status)
			   : parse_field(buf + at, line_len, &h);
		if (r < 0)
			return r;
		at = (size_t)(end + 1 - buf);
	}
	/* Nonsense is refused at once, without waiting for a line's end. */
	if (at == 0 && len > 0 && memcmp(buf, "HTTP/1.", MIN(len, (size_t)7)) != 0)
		return -EBADMSG;
	return len >= HTTP1_HEAD_MAX ? -E2BIG : 0;
}
