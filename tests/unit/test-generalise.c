/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generalisation: how many edges there are, what they cover, and that no order matters. */
#include "rules/edge.h"
#include "rules/edge_fold.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define SEED 0x1234567890abcdefULL
#define T0 1700000000000000000ULL

struct fixture {
	struct peer_table *peers;
	struct edge_table *t;
	peer_id web, db, internet, name;
	size_t folded;
	uint64_t random;
};

static peer_id
intern(struct fixture *f, const char *text)
{
	char name[PEER_STRLEN];
	struct peer p;
	peer_id id;

	assert_int_equal(peer_parse(text, name, &p), 0);
	assert_int_equal(peer_intern(f->peers, &p, &id), 0);
	return id;
}

static bool
covers(void *arg, const struct edge *decided, const struct edge_key *key, const struct tuple *t)
{
	struct fixture *f = arg;
	const struct peer *to = peer_get(f->peers, decided->key.to);

	if (decided->key.from != key->from || key->port_lo < decided->key.port_lo ||
	    key->port_hi > decided->key.port_hi)
		return false;
	return decided->key.to == key->to ||
	       (to->kind == PEER_CIDR && prefix_contains(&to->prefix, &t->dst));
}

static void
count_folded(void *arg, const struct edge *gone, const struct edge *into)
{
	struct fixture *f = arg;

	assert_string_not_equal(gone->id, into->id);
	assert_true(into->dirty);
	f->folded++;
}

static void
start(struct fixture *f, size_t max_edges)
{
	assert_int_equal(peer_table_new(40000, &f->peers), 0);
	assert_int_equal(edge_table_new(f->peers, max_edges, SEED, covers, f, &f->t), 0);
	assert_int_equal(edge_table_generalise(f->t, f->peers, count_folded, f), 0);
	f->web = intern(f, "web");
	f->db = intern(f, "db");
	f->internet = intern(f, "internet");
	f->name = intern(f, "fqdn:cdn.example.com");
	f->folded = 0;
}

static void
stop(struct fixture *f)
{
	edge_table_free(f->t);
	peer_table_free(f->peers);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->random = SEED;
	start(f, 100000);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	stop(*state);
	free(*state);
	return 0;
}

static uint64_t
draw(struct fixture *f, uint64_t n)
{
	f->random = hash_mix64(f->random + 0x9e3779b97f4a7c15ULL);
	return f->random % n;
}

struct seen {
	peer_id from, to;
	struct addr src, dst;
	uint16_t port;
	uint64_t time_ns;
};

static struct edge *
see(struct fixture *f, const struct seen *s)
{
	struct edge_observation o = {
		.key = { .from = s->from,
		    .to = s->to,
		    .proto = IPPROTO_TCP,
		    .port_lo = s->port,
		    .port_hi = s->port },
		.tuple = { .src = s->src, .dst = s->dst, .proto = IPPROTO_TCP, .dport = s->port },
		.end = EDGE_END_SOURCE,
		.instance = (uint32_t)s->port,
		.time_ns = s->time_ns != 0 ? s->time_ns : T0,
		.count = 1,
	};
	struct edge *e;

	assert_true(edge_table_observe(f->t, &o, &e) >= 0);
	return e;
}

static struct addr
addr_number(uint32_t base, uint32_t n)
{
	uint32_t v = base + n;
	const uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
		(uint8_t)v };

	return addr_from_v4(b);
}

/* A connection to or from an address that is nobody's. */
static struct edge *
see_addr(struct fixture *f, bool as_source, const struct addr *a, uint16_t port)
{
	struct peer p = { .kind = PEER_ADDR, .prefix = prefix_of(a, 128) };
	struct seen s = { .from = f->web, .to = f->web, .port = port };
	peer_id id;

	assert_int_equal(peer_intern(f->peers, &p, &id), 0);
	*(as_source ? &s.from : &s.to) = id;
	*(as_source ? &s.src : &s.dst) = *a;
	return see(f, &s);
}

static struct edge *
see_port(struct fixture *f, uint16_t port)
{
	return see(f, &(struct seen){ .from = f->web, .to = f->db, .port = port });
}

static void
few_ports_stay_as_they_are(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < EDGE_PORTS_EXACT; i++)
		assert_int_equal(see_port(f, (uint16_t)(30000 + i * 7))->flags, 0);
	/* Fixed services are not dynamic, however many. */
	for (unsigned i = 1; i < EDGE_PORT_DYNAMIC; i++)
		assert_int_equal(see_port(f, (uint16_t)i)->flags, 0);
	assert_int_equal(edge_table_count(f->t), EDGE_PORTS_EXACT + EDGE_PORT_DYNAMIC - 1);
	assert_int_equal(f->folded, 0);
}

static void
dynamic_ports_become_a_range_that_says_what_was_seen(void **state)
{
	struct fixture *f = *state;
	struct edge *e = NULL, *fixed;
	bool used[1000] = { false };
	unsigned distinct = 0;

	fixed = see_port(f, 8080);
	for (unsigned i = 0; i < 100; i++) {
		unsigned at = (unsigned)draw(f, 1000);

		distinct += !used[at];
		used[at] = true;
		e = see_port(f, (uint16_t)(30000 + at));
	}
	assert_int_equal(edge_table_count(f->t), 2);
	assert_int_equal(fixed->key.port_lo, fixed->key.port_hi);
	assert_int_equal(e->flags, EDGE_FLAG_GENERALISED);
	assert_true(e->key.port_lo <= 30000 && e->key.port_lo > 29000);
	assert_true(e->key.port_hi >= 30990 && e->key.port_hi < 32000);
	assert_int_equal(extent_ports(e->extent), distinct);
	assert_int_equal(edge_connections(e), 100);
	assert_ptr_equal(see_port(f, 30500), e);
	assert_ptr_equal(edge_table_find_id(f->t, e->id), e);
}

static void
any_number_of_ports_is_a_bounded_number_of_edges(void **state)
{
	struct fixture *f = *state;
	size_t most = 0;

	for (unsigned i = 0; i < 65535 - EDGE_PORT_DYNAMIC; i++) {
		see_port(f, (uint16_t)(EDGE_PORT_DYNAMIC + i * 40503u % 64511));
		most = MAX(most, edge_table_count(f->t));
	}
	assert_true(most <= EDGE_PORTS_EXACT + FOLD_BLOCKS);
	assert_int_equal(edge_table_count(f->t), 1);
}

static void
many_addresses_become_prefixes(void **state)
{
	struct fixture *f = *state;
	struct edge *e = NULL;
	size_t most = 0;

	for (unsigned i = 0; i < 5000; i++) {
		struct addr a = addr_number(0x0a010000, i * 2654435761u % 4096);

		e = see_addr(f, i % 2 == 0, &a, i % 2 == 0 ? 443 : 5432);
		most = MAX(most, edge_table_count(f->t));
	}
	assert_true(most <= 2 * (EDGE_ADDRS_EXACT + FOLD_BLOCKS));
	assert_true(edge_table_count(f->t) <= 2 * FOLD_BLOCKS);
	assert_int_equal(e->flags, EDGE_FLAG_GENERALISED);
	assert_int_equal(peer_get(f->peers, e->key.from)->kind == PEER_CIDR ||
			     peer_get(f->peers, e->key.to)->kind == PEER_CIDR,
	    1);
	assert_true(extent_addrs(e->extent) > EXTENT_SKETCH);
}

/* Who makes up private addresses gets no prefix that somebody's address outside is in. */
static void
a_prefix_of_local_addresses_has_no_others(void **state)
{
	static const char *const bases[] = { "10.", "172.16.", "192.168.", "100.64.", "169.254.",
		"fd", "fe80::" };
	struct fixture *f = *state;
	const struct edge *e;
	size_t pos = 0, wide = 0;

	for (unsigned i = 0; i < 7 * 400; i++) {
		const char *base = bases[i % ARRAY_SIZE(bases)];
		uint64_t x = draw(f, 1 << 24);
		char text[64];
		struct addr a;

		if (base[0] == 'f')
			snprintf(text, sizeof(text), "fd%02x:%x::%x", (unsigned)(x >> 16),
			    (unsigned)(x & 0xffff), i + 1);
		else if (base[2] == '.')
			snprintf(text, sizeof(text), "%s%u.%u.%u", base, (unsigned)(x >> 16),
			    (unsigned)(x >> 8 & 255), (unsigned)(x & 255));
		else
			snprintf(text, sizeof(text), "%s%u.%u", base, (unsigned)(x >> 8 & 255),
			    (unsigned)(x & 255));
		assert_int_equal(addr_parse(text, &a), 0);
		see_addr(f, i / 7 % 2 == 0, &a, 443);
	}
	while ((e = edge_table_next(f->t, &pos)) != NULL) {
		const struct peer *p =
		    peer_get(f->peers, e->key.to == f->web ? e->key.from : e->key.to);
		struct addr_range r = prefix_range(&p->prefix);

		assert_int_equal(addr_scope(&r.lo), SCOPE_LOCAL);
		assert_int_equal(addr_scope(&r.hi), SCOPE_LOCAL);
		assert_non_null(addr_local_prefix(&r.lo));
		assert_true(prefix_covers(addr_local_prefix(&r.lo), &p->prefix));
		wide += p->kind == PEER_CIDR;
	}
	assert_in_range(wide, 2 * 6, 2 * 6);
}

static void
many_addresses_with_many_ports_are_bounded_in_both(void **state)
{
	struct fixture *f = *state;
	size_t most = 0;

	for (unsigned i = 0; i < 40000; i++) {
		struct addr a = addr_number(0xc0a80000, (uint32_t)draw(f, 3000));

		see_addr(f, false, &a, (uint16_t)(20000 + draw(f, 3000)));
		most = MAX(most, edge_table_count(f->t));
	}
	assert_true(most <= EDGE_ADDRS_EXACT * (EDGE_PORTS_EXACT + FOLD_BLOCKS));
	assert_true(edge_table_count(f->t) <= FOLD_BLOCKS * FOLD_BLOCKS);
}

static void
the_internet_and_names_say_what_was_seen_of_them(void **state)
{
	struct fixture *f = *state;
	struct edge *e = NULL;

	for (unsigned i = 0; i < 5000; i++)
		e = see(f, &(struct seen){ f->web, f->internet,
			       .dst = addr_number(0xcb007100, i % 600), .port = 443 });
	assert_int_equal(edge_table_count(f->t), 1);
	assert_int_equal(e->flags, EDGE_FLAG_GENERALISED);
	assert_in_range(extent_addrs(e->extent), 400, 800);
	assert_int_equal(e->extent->n_prefixes[0], 3);
	assert_int_equal(e->extent->prefixes[0][0].len, 24);
	e = see(
	    f, &(struct seen){ f->web, f->name, .dst = addr_number(0xcb007100, 1), .port = 443 });
	assert_int_equal(e->flags, EDGE_FLAG_GENERALISED);
	assert_int_equal(extent_addrs(e->extent), 1);
	assert_int_equal(extent_ports(e->extent), 0);
}

static void
what_was_decided_is_never_reshaped(void **state)
{
	const struct edge_decision d = { .reason = (char *)"mine" };
	const struct edge_key range = { .from = ((struct fixture *)*state)->web,
		.to = ((struct fixture *)*state)->db,
		.proto = IPPROTO_TCP,
		.port_lo = 40000,
		.port_hi = 40100 };
	struct fixture *f = *state;
	struct edge *exact = see_port(f, 30005), *denied = see_port(f, 30006), *mine, *gone, *e;
	struct addr a = addr_number(0x0a010000, 7);
	struct edge *to_addr = see_addr(f, false, &a, 5432);
	uint16_t lo, hi;

	assert_int_equal(edge_decide(f->t, exact, EDGE_APPROVED, &d), 0);
	assert_int_equal(edge_decide(f->t, denied, EDGE_DENIED, &d), 0);
	assert_int_equal(edge_decide(f->t, to_addr, EDGE_APPROVED, &d), 0);
	assert_int_equal(edge_table_add(f->t, &range, &mine), 0);
	assert_int_equal(edge_decide(f->t, mine, EDGE_APPROVED, &d), 0);
	/* Taken back: a person's word as well. */
	gone = see_port(f, 30007);
	assert_int_equal(edge_decide(f->t, gone, EDGE_APPROVED, &d), 0);
	assert_int_equal(edge_decide(f->t, gone, EDGE_PENDING, NULL), 0);
	gone->flags |= EDGE_FLAG_WITHDRAWN;
	for (unsigned i = 0; i < 2000; i++)
		see_port(f, (uint16_t)(30000 + i % 400));
	for (unsigned i = 0; i < 300; i++) {
		struct addr other = addr_number(0x0a010000, i);

		see_addr(f, false, &other, 5432);
	}
	assert_ptr_equal(see_port(f, 30005), exact);
	assert_ptr_equal(see_port(f, 30006), denied);
	assert_ptr_equal(see_port(f, 30007), gone);
	assert_ptr_equal(see_port(f, 40050), mine);
	assert_ptr_equal(see_addr(f, false, &a, 5432), to_addr);
	assert_int_equal(exact->key.port_lo, exact->key.port_hi);
	assert_int_equal(mine->key.port_hi, 40100);
	assert_int_equal(gone->key.port_hi, 30007);
	/* And a range that was approved has its shape for good: what lies outside is new. */
	e = see_port(f, 30200);
	assert_int_equal(e->flags, EDGE_FLAG_GENERALISED);
	assert_int_equal(edge_decide(f->t, e, EDGE_APPROVED, &d), 0);
	assert_ptr_equal(see_port(f, 30201), e);
	lo = e->key.port_lo;
	hi = e->key.port_hi;
	for (unsigned i = 0; i < 200; i++)
		assert_ptr_not_equal(see_port(f, (uint16_t)(31000 + i)), e);
	assert_int_equal(e->key.port_lo, lo);
	assert_int_equal(e->key.port_hi, hi);
}

static int
text_cmp(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

/* All that is known, in a text that does not depend on the order of the edges. */
static char *
picture(const struct fixture *f)
{
	size_t n = edge_table_count(f->t), pos = 0, k = 0, len = 0;
	char **lines = calloc(n + 1, sizeof(char *)), *all;
	const struct edge *e;

	assert_non_null(lines);
	while ((e = edge_table_next(f->t, &pos)) != NULL) {
		char from[PEER_STRLEN], to[PEER_STRLEN];
		const struct edge_evidence *ev = &e->evidence;
		uint64_t sum = hash_mix64(ev->n_instances) ^ hash_mix64(ev->n_clients);

		for (unsigned i = 0; i < EDGE_SKETCH; i++)
			sum = hash_mix64(sum ^ ev->instance_hash[i]) + ev->client_hash[i];
		for (unsigned i = 0; e->extent != NULL && i < EXTENT_SKETCH; i++)
			sum = hash_mix64(sum ^ e->extent->ports[i]) + e->extent->addrs[i];
		for (unsigned i = 0; i < sizeof(ev->hour_bits); i++)
			sum = hash_mix64(sum ^ ev->hour_bits[i]);
		for (unsigned i = 0; e->extent != NULL && i < e->extent->n_prefixes[0]; i++)
			sum = addr_hash(
			    &e->extent->prefixes[0][i].addr, sum + e->extent->prefixes[0][i].len);
		assert_true(asprintf(&lines[k++], "%s %s %u-%u %x %ju %ju %ju %jx\n",
				peer_format(peer_get(f->peers, e->key.from), from),
				peer_format(peer_get(f->peers, e->key.to), to), e->key.port_lo,
				e->key.port_hi, e->flags, (uintmax_t)edge_connections(e),
				(uintmax_t)ev->first_seen_ns, (uintmax_t)ev->last_seen_ns,
				(uintmax_t)sum) > 0);
	}
	qsort(lines, n, sizeof(char *), text_cmp);
	for (size_t i = 0; i < n; i++)
		len += strlen(lines[i]);
	all = calloc(1, len + 1);
	assert_non_null(all);
	for (size_t i = 0, at = 0; i < n; i++) {
		memcpy(all + at, lines[i], strlen(lines[i]));
		at += strlen(lines[i]);
		free(lines[i]);
	}
	free(lines);
	return all;
}

/* Addresses and ports of which some are dense, some are not and some are alone. */
static struct seen
draw_event(struct fixture *f, unsigned spread)
{
	struct seen s = { .from = f->web, .to = f->db, .time_ns = T0 + draw(f, 1000000) * 3600000 };
	struct peer p = { .kind = PEER_ADDR };
	unsigned what = (unsigned)draw(f, 4);
	static const struct {
		uint32_t base, most;
	} nets[] = { { 0x0a000000, 1 << 20 }, { 0x0a000000, 1 << 24 }, { 0x64400000, 1 << 22 },
		{ 0xc0a80000, 1 << 16 } };
	unsigned net = (unsigned)draw(f, spread % 2 == 0 ? 2 : ARRAY_SIZE(nets));
	uint32_t base = nets[net].base, most = nets[net].most;

	s.port = draw(f, 3) == 0 ? (uint16_t)(1024 + draw(f, 64512))
				 : (uint16_t)(30000 + draw(f, spread));
	s.src = addr_number(base, (uint32_t)draw(f, MIN(spread * 4, most)));
	s.dst = addr_number(base, (uint32_t)draw(f, draw(f, 2) == 0 ? spread : most));
	if (what == 0)
		return s;
	if (what == 3) {
		s.to = f->internet;
		s.dst.bytes[0] = 203;
		s.port = 443;
		return s;
	}
	p.prefix = prefix_of(what == 1 ? &s.src : &s.dst, 128);
	assert_int_equal(peer_intern(f->peers, &p, what == 1 ? &s.from : &s.to), 0);
	return s;
}

static void
shuffle(struct fixture *f, struct seen *list, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t k = draw(f, i);
		struct seen swap = list[i - 1];

		list[i - 1] = list[k];
		list[k] = swap;
	}
}

static void
no_order_of_events_matters(void **state)
{
	struct fixture *f = *state;
	struct seen list[1200];

	for (unsigned round = 0; round < 40; round++) {
		size_t n = 40 + draw(f, ARRAY_SIZE(list) - 40);
		unsigned spread = 1 + (unsigned)draw(f, round % 2 == 0 ? 200 : 20000);
		char *first = NULL;

		stop(f);
		start(f, 100000);
		for (size_t i = 0; i < n; i++)
			list[i] = draw_event(f, spread);
		for (unsigned order = 0; order < 6; order++) {
			char *now;

			edge_table_free(f->t);
			assert_int_equal(
			    edge_table_new(f->peers, 100000, SEED, covers, f, &f->t), 0);
			assert_int_equal(edge_table_generalise(f->t, f->peers, count_folded, f), 0);
			for (size_t i = 0; i < n; i++)
				see(f, &list[i]);
			now = picture(f);
			if (first == NULL)
				first = now;
			else {
				assert_string_equal(first, now);
				free(now);
			}
			shuffle(f, list, n);
		}
		free(first);
	}
}

/* Of addresses that become one prefix, also where the new address is another. */
static void
ports_are_summed_up_wherever_addresses_were(void **state)
{
	struct fixture *f = *state;
	const uint32_t base = 0x0a010000, per_block = EDGE_ADDRS_EXACT / FOLD_BLOCKS + 1;
	struct addr far = addr_number(0x0ac80000, 1);
	size_t pos = 0, ranges = 0;
	const struct edge *e;

	/* Eight prefixes with different ports each, too few in one of them to be a range. */
	for (uint32_t block = 0; block < FOLD_BLOCKS; block++)
		for (uint32_t i = 0; i < per_block; i++) {
			struct addr a = addr_number(base, block * 256 + i);

			see_addr(f, false, &a, (uint16_t)(30000 + block * per_block + i));
		}
	while ((e = edge_table_next(f->t, &pos)) != NULL)
		assert_int_equal(e->key.port_lo, e->key.port_hi);
	assert_int_equal(edge_table_count(f->t), FOLD_BLOCKS * per_block);

	/* With a ninth they are one prefix: what is new stays an edge of its own. */
	assert_int_equal(see_addr(f, false, &far, 30000)->flags, 0);
	assert_int_equal(edge_table_count(f->t), 2);
	for (pos = 0; (e = edge_table_next(f->t, &pos)) != NULL;)
		ranges += e->key.port_lo < e->key.port_hi;
	assert_int_equal(ranges, 1);
}

/* The ports' rule once more, from its words, over the set of what was seen. */
static void
ports_are_what_the_rule_says(void **state)
{
	static bool seen[65536];
	struct fixture *f = *state;

	for (unsigned round = 0; round < 200; round++) {
		unsigned n = 1 + (unsigned)draw(f, 200), spread = 1 + (unsigned)draw(f, 60000);
		unsigned distinct = 0, bits = 0;
		const struct edge *e;
		size_t pos = 0;

		stop(f);
		start(f, 1000);
		memset(seen, 0, sizeof(seen));
		for (unsigned i = 0; i < n; i++) {
			uint16_t port = (uint16_t)(1024 + draw(f, MIN(spread, 64511u)));

			seen[port] = true;
			see_port(f, port);
		}
		for (unsigned p = 0; p < 65536; p++)
			distinct += seen[p];
		for (; distinct > EDGE_PORTS_EXACT; bits++) {
			unsigned blocks = 0;

			for (unsigned b = 0; b < 65536u >> bits; b++)
				blocks += memchr(&seen[b << bits], 1, 1u << bits) != NULL;
			if (blocks <= FOLD_BLOCKS)
				break;
		}
		while ((e = edge_table_next(f->t, &pos)) != NULL) {
			unsigned lo = e->key.port_lo, hi = e->key.port_hi, in = 0;

			for (unsigned p = lo; p <= hi; p++) {
				in += seen[p];
				assert_true(
				    memchr(&seen[p >> bits << bits], 1, 1u << bits) != NULL);
			}
			assert_true(in >= (lo == hi ? 1 : FOLD_SEEN));
			if (lo != hi)
				assert_int_equal(in, MIN(in, EXTENT_SKETCH - 1) == in
							 ? extent_ports(e->extent)
							 : in);
			for (unsigned p = lo; p <= hi; p++)
				seen[p] = false;
		}
		assert_null(memchr(seen, 1, sizeof(seen)));
	}
}

static void
a_restart_in_between_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct seen list[600];
	char *whole, *halves;
	struct edge_table *old;
	const struct edge *e;
	size_t pos = 0;

	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		list[i] = draw_event(f, 300);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		see(f, &list[i]);
	whole = picture(f);
	edge_table_free(f->t);
	assert_int_equal(edge_table_new(f->peers, 100000, SEED, covers, f, &f->t), 0);
	assert_int_equal(edge_table_generalise(f->t, f->peers, count_folded, f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(list) / 2; i++)
		see(f, &list[i]);
	old = f->t;
	assert_int_equal(edge_table_new(f->peers, 100000, SEED, covers, f, &f->t), 0);
	assert_int_equal(edge_table_generalise(f->t, f->peers, count_folded, f), 0);
	while ((e = edge_table_next(old, &pos)) != NULL) {
		uint8_t stored[EXTENT_BYTES_MAX];
		struct edge *copy;

		assert_int_equal(edge_table_add(f->t, &e->key, &copy), 0);
		copy->flags = e->flags;
		copy->evidence = e->evidence;
		if (e->extent != NULL) {
			size_t len = extent_write(e->extent, stored);

			assert_int_equal(edge_extent_make(copy), 0);
			assert_int_equal(extent_read(stored, len, copy->extent), 0);
			assert_memory_equal(copy->extent, e->extent, sizeof(*e->extent));
			assert_int_equal(extent_read(stored, len - 1, copy->extent), -EBADMSG);
		}
		edge_table_restored(f->t, copy);
	}
	edge_table_free(old);
	for (size_t i = ARRAY_SIZE(list) / 2; i < ARRAY_SIZE(list); i++)
		see(f, &list[i]);
	halves = picture(f);
	assert_string_equal(whole, halves);
	free(whole);
	free(halves);
}

static void
a_full_table_still_folds(void **state)
{
	struct fixture *f = *state;

	stop(f);
	start(f, EDGE_PORTS_EXACT + 1);
	for (unsigned i = 0; i < 1000; i++)
		see_port(f, (uint16_t)(30000 + i));
	assert_int_equal(edge_table_count(f->t), 1);
	assert_int_equal(edge_table_overflow(f->t), 0);
}

static void
a_direction_that_was_proven_once_is_proven_for_the_range(void **state)
{
	struct fixture *f = *state;
	struct edge *e = NULL;

	for (unsigned i = 0; i < 60; i++) {
		struct edge_observation o = {
			.key = { .from = f->web,
			    .to = f->db,
			    .proto = IPPROTO_UDP,
			    .port_lo = (uint16_t)(30000 + i),
			    .port_hi = (uint16_t)(30000 + i) },
			.end = EDGE_END_DESTINATION,
			.flags = EDGE_FLAG_MIDSTREAM,
			.time_ns = T0,
			.count = 1,
		};

		assert_true(edge_table_observe(f->t, &o, &e) >= 0);
		assert_int_equal(e->flags & EDGE_FLAG_MIDSTREAM, EDGE_FLAG_MIDSTREAM);
	}
	assert_int_equal(edge_table_count(f->t), 1);
	assert_int_equal(e->flags, EDGE_FLAG_MIDSTREAM | EDGE_FLAG_GENERALISED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(few_ports_stay_as_they_are),
		T(dynamic_ports_become_a_range_that_says_what_was_seen),
		T(any_number_of_ports_is_a_bounded_number_of_edges),
		T(many_addresses_become_prefixes),
		T(a_prefix_of_local_addresses_has_no_others),
		T(many_addresses_with_many_ports_are_bounded_in_both),
		T(the_internet_and_names_say_what_was_seen_of_them),
		T(what_was_decided_is_never_reshaped),
		T(no_order_of_events_matters),
		T(ports_are_summed_up_wherever_addresses_were),
		T(ports_are_what_the_rule_says),
		T(a_restart_in_between_changes_nothing),
		T(a_full_table_still_folds),
		T(a_direction_that_was_proven_once_is_proven_for_the_range),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
