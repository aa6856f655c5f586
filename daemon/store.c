/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store: SQLite in WAL mode with synchronous=FULL, so that a commit that returned survives the
 * loss of power. One writer, this process.
 *
 * A store that is newer than the program, or that SQLite finds damaged, is refused with a sentence
 * and left untouched: to start empty would be to forget the policy, and the rules in the kernel
 * would be taken for foreign. Before a migration the old file is copied aside.
 */
#include "daemon/controller.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define STORE_VERSION 1
#define STORE_FILE "nanoseg.db"

struct store {
	sqlite3 *db;
	sqlite3_stmt *put_edge, *delete_edge, *put_workload, *put_revision, *put_network;
	bool open_transaction;
};

static const char schema[] =
    "CREATE TABLE edge ("
    " id TEXT PRIMARY KEY, from_peer BLOB NOT NULL, to_peer BLOB NOT NULL, proto INTEGER NOT NULL,"
    " port_lo INTEGER NOT NULL, port_hi INTEGER NOT NULL, state INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, first_seen INTEGER, last_seen INTEGER,"
    " connections_source INTEGER, connections_destination INTEGER, bytes INTEGER, ends INTEGER,"
    " hours BLOB, instances BLOB, clients BLOB, reason BLOB, ticket BLOB, approved_by BLOB,"
    " decided INTEGER, expires INTEGER) WITHOUT ROWID;"
    "CREATE TABLE workload ("
    " name BLOB PRIMARY KEY, project BLOB, mode INTEGER NOT NULL, direction INTEGER NOT NULL,"
    " first_seen INTEGER, last_seen INTEGER, mode_since INTEGER, mode_reason BLOB,"
    " auto_promoted INTEGER, labels TEXT) WITHOUT ROWID;"
    "CREATE TABLE network (name BLOB PRIMARY KEY, prefixes TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE revision ("
    " number INTEGER PRIMARY KEY, time INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,"
    " reason BLOB, policy TEXT NOT NULL);";

static int
sql_error(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

static int
sql_exec(struct store *s, const char *sql)
{
	return sql_error(sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static int
pragma_number(struct store *s, const char *sql, int *ret)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc != SQLITE_OK)
		return sql_error(rc);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : sql_error(rc) < 0 ? sql_error(rc) : -EIO;
}

/* "ok" from quick_check, or -EBADMSG. */
static int
check_integrity(struct store *s)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL);
	const unsigned char *text;
	bool ok = false;

	if (rc != SQLITE_OK)
		return sql_error(rc);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		text = sqlite3_column_text(st, 0);
		ok = text != NULL && strcmp((const char *)text, "ok") == 0;
	}
	sqlite3_finalize(st);
	return ok ? 0 : -EBADMSG;
}

static int
prepare_all(struct store *s)
{
	const struct {
		sqlite3_stmt **st;
		const char *sql;
	} all[] = {
		{ &s->put_edge, "INSERT OR REPLACE INTO edge VALUES "
				"(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)" },
		{ &s->delete_edge, "DELETE FROM edge WHERE id = ?" },
		{ &s->put_workload,
		    "INSERT OR REPLACE INTO workload VALUES (?,?,?,?,?,?,?,?,?,?)" },
		{ &s->put_revision, "INSERT INTO revision VALUES (?,?,?,?,?,?)" },
		{ &s->put_network, "INSERT INTO network VALUES (?,?)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		int rc = sqlite3_prepare_v3(
		    s->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].st, NULL);

		if (rc != SQLITE_OK)
			return sql_error(rc);
	}
	return 0;
}

static int
make_schema(struct store *s)
{
	char sql[64];
	int r = sql_exec(s, "BEGIN IMMEDIATE");

	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", STORE_VERSION);
	if (r == 0)
		r = sql_exec(s, schema);
	if (r == 0)
		r = sql_exec(s, sql);
	return r == 0 ? sql_exec(s, "COMMIT") : r;
}

static int
open_checked(struct store *s, const char *path, struct diag *d)
{
	int version = 0, r;

	r = sql_error(sqlite3_open_v2(path, &s->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
	    NULL));
	if (r == 0)
		r = sql_exec(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
				"PRAGMA synchronous = FULL; PRAGMA cache_size = -512;"
				"PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF");
	if (r == 0)
		r = pragma_number(s, "PRAGMA user_version", &version);
	if (r == 0)
		r = check_integrity(s);
	if (r < 0) {
		diag_set(d, 0, 0,
		    "%s cannot be read: %s; it is left as it is: restore it from a "
		    "backup, or move it away to start with nothing",
		    path, s->db != NULL ? sqlite3_errmsg(s->db) : strerror(-r));
		return r;
	}
	if (version > STORE_VERSION) {
		diag_set(d, 0, 0,
		    "%s has version %d, this program knows %d: it was written by a "
		    "newer nanoseg and is left as it is",
		    path, version, STORE_VERSION);
		return -EPROTO;
	}
	if (version == 0)
		r = make_schema(s);
	if (r == 0)
		r = prepare_all(s);
	if (r < 0)
		diag_set(d, 0, 0, "%s: %s", path, sqlite3_errmsg(s->db));
	return r;
}

int
store_open(const char *dir, struct diag *d, struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));
	char path[4096];
	int r;

	if (s == NULL)
		return -ENOMEM;
	if (snprintf(path, sizeof(path), "%s/%s", dir, STORE_FILE) >= (int)sizeof(path)) {
		free(s);
		return -ENAMETOOLONG;
	}
	r = open_checked(s, path, d);
	if (r < 0) {
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	sqlite3_finalize(s->put_edge);
	sqlite3_finalize(s->delete_edge);
	sqlite3_finalize(s->put_workload);
	sqlite3_finalize(s->put_revision);
	sqlite3_finalize(s->put_network);
	sqlite3_close(s->db);
	free(s);
}

int
store_begin(struct store *s)
{
	int r = sql_exec(s, "BEGIN IMMEDIATE");

	s->open_transaction = r == 0;
	return r;
}

int
store_commit(struct store *s)
{
	int r = sql_exec(s, "COMMIT");

	if (r == 0)
		s->open_transaction = false;
	return r;
}

void
store_rollback(struct store *s)
{
	if (s->open_transaction)
		sql_exec(s, "ROLLBACK");
	s->open_transaction = false;
}

static void
bind_text(sqlite3_stmt *st, int at, const char *text)
{
	if (text == NULL)
		sqlite3_bind_null(st, at);
	else
		sqlite3_bind_blob(st, at, text, (int)strlen(text), SQLITE_TRANSIENT);
}

static int
run(struct store *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return sql_error(rc);
}

int
store_put_edge(struct store *s, const struct peer_table *peers, const struct edge *e)
{
	sqlite3_stmt *st = s->put_edge;
	const struct edge_evidence *ev = &e->evidence;
	char from[PEER_STRLEN], to[PEER_STRLEN];

	sqlite3_bind_text(st, 1, e->id, -1, SQLITE_TRANSIENT);
	bind_text(st, 2, peer_format(peer_get(peers, e->key.from), from));
	bind_text(st, 3, peer_format(peer_get(peers, e->key.to), to));
	sqlite3_bind_int(st, 4, e->key.proto);
	sqlite3_bind_int(st, 5, e->key.port_lo);
	sqlite3_bind_int(st, 6, e->key.port_hi);
	sqlite3_bind_int(st, 7, (int)e->state);
	sqlite3_bind_int64(st, 8, e->flags);
	sqlite3_bind_int64(st, 9, (sqlite3_int64)ev->first_seen_ns);
	sqlite3_bind_int64(st, 10, (sqlite3_int64)ev->last_seen_ns);
	sqlite3_bind_int64(st, 11, (sqlite3_int64)ev->connections_source);
	sqlite3_bind_int64(st, 12, (sqlite3_int64)ev->connections_destination);
	sqlite3_bind_int64(st, 13, (sqlite3_int64)ev->bytes);
	sqlite3_bind_int(st, 14, ev->ends);
	sqlite3_bind_blob(st, 15, ev->hour_bits, sizeof(ev->hour_bits), SQLITE_TRANSIENT);
	sqlite3_bind_blob(st, 16, ev->instance_hash, ev->n_instances * 4, SQLITE_TRANSIENT);
	sqlite3_bind_blob(st, 17, ev->client_hash, ev->n_clients * 4, SQLITE_TRANSIENT);
	bind_text(st, 18, e->decision.reason);
	bind_text(st, 19, e->decision.ticket);
	bind_text(st, 20, e->decision.approved_by);
	sqlite3_bind_int64(st, 21, (sqlite3_int64)e->decision.decided_ns);
	sqlite3_bind_int64(st, 22, (sqlite3_int64)e->decision.expires_ns);
	return run(s, st);
}

int
store_delete_edge(struct store *s, const char *id)
{
	sqlite3_bind_text(s->delete_edge, 1, id, -1, SQLITE_TRANSIENT);
	return run(s, s->delete_edge);
}

int
store_put_workload(struct store *s, const struct workload *w)
{
	_cleanup_free_ char *labels = NULL;
	sqlite3_stmt *st = s->put_workload;
	json_t *o = json_object();

	for (size_t i = 0; i < w->n_labels; i++)
		json_object_set_new(o, w->labels[i].key, json_string(w->labels[i].value));
	labels = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	bind_text(st, 1, w->name);
	bind_text(st, 2, w->project);
	sqlite3_bind_int(st, 3, (int)w->mode);
	sqlite3_bind_int(st, 4, (int)w->direction);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)w->first_seen_ns);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)w->last_seen_ns);
	sqlite3_bind_int64(st, 7, (sqlite3_int64)w->mode_since_ns);
	bind_text(st, 8, w->mode_reason);
	sqlite3_bind_int(st, 9, w->auto_promoted);
	if (labels != NULL)
		sqlite3_bind_text(st, 10, labels, -1, SQLITE_TRANSIENT);
	return run(s, st);
}

int
store_put_networks(struct store *s, const struct policy_network *n, size_t count)
{
	int r = sql_exec(s, "DELETE FROM network");

	for (size_t i = 0; r == 0 && i < count; i++) {
		_cleanup_free_ char *text = NULL;
		json_t *list = json_array();

		for (size_t k = 0; k < n[i].n_prefixes; k++) {
			char p[PREFIX_STRLEN];

			json_array_append_new(
			    list, json_string(prefix_format(&n[i].prefixes[k], p)));
		}
		text = json_dumps(list, JSON_COMPACT);
		json_decref(list);
		if (text == NULL)
			return -ENOMEM;
		bind_text(s->put_network, 1, n[i].name);
		sqlite3_bind_text(s->put_network, 2, text, -1, SQLITE_TRANSIENT);
		r = run(s, s->put_network);
	}
	return r;
}

int
store_put_revision(struct store *s, const struct store_revision *rev)
{
	sqlite3_stmt *st = s->put_revision;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)rev->number);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)rev->time_ns);
	sqlite3_bind_text(st, 3, rev->actor, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(st, 4, rev->action, -1, SQLITE_TRANSIENT);
	bind_text(st, 5, rev->reason);
	sqlite3_bind_text(st, 6, rev->policy_json, -1, SQLITE_TRANSIENT);
	return run(s, st);
}

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
}

static bool
ports_valid(int proto, int lo, int hi, int state)
{
	return proto > 0 && proto < 256 && lo >= 0 && hi >= lo && hi <= 65535 &&
	       state >= EDGE_PENDING && state <= EDGE_DENIED;
}

static int
load_edge_row(sqlite3_stmt *st, const struct store_loader *l)
{
	char from_name[PEER_STRLEN], to_name[PEER_STRLEN];
	_cleanup_free_ char *from = column_dup(st, 1), *to = column_dup(st, 2);
	struct stored_edge e = { 0 };
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
	r = l->edge(l->arg, &e);
	free(e.decision.reason);
	free(e.decision.ticket);
	free(e.decision.approved_by);
	return r;
}

static int
load_workload_row(sqlite3_stmt *st, const struct store_loader *l)
{
	_cleanup_free_ char *name = column_dup(st, 0), *project = column_dup(st, 1),
			    *reason = column_dup(st, 7), *labels = column_dup(st, 9);
	int mode = sqlite3_column_int(st, 2), direction = sqlite3_column_int(st, 3);
	struct stored_workload w = {
		.name = name,
		.project = project,
		.mode_reason = reason,
		.mode = (enum wl_mode)mode,
		.direction = (enum wl_direction)direction,
		.first_seen_ns = (uint64_t)sqlite3_column_int64(st, 4),
		.last_seen_ns = (uint64_t)sqlite3_column_int64(st, 5),
		.mode_since_ns = (uint64_t)sqlite3_column_int64(st, 6),
		.auto_promoted = sqlite3_column_int(st, 8) != 0,
		.labels_json = labels,
	};

	if (name == NULL || !workload_name_valid(name) || mode < MODE_OBSERVE ||
	    mode > MODE_ENFORCE || direction < WL_INGRESS || direction > WL_BOTH)
		return -EBADMSG;
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
		{ "revisions", "SELECT ifnull(max(number), 0) FROM revision", load_revision_row },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		sqlite3_stmt *st;
		int rc = sqlite3_prepare_v2(s->db, tables[i].sql, -1, &st, NULL);
		int r = sql_error(rc);

		while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW)
			r = tables[i].row(st, l);
		if (r == 0)
			r = sql_error(rc);
		sqlite3_finalize(st);
		if (r < 0) {
			diag_set(d, 0, 0,
			    "the stored %s cannot be read: %s; the file is left as it "
			    "is",
			    tables[i].what, strerror(-r));
			return r;
		}
	}
	return 0;
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

		json_array_append_new(list, json_pack("{s:I, s:I, s:s?, s:s?, s:s?}", "revision",
						(json_int_t)sqlite3_column_int64(st, 0), "timeNs",
						(json_int_t)sqlite3_column_int64(st, 1), "actor",
						actor, "action", action, "reason", reason));
	}
	sqlite3_finalize(st);
	return list;
}
