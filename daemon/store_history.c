/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * History in the store: an entry is a flow on a day, with the counts of its hours in a blob; what a
 * flow is stands once, and goes with its last entry.
 */
#include "daemon/history.h"
#include "daemon/store_internal.h"

#include <errno.h>
#include <string.h>

const char store_history_schema[] =
    "CREATE TABLE history (day INTEGER NOT NULL, flow INTEGER NOT NULL, hours BLOB NOT NULL,"
    " last INTEGER NOT NULL, PRIMARY KEY (day, flow)) WITHOUT ROWID;"
    "CREATE TABLE history_flow (id INTEGER PRIMARY KEY, from_peer BLOB NOT NULL,"
    " to_peer BLOB NOT NULL, proto INTEGER NOT NULL, port INTEGER NOT NULL);"
    "CREATE TABLE history_day (day INTEGER PRIMARY KEY, seq INTEGER NOT NULL,"
    " broken INTEGER NOT NULL, entries INTEGER NOT NULL);";

int
store_prepare_history(struct store *s)
{
	struct store_history_statements *h = &s->history;
	const struct store_statement all[] = {
		{ &h->get, "SELECT hours FROM history WHERE day = ? AND flow = ?" },
		{ &h->put, "INSERT OR REPLACE INTO history VALUES (?,?,?,?)" },
		{ &h->put_flow, "INSERT OR IGNORE INTO history_flow VALUES (?,?,?,?,?)" },
		{ &h->get_flow,
		    "SELECT from_peer, to_peer, proto, port FROM history_flow WHERE id = ?" },
		{ &h->put_day, "INSERT OR REPLACE INTO history_day VALUES (?,?,?,?)" },
		{ &h->delete_day, "DELETE FROM history_day WHERE day = ?" },
		{ &h->page, "SELECT day, flow, hours, last FROM history WHERE (day, flow) > (?,?) "
			    "ORDER BY day, flow LIMIT ?" },
		{ &h->oldest, "SELECT flow FROM history WHERE day = ? ORDER BY flow LIMIT ?" },
		{ &h->delete_one, "DELETE FROM history WHERE day = ? AND flow = ?" },
		{ &h->delete_flow,
		    "DELETE FROM history_flow WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM "
		    "history_day d JOIN history h ON h.day = d.day WHERE h.flow = ?1)" },
	};

	return store_prepare(s, all, ARRAY_SIZE(all));
}

size_t
history_encode(
    const uint64_t counts[static HISTORY_DAY_HOURS], uint8_t buf[static HISTORY_BLOB_MAX])
{
	size_t n = 0;

	for (unsigned h = 0; h < HISTORY_DAY_HOURS; h++) {
		uint64_t v = counts[h];

		if (v == 0)
			continue;
		buf[n++] = (uint8_t)h;
		for (; v >= 0x80; v >>= 7)
			buf[n++] = (uint8_t)(v | 0x80);
		buf[n++] = (uint8_t)v;
	}
	return n;
}

int
history_decode(const uint8_t *buf, size_t len, uint64_t ret[static HISTORY_DAY_HOURS])
{
	uint64_t counts[HISTORY_DAY_HOURS] = { 0 };
	int last = -1;

	for (size_t i = 0; i < len;) {
		unsigned h = buf[i++], shift = 0;
		uint64_t v = 0;

		if (h >= HISTORY_DAY_HOURS || (int)h <= last)
			return -EBADMSG;
		last = (int)h;
		do {
			if (i == len || shift > 63 || (shift == 63 && buf[i] > 1))
				return -EBADMSG;
			v |= (uint64_t)(buf[i] & 0x7f) << shift;
			shift += 7;
		} while ((buf[i++] & 0x80) != 0);
		if (v == 0 || (shift > 7 && buf[i - 1] == 0))
			return -EBADMSG;
		counts[h] = v;
	}
	memcpy(ret, counts, sizeof(counts));
	return 0;
}

/* What the day's entry has. -ENOENT. */
static int
get_hours(struct store *s, uint32_t day, int64_t flow, uint64_t counts[static HISTORY_DAY_HOURS])
{
	sqlite3_stmt *st = s->history.get;
	int rc, r = -ENOENT;

	sqlite3_bind_int64(st, 1, day);
	sqlite3_bind_int64(st, 2, flow);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		r = history_decode(
		    sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0), counts);
	else if (rc != SQLITE_DONE)
		r = store_error(rc);
	sqlite3_reset(st);
	return r;
}

static void
bind_peer(sqlite3_stmt *st, int at, const struct peer *p)
{
	char text[PEER_STRLEN];

	store_bind_text(st, at, peer_format(p, text));
}

static int
put_flow(struct store *s, int64_t flow, const struct history_put *p)
{
	sqlite3_stmt *st = s->history.put_flow;

	sqlite3_bind_int64(st, 1, flow);
	bind_peer(st, 2, p->from);
	bind_peer(st, 3, p->to);
	sqlite3_bind_int(st, 4, p->proto);
	sqlite3_bind_int(st, 5, p->port);
	return store_run(st);
}

int
store_put_history(struct store *s, const struct history_put *p, bool existing_only)
{
	int64_t flow = (int64_t)edge_key_number(p->from, p->to, p->proto, p->port, p->port);
	uint32_t day = p->hour / HISTORY_DAY_HOURS;
	uint64_t counts[HISTORY_DAY_HOURS] = { 0 };
	uint8_t blob[HISTORY_BLOB_MAX];
	sqlite3_stmt *st = s->history.put;
	int r = get_hours(s, day, flow, counts);
	bool is_new = r == -ENOENT;

	if (r < 0 && (!is_new || existing_only))
		return r;
	if (is_new && (r = put_flow(s, flow, p)) < 0)
		return r;
	counts[p->hour % HISTORY_DAY_HOURS] += p->count;
	sqlite3_bind_int64(st, 1, day);
	sqlite3_bind_int64(st, 2, flow);
	sqlite3_bind_blob(st, 3, blob, (int)history_encode(counts, blob), SQLITE_TRANSIENT);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)(p->last_ns / NSEC_PER_SEC));
	r = store_run(st);
	return r < 0 ? r : is_new;
}

int
store_put_history_day(struct store *s, const struct history_day *d)
{
	sqlite3_stmt *st = s->history.put_day;

	sqlite3_bind_int64(st, 1, d->day);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)d->seq);
	sqlite3_bind_int64(st, 3, d->broken);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)d->rows);
	return store_run(st);
}

int
store_delete_history_day(struct store *s, uint32_t day)
{
	sqlite3_bind_int64(s->history.delete_day, 1, day);
	return store_run(s->history.delete_day);
}

int
store_history_days(struct store *s, struct history_day *list, size_t max, size_t *ret_n)
{
	sqlite3_stmt *st;
	size_t n = 0;
	int rc = sqlite3_prepare_v2(
	    s->db, "SELECT day, seq, broken, entries FROM history_day ORDER BY day", -1, &st, NULL);

	if (rc != SQLITE_OK)
		return store_error(rc);
	while (n < max && (rc = sqlite3_step(st)) == SQLITE_ROW)
		list[n++] = (struct history_day){
			.day = (uint32_t)sqlite3_column_int64(st, 0),
			.seq = (uint64_t)sqlite3_column_int64(st, 1),
			.broken = (uint32_t)sqlite3_column_int64(st, 2),
			.rows = (uint64_t)sqlite3_column_int64(st, 3),
		};
	sqlite3_finalize(st);
	if (n < max && rc != SQLITE_DONE)
		return store_error(rc);
	*ret_n = n;
	return 0;
}

int
store_prune_history(struct store *s, uint32_t day, unsigned max)
{
	_cleanup_free_ int64_t *flows = calloc(max + 1, sizeof(*flows));
	struct store_history_statements *h = &s->history;
	unsigned n = 0;
	int rc = SQLITE_DONE, r = 0;

	if (flows == NULL)
		return -ENOMEM;
	sqlite3_bind_int64(h->oldest, 1, day);
	sqlite3_bind_int64(h->oldest, 2, max);
	while (n < max && (rc = sqlite3_step(h->oldest)) == SQLITE_ROW)
		flows[n++] = sqlite3_column_int64(h->oldest, 0);
	sqlite3_reset(h->oldest);
	if (n < max && rc != SQLITE_DONE)
		return store_error(rc);
	for (unsigned i = 0; r == 0 && i < n; i++) {
		sqlite3_bind_int64(h->delete_one, 1, day);
		sqlite3_bind_int64(h->delete_one, 2, flows[i]);
		r = store_run(h->delete_one);
		sqlite3_bind_int64(h->delete_flow, 1, flows[i]);
		if (r == 0)
			r = store_run(h->delete_flow);
	}
	return r < 0 ? r : (int)n;
}

int
store_read_history(
    struct store *s, uint32_t *day, int64_t *flow, unsigned max, history_row_fn fn, void *arg)
{
	sqlite3_stmt *st = s->history.page;
	int rc = SQLITE_DONE, r = 0, n = 0;

	sqlite3_bind_int64(st, 1, *day);
	sqlite3_bind_int64(st, 2, *flow);
	sqlite3_bind_int64(st, 3, max);
	while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		uint64_t counts[HISTORY_DAY_HOURS];

		*day = (uint32_t)sqlite3_column_int64(st, 0);
		*flow = sqlite3_column_int64(st, 1);
		r = history_decode(
		    sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2), counts);
		if (r == 0)
			r = fn(arg, (uint64_t)*flow, *day, counts,
			    (uint64_t)sqlite3_column_int64(st, 3) * NSEC_PER_SEC);
		n++;
	}
	sqlite3_reset(st);
	if (r < 0)
		return r;
	return rc == SQLITE_DONE ? n : store_error(rc);
}

/* A peer's text, which was ours to write. */
static int
column_peer(sqlite3_stmt *st, int at, char name[static PEER_STRLEN], struct peer *ret)
{
	const void *bytes = sqlite3_column_blob(st, at);
	size_t n = (size_t)sqlite3_column_bytes(st, at);
	char text[PEER_STRLEN];

	if (bytes == NULL || n >= sizeof(text))
		return -EBADMSG;
	memcpy(text, bytes, n);
	text[n] = '\0';
	return peer_parse(text, name, ret) < 0 ? -EBADMSG : 0;
}

int
store_find_history_flow(struct store *s, uint64_t flow, struct history_flow *ret)
{
	sqlite3_stmt *st = s->history.get_flow;
	int rc, r = -ENOENT, proto, port;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)flow);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		proto = sqlite3_column_int(st, 2);
		port = sqlite3_column_int(st, 3);
		r = column_peer(st, 0, ret->from_name, &ret->from);
		if (r == 0)
			r = column_peer(st, 1, ret->to_name, &ret->to);
		if (proto < 0 || proto > 255 || port < 0 || port > 65535)
			r = -EBADMSG;
		ret->proto = (uint8_t)proto;
		ret->port = (uint16_t)port;
	} else if (rc != SQLITE_DONE) {
		r = store_error(rc);
	}
	sqlite3_reset(st);
	return r;
}
