/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See syslog.h. Section numbers are those of RFC 5424. */
#include "rules/syslog.h"

#include "rules/peer.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct line {
	char *buf;
	size_t len;
};

static void
put(struct line *l, const char *text, size_t len)
{
	len = MIN(len, SYSLOG_MAX - l->len);
	memcpy(l->buf + l->len, text, len);
	l->len += len;
}

static void
put_text(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* 6.2.4 to 6.2.7: printable ASCII of a bounded length, or "-". */
static void
put_word(struct line *l, const char *text, size_t max)
{
	size_t len = text != NULL ? MIN(strlen(text), max) : 0;

	put(l, len > 0 ? " " : " -", len > 0 ? 1 : 2);
	for (size_t i = 0; i < len; i++)
		put(l, text[i] > ' ' && text[i] < 0x7f ? &text[i] : "?", 1);
}

/* 6.3.3: in a value '"', '\' and ']' have a backslash in front. */
static void
put_value(struct line *l, const char *text)
{
	char safe[SYSLOG_MAX_VALUE];

	text_escape(text, strlen(text), safe, sizeof(safe));
	for (const char *p = safe; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\' || *p == ']')
			put(l, "\\", 1);
		put(l, p, 1);
	}
}

static void
put_params(struct line *l, const struct syslog_event *e)
{
	put_text(l, " [" SYSLOG_SD_ID);
	for (size_t i = 0; i < e->n_params; i++) {
		const struct syslog_param *p = &e->params[i];

		/* At worst every byte of it is escaped; the text and the end need room too. */
		if (p->value == NULL || l->len + 3 * SYSLOG_MAX_VALUE > SYSLOG_MAX)
			continue;
		put_text(l, " ");
		put_text(l, p->name);
		put_text(l, "=\"");
		put_value(l, p->value);
		put_text(l, "\"");
	}
	put_text(l, "]");
}

size_t
syslog_format(const struct syslog_event *e, char buf[static SYSLOG_MAX + 1])
{
	struct line l = { .buf = buf };
	char text[SYSLOG_MAX_VALUE], time[TIME_STRLEN];

	l.len = (size_t)snprintf(buf, SYSLOG_MAX, "<%u>1 ", e->facility * 8 + e->severity);
	/* 6.2.3: at most six digits of a second. */
	time_format(e->time_ns / NSEC_PER_SEC * NSEC_PER_SEC, time);
	time[strlen(time) - 1] = '\0';
	put_text(&l, time);
	snprintf(time, sizeof(time), ".%06uZ", (unsigned)(e->time_ns % NSEC_PER_SEC / 1000));
	put_text(&l, time);
	put_word(&l, e->host, 255);
	put_word(&l, e->app, 48);
	put_word(&l, e->process, 128);
	put_word(&l, e->id, 32);
	put_params(&l, e);
	if (e->text != NULL && *e->text != '\0') {
		/* 6.4: the mark says that it is UTF-8. */
		put_text(&l, " \xef\xbb\xbf");
		text_escape(e->text, strlen(e->text), text, sizeof(text));
		put_text(&l, text);
	}
	buf[l.len] = '\0';
	return l.len;
}

int
syslog_facility_parse(const char *name)
{
	static const char *const names[] = { "kern", "user", "mail", "daemon", "auth", "syslog",
		"lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7" };

	for (size_t i = 1; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}
