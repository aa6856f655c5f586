/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cells.h. */
#include "tests/diff/cells.h"

#include "tests/diff/probe.h"

#include "rules/range.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CUTS 1024

/* Where something begins: ascending is not needed, unique is. */
struct cuts {
	struct addr addrs[MAX_CUTS];
	uint16_t ports[MAX_CUTS];
	size_t n_addrs, n_ports;
};

static void
cut_addr(struct cuts *c, const struct addr *a)
{
	for (size_t i = 0; i < c->n_addrs; i++)
		if (addr_eq(&c->addrs[i], a))
			return;
	if (c->n_addrs == MAX_CUTS)
		abort();
	c->addrs[c->n_addrs++] = *a;
}

static void
cut_port(struct cuts *c, unsigned port)
{
	for (size_t i = 0; i < c->n_ports; i++)
		if (c->ports[i] == port)
			return;
	if (port > 65535)
		return;
	if (c->n_ports == MAX_CUTS)
		abort();
	c->ports[c->n_ports++] = (uint16_t)port;
}

static struct addr
key_addr(const uint8_t *key, uint8_t family)
{
	struct addr a = { .family = family };

	memcpy(a.bytes, key, addr_len(&a));
	return a;
}

static unsigned
key_port(const uint8_t *key, uint32_t key_len)
{
	return (unsigned)key[key_len - 4] << 8 | key[key_len - 3];
}

/* The others are of addresses alone. */
static bool
key_has_port(uint32_t key_len)
{
	return key_len == 12 || key_len == 24;
}

static void
cut_elem(struct cuts *c, const struct sim_set *s, const struct sim_elem *e, uint8_t family)
{
	static const uint8_t last[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const uint8_t *end = s->interval ? e->end : e->key;
	struct addr a = key_addr(e->key, family);

	cut_addr(c, &a);
	a = key_addr(end, family);
	if (memcmp(end, last, addr_len(&a)) != 0) {
		a = addr_next(&a);
		cut_addr(c, &a);
	}
	if (!key_has_port(s->key_len))
		return;
	cut_port(c, key_port(e->key, s->key_len));
	cut_port(c, key_port(end, s->key_len) + 1);
}

static bool
set_is_of(const struct sim_set *s, uint8_t family)
{
	return (s->key_len == 4 || s->key_len == 12) == (family == 4);
}

static void
cut_table(struct cuts *c, const struct sim_table *t, uint8_t family)
{
	for (unsigned i = 0; i < t->n_sets; i++)
		for (size_t j = 0; set_is_of(&t->sets[i], family) && j < t->sets[i].n; j++)
			cut_elem(c, &t->sets[i], &t->sets[i].elems[j], family);
}

static void
cut_fixed(struct cuts *c, uint8_t family)
{
	static const uint8_t igmp[] = { 0x11, 0x12, 0x13, 0x16, 0x17, 0x18, 0x22, 0x23 };
	struct addr a = { .family = family };
	unsigned type;

	cut_addr(c, &a);
	cut_port(c, 0);
	if (family == 4) {
		a.bytes[0] = 0xe0; /* groups begin and end */
		cut_addr(c, &a);
		a.bytes[0] = 0xf0;
		cut_addr(c, &a);
		for (size_t i = 0; i < ARRAY_SIZE(igmp); i++)
			cut_port(c, (unsigned)igmp[i] << 8);
		return;
	}
	a.bytes[0] = 0xff; /* groups begin */
	cut_addr(c, &a);
	a.bytes[0] = 0xfe; /* link-local addresses begin and end */
	a.bytes[1] = 0x80;
	cut_addr(c, &a);
	a.bytes[1] = 0xc0;
	cut_addr(c, &a);
	for (type = 130; type <= 137; type++)
		cut_port(c, type << 8);
	cut_port(c, 143 << 8);
	cut_port(c, 144 << 8);
}

/* Keeps what lies in the element. */
static void
cut_to(struct cuts *c, const struct sim_elem *box, uint32_t key_len, uint8_t family)
{
	struct addr lo = key_addr(box->key, family), hi = key_addr(box->end, family);
	size_t i, n;

	for (i = n = 0; i < c->n_addrs; i++)
		if (addr_cmp(&lo, &c->addrs[i]) <= 0 && addr_cmp(&c->addrs[i], &hi) <= 0)
			c->addrs[n++] = c->addrs[i];
	c->n_addrs = n;
	for (i = n = 0; key_has_port(key_len) && i < c->n_ports; i++)
		if (c->ports[i] >= key_port(box->key, key_len) &&
		    c->ports[i] <= key_port(box->end, key_len))
			c->ports[n++] = c->ports[i];
	if (key_has_port(key_len))
		c->n_ports = n;
}

static bool
same(const struct sim_table *a, const struct sim_table *b, const struct sim_packet *p)
{
	struct sim_result ra, rb;

	sim_run(a, p, &ra);
	sim_run(b, p, &rb);
	return result_eq(&ra, &rb);
}

/* What is said with a name server is reported, whatever becomes of it. */
static bool
dns_equal(const struct sim_table *a, const struct sim_table *b, struct probe *p, enum flow_dir dir)
{
	struct sim_packet packet = { 0 };
	bool equal = true;

	p->ct_state = NF_CT_STATE_BIT(IP_CT_NEW);
	for (unsigned k = 0; k < 16 && equal; k++) {
		p->dns = k & 1;
		p->reply = k & 2;
		p->limited = k & 4;
		p->loopback = k & 8;
		probe_bytes(p, dir, &packet);
		equal = same(a, b, &packet);
	}
	p->dns = p->reply = false;
	return equal;
}

/* Everything beside the connection. */
static bool
frills_equal(
    const struct sim_table *a, const struct sim_table *b, struct probe *p, enum flow_dir dir)
{
	static const uint32_t states[] = { NF_CT_STATE_BIT(IP_CT_NEW),
		NF_CT_STATE_BIT(IP_CT_ESTABLISHED), NF_CT_STATE_BIT(IP_CT_RELATED),
		NF_CT_STATE_INVALID_BIT, NF_CT_STATE_UNTRACKED_BIT };
	static const uint8_t flags[] = { 0x02, 0x0a, 0x00, 0x10 }, chunks[] = { 1, 0, 4 };
	static const uint8_t hops[] = { 1, 64, 255 };
	const bool tcp = p->t.proto == IPPROTO_TCP, sctp = p->t.proto == IPPROTO_SCTP,
		   far = p->t.proto == IPPROTO_ICMPV6 || p->t.proto == IPPROTO_IGMP;
	const size_t n = tcp	? ARRAY_SIZE(flags)
			 : sctp ? ARRAY_SIZE(chunks)
			 : far	? ARRAY_SIZE(hops)
				: 1;
	/* The mark is that of UDP alone. */
	const size_t frills = p->t.proto == IPPROTO_UDP ? 32 : 8;
	struct sim_packet packet = { 0 };
	size_t i, j, k;

	for (i = 0; i < ARRAY_SIZE(states); i++) {
		for (j = 0; j < n; j++) {
			for (k = 0; k < frills; k++) {
				p->ct_state = states[i];
				p->tcp_flags = flags[tcp ? j : 0];
				p->sctp_chunk = chunks[sctp ? j : 0];
				p->hops = hops[far ? j : 1];
				p->loopback = k & 1;
				p->limited = k & 2;
				p->cut = k & 4;
				p->marked = k & 8;
				p->reply = k & 16;
				probe_bytes(p, dir, &packet);
				if (!same(a, b, &packet))
					return false;
			}
		}
	}
	return true;
}

static bool
set_equal(const struct sim_set *a, const struct sim_set *b)
{
	return a->n == b->n &&
	       (a->n == 0 || memcmp(a->elems, b->elems, a->n * sizeof(*a->elems)) == 0);
}

static bool
is_jump(const struct sim_expr *x)
{
	return x->op == SIM_VERDICT && ((int)x->arg == NFT_JUMP || (int)x->arg == NFT_GOTO);
}

/* The chain and what is below it are the same to the byte, with all that they look up. */
static bool
chain_equal(const struct sim_table *a, const struct sim_table *b, unsigned c)
{
	const struct sim_chain *x = &a->chains[c], *y = &b->chains[c];
	const struct sim_expr *e;
	bool equal;

	equal = x->policy == y->policy && x->n == y->n &&
		memcmp(x->rules, y->rules, x->n * sizeof(x->rules[0])) == 0;
	for (unsigned i = 0; equal && i < x->n; i++) {
		for (unsigned j = 0; equal && j < x->rules[i].n; j++) {
			e = &x->rules[i].exprs[j];
			if (e->op == SIM_LOOKUP)
				equal = set_equal(&a->sets[e->index], &b->sets[e->index]);
			else if (is_jump(e))
				equal = chain_equal(a, b, (unsigned)e->index);
		}
	}
	return equal;
}

static bool
hook_equal(const struct sim_table *a, const struct sim_table *b, uint32_t hook)
{
	for (unsigned c = 0; c < a->n_chains; c++)
		if (a->chains[c].base && a->chains[c].hook == hook && !chain_equal(a, b, c))
			return false;
	return true;
}

static bool
family_equal(
    const struct sim_table *a, const struct sim_table *b, const struct cuts *c, uint8_t family)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP,
		IPPROTO_ICMPV6, IPPROTO_GRE, IPPROTO_IGMP };
	const bool in = hook_equal(a, b, NF_INET_LOCAL_IN);
	const bool out = hook_equal(a, b, NF_INET_LOCAL_OUT);
	const struct addr near = { .family = family, .bytes = { 10, 20, 0, 2 } };
	struct probe p = { 0 };
	size_t i, j, k;

	p.t = (struct tuple){ .src = near, .dst = near, .proto = IPPROTO_UDP };
	if ((!in && !dns_equal(a, b, &p, DIR_INGRESS)) ||
	    (!out && !dns_equal(a, b, &p, DIR_EGRESS)))
		return false;
	for (i = 0; i < c->n_addrs; i++) {
		for (j = 0; j < c->n_ports; j++) {
			for (k = 0; k < 2 * ARRAY_SIZE(protos); k++) {
				enum flow_dir dir = k & 1 ? DIR_INGRESS : DIR_EGRESS;

				if (k & 1 ? in : out)
					continue;
				p.t.src = k & 1 ? c->addrs[i] : near;
				p.t.dst = k & 1 ? near : c->addrs[i];
				p.t.dport = c->ports[j];
				p.t.proto = protos[k / 2];
				if (!frills_equal(a, b, &p, dir))
					return false;
			}
		}
	}
	return true;
}

/* Nothing that is read of a forwarded packet but what is here. */
static bool
forward_equal(const struct sim_table *a, const struct sim_table *b)
{
	struct sim_packet p = { .hook = NF_INET_FORWARD, .iif = 2, .oif = 3, .len = 60 };

	for (unsigned i = 0; i < 128; i++) {
		p.limited = i & 64;
		p.ct_state = i & 63 ? 1u << (i & 63) % 7 : 0;
		if (!same(a, b, &p))
			return false;
	}
	return true;
}

bool
cells_equal(
    const struct sim_table *a, const struct sim_table *b, int set, const struct sim_elem *box)
{
	static struct cuts c;

	for (uint8_t family = 4; family <= 6; family += 2) {
		if (set >= 0 && !set_is_of(&a->sets[set], family))
			continue;
		c.n_addrs = c.n_ports = 0;
		cut_fixed(&c, family);
		cut_table(&c, a, family);
		cut_table(&c, b, family);
		if (set >= 0)
			cut_to(&c, box, a->sets[set].key_len, family);
		if (!family_equal(a, b, &c, family))
			return false;
	}
	return forward_equal(a, b);
}

static bool
expr_is_pure(const struct sim_expr *x)
{
	return x->op == SIM_META || x->op == SIM_PAYLOAD || x->op == SIM_CT_STATE ||
	       x->op == SIM_CT_DIRECTION || x->op == SIM_CT_DPORT || x->op == SIM_CT_MARK ||
	       x->op == SIM_BITWISE || x->op == SIM_CMP || x->op == SIM_LOOKUP;
}

bool
rule_is_dead(const struct sim_table *t, const struct sim_rule *r)
{
	for (unsigned i = 0; i < r->n && expr_is_pure(&r->exprs[i]); i++)
		if (r->exprs[i].op == SIM_LOOKUP && !r->exprs[i].invert &&
		    t->sets[r->exprs[i].index].n == 0)
			return true;
	return false;
}

bool
rules_commute(const struct sim_rule *a, const struct sim_rule *b)
{
	const struct sim_expr *x, *y;
	unsigned i;

	if (a->n == 0 || b->n == 0)
		return false;
	for (i = 0; i + 1 < a->n; i++)
		if (!expr_is_pure(&a->exprs[i]))
			return false;
	for (i = 0; i + 1 < b->n; i++)
		if (!expr_is_pure(&b->exprs[i]))
			return false;
	x = &a->exprs[a->n - 1];
	y = &b->exprs[b->n - 1];
	return x->op == SIM_VERDICT && y->op == SIM_VERDICT && x->arg == y->arg &&
	       x->index == y->index;
}
