/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interned peers and their text form.
 *
 * Invariants: an id is its peer's place of creation, from 1, so ids are never reused; a peer never
 * moves once it is interned, so borrowed pointers stay good; at most half of the index is used.
 */
#include "rules/peer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define INDEX_MIN 64

struct peer_slot {
	struct peer peer;
	uint64_t hash;
	char name[];
};

struct peer_table {
	struct peer_slot **slots; /* id - 1 */
	uint32_t *index;	  /* open addressing, power of two; PEER_ID_NONE: free */
	size_t n, cap, max, index_size;
	uint64_t seed;
};

static const struct {
	enum peer_kind kind;
	const char *head;
} named_kinds[] = {
	{ PEER_WORKLOAD, "workload:" },
	{ PEER_FQDN, "fqdn:" },
	{ PEER_NETWORK, "network:" },
};

static const struct {
	enum peer_kind kind;
	const char *word;
} keyword_kinds[] = {
	{ PEER_HOST, "host" },
	{ PEER_INTERNET, "internet" },
	{ PEER_MULTICAST, "multicast" },
};

static bool
kind_has_name(enum peer_kind kind)
{
	return kind == PEER_WORKLOAD || kind == PEER_FQDN || kind == PEER_NETWORK;
}

static bool
kind_has_prefix(enum peer_kind kind)
{
	return kind == PEER_CIDR || kind == PEER_ADDR;
}

bool
workload_name_valid(const char *name)
{
	size_t len = name != NULL ? strnlen(name, PEER_NAME_MAX + 1) : 0;

	return len >= 1 && len <= PEER_NAME_MAX;
}

static bool
prefix_is_canonical(const struct prefix *p)
{
	struct prefix again;

	if (p->addr.family != 4 && p->addr.family != 6)
		return false;
	again = prefix_of(&p->addr, p->len);
	return again.len == p->len && addr_eq(&again.addr, &p->addr);
}

static bool
peer_is_valid(const struct peer *p)
{
	switch (p->kind) {
	case PEER_WORKLOAD:
	case PEER_FQDN:
	case PEER_NETWORK:
		return workload_name_valid(p->name);
	case PEER_CIDR:
		return prefix_is_canonical(&p->prefix);
	case PEER_ADDR:
		return prefix_is_canonical(&p->prefix) &&
		       p->prefix.len == addr_len(&p->prefix.addr) * 8;
	case PEER_HOST:
	case PEER_INTERNET:
	case PEER_MULTICAST:
		return true;
	case PEER_NONE:
		break;
	}
	return false;
}

bool
peer_is_wide(const struct peer *p)
{
	return p->kind == PEER_INTERNET || p->kind == PEER_CIDR || p->kind == PEER_FQDN ||
	       p->kind == PEER_NETWORK;
}

bool
peer_eq(const struct peer *a, const struct peer *b)
{
	if (a->kind != b->kind)
		return false;
	if (kind_has_prefix(a->kind))
		return a->prefix.len == b->prefix.len && addr_eq(&a->prefix.addr, &b->prefix.addr);
	if (!kind_has_name(a->kind) || a->name == b->name)
		return true;
	return a->name != NULL && b->name != NULL && strcmp(a->name, b->name) == 0;
}

/* The seed goes into each round, so that colliding names cannot be made without it. */
static uint64_t
hash_bytes(const char *bytes, size_t len, uint64_t seed)
{
	uint64_t h = hash_mix64(seed + len), word;

	for (; len > 0; bytes += MIN(len, sizeof(word)), len -= MIN(len, sizeof(word))) {
		word = 0;
		memcpy(&word, bytes, MIN(len, sizeof(word)));
		h = hash_mix64((h ^ word) + seed);
	}
	return h;
}

static uint64_t
peer_hash(const struct peer *p, uint64_t seed)
{
	uint64_t h = 0;

	if (kind_has_name(p->kind))
		h = hash_bytes(p->name, strlen(p->name), seed);
	else if (kind_has_prefix(p->kind))
		h = addr_hash(&p->prefix.addr, seed) ^ p->prefix.len;
	return hash_mix64((h ^ (uint64_t)p->kind << 8) + seed);
}

int
peer_table_new_seeded(size_t max, uint64_t hash_seed, struct peer_table **ret)
{
	_cleanup_(peer_table_freep) struct peer_table *t = NULL;

	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->index = calloc(INDEX_MIN, sizeof(*t->index));
	if (t->index == NULL)
		return -ENOMEM;
	t->index_size = INDEX_MIN;
	t->max = MIN(max, (size_t)UINT32_MAX - 1);
	t->seed = hash_seed;
	*ret = steal_ptr(t);
	return 0;
}

int
peer_table_new(size_t max, struct peer_table **ret)
{
	return peer_table_new_seeded(max, 0, ret);
}

void
peer_table_free(struct peer_table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->slots[i]);
	free(t->slots);
	free(t->index);
	free(t);
}

/* The place of the peer in the index, or the free place where it would go. */
static size_t
index_find(const struct peer_table *t, const struct peer *p, uint64_t hash)
{
	size_t mask = t->index_size - 1, i = hash & mask;

	while (t->index[i] != PEER_ID_NONE) {
		const struct peer_slot *s = t->slots[t->index[i] - 1];

		if (s->hash == hash && peer_eq(&s->peer, p))
			break;
		i = (i + 1) & mask;
	}
	return i;
}

static int
table_grow(struct peer_table *t)
{
	size_t cap = t->cap != 0 ? t->cap * 2 : INDEX_MIN / 2, size = t->index_size;
	struct peer_slot **slots;
	uint32_t *index;

	slots = reallocarray(t->slots, cap, sizeof(struct peer_slot *));
	if (slots == NULL)
		return -ENOMEM;
	t->slots = slots;
	while (size < cap * 2)
		size *= 2;
	if (size > t->index_size) {
		index = calloc(size, sizeof(*index));
		if (index == NULL)
			return -ENOMEM;
		free(t->index);
		t->index = index;
		t->index_size = size;
		for (size_t i = 0; i < t->n; i++)
			t->index[index_find(t, &t->slots[i]->peer, t->slots[i]->hash)] =
			    (uint32_t)i + 1;
	}
	t->cap = cap;
	return 0;
}

static struct peer_slot *
slot_new(const struct peer *p, uint64_t hash)
{
	size_t size = kind_has_name(p->kind) ? strlen(p->name) + 1 : 0;
	struct peer_slot *s = calloc(1, sizeof(*s) + size);

	if (s == NULL)
		return NULL;
	s->hash = hash;
	s->peer.kind = p->kind;
	if (size > 0) {
		memcpy(s->name, p->name, size);
		s->peer.name = s->name;
	}
	if (kind_has_prefix(p->kind))
		s->peer.prefix = prefix_of(&p->prefix.addr, p->prefix.len);
	return s;
}

int
peer_intern(struct peer_table *t, const struct peer *p, peer_id *ret)
{
	struct peer_slot *slot;
	uint64_t hash;
	size_t i;
	int r;

	if (!peer_is_valid(p))
		return -EINVAL;
	hash = peer_hash(p, t->seed);
	i = index_find(t, p, hash);
	if (t->index[i] != PEER_ID_NONE) {
		*ret = t->index[i];
		return 0;
	}

	if (t->n >= t->max)
		return -ENOSPC;
	if (t->n == t->cap) {
		r = table_grow(t);
		if (r < 0)
			return r;
		i = index_find(t, p, hash);
	}
	slot = slot_new(p, hash);
	if (slot == NULL)
		return -ENOMEM;
	t->slots[t->n++] = slot;
	t->index[i] = (uint32_t)t->n;
	*ret = (uint32_t)t->n;
	return 0;
}

peer_id
peer_lookup(const struct peer_table *t, const struct peer *p)
{
	if (!peer_is_valid(p))
		return PEER_ID_NONE;
	return t->index[index_find(t, p, peer_hash(p, t->seed))];
}

const struct peer *
peer_get(const struct peer_table *t, peer_id id)
{
	if (id == PEER_ID_NONE || id > t->n)
		return NULL;
	return &t->slots[id - 1]->peer;
}

size_t
peer_table_count(const struct peer_table *t)
{
	return t->n;
}

const char *
peer_format(const struct peer *p, char buf[static PEER_STRLEN])
{
	char prefix[PREFIX_STRLEN], addr[ADDR_STRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(named_kinds); i++) {
		if (named_kinds[i].kind == p->kind) {
			snprintf(buf, PEER_STRLEN, "%s%s", named_kinds[i].head,
			    p->name != NULL ? p->name : "");
			return buf;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(keyword_kinds); i++) {
		if (keyword_kinds[i].kind == p->kind) {
			snprintf(buf, PEER_STRLEN, "%s", keyword_kinds[i].word);
			return buf;
		}
	}
	if (p->kind == PEER_CIDR)
		snprintf(buf, PEER_STRLEN, "cidr:%s", prefix_format(&p->prefix, prefix));
	else if (p->kind == PEER_ADDR)
		snprintf(buf, PEER_STRLEN, "addr:%s", addr_format(&p->prefix.addr, addr));
	else
		snprintf(buf, PEER_STRLEN, "?");
	return buf;
}

/* The rest of text after head, or NULL. */
static const char *
after(const char *text, const char *head)
{
	size_t n = strlen(head);

	return strncmp(text, head, n) == 0 ? text + n : NULL;
}

static int
parse_named(
    enum peer_kind kind, const char *name, char namebuf[static PEER_STRLEN], struct peer *ret)
{
	if (!workload_name_valid(name))
		return -EINVAL;
	memmove(namebuf, name, strlen(name) + 1);
	*ret = (struct peer){ .kind = kind, .name = namebuf };
	return 0;
}

static int
parse_cidr(const char *text, struct peer *ret)
{
	struct prefix p;
	int r = prefix_parse(text, &p);

	if (r == 0)
		*ret = (struct peer){ .kind = PEER_CIDR, .prefix = p };
	return r;
}

static int
parse_addr(const char *text, struct peer *ret)
{
	struct addr a;
	int r = addr_parse(text, &a);

	if (r == 0)
		*ret = (struct peer){ .kind = PEER_ADDR, .prefix = prefix_of(&a, 128) };
	return r;
}

/* An address, a slash and anything: meant as a prefix, be it a malformed one. */
static bool
looks_like_prefix(const char *text)
{
	const char *slash = strchr(text, '/');
	char head[ADDR_STRLEN];
	struct addr a;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(head))
		return false;
	memcpy(head, text, (size_t)(slash - text));
	head[slash - text] = '\0';
	return addr_parse(head, &a) == 0;
}

int
peer_parse(const char *text, char namebuf[static PEER_STRLEN], struct peer *ret)
{
	const char *rest;

	for (size_t i = 0; i < ARRAY_SIZE(named_kinds); i++) {
		rest = after(text, named_kinds[i].head);
		if (rest != NULL)
			return parse_named(named_kinds[i].kind, rest, namebuf, ret);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keyword_kinds); i++) {
		if (strcmp(text, keyword_kinds[i].word) == 0) {
			*ret = (struct peer){ .kind = keyword_kinds[i].kind };
			return 0;
		}
	}
	rest = after(text, "cidr:");
	if (rest != NULL)
		return parse_cidr(rest, ret);
	rest = after(text, "addr:");
	if (rest != NULL)
		return parse_addr(rest, ret);
	if (looks_like_prefix(text))
		return parse_cidr(text, ret);
	if (parse_addr(text, ret) == 0)
		return 0;
	return parse_named(PEER_WORKLOAD, text, namebuf, ret);
}
