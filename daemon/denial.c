/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was refused, what would be, and what was never answered: kept apart from the edges, never
 * evidence for learning, and bounded. Records are aggregated by (kind, ends, protocol, port); when
 * the table is full the one not seen for longest makes room, and that is counted.
 *
 * An attempt is a first packet without an answer: it waits a few seconds for the answer that
 * conntrack reports, and only then becomes a record. One of datagrams goes to one_way.c first.
 */
#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/instance.h"
#include "daemon/one_way.h"
#include "daemon/resolve.h"
#include "daemon/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STEADY_NS (600 * NSEC_PER_SEC)

struct denial_table {
	uint64_t seed, seq, evicted;
	uint64_t saved_seq; /* records changed after it are not stored yet */
	bool rewrite;	    /* the store has records that are gone */
	size_t max, n, n_slots;
	uint32_t *slots;      /* index + 1 into items, open addressing */
	struct denial *items; /* in order of first sight */
};

int
denial_table_new(size_t max, uint64_t seed, struct denial_table **ret)
{
	struct denial_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->seed = seed;
	t->max = max;
	t->n_slots = 64;
	while (t->n_slots < max * 2)
		t->n_slots *= 2;
	t->slots = calloc(t->n_slots, sizeof(*t->slots));
	t->items = calloc(max, sizeof(*t->items)); /* untouched pages cost nothing */
	if (t->slots == NULL || t->items == NULL) {
		denial_table_free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void
denial_table_free(struct denial_table *t)
{
	if (t == NULL)
		return;
	free(t->slots);
	free(t->items);
	free(t);
}

static bool
same_denial(const struct denial *d, uint8_t kind, const struct edge_key *k)
{
	return d->kind == kind && memcmp(&d->key, k, sizeof(*k)) == 0;
}

static uint64_t
denial_hash(const struct denial_table *t, uint8_t kind, const struct edge_key *k)
{
	uint64_t h = hash_mix64(t->seed ^ ((uint64_t)k->from << 32 | k->to));

	return hash_mix64(h ^ ((uint64_t)kind << 40 | (uint64_t)k->proto << 32 |
				  (uint64_t)k->port_lo << 16 | k->port_hi));
}

/* The slot of the record, or the empty slot where it would go. */
static uint32_t *
denial_slot(const struct denial_table *t, uint8_t kind, const struct edge_key *k)
{
	size_t at = denial_hash(t, kind, k) & (t->n_slots - 1);

	while (t->slots[at] != 0 && !same_denial(&t->items[t->slots[at] - 1], kind, k))
		at = (at + 1) & (t->n_slots - 1);
	return &t->slots[at];
}

static void
denial_rebuild(struct denial_table *t)
{
	memset(t->slots, 0, t->n_slots * sizeof(*t->slots));
	for (size_t i = 0; i < t->n; i++)
		*denial_slot(t, t->items[i].kind, &t->items[i].key) = (uint32_t)i + 1;
}

/* Makes room for a sixteenth of the table at once, so that a flood does not pay for each. */
static void
denial_evict(struct denial_table *t)
{
	uint64_t oldest = UINT64_MAX, newest = 0, limit;
	size_t kept = 0, room = MAX(1, t->max / 16);

	for (size_t i = 0; i < t->n; i++) {
		oldest = MIN(oldest, t->items[i].last_ns);
		newest = MAX(newest, t->items[i].last_ns);
	}
	limit = oldest + (newest - oldest) / 16;
	for (size_t i = 0; i < t->n; i++) {
		bool drop = t->items[i].last_ns <= limit && i - kept < room;

		if (!drop)
			t->items[kept++] = t->items[i];
	}
	t->evicted += t->n - kept;
	t->rewrite = true;
	t->n = kept;
	denial_rebuild(t);
}

/* The number behind the id "d-...". */
static uint64_t
denial_number(const struct denial *d)
{
	return hash_mix64(d->edge ^ d->kind) & 0xffffffffffffULL;
}

static struct denial *
denial_new(struct controller *c, uint8_t kind, const struct edge_key *key)
{
	struct denial_table *t = c->denials;
	struct denial *d;

	if (t->n >= t->max)
		denial_evict(t);
	d = &t->items[t->n++];
	memset(d, 0, sizeof(*d));
	d->kind = kind;
	d->key = *key;
	d->edge = edge_key_number(peer_get(c->peers, key->from), peer_get(c->peers, key->to),
	    key->proto, key->port_lo, key->port_hi);
	snprintf(d->id, sizeof(d->id), "d-%012" PRIx64, denial_number(d));
	*denial_slot(t, kind, key) = (uint32_t)t->n;
	return d;
}

const struct denial *
denial_record(struct controller *c, const struct flow_event *ev, const struct edge_key *key)
{
	struct denial_table *t = c->denials;
	uint32_t slot = *denial_slot(t, ev->kind, key);
	struct denial *d = slot != 0 ? &t->items[slot - 1] : denial_new(c, ev->kind, key);

	if (d->count == 0)
		d->first_ns = ev->time_ns;
	d->count += ev->count;
	d->last_ns = ev->time_ns;
	d->dir = ev->dir;
	d->last = ev->tuple;
	d->seq = ++t->seq;
	return d;
}

void
denial_mark_steady(struct denial_table *t, uint64_t now_ns)
{
	for (size_t i = 0; i < t->n; i++)
		t->items[i].steady = t->items[i].last_ns + STEADY_NS >= now_ns;
}

const struct denial *
denial_find(const struct denial_table *t, const char *id)
{
	uint64_t number;
	bool is_edge = edge_id_parse(id, &number) == 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct denial *d = &t->items[i];

		if (is_edge ? d->edge == number : strcmp(d->id, id) == 0)
			return d;
	}
	return NULL;
}

int
denial_restore(struct controller *c, const struct stored_denial *s)
{
	struct denial_table *t = c->denials;
	struct edge_key key = { .proto = s->proto, .port_lo = s->port_lo, .port_hi = s->port_hi };
	struct denial *d;

	if (t->n >= t->max || peer_intern(c->peers, &s->from, &key.from) < 0 ||
	    peer_intern(c->peers, &s->to, &key.to) < 0 || *denial_slot(t, s->kind, &key) != 0) {
		t->rewrite = true;
		return 0;
	}
	d = denial_new(c, s->kind, &key);
	d->dir = s->dir;
	d->last = s->last;
	d->count = d->sampled = s->count;
	d->first_ns = s->first_ns;
	d->last_ns = s->last_ns;
	d->seq = ++t->seq;
	t->saved_seq = t->seq;
	return 0;
}

bool
denial_unsaved(const struct denial_table *t)
{
	return t->rewrite || t->seq != t->saved_seq;
}

int
denial_save(struct controller *c)
{
	struct denial_table *t = c->denials;
	int r = t->rewrite ? store_clear_denials(c->store) : 0;

	for (size_t i = 0; r == 0 && i < t->n; i++)
		if (t->rewrite || t->items[i].seq > t->saved_seq)
			r = store_put_denial(c->store, c->peers, &t->items[i]);
	return r;
}

void
denial_saved(struct denial_table *t)
{
	t->saved_seq = t->seq;
	t->rewrite = false;
}

const struct denial *
denial_next(const struct denial_table *t, size_t *pos)
{
	return *pos < t->n ? &t->items[(*pos)++] : NULL;
}

struct denial *
denial_next_mutable(struct denial_table *t, size_t *pos)
{
	return *pos < t->n ? &t->items[(*pos)++] : NULL;
}

uint64_t
denial_head(const struct denial_table *t)
{
	return t->seq;
}

uint64_t
denial_evicted(const struct denial_table *t)
{
	return t->evicted;
}

struct attempt {
	struct flow_event ev;
	uint64_t other; /* another namespace that has reported it, 0: none */
	bool used;
};

/* Linear probing over a short run: an attempt that finds no place there is counted as lost. */
#define ATTEMPT_PROBE 8
/* The captured first packet often arrives after conntrack's word of its answer. */
#define ANSWERED_SLOTS 4096
#define ANSWERED_NS (2 * NSEC_PER_SEC)

struct attempt_table {
	uint64_t seed, lost;
	struct {
		uint64_t hash, time_ns;
	} answered[ANSWERED_SLOTS];
	size_t n, n_slots;
	struct attempt slots[];
};

int
attempt_table_new(size_t max, uint64_t seed, struct attempt_table **ret)
{
	struct attempt_table *t;
	size_t n = 64;

	while (n < max)
		n *= 2;
	t = calloc(1, sizeof(*t) + n * sizeof(t->slots[0]));
	if (t == NULL)
		return -ENOMEM;
	t->seed = seed;
	t->n_slots = n;
	*ret = t;
	return 0;
}

void
attempt_table_free(struct attempt_table *t)
{
	free(t);
}

static struct attempt *
attempt_at(struct attempt_table *t, uint64_t hash, size_t k)
{
	return &t->slots[(hash + k) & (t->n_slots - 1)];
}

void
attempt_add(struct controller *c, const struct flow_event *ev)
{
	struct attempt_table *t = c->attempts;
	struct attempt *free_slot = NULL;
	uint64_t hash = tuple_hash(&ev->tuple, t->seed), answered;

	answered = t->answered[hash % ANSWERED_SLOTS].time_ns;
	if (t->answered[hash % ANSWERED_SLOTS].hash == hash &&
	    answered + ANSWERED_NS > ev->time_ns && ev->time_ns + ANSWERED_NS > answered)
		return;
	for (size_t k = 0; k < ATTEMPT_PROBE; k++) {
		struct attempt *a = attempt_at(t, hash, k);

		if (!a->used && free_slot == NULL)
			free_slot = a;
		if (a->used && tuple_eq(&a->ev.tuple, &ev->tuple)) {
			/* The other end's namespace reports the same packets. */
			if (a->ev.netns == ev->netns)
				a->ev.count += ev->count;
			else
				a->other = ev->netns;
			return;
		}
	}
	if (free_slot == NULL) {
		t->lost++;
		return;
	}
	free_slot->ev = *ev;
	free_slot->other = 0;
	free_slot->used = true;
	t->n++;
}

void
attempt_answered(struct controller *c, const struct tuple *tuple, uint64_t time_ns)
{
	struct attempt_table *t = c->attempts;
	uint64_t hash = tuple_hash(tuple, t->seed);

	t->answered[hash % ANSWERED_SLOTS].hash = hash;
	t->answered[hash % ANSWERED_SLOTS].time_ns = time_ns;
	if (t->n == 0)
		return;
	for (size_t k = 0; k < ATTEMPT_PROBE; k++) {
		struct attempt *a = attempt_at(t, hash, k);

		if (a->used && tuple_eq(&a->ev.tuple, tuple)) {
			a->used = false;
			t->n--;
			return;
		}
	}
}

static void
attempt_unanswered(struct controller *c, const struct attempt *a)
{
	const struct flow_event *ev = &a->ev;
	const unsigned flags = RESOLVE_FINAL | RESOLVE_REFUSED;
	struct edge_key key = { .proto = ev->tuple.proto };
	struct instance *src, *dst;
	const struct edge *edge;

	if (resolve_addr(c, &ev->tuple.src, flags, &key.from, &src) < 0 ||
	    resolve_addr(c, &ev->tuple.dst, flags, &key.to, &dst) < 0) {
		c->attempts->lost++;
		return;
	}
	if ((src != NULL && addr_map_was_anothers(c->addr_map, &ev->tuple.src, src, ev->time_ns)) ||
	    (dst != NULL && addr_map_was_anothers(c->addr_map, &ev->tuple.dst, dst, ev->time_ns))) {
		c->unresolved++;
		return;
	}
	/* Only what a container did or suffered: the host's own traffic is not ours to show. */
	if ((src == NULL || src->is_host) && (dst == NULL || dst->is_host))
		return;
	key.port_lo = key.port_hi = ev->tuple.dport;
	/* The answer may have been seen before the captured first packet arrived here. */
	edge = edge_table_find(c->edges, &key);
	if (edge != NULL && edge->evidence.last_seen_ns + NSEC_PER_SEC >= ev->time_ns)
		return;
	if (one_way_seen(c, ev, a->other, src, dst))
		return;
	denial_record(c, ev, &key);
}

void
attempt_tick(struct controller *c)
{
	struct attempt_table *t = c->attempts;
	uint64_t now = now_real(), limit = now - ATTEMPT_WAIT_NS;

	if (t->n == 0)
		return;
	for (size_t k = 0; k < t->n_slots; k++) {
		struct attempt *a = &t->slots[k];

		/* From the future: the clock was set back, or the sender lies. */
		if (!a->used || (a->ev.time_ns > limit && a->ev.time_ns <= now))
			continue;
		a->used = false;
		t->n--;
		attempt_unanswered(c, a);
	}
}

uint64_t
attempt_lost(const struct attempt_table *t)
{
	return t->lost;
}
