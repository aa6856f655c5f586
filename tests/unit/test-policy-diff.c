/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_diff against policies written down, and against the evaluator: over pseudo-random pairs of
 * policies, each first packet that one allows and the other does not is in an edge or a network
 * that the difference names, and what it names as gained or lost truly was.
 */
#include "rules/policy_diff.h"

#include "compile-fixture.h"
#include "rules/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define NOW 1000u

struct case_ {
	const char *name, *before, *after; /* the policies without their heads */
	const char *want;		   /* a line a difference */
};

#define E(from, to, port, state) \
	"  - {from: " from ", to: " to ", proto: tcp, port: " port ", state: " state "}\n"
#define NETS \
	"networks: {office: [10.1.0.0/16], lab: [10.1.0.0/16], dc: [10.1.2.0/24, 10.9.0.0/16]}\n"

static const struct case_ cases[] = {
	{ "nothing differs", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n" E("a", "b", "80", "approved"), "" },
	{ "reasons and pending edges are no difference",
	    "edges:\n" E("a", "b", "80", "approved") E("a", "c", "1", "pending"),
	    "edges:\n  - {from: a, to: b, proto: tcp, port: 80, state: approved, reason: x}\n",
	    "" },
	{ "an edge more", "", "edges:\n" E("a", "b", "80", "approved"), "gained - a>b:80\n" },
	{ "an edge less", "edges:\n" E("a", "b", "80", "denied"), "", "lost a>b:80! -\n" },
	{ "approved becomes denied", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n" E("a", "b", "80", "denied"), "reversed a>b:80 a>b:80!\n" },
	{ "pending becomes approved", "edges:\n" E("a", "b", "80", "pending"),
	    "edges:\n" E("a", "b", "80", "approved"), "gained - a>b:80\n" },
	{ "a wider range of ports", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n" E("a", "b", "80-90", "approved"), "widened a>b:80 a>b:80-90\n" },
	{ "a narrower one", "edges:\n" E("a", "b", "80-90", "approved"),
	    "edges:\n" E("a", "b", "85", "approved"), "narrowed a>b:80-90 a>b:85\n" },
	{ "another protocol widens nothing", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n  - {from: a, to: b, proto: udp, port: 80-90, state: approved}\n",
	    "lost a>b:80 -\ngained - a>b:80-90\n" },
	{ "another state widens nothing", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n" E("a", "b", "80-90", "denied"), "lost a>b:80 -\ngained - a>b:80-90!\n" },
	{ "one for two", "edges:\n" E("a", "b", "80", "approved") E("a", "b", "85", "approved"),
	    "edges:\n" E("a", "b", "80-90", "approved"),
	    "widened a>b:80 a>b:80-90\nwidened a>b:85 a>b:80-90\n" },
	{ "one for two that say the same",
	    "edges:\n" E("a", "b", "80", "approved") E("a", "b", "81", "approved"),
	    "edges:\n" E("a", "b", "80-81", "approved"),
	    "widened a>b:80 a>b:80-81 moot\nwidened a>b:81 a>b:80-81 moot\n" },
	{ "lost, but another edge still has it",
	    "edges:\n" E("a", "b", "80", "approved") E("a", "b", "80-90", "approved"),
	    "edges:\n" E("a", "b", "80-90", "approved"), "lost a>b:80 - moot\n" },
	{ "gained under a denial", "edges:\n" E("a", "b", "1-99", "denied"),
	    "edges:\n" E("a", "b", "1-99", "denied") E("a", "b", "80", "approved"),
	    "gained - a>b:80 moot\n" },
	{ "an address becomes a prefix", "edges:\n" E("a", "{address: 10.1.2.3}", "80", "approved"),
	    "edges:\n" E("a", "{cidr: 10.1.2.0/24}", "80", "approved"),
	    "widened a>addr:10.1.2.3:80 a>cidr:10.1.2.0/24:80\n" },
	{ "a public prefix becomes the internet",
	    "edges:\n" E("a", "{cidr: 203.0.113.0/24}", "80", "approved"),
	    "edges:\n" E("a", "{internet: true}", "80", "approved"),
	    "widened a>cidr:203.0.113.0/24:80 a>internet:80\n" },
	{ "a private one does not", "edges:\n" E("a", "{cidr: 10.1.2.0/24}", "80", "approved"),
	    "edges:\n" E("a", "{internet: true}", "80", "approved"),
	    "lost a>cidr:10.1.2.0/24:80 -\ngained - a>internet:80\n" },
	{ "a name becomes all names below",
	    "edges:\n" E("a", "{fqdn: x.example.com}", "80", "approved"),
	    "edges:\n" E("a", "{fqdn: \"*.example.com\"}", "80", "approved"),
	    "widened a>fqdn:x.example.com:80 a>fqdn:*.example.com:80\n" },
	{ "a name's end is not a name below",
	    "edges:\n" E("a", "{fqdn: xexample.com}", "80", "approved"),
	    "edges:\n" E("a", "{fqdn: \"*.example.com\"}", "80", "approved"),
	    "lost a>fqdn:xexample.com:80 -\ngained - a>fqdn:*.example.com:80\n" },
	{ "a prefix and a network of the same addresses",
	    NETS "edges:\n" E("{network: office}", "a", "80", "approved"),
	    NETS "edges:\n" E("{network: lab}", "a", "80", "approved"), "" },
	{ "a network with fewer addresses",
	    NETS "edges:\n" E("{network: office}", "a", "80", "approved"),
	    NETS "edges:\n" E("{network: dc}", "a", "80", "approved"),
	    "lost network:office>a:80 -\ngained - network:dc>a:80\n" },
	{ "a network's prefix", NETS "edges:\n" E("{network: dc}", "a", "80", "approved"),
	    NETS "edges:\n" E("{cidr: 10.9.1.0/24}", "a", "80", "approved"),
	    "narrowed network:dc>a:80 cidr:10.9.1.0/24>a:80\n" },
	{ "networks change",
	    "networks: {office: [10.1.0.0/16], old: [10.3.0.0/16]}\nedges:\n" E(
		"{network: office}", "a", "80", "approved"),
	    "networks: {office: [10.1.0.0/16, 10.2.0.0/16], new: [10.4.0.0/16]}\nedges:\n" E(
		"{network: office}", "a", "80", "approved"),
	    "network new + 0\nnetwork office + 1\nnetwork old - 0\n" },
	{ "a network written differently", "networks: {office: [10.1.0.0/16, 10.1.2.0/24]}\n",
	    "networks: {office: [10.1.0.0/16]}\n", "" },
	{ "modes",
	    "workloads:\n  - {name: a, mode: observe}\n  - {name: b, mode: audit}\n"
	    "  - {name: c, mode: enforce, direction: ingress}\n  - {name: d}\n  - {name: e, mode: "
	    "audit}\n",
	    "workloads:\n  - {name: a, mode: enforce}\n  - {name: b, mode: audit}\n"
	    "  - {name: c, mode: enforce}\n  - {name: f, mode: observe, direction: egress}\n",
	    "workload a observe enforce\nworkload c enforce enforce\nworkload e audit observe\n" },
	{ "labels and images",
	    "workloads:\n  - {name: a, labels: {x: y}}\n  - {name: b, images: [one]}\n  - {name: "
	    "c, images: [one]}\n",
	    "workloads:\n  - {name: a, labels: {x: z}}\n  - {name: b, images: [two]}\n  - {name: "
	    "c}\n",
	    "workload a labels\nworkload b images\n" },
	{ "another end of an approval",
	    "edges:\n  - {from: a, to: b, proto: tcp, port: 80, state: approved}\n",
	    "edges:\n  - {from: a, to: b, proto: tcp, port: 80, state: approved, expires: "
	    "2030-01-01}\n",
	    "expiry a>b:80 a>b:80\n" },
	{ "what ends sooner does not cover", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n  - {from: a, to: b, proto: tcp, port: 80-81, state: approved, expires: "
	    "2030-01-01}\n",
	    "lost a>b:80 -\ngained - a>b:80-81\n" },
	{ "workloads are never covered by prefixes", "edges:\n" E("a", "b", "80", "approved"),
	    "edges:\n" E("a", "{cidr: 0.0.0.0/0}", "80", "approved"),
	    "lost a>b:80 -\ngained - a>cidr:0.0.0.0/0:80\n" },
};

static struct policy *
parse(const char *rest)
{
	char text[4096];
	struct diag d = { 0 };
	struct policy *p = NULL;

	snprintf(text, sizeof(text), "apiVersion: nanoseg/v1\nkind: SegmentPolicy\n%s", rest);
	if (policy_parse(text, strlen(text), &d, &p) < 0)
		fail_msg("%u:%u: %s\n%s", d.line, d.col, d.msg, text);
	return p;
}

static const char *
edge_text(const struct policy_edge *e, char buf[static 256])
{
	char from[PEER_STRLEN], to[PEER_STRLEN], hi[16] = "";
	const char *f = peer_format(&e->from, from), *t = peer_format(&e->to, to);

	if (e->port_hi != e->port_lo)
		snprintf(hi, sizeof(hi), "-%u", e->port_hi);
	snprintf(buf, 256, "%.100s>%.100s:%u%s%s", strncmp(f, "workload:", 9) == 0 ? f + 9 : f,
	    strncmp(t, "workload:", 9) == 0 ? t + 9 : t, e->port_lo, hi,
	    e->state == EDGE_DENIED ? "!" : "");
	return buf;
}

static int
line_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of text in order: ids are hashes, so edges are in no order that could be written. */
static void
sort_lines(char *text)
{
	char *lines[32], copy[4096] = "", *save = NULL;
	size_t n = 0, len = 0;

	for (char *l = strtok_r(text, "\n", &save); l != NULL && n < 32;
	     l = strtok_r(NULL, "\n", &save))
		lines[n++] = l;
	qsort(lines, n, sizeof(*lines), line_compare);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(copy + len, sizeof(copy) - len, "%s\n", lines[i]);
	memcpy(text, copy, len + 1);
}

static void
describe(const struct policy_diff *d, char *buf, size_t size)
{
	char before[256] = "-", after[256] = "-";
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < d->n_edges; i++) {
		const struct policy_diff_edge *e = &d->edges[i];

		snprintf(before, sizeof(before), "-");
		snprintf(after, sizeof(after), "-");
		len += (size_t)snprintf(buf + len, size - len, "%s %s %s%s\n",
		    policy_diff_kind_name(e->kind),
		    e->before != NULL ? edge_text(e->before, before) : before,
		    e->after != NULL ? edge_text(e->after, after) : after,
		    e->no_effect ? " moot" : "");
	}
	for (size_t i = 0; i < d->n_networks; i++)
		len += (size_t)snprintf(buf + len, size - len, "network %s %s%s %zu\n",
		    d->networks[i].name, d->networks[i].gained ? "+" : "",
		    d->networks[i].lost ? "-" : "", d->networks[i].n_edges);
	for (size_t i = 0; i < d->n_workloads; i++) {
		const struct policy_diff_workload *w = &d->workloads[i];

		if (w->mode)
			len += (size_t)snprintf(buf + len, size - len, "workload %s %s %s\n",
			    w->name, mode_name(w->before != NULL ? w->before->mode : MODE_OBSERVE),
			    mode_name(w->after != NULL ? w->after->mode : MODE_OBSERVE));
		else
			len += (size_t)snprintf(buf + len, size - len, "workload %s %s\n", w->name,
			    w->labels ? "labels" : "images");
	}
}

static void
names_what_differs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(policy_freep) struct policy *a = parse(cases[i].before);
		_cleanup_(policy_freep) struct policy *b = parse(cases[i].after);
		_cleanup_(policy_diff_freep) struct policy_diff *d = NULL;
		char got[4096], want[4096];

		assert_int_equal(policy_diff_new(a, b, &d), 0);
		describe(d, got, sizeof(got));
		snprintf(want, sizeof(want), "%s", cases[i].want);
		sort_lines(got);
		sort_lines(want);
		if (strcmp(got, want) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].name, got, want);
		assert_int_equal(policy_diff_is_empty(d), want[0] == '\0');
	}
}

/* --- against the evaluator --- */

#define WORLDS 400
#define MAX_EDGES 7

struct world {
	struct policy policy;
	struct policy_edge edges[MAX_EDGES];
	struct policy_network networks[2];
	struct prefix prefixes[2][2];
};

static uint64_t seed;
static bool plain; /* approvals without end alone */

static uint64_t
rnd(uint64_t below)
{
	seed += 0x9e3779b97f4a7c15ULL;
	return hash_mix64(seed) % below;
}

/* No two make up a third, and no workload has an address in them. */
static const char *const prefixes[] = { "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32",
	"10.1.3.0/24" };
static const uint16_t bounds[] = { 79, 80, 81, 82, 83, 84, 85 };
static const char *const names[] = { "a", "b", "c" };
static char m_name[] = "m", n_name[] = "n";
static const char *const places[] = { "172.16.0.1", "172.16.0.2", "172.16.0.3", "9.255.255.255",
	"10.0.0.1", "10.1.0.0", "10.1.2.0", "10.1.2.3", "10.1.2.4", "10.1.3.7", "10.255.255.255",
	"11.0.0.0", "203.0.113.1" };

static struct peer
make_peer(bool far)
{
	if (!far)
		return W(names[rnd(3)]);
	switch (rnd(6)) {
	case 0:
		return INTERNET;
	case 1:
		return NETWORK(rnd(2) ? "m" : "n");
	case 2:
		return ADDRESS("10.1.2.3");
	default:
		return CIDR(prefixes[rnd(ARRAY_SIZE(prefixes))]);
	}
}

static struct policy_edge
make_edge(void)
{
	uint16_t lo = bounds[1 + rnd(4)], hi = rnd(2) ? lo : (uint16_t)(lo + rnd(3));
	bool far = rnd(2) != 0, source = rnd(2) != 0;
	struct policy_edge e = EDGE(make_peer(far && source), make_peer(far && !source),
	    IPPROTO_TCP, lo, hi, !plain && rnd(4) == 0 ? EDGE_DENIED : EDGE_APPROVED);

	edge_id_format(edge_key_number(&e.from, &e.to, e.proto, lo, hi), e.id);
	if (!plain && rnd(8) == 0)
		e.expires_ns = rnd(2) ? 5000 : 9000;
	return e;
}

static void
add_edge(struct world *w, const struct policy_edge *e)
{
	for (size_t i = 0; i < w->policy.n_edges; i++)
		if (strcmp(w->edges[i].id, e->id) == 0)
			return;
	w->edges[w->policy.n_edges++] = *e;
}

static void
make_networks(struct world *w)
{
	for (size_t i = 0; i < 2; i++) {
		size_t n = rnd(8) != 0 ? 1 : 2;

		for (size_t k = 0; k < n; k++)
			prefix_parse(
			    prefixes[i * 2 + (rnd(8) != 0 ? 1 : 0) + k], &w->prefixes[i][k]);
		w->networks[i] =
		    (struct policy_network){ i == 0 ? m_name : n_name, w->prefixes[i], n };
	}
}

static void
make_worlds(struct world *a, struct world *b)
{
	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	make_networks(a);
	make_networks(b);
	if (rnd(2)) {
		memcpy(b->prefixes, a->prefixes, sizeof(a->prefixes));
		b->networks[0].n_prefixes = a->networks[0].n_prefixes;
		b->networks[1].n_prefixes = a->networks[1].n_prefixes;
	}
	a->policy.networks = a->networks;
	b->policy.networks = b->networks;
	a->policy.n_networks = b->policy.n_networks = 2;
	a->policy.edges = a->edges;
	b->policy.edges = b->edges;
	for (size_t i = 0; i < MAX_EDGES; i++) {
		struct policy_edge e = make_edge(), other = e;

		add_edge(a, &e);
		if (rnd(3) == 0)
			other = make_edge();
		else if (!plain && rnd(8) == 0)
			other.state = EDGE_DENIED;
		if (rnd(8) != 0)
			add_edge(b, &other);
	}
}

static const struct addr own[] = { { 4, { 0 }, { 172, 16, 0, 1 } }, { 4, { 0 }, { 172, 16, 0, 2 } },
	{ 4, { 0 }, { 172, 16, 0, 3 } } };
static const struct inventory_entry entries[] = { { "a", &own[0], 1, false },
	{ "b", &own[1], 1, false }, { "c", &own[2], 1, false } };
static const struct inventory inv = { entries, 3, NULL, 0, NULL, 0 };

static bool
allows(const struct policy *p, const struct tuple *t)
{
	struct evaluation ev;

	policy_evaluate(p, &inv, t, NULL, NULL, NOW, &ev);
	return ev.verdict == VERDICT_ALLOW;
}

static bool
speaks_of(const struct policy *p, const struct policy_edge *e, const struct tuple *t)
{
	return e != NULL && t->dport >= e->port_lo && t->dport <= e->port_hi &&
	       peer_contains(p, &inv, &e->from, &t->src) && peer_contains(p, &inv, &e->to, &t->dst);
}

typedef bool (*tuple_fn)(void *arg, const struct tuple *t);

/* True as soon as fn is. */
static bool
any_tuple(tuple_fn fn, void *arg)
{
	for (size_t s = 0; s < ARRAY_SIZE(places); s++)
		for (size_t d = 0; d < ARRAY_SIZE(places); d++)
			for (size_t p = 0; p < ARRAY_SIZE(bounds); p++) {
				struct tuple t =
				    TUPLE(A(places[s]), A(places[d]), IPPROTO_TCP, bounds[p]);

				if (fn(arg, &t))
					return true;
			}
	return false;
}

struct pair {
	const struct policy *a, *b;
	const struct policy_diff *d;
	const struct policy_diff_edge *one;
	size_t n_changed;
};

/* A packet whose verdict changes although nothing that the difference names speaks of it. */
static bool
is_unexplained(void *arg, const struct tuple *t)
{
	struct pair *k = arg;

	if (allows(k->a, t) == allows(k->b, t))
		return false;
	k->n_changed++;
	if (k->d->n_networks > 0)
		return false;
	for (size_t i = 0; i < k->d->n_edges; i++)
		if (!k->d->edges[i].no_effect && (speaks_of(k->a, k->d->edges[i].before, t) ||
						     speaks_of(k->b, k->d->edges[i].after, t)))
			return false;
	return true;
}

static bool
policy_has(const struct policy *p, enum edge_state state, const struct tuple *t)
{
	for (size_t i = 0; i < p->n_edges; i++)
		if (p->edges[i].state == state && speaks_of(p, &p->edges[i], t))
			return true;
	return false;
}

/* A packet of a gained (lost) edge that no edge of its state had before (has after). */
static bool
is_witness(void *arg, const struct tuple *t)
{
	const struct pair *k = arg;
	const struct policy_diff_edge *e = k->one;
	bool gain = e->kind == POLICY_DIFF_GAINED || e->kind == POLICY_DIFF_WIDENED;
	const struct policy *with = gain ? k->b : k->a, *without = gain ? k->a : k->b;
	const struct policy_edge *edge = gain ? e->after : e->before;

	return speaks_of(with, edge, t) && !policy_has(without, edge->state, t) &&
	       (edge->state == EDGE_DENIED || allows(with, t));
}

/* A denial in parts may hide a whole approval, which the words of one edge alone do not show: what
 * has an effect is asked where there are none. */
static void
agrees_with_the_evaluator(void **state)
{
	size_t changed = 0, witnessed = 0, moot = 0, entries_seen = 0;
	(void)state;

	for (unsigned n = 0; n < WORLDS; n++) {
		_cleanup_(policy_diff_freep) struct policy_diff *d = NULL;
		struct world a, b;
		struct pair k = { .a = &a.policy, .b = &b.policy };

		seed = n * 1000003ULL;
		plain = n % 2 != 0;
		make_worlds(&a, &b);
		assert_int_equal(policy_diff_new(k.a, k.b, &d), 0);
		assert_false(d->gave_up);
		k.d = d;
		entries_seen += d->n_edges;
		if (any_tuple(is_unexplained, &k))
			fail_msg(
			    "world %u: a verdict changes that the difference does not name", n);
		changed += k.n_changed;
		for (size_t i = 0; plain && i < d->n_edges; i++) {
			k.one = &d->edges[i];
			if (k.one->kind > POLICY_DIFF_NARROWED)
				continue;
			moot += k.one->no_effect;
			witnessed += !k.one->no_effect;
			if (any_tuple(is_witness, &k) == k.one->no_effect)
				fail_msg("world %u, %s edge %zu: effect %d", n,
				    policy_diff_kind_name(k.one->kind), i, !k.one->no_effect);
		}
	}
	print_message(
	    "# %zu differences, %zu verdicts changed, %zu witnessed, %zu without effect\n",
	    entries_seen, changed, witnessed, moot);
	assert_true(changed > 1000 && witnessed > 50 && moot > 5);
}

static void
of_itself_is_empty_and_reversed_it_is_the_reverse(void **state)
{
	(void)state;
	for (unsigned n = 0; n < WORLDS; n++) {
		_cleanup_(policy_diff_freep) struct policy_diff *none = NULL, *there = NULL,
								*back = NULL;
		struct world a, b;
		int balance = 0;

		seed = n * 7919ULL + 5;
		make_worlds(&a, &b);
		assert_int_equal(policy_diff_new(&a.policy, &a.policy, &none), 0);
		assert_true(policy_diff_is_empty(none));
		assert_int_equal(policy_diff_new(&a.policy, &b.policy, &there), 0);
		assert_int_equal(policy_diff_new(&b.policy, &a.policy, &back), 0);
		assert_int_equal(there->n_networks, back->n_networks);
		for (size_t i = 0; i < there->n_edges; i++)
			balance += there->edges[i].kind == POLICY_DIFF_REVERSED ||
				   there->edges[i].kind == POLICY_DIFF_EXPIRY;
		for (size_t i = 0; i < back->n_edges; i++)
			balance -= back->edges[i].kind == POLICY_DIFF_REVERSED ||
				   back->edges[i].kind == POLICY_DIFF_EXPIRY;
		assert_int_equal(balance, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_what_differs),
		cmocka_unit_test(agrees_with_the_evaluator),
		cmocka_unit_test(of_itself_is_empty_and_reversed_it_is_the_reverse),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
