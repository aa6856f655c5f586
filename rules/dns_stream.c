/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream has one buffer, which begins with the message that is being read: `have` bytes without a
 * gap, and behind them pieces that came ahead of others, at their places. As the receiver has it,
 * what has been read stays what it was, whatever is sent for it again; a piece whose bytes are not
 * those of another one at the same place ends the stream, for nobody knows which of them counts.
 *
 * A message that is longer than the buffer is read as far as it is there, as if its server had cut
 * it, and the rest is skipped, which is in order or ends the stream.
 */
#include "rules/dns_stream.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define FLAG_TC 0x02 /* of a message's third byte */
#define MIN_MESSAGE 12

/* In the buffer. */
struct piece {
	size_t from, to;
};

struct stream {
	bool open;
	uint64_t owner;
	struct tuple tuple;
	uint64_t used_ns;
	uint32_t first_seq; /* of its SYN */
	uint32_t next_seq;  /* of what comes to buf[have] */
	uint32_t end_seq;   /* of its FIN */
	bool ends;	    /* the FIN was seen */
	uint32_t skip; /* bytes of a message that is not read to its end; nothing is held then */
	size_t have;
	struct piece ahead[DNS_STREAM_AHEAD];
	unsigned n_ahead;
	uint8_t buf[2 + DNS_STREAM_BYTES];
};

struct dns_streams {
	uint64_t broken;
	struct stream list[DNS_STREAMS];
};

struct reader {
	dns_stream_fn fn;
	void *arg;
};

int
dns_streams_new(struct dns_streams **ret)
{
	struct dns_streams *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void
dns_streams_free(struct dns_streams *s)
{
	free(s);
}

static size_t
message_len(const uint8_t *buf)
{
	return (size_t)(buf[0] << 8 | buf[1]);
}

void
dns_stream_read_alone(const uint8_t *payload, size_t len, dns_stream_fn fn, void *arg)
{
	size_t n;

	for (; len >= 2; payload += n, len -= n) {
		n = 2 + message_len(payload);
		if (n > len)
			return;
		fn(arg, payload + 2, n - 2);
	}
}

uint64_t
dns_streams_broken(const struct dns_streams *s)
{
	return s->broken;
}

static struct stream *
find(struct dns_streams *s, uint64_t owner, const struct tuple *t)
{
	for (size_t i = 0; i < DNS_STREAMS; i++)
		if (s->list[i].open && s->list[i].owner == owner && tuple_eq(&s->list[i].tuple, t))
			return &s->list[i];
	return NULL;
}

static void
end(struct dns_streams *s, struct stream *st, bool broken)
{
	s->broken += broken;
	st->open = false;
}

static bool
is_unfinished(const struct stream *st)
{
	return st->have > 0 || st->n_ahead > 0;
}

/* A free one, or what was used least lately: of the owner, if it has its share. */
static struct stream *
make_room(struct dns_streams *s, uint64_t owner, uint64_t now_ns)
{
	struct stream *oldest = &s->list[0], *own = NULL, *st;
	size_t n_own = 0;

	for (size_t i = 0; i < DNS_STREAMS; i++) {
		st = &s->list[i];
		if (st->open && is_unfinished(st) && now_ns >= st->used_ns + DNS_STREAM_WAIT_NS)
			end(s, st, true);
		if (st->open && st->owner == owner) {
			n_own++;
			if (own == NULL || st->used_ns < own->used_ns)
				own = st;
		}
		if (oldest->open && (!st->open || st->used_ns < oldest->used_ns))
			oldest = st;
	}
	if (n_own >= DNS_STREAMS_EACH)
		oldest = own;
	if (oldest->open)
		end(s, oldest, true);
	return oldest;
}

/* In the place of st, if there is one. */
static struct stream *
begin(struct dns_streams *s, struct stream *st, uint64_t owner, const struct frame_info *f,
    uint64_t now_ns)
{
	if (st != NULL)
		end(s, st, is_unfinished(st));
	else
		st = make_room(s, owner, now_ns);
	st->open = true;
	st->owner = owner;
	st->tuple = f->tuple;
	st->first_seq = f->tcp_seq;
	st->next_seq = f->tcp_seq + 1;
	st->ends = false;
	st->skip = 0;
	st->have = 0;
	st->n_ahead = 0;
	return st;
}

/* Have these places other bytes than the buffer holds for them? */
static bool
contradicts(const struct stream *st, size_t at, const uint8_t *data, size_t len)
{
	for (unsigned i = 0; i < st->n_ahead; i++) {
		size_t from = MAX(st->ahead[i].from, at), to = MIN(st->ahead[i].to, at + len);

		if (from < to && memcmp(st->buf + from, data + (from - at), to - from) != 0)
			return true;
	}
	return false;
}

/* What was ahead of what has come now is not ahead any more. */
static void
join(struct stream *st)
{
	for (unsigned i = 0; i < st->n_ahead;) {
		const struct piece p = st->ahead[i];

		if (p.from > st->have) {
			i++;
			continue;
		}
		if (p.to > st->have) {
			st->next_seq += (uint32_t)(p.to - st->have);
			st->have = p.to;
		}
		st->ahead[i] = st->ahead[--st->n_ahead];
		i = 0;
	}
}

static void
drop_front(struct stream *st, size_t n)
{
	size_t end = st->have;

	for (unsigned i = 0; i < st->n_ahead; i++) {
		end = MAX(end, st->ahead[i].to);
		st->ahead[i].from -= n;
		st->ahead[i].to -= n;
	}
	memmove(st->buf, st->buf + n, end - n);
	st->have -= n;
}

/* Every message that is whole, or as long as the buffer. */
static void
read_messages(const struct reader *r, struct stream *st)
{
	size_t len, kept;

	while (st->have >= 2) {
		len = message_len(st->buf);
		kept = MIN(len, (size_t)DNS_STREAM_BYTES);
		if (st->have - 2 < kept)
			return;
		if (kept < len)
			st->buf[2 + 2] |= FLAG_TC;
		if (len >= MIN_MESSAGE)
			r->fn(r->arg, st->buf + 2, kept);
		drop_front(st, 2 + kept);
		st->skip = (uint32_t)(len - kept);
	}
}

/* What comes next. False: it contradicts what is held. */
static bool
add(const struct reader *r, struct stream *st, const uint8_t *data, size_t len)
{
	const uint32_t end_seq = st->next_seq + (uint32_t)len;
	size_t n;

	while ((int32_t)(end_seq - st->next_seq) > 0) {
		data += len - (end_seq - st->next_seq);
		len = end_seq - st->next_seq;
		n = MIN(len, st->skip > 0 ? (size_t)st->skip : sizeof(st->buf) - st->have);
		st->next_seq += (uint32_t)n;
		if (st->skip > 0) {
			st->skip -= (uint32_t)n;
			continue;
		}
		if (contradicts(st, st->have, data, n))
			return false;
		memcpy(st->buf + st->have, data, n);
		st->have += n;
		join(st);
		read_messages(r, st);
	}
	return true;
}

/* What comes before its time. False: there is no room, or it contradicts what is held. */
static bool
hold(struct stream *st, size_t ahead, const uint8_t *data, size_t len)
{
	const size_t at = st->have + ahead;

	if (st->skip > 0 || at > sizeof(st->buf) || len > sizeof(st->buf) - at ||
	    contradicts(st, at, data, len))
		return false;
	for (unsigned i = 0; i < st->n_ahead; i++)
		if (st->ahead[i].from <= at && at + len <= st->ahead[i].to)
			return true;
	if (st->n_ahead == DNS_STREAM_AHEAD)
		return false;
	memcpy(st->buf + at, data, len);
	st->ahead[st->n_ahead++] = (struct piece){ at, at + len };
	return true;
}

static bool
take_payload(
    const struct reader *r, struct stream *st, uint32_t seq, const uint8_t *data, size_t len)
{
	const int32_t ahead = (int32_t)(seq - st->next_seq);
	size_t again;

	if (ahead > 0)
		return hold(st, (size_t)ahead, data, len);
	again = (size_t) - (int64_t)ahead;
	return again >= len || add(r, st, data + again, len - again);
}

bool
dns_streams_take(struct dns_streams *s, uint64_t owner, const struct frame_info *f,
    const uint8_t *payload, uint64_t now_ns, dns_stream_fn fn, void *arg)
{
	const struct reader r = { fn, arg };
	const bool syn = (f->tcp_flags & TCP_SYN) != 0;
	const uint32_t seq = f->tcp_seq + syn;
	struct stream *st = find(s, owner, &f->tuple);

	/* One that is sent again begins nothing. */
	if (syn && (st == NULL || st->first_seq != f->tcp_seq))
		st = begin(s, st, owner, f, now_ns);
	if (st == NULL)
		return false;
	st->used_ns = now_ns;
	if (f->payload_len > 0 && !take_payload(&r, st, seq, payload, f->payload_len)) {
		end(s, st, true);
		return true;
	}
	if ((f->tcp_flags & TCP_FIN) != 0) {
		st->ends = true;
		st->end_seq = seq + f->payload_len;
	}
	if ((f->tcp_flags & TCP_RST) != 0 || (st->ends && st->next_seq == st->end_seq))
		end(s, st, is_unfinished(st));
	return true;
}
