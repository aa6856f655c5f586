/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See probe.h. */
#include "tests/diff/probe.h"

#include "rules/util.h"

#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <stdio.h>
#include <string.h>

#define STATE_NEW NF_CT_STATE_BIT(IP_CT_NEW)
#define STATE_ESTABLISHED NF_CT_STATE_BIT(IP_CT_ESTABLISHED)
#define STATE_RELATED NF_CT_STATE_BIT(IP_CT_RELATED)
#define EVENT_DESTROY (1u << 2)
#define EVENT_REPLY (1u << 3)
#define EVENT_ASSURED (1u << 4)
#define EVENT_PROTOINFO (1u << 5)
#define CUT_MARK 0x6e73c0deu
#define SYN 0x02
#define INIT 1

void
probe_bytes(const struct probe *p, enum flow_dir dir, struct sim_packet *ret)
{
	const struct tuple *t = &p->t;
	const bool v6 = t->src.family == 6;
	uint8_t *ip = ret->bytes, *th;

	memset(ret, 0, sizeof(*ret));
	ret->hook = dir == DIR_INGRESS ? NF_INET_LOCAL_IN : NF_INET_LOCAL_OUT;
	ret->iif = dir == DIR_INGRESS ? (p->loopback ? 1 : 2) : 0;
	ret->oif = dir == DIR_EGRESS ? (p->loopback ? 1 : 2) : 0;
	ret->ct_state = p->ct_state;
	ret->ct_dport = p->dns ? htons(53) : 0;
	ret->ct_reply = p->reply;
	ret->ct_mark = p->marked ? CUT_MARK : 0;
	ret->limited = p->limited;
	ret->nfproto = v6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	ret->l4proto = t->proto;
	ret->thoff = (uint16_t)((v6 ? 40 : 20) + (p->options ? 4 : 0));
	ret->len = (uint16_t)(ret->thoff + (p->cut ? 1 : 20));
	ip[0] = v6 ? 0x60 : (uint8_t)(0x45 + p->options);
	ip[v6 ? 6 : 9] = t->proto;
	ip[v6 ? 7 : 8] = p->hops;
	memcpy(ip + (v6 ? 8 : 12), t->src.bytes, addr_len(&t->src));
	memcpy(ip + (v6 ? 24 : 16), t->dst.bytes, addr_len(&t->dst));
	th = ip + ret->thoff;
	if (proto_is_icmp(t->proto) || t->proto == IPPROTO_IGMP) {
		th[0] = (uint8_t)(t->dport >> 8);
		th[1] = (uint8_t)t->dport;
		th[2] = (uint8_t)(t->sport >> 8); /* a checksum is any number */
		th[3] = (uint8_t)t->sport;
		return;
	}
	th[0] = (uint8_t)(t->sport >> 8);
	th[1] = (uint8_t)t->sport;
	th[2] = (uint8_t)(t->dport >> 8);
	th[3] = (uint8_t)t->dport;
	if (t->proto == IPPROTO_SCTP)
		th[12] = p->sctp_chunk;
	else
		th[13] = p->tcp_flags;
}

/* How groups are told of on a link that is IPv4: RFC 2236, RFC 3376. */
static bool
is_group_talk(const struct probe *p, enum flow_dir dir)
{
	if (p->t.src.family != 4 || p->hops != 1 || p->t.dst.bytes[0] >> 4 != 14)
		return false;
	switch (p->t.dport >> 8) {
	case 0x12: /* reports of each version, and a leave */
	case 0x16:
	case 0x17:
	case 0x22:
		return dir == DIR_EGRESS;
	case 0x11: /* query */
		return dir == DIR_INGRESS;
	default:
		return false;
	}
}

/* What neighbours say to each other on a link, whatever the policy: RFC 4861, RFC 3810. */
static bool
is_link_talk(const struct probe *p, enum flow_dir dir)
{
	const struct tuple *t = &p->t;
	const bool local = t->src.bytes[0] == 0xfe && (t->src.bytes[1] & 0xc0) == 0x80;

	if (t->proto == IPPROTO_IGMP)
		return is_group_talk(p, dir);
	if (t->proto != IPPROTO_ICMPV6 || t->src.family != 6)
		return false;
	switch (t->dport >> 8) {
	case 135: /* neighbour solicitation, advertisement */
	case 136:
		return p->hops == 255;
	case 133: /* router solicitation */
		return dir == DIR_EGRESS && p->hops == 255;
	case 131: /* multicast listener report, done, report of version 2 */
	case 132:
	case 143:
		return dir == DIR_EGRESS && p->hops == 1 && t->dst.bytes[0] == 0xff;
	case 130: /* multicast listener query */
		return dir == DIR_INGRESS && p->hops == 1 && local;
	default:
		return false;
	}
}

static void
expect_log(const struct probe *p, char what, char where, struct sim_result *ret)
{
	const size_t n = strlen(ret->log);

	if (p->limited)
		return;
	ret->log[n] = what;
	ret->log[n + 1] = where;
}

static void
expect_refusal(const struct world *w, const struct probe *p, enum flow_dir dir, bool enforces,
    struct sim_result *ret)
{
	const struct addr *far = dir == DIR_INGRESS ? &p->t.src : &p->t.dst;

	expect_log(p, enforces ? 'd' : 'a', dir == DIR_INGRESS ? 'i' : 'o', ret);
	if (!enforces)
		return;
	ret->counted = dir == DIR_INGRESS ? 1 : 2;
	/* A local workload is told; the outside gets nothing. */
	if (world_owner(w, far) == NULL)
		ret->verdict = SIM_DROP;
	else
		ret->verdict = p->t.proto == IPPROTO_TCP ? SIM_REJECT_RST : SIM_REJECT_ADMIN;
}

static void
expect_drop(enum flow_dir dir, struct sim_result *ret)
{
	ret->counted = dir == DIR_INGRESS ? 1 : 2;
	ret->verdict = SIM_DROP;
}

/* The workload's own other direction. */
static bool
other_enforces(const struct world *w, const struct inventory_entry *own, enum flow_dir dir)
{
	const struct policy_workload *wl = &w->workloads[own - w->entries];

	return wl->mode == MODE_ENFORCE &&
	       (wl->direction & (dir == DIR_INGRESS ? WL_EGRESS : WL_INGRESS)) != 0;
}

/* Related, and not what a helper would expect: errors, and the reset that a reject answers. */
static bool
is_error(const struct probe *p, enum flow_dir dir)
{
	if (p->ct_state != STATE_RELATED)
		return false;
	return proto_is_icmp(p->t.proto) || (p->t.proto == IPPROTO_TCP && dir == DIR_EGRESS &&
						!p->cut && (p->tcp_flags & 0x04) != 0);
}

/* Whoever it comes to has been refused. */
static void
expect_unreachable(const struct probe *p, enum flow_dir dir, struct sim_result *ret)
{
	const uint8_t type = p->t.proto == IPPROTO_ICMP ? 3 : 1;

	if (p->ct_state == STATE_RELATED && proto_is_icmp(p->t.proto) && p->t.dport >> 8 == type)
		expect_log(p, 'u', dir == DIR_INGRESS ? 'i' : 'o', ret);
}

static bool
is_middle(const struct probe *p)
{
	if (p->t.proto == IPPROTO_TCP)
		return !p->cut && (p->tcp_flags & 0x17) != SYN;
	return p->t.proto == IPPROTO_SCTP && !p->cut && p->sctp_chunk != INIT;
}

static bool
has_connection(const struct probe *p)
{
	return p->ct_state != NF_CT_STATE_INVALID_BIT && p->ct_state != NF_CT_STATE_UNTRACKED_BIT;
}

/* Which of conntrack's events tells that a connection stands. */
static uint32_t
event_of(const struct probe *p)
{
	return p->t.proto == IPPROTO_TCP    ? EVENT_ASSURED
	       : p->t.proto == IPPROTO_SCTP ? EVENT_PROTOINFO
					    : EVENT_REPLY;
}

void
probe_expect(const struct world *w, const struct inventory_entry *own, const struct probe *p,
    enum flow_dir dir, const struct evaluation *ev, struct sim_result *ret)
{
	const bool middle = is_middle(p);
	const bool enforces = dir == DIR_INGRESS ? ev->destination_enforces : ev->source_enforces;
	const bool audits = dir == DIR_INGRESS ? ev->destination_audits : ev->source_audits;
	const bool invalid = p->ct_state == NF_CT_STATE_INVALID_BIT;

	memset(ret, 0, sizeof(*ret));
	if (p->ct_state == STATE_NEW)
		ret->event_mask = p->loopback ? EVENT_DESTROY : event_of(p);
	if (p->dns && p->reply == (dir == DIR_INGRESS))
		expect_log(p, dir == DIR_INGRESS ? 'r' : 'q', dir == DIR_INGRESS ? 'i' : 'o', ret);
	if (p->loopback)
		return;
	if (p->marked && p->t.proto == IPPROTO_UDP && has_connection(p) &&
	    (enforces || other_enforces(w, own, dir))) {
		if (enforces && !p->reply)
			expect_refusal(w, p, dir, true, ret);
		else
			expect_drop(dir, ret);
		return;
	}
	if (!enforces && !audits) {
		/* A cut connection comes back neither way. */
		if (middle && p->ct_state == STATE_NEW && other_enforces(w, own, dir)) {
			ret->counted = dir == DIR_INGRESS ? 1 : 2;
			ret->verdict = SIM_DROP;
		}
		if (p->t.proto == IPPROTO_UDP && p->ct_state == STATE_NEW)
			expect_log(p, 'n', dir == DIR_INGRESS ? 'i' : 'o', ret);
		expect_unreachable(p, dir, ret);
		return;
	}
	expect_unreachable(p, dir, ret);
	if (p->ct_state == STATE_ESTABLISHED || is_error(p, dir))
		return;
	if (enforces && invalid && !proto_is_icmp(p->t.proto)) {
		expect_drop(dir, ret);
		return;
	}
	if (is_link_talk(p, dir))
		return;
	if (middle) {
		ret->counted = enforces ? (dir == DIR_INGRESS ? 1 : 2) : 0;
		ret->verdict = enforces ? SIM_DROP : SIM_ACCEPT;
		return;
	}
	if (ev->verdict == VERDICT_ALLOW && !p->cut)
		return;
	if (enforces && invalid)
		expect_drop(dir, ret);
	else
		expect_refusal(w, p, dir, enforces, ret);
}

void
probe_expect_forward(
    const struct probe *p, enum wl_mode in, enum wl_mode out, struct sim_result *ret)
{
	const bool enforces = in == MODE_ENFORCE || out == MODE_ENFORCE;

	memset(ret, 0, sizeof(*ret));
	if (p->ct_state == STATE_NEW)
		ret->event_mask = event_of(p);
	if (in == MODE_OBSERVE && out == MODE_OBSERVE)
		return;
	expect_log(p, enforces ? 'd' : 'a', 'f', ret);
	if (enforces) {
		ret->counted = 4;
		ret->verdict = SIM_DROP;
	}
}

bool
result_eq(const struct sim_result *a, const struct sim_result *b)
{
	return a->verdict == b->verdict && a->event_mask == b->event_mask &&
	       a->counted == b->counted && strcmp(a->log, b->log) == 0;
}

void
probe_print(const struct probe *p, enum flow_dir dir, const struct sim_result *want,
    const struct sim_result *got)
{
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];

	printf("# %s %s -> %s proto %d port %d flags %02x chunk %d ct %x hops %d%s%s%s: verdict %d "
	       "not %d, "
	       "log %s not %s, counted %x not %x, events %x not %x\n",
	    dir == DIR_INGRESS ? "in" : "out", addr_format(&p->t.src, src),
	    addr_format(&p->t.dst, dst), p->t.proto, p->t.dport, p->tcp_flags, p->sctp_chunk,
	    p->ct_state, p->hops, p->loopback ? " lo" : "", p->limited ? " limited" : "",
	    p->cut ? " cut" : "", got->verdict, want->verdict, got->log, want->log, got->counted,
	    want->counted, got->event_mask, want->event_mask);
}
