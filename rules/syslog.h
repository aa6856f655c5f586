/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One event as a line of syslog, RFC 5424, with structured data. No clock, no fd. */
#ifndef NANOSEG_RULES_SYSLOG_H
#define NANOSEG_RULES_SYSLOG_H

#include "rules/util.h"

/* What every receiver that knows RFC 5424 has to take, 6.1, with room for a long text. */
#define SYSLOG_MAX 8192
#define SYSLOG_MAX_VALUE 1024 /* bytes of a value, escaped; longer ones are cut */
#define SYSLOG_SD_ID "nanoseg@32473"

struct syslog_param {
	const char *name;  /* ours: letters alone */
	const char *value; /* anything; NULL: left out */
};

struct syslog_event {
	unsigned facility, severity;
	uint64_t time_ns;
	const char *host, *app, *process, *id; /* what is not printable in them becomes '?' */
	const struct syslog_param *params;
	size_t n_params;
	const char *text;
};

/*
 * Without a line end; terminated. Values and text are text_escape()d, so that a line has no control
 * character whatever a name holds. Returns the length. Never fails: values and text are cut.
 */
size_t syslog_format(const struct syslog_event *e, char buf[static SYSLOG_MAX + 1]);

/* "daemon", "local0": its number, or -EINVAL. */
int syslog_facility_parse(const char *name);

#endif
