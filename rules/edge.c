/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of edges: nodes that never move, in the order of creation, under two indexes.
 *
 * `edges` has a hole where an edge was removed; holes close only when an edge is added. `keys` is
 * what an observation looks up; `numbers` (open addressing, at most half full, removed edges stay
 * in it until it is made anew) finds an edge by its id. `decided` is what a search for a covering
 * edge has to read, packed: what is decided, and what was until a person took that back.
 */
#include "rules/edge_fold.h"
#include "rules/edge_keys.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define ALIASES_PER_EDGE 4
#define INDEX_MIN 64
#define EDGES_LIMIT (UINT32_MAX / 64)

struct edge_node {
	struct edge edge; /* first: callers hold pointers to it */
	uint64_t number;
	uint32_t pos;
	uint32_t decided_pos; /* or EDGE_POS_NONE */
};

struct decided {
	struct edge_node *node;
	uint16_t port_lo, port_hi;
	uint8_t proto;
};

struct edge_table {
	const struct peer_table *peers;
	edge_covers_fn covers;
	void *arg;
	uint64_t seed, overflow;
	size_t max;

	struct edge_node **edges;
	size_t n_places, cap; /* holes included */
	size_t n;

	struct edge_fold *fold; /* NULL: nothing is generalised */
	struct edge_keys keys;
	uint32_t *numbers; /* position + 1, 0: unused */
	size_t numbers_size, numbers_used;

	struct decided *decided;
	size_t n_decided, decided_cap;
};

void
edge_table_drop_aliases(struct edge_table *t)
{
	edge_keys_drop_aliases(&t->keys);
}

/* The place of the number in the index, or the unused one where it would go. */
static uint32_t *
number_find(const struct edge_table *t, uint32_t *numbers, size_t size, uint64_t number)
{
	size_t i = hash_mix64(number + t->seed) & (size - 1);

	while (numbers[i] != 0) {
		const struct edge_node *node = t->edges[numbers[i] - 1];

		if (node != NULL && node->number == number)
			break;
		i = (i + 1) & (size - 1);
	}
	return &numbers[i];
}

static int
numbers_rebuild(struct edge_table *t)
{
	size_t size = INDEX_MIN;
	uint32_t *numbers;

	while (size < (t->n + 1) * 4)
		size *= 2;
	numbers = calloc(size, sizeof(*numbers));
	if (numbers == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_places; i++) {
		if (t->edges[i] != NULL)
			*number_find(t, numbers, size, t->edges[i]->number) = (uint32_t)i + 1;
	}
	free(t->numbers);
	t->numbers = numbers;
	t->numbers_size = size;
	t->numbers_used = t->n;
	return 0;
}

/* Closes the holes, which moves every position that the indexes hold. Needs no memory. */
static void
edges_compact(struct edge_table *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_places; i++) {
		struct edge_node *node = t->edges[i];

		if (node == NULL)
			continue;
		node->pos = (uint32_t)n;
		t->edges[n++] = node;
	}
	t->n_places = n;

	memset(t->numbers, 0, t->numbers_size * sizeof(*t->numbers));
	t->numbers_used = n;
	edge_keys_clear(&t->keys);
	for (size_t i = 0; i < n; i++) {
		struct edge_node *node = t->edges[i];
		int r = edge_keys_set_exact(&t->keys, &node->edge.key, node->pos);

		assert(r == 0);
		(void)r;
		*number_find(t, t->numbers, t->numbers_size, node->number) = node->pos + 1;
	}
}

/* Room for one more edge at the end of `edges`. */
static int
edges_reserve(struct edge_table *t)
{
	struct edge_node **edges;
	size_t cap;

	if (t->n_places < t->cap)
		return 0;
	if (t->n < t->n_places - t->n_places / 4) {
		edges_compact(t);
		return 0;
	}
	cap = t->cap != 0 ? t->cap * 2 : INDEX_MIN / 2;
	edges = reallocarray(t->edges, cap, sizeof(struct edge_node *));
	if (edges == NULL)
		return -ENOMEM;
	t->edges = edges;
	t->cap = cap;
	return 0;
}

int
edge_table_make(struct edge_table *t, const struct edge_key *key, struct edge **ret)
{
	const struct peer *from = peer_get(t->peers, key->from), *to = peer_get(t->peers, key->to);
	struct edge_node *node;
	uint64_t number;
	int r;

	if (from == NULL || to == NULL || key->port_lo > key->port_hi)
		return -EINVAL;
	number = edge_key_number(from, to, key->proto, key->port_lo, key->port_hi);
	if (edge_table_find_number(t, number) != NULL)
		return -EEXIST;

	r = edges_reserve(t);
	if (r < 0)
		return r;
	if ((t->numbers_used + 1) * 2 > t->numbers_size) {
		r = numbers_rebuild(t);
		if (r < 0)
			return r;
	}
	node = calloc(1, sizeof(*node));
	if (node == NULL)
		return -ENOMEM;
	r = edge_keys_set_exact(&t->keys, key, (uint32_t)t->n_places);
	if (r < 0) {
		free(node);
		return r;
	}

	node->edge.key = *key;
	node->edge.state = EDGE_PENDING;
	node->edge.dirty = true;
	node->edge.evidence.bytes = EDGE_BYTES_UNKNOWN;
	edge_id_format(number, node->edge.id);
	node->number = number;
	node->pos = (uint32_t)t->n_places;
	node->decided_pos = EDGE_POS_NONE;

	t->edges[t->n_places++] = node;
	t->n++;
	*number_find(t, t->numbers, t->numbers_size, number) = node->pos + 1;
	t->numbers_used++;
	*ret = &node->edge;
	return 0;
}

static int
edge_create(struct edge_table *t, const struct edge_key *key, struct edge **ret)
{
	return t->n < t->max ? edge_table_make(t, key, ret) : -ENOSPC;
}

/*
 * Could a decided edge that is not at both ends the observed one cover some addresses of the key
 * and not others? Another workload has none of them.
 */
static bool
depends_on_address(
    const struct edge_table *t, const struct edge *decided, const struct edge_key *key)
{
	if (decided->key.from == key->from && decided->key.to == key->to)
		return false;
	if (decided->key.from != key->from &&
	    peer_get(t->peers, decided->key.from)->kind == PEER_WORKLOAD)
		return false;
	return decided->key.to == key->to ||
	       peer_get(t->peers, decided->key.to)->kind != PEER_WORKLOAD;
}

static bool
covers_better(const struct edge_node *a, const struct edge_node *b)
{
	unsigned width_a = a->edge.key.port_hi - a->edge.key.port_lo;
	unsigned width_b = b->edge.key.port_hi - b->edge.key.port_lo;

	if (a->edge.state != b->edge.state)
		return a->edge.state == EDGE_DENIED;
	if (width_a != width_b)
		return width_a < width_b;
	return a->pos < b->pos;
}

/* Is it one that a search for what is decided looks for, or for what was? */
static bool
is_candidate(const struct edge *e, bool withdrawn)
{
	return withdrawn ? e->state == EDGE_PENDING && e->evidence.first_seen_ns != 0
			 : e->state != EDGE_PENDING;
}

/* The decided edge, or the best of the withdrawn ones, that covers the observation, or NULL. */
static struct edge_node *
find_covering(const struct edge_table *t, const struct edge_key *key, const struct tuple *tuple,
    bool withdrawn, bool *ret_by_address)
{
	struct edge_node *best = NULL;

	*ret_by_address = false;
	for (size_t i = 0; t->covers != NULL && i < t->n_decided; i++) {
		const struct decided *d = &t->decided[i];

		if (d->proto != key->proto || key->port_lo < d->port_lo ||
		    key->port_lo > d->port_hi || !is_candidate(&d->node->edge, withdrawn))
			continue;
		*ret_by_address |= depends_on_address(t, &d->node->edge, key);
		if (best != NULL && !covers_better(d->node, best))
			continue;
		if (t->covers(t->arg, &d->node->edge, key, tuple))
			best = d->node;
	}
	return best;
}

static void
record(struct edge *e, const struct edge_observation *o)
{
	if (edge_connections(e) == 0)
		e->flags |= o->flags;
	e->flags &= ~((EDGE_FLAG_MIDSTREAM | EDGE_FLAG_ONE_WAY) & ~o->flags);
	if (o->end == EDGE_END_SOURCE)
		e->flags &= ~(uint32_t)EDGE_FLAG_ONE_END;
	edge_evidence_add(&e->evidence, o);
	e->dirty = true;
}

/* The edge that serves the key, or NULL; then *key is what a new one has to be. */
static struct edge *
find_serving(
    struct edge_table *t, struct edge_key *key, const struct tuple *tuple, bool *ret_by_address)
{
	struct edge *e = edge_table_find(t, key);
	struct edge_node *node = NULL;

	*ret_by_address = false;
	if (e == NULL || e->state == EDGE_PENDING)
		node = find_covering(t, key, tuple, false, ret_by_address);
	if (node != NULL)
		return &node->edge;
	return e == NULL && t->fold != NULL ? edge_fold_serving(t->fold, key) : e;
}

/* Finds, or makes if it may, the edge that serves the key, and remembers it. 1: it is new. */
static int
find_by_search(struct edge_table *t, const struct edge_key *key, const struct tuple *tuple,
    bool create, struct edge_node **ret)
{
	struct edge_key stored = *key;
	struct edge_node *node;
	bool by_address;
	struct edge *e = find_serving(t, &stored, tuple, &by_address);
	int r, created = 0;

	if (e == NULL && !create)
		return -ENOENT;
	if (e == NULL) {
		r = edge_create(t, &stored, &e);
		if (r < 0)
			return r;
		created = 1;
	}

	node = (struct edge_node *)e;
	edge_keys_remember(&t->keys, key, by_address ? tuple : NULL, node->pos);
	*ret = node;
	return created;
}

int
edge_table_observe(struct edge_table *t, const struct edge_observation *o, struct edge **ret)
{
	struct edge_key key = o->key;
	struct edge_node *node;
	uint32_t pos;
	int r = 0;

	if (key.port_lo != key.port_hi || o->count == 0 ||
	    (o->end != EDGE_END_SOURCE && o->end != EDGE_END_DESTINATION))
		return -EINVAL;
	memset(key.zero, 0, sizeof(key.zero));

	pos = edge_keys_serving(&t->keys, &key, &o->tuple);
	if (pos != EDGE_POS_NONE) {
		node = t->edges[pos];
	} else {
		if (peer_get(t->peers, key.from) == NULL || peer_get(t->peers, key.to) == NULL)
			return -EINVAL;
		r = find_by_search(t, &key, &o->tuple, true, &node);
		if (r < 0) {
			t->overflow += o->count;
			return r;
		}
	}
	record(&node->edge, o);
	*ret = &node->edge;
	if (t->fold == NULL)
		return r;
	edge_fold_seen(t->fold, &node->edge, o);
	if (r == 1)
		*ret = edge_fold_added(t->fold, &node->edge);
	return r;
}

struct edge *
edge_table_serving(struct edge_table *t, const struct edge_key *key, const struct tuple *tuple)
{
	struct edge_key k = *key;
	struct edge_node *node;
	uint32_t pos;

	memset(k.zero, 0, sizeof(k.zero));
	pos = edge_keys_serving(&t->keys, &k, tuple);
	if (pos != EDGE_POS_NONE)
		return &t->edges[pos]->edge;
	return find_by_search(t, &k, tuple, false, &node) == 0 ? &node->edge : NULL;
}

const struct edge *
edge_table_withdrawn(
    const struct edge_table *t, const struct edge_key *key, const struct tuple *tuple)
{
	struct edge_node *node;
	bool by_address;

	node = find_covering(t, key, tuple, true, &by_address);
	return node != NULL ? &node->edge : NULL;
}

int
edge_table_add(struct edge_table *t, const struct edge_key *key, struct edge **ret)
{
	struct edge_key k = *key;
	struct edge *e;
	int r;

	memset(k.zero, 0, sizeof(k.zero));
	e = edge_table_find(t, &k);
	if (e == NULL) {
		r = edge_create(t, &k, &e);
		if (r < 0)
			return r;
	}
	*ret = e;
	return 0;
}

struct edge *
edge_table_find(struct edge_table *t, const struct edge_key *key)
{
	struct edge_key k = *key;
	const struct key_slot *s;

	memset(k.zero, 0, sizeof(k.zero));
	s = edge_keys_find(&t->keys, &k);
	return s != NULL && s->exact != EDGE_POS_NONE ? &t->edges[s->exact]->edge : NULL;
}

struct edge *
edge_table_find_number(struct edge_table *t, uint64_t number)
{
	uint32_t place = *number_find(t, t->numbers, t->numbers_size, number);

	return place != 0 ? &t->edges[place - 1]->edge : NULL;
}

struct edge *
edge_table_find_id(struct edge_table *t, const char *id)
{
	uint64_t number;

	return edge_id_parse(id, &number) == 0 ? edge_table_find_number(t, number) : NULL;
}

size_t
edge_table_count(const struct edge_table *t)
{
	return t->n;
}

uint64_t
edge_table_overflow(const struct edge_table *t)
{
	return t->overflow;
}

struct edge *
edge_table_next(const struct edge_table *t, size_t *pos)
{
	while (*pos < t->n_places) {
		struct edge_node *node = t->edges[(*pos)++];

		if (node != NULL)
			return &node->edge;
	}
	return NULL;
}

uint64_t
edge_id_number(const struct edge *e)
{
	return ((const struct edge_node *)e)->number;
}

static bool
is_searched(const struct edge *e)
{
	return e->state != EDGE_PENDING || (e->flags & EDGE_FLAG_WITHDRAWN) != 0;
}

static int
decided_reserve(struct edge_table *t)
{
	struct decided *decided;
	size_t cap;

	if (t->n_decided < t->decided_cap)
		return 0;
	cap = t->decided_cap != 0 ? t->decided_cap * 2 : INDEX_MIN / 2;
	decided = reallocarray(t->decided, cap, sizeof(*decided));
	if (decided == NULL)
		return -ENOMEM;
	t->decided = decided;
	t->decided_cap = cap;
	return 0;
}

/* Room for one more was made. */
static void
decided_set(struct edge_table *t, struct edge_node *node, bool is_decided)
{
	const struct edge_key *key = &node->edge.key;

	if (is_decided == (node->decided_pos != EDGE_POS_NONE))
		return;
	if (is_decided) {
		node->decided_pos = (uint32_t)t->n_decided;
		t->decided[t->n_decided++] =
		    (struct decided){ node, key->port_lo, key->port_hi, key->proto };
		return;
	}
	/* The order does not matter: covers_better() is total. */
	t->decided[node->decided_pos] = t->decided[--t->n_decided];
	t->decided[node->decided_pos].node->decided_pos = node->decided_pos;
	node->decided_pos = EDGE_POS_NONE;
}

int
edge_decide(
    struct edge_table *t, struct edge *e, enum edge_state state, const struct edge_decision *d)
{
	_cleanup_(edge_decision_done) struct edge_decision copy = { 0 };
	struct edge_decision old = e->decision;
	int r;

	if (edge_state_name(state) == NULL)
		return -EINVAL;
	if ((d != NULL && (r = edge_decision_copy(d, &copy)) < 0) || (r = decided_reserve(t)) < 0)
		return r;

	e->state = state;
	e->decision = copy;
	e->dirty = true;
	copy = old;
	decided_set(t, (struct edge_node *)e, is_searched(e));
	edge_table_drop_aliases(t);
	if (t->fold != NULL) {
		edge_fold_forget(t->fold, e);
		edge_fold_take(t->fold, e);
	}
	return 0;
}

void
edge_table_remove(struct edge_table *t, struct edge *e)
{
	struct edge_node *node = (struct edge_node *)e;

	assert(t->edges[node->pos] == node);
	if (t->fold != NULL)
		edge_fold_forget(t->fold, e);
	edge_keys_clear_exact(&t->keys, &e->key);
	decided_set(t, node, false);
	edge_table_drop_aliases(t);
	t->edges[node->pos] = NULL;
	t->n--;
	edge_decision_done(&e->decision);
	free(e->extent);
	seen_as_free(e->seen_as);
	free(node);
}

int
edge_table_new(const struct peer_table *peers, size_t max_edges, uint64_t hash_seed,
    edge_covers_fn covers, void *arg, struct edge_table **ret)
{
	_cleanup_(edge_table_freep) struct edge_table *t = NULL;
	int r;

	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->peers = peers;
	t->covers = covers;
	t->arg = arg;
	t->seed = hash_seed;
	t->max = MIN(max_edges, EDGES_LIMIT);
	t->numbers = calloc(INDEX_MIN, sizeof(*t->numbers));
	if (t->numbers == NULL)
		return -ENOMEM;
	t->numbers_size = INDEX_MIN;
	r = edge_keys_init(&t->keys, hash_seed, t->max * ALIASES_PER_EDGE);
	if (r < 0)
		return r;
	*ret = steal_ptr(t);
	return 0;
}

int
edge_table_generalise(struct edge_table *t, struct peer_table *peers, edge_folded_fn fn, void *arg)
{
	assert(t->fold == NULL && t->n == 0);
	return edge_fold_new(t, peers, t->seed, fn, arg, &t->fold);
}

void
edge_table_restored(struct edge_table *t, struct edge *e)
{
	decided_set(t, (struct edge_node *)e, is_searched(e));
	if (t->fold != NULL)
		edge_fold_take(t->fold, e);
}

void
edge_table_free(struct edge_table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n_places; i++) {
		if (t->edges[i] == NULL)
			continue;
		edge_decision_done(&t->edges[i]->edge.decision);
		free(t->edges[i]->edge.extent);
		seen_as_free(t->edges[i]->edge.seen_as);
		free(t->edges[i]);
	}
	edge_fold_free(t->fold);
	free(t->edges);
	edge_keys_done(&t->keys);
	free(t->numbers);
	free(t->decided);
	free(t);
}
