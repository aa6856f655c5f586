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
#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define FACILITY_DAEMON 3
#define FACILITY_AUTHPRIV 10
#define MAX_PARAMS 20

enum { WARNING = 4, NOTICE, INFO };

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

static void
add_text(struct event *v, const json_t *o, const char *key)
{
	add(v, key, json_string_value(json_object_get(o, key)));
}

static void
add_number(struct event *v, const json_t *o, const char *key)
{
	const json_t *n = json_object_get(o, key);
	char *text = v->numbers[v->e.n_params];

	if (!json_is_integer(n))
		return;
	snprintf(text, sizeof(v->numbers[0]), "%" JSON_INTEGER_FORMAT, json_integer_value(n));
	add(v, key, text);
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
begin(struct event *v, const json_t *b, const char *id, unsigned severity, uint64_t time_ns)
{
	*v = (struct event){ 0 };
	v->e.facility = FACILITY_DAEMON;
	v->e.severity = severity;
	v->e.time_ns = time_ns;
	v->e.host = show_text(show_in(b, "host"), "name", NULL);
	v->e.id = id;
}

static void
add_ends(struct event *v, const json_t *o)
{
	add_text(v, o, "id");
	add_text(v, o, "from");
	add_text(v, o, "to");
	add_text(v, o, "proto");
	add_number(v, o, "port");
	add_text(v, o, "ports");
	add_number(v, o, "type");
}

static void
print_denial(const json_t *b, const json_t *o, FILE *f)
{
	bool audited = strcmp(show_text(o, "verdict", ""), "audit") == 0;
	struct event v;

	begin(&v, b, "denial", audited ? NOTICE : WARNING, bundle_time(o, "lastSeen"));
	v.e.text = audited ? "a connection that would be refused" : "a connection was refused";
	add_ends(&v, o);
	add_text(&v, o, "verdict");
	add_text(&v, o, "src");
	add_text(&v, o, "dst");
	add_number(&v, o, "count");
	add_text(&v, o, "firstSeen");
	add_text(&v, o, "edge");
	print(&v, f);
}

static void
print_edge(const json_t *b, const json_t *o, FILE *f)
{
	struct event v;

	begin(&v, b, "edge", INFO, bundle_time(o, "lastSeen"));
	v.e.text = "connections of an edge";
	add_ends(&v, o);
	add_text(&v, o, "state");
	add_number(&v, o, "connections");
	add_number(&v, o, "bytes");
	add_text(&v, o, "firstSeen");
	add_text(&v, o, "approvedBy");
	add_text(&v, o, "reason");
	add_text(&v, o, "ticket");
	add_text(&v, o, "expires");
	print(&v, f);
}

static void
print_exposure(const json_t *b, const json_t *o, FILE *f)
{
	struct event v;

	begin(&v, b, "exposure", WARNING, bundle_time(o, "to"));
	v.e.text = "a container ran without its rules";
	add_text(&v, o, "workload");
	add_text(&v, o, "instance");
	add_text(&v, o, "from");
	add_text(&v, o, "to");
	print(&v, f);
}

static void
print_all(const json_t *b, const char *key, FILE *f,
    void (*fn)(const json_t *b, const json_t *o, FILE *f))
{
	const json_t *list = show_in(b, key);

	for (size_t i = 0; i < json_array_size(list); i++)
		fn(b, json_array_get(list, i), f);
}

int
export_syslog(const json_t *b, FILE *f)
{
	print_all(b, "edges", f, print_edge);
	print_all(b, "denials", f, print_denial);
	print_all(b, "exposure", f, print_exposure);
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
	add_number(&v, o, "seq");
	add(&v, "actor", show_text(actor, "name", NULL));
	add_number(&v, actor, "uid");
	add_number(&v, actor, "loginuid");
	add_text(&v, actor, "program");
	add_text(&v, o, "result");
	add_text(&v, o, "reason");
	add_text(&v, o, "ticket");
	add(&v, "subject", about);
	add_text(&v, o, "hash");
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
