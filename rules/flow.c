/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tuples, protocol names and the check of a flow event that another process sent. An event that
 * passes has one representation per meaning: no padding, unused byte or unknown flag is set.
 */
#include "rules/flow.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define FLOW_F_ALL                                                                    \
	(FLOW_F_MIDSTREAM | FLOW_F_ORIENTED | FLOW_F_FROM_DUMP | FLOW_F_FROM_SOCKET | \
	    FLOW_F_REFUSED)

_Static_assert(sizeof(struct tuple) == 48, "crosses role boundaries: no hidden padding");
_Static_assert(sizeof(struct flow_event) == 80, "crosses role boundaries: no hidden padding");

static const struct {
	const char *name;
	uint8_t proto;
} protos[] = {
	{ "tcp", IPPROTO_TCP },
	{ "udp", IPPROTO_UDP },
	{ "icmp", IPPROTO_ICMP },
	{ "icmpv6", IPPROTO_ICMPV6 },
	{ "sctp", IPPROTO_SCTP },
};

bool
tuple_eq(const struct tuple *a, const struct tuple *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

uint64_t
tuple_hash(const struct tuple *t, uint64_t seed)
{
	uint64_t h = addr_hash(&t->dst, addr_hash(&t->src, seed));
	uint64_t rest = (uint64_t)t->sport << 32 | (uint64_t)t->dport << 16 | t->proto;

	return hash_mix64((h ^ rest) + seed);
}

struct tuple
tuple_reverse(const struct tuple *t)
{
	struct tuple r = *t;

	r.src = t->dst;
	r.dst = t->src;
	r.sport = t->dport;
	r.dport = t->sport;
	return r;
}

const char *
proto_name(uint8_t proto)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (protos[i].proto == proto)
			return protos[i].name;
	}
	return NULL;
}

int
proto_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (strcmp(protos[i].name, name) == 0)
			return protos[i].proto;
	}
	return -EINVAL;
}

bool
proto_is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

bool
proto_has_port(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

static bool
all_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

bool
flow_addr_is_canonical(const struct addr *a)
{
	struct addr again;

	if (!all_zero(a->zero, sizeof(a->zero)))
		return false;
	if (a->family == 4)
		return all_zero(a->bytes + 4, sizeof(a->bytes) - 4);
	if (a->family != 6)
		return false;
	/* A mapped address would give one host two values. */
	again = addr_from_v6(a->bytes);
	return again.family == 6;
}

static bool
dir_is_valid(uint8_t kind, uint8_t dir)
{
	if (kind == FLOW_DENIED || kind == FLOW_AUDITED)
		return dir == DIR_INGRESS || dir == DIR_EGRESS;
	return dir == 0;
}

int
flow_event_validate(const struct flow_event *ev)
{
	const struct tuple *t = &ev->tuple;

	if (ev->kind < FLOW_ANSWERED || ev->kind > FLOW_AUDITED)
		return -EBADMSG;
	if (!dir_is_valid(ev->kind, ev->dir))
		return -EBADMSG;
	if (!flow_addr_is_canonical(&t->src) || !flow_addr_is_canonical(&t->dst) ||
	    t->src.family != t->dst.family)
		return -EBADMSG;
	if (!all_zero(t->zero, sizeof(t->zero)) || ev->zero != 0)
		return -EBADMSG;
	if ((ev->flags & ~FLOW_F_ALL) != 0 || ev->count == 0)
		return -EBADMSG;
	if ((ev->flags & FLOW_F_REFUSED) != 0 && ev->kind != FLOW_ATTEMPT)
		return -EBADMSG;
	if (ev->tcp_state != 0 && t->proto != IPPROTO_TCP)
		return -EBADMSG;
	return 0;
}
