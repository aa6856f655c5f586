/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See mutate.h. */
#include "tests/diff/mutate.h"

#include "tests/diff/bench.h"
#include "tests/diff/cells.h"

#include "rules/range.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUTANT_EDGES 10
/* Caught ones of a kind, after which its others are judged by sample. */
#define ENOUGH 3
/* A table with fewer rules filters nothing. */
#define OBSERVE_RULES 12
#define STATE_NEW NF_CT_STATE_BIT(IP_CT_NEW)

enum kind {
	RULE_DROPPED,
	RULES_SWAPPED,
	VERDICT_CHANGED,
	POLICY_TURNED,
	JUMP_MISLED,
	MATCH_TURNED,
	MATCH_DROPPED,
	ELEM_DROPPED,
	ELEM_WIDENED,
	ELEM_NARROWED,
	ELEM_TURNED,
	ELEM_MISPLACED,
};

const char *const mutation_names[MUTATION_KINDS] = {
	[RULE_DROPPED] = "a rule dropped",
	[RULES_SWAPPED] = "two rules swapped",
	[VERDICT_CHANGED] = "a verdict changed",
	[POLICY_TURNED] = "a chain's policy turned",
	[JUMP_MISLED] = "a jump to the other chain",
	[MATCH_TURNED] = "a match turned",
	[MATCH_DROPPED] = "a rule widened",
	[ELEM_DROPPED] = "an element dropped",
	[ELEM_WIDENED] = "an element widened",
	[ELEM_NARROWED] = "an element narrowed",
	[ELEM_TURNED] = "an element denied or allowed",
	[ELEM_MISPLACED] = "an element in the other way",
};

struct trial {
	struct sim_packet packet;
	struct sim_result want;
};

/* One table and all that it is held against. */
struct lab {
	struct bench bench;
	struct sim_table mutant;
	const struct sim_table *table;
	const struct inventory_entry *own;
	struct trial *trials;
	size_t n, cap;
	size_t hint; /* the trial that caught the last one: its neighbours may catch the next */
	struct kills *kills;
	unsigned long seed, share;
};

static void
lab_add(struct lab *lab, const struct probe *p, enum flow_dir dir)
{
	struct trial *t;
	bool split;

	if (lab->n == lab->cap) {
		lab->cap = lab->cap * 2 + 4096;
		lab->trials = reallocarray(lab->trials, lab->cap, sizeof(*lab->trials));
		if (lab->trials == NULL)
			abort();
	}
	t = &lab->trials[lab->n++];
	probe_bytes(p, dir, &t->packet);
	bench_expect(&lab->bench, p, dir, lab->own, &t->want, &split);
}

/* Every other side of a packet, one at a time. */
static void
lab_add_frills(struct lab *lab, struct probe p, enum flow_dir dir)
{
	static const uint8_t flags[] = { 0x00, 0x01, 0x04, 0x10, 0x12, 0x0a, 0xc2, 0x06, 0x03 };
	static const uint8_t chunks[] = { 0, 2, 3, 4, 5, 10 };
	static const uint8_t hops[] = { 1, 255 };
	static const uint8_t types[] = { 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 143,
		0x11, 0x12, 0x13, 0x16, 0x17, 0x22 };
	struct probe q;
	size_t i, j;

	for (i = 0; i < 7; i++) {
		p.ct_state = i == 0 ? NF_CT_STATE_INVALID_BIT : 1u << i;
		for (j = 0; j < 8; j++) {
			q = p;
			q.loopback = j & 1;
			q.limited = j & 2;
			q.cut = j & 4;
			lab_add(lab, &q, dir);
		}
	}
	for (i = 0; i < 16; i++) {
		q = p;
		q.ct_state = i & 1 ? STATE_NEW : NF_CT_STATE_BIT(IP_CT_ESTABLISHED);
		q.marked = true;
		q.reply = i & 2;
		q.limited = i & 4;
		q.loopback = i & 8;
		lab_add(lab, &q, dir);
	}
	p.ct_state = STATE_NEW;
	for (i = 0; i < 16; i++) {
		q = p;
		q.dns = i & 1;
		q.reply = i & 2;
		q.limited = i & 4;
		q.loopback = i & 8;
		lab_add(lab, &q, dir);
	}
	for (i = 0; p.t.proto == IPPROTO_TCP && i < ARRAY_SIZE(flags); i++) {
		p.tcp_flags = flags[i];
		lab_add(lab, &p, dir);
	}
	for (i = 0; p.t.proto == IPPROTO_SCTP && i < ARRAY_SIZE(chunks); i++) {
		p.sctp_chunk = chunks[i];
		lab_add(lab, &p, dir);
	}
	for (i = 0; proto_is_icmp(p.t.proto) && i < 4; i++) {
		q = p;
		q.t.dport = (uint16_t)((i & 1 ? 1 : 3) << 8);
		q.ct_state = i & 2 ? STATE_NEW : NF_CT_STATE_BIT(IP_CT_RELATED);
		lab_add(lab, &q, dir);
	}
	/* Those of the one are nothing in the other. */
	for (i = 0;
	     (p.t.proto == IPPROTO_ICMPV6 || p.t.proto == IPPROTO_IGMP) && i < ARRAY_SIZE(types);
	     i++) {
		for (j = 0; j < ARRAY_SIZE(hops); j++) {
			p.t.dport = (uint16_t)(types[i] << 8);
			p.hops = hops[j];
			p.ct_state = STATE_NEW;
			lab_add(lab, &p, dir);
			p.ct_state = NF_CT_STATE_INVALID_BIT;
			lab_add(lab, &p, dir);
		}
	}
}

static void
lab_add_far(struct lab *lab, const struct addr *near, const struct addr *far, enum flow_dir dir,
    bool frills)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP,
		IPPROTO_ICMPV6, IPPROTO_GRE, IPPROTO_IGMP };
	uint16_t ports[WORLD_GRID_PORTS];
	struct probe p = { .ct_state = STATE_NEW, .tcp_flags = 0x02, .sctp_chunk = 1, .hops = 64 };
	size_t i, j, n;

	p.t.src = dir == DIR_INGRESS ? *far : *near;
	p.t.dst = dir == DIR_INGRESS ? *near : *far;
	for (i = 0; i < ARRAY_SIZE(protos); i++) {
		p.t.proto = protos[i];
		n = world_ports(&lab->bench.w, p.t.proto, ports);
		for (j = 0; j < n; j++) {
			p.t.dport = ports[j];
			lab_add(lab, &p, dir);
			if (p.t.proto != IPPROTO_TCP && p.t.proto != IPPROTO_SCTP)
				continue;
			p.tcp_flags = 0x10;
			p.sctp_chunk = 4;
			lab_add(lab, &p, dir);
			p.tcp_flags = 0x02;
			p.sctp_chunk = 1;
		}
		p.t.dport = ports[0];
		/* What is said of groups depends on where it goes. */
		if (frills || ((p.t.proto == IPPROTO_IGMP || p.t.proto == IPPROTO_ICMPV6) &&
				  addr_is_multicast(&p.t.dst)))
			lab_add_frills(lab, p, dir);
	}
}

static void
lab_add_forward(struct lab *lab)
{
	const struct policy_workload *wl = &lab->bench.w.workloads[lab->own - lab->bench.w.entries];
	struct probe p = { .t.src = lab->own->addrs[0], .t.dst = lab->own->addrs[0] };

	for (unsigned i = 0; i < 4; i++) {
		p.ct_state = i & 1 ? STATE_NEW : NF_CT_STATE_BIT(IP_CT_ESTABLISHED);
		p.limited = i & 2;
		lab_add(lab, &p, DIR_INGRESS);
		lab->trials[lab->n - 1].packet.hook = NF_INET_FORWARD;
		lab->trials[lab->n - 1].packet.oif = 3;
		probe_expect_forward(&p, wl->direction & WL_INGRESS ? wl->mode : MODE_OBSERVE,
		    wl->direction & WL_EGRESS ? wl->mode : MODE_OBSERVE,
		    &lab->trials[lab->n - 1].want);
	}
}

static const struct addr *
lab_near(const struct lab *lab, uint8_t family)
{
	static const struct addr link_local[] = { { .family = 4, .bytes = { 169, 254, 9, 9 } },
		{ .family = 6, .bytes = { 0xfe, 0x80, [15] = 9 } } };

	for (size_t i = 0; i < lab->own->n_addrs; i++)
		if (lab->own->addrs[i].family == family)
			return &lab->own->addrs[i];
	return &link_local[family == 6];
}

/* Every boundary of every edge, with one own address of each family. */
static void
lab_fill(struct lab *lab)
{
	const struct addr link_local = { .family = 6, .bytes = { 0xfe, 0x80, [15] = 10 } };
	struct probe query = { .t = { .src = { .family = 4, .bytes = { 10, 20, 0, 1 } },
				   .dst = { .family = 4, .bytes = { 224, 0, 0, 1 } },
				   .proto = IPPROTO_IGMP,
				   .dport = 0x1100 },
		.hops = 1 };
	const struct world *w = &lab->bench.w;
	const struct addr *near;

	lab->n = lab->hint = 0;
	for (size_t i = 0; i <= w->n_grid; i++) {
		const struct addr *far = i < w->n_grid ? &w->grid[i] : &link_local;

		near = lab_near(lab, far->family);
		lab_add_far(lab, near, far, DIR_INGRESS, i % 8 == 0 || far == &link_local);
		lab_add_far(lab, near, far, DIR_EGRESS, i % 8 == 0 || far == &link_local);
	}
	lab_add_frills(lab, query, DIR_INGRESS);
	lab_add_forward(lab);
}

static bool
lab_catches(struct lab *lab, const struct sim_table *t)
{
	struct sim_result got;
	size_t at;

	for (size_t i = 0; i < lab->n; i++) {
		at = (lab->hint + i) % lab->n;
		sim_run(t, &lab->trials[at].packet, &got);
		if (result_eq(&got, &lab->trials[at].want))
			continue;
		lab->hint = at;
		return true;
	}
	return false;
}

/* `same`: proven already. set and box as in cells_equal(). */
static void
lab_judge(struct lab *lab, enum kind kind, bool same, int set, const struct sim_elem *box,
    const char *what, unsigned index)
{
	struct kills *k = &lab->kills[kind];

	k->made++;
	if (k->killed >= ENOUGH && k->made % lab->share != 0) {
		k->skipped++;
	} else if (same) {
		k->equivalent++;
	} else if (lab_catches(lab, &lab->mutant)) {
		k->killed++;
	} else if (cells_equal(lab->table, &lab->mutant, set, box)) {
		k->equivalent++;
	} else {
		k->survived++;
		printf("# world %lu, %s: %s: %s %u is missed\n", lab->seed, lab->own->workload,
		    mutation_names[kind], what, index);
	}
}

/* Rules */

static void
mutate_expr(struct lab *lab, unsigned c, unsigned r, struct sim_expr *x)
{
	const struct sim_rule *before = &lab->table->chains[c].rules[r];
	const struct sim_rule *after = &lab->mutant.chains[c].rules[r];
	const struct sim_expr was = *x;
	enum kind kind = VERDICT_CHANGED;

	if (x->op == SIM_VERDICT && x->arg != NF_ACCEPT)
		x->arg = NF_ACCEPT;
	else if (x->op == SIM_VERDICT)
		x->arg = NF_DROP;
	else if (x->op == SIM_REJECT)
		*x = (struct sim_expr){ .op = SIM_VERDICT, .arg = NF_DROP };
	else if (x->op == SIM_CMP)
		kind = MATCH_TURNED, x->arg = x->arg == NFT_CMP_EQ ? NFT_CMP_NEQ : NFT_CMP_EQ;
	else if (x->op == SIM_LOOKUP)
		kind = MATCH_TURNED, x->invert = !x->invert;
	else
		return;
	lab_judge(lab, kind, rule_is_dead(lab->table, before) && rule_is_dead(lab->table, after),
	    -1, NULL, lab->table->chains[c].name, r);
	*x = was;
}

/* The rule without one of its conditions. */
static void
mutate_widen(struct lab *lab, unsigned c, unsigned r, unsigned at)
{
	const struct sim_rule *was = &lab->table->chains[c].rules[r];
	struct sim_rule *rule = &lab->mutant.chains[c].rules[r];

	if (was->exprs[at].op != SIM_CMP && was->exprs[at].op != SIM_LOOKUP)
		return;
	rule->n--;
	memmove(&rule->exprs[at], &rule->exprs[at + 1], (rule->n - at) * sizeof(rule->exprs[0]));
	lab_judge(lab, MATCH_DROPPED,
	    rule_is_dead(lab->table, was) && rule_is_dead(lab->table, rule), -1, NULL,
	    lab->table->chains[c].name, r);
	*rule = *was;
}

static void
mutate_jump(struct lab *lab, unsigned c, unsigned r, struct sim_expr *x)
{
	const int was = x->index;
	unsigned i;

	for (i = 0; i < lab->table->n_chains; i++) {
		if (lab->table->chains[i].base || (int)i == was)
			continue;
		x->index = (int)i;
		lab_judge(lab, JUMP_MISLED,
		    rule_is_dead(lab->table, &lab->table->chains[c].rules[r]), -1, NULL,
		    lab->table->chains[c].name, r);
	}
	x->index = was;
}

static void
mutate_rule(struct lab *lab, unsigned c, unsigned r)
{
	const struct sim_chain *was = &lab->table->chains[c];
	struct sim_chain *chain = &lab->mutant.chains[c];
	struct sim_rule *rule = &chain->rules[r];

	for (unsigned i = 0; i < rule->n; i++) {
		struct sim_expr *x = &rule->exprs[i];

		mutate_expr(lab, c, r, x);
		mutate_widen(lab, c, r, i);
		if (x->op == SIM_VERDICT && ((int)x->arg == NFT_JUMP || (int)x->arg == NFT_GOTO))
			mutate_jump(lab, c, r, x);
	}
	if (r + 1 < chain->n) {
		chain->rules[r] = was->rules[r + 1];
		chain->rules[r + 1] = was->rules[r];
		lab_judge(lab, RULES_SWAPPED,
		    rule_is_dead(lab->table, &was->rules[r]) ||
			rule_is_dead(lab->table, &was->rules[r + 1]) ||
			rules_commute(&was->rules[r], &was->rules[r + 1]),
		    -1, NULL, was->name, r);
	}
	/* The copy is whole again with the rule empty, which does nothing. */
	*chain = *was;
	chain->rules[r].n = 0;
	lab_judge(
	    lab, RULE_DROPPED, rule_is_dead(lab->table, &was->rules[r]), -1, NULL, was->name, r);
	*chain = *was;
}

static void
mutate_rules(struct lab *lab)
{
	for (unsigned c = 0; c < lab->table->n_chains; c++) {
		struct sim_chain *chain = &lab->mutant.chains[c];

		if (chain->base) {
			chain->policy = chain->policy == NF_DROP ? NF_ACCEPT : NF_DROP;
			lab_judge(lab, POLICY_TURNED, false, -1, NULL, chain->name, 0);
			/* The last rule stands in for the policy: without both nothing does. */
			chain->rules[chain->n - 1].n = 0;
			lab_judge(lab, POLICY_TURNED, false, -1, NULL, chain->name, 1);
			*chain = lab->table->chains[c];
		}
		for (unsigned r = 0; r < lab->table->chains[c].n; r++)
			mutate_rule(lab, c, r);
	}
}

/* Elements */

static void
field_step(uint8_t *field, size_t len, bool up)
{
	for (size_t i = len; i-- > 0;)
		if (up ? ++field[i] != 0 : field[i]-- != 0)
			return;
}

static bool
field_is(const uint8_t *field, size_t len, uint8_t byte)
{
	for (size_t i = 0; i < len; i++)
		if (field[i] != byte)
			return false;
	return true;
}

/* Room for one more, as in a set that was copied. */
static void
set_push(struct sim_set *s, const struct sim_elem *e)
{
	if (s->n == s->cap) {
		s->cap = s->cap * 2 + 4;
		s->elems = reallocarray(s->elems, s->cap, sizeof(*s->elems));
		if (s->elems == NULL)
			abort();
	}
	s->elems[s->n++] = *e;
}

/* One end of one field, one step outwards or inwards. An exact element gets a neighbour. */
static void
mutate_edge(struct lab *lab, int set, size_t at, size_t offset, size_t len, bool end, bool wider)
{
	struct sim_set *s = &lab->mutant.sets[set];
	struct sim_elem *e = &s->elems[at], was = *e, box = *e, moved = *e;
	uint8_t *field = (end && s->interval ? moved.end : moved.key) + offset;
	const bool up = end == wider;

	if (field_is(field, len, up ? 0xff : 0))
		return;
	field_step(field, len, up);
	if (!s->interval) {
		memcpy(moved.end, moved.key, sizeof(moved.end));
		box = moved;
		memset(moved.end, 0, sizeof(moved.end));
		set_push(s, &moved);
		lab_judge(lab, ELEM_WIDENED, false, set, &box, s->name, (unsigned)at);
		s->n--;
		return;
	}
	if (wider) {
		memcpy(end ? box.end : box.key, end ? moved.end : moved.key, SIM_KEY);
		memcpy((end ? box.key : box.end) + offset, field, len);
	} else {
		memcpy((end ? box.key : box.end) + offset, (end ? was.end : was.key) + offset, len);
	}
	*e = moved;
	lab_judge(
	    lab, wider ? ELEM_WIDENED : ELEM_NARROWED, false, set, &box, s->name, (unsigned)at);
	*e = was;
}

static struct sim_set *
set_named(struct sim_table *t, const char *name)
{
	for (unsigned i = 0; i < t->n_sets; i++)
		if (strcmp(t->sets[i].name, name) == 0)
			return &t->sets[i];
	abort();
}

/* "deny_in4" and "allow_in4", "deny_in4" and "deny_out4". */
static struct sim_set *
set_opposite(struct sim_table *t, const char *name, bool verdict)
{
	const bool allow = name[0] == 'a', in = strstr(name, "_in") != NULL;
	const char *tail = strpbrk(name, "46");
	char other[SIM_NAME];

	snprintf(other, sizeof(other), "%s_%s%s", allow != verdict ? "allow" : "deny",
	    in == verdict ? "in" : "out", tail);
	return set_named(t, other);
}

static void
mutate_move(struct lab *lab, int set, size_t at, enum kind kind)
{
	struct sim_set *s = &lab->mutant.sets[set], *to;
	struct sim_elem e = s->elems[at], box = e;

	if (strncmp(s->name, "local", 5) == 0)
		return;
	if (!s->interval)
		memcpy(box.end, box.key, sizeof(box.end));
	to = set_opposite(&lab->mutant, s->name, kind == ELEM_TURNED);
	s->elems[at] = s->elems[--s->n];
	set_push(to, &e);
	lab_judge(lab, kind, false, set, &box, s->name, (unsigned)at);
	to->n--;
	s->elems[s->n++] = s->elems[at];
	s->elems[at] = e;
}

static void
mutate_elem(struct lab *lab, int set, size_t at)
{
	struct sim_set *s = &lab->mutant.sets[set];
	struct sim_elem e = s->elems[at], box = e;
	const bool has_port = s->key_len == 12 || s->key_len == 24;
	const size_t addr = s->key_len - (has_port ? 8 : 0);
	unsigned i;

	if (!s->interval)
		memcpy(box.end, box.key, sizeof(box.end));
	s->elems[at] = s->elems[--s->n];
	lab_judge(lab, ELEM_DROPPED, false, set, &box, s->name, (unsigned)at);
	s->elems[s->n++] = s->elems[at];
	s->elems[at] = e;
	for (i = 0; i < 4; i++) {
		mutate_edge(lab, set, at, 0, addr, i & 1, i & 2);
		if (has_port)
			mutate_edge(lab, set, at, addr + 4, 2, i & 1, i & 2);
	}
	mutate_move(lab, set, at, ELEM_TURNED);
	mutate_move(lab, set, at, ELEM_MISPLACED);
}

static void
mutate_table(struct lab *lab, size_t k)
{
	lab->table = &lab->bench.sims[k];
	lab->own = &lab->bench.w.entries[k];
	lab_fill(lab);
	if (lab_catches(lab, lab->table)) {
		lab->kills[RULE_DROPPED].survived++;
		printf(
		    "# world %lu, %s: the table itself is wrong\n", lab->seed, lab->own->workload);
		return;
	}
	sim_copy(&lab->mutant, lab->table);
	mutate_rules(lab);
	for (unsigned s = 0; s < lab->table->n_sets; s++)
		for (size_t at = 0; at < lab->table->sets[s].n; at++)
			mutate_elem(lab, (int)s, at);
	sim_done(&lab->mutant);
}

/* It only observes, or decides something, but not so much that every boundary takes long. */
static bool
is_worthwhile(const struct sim_table *t)
{
	unsigned rules = 0;
	size_t n = 0;

	for (unsigned i = 0; i < t->n_chains; i++)
		rules += t->chains[i].n;
	if (rules < OBSERVE_RULES)
		return true;

	for (unsigned i = 0; i < t->n_sets; i++)
		if (strncmp(t->sets[i].name, "local", 5) != 0)
			n += t->sets[i].n;
	return n >= 4 && n <= 60;
}

void
mutate_world(uint64_t seed, unsigned long share, struct kills kills[static MUTATION_KINDS])
{
	static struct lab lab;

	lab.kills = kills;
	lab.seed = seed;
	lab.share = share;
	bench_load(&lab.bench, seed, true, MUTANT_EDGES);
	for (size_t k = 0; k < WORLD_WORKLOADS; k++)
		if (lab.bench.w.entries[k].n_addrs > 0 && is_worthwhile(&lab.bench.sims[k]))
			mutate_table(&lab, k);
	bench_done(&lab.bench);
	free(lab.trials);
	lab.trials = NULL;
	lab.n = lab.cap = 0;
}
