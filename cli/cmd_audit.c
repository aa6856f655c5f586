/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg audit-log: the records, and the proof that none is missing or changed. */
#include "cli/audit_signed.h"
#include "cli/audit_source.h"
#include "cli/page.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_SHOWN_VIOLATIONS 20
#define WORDS_LEN 512

struct audit_opts {
	const char *since, *until, *event, *actor, *workload, *last, *head, *key, *dir;
	uint64_t since_ns, until_ns, last_n;
};

static bool
is_digest(const char *text)
{
	return strlen(text) == AUDIT_HASH_STRLEN - 1 &&
	       strspn(text, "0123456789abcdef") == AUDIT_HASH_STRLEN - 1;
}

static int
read_opts(const struct cli *cli, struct audit_opts *o, bool verify)
{
	uint64_t now_ns = (uint64_t)time(NULL) * NSEC_PER_SEC;
	struct diag d;

	if (verify && (o->since != NULL || o->until != NULL || o->event != NULL ||
			  o->actor != NULL || o->workload != NULL || o->last != NULL))
		return cli_usage(cli, "verify reads the whole log: it takes --head, --key and "
				      "--dir only");
	if (!verify && (o->head != NULL || o->key != NULL))
		return cli_usage(cli, "--head and --key go with verify");
	if (o->head != NULL && !is_digest(o->head))
		return cli_usage(cli, "--head: expected the 64 digits of a record's hash");
	if (o->key != NULL && !is_digest(o->key))
		return cli_usage(cli, "--key: expected the 64 digits of a public key");
	o->until_ns = UINT64_MAX;
	o->last_n = UINT64_MAX;
	if ((o->since != NULL && moment_arg("--since", o->since, now_ns, &o->since_ns, &d) < 0) ||
	    (o->until != NULL && moment_arg("--until", o->until, now_ns, &o->until_ns, &d) < 0) ||
	    (o->last != NULL && number_arg("--last", o->last, 1000000, &o->last_n, &d) < 0))
		return cli_usage(cli, "%s", d.msg);
	return CLI_OK;
}

/* show */

struct showing {
	const struct audit_opts *opts;
	json_t *records;
	size_t damaged;
};

static bool
is_actor(const json_t *record, const char *name)
{
	const json_t *actor = show_in(record, "actor");
	char uid[32];

	snprintf(uid, sizeof(uid), "uid:%" PRId64, show_int(actor, "uid", -1));
	return strcmp(show_text(actor, "name", ""), name) == 0 || strcmp(uid, name) == 0;
}

static bool
is_wanted(const struct audit_opts *o, const json_t *record)
{
	const json_t *subject = show_in(record, "subject");
	uint64_t ns;

	if (time_parse(show_text(record, "time", ""), &ns) < 0)
		ns = 0;
	return ns >= o->since_ns && ns <= o->until_ns &&
	       (o->event == NULL || strcmp(show_text(record, "event", ""), o->event) == 0) &&
	       (o->actor == NULL || is_actor(record, o->actor)) &&
	       (o->workload == NULL ||
		   show_has(json_object_get(subject, "workloads"), o->workload));
}

static int
collect(void *arg, const char *segment, size_t line, json_t *record, const char *hash,
    const char *message)
{
	struct showing *s = arg;

	if (record == NULL) {
		s->damaged++;
		return 0;
	}
	if (!is_wanted(s->opts, record))
		return 0;
	json_object_set_new(record, "hash", json_string(hash));
	if (json_array_size(s->records) >= s->opts->last_n)
		json_array_remove(s->records, 0);
	return json_array_append(s->records, record);
}

/* What it was about, in a few words. */
static const char *
subject_words(const json_t *subject, char buf[static WORDS_LEN])
{
	const json_t *what = json_object_get(subject, "what");
	const json_t *modes = json_object_get(subject, "modes");
	const char *first = json_string_value(json_array_get(what, 0));
	int64_t n = show_int(subject, "edgeCount", 0);
	_cleanup_free_ char *text = NULL;
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < json_array_size(modes) && at < WORDS_LEN; i++) {
		const json_t *m = json_array_get(modes, i);

		at += (size_t)snprintf(buf + at, WORDS_LEN - at, "%s%s %s->%s", i > 0 ? ", " : "",
		    show_text(m, "workload", "?"), show_text(m, "was", "?"),
		    show_text(m, "mode", "?"));
	}
	if (first != NULL && at < WORDS_LEN)
		snprintf(buf + at, WORDS_LEN - at, "%s%s%s", at > 0 ? "; " : "", first,
		    n > 1 ? " and others" : "");
	if (buf[0] == '\0' && json_object_size(subject) > 0 && what == NULL) {
		text = json_dumps(subject, JSON_COMPACT);
		snprintf(buf, WORDS_LEN, "%s", text != NULL ? text : "");
	}
	return buf;
}

static int
print_records(const struct cli *cli, const json_t *records)
{
	static const struct table_col cols[] = { { "SEQ", COL_RIGHT, 0, 0 }, { "TIME", 0, 0, 0 },
		{ "EVENT", 0, 0, 0 }, { "ACTOR", COL_CUT, 8, 0 },
		{ "REV", COL_RIGHT | COL_EMPTY, 0, 0 }, { "RESULT", COL_CUT, 8, 0 },
		{ "REASON", COL_CUT | COL_EMPTY, 10, 0 }, { "TICKET", COL_EMPTY, 0, 0 },
		{ "SUBJECT", COL_CUT, 20, 0 }, { "HASH", COL_WIDE, 0, 0 } };
	_cleanup_(table_freep) struct table *t = NULL;
	char words[WORDS_LEN];
	int r;

	page_begin(&cli->out);
	if (!out_is_table(&cli->out))
		return out_document(&cli->out, records);
	r = table_new(cols, ARRAY_SIZE(cols), &t);
	for (size_t i = 0; r == 0 && i < json_array_size(records); i++) {
		const json_t *o = json_array_get(records, i);
		const char *result = show_text(o, "result", "?");
		int64_t revision = show_int(show_in(o, "after"), "revision", -1);

		table_cellf(t, COLOUR_NONE, "%" PRId64, show_int(o, "seq", 0));
		table_cell(t, show_text(o, "time", "?"), COLOUR_DIM);
		table_cell(t, show_text(o, "event", "?"), COLOUR_BOLD);
		table_cell(t, show_text(show_in(o, "actor"), "name", "?"), COLOUR_NONE);
		if (revision >= 0)
			table_cellf(t, COLOUR_NONE, "%" PRId64, revision);
		else
			table_cell(t, NULL, COLOUR_NONE);
		table_cell(t, result, strcmp(result, "ok") == 0 ? COLOUR_NONE : COLOUR_YELLOW);
		table_cell(t, show_text(o, "reason", NULL), COLOUR_NONE);
		table_cell(t, show_text(o, "ticket", NULL), COLOUR_NONE);
		table_cell(t, subject_words(show_in(o, "subject"), words), COLOUR_NONE);
		table_cell(t, show_text(o, "hash", NULL), COLOUR_DIM);
	}
	return r == 0 ? out_table(&cli->out, t, stdout) : r;
}

static int
show(const struct cli *cli, const struct audit_source *src, const struct audit_opts *opts)
{
	struct showing s = { .opts = opts, .records = json_array() };
	struct audit_chain chain = { 0 };
	int code = audit_source_walk(src, &chain, collect, &s);

	if (code == CLI_OK)
		code = cli_printed(print_records(cli, s.records));
	json_decref(s.records);
	if (s.damaged > 0)
		cli_warn("%zu line%s of the log are not sound; see nanoseg audit-log verify",
		    s.damaged, s.damaged == 1 ? "" : "s");
	return code;
}

/* verify */

struct verifying {
	const char *head;
	bool head_seen;
	struct audit_signed sig;
	json_t *violations;
	size_t n_violations;
	char first[TIME_STRLEN + 8], last[TIME_STRLEN + 8];
};

static void
violation(struct verifying *v, const char *segment, size_t line, const char *message)
{
	json_t *o = json_pack("{s:s}", "message", message);

	if (v->n_violations++ < MAX_SHOWN_VIOLATIONS) {
		json_object_set_new(
		    o, "segment", segment != NULL ? json_string(segment) : json_null());
		json_object_set_new(o, "line", json_integer((json_int_t)line));
		json_array_append(v->violations, o);
	}
	json_decref(o);
}

static int
check_line(void *arg, const char *segment, size_t line, json_t *record, const char *hash,
    const char *message)
{
	struct verifying *v = arg;
	const char *time = show_text(record, "time", "?");
	struct diag d;

	if (record == NULL) {
		violation(v, segment, line, message);
		return 0;
	}
	if (v->first[0] == '\0')
		snprintf(v->first, sizeof(v->first), "%s", time);
	snprintf(v->last, sizeof(v->last), "%s", time);
	v->head_seen |= v->head != NULL && strcmp(hash, v->head) == 0;
	if (audit_signed_record(&v->sig, record, &d) < 0)
		violation(v, segment, line, d.msg);
	return 0;
}

/* The end of the log against what the daemon holds, and what was noted elsewhere. */
static void
check_end(struct verifying *v, const struct audit_source *src, const struct audit_chain *chain)
{
	const json_t *head = show_in(src->list, "head");
	struct diag d;

	if (audit_chain_end(chain, &d) < 0)
		violation(v, NULL, 0, d.msg);
	if (audit_signed_end(&v->sig, &d) < 0)
		violation(v, NULL, 0, d.msg);
	if (head != NULL && json_is_object(head) &&
	    strcmp(show_text(head, "hash", ""), chain->hash) != 0) {
		char text[160];

		snprintf(text, sizeof(text),
		    "the daemon's last record is %" PRId64 ", the files end with %" PRIu64
		    ": the end was cut or changed",
		    show_int(head, "seq", 0), chain->seq);
		violation(v, NULL, 0, text);
	}
	if (v->head != NULL && !v->head_seen)
		violation(v, NULL, 0,
		    "no record has the hash given by --head: the end was cut, or the log "
		    "rewritten");
}

static int
print_verdict(const struct cli *cli, const struct verifying *v, const struct audit_chain *chain)
{
	json_t *o;
	int r;

	if (!out_is_table(&cli->out)) {
		o = json_pack("{s:b, s:I, s:s, s:s, s:{s:I, s:s}, s:{s:I, s:I, s:s}, s:I, s:O}",
		    "intact", v->n_violations == 0, "records", (json_int_t)chain->records, "first",
		    v->first, "last", v->last, "head", "seq", (json_int_t)chain->seq, "hash",
		    chain->hash, "signed", "checkpoints", (json_int_t)v->sig.checkpoints, "upTo",
		    (json_int_t)v->sig.seq, "publicKey", v->sig.key, "violationCount",
		    (json_int_t)v->n_violations, "violations", v->violations);
		r = o != NULL ? out_document(&cli->out, o) : -ENOMEM;
		json_decref(o);
		return r;
	}
	for (size_t i = 0; i < json_array_size(v->violations); i++) {
		const json_t *e = json_array_get(v->violations, i);
		_cleanup_free_ char *safe = text_safe_sentence(show_text(e, "message", ""));
		const char *segment = show_text(e, "segment", NULL);

		if (segment != NULL)
			printf("%s:%" PRId64 ": ", segment, show_int(e, "line", 0));
		printf("%s\n", safe != NULL ? safe : "");
	}
	if (v->n_violations > MAX_SHOWN_VIOLATIONS)
		printf("and %zu more\n", v->n_violations - MAX_SHOWN_VIOLATIONS);
	printf("%" PRIu64 " records", chain->records);
	if (chain->records > 0)
		printf(" from %s to %s, head %" PRIu64 " %s", v->first, v->last, chain->seq,
		    chain->hash);
	printf(": %s\n", v->n_violations == 0 ? "intact" : "NOT intact");
	if (v->sig.checkpoints > 0)
		printf("%zu signed checkpoints, the last at record %" PRIu64 ", by key %s%s\n",
		    v->sig.checkpoints, v->sig.seq, v->sig.key,
		    v->sig.keys > 1 ? ", and by earlier ones" : "");
	return 0;
}

static int
verify(const struct cli *cli, const struct audit_source *src, const struct audit_opts *opts)
{
	struct verifying v = {
		.head = opts->head, .sig.wanted = opts->key, .violations = json_array()
	};
	struct audit_chain chain = { 0 };
	int code = audit_source_walk(src, &chain, check_line, &v);

	if (code == CLI_OK) {
		check_end(&v, src, &chain);
		code = cli_printed(print_verdict(cli, &v, &chain));
	}
	json_decref(v.violations);
	return code == CLI_OK && v.n_violations > 0 ? CLI_DIFFERENCES : code;
}

int
cmd_audit_log(struct cli *cli, int argc, char **argv)
{
	struct audit_opts o = { 0 };
	const struct arg_option own[] = {
		{ "since", 0, NULL, &o.since },
		{ "until", 0, NULL, &o.until },
		{ "event", 0, NULL, &o.event },
		{ "actor", 0, NULL, &o.actor },
		{ "workload", 0, NULL, &o.workload },
		{ "last", 0, NULL, &o.last },
		{ "head", 0, NULL, &o.head },
		{ "key", 0, NULL, &o.key },
		{ "dir", 0, NULL, &o.dir },
	};
	struct audit_source src;
	bool verifies;
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	verifies = n == 1 && strcmp(argv[0], "verify") == 0;
	if (n > 1 || (n == 1 && !verifies && strcmp(argv[0], "show") != 0))
		return cli_usage(cli, "expected show or verify");
	code = read_opts(cli, &o, verifies);
	if (code == CLI_OK)
		code = audit_source_open(cli, o.dir, &src);
	if (code != CLI_OK)
		return code;
	code = verifies ? verify(cli, &src, &o) : show(cli, &src, &o);
	audit_source_close(&src);
	return code;
}
