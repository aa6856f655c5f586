/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/explain.h"

#include "cli/audit_source.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the log says was decided; references, or NULL. */
struct decided {
	json_t *record;	  /* of the last decision about the edge */
	json_t *approver; /* its actor, whoever let it stand after that */
	json_t *revision; /* the last {revision, digest} */
};

struct past {
	uint64_t at_ns;
	const char *edge, *from, *to; /* from, to: workloads; NULL: none */
	struct decided decided;
	/*
	 * A change is recorded before it is stored. Until the next one it may turn out that it was
	 * not, also after the time asked for: then this is what stood.
	 */
	struct decided before;
	char event[32];	 /* of the change; "": there is none to take back */
	json_t *applied; /* by instance */
	json_t *held;	 /* workloads in quarantine */
	size_t unsound;
};

static bool
is_end(const struct past *p, const char *workload)
{
	return (p->from != NULL && strcmp(p->from, workload) == 0) ||
	       (p->to != NULL && strcmp(p->to, workload) == 0);
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
decided_drop(struct decided *d)
{
	json_decref(d->record);
	json_decref(d->approver);
	json_decref(d->revision);
	*d = (struct decided){ 0 };
}

static int64_t
revision_of(const json_t *o)
{
	return show_int(o, "revision", 0);
}

/* Was the change before it not stored? Either it says so, or the daemon died and came back. */
static bool
takes_back(const struct past *p, const json_t *record, const char *event)
{
	if (p->event[0] == '\0')
		return false;
	if (strcmp(event, "daemon-start") == 0)
		return revision_of(show_in(record, "after")) == revision_of(p->before.revision) &&
		       revision_of(p->decided.revision) != revision_of(p->before.revision);
	return strcmp(event, p->event) == 0 &&
	       strncmp(show_text(record, "result", ""), "failed", 6) == 0;
}

static void
take_back(struct past *p)
{
	decided_drop(&p->decided);
	p->decided = p->before;
	p->before = (struct decided){ 0 };
	p->event[0] = '\0';
}

static void
take_decision(struct past *p, const json_t *record, const char *event, const char *hash)
{
	struct decided *d = &p->decided;
	json_t *actor = (json_t *)show_in(record, "actor");

	json_decref(d->record);
	d->record = json_pack("{s:O?, s:O?, s:O?, s:O?, s:O?, s:O?, s:s}", "event",
	    show_in(record, "event"), "seq", show_in(record, "seq"), "time",
	    show_in(record, "time"), "actor", actor, "reason", show_in(record, "reason"), "ticket",
	    show_in(record, "ticket"), "hash", hash);
	if (strcmp(event, "recertify") == 0)
		return;
	json_decref(d->approver);
	d->approver = json_incref(actor);
}

/* One that changes what is decided, or would have. */
static void
take_record(struct past *p, const json_t *record, const char *event, bool in_time, const char *hash)
{
	const json_t *after = show_in(record, "after");
	bool ok = strcmp(show_text(record, "result", ""), "ok") == 0;

	if (!json_is_integer(show_in(after, "revision")))
		return;
	if (takes_back(p, record, event))
		take_back(p);
	decided_drop(&p->before);
	p->event[0] = '\0';
	if (!in_time)
		return;
	p->before = (struct decided){ json_incref(p->decided.record),
		json_incref(p->decided.approver), json_incref(p->decided.revision) };
	if (ok)
		snprintf(p->event, sizeof(p->event), "%s", event);
	json_decref(p->decided.revision);
	p->decided.revision = json_incref((json_t *)after);
	if (ok && p->edge != NULL &&
	    show_has(show_in(show_in(record, "subject"), "edges"), p->edge))
		take_decision(p, record, event, hash);
}

static int
read_record(void *arg, const char *segment, size_t line, json_t *record, const char *hash,
    const char *message)
{
	struct past *p = arg;
	const char *event = show_text(record, "event", "");
	bool in_time;
	uint64_t ns;

	if (record == NULL) {
		p->unsound++;
		return 0;
	}
	if (strcmp(event, "applied") == 0) {
		take_applied(p, record);
		return 0;
	}
	in_time = time_parse(show_text(record, "time", ""), &ns) == 0 && ns <= p->at_ns;
	if (in_time && strcmp(event, "cleanup") == 0)
		json_object_clear(p->applied);
	/* Recorded before it is stored: a failure after it takes it back. */
	if (in_time && (strcmp(event, "quarantine") == 0 || strcmp(event, "release") == 0))
		take_held(p, record,
		    (event[0] == 'q') == (strcmp(show_text(record, "result", ""), "ok") == 0));
	take_record(p, record, event, in_time, hash);
	return 0;
}

static void
fill_answer(const struct past *p, const struct audit_chain *chain, json_t *answer, bool agrees)
{
	const struct decided *d = &p->decided;
	json_t *list = json_array(), *one;
	const char *key;
	char uid[32];

	json_object_foreach(p->applied, key, one)
	{
		json_array_append(list, one);
	}
	json_object_set_new(answer, "applied", list);
	json_object_set(answer, "record", d->record != NULL ? d->record : json_null());
	if (d->approver != NULL) {
		snprintf(uid, sizeof(uid), "uid:%" PRId64, show_int(d->approver, "uid", -1));
		json_object_set_new(answer, "approvedBy",
		    json_string(json_is_integer(show_in(d->approver, "uid"))
				    ? uid
				    : show_text(d->approver, "name", "?")));
	}
	if (json_object_size(p->held) > 0) {
		json_object_set_new(answer, "verdict", json_string("deny"));
		json_object_set_new(
		    answer, "reason", json_string("one of its ends was in quarantine"));
	}
	json_object_set_new(answer, "log",
	    json_pack("{s:O, s:b, s:I, s:I}", "after",
		d->revision != NULL ? d->revision : json_null(), "agrees", agrees, "records",
		(json_int_t)chain->records, "unsound", (json_int_t)p->unsound));
}

/* The policy that the store has kept is the one that the log says was in force. */
static bool
agrees_with(const json_t *revision, const json_t *answer)
{
	const char *mine = show_text(revision, "digest", NULL);
	const char *theirs = show_text(answer, "policyDigest", NULL);

	if (revision == NULL)
		return revision_of(answer) == 0;
	return revision_of(revision) == revision_of(answer) &&
	       (mine == NULL || theirs == NULL || strcmp(mine, theirs) == 0);
}

int
explain_past(const struct cli *cli, const char *dir, uint64_t at_ns, json_t *answer)
{
	struct past p = { .at_ns = at_ns,
		.edge = show_text(answer, "edge", NULL),
		.from = show_workload(show_text(answer, "from", "")),
		.to = show_workload(show_text(answer, "to", "")),
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
		agrees = agrees_with(p.decided.revision, answer);
		fill_answer(&p, &chain, answer, agrees);
		if (!agrees || p.unsound > 0)
			r = CLI_DIFFERENCES;
	}
	decided_drop(&p.decided);
	decided_drop(&p.before);
	json_decref(p.applied);
	json_decref(p.held);
	return r;
}
