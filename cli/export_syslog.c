/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events as lines of syslog (RFC 5424): of evidence, the denials, the edges and the exposure
 * windows; of the audit log, every record.
 */
#include "cli/export_syslog.h"

#include "cli/bundle.h"
#include "cli/export.h"
#include "cli/show.h"
#include "rules/syslog.h"

#include <string.h>

#define FACILITY_DAEMON 3
#define FACILITY_AUTHPRIV 10
#define MAX_PARAMS 20

enum { WARNING = 4, NOTICE, INFO };

struct kind {
	const char *list, *id, *time, *text;
	const char *audited; /* the text where the verdict is audit, and a notice; NULL: as any */
	unsigned severity;
	const char *keys[MAX_PARAMS];
};

#define ENDS "id", "from", "to", "proto", "port", "ports", "type"

static const struct kind kinds[] = {
	{ "edges", "edge", "lastSeen", "connections of an edge", NULL, INFO,
	    { ENDS, "state", "connections", "bytes", "firstSeen", "approvedBy", "reason", "ticket",
		"expires" } },
	{ "denials", "denial", "lastSeen", "a connection was refused",
	    "a connection that would be refused", WARNING,
	    { ENDS, "verdict", "src", "dst", "count", "firstSeen", "edge" } },
	{ "exposure", "exposure", "to", "a container ran without its rules", NULL, WARNING,
	    { "workload", "instance", "from", "to" } },
};

struct event {
	struct syslog_event e;
	struct syslog_param params[MAX_PARAMS];
	char numbers[MAX_PARAMS][24];
};

static void
add(struct event *v, const char *name, const char *value)
{
	if (value != NULL)
		v->params[v->e.n_params++] = (struct syslog_param){ name, value };
}

/* A text, or a number; nothing if it is neither. */
static void
add_key(struct event *v, const json_t *o, const char *key)
{
	const json_t *value = show_in(o, key);
	char *number = v->numbers[v->e.n_params];

	if (!json_is_integer(value)) {
		add(v, key, json_string_value(value));
		return;
	}
	snprintf(number, sizeof(v->numbers[0]), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	add(v, key, number);
}

static void
print(struct event *v, FILE *f)
{
	char line[SYSLOG_MAX + 1];
	size_t len;

	v->e.app = "nanoseg";
	v->e.params = v->params;
	len = syslog_format(&v->e, line);
	fwrite(line, len, 1, f);
	fputc('\n', f);
}

static void
print_event(const struct kind *k, const json_t *b, const json_t *o, FILE *f)
{
	bool audited = k->audited != NULL && strcmp(show_text(o, "verdict", ""), "audit") == 0;
	char names[SHOW_SEEN_AS_LEN];
	struct event v = { 0 };

	v.e.facility = FACILITY_DAEMON;
	v.e.severity = audited ? NOTICE : k->severity;
	v.e.time_ns = bundle_time(o, k->time);
	v.e.host = show_text(show_in(b, "host"), "name", NULL);
	v.e.id = k->id;
	v.e.text = audited ? k->audited : k->text;
	for (size_t i = 0; i < MAX_PARAMS && k->keys[i] != NULL; i++)
		add_key(&v, o, k->keys[i]);
	if (strcmp(show_seen_as(o, names), "-") != 0)
		add(&v, "seenAs", names);
	print(&v, f);
}

int
export_syslog(const json_t *b, FILE *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *list = show_in(b, kinds[i].list);

		for (size_t k = 0; k < json_array_size(list); k++)
			print_event(&kinds[i], b, json_array_get(list, k), f);
	}
	return 0;
}

static void
print_record(const json_t *access, const json_t *o, FILE *f)
{
	const json_t *actor = show_in(o, "actor"), *subject = show_in(o, "subject");
	_cleanup_free_ char *about =
	    json_is_object(subject) ? json_dumps(subject, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	const char *result = show_text(o, "result", "");
	struct event v = { 0 };

	v.e.facility = FACILITY_AUTHPRIV;
	v.e.severity = strcmp(result, "ok") == 0 ? INFO : WARNING;
	v.e.time_ns = bundle_time(o, "time");
	v.e.host = show_text(access, "host", NULL);
	v.e.id = show_text(o, "event", NULL);
	v.e.text = show_text(o, "event", "?");
	add_key(&v, o, "seq");
	add(&v, "actor", show_text(actor, "name", NULL));
	add_key(&v, actor, "uid");
	add_key(&v, actor, "loginuid");
	add_key(&v, actor, "program");
	add_key(&v, o, "result");
	add_key(&v, o, "reason");
	add_key(&v, o, "ticket");
	add(&v, "subject", about);
	add_key(&v, o, "hash");
	add(&v, "intact", json_is_true(show_in(access, "intact")) ? "yes" : "no");
	print(&v, f);
}

int
export_access_syslog(const json_t *access, FILE *f)
{
	const json_t *list = show_in(access, "records");

	for (size_t i = 0; i < json_array_size(list); i++)
		print_record(access, json_array_get(list, i), f);
	return 0;
}
