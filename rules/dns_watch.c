/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions wait as hashes under a secret seed, in a table of four ways that forgets the oldest:
 * what is pushed out costs a name. The server's address is not part of a question, because the
 * packet that asks may have been translated already (an engine's resolver on loopback); that answer
 * and question are of one connection the kernel vouches for.
 *
 * Over TCP each direction is a stream that begins with its SYN and is read in order. A gap ends
 * it; nothing is put together from pieces that overlap. A message that is longer than the buffer
 * is read as far as it is there, as if its server had cut it.
 */
#include "rules/dns_watch.h"

#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define WAYS 4
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define FLAG_TC 0x02 /* of a message's third byte */
#define MIN_MESSAGE 12
#define DNS_PORT 53

struct question {
	uint64_t hash; /* 0: free */
	uint64_t asked_ns;
	bool translated;
};

struct stream {
	uint64_t netns; /* 0: free */
	struct tuple tuple;
	uint64_t used_ns;
	uint32_t next_seq;
	uint32_t skip; /* bytes of a message that is not read to its end */
	size_t have;
	uint8_t buf[2 + DNS_WATCH_STREAM_BYTES];
};

struct dns_watch {
	uint64_t seed;
	struct dns_watch_stats stats;
	struct question questions[DNS_WATCH_QUESTIONS];
	struct stream streams[DNS_WATCH_STREAMS];
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
	struct dns_watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->seed = hash_seed;
	*ret = w;
	return 0;
}

void
dns_watch_free(struct dns_watch *w)
{
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
take_message(const struct packet *p, const uint8_t *buf, size_t len)
{
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

/* TCP */

static struct stream *
stream_find(struct dns_watch *w, uint64_t netns, const struct tuple *t)
{
	for (size_t i = 0; i < DNS_WATCH_STREAMS; i++)
		if (w->streams[i].netns == netns && tuple_eq(&w->streams[i].tuple, t))
			return &w->streams[i];
	return NULL;
}

/* In the place of the one that was used least lately. */
static void
stream_open(const struct packet *p, uint32_t seq)
{
	struct dns_watch *w = p->watch;
	struct stream *s = stream_find(w, p->netns, &p->tuple);

	if (s == NULL) {
		s = &w->streams[0];
		for (size_t i = 1; i < DNS_WATCH_STREAMS && s->netns != 0; i++)
			if (w->streams[i].netns == 0 || w->streams[i].used_ns < s->used_ns)
				s = &w->streams[i];
		w->stats.broken += s->netns != 0;
	}
	s->netns = p->netns;
	s->tuple = p->tuple;
	s->used_ns = p->now_ns;
	s->next_seq = seq + 1;
	s->skip = 0;
	s->have = 0;
}

/* Reads every message that is whole, or as long as the buffer. */
static void
stream_read(const struct packet *p, struct stream *s)
{
	size_t len, kept;

	while (s->have >= 2) {
		len = (size_t)(s->buf[0] << 8 | s->buf[1]);
		kept = MIN(len, (size_t)DNS_WATCH_STREAM_BYTES);
		if (s->have - 2 < kept)
			return;
		if (kept < len)
			s->buf[2 + 2] |= FLAG_TC;
		if (len >= MIN_MESSAGE)
			take_message(p, s->buf + 2, kept);
		s->have -= 2 + kept;
		memmove(s->buf, s->buf + 2 + kept, s->have);
		s->skip = (uint32_t)(len - kept);
	}
}

static void
stream_add(const struct packet *p, struct stream *s, const uint8_t *data, size_t len)
{
	size_t n;

	while (len > 0) {
		n = MIN(len, (size_t)s->skip);
		s->skip -= (uint32_t)n;
		data += n;
		len -= n;
		n = MIN(len, sizeof(s->buf) - s->have);
		memcpy(s->buf + s->have, data, n);
		s->have += n;
		data += n;
		len -= n;
		stream_read(p, s);
	}
}

static void
take_segment(const struct packet *p, const struct frame_info *f, const uint8_t *data)
{
	struct stream *s;

	if ((f->tcp_flags & TCP_SYN) != 0) {
		stream_open(p, f->tcp_seq);
		return;
	}
	s = stream_find(p->watch, p->netns, &p->tuple);
	if (s == NULL)
		return;
	s->used_ns = p->now_ns;
	if (f->payload_len > 0 && f->tcp_seq == s->next_seq) {
		s->next_seq += f->payload_len;
		stream_add(p, s, data, f->payload_len);
	} else if (f->payload_len > 0 && (int32_t)(f->tcp_seq - s->next_seq) > 0) {
		p->watch->stats.broken++;
		s->netns = 0;
	}
	if ((f->tcp_flags & (TCP_FIN | TCP_RST)) != 0)
		s->netns = 0;
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
		take_segment(&p, f, buf);
	else if (f->tuple.proto == IPPROTO_UDP && f->payload_len > 0)
		take_message(&p, buf, f->payload_len);
}
