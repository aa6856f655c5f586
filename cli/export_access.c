/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/export_access.h"

#include "cli/audit_signed.h"
#include "cli/audit_source.h"
#include "cli/bundle.h"
#include "cli/csv.h"
#include "cli/export_syslog.h"
#include "cli/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct collecting {
	uint64_t since_ns, violations;
	struct audit_signed sig;
	json_t *records;
};

static int
collect(void *arg, const char *segment, size_t line, json_t *record, const char *hash,
    const char *message)
{
	struct collecting *c = arg;
	struct diag d;

	if (record == NULL) {
		c->violations++;
		return 0;
	}
	c->violations += audit_signed_record(&c->sig, record, &d) < 0;
	if (bundle_time(record, "time") < c->since_ns)
		return 0;
	json_object_set_new(record, "hash", json_string(hash));
	return json_array_append(c->records, record);
}

int
access_collect(const struct cli *cli, uint64_t since_ns, json_t **ret)
{
	struct collecting c = { .since_ns = since_ns, .records = json_array() };
	struct audit_chain chain = { 0 };
	struct audit_source src;
	const char *head;
	struct diag d;
	int code = audit_source_open(cli, NULL, &src);

	if (code != CLI_OK) {
		json_decref(c.records);
		return code;
	}
	code = audit_source_walk(&src, &chain, collect, &c);
	c.violations += audit_chain_end(&chain, &d) < 0;
	head = show_text(show_in(src.list, "head"), "hash", NULL);
	c.violations += head != NULL && strcmp(head, chain.hash) != 0;
	*ret = json_pack("{s:s, s:s, s:s, s:{s:I, s:s}, s:b, s:I, s:o}", "apiVersion", "nanoseg/v1",
	    "kind", "AccessEvidence", "host", show_text(show_in(src.list, "host"), "name", "?"),
	    "head", "seq", (json_int_t)chain.seq, "hash",
	    chain.seq > 0 ? chain.hash : audit_no_hash, "intact", c.violations == 0, "violations",
	    (json_int_t)c.violations, "records", c.records);
	audit_source_close(&src);
	return code == CLI_OK && *ret == NULL ? cli_no_memory() : code;
}

bool
access_is_intact(const json_t *access)
{
	return json_is_true(show_in(access, "intact"));
}

static int
write_json(const json_t *access, FILE *f)
{
	int r = json_dumpf(access, f, JSON_INDENT(2) | JSON_ENSURE_ASCII);

	fputc('\n', f);
	return r < 0 ? -ENOMEM : 0;
}

static void
write_record(const json_t *access, const json_t *o, FILE *f)
{
	const json_t *actor = show_in(o, "actor"), *subject = show_in(o, "subject");
	_cleanup_free_ char *about =
	    json_is_object(subject) ? json_dumps(subject, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	csv_cell(f, show_text(access, "host", ""), false);
	csv_number(f, o, "seq");
	csv_cell(f, show_text(o, "time", ""), false);
	csv_cell(f, show_text(o, "event", ""), false);
	csv_cell(f, show_text(actor, "name", ""), false);
	csv_number(f, actor, "uid");
	csv_number(f, actor, "loginuid");
	csv_cell(f, show_text(actor, "program", ""), false);
	csv_cell(f, show_text(o, "result", ""), false);
	csv_cell(f, show_text(o, "reason", ""), false);
	csv_cell(f, show_text(o, "ticket", ""), false);
	csv_number(f, show_in(o, "after"), "revision");
	csv_cell(f, about, false);
	csv_cell(f, show_text(o, "hash", ""), false);
	csv_cell(f, access_is_intact(access) ? "yes" : "no", true);
}

static int
write_csv(const json_t *access, FILE *f)
{
	const json_t *list = show_in(access, "records");

	fputs(
	    "host,seq,time,event,actor,uid,loginuid,program,result,reason,ticket,revision,subject,"
	    "hash,intact\r\n",
	    f);
	for (size_t i = 0; i < json_array_size(list); i++)
		write_record(access, json_array_get(list, i), f);
	return 0;
}

const struct access_format *
access_format_find(const char *name)
{
	static const struct access_format formats[] = { { "access", write_json },
		{ "access-csv", write_csv }, { "access-syslog", export_access_syslog } };

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}
