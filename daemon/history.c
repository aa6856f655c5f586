/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See history.h. What is not stored yet is in two places: of an edge between two names, what it has
 * had since `recorded`; of all others, the flows that were seen behind it, in a table that is
 * emptied once a minute. Where that is full, a flow is counted without its address; where even that
 * finds no place it is lost, and the hour is marked.
 *
 * An entry more is an entry that costs room for as long as it is kept, and any container can make
 * flows: so a pair of ends has no more than ADDRS_MAX addresses on a day, and days make way in the
 * order in which they were begun, not by their date: a clock that was wrong for an hour throws away
 * nothing but one day.
 */
#include "daemon/history.h"

#include "daemon/controller.h"
#include "daemon/log.h"
#include "daemon/roster.h"
#include "daemon/store.h"
#include "rules/complete.h"
#include "rules/json.h"

#include <errno.h>
#include <string.h>

#define NOTES_SLOTS 32768u /* a power of two */
#define NOTES_MAX (NOTES_SLOTS / 2)
#define FANS_SLOTS 8192u
#define FANS_MAX (FANS_SLOTS / 2)
#define ADDRS_MAX 64
#define FLUSH_EVERY_S 60
#define PRUNE_STEP 200 /* entries a second */

/* A flow that its edge does not tell. */
struct note {
	peer_id from, to; /* PEER_ID_NONE: the end is addr */
	struct addr addr;
	uint8_t proto;
	uint16_t port;
	uint64_t
	    seen[2]; /* at the source and at the destination: it was the larger; 0 both: unused */
	uint64_t last_ns;
};

/* How many new addresses were at the other end of it today. */
struct fan {
	uint64_t hash; /* 0: unused */
	unsigned n;
};

struct history {
	struct controller *c;
	struct note *notes;
	size_t n_notes;
	struct fan *fans;
	size_t n_fans;
	uint32_t fans_day;
	struct history_day days[HISTORY_MAX_DAYS + 2]; /* ascending */
	size_t n_days;
	bool failing;
	uint64_t flushed_ns; /* CLOCK_REALTIME */
	uint64_t lost;
	bool lost_now; /* since the last flush */
	unsigned seconds;
};

int
history_new(struct controller *c, struct history **ret)
{
	struct history *h = calloc(1, sizeof(*h));
	int r = h != NULL ? 0 : -ENOMEM;

	if (r == 0) {
		h->c = c;
		h->flushed_ns = now_real();
		h->notes = calloc(NOTES_SLOTS, sizeof(*h->notes));
		h->fans = calloc(FANS_SLOTS, sizeof(*h->fans));
		r = h->notes != NULL && h->fans != NULL ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = store_history_days(c->store, h->days, ARRAY_SIZE(h->days), &h->n_days);
	if (r < 0) {
		history_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void
history_free(struct history *h)
{
	if (h == NULL)
		return;
	free(h->notes);
	free(h->fans);
	free(h);
}

static bool
is_named(const struct peer *p)
{
	return p->kind == PEER_WORKLOAD || p->kind == PEER_HOST || p->kind == PEER_FQDN;
}

/* All that it serves is the same flow. */
static bool
is_plain(const struct edge *e, const struct peer_table *peers)
{
	enum peer_kind from = peer_get(peers, e->key.from)->kind,
		       to = peer_get(peers, e->key.to)->kind;

	return e->key.port_lo == e->key.port_hi && (from == PEER_WORKLOAD || from == PEER_HOST) &&
	       (to == PEER_WORKLOAD || to == PEER_HOST);
}

static bool
same_note(const struct note *a, const struct note *b)
{
	return a->from == b->from && a->to == b->to && a->proto == b->proto && a->port == b->port &&
	       addr_eq(&a->addr, &b->addr);
}

static uint64_t
note_count(const struct note *n)
{
	return MAX(n->seen[0], n->seen[1]);
}

/* The note, or the unused slot where it would go. */
static struct note *
find_note(const struct history *h, const struct note *n)
{
	uint64_t x = hash_mix64(h->c->seed ^ ((uint64_t)n->from << 32 | n->to));
	size_t at =
	    hash_mix64(x ^ addr_hash(&n->addr, h->c->seed) ^ ((uint64_t)n->proto << 16 | n->port)) &
	    (NOTES_SLOTS - 1);

	while (note_count(&h->notes[at]) != 0 && !same_note(&h->notes[at], n))
		at = (at + 1) & (NOTES_SLOTS - 1);
	return &h->notes[at];
}

static void
lose(struct history *h)
{
	h->lost++;
	h->lost_now = true;
}

static bool
add_note(struct history *h, const struct note *n)
{
	struct note *at = find_note(h, n);

	if (note_count(at) == 0) {
		if (h->n_notes >= NOTES_MAX)
			return false;
		h->n_notes++;
		*at = *n;
		return true;
	}
	at->seen[0] += n->seen[0];
	at->seen[1] += n->seen[1];
	at->last_ns = MAX(at->last_ns, n->last_ns);
	return true;
}

void
history_note(struct history *h, const struct edge *e, const struct edge_observation *o,
    const struct peer_table *peers)
{
	struct note n = { .proto = o->key.proto, .port = o->key.port_lo, .last_ns = o->time_ns };

	if (h == NULL || is_plain(e, peers))
		return;
	n.seen[o->end == EDGE_END_DESTINATION] = o->count;
	if (is_named(peer_get(peers, o->key.from)))
		n.from = o->key.from;
	else
		n.addr = o->tuple.src;
	if (is_named(peer_get(peers, o->key.to)))
		n.to = o->key.to;
	else
		n.addr = o->tuple.dst;
	if (!add_note(h, &n))
		lose(h);
}

void
history_fold(struct history *h, const struct edge *gone, const struct peer_table *peers)
{
	struct note n = { .from = gone->key.from,
		.to = gone->key.to,
		.proto = gone->key.proto,
		.port = gone->key.port_lo,
		.last_ns = gone->evidence.last_seen_ns };

	if (h == NULL || !is_plain(gone, peers) || edge_connections(gone) <= gone->recorded)
		return;
	n.seen[0] = edge_connections(gone) - gone->recorded;
	if (!add_note(h, &n))
		lose(h);
}

/* Today's, or that of another day that something is told of. NULL: no room. */
static struct history_day *
get_day(struct history *h, uint32_t day)
{
	uint64_t seq = 0;
	size_t at = h->n_days;

	for (size_t i = 0; i < h->n_days; i++) {
		seq = MAX(seq, h->days[i].seq);
		if (h->days[i].day == day)
			return &h->days[i];
		if (h->days[i].day > day && at == h->n_days)
			at = i;
	}
	if (h->n_days == ARRAY_SIZE(h->days))
		return NULL;
	memmove(&h->days[at + 1], &h->days[at], (h->n_days - at) * sizeof(h->days[0]));
	h->n_days++;
	h->days[at] = (struct history_day){ .day = day, .seq = seq + 1, .dirty = true };
	return &h->days[at];
}

static uint64_t
count_entries(const struct history *h)
{
	uint64_t n = 0;

	for (size_t i = 0; i < h->n_days; i++)
		n += h->days[i].rows;
	return n;
}

/* The pair of ends, whatever the address. */
static struct fan *
find_fan(struct history *h, const struct note *n)
{
	uint64_t x = hash_mix64(h->c->seed ^ ((uint64_t)n->from << 32 | n->to));
	size_t at;

	x = hash_mix64(x ^ ((uint64_t)n->proto << 16 | n->port)) | 1;
	for (at = x & (FANS_SLOTS - 1); h->fans[at].hash != 0 && h->fans[at].hash != x;)
		at = (at + 1) & (FANS_SLOTS - 1);
	if (h->fans[at].hash == 0) {
		if (h->n_fans >= FANS_MAX)
			return NULL;
		h->n_fans++;
		h->fans[at].hash = x;
	}
	return &h->fans[at];
}

static int
put(struct history *h, struct history_put *p, struct history_day *day, bool existing_only)
{
	bool full = count_entries(h) >= h->c->config->history_entries;
	int r = store_put_history(h->c->store, p, existing_only || full);

	if (r == -ENOENT && full && !existing_only) {
		lose(h);
		return 0;
	}
	if (r > 0) {
		day->rows++;
		day->dirty = true;
	}
	return r;
}

static int
put_note(struct history *h, const struct note *n, struct history_put *p, struct history_day *day)
{
	const struct peer_table *peers = h->c->peers;
	struct peer far = { .kind = PEER_ADDR, .prefix = prefix_of(&n->addr, 128) };
	struct fan *fan = n->addr.family != 0 ? find_fan(h, n) : NULL;
	bool many = n->addr.family != 0 && (fan == NULL || fan->n >= ADDRS_MAX);
	int r;

	p->from = n->from != PEER_ID_NONE ? peer_get(peers, n->from) : &far;
	p->to = n->to != PEER_ID_NONE ? peer_get(peers, n->to) : &far;
	p->proto = n->proto;
	p->port = n->port;
	p->count = note_count(n);
	r = put(h, p, day, many);
	if (r == 1 && fan != NULL)
		fan->n++;
	if (r != -ENOENT)
		return r;
	/* One more than is kept apart. */
	if (addr_scope(&n->addr) != SCOPE_INTERNET) {
		lose(h);
		return 0;
	}
	far = (struct peer){ .kind = PEER_INTERNET };
	return put(h, p, day, false);
}

/* A time that the clock of now does not bear out is taken for now. */
static uint64_t
seen_at(uint64_t time_ns, uint64_t now)
{
	return time_ns <= now && now - time_ns < COMPLETE_HOUR_NS ? time_ns : now;
}

static int
put_all(struct history *h, struct history_day *day, uint64_t now)
{
	struct controller *c = h->c;
	struct history_put p = { .hour = (uint32_t)(now / COMPLETE_HOUR_NS) };
	size_t pos = 0;
	struct edge *e;
	int r = 0;

	while (r >= 0 && (e = edge_table_next(c->edges, &pos)) != NULL) {
		uint64_t had = edge_connections(e);

		if (had <= e->recorded || !is_plain(e, c->peers))
			continue;
		p.from = peer_get(c->peers, e->key.from);
		p.to = peer_get(c->peers, e->key.to);
		p.proto = e->key.proto;
		p.port = e->key.port_lo;
		p.count = had - e->recorded;
		p.last_ns = seen_at(e->evidence.last_seen_ns, now);
		r = put(h, &p, day, false);
	}
	for (size_t i = 0; r >= 0 && h->n_notes > 0 && i < NOTES_SLOTS; i++) {
		if (note_count(&h->notes[i]) == 0)
			continue;
		p.last_ns = seen_at(h->notes[i].last_ns, now);
		r = put_note(h, &h->notes[i], &p, day);
	}
	return r < 0 ? r : 0;
}

/* Was something missed since the last time? */
static bool
was_lossy(const struct history *h)
{
	for (const struct workload *w = h->c->workloads; w != NULL; w = w->next)
		if (w->lost_ns >= h->flushed_ns)
			return true;
	return h->lost_now;
}

/* Whatever it was, it was between the last flush and now. */
static void
mark_broken(const struct history *h, struct history_day *day, uint32_t hour)
{
	uint32_t before = (uint32_t)(h->flushed_ns / COMPLETE_HOUR_NS);

	day->broken |= 1u << hour % HISTORY_DAY_HOURS;
	if (before + 1 == hour && before / HISTORY_DAY_HOURS == day->day)
		day->broken |= 1u << before % HISTORY_DAY_HOURS;
	day->dirty = true;
}

static int
put_days(struct history *h)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < h->n_days; i++)
		if (h->days[i].dirty)
			r = store_put_history_day(h->c->store, &h->days[i]);
	return r;
}

static void
all_is_stored(struct history *h, uint64_t now)
{
	size_t pos = 0;
	struct edge *e;

	while ((e = edge_table_next(h->c->edges, &pos)) != NULL)
		e->recorded = edge_connections(e);
	for (size_t i = 0; i < h->n_days; i++)
		h->days[i].dirty = false;
	if (h->n_notes > 0)
		memset(h->notes, 0, NOTES_SLOTS * sizeof(*h->notes));
	h->n_notes = 0;
	h->flushed_ns = now;
	h->lost_now = false;
}

static bool
has_unsaved(const struct history *h)
{
	size_t pos = 0;
	const struct edge *e;

	while ((e = edge_table_next(h->c->edges, &pos)) != NULL)
		if (edge_connections(e) > e->recorded)
			return true;
	return h->n_notes > 0 || was_lossy(h);
}

int
history_flush(struct controller *c)
{
	struct history *h = c->history;
	uint64_t now = now_real();
	uint32_t hour = (uint32_t)(now / COMPLETE_HOUR_NS);
	struct history_day *day, before;
	int r;

	if (h == NULL || c->changing || !has_unsaved(h))
		return 0;
	/* Not kept: nor is it told of as now once history is, and that hour is not whole. */
	if (c->config->history_days == 0) {
		all_is_stored(h, now);
		h->lost_now = true;
		return 0;
	}
	day = get_day(h, hour / HISTORY_DAY_HOURS);
	if (day == NULL)
		return -ENOSPC;
	if (h->fans_day != day->day) {
		memset(h->fans, 0, FANS_SLOTS * sizeof(*h->fans));
		h->n_fans = 0;
		h->fans_day = day->day;
	}
	before = *day;
	r = store_begin(c->store);
	if (r == 0)
		r = put_all(h, day, now);
	if (r == 0 && was_lossy(h))
		mark_broken(h, day, hour);
	if (r == 0)
		r = put_days(h);
	if (r == 0)
		r = store_commit(c->store);
	if (r < 0) {
		store_rollback(c->store);
		*day = before;
		return r;
	}
	all_is_stored(h, now);
	return 0;
}

/* The day that was begun first, other than today unless none is kept; NULL: there is none. */
static struct history_day *
oldest_day(struct history *h)
{
	uint32_t today = h->c->config->history_days > 0
			     ? (uint32_t)(now_real() / COMPLETE_HOUR_NS / HISTORY_DAY_HOURS)
			     : UINT32_MAX;
	struct history_day *ret = NULL;

	for (size_t i = 0; i < h->n_days; i++)
		if (h->days[i].day != today && (ret == NULL || h->days[i].seq < ret->seq))
			ret = &h->days[i];
	return ret;
}

static void
forget_day(struct history *h, uint32_t day)
{
	size_t i = 0;

	while (i < h->n_days && h->days[i].day != day)
		i++;
	if (i < h->n_days) {
		memmove(&h->days[i], &h->days[i + 1], (h->n_days - i - 1) * sizeof(h->days[0]));
		h->n_days--;
	}
}

static int
prune_step(struct history *h, struct history_day *d)
{
	struct store *s = h->c->store;
	struct history_day left = *d;
	int r = store_begin(s), n = 0;

	if (r == 0)
		r = n = store_prune_history(s, d->day, PRUNE_STEP);
	left.broken = (1u << HISTORY_DAY_HOURS) - 1;
	left.rows = n < PRUNE_STEP ? 0 : left.rows - MIN(left.rows, (uint64_t)n);
	if (r >= 0)
		r = n < PRUNE_STEP ? store_delete_history_day(s, d->day)
				   : store_put_history_day(s, &left);
	if (r == 0)
		r = store_commit(s);
	if (r < 0) {
		store_rollback(s);
		return r;
	}
	if (n < PRUNE_STEP)
		forget_day(h, d->day);
	else
		*d = left;
	return 0;
}

static void
say_failure(struct history *h, int r)
{
	if (r < 0 && !h->failing)
		log_error("history is not stored, trying again: %s", strerror(-r));
	h->failing = r < 0;
}

void
history_tick(struct controller *c)
{
	struct history *h = c->history;
	struct history_day *d;
	int r = 0;

	if (h == NULL)
		return;
	if (++h->seconds % FLUSH_EVERY_S == 0 || h->n_notes > NOTES_MAX / 2)
		say_failure(h, r = history_flush(c));
	d = r == 0 ? oldest_day(h) : NULL;
	if (d == NULL ||
	    (h->n_days <= c->config->history_days && count_entries(h) < c->config->history_entries))
		return;
	r = prune_step(h, d);
	if (r < 0)
		say_failure(h, r);
}

json_t *
history_to_json(const struct controller *c, uint32_t since_hour)
{
	const struct history *h = c->history;
	uint32_t since = since_hour / HISTORY_DAY_HOURS, first = UINT32_MAX;
	json_int_t broken = 0, days = 0, entries = 0;
	json_t *from = json_null();

	for (size_t i = 0; i < h->n_days; i++) {
		uint32_t mask = h->days[i].broken;

		if (h->days[i].day < since)
			continue;
		if (h->days[i].day == since)
			mask &= ~0u << since_hour % HISTORY_DAY_HOURS;
		first = MIN(first, h->days[i].day);
		broken += __builtin_popcount(mask);
		entries += (json_int_t)h->days[i].rows;
		days++;
	}
	if (first != UINT32_MAX)
		from = json_time(
		    MAX((uint64_t)first * HISTORY_DAY_HOURS, since_hour) * COMPLETE_HOUR_NS);
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:b}", "from", from, "days", days, "entries",
	    entries, "incompleteHours", broken, "lost", (json_int_t)h->lost, "kept",
	    c->config->history_days > 0);
}
