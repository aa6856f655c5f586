/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/explain.h"

#include "cli/audit_source.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct past {
	uint64_t at_ns;
	const char *edge, *from, *to; /* from, to: workloads; NULL: none */
	json_t *record;		      /* of the last decision about the edge, or NULL */
	json_t *revision;	      /* the last {revision, digest}, or NULL */
	json_t *applied;	      /* by instance */
	json_t *held;		      /* workloads in quarantine */
	size_t unsound;
};

static const char *
workload_of(const json_t *answer, const char *key)
{
	const char *peer = show_text(answer, key, "");

	return strncmp(peer, "workload:", 9) == 0 ? peer + 9 : NULL;
}

static bool
is_end(const struct past *p, const char *workload)
{
	return (p->from != NULL && strcmp(p->from, workload) == 0) ||
	       (p->to != NULL && strcmp(p->to, workload) == 0);
}

static bool
has_text(const json_t *list, const char *text)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (json_is_string(one) && strcmp(json_string_value(one), text) == 0)
			return true;
	}
	return false;
}

/* Each entry has a time of its own, a little before that of its record. */
static void
take_applied(struct past *p, const json_t *record)
{
	const json_t *list = show_in(show_in(record, "subject"), "instances");
	json_t *e;
	size_t i;

	json_array_foreach((json_t *)list, i, e)
	{
		const char *instance = show_text(e, "instance", "?");
		uint64_t ns;

		if (time_parse(show_text(e, "time", ""), &ns) < 0 || ns > p->at_ns ||
		    !is_end(p, show_text(e, "workload", "")))
			continue;
		if (show_text(e, "ended", NULL) != NULL) {
			json_object_del(p->applied, instance);
			continue;
		}
		json_object_set_new(e, "seq", json_integer(show_int(record, "seq", 0)));
		json_object_set(p->applied, instance, e);
	}
}

static void
take_held(struct past *p, const json_t *record, bool held)
{
	const json_t *names = show_in(show_in(record, "subject"), "workloads"), *one;
	size_t i;

	json_array_foreach(names, i, one)
	{
		const char *name = json_string_value(one);

		if (name == NULL || !is_end(p, name))
			continue;
		if (held)
			json_object_set_new(p->held, name, json_true());
		else
			json_object_del(p->held, name);
	}
}

static void
take_record(struct past *p, const json_t *record, const char *hash)
{
	const json_t *after = show_in(record, "after");

	if (json_is_integer(show_in(after, "revision"))) {
		json_decref(p->revision);
		p->revision = json_incref((json_t *)after);
	}
	if (p->edge == NULL || !has_text(show_in(show_in(record, "subject"), "edges"), p->edge) ||
	    strcmp(show_text(record, "result", ""), "ok") != 0)
		return;
	json_decref(p->record);
	p->record = json_pack("{s:O?, s:O?, s:O?, s:O?, s:O?, s:O?, s:s}", "event",
	    show_in(record, "event"), "seq", show_in(record, "seq"), "time",
	    show_in(record, "time"), "actor", show_in(record, "actor"), "reason",
	    show_in(record, "reason"), "ticket", show_in(record, "ticket"), "hash", hash);
}

static int
read_record(void *arg, const char *segment, size_t line, json_t *record, const char *hash,
    const char *message)
{
	struct past *p = arg;
	const char *event = show_text(record, "event", "");
	uint64_t ns;

	if (record == NULL) {
		p->unsound++;
		return 0;
	}
	if (strcmp(event, "applied") == 0) {
		take_applied(p, record);
		return 0;
	}
	if (time_parse(show_text(record, "time", ""), &ns) < 0 || ns > p->at_ns)
		return 0;
	if (strcmp(event, "cleanup") == 0)
		json_object_clear(p->applied);
	/* Recorded before it is stored: a failure after it takes it back. */
	if (strcmp(event, "quarantine") == 0 || strcmp(event, "release") == 0)
		take_held(p, record,
		    (event[0] == 'q') == (strcmp(show_text(record, "result", ""), "ok") == 0));
	take_record(p, record, hash);
	return 0;
}

static void
fill_answer(const struct past *p, const struct audit_chain *chain, json_t *answer, bool agrees)
{
	const json_t *actor = show_in(p->record, "actor");
	json_t *list = json_array(), *one;
	const char *key;
	char uid[32];

	json_object_foreach(p->applied, key, one)
	{
		json_array_append(list, one);
	}
	json_object_set_new(answer, "applied", list);
	json_object_set(answer, "record", p->record != NULL ? p->record : json_null());
	if (actor != NULL) {
		snprintf(uid, sizeof(uid), "uid:%" PRId64, show_int(actor, "uid", -1));
		json_object_set_new(answer, "approvedBy",
		    json_string(json_is_integer(show_in(actor, "uid"))
				    ? uid
				    : show_text(actor, "name", "?")));
	}
	if (json_object_size(p->held) > 0) {
		json_object_set_new(answer, "verdict", json_string("deny"));
		json_object_set_new(
		    answer, "reason", json_string("one of its ends was in quarantine"));
	}
	json_object_set_new(answer, "log",
	    json_pack("{s:O, s:b, s:I, s:I}", "after",
		p->revision != NULL ? p->revision : json_null(), "agrees", agrees, "records",
		(json_int_t)chain->records, "unsound", (json_int_t)p->unsound));
}

/* The policy that the store has kept is the one that the log says was in force. */
static bool
agrees_with(const struct past *p, const json_t *answer)
{
	const char *mine = show_text(p->revision, "digest", NULL);
	const char *theirs = show_text(answer, "policyDigest", NULL);

	if (p->revision == NULL)
		return show_int(answer, "revision", 0) == 0;
	return show_int(p->revision, "revision", -1) == show_int(answer, "revision", 0) &&
	       (mine == NULL || theirs == NULL || strcmp(mine, theirs) == 0);
}

int
explain_past(const struct cli *cli, const char *dir, uint64_t at_ns, json_t *answer)
{
	struct past p = { .at_ns = at_ns,
		.edge = show_text(answer, "edge", NULL),
		.from = workload_of(answer, "from"),
		.to = workload_of(answer, "to"),
		.applied = json_object(),
		.held = json_object() };
	struct audit_chain chain = { 0 };
	struct audit_source src;
	struct diag d;
	bool agrees;
	int r = audit_source_open(cli, dir, &src);

	if (r == CLI_OK) {
		r = audit_source_walk(&src, &chain, read_record, &p);
		audit_source_close(&src);
	}
	if (r == CLI_OK && audit_chain_end(&chain, &d) < 0)
		p.unsound++;
	if (r == CLI_OK) {
		agrees = agrees_with(&p, answer);
		fill_answer(&p, &chain, answer, agrees);
		if (!agrees || p.unsound > 0)
			r = CLI_DIFFERENCES;
	}
	json_decref(p.record);
	json_decref(p.revision);
	json_decref(p.applied);
	json_decref(p.held);
	return r;
}
