/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An alert as a line of syslog, and as an entry of journald
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): "FIELD=value", or, for a value with a line end,
 * the field, its length as 64 bits little endian, and the value.
 */
#include "daemon/herald.h"

#include "daemon/alert.h"
#include "rules/peer.h"
#include "rules/syslog.h"
#include "rules/timefmt.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *
text_of(const json_t *alert, const char *field)
{
	return json_string_value(json_object_get(alert, field));
}

static unsigned
severity_of(const json_t *alert)
{
	const char *name = text_of(alert, "severity");

	for (unsigned s = ALERT_CRITICAL; name != NULL && s <= ALERT_INFO; s++)
		if (strcmp(name, alert_severity_name((enum alert_severity)s)) == 0)
			return s;
	return ALERT_WARNING;
}

static const char *
number_of(const json_t *alert, const char *field, char buf[static 24])
{
	snprintf(
	    buf, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(alert, field)));
	return buf;
}

size_t
alert_to_syslog(const json_t *alert, unsigned facility, const char *host, char *buf)
{
	char count[24], lost[24];
	const struct syslog_param params[] = {
		{ "alert", text_of(alert, "id") },
		{ "kind", text_of(alert, "kind") },
		{ "severity", text_of(alert, "severity") },
		{ "workload", text_of(alert, "workload") },
		{ "instance", text_of(alert, "instance") },
		{ "count", number_of(alert, "count", count) },
		{ "lost", number_of(alert, "lost", lost) },
	};
	struct syslog_event e = {
		.facility = facility,
		.severity = severity_of(alert),
		.host = host,
		.app = "nanosegd",
		.id = text_of(alert, "kind"),
		.params = params,
		.n_params = ARRAY_SIZE(params),
		.text = text_of(alert, "text"),
	};
	const char *time = text_of(alert, "time");

	if (time != NULL)
		(void)time_parse(time, &e.time_ns);
	return syslog_format(&e, buf);
}

static void
put_field(FILE *f, const char *name, const char *value)
{
	uint64_t len = value != NULL ? strlen(value) : 0, le = htole64(len);

	if (value == NULL)
		return;
	if (strchr(value, '\n') == NULL) {
		fprintf(f, "%s=%s\n", name, value);
		return;
	}
	fprintf(f, "%s\n", name);
	fwrite(&le, sizeof(le), 1, f);
	fwrite(value, len, 1, f);
	fputc('\n', f);
}

int
alert_to_journal(const json_t *alert, char **ret, size_t *ret_len)
{
	const char *text = text_of(alert, "text"), *workload = text_of(alert, "workload");
	char message[2 * SYSLOG_MAX_VALUE], safe[SYSLOG_MAX_VALUE], name[SYSLOG_MAX_VALUE / 2],
	    number[24];
	char *entry;
	FILE *f = open_memstream(&entry, ret_len);
	bool failed;

	if (f == NULL)
		return -ENOMEM;
	text_escape(text != NULL ? text : "", text != NULL ? strlen(text) : 0, safe, sizeof(safe));
	text_escape(workload != NULL ? workload : "", workload != NULL ? strlen(workload) : 0, name,
	    sizeof(name));
	snprintf(message, sizeof(message), "%s%s%s", name, *name != '\0' ? ": " : "", safe);
	put_field(f, "MESSAGE", message);
	fprintf(f, "PRIORITY=%u\n", severity_of(alert));
	put_field(f, "SYSLOG_IDENTIFIER", "nanosegd");
	put_field(f, "NANOSEG_ALERT", text_of(alert, "id"));
	put_field(f, "NANOSEG_TIME", text_of(alert, "time"));
	put_field(f, "NANOSEG_KIND", text_of(alert, "kind"));
	put_field(f, "NANOSEG_WORKLOAD", workload);
	put_field(f, "NANOSEG_INSTANCE", text_of(alert, "instance"));
	put_field(f, "NANOSEG_TEXT", text);
	put_field(f, "NANOSEG_COUNT", number_of(alert, "count", number));
	put_field(f, "NANOSEG_LOST", number_of(alert, "lost", number));
	failed = ferror(f) != 0;
	if (fclose(f) != 0 || failed) {
		free(entry);
		return -ENOMEM;
	}
	*ret = entry;
	return 0;
}
