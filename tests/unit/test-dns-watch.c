/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Only an answer to a question of the same namespace, port, id, type and name counts, and only
 * once. */
#include "rules/dns_watch.h"

#include "rules/dns_stream.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define NS 7u
#define SYN 0x02
#define ACK 0x10
#define FIN 0x01

static char heard[DNS_NAME_MAX + ADDR_STRLEN + 32];
static bool heard_translated;

static void
on_answer(void *arg, const struct dns_answer *a)
{
	char text[ADDR_STRLEN];

	snprintf(heard, sizeof(heard), "%s %s x%zu", a->message->name,
	    addr_format(&a->message->addrs[0], text), a->message->n_addrs);
	heard_translated = a->translated;
}

/* A question, or (n > 0) the answer with that many addresses; its length. */
static size_t
message(uint8_t *m, uint16_t id, const char *label, uint8_t qtype, unsigned n)
{
	size_t len = 0, label_len = strlen(label);
	const uint8_t head[12] = { (uint8_t)(id >> 8), (uint8_t)id, n > 0 ? 0x81 : 0x01, 0x80, 0, 1,
		(uint8_t)(n >> 8), (uint8_t)n };

	memcpy(m, head, sizeof(head));
	len = sizeof(head);
	m[len++] = (uint8_t)label_len;
	memcpy(m + len, label, label_len);
	len += label_len;
	memcpy(m + len, (const uint8_t[]){ 0, 0, qtype, 0, 1 }, 5);
	len += 5;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t rr[16] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113,
			(uint8_t)(i + 1) };

		memcpy(m + len, rr, sizeof(rr));
		len += sizeof(rr);
	}
	return len;
}

struct where {
	uint64_t netns;
	uint16_t port; /* of the client */
	uint8_t proto, client, server;
	uint16_t server_port;
};
static const struct where here = { NS, 40000, IPPROTO_UDP, 1, 53, 53 };

static void
feed(struct dns_watch *w, const struct where *at, bool answer, uint8_t flags, uint32_t seq,
    const uint8_t *data, size_t len, uint64_t now_ns)
{
	struct frame_info f = { .tuple = { .sport = at->port, .dport = at->server_port } };

	f.tuple.src = (struct addr){ .family = 4, .bytes = { 10, 0, 0, at->client } };
	f.tuple.dst = (struct addr){ .family = 4, .bytes = { 10, 0, 0, at->server } };
	f.tuple.proto = at->proto;
	if (answer)
		f.tuple = tuple_reverse(&f.tuple);
	f.tcp_flags = flags;
	f.tcp_seq = seq;
	f.payload_len = (uint32_t)len;
	heard[0] = '\0';
	dns_watch_packet(w, at->netns, answer, &f, data, now_ns, on_answer, NULL);
}

static void
only_the_answer_to_the_question_counts(void **state)
{
	const struct {
		const char *what;
		struct where from;
		uint16_t id;
		const char *name;
		uint8_t qtype;
		uint64_t after_ns;
		const char *want;
	} cases[] = {
		{ "the answer", here, 1, "a", 1, 0, "a 203.0.113.1 x2" },
		{ "in other letters", here, 1, "A", 1, 0, "a 203.0.113.1 x2" },
		{ "another id", here, 2, "a", 1, 0, "" },
		{ "another name", here, 1, "b", 1, 0, "" },
		{ "another type", here, 1, "a", 28, 0, "" },
		{ "to another port", { NS, 40001, IPPROTO_UDP, 1, 53, 53 }, 1, "a", 1, 0, "" },
		{ "to another address", { NS, 40000, IPPROTO_UDP, 2, 53, 53 }, 1, "a", 1, 0, "" },
		{ "in another namespace", { 8, 40000, IPPROTO_UDP, 1, 53, 53 }, 1, "a", 1, 0, "" },
		{ "just in time", here, 1, "a", 1, DNS_WATCH_WAIT_NS - 1, "a 203.0.113.1 x2" },
		{ "too late", here, 1, "a", 1, DNS_WATCH_WAIT_NS, "" },
	};
	uint8_t m[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(dns_watch_freep) struct dns_watch *w = NULL;
		uint64_t now = 1000 + cases[i].after_ns;
		size_t len;

		assert_int_equal(dns_watch_new(i, &w), 0);
		feed(w, &here, false, 0, 0, m, message(m, 1, "a", 1, 0), 1000);
		assert_string_equal(heard, "");
		len = message(m, cases[i].id, cases[i].name, cases[i].qtype, 2);
		feed(w, &cases[i].from, true, 0, 0, m, len, now);
		if (strcmp(heard, cases[i].want) != 0)
			fail_msg("%s: '%s'", cases[i].what, heard);
		assert_int_equal(dns_watch_stats(w)->unasked, *cases[i].want == '\0');
		/* A second one, true or not, is nobody's. */
		feed(w, &here, true, 0, 0, m, len, now);
		if (*cases[i].want != '\0')
			assert_string_equal(heard, "");
	}
}

static void
an_answer_is_none_to_itself(void **state)
{
	_cleanup_(dns_watch_freep) struct dns_watch *w = NULL;
	uint8_t m[512];
	size_t len = message(m, 1, "a", 1, 1);

	assert_int_equal(dns_watch_new(1, &w), 0);
	/* The other way: what looks like an answer is no question, and the reverse. */
	feed(w, &here, false, 0, 0, m, len, 1);
	feed(w, &here, true, 0, 0, m, len, 1);
	assert_string_equal(heard, "");
	feed(w, &here, true, 0, 0, m, message(m, 1, "a", 1, 0), 1);
	feed(w, &here, false, 0, 0, m, 11, 1);
	assert_int_equal(dns_watch_stats(w)->malformed, 3);
}

static void
a_translated_question_is_known_as_such(void **state)
{
	_cleanup_(dns_watch_freep) struct dns_watch *w = NULL;
	struct where inner = here;
	uint8_t m[512];

	assert_int_equal(dns_watch_new(1, &w), 0);
	inner.server_port = 41234;
	feed(w, &inner, false, 0, 0, m, message(m, 1, "a", 1, 0), 1);
	feed(w, &here, true, 0, 0, m, message(m, 1, "a", 1, 1), 1);
	assert_string_equal(heard, "a 203.0.113.1 x1");
	assert_true(heard_translated);
	feed(w, &here, false, 0, 0, m, message(m, 1, "a", 1, 0), 1);
	feed(w, &here, true, 0, 0, m, message(m, 1, "a", 1, 1), 1);
	assert_false(heard_translated);
}

/* A message with its length in front; the whole length. */
static size_t
framed(uint8_t *m, uint16_t id, const char *name, unsigned n)
{
	size_t len = message(m + 2, id, name, 1, n);

	m[0] = (uint8_t)(len >> 8);
	m[1] = (uint8_t)len;
	return len + 2;
}

static struct dns_watch *
asked_over_tcp(const struct where *at)
{
	struct dns_watch *w = NULL;
	uint8_t q[512];
	size_t len = framed(q, 1, "a", 0);

	assert_int_equal(dns_watch_new(1, &w), 0);
	feed(w, at, false, SYN, 99, NULL, 0, 1);
	feed(w, at, true, SYN | ACK, 4999, NULL, 0, 1);
	feed(w, at, false, ACK, 100, NULL, 0, 1);
	/* A length by itself, as some clients send it. */
	feed(w, at, false, ACK, 100, q, 2, 1);
	feed(w, at, false, ACK, 102, q + 2, len - 2, 1);
	return w;
}

static void
answers_over_tcp_are_put_together(void **state)
{
	const struct where tcp = { NS, 40000, IPPROTO_TCP, 1, 53, 53 };
	uint8_t m[4096];
	size_t len = framed(m, 1, "a", 40);

	for (size_t cut = 1; cut < len; cut++) {
		_cleanup_(dns_watch_freep) struct dns_watch *w = asked_over_tcp(&tcp);

		feed(w, &tcp, true, ACK, 5000, m, cut, 1);
		assert_string_equal(heard, "");
		/* Sent again, it is not read again. */
		feed(w, &tcp, true, ACK, 5000, m, cut, 1);
		feed(w, &tcp, true, ACK | FIN, (uint32_t)(5000 + cut), m + cut, len - cut, 1);
		assert_string_equal(heard, "a 203.0.113.1 x40");
	}
}

static void
an_answer_whose_pieces_contradict_each_other_is_none(void **state)
{
	const struct where tcp = { NS, 40000, IPPROTO_TCP, 1, 53, 53 };
	_cleanup_(dns_watch_freep) struct dns_watch *w = asked_over_tcp(&tcp);
	uint8_t m[4096], forged[4096];
	size_t len = framed(m, 1, "a", 4);

	framed(forged, 1, "a", 4);
	forged[len - 1] = 66;
	feed(w, &tcp, true, ACK, 5040, forged + 40, len - 40, 1);
	feed(w, &tcp, true, ACK, 5000, m, len, 1);
	assert_string_equal(heard, "");
	assert_int_equal(dns_watch_stats(w)->broken, 1);
}

static void
a_message_beyond_the_buffer_is_read_as_far_as_it_goes(void **state)
{
	const struct where tcp = { NS, 40000, IPPROTO_TCP, 1, 53, 53 };
	_cleanup_(dns_watch_freep) struct dns_watch *w = asked_over_tcp(&tcp);
	static uint8_t m[70000];
	size_t len = framed(m, 1, "a", 2000), at;
	uint8_t q[512];

	assert_true(len > DNS_STREAM_BYTES + 2);
	for (at = 0; at < len; at += 1000) {
		feed(w, &tcp, true, ACK, (uint32_t)(5000 + at), m + at, MIN(1000, len - at), 1);
		if (*heard != '\0')
			break;
	}
	assert_string_equal(heard, "a 203.0.113.1 x64");
	for (at += 1000; at < len; at += 1000)
		feed(w, &tcp, true, ACK, (uint32_t)(5000 + at), m + at, MIN(1000, len - at), 1);
	/* And the next one on the same connection. */
	at = 100 + framed(q, 1, "a", 0);
	feed(w, &tcp, false, ACK, (uint32_t)at, q, framed(q, 2, "b", 0), 1);
	at = framed(m, 2, "b", 1);
	feed(w, &tcp, true, ACK, (uint32_t)(5000 + len), m, at, 1);
	assert_string_equal(heard, "b 203.0.113.1 x1");
}

static void
floods_push_out_the_oldest_and_nothing_else(void **state)
{
	_cleanup_(dns_watch_freep) struct dns_watch *w = NULL;
	struct where at = here;
	uint8_t m[512];
	unsigned kept = 0;

	assert_int_equal(dns_watch_new(1, &w), 0);
	for (unsigned i = 0; i < 2 * DNS_WATCH_QUESTIONS; i++) {
		at.port = (uint16_t)i;
		feed(w, &at, false, 0, 0, m, message(m, (uint16_t)(i >> 16), "a", 1, 0), i + 1);
	}
	feed(w, &here, false, 0, 0, m, message(m, 9, "mine", 1, 0), 2 * DNS_WATCH_QUESTIONS + 1);
	feed(w, &here, true, 0, 0, m, message(m, 9, "mine", 1, 1), 2 * DNS_WATCH_QUESTIONS + 2);
	assert_string_equal(heard, "mine 203.0.113.1 x1");
	for (unsigned i = 0; i < 2 * DNS_WATCH_QUESTIONS; i++) {
		at.port = (uint16_t)i;
		feed(w, &at, true, 0, 0, m, message(m, (uint16_t)(i >> 16), "a", 1, 1),
		    2 * DNS_WATCH_QUESTIONS + 3);
		kept += *heard != '\0';
	}
	assert_in_range(kept, DNS_WATCH_QUESTIONS / 2, DNS_WATCH_QUESTIONS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_answer_to_the_question_counts),
		cmocka_unit_test(an_answer_is_none_to_itself),
		cmocka_unit_test(a_translated_question_is_known_as_such),
		cmocka_unit_test(answers_over_tcp_are_put_together),
		cmocka_unit_test(an_answer_whose_pieces_contradict_each_other_is_none),
		cmocka_unit_test(a_message_beyond_the_buffer_is_read_as_far_as_it_goes),
		cmocka_unit_test(floods_push_out_the_oldest_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
