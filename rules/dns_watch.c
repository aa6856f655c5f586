/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions wait as hashes under a secret seed, in a table of four ways that forgets the oldest:
 * what is pushed out costs a name. The server's address is not part of a question, because the
 * packet that asks may have been translated already (an engine's resolver on loopback); that answer
 * and question are of one connection the kernel vouches for.
 */
#include "rules/dns_watch.h"

#include "rules/dns_stream.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define WAYS 4
#define DNS_PORT 53

struct question {
	uint64_t hash; /* 0: free */
	uint64_t asked_ns;
	bool translated;
};

struct dns_watch {
	uint64_t seed;
	struct dns_watch_stats stats;
	struct question questions[DNS_WATCH_QUESTIONS];
	struct dns_streams *streams;
};

/* Whose packet it is, and who is to hear of an answer. */
struct packet {
	struct dns_watch *watch;
	uint64_t netns, now_ns;
	bool answer;
	struct tuple tuple; /* of this packet */
	dns_watch_fn fn;
	void *arg;
};

int
dns_watch_new(uint64_t hash_seed, struct dns_watch **ret)
{
	_cleanup_(dns_watch_freep) struct dns_watch *w = calloc(1, sizeof(*w));
	int r = w == NULL ? -ENOMEM : dns_streams_new(&w->streams);

	if (r < 0)
		return r;
	w->seed = hash_seed;
	*ret = steal_ptr(w);
	return 0;
}

void
dns_watch_free(struct dns_watch *w)
{
	if (w == NULL)
		return;
	dns_streams_free(w->streams);
	free(w);
}

const struct dns_watch_stats *
dns_watch_stats(const struct dns_watch *w)
{
	return &w->stats;
}

static void
ask(struct question *ways, uint64_t hash, uint64_t now_ns, bool translated)
{
	struct question *at = ways;

	for (unsigned i = 0; i < WAYS; i++) {
		if (ways[i].hash == hash) {
			at = &ways[i];
			break;
		}
		if (ways[i].asked_ns < at->asked_ns)
			at = &ways[i];
	}
	*at = (struct question){ hash, now_ns, translated };
}

/* True once for each question. */
static bool
was_asked(struct question *ways, uint64_t hash, uint64_t now_ns, bool *ret_translated)
{
	for (unsigned i = 0; i < WAYS; i++) {
		if (ways[i].hash != hash)
			continue;
		ways[i].hash = 0;
		*ret_translated = ways[i].translated;
		return now_ns - ways[i].asked_ns < DNS_WATCH_WAIT_NS;
	}
	return false;
}

static void
take_message(void *arg, const uint8_t *buf, size_t len)
{
	const struct packet *p = arg;
	struct dns_watch *w = p->watch;
	struct tuple asked = p->answer ? tuple_reverse(&p->tuple) : p->tuple;
	struct dns_message m;
	struct dns_answer a = { .netns = p->netns, .message = &m };
	struct question *ways;
	uint64_t hash;

	if (dns_parse(buf, len, &m) < 0 || m.response != p->answer) {
		w->stats.malformed++;
		return;
	}
	memset(&asked.dst, 0, sizeof(asked.dst));
	asked.dport = 0;
	hash = dns_question_hash(&asked, &m, hash_mix64(w->seed ^ p->netns));
	ways = &w->questions[(hash >> 1) % (DNS_WATCH_QUESTIONS / WAYS) * WAYS];
	if (!p->answer) {
		w->stats.queries++;
		ask(ways, hash, p->now_ns, p->tuple.dport != DNS_PORT);
		return;
	}
	w->stats.answers++;
	a.resolver = p->tuple.src;
	if (!was_asked(ways, hash, p->now_ns, &a.translated))
		w->stats.unasked++;
	else if (m.n_addrs > 0)
		p->fn(p->arg, &a);
}

void
dns_watch_packet(struct dns_watch *w, uint64_t netns, bool answer, const struct frame_info *f,
    const uint8_t *buf, uint64_t now_ns, dns_watch_fn fn, void *arg)
{
	struct packet p = {
		.watch = w,
		.netns = netns,
		.now_ns = now_ns,
		.answer = answer,
		.tuple = f->tuple,
		.fn = fn,
		.arg = arg,
	};

	memset(p.tuple.zero, 0, sizeof(p.tuple.zero));
	/* Where there is none there may be no buffer either. */
	if (f->payload_len > 0)
		buf += f->payload_off;
	if (f->tuple.proto == IPPROTO_TCP)
		dns_streams_take(w->streams, netns, f, buf, now_ns, take_message, &p);
	else if (f->tuple.proto == IPPROTO_UDP && f->payload_len > 0)
		take_message(&p, buf, f->payload_len);
	w->stats.broken = dns_streams_broken(w->streams);
}
