/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections live in one array, found by a hash over both ends in either order, and stand in one
 * of two lists by their last frame: those without an answer and those with one. The array grows to
 * its bound and never shrinks; a slot is used again. What is known of TCP's ends is remembered
 * apart (rules/track_ends.h), so that a connection that was forgotten and comes back is still
 * oriented.
 */
#include "rules/track.h"

#include "rules/track_ends.h"
#include "rules/util.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define NONE UINT32_MAX
#define FIRST_ROOM 1024u

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define SCTP_INIT_ACK 2
#define SCTP_ABORT 6

/* How far from the destination's first words an acknowledgement may be: conntrack's own. */
#define OPENING_WINDOW 66000u

/* What has been seen of a TCP connection. */
#define SEEN_SYN 0x01	  /* from the source */
#define SEEN_SYN_ACK 0x02 /* from the destination */
#define SEEN_SRC 0x04	  /* anything but SYN and RST from the source */
#define SEEN_DST 0x08	  /* and from the destination */
#define SEEN_FIN_SRC 0x10
#define SEEN_FIN_DST 0x20
#define SEEN_SYN_DST 0x40 /* a SYN of its own from the destination */
#define SEEN_CROSSED 0x80 /* both had asked; turned round for the one that answered first */

enum { UNANSWERED, ANSWERED, N_LISTS };

struct slot {
	struct track_connection c;
	uint32_t next;		 /* in its bucket, or of the free slots */
	uint32_t older, newer;	 /* in its list */
	uint32_t opening, acked; /* TCP: after the SYN and ACK; by the source, as it last said */
	uint8_t list, seen;
	bool ended; /* closed by both or reset: the next SYN begins another */
};

struct track {
	struct slot *slots;
	uint32_t n, room, max, free;
	uint32_t *buckets, n_buckets; /* a power of two */
	uint32_t oldest[N_LISTS], newest[N_LISTS];
	uint32_t last; /* of the frame before this one: frames come in trains */
	struct track_ends *ends;
	uint64_t seed, evicted;
	track_start_fn start;
	track_end_fn end;
	void *arg;
};

int
track_new(size_t max_connections, uint64_t hash_seed, track_start_fn start, track_end_fn end,
    void *arg, struct track **ret)
{
	_cleanup_(track_freep) struct track *t = NULL;

	if (max_connections == 0 || max_connections >= NONE / 2)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	if (track_ends_new(hash_seed, &t->ends) < 0)
		return -ENOMEM;
	t->max = (uint32_t)max_connections;
	t->seed = hash_seed;
	t->start = start;
	t->end = end;
	t->arg = arg;
	t->free = t->last = NONE;
	for (unsigned l = 0; l < N_LISTS; l++)
		t->oldest[l] = t->newest[l] = NONE;
	*ret = steal_ptr(t);
	return 0;
}

void
track_free(struct track *t)
{
	if (t == NULL)
		return;
	free(t->slots);
	free(t->buckets);
	track_ends_free(t->ends);
	free(t);
}

uint64_t
track_evicted(const struct track *t)
{
	return t->evicted;
}

/* The same for both directions. */
static uint32_t
bucket_of(const struct track *t, const struct tuple *p)
{
	bool ends = proto_has_port(p->proto);
	uint64_t a = addr_hash(&p->src, t->seed ^ (ends ? p->sport : 0));
	uint64_t b = addr_hash(&p->dst, t->seed ^ (ends ? p->dport : 0));
	uint64_t both = ends ? p->proto : p->sport;

	return (uint32_t)hash_mix64((a + b) ^ both) & (t->n_buckets - 1);
}

/* Makes room for more, up to the maximum. False: there is none. */
static bool
grow(struct track *t)
{
	uint32_t room = t->room == 0 ? MIN(FIRST_ROOM, t->max) : MIN(t->room * 2, t->max);
	uint32_t n_buckets = 1;
	uint32_t *buckets;
	struct slot *slots;

	if (room == t->room)
		return false;
	while (n_buckets < room)
		n_buckets *= 2;
	slots = realloc(t->slots, room * sizeof(*slots));
	if (slots == NULL)
		return false;
	t->slots = slots;
	buckets = malloc(n_buckets * sizeof(*buckets));
	if (buckets == NULL)
		return false;
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n_buckets;
	t->room = room;
	memset(buckets, 0xff, n_buckets * sizeof(*buckets));
	/* Only called with every slot in use. */
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t *b = &buckets[bucket_of(t, &slots[i].c.tuple)];

		slots[i].next = *b;
		*b = i;
	}
	return true;
}

static void
list_remove(struct track *t, uint32_t i)
{
	struct slot *s = &t->slots[i];

	if (s->older != NONE)
		t->slots[s->older].newer = s->newer;
	else
		t->oldest[s->list] = s->newer;
	if (s->newer != NONE)
		t->slots[s->newer].older = s->older;
	else
		t->newest[s->list] = s->older;
}

static void
list_append(struct track *t, uint32_t i, uint8_t list)
{
	struct slot *s = &t->slots[i];

	s->list = list;
	s->newer = NONE;
	s->older = t->newest[list];
	if (s->older != NONE)
		t->slots[s->older].newer = i;
	else
		t->oldest[list] = i;
	t->newest[list] = i;
}

/* It is the newest of that list now. */
static void
list_renew(struct track *t, uint32_t i, uint8_t list)
{
	if (t->slots[i].list == list && t->newest[list] == i)
		return;
	list_remove(t, i);
	list_append(t, i, list);
}

static void
turn_round(struct track_connection *c)
{
	uint64_t frames = c->frames[0];

	c->tuple = tuple_reverse(&c->tuple);
	c->frames[0] = c->frames[1];
	c->frames[1] = frames;
}

/* An end that several share is the server, but only one that answered a SYN is proven to be. */
static void
orient(const struct track *t, struct track_connection *c)
{
	enum track_server server = track_ends_server(t->ends, &c->tuple);

	if (server == TRACK_SERVER_SRC || server == TRACK_SERVER_SRC_PROVEN)
		turn_round(c);
	if (server == TRACK_SERVER_DST_PROVEN || server == TRACK_SERVER_SRC_PROVEN)
		c->flags &= (uint8_t)~TRACK_F_MIDSTREAM;
}

static void
announce(struct track *t, const struct slot *s)
{
	struct track_connection c = s->c;

	if (c.flags & TRACK_F_MIDSTREAM)
		orient(t, &c);
	if ((s->seen & SEEN_SYN) && (s->seen & SEEN_SRC) && c.frames[1] == 0 &&
	    !(c.flags & TRACK_F_REFUSED))
		c.flags |= TRACK_F_ONE_SIDED;
	t->end(t->arg, &c);
}

static void
forget(struct track *t, uint32_t i)
{
	uint32_t *p = &t->buckets[bucket_of(t, &t->slots[i].c.tuple)];

	announce(t, &t->slots[i]);
	list_remove(t, i);
	while (*p != i)
		p = &t->slots[*p].next;
	*p = t->slots[i].next;
	t->slots[i].next = t->free;
	t->free = i;
	if (t->last == i)
		t->last = NONE;
}

/* A slot that is in no list and no bucket, or NONE without memory. */
static uint32_t
take_slot(struct track *t)
{
	uint32_t i;

	if (t->free == NONE && t->n == t->room && !grow(t)) {
		i = t->oldest[UNANSWERED] != NONE ? t->oldest[UNANSWERED] : t->oldest[ANSWERED];
		if (i == NONE)
			return NONE;
		t->evicted += !t->slots[i].ended;
		forget(t, i);
	}
	if (t->free == NONE)
		return t->n++;
	i = t->free;
	t->free = t->slots[i].next;
	return i;
}

static bool
same_connection(const struct tuple *a, const struct tuple *b, bool *ret_forward)
{
	if (a->proto != b->proto || a->sport != b->sport || a->dport != b->dport ||
	    !addr_eq(&a->src, &b->src) || !addr_eq(&a->dst, &b->dst)) {
		if (a->proto != b->proto || a->sport != b->dport || a->dport != b->sport ||
		    !addr_eq(&a->src, &b->dst) || !addr_eq(&a->dst, &b->src))
			return false;
		*ret_forward = false;
		return true;
	}
	*ret_forward = true;
	return true;
}

/* A reply of ICMP has its request's tuple, with the ends exchanged and the request's type. */
struct icmp_pair {
	uint8_t proto, request, reply;
};

static const struct icmp_pair icmp_pairs[] = {
	{ IPPROTO_ICMP, 8, 0 },
	{ IPPROTO_ICMP, 13, 14 },
	{ IPPROTO_ICMP, 15, 16 },
	{ IPPROTO_ICMP, 17, 18 },
	{ IPPROTO_ICMPV6, 128, 129 },
};

/* 0: a request; 1: a reply, *p is its request's tuple; -ENODATA: neither. */
static int
icmp_request_of(struct tuple *p, uint8_t type)
{
	for (size_t k = 0; k < ARRAY_SIZE(icmp_pairs); k++) {
		const struct icmp_pair *pair = &icmp_pairs[k];
		struct addr src = p->src;

		if (pair->proto != p->proto)
			continue;
		if (type == pair->request) {
			p->dport = (uint16_t)(type << 8);
			return 0;
		}
		if (type != pair->reply)
			continue;
		p->src = p->dst;
		p->dst = src;
		p->dport = (uint16_t)(pair->request << 8);
		return 1;
	}
	return -ENODATA;
}

static uint32_t
find(struct track *t, const struct tuple *p, bool *ret_forward)
{
	uint32_t i;

	if (t->last != NONE && same_connection(&t->slots[t->last].c.tuple, p, ret_forward))
		return t->last;
	if (t->n_buckets == 0)
		return NONE;
	for (i = t->buckets[bucket_of(t, p)]; i != NONE; i = t->slots[i].next)
		if (same_connection(&t->slots[i].c.tuple, p, ret_forward))
			return i;
	return NONE;
}

static uint32_t
begin(struct track *t, const struct tuple *p, uint64_t time_ns)
{
	uint32_t i = take_slot(t);
	uint32_t *b;
	struct slot *s;

	if (i == NONE)
		return NONE;
	s = &t->slots[i];
	*s = (struct slot){ .c = { .tuple = *p, .first_ns = time_ns, .last_ns = time_ns } };
	s->c.tag = t->start(t->arg, p);
	b = &t->buckets[bucket_of(t, p)];
	s->next = *b;
	*b = i;
	list_append(t, i, UNANSWERED);
	return i;
}

static void
tcp_first(struct track *t, struct slot *s, uint8_t flags)
{
	if (!(flags & TCP_SYN)) {
		s->c.flags |= TRACK_F_MIDSTREAM;
		track_ends_met(t->ends, &s->c.tuple);
		return;
	}
	/* The answer to a SYN that is not here; whether it was wanted, its asker will say. */
	if (flags & TCP_ACK)
		s->c.tuple = tuple_reverse(&s->c.tuple);
}

/*
 * A SYN is its sender's and the answer to it the other end's, where the direction was a guess (met
 * in the middle) or both ends have asked and one of them answers now. Of what was seen until then
 * only the source's acknowledgement still counts, for it is compared with the answer. If the other
 * one answers as well, they have opened it together, and it is whose SYN was first, as conntrack
 * has it.
 */
static void
settle_direction(struct slot *s, uint8_t flags, bool *forward)
{
	bool by_source = !(flags & TCP_ACK), met = s->c.flags & TRACK_F_MIDSTREAM;
	bool crossed = !by_source && (s->seen & SEEN_SYN_DST) && !(s->seen & SEEN_SYN_ACK);

	if (!(flags & TCP_SYN) || (flags & TCP_RST))
		return;
	if (!by_source && *forward && (s->seen & SEEN_CROSSED)) {
		turn_round(&s->c);
		s->seen = SEEN_SYN;
		*forward = false;
		return;
	}
	if (!met && !crossed)
		return;
	s->c.flags &= (uint8_t)~TRACK_F_MIDSTREAM;
	s->seen &= SEEN_SRC;
	if (*forward == by_source)
		return;
	turn_round(&s->c);
	s->seen = crossed && !met ? SEEN_CROSSED : 0;
	*forward = by_source;
}

/* Does this frame begin another connection on the ports of one that is there? */
static bool
begins_another(const struct slot *s, uint8_t flags, bool forward)
{
	switch (flags & (TCP_SYN | TCP_ACK | TCP_RST)) {
	case TCP_SYN:
	case TCP_SYN | TCP_RST:
		return s->ended;
	case TCP_SYN | TCP_ACK: /* the end that asked is asked itself, and answers */
		return forward && (s->seen & SEEN_SYN_DST) && (s->c.flags & TRACK_F_ANSWERED);
	default:
		return false;
	}
}

/* Who has acknowledged a SYN's answer has heard it. */
static bool
is_acknowledged(const struct slot *s)
{
	return (s->seen & SEEN_SYN_ACK) && (s->seen & SEEN_SRC) &&
	       s->acked - s->opening + OPENING_WINDOW < 2 * OPENING_WINDOW;
}

/* Follows a TCP packet and says whether the connection is an answered one. */
static bool
tcp_step(struct slot *s, const struct frame_info *f, bool forward)
{
	uint8_t flags = f->tcp_flags, seen = s->seen;

	if (flags & TCP_RST) {
		if (!(s->c.flags & TRACK_F_ANSWERED) && !(forward && (seen & SEEN_SRC)))
			s->c.flags |= TRACK_F_REFUSED;
		s->ended = true;
		return false;
	}
	/* Whoever refused has thought better of it. */
	if (!forward && (flags & TCP_SYN) && (flags & TCP_ACK) && (s->c.flags & TRACK_F_REFUSED)) {
		s->c.flags &= (uint8_t)~TRACK_F_REFUSED;
		s->ended = false;
		seen &= SEEN_SYN;
	}
	if (flags & TCP_FIN)
		seen |= forward ? SEEN_FIN_SRC : SEEN_FIN_DST;
	if (!(flags & TCP_SYN))
		seen |= forward ? SEEN_SRC : SEEN_DST;
	else if (forward == !(flags & TCP_ACK))
		seen |= forward ? SEEN_SYN : SEEN_SYN_ACK;
	else if (!forward)
		seen |= SEEN_SYN_DST;
	if (forward && (flags & TCP_ACK))
		s->acked = f->tcp_ack;
	if (!forward && (flags & TCP_SYN))
		s->opening = f->tcp_seq + 1;
	s->seen = seen;
	s->ended |= (seen & SEEN_FIN_SRC) && (seen & SEEN_FIN_DST);

	if (s->c.flags & TRACK_F_REFUSED)
		return false;
	/*
	 * Who answered a SYN and goes on was answered in turn, where that side was not captured;
	 * where all of the handshake is missing, both have to speak after it.
	 */
	return is_acknowledged(s) || ((seen & SEEN_DST) && (seen & (SEEN_SYN_ACK | SEEN_SRC)));
}

/* A SYN and its answer have been seen, this one last. */
static bool
completes_opening(const struct slot *s, uint8_t flags)
{
	return (flags & TCP_SYN) && (s->seen & SEEN_SYN) && (s->seen & SEEN_SYN_ACK);
}

static bool
is_answer(struct slot *s, const struct frame_info *f, const uint8_t *frame, bool forward)
{
	if (f->tuple.proto == IPPROTO_TCP)
		return tcp_step(s, f, forward);
	if (forward)
		return false;
	if (f->tuple.proto != IPPROTO_SCTP || f->payload_len == 0)
		return true;
	if (frame[f->payload_off] == SCTP_ABORT)
		s->c.flags |= TRACK_F_REFUSED;
	return frame[f->payload_off] != SCTP_ABORT && frame[f->payload_off] != SCTP_INIT_ACK;
}

/* Of whoever an error of ICMP has come back to. */
static void
refuse_quoted(struct track *t, const struct frame_info *f, const uint8_t *frame)
{
	bool forward = false;
	struct frame_info quoted;
	uint32_t i;

	if (!frame_refuses(f, frame, &quoted))
		return;
	i = find(t, &quoted.tuple, &forward);
	if (i != NONE && forward && !(t->slots[i].c.flags & TRACK_F_ANSWERED))
		t->slots[i].c.flags |= TRACK_F_REFUSED;
}

int
track_frame(struct track *t, const struct frame_info *f, const uint8_t *frame, uint32_t bytes,
    uint64_t time_ns)
{
	bool forward = true, icmp = proto_is_icmp(f->tuple.proto), fresh = false, answered;
	struct tuple p = f->tuple;
	struct slot *s;
	uint32_t i;
	int reply = 0;

	if (!icmp && !proto_has_port(p.proto))
		return -ENODATA;
	if (icmp) {
		reply = icmp_request_of(&p, f->icmp_type);
		if (reply < 0)
			refuse_quoted(t, f, frame);
		if (reply < 0)
			return reply;
	}
	i = find(t, &p, &forward);
	if (icmp)
		forward = reply == 0;
	if (i != NONE && p.proto == IPPROTO_TCP)
		settle_direction(&t->slots[i], f->tcp_flags, &forward);
	if (i != NONE && p.proto == IPPROTO_TCP &&
	    begins_another(&t->slots[i], f->tcp_flags, forward)) {
		forget(t, i);
		i = NONE;
	}
	if (i == NONE) {
		/* A reset or an answer that nobody asked for is no connection. */
		if (reply == 1 || (p.proto == IPPROTO_TCP && (f->tcp_flags & TCP_RST)))
			return -ENODATA;
		i = begin(t, &p, time_ns);
		if (i == NONE)
			return -ENOMEM;
		fresh = true;
	}

	s = &t->slots[i];
	if (fresh && p.proto == IPPROTO_TCP) {
		tcp_first(t, s, f->tcp_flags);
		forward = !(f->tcp_flags & TCP_SYN && f->tcp_flags & TCP_ACK);
	}
	s->c.frames[forward ? 0 : 1]++;
	s->c.bytes += bytes;
	s->c.first_ns = MIN(s->c.first_ns, time_ns);
	s->c.last_ns = MAX(s->c.last_ns, time_ns);
	answered = is_answer(s, f, frame, forward);
	if (p.proto == IPPROTO_TCP && !(s->c.flags & TRACK_F_MIDSTREAM) &&
	    ((answered && !(s->c.flags & TRACK_F_ANSWERED)) || completes_opening(s, f->tcp_flags)))
		track_ends_listens(t->ends, &s->c.tuple);
	if (answered) {
		s->c.flags |= TRACK_F_ANSWERED;
		s->c.flags &= (uint8_t)~TRACK_F_REFUSED;
	}
	list_renew(t, i, s->c.flags & TRACK_F_ANSWERED && !s->ended ? ANSWERED : UNANSWERED);
	t->last = i;
	return 0;
}

void
track_finish(struct track *t)
{
	for (unsigned l = 0; l < N_LISTS; l++)
		while (t->oldest[l] != NONE)
			forget(t, t->oldest[l]);
}
