/* SPDX-License-Identifier: GPL-2.0-or-later */
/* However a stream is cut, mixed up and repeated, its messages are read once and in order. */
#include "rules/dns_stream.h"

#include "rules/util.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define ISN 0xfffff000u /* so that numbers go round in the middle */
#define BEGIN (ISN + 1)

/* Messages are known by their first byte; this is those that were read, with their lengths. */
static char heard[512];
static uint64_t now = 1;

static void
on_message(void *arg, const uint8_t *buf, size_t len)
{
	size_t at = strlen(heard);

	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], i == 2 && len == DNS_STREAM_BYTES ? buf[0] | 2 : buf[0]);
	snprintf(heard + at, sizeof(heard) - at, "%c%zu ", buf[0], len);
}

static bool
feed(struct dns_streams *s, uint16_t port, uint8_t flags, uint32_t seq, const uint8_t *data,
    size_t len)
{
	struct frame_info f = { .tuple = { .proto = IPPROTO_TCP, .sport = 53, .dport = port },
		.tcp_flags = flags,
		.tcp_seq = seq,
		.payload_len = (uint32_t)len };

	/* The owner is the port's thousands. */
	return dns_streams_take(s, port / 1000, &f, data, now, on_message, NULL);
}

static size_t
message(uint8_t *buf, char what, size_t len)
{
	buf[0] = (uint8_t)(len >> 8);
	buf[1] = (uint8_t)len;
	memset(buf + 2, what, len);
	return len + 2;
}

static struct dns_streams *
opened(void)
{
	struct dns_streams *s = NULL;

	assert_int_equal(dns_streams_new(&s), 0);
	assert_true(feed(s, 1000, SYN | ACK, ISN, NULL, 0));
	heard[0] = '\0';
	return s;
}

static uint32_t
draw(uint32_t *state, uint32_t below)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8) % below;
}

/* The next bytes, up to seven segments of them: in any order, with bytes of their neighbours, some
 * twice. */
static size_t
feed_some(struct dns_streams *s, const uint8_t *m, size_t at, size_t total, uint32_t *rnd)
{
	size_t from[7], to[7], n = 1 + draw(rnd, 7), k;

	for (size_t i = 0; i < n; i++) {
		const size_t before = draw(rnd, 100), len = 1 + draw(rnd, 900),
			     behind = draw(rnd, 100);

		from[i] = at - MIN(before, at);
		at = MIN(at + len, total);
		to[i] = MIN(at + behind, total);
	}
	for (; n > 0; n--) {
		k = draw(rnd, (uint32_t)n);
		for (unsigned times = 0; times < 1 + draw(rnd, 2); times++)
			feed(s, 1000, ACK, BEGIN + (uint32_t)from[k], m + from[k], to[k] - from[k]);
		from[k] = from[n - 1];
		to[k] = to[n - 1];
	}
	return at;
}

static void
messages_are_read_however_they_are_cut(void **state)
{
	static uint8_t m[8192];
	size_t total = message(m, 'a', 700), at;

	total += message(m + total, 'b', 12);
	total += message(m + total, 'x', 3); /* shorter than any message */
	total += message(m + total, 'c', 5000);
	total += message(m + total, 'd', 60);
	for (uint32_t seed = 0; seed < 3000; seed++) {
		_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
		uint32_t rnd = seed;

		for (at = 0; at < total;)
			at = feed_some(s, m, at, total, &rnd);
		assert_string_equal(heard, "a700 b12 c5000 d60 ");
		feed(s, 1000, ACK | FIN, BEGIN + (uint32_t)total, NULL, 0);
		assert_int_equal(dns_streams_broken(s), 0);
		assert_false(feed(s, 1000, ACK, BEGIN, m, total));
	}
}

static void
several_messages_in_one_segment_are_all_read(void **state)
{
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
	uint8_t m[512];
	size_t total = message(m, 'a', 20);

	total += message(m + total, 'b', 30);
	total += message(m + total, 'c', 40);
	feed(s, 1000, ACK, BEGIN, m, total - 1);
	assert_string_equal(heard, "a20 b30 ");
	feed(s, 1000, ACK, BEGIN + (uint32_t)total - 1, m + total - 1, 1);
	assert_string_equal(heard, "a20 b30 c40 ");
}

static void
what_was_read_stays_what_it_was(void **state)
{
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
	uint8_t m[64], other[64];
	size_t len = message(m, 'a', 40);

	message(other, 'z', 40);
	feed(s, 1000, ACK, BEGIN, m, 30);
	feed(s, 1000, ACK, BEGIN, other, 30);
	/* Again with what comes behind it, of which the rest counts. */
	memcpy(other + 30, m + 30, len - 30);
	feed(s, 1000, ACK, BEGIN, other, len);
	assert_string_equal(heard, "a40 ");
	assert_int_equal(dns_streams_broken(s), 0);
}

static void
pieces_that_contradict_each_other_end_a_stream(void **state)
{
	uint8_t m[64], other[64];
	size_t len = message(m, 'a', 40);

	message(other, 'z', 40);
	for (unsigned early = 0; early < 2; early++) {
		_cleanup_(dns_streams_freep) struct dns_streams *s = opened();

		feed(s, 1000, ACK, BEGIN + 10, m + 10, 10);
		if (early)
			assert_true(feed(s, 1000, ACK, BEGIN + 19, other + 19, 5));
		else
			assert_true(feed(s, 1000, ACK, BEGIN, other, len));
		assert_int_equal(dns_streams_broken(s), 1);
		assert_false(feed(s, 1000, ACK, BEGIN, m, len));
		assert_string_equal(heard, "");
	}
}

static void
what_is_too_far_ahead_or_too_many_ends_a_stream(void **state)
{
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
	uint8_t m[64];

	message(m, 'a', 40);
	feed(s, 1000, ACK, BEGIN + DNS_STREAM_BYTES - 7, m, 10);
	assert_int_equal(dns_streams_broken(s), 1);
	feed(s, 1000, SYN, ISN, NULL, 0);
	feed(s, 1000, ACK, BEGIN + 0x7fffffff, m, 10);
	assert_int_equal(dns_streams_broken(s), 2);
	feed(s, 1000, SYN, ISN, NULL, 0);
	feed(s, 1000, ACK, BEGIN + DNS_STREAM_BYTES - 8, m, 10);
	for (uint32_t i = 1; i < DNS_STREAM_AHEAD; i++)
		feed(s, 1000, ACK, BEGIN + 2 * i, m + 2 * i, 1);
	assert_int_equal(dns_streams_broken(s), 2);
	feed(s, 1000, ACK, BEGIN + 20, m + 20, 1);
	assert_int_equal(dns_streams_broken(s), 3);
}

static void
an_end_waits_for_what_is_before_it(void **state)
{
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
	uint8_t m[64];
	size_t len = message(m, 'a', 40);

	feed(s, 1000, ACK | FIN, BEGIN + 30, m + 30, len - 30);
	feed(s, 1000, ACK, BEGIN, m, 30);
	assert_string_equal(heard, "a40 ");
	assert_false(feed(s, 1000, ACK, BEGIN, m, len));
	assert_int_equal(dns_streams_broken(s), 0);
	/* A reset does not; and what was not read to its end is told. */
	feed(s, 1000, SYN, 5, NULL, 0);
	feed(s, 1000, ACK, 6, m, 30);
	feed(s, 1000, RST, 36, NULL, 0);
	assert_int_equal(dns_streams_broken(s), 1);
	feed(s, 1000, SYN, 5, NULL, 0);
	feed(s, 1000, ACK | FIN, 6, m, 30);
	assert_int_equal(dns_streams_broken(s), 2);
}

static void
a_stream_begins_with_its_syn_and_once(void **state)
{
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
	uint8_t m[64];
	size_t len = message(m, 'a', 40);

	assert_false(feed(s, 1001, ACK, BEGIN, m, len));
	feed(s, 1000, ACK, BEGIN, m, 30);
	feed(s, 1000, SYN | ACK, ISN, NULL, 0);
	feed(s, 1000, ACK, BEGIN + 30, m + 30, len - 30);
	assert_string_equal(heard, "a40 ");
	/* The port is used again; of TCP Fast Open, the data are with it. */
	feed(s, 1000, SYN, 77, m, 30);
	feed(s, 1000, ACK, 78 + 30, m + 30, len - 30);
	assert_string_equal(heard, "a40 a40 ");
	assert_int_equal(dns_streams_broken(s), 0);
}

static void
who_opens_many_loses_his_own(void **state)
{
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
	uint8_t m[64];
	size_t len = message(m, 'a', 40);

	feed(s, 1000, ACK, BEGIN, m, 30);
	for (uint16_t i = 0; i < 200; i++, now++)
		feed(s, 2000 + i, SYN, ISN, NULL, 0);
	assert_int_equal(dns_streams_broken(s), 200 - DNS_STREAMS_EACH);
	assert_false(feed(s, 2199 - DNS_STREAMS_EACH, ACK, BEGIN, m, len));
	assert_true(feed(s, 2199, ACK, BEGIN, m, len));
	feed(s, 1000, ACK, BEGIN + 30, m + 30, len - 30);
	assert_string_equal(heard, "a40 a40 ");
	/* Many owners: the oldest. */
	for (uint16_t i = 0; i < DNS_STREAMS; i++, now++)
		assert_true(
		    feed(s, (uint16_t)(3000 + i / DNS_STREAMS_EACH * 1000 + i), SYN, ISN, NULL, 0));
	assert_false(feed(s, 1000, ACK, BEGIN, m, len));
}

static void
nobody_waits_for_ever(void **state)
{
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();
	uint8_t m[64];

	message(m, 'a', 40);
	feed(s, 1000, ACK, BEGIN + 3, m + 3, 30);
	feed(s, 1001, SYN, ISN, NULL, 0);
	assert_int_equal(dns_streams_broken(s), 0);
	now += DNS_STREAM_WAIT_NS;
	feed(s, 1002, SYN, ISN, NULL, 0);
	assert_int_equal(dns_streams_broken(s), 1);
	/* What is only idle is no matter. */
	assert_true(feed(s, 1001, ACK, BEGIN, m, 1));
}

static void
a_message_beyond_the_buffer_is_cut_and_its_rest_skipped(void **state)
{
	static uint8_t m[70000];
	size_t first = message(m, 'a', 65535), total = first + message(m + first, 'b', 20);
	_cleanup_(dns_streams_freep) struct dns_streams *s = opened();

	for (size_t at = 0; at < total; at += 1460)
		feed(s, 1000, ACK, BEGIN + (uint32_t)at, m + at, MIN((size_t)1460, total - at));
	assert_string_equal(heard, "a16000 b20 ");
	/* Whole in one segment, as an interface that puts segments together has it. */
	feed(s, 1000, SYN, 5, NULL, 0);
	feed(s, 1000, ACK, 6, m, total);
	assert_string_equal(heard, "a16000 b20 a16000 b20 ");
	assert_int_equal(dns_streams_broken(s), 0);
	/* The same as a report has it, which ends before the segment does. */
	heard[0] = '\0';
	feed(s, 1000, SYN, 77, NULL, 0);
	feed(s, 1000, ACK, 78, m, 16384 - 120);
	assert_string_equal(heard, "a16000 ");
	feed(s, 1000, SYN, 5, NULL, 0);
	feed(s, 1000, ACK, 6, m, total);
	/* What is skipped has no room for what is ahead. */
	feed(s, 1000, ACK, 6 + (uint32_t)total, m, 20000);
	feed(s, 1000, ACK, 6 + (uint32_t)total + 20001, m, 10);
	assert_int_equal(dns_streams_broken(s), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_read_however_they_are_cut),
		cmocka_unit_test(several_messages_in_one_segment_are_all_read),
		cmocka_unit_test(what_was_read_stays_what_it_was),
		cmocka_unit_test(pieces_that_contradict_each_other_end_a_stream),
		cmocka_unit_test(what_is_too_far_ahead_or_too_many_ends_a_stream),
		cmocka_unit_test(an_end_waits_for_what_is_before_it),
		cmocka_unit_test(a_stream_begins_with_its_syn_and_once),
		cmocka_unit_test(who_opens_many_loses_his_own),
		cmocka_unit_test(nobody_waits_for_ever),
		cmocka_unit_test(a_message_beyond_the_buffer_is_cut_and_its_rest_skipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
