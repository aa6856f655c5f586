/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the store back. What a row says is checked before anyone sees it: a value that this
 * program cannot have written refuses the whole store.
 */
#include "daemon/start.h"
#include "daemon/store.h"
#include "daemon/store_internal.h"
#include "rules/complete.h"

#include "rules/timefmt.h"

#include <errno.h>
#include <string.h>

/* A column's text in malloc'ed memory, NULL for SQL's null. */
static char *
column_dup(sqlite3_stmt *st, int at)
{
	const void *bytes = sqlite3_column_blob(st, at);
	int n = sqlite3_column_bytes(st, at);
	char *text;

	if (sqlite3_column_type(st, at) == SQLITE_NULL)
		return NULL;
	text = malloc((size_t)n + 1);
	if (text == NULL)
		return NULL;
	if (n > 0)
		memcpy(text, bytes, (size_t)n);
	text[n] = '\0';
	return text;
}

static void
column_sketch(sqlite3_stmt *st, int at, uint32_t hashes[EDGE_SKETCH], uint8_t *ret_n)
{
	int n = MIN(sqlite3_column_bytes(st, at), EDGE_SKETCH * 4) / 4;

	if (n > 0)
		memcpy(hashes, sqlite3_column_blob(st, at), (size_t)n * 4);
	*ret_n = (uint8_t)n;
}

/* Of before they were counted: as many as hours of the week, at least. */
static uint32_t
windows_of_hours(const struct edge_evidence *ev)
{
	uint32_t n = 0;

	for (size_t i = 0; i < sizeof(ev->hour_bits); i++)
		n += (uint32_t)__builtin_popcount(ev->hour_bits[i]);
	return n;
}

static void
column_evidence(sqlite3_stmt *st, struct edge_evidence *ev)
{
	ev->first_seen_ns = (uint64_t)sqlite3_column_int64(st, 8);
	ev->last_seen_ns = (uint64_t)sqlite3_column_int64(st, 9);
	ev->connections_source = (uint64_t)sqlite3_column_int64(st, 10);
	ev->connections_destination = (uint64_t)sqlite3_column_int64(st, 11);
	ev->bytes = (uint64_t)sqlite3_column_int64(st, 12);
	ev->ends = (uint8_t)sqlite3_column_int(st, 13);
	if (sqlite3_column_bytes(st, 14) == sizeof(ev->hour_bits))
		memcpy(ev->hour_bits, sqlite3_column_blob(st, 14), sizeof(ev->hour_bits));
	column_sketch(st, 15, ev->instance_hash, &ev->n_instances);
	column_sketch(st, 16, ev->client_hash, &ev->n_clients);
	if (sqlite3_column_bytes(st, 22) == sizeof(ev->images))
		memcpy(ev->images, sqlite3_column_blob(st, 22), sizeof(ev->images));
	ev->windows = (uint32_t)sqlite3_column_int64(st, 25);
	ev->last_window = (uint32_t)sqlite3_column_int64(st, 26);
	if (sqlite3_column_type(st, 25) == SQLITE_NULL) {
		ev->windows = windows_of_hours(ev);
		ev->last_window = (uint32_t)(ev->last_seen_ns / COMPLETE_HOUR_NS);
	}
}

static bool
ports_valid(int proto, int lo, int hi, int state)
{
	return proto >= 0 && proto < 256 && lo >= 0 && hi >= lo && hi <= 65535 &&
	       state >= EDGE_PENDING && state <= EDGE_DENIED;
}

static int
load_edge_row(sqlite3_stmt *st, const struct store_loader *l)
{
	char from_name[PEER_STRLEN], to_name[PEER_STRLEN];
	_cleanup_free_ char *from = column_dup(st, 1), *to = column_dup(st, 2);
	struct stored_edge e = { 0 };
	struct edge_extent extent;
	int proto = sqlite3_column_int(st, 3), lo = sqlite3_column_int(st, 4),
	    hi = sqlite3_column_int(st, 5), state = sqlite3_column_int(st, 6), r;

	if (from == NULL || to == NULL || peer_parse(from, from_name, &e.from) < 0 ||
	    peer_parse(to, to_name, &e.to) < 0 || !ports_valid(proto, lo, hi, state))
		return -EBADMSG;
	e.proto = (uint8_t)proto;
	e.port_lo = (uint16_t)lo;
	e.port_hi = (uint16_t)hi;
	e.state = (enum edge_state)state;
	e.flags = (uint32_t)sqlite3_column_int64(st, 7);
	column_evidence(st, &e.evidence);
	e.decision.reason = column_dup(st, 17);
	e.decision.ticket = column_dup(st, 18);
	e.decision.approved_by = column_dup(st, 19);
	e.decision.decided_ns = (uint64_t)sqlite3_column_int64(st, 20);
	e.decision.expires_ns = (uint64_t)sqlite3_column_int64(st, 21);
	e.decision.kept_ns = (uint64_t)sqlite3_column_int64(st, 23);
	e.decision.kept_by = column_dup(st, 24);
	if (sqlite3_column_bytes(st, 27) > 0 &&
	    extent_read(
		sqlite3_column_blob(st, 27), (size_t)sqlite3_column_bytes(st, 27), &extent) == 0)
		e.extent = &extent;
	if (sqlite3_column_bytes(st, 28) > 0)
		seen_as_read(
		    sqlite3_column_blob(st, 28), (size_t)sqlite3_column_bytes(st, 28), &e.seen_as);
	r = l->edge(l->arg, &e);
	free(e.decision.reason);
	free(e.decision.ticket);
	free(e.decision.approved_by);
	free(e.decision.kept_by);
	seen_as_free(e.seen_as);
	return r;
}

static int
load_workload_row(sqlite3_stmt *st, const struct store_loader *l)
{
	_cleanup_free_ char *name = column_dup(st, 0), *project = column_dup(st, 1),
			    *reason = column_dup(st, 7), *labels = column_dup(st, 10),
			    *selector = column_dup(st, 11), *images = column_dup(st, 12),
			    *by = column_dup(st, 13), *networks = column_dup(st, 15);
	int mode = sqlite3_column_int(st, 2), direction = sqlite3_column_int(st, 3);
	struct complete_log log;
	struct stored_workload w = {
		.name = name,
		.project = project,
		.mode_reason = reason,
		.mode_by = by,
		.networks = networks,
		.rolled_back = sqlite3_column_int(st, 16) != 0,
		.missed_ns = (uint64_t)sqlite3_column_int64(st, 17),
		.mode = (enum wl_mode)mode,
		.direction = (enum wl_direction)direction,
		.first_seen_ns = (uint64_t)sqlite3_column_int64(st, 4),
		.last_seen_ns = (uint64_t)sqlite3_column_int64(st, 5),
		.mode_since_ns = (uint64_t)sqlite3_column_int64(st, 6),
		.auto_promoted = sqlite3_column_int(st, 8) != 0,
		.observed_ns = (uint64_t)sqlite3_column_int64(st, 9),
		.labels_json = labels,
		.selector_json = selector,
		.images_json = images,
	};

	if (name == NULL || !workload_name_valid(name) || mode < MODE_OBSERVE ||
	    mode > MODE_ENFORCE || direction < WL_INGRESS || direction > WL_BOTH)
		return -EBADMSG;
	if (sqlite3_column_type(st, 14) != SQLITE_NULL) {
		if (complete_log_decode(sqlite3_column_blob(st, 14),
			(size_t)sqlite3_column_bytes(st, 14), &log) < 0)
			return -EBADMSG;
		w.log = &log;
	}
	return l->workload(l->arg, &w);
}

static int
load_network_row(sqlite3_stmt *st, const struct store_loader *l)
{
	_cleanup_free_ char *name = column_dup(st, 0), *text = column_dup(st, 1);
	_cleanup_free_ struct prefix *prefixes = NULL;
	json_t *list = text != NULL ? json_loads(text, 0, NULL) : NULL;
	struct policy_network n = { .name = name };
	int r = 0;

	prefixes = calloc(json_array_size(list) + 1, sizeof(*prefixes));
	if (name == NULL || list == NULL || prefixes == NULL)
		r = -EBADMSG;
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const char *p = json_string_value(json_array_get(list, i));

		if (p == NULL || prefix_parse(p, &prefixes[n.n_prefixes++]) < 0)
			r = -EBADMSG;
	}
	n.prefixes = prefixes;
	if (r == 0)
		r = l->network(l->arg, &n);
	json_decref(list);
	return r;
}

static int
load_revision_row(sqlite3_stmt *st, const struct store_loader *l)
{
	return l->revision(l->arg, (uint64_t)sqlite3_column_int64(st, 0));
}

static int
load_denial_row(sqlite3_stmt *st, const struct store_loader *l)
{
	char from_name[PEER_STRLEN], to_name[PEER_STRLEN];
	_cleanup_free_ char *from = column_dup(st, 3), *to = column_dup(st, 4),
			    *src = column_dup(st, 8), *dst = column_dup(st, 9);
	int kind = sqlite3_column_int(st, 1), dir = sqlite3_column_int(st, 2),
	    proto = sqlite3_column_int(st, 5), lo = sqlite3_column_int(st, 6),
	    hi = sqlite3_column_int(st, 7);
	struct stored_denial d = {
		.proto = (uint8_t)proto,
		.kind = (uint8_t)kind,
		.dir = (uint8_t)dir,
		.port_lo = (uint16_t)lo,
		.port_hi = (uint16_t)hi,
		.last = { .proto = (uint8_t)proto,
		    .sport = (uint16_t)sqlite3_column_int(st, 10),
		    .dport = (uint16_t)sqlite3_column_int(st, 11) },
		.count = (uint64_t)sqlite3_column_int64(st, 12),
		.first_ns = (uint64_t)sqlite3_column_int64(st, 13),
		.last_ns = (uint64_t)sqlite3_column_int64(st, 14),
	};

	if (from == NULL || to == NULL || src == NULL || dst == NULL ||
	    peer_parse(from, from_name, &d.from) < 0 || peer_parse(to, to_name, &d.to) < 0 ||
	    addr_parse(src, &d.last.src) < 0 || addr_parse(dst, &d.last.dst) < 0 ||
	    kind < FLOW_ATTEMPT || kind > FLOW_AUDITED || dir < 0 || dir > DIR_EGRESS ||
	    !ports_valid(proto, lo, hi, EDGE_PENDING))
		return -EBADMSG;
	return l->denial(l->arg, &d);
}

static int
load_exposure_row(sqlite3_stmt *st, const struct store_loader *l)
{
	_cleanup_free_ char *workload = column_dup(st, 1), *instance = column_dup(st, 2);
	struct exposure e = {
		.workload = workload,
		.from_ns = (uint64_t)sqlite3_column_int64(st, 3),
		.to_ns = (uint64_t)sqlite3_column_int64(st, 4),
	};

	if (workload == NULL || instance == NULL || strlen(instance) >= sizeof(e.instance))
		return -EBADMSG;
	memcpy(e.instance, instance, strlen(instance) + 1);
	return l->exposure(l->arg, &e);
}

int
store_load(struct store *s, const struct store_loader *l, struct diag *d)
{
	static const struct {
		const char *what, *sql;
		int (*row)(sqlite3_stmt *st, const struct store_loader *l);
	} tables[] = {
		{ "networks", "SELECT * FROM network ORDER BY name", load_network_row },
		{ "workloads", "SELECT * FROM workload ORDER BY first_seen, name",
		    load_workload_row },
		{ "edges", "SELECT * FROM edge ORDER BY first_seen, id", load_edge_row },
		{ "denials", "SELECT * FROM denial ORDER BY first_seen, id", load_denial_row },
		{ "exposures", "SELECT * FROM exposure ORDER BY number", load_exposure_row },
		{ "revisions", "SELECT ifnull(max(number), 0) FROM revision", load_revision_row },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		sqlite3_stmt *st;
		int rc = sqlite3_prepare_v2(s->db, tables[i].sql, -1, &st, NULL);
		int r = store_error(rc);

		while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW)
			r = tables[i].row(st, l);
		if (r == 0)
			r = store_error(rc);
		sqlite3_finalize(st);
		if (r < 0) {
			diag_set(d, 0, 0,
			    "the stored %s cannot be read: %s; the file is left as it is",
			    tables[i].what,
			    r == -ENOSPC ? "there are more than maxEdges allows" : strerror(-r));
			return r;
		}
	}
	return 0;
}

/* JSON takes UTF-8 alone. */
static json_t *
text_json(const char *text)
{
	char safe[4096];

	if (text == NULL)
		return json_null();
	if (text_is_utf8(text, strlen(text)))
		return json_string(text);
	text_escape(text, strlen(text), safe, sizeof(safe));
	return json_string(safe);
}

int
store_get_revision(struct store *s, uint64_t number, char **ret)
{
	sqlite3_stmt *st;
	char *text = NULL;
	int rc = sqlite3_prepare_v2(
	    s->db, "SELECT policy FROM revision WHERE number = ?", -1, &st, NULL);

	if (rc != SQLITE_OK)
		return store_error(rc);
	sqlite3_bind_int64(st, 1, (sqlite3_int64)number);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		text = column_dup(st, 0);
	sqlite3_finalize(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return store_error(rc);
	if (text == NULL)
		return -ENOENT;
	*ret = text;
	return 0;
}

int
store_find_revision(struct store *s, uint64_t time_ns, uint64_t *ret)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->db,
	    "SELECT (SELECT max(number) FROM revision WHERE time <= ?), min(number) FROM revision",
	    -1, &st, NULL);
	bool found, first_kept;

	if (rc != SQLITE_OK)
		return store_error(rc);
	sqlite3_bind_int64(st, 1, (sqlite3_int64)time_ns);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW) {
		sqlite3_finalize(st);
		return store_error(rc) < 0 ? store_error(rc) : -EIO;
	}
	found = sqlite3_column_type(st, 0) != SQLITE_NULL;
	first_kept = sqlite3_column_int64(st, 1) <= 1;
	if (found || first_kept)
		*ret = found ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	sqlite3_finalize(st);
	return found || first_kept ? 0 : -ENOENT;
}

json_t *
store_revisions(struct store *s, size_t max)
{
	json_t *list = json_array();
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(s->db,
		"SELECT number, time, actor, action, reason FROM revision ORDER BY number DESC "
		"LIMIT ?",
		-1, &st, NULL) != SQLITE_OK)
		return list;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)max);
	while (sqlite3_step(st) == SQLITE_ROW) {
		_cleanup_free_ char *actor = column_dup(st, 2), *action = column_dup(st, 3),
				    *reason = column_dup(st, 4);
		uint64_t ns = (uint64_t)sqlite3_column_int64(st, 1);
		char time[TIME_STRLEN];

		json_array_append_new(
		    list, json_pack("{s:I, s:s, s:o, s:o, s:o}", "revision",
			      (json_int_t)sqlite3_column_int64(st, 0), "time",
			      time_format(ns - ns % NSEC_PER_MSEC, time), "actor", text_json(actor),
			      "action", text_json(action), "reason", text_json(reason)));
	}
	sqlite3_finalize(st);
	return list;
}
