/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A capture is a line of frames: "A:1>B:80 S" is a packet from A's port 1 to B's port 80 with the
 * TCP flags S, A (acknowledge), F, R, or none ("."), with G what is acknowledged is a guess, with N
 * nearly right; "u" instead of flags is UDP, "x" an SCTP abort, "i" SCTP data, "k" the answer to an
 * INIT. A to F are hosts. What is expected is one line a connection, sorted.
 */
#include "rules/track.h"

#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MAX_LINES 4096

struct heard {
	char *lines[MAX_LINES];
	size_t n;
	uint32_t started;
};

static const struct {
	const char *what, *frames, *expect;
} cases[] = {
	{ "a handshake", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A", "A:1>B:80 answered" },
	{ "a handshake without its last packet", "A:1>B:80 S,B:80>A:1 SA", "A:1>B:80" },
	{ "which is asked for again", "A:1>B:80 S,B:80>A:1 SA,B:80>A:1 SA", "A:1>B:80" },
	{ "and guessed", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 AG,B:80>A:1 R", "A:1>B:80 refused" },
	{ "guessed before it is known", "A:1>B:80 S,A:1>B:80 AG,B:80>A:1 SA", "A:1>B:80" },
	{ "guessed, then known", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 AG,A:1>B:80 A",
	    "A:1>B:80 answered" },
	{ "or nearly", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 AN", "A:1>B:80 answered" },
	{ "out of order", "B:80>A:1 SA,A:1>B:80 A,A:1>B:80 S", "A:1>B:80 answered" },
	{ "ended by its last packet", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 FA", "A:1>B:80 answered" },
	{ "no answer", "A:1>B:80 S,A:1>B:80 S", "A:1>B:80" },
	{ "refused", "A:1>B:80 S,B:80>A:1 RA", "A:1>B:80 refused" },
	{ "refused twice", "A:1>B:80 S,B:80>A:1 RA,A:1>B:80 S,B:80>A:1 RA",
	    "A:1>B:80 refused,A:1>B:80 refused" },
	{ "what follows a refusal is no answer", "A:1>B:80 S,B:80>A:1 RA,A:1>B:80 A,B:80>A:1 A",
	    "A:1>B:80 refused" },
	{ "answered, then reset", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A,A:1>B:80 R",
	    "A:1>B:80 answered" },
	{ "reset instead of the last packet", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 R",
	    "A:1>B:80 refused" },
	{ "a challenge is no answer", "A:1>B:80 S,B:80>A:1 A,A:1>B:80 R", "A:1>B:80 refused" },
	{ "a challenge to a second SYN neither", "A:1>B:80 S,A:1>B:80 S,B:80>A:1 A", "A:1>B:80" },
	{ "the answer to a SYN that is missing", "B:80>A:1 SA,A:1>B:80 A", "A:1>B:80 answered" },
	{ "an answer that nobody asked for", "B:80>A:1 SA", "A:1>B:80" },
	{ "and that is refused", "B:80>A:1 SA,A:1>B:80 R", "A:1>B:80 refused" },
	{ "the answering side alone", "B:80>A:1 SA,B:80>A:1 A", "A:1>B:80 answered" },
	{ "which only repeats itself", "B:80>A:1 SA,B:80>A:1 SA", "A:1>B:80" },
	{ "the asking side alone", "A:1>B:80 S,A:1>B:80 A", "A:1>B:80 one-sided" },
	{ "which ends it", "A:1>B:80 S,A:1>B:80 A,A:1>B:80 R", "A:1>B:80 one-sided" },
	{ "which gives up", "A:1>B:80 S,A:1>B:80 S,A:1>B:80 R", "A:1>B:80 refused" },
	{ "which is refused", "A:1>B:80 S,B:80>A:1 RA,A:1>B:80 A", "A:1>B:80 refused" },
	{ "a reset alone", "A:1>B:80 R", "" },
	{ "the same ports again",
	    "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 FA,B:80>A:1 FA,A:1>B:80 A,"
	    "A:1>B:80 S,B:80>A:1 SA",
	    "A:1>B:80,A:1>B:80 answered" },
	{ "a SYN again in an open connection", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A,A:1>B:80 S",
	    "A:1>B:80 answered" },
	{ "refused, then answered after all",
	    "A:1>B:80 S,A:1>B:80 S,B:80>A:1 RA,B:80>A:1 SA,A:1>B:80 A", "A:1>B:80 answered" },
	{ "refused, asked again and answered",
	    "A:1>B:80 S,B:80>A:1 RA,A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A",
	    "A:1>B:80 answered,A:1>B:80 refused" },
	{ "refused, then answered, and not taken up", "A:1>B:80 S,B:80>A:1 RA,B:80>A:1 SA",
	    "A:1>B:80" },
	{ "a challenge, a refusal and an answer are not three of one",
	    "A:1>B:80 S,B:80>A:1 A,A:1>B:80 R,B:80>A:1 SA", "A:1>B:80" },
	{ "the end of another one on the same ports",
	    "B:80>A:1 FA,A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A", "A:1>B:80 answered" },
	{ "which does not answer for this one", "B:80>A:1 FA,A:1>B:80 S,B:80>A:1 SA", "A:1>B:80" },
	{ "nor the end of both", "B:80>A:1 FA,A:1>B:80 FA,A:1>B:80 S,B:80>A:1 SA",
	    "A:1>B:80,A:1>B:80 answered" },
	{ "its answer tells the direction as well", "B:80>A:1 FA,B:80>A:1 SA,A:1>B:80 A",
	    "A:1>B:80 answered" },
	{ "the last packet before the first", "A:1>B:80 A,A:1>B:80 S,B:80>A:1 SA",
	    "A:1>B:80 answered" },
	{ "guessed before it is begun", "A:1>B:80 AG,A:1>B:80 S,B:80>A:1 SA", "A:1>B:80" },
	{ "a SYN in the middle tells the direction", "B:80>A:1 .,A:1>B:80 .,A:1>B:80 S",
	    "A:1>B:80 answered" },
	{ "and of the others of that listener",
	    "B:80>C:9 .,C:9>B:80 .,B:80>A:1 .,A:1>B:80 .,A:1>B:80 S,B:80>A:1 SA",
	    "A:1>B:80 answered,C:9>B:80 answered" },
	{ "both ask, one answers", "A:1>B:80 S,B:80>A:1 S,A:1>B:80 SA,B:80>A:1 A",
	    "B:80>A:1 answered" },
	{ "both ask, both answer", "A:1>B:80 S,B:80>A:1 S,A:1>B:80 SA,B:80>A:1 SA,A:1>B:80 A",
	    "A:1>B:80 answered" },
	{ "in the other order", "A:1>B:80 S,B:80>A:1 S,B:80>A:1 SA,A:1>B:80 SA,A:1>B:80 A",
	    "A:1>B:80 answered" },
	{ "who was asked asks, on the same ports",
	    "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A,B:80>A:1 S,A:1>B:80 SA,B:80>A:1 A",
	    "A:1>B:80 answered,B:80>A:1 answered" },
	{ "and is not answered",
	    "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A,B:80>A:1 S,A:1>B:80 A,B:80>A:1 A",
	    "A:1>B:80 answered" },
	{ "nor does it answer, unasked", "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A,A:1>B:80 SA",
	    "A:1>B:80 answered" },
	{ "an answer to nobody's SYN turns nothing round",
	    "A:1>B:80 S,A:1>B:80 SA,B:80>A:1 SA,A:1>B:80 A", "A:1>B:80 answered" },
	{ "met in the middle", "A:1>B:80 .,B:80>A:1 .", "A:1>B:80 answered midstream" },
	{ "one side of a middle", "A:1>B:80 .,A:1>B:80 .", "A:1>B:80 midstream" },
	{ "turned round by a listener seen before", "C:9>B:80 S,B:80>C:9 SA,B:80>A:1 .,A:1>B:80 .",
	    "A:1>B:80 answered,C:9>B:80" },
	{ "and by one seen after", "B:80>A:1 .,A:1>B:80 .,C:9>B:80 S,B:80>C:9 SA",
	    "A:1>B:80 answered,C:9>B:80" },
	{ "a listener at the other end", "C:9>B:80 S,B:80>C:9 SA,A:1>B:80 .,B:80>A:1 .",
	    "A:1>B:80 answered,C:9>B:80" },
	{ "listeners at both ends",
	    "C:9>B:80 S,B:80>C:9 SA,C:9>A:1 S,A:1>C:9 SA,A:1>B:80 .,B:80>A:1 .",
	    "A:1>B:80 answered midstream,C:9>A:1,C:9>B:80" },
	{ "what refuses is no listener", "C:9>B:80 S,B:80>C:9 RA,B:80>A:1 .,A:1>B:80 .",
	    "B:80>A:1 answered midstream,C:9>B:80 refused" },
	{ "an end that several have in common", "B:80>A:1 .,A:1>B:80 .,B:80>A:2 .,A:2>B:80 .",
	    "A:1>B:80 answered midstream,A:2>B:80 answered midstream" },
	{ "UDP", "A:1>B:53 u,B:53>A:1 u", "A:1>B:53 answered" },
	{ "UDP without an answer", "A:1>B:53 u,A:1>B:53 u", "A:1>B:53" },
	{ "UDP and TCP of the same ports", "A:1>B:53 u,B:53>A:1 SA", "A:1>B:53,A:1>B:53" },
	{ "SCTP", "A:1>B:5 i,B:5>A:1 i", "A:1>B:5 answered" },
	{ "SCTP that only begins", "A:1>B:5 i,B:5>A:1 k,B:5>A:1 k", "A:1>B:5" },
	{ "SCTP refused", "A:1>B:5 i,B:5>A:1 x", "A:1>B:5 refused" },
	{ "one host with itself", "A:1>A:80 S,A:80>A:1 SA,A:1>A:80 A", "A:1>A:80 answered" },
};

static struct addr
host(char letter)
{
	uint8_t four[4] = { 10, 0, 0, (uint8_t)letter };

	return addr_from_v4(four);
}

static uint32_t
started(void *arg, const struct tuple *first)
{
	struct heard *h = arg;

	(void)first;
	return ++h->started;
}

static void
ended(void *arg, const struct track_connection *c)
{
	struct heard *h = arg;
	char line[128];

	assert_true(h->n < MAX_LINES);
	assert_true(c->tag >= 1 && c->tag <= h->started);
	assert_true(c->first_ns <= c->last_ns);
	snprintf(line, sizeof(line), "%c:%u>%c:%u%s%s%s%s", c->tuple.src.bytes[3], c->tuple.sport,
	    c->tuple.dst.bytes[3], c->tuple.dport, c->flags & TRACK_F_ANSWERED ? " answered" : "",
	    c->flags & TRACK_F_MIDSTREAM ? " midstream" : "",
	    c->flags & TRACK_F_REFUSED ? " refused" : "",
	    c->flags & TRACK_F_ONE_SIDED ? " one-sided" : "");
	h->lines[h->n] = strdup(line);
	assert_non_null(h->lines[h->n]);
	h->n++;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
feed(struct track *t, const char *text, uint64_t time_ns)
{
	static const struct {
		char letter;
		uint8_t flag;
	} flags[] = { { 'F', 1 }, { 'S', 2 }, { 'R', 4 }, { 'A', 16 } };
	struct frame_info f = { .tuple = { .proto = IPPROTO_TCP } };
	char src, dst, kind[8];
	unsigned sport, dport;
	uint8_t chunk[4] = { 0 };
	int r;

	assert_int_equal(sscanf(text, "%c:%u>%c:%u %7s", &src, &sport, &dst, &dport, kind), 5);
	f.tuple.src = host(src);
	f.tuple.dst = host(dst);
	f.tuple.sport = (uint16_t)sport;
	f.tuple.dport = (uint16_t)dport;
	if (kind[0] == 'u')
		f.tuple.proto = IPPROTO_UDP;
	if (strchr("ixk", kind[0]) != NULL) {
		f.tuple.proto = IPPROTO_SCTP;
		f.payload_len = sizeof(chunk);
		chunk[0] = kind[0] == 'x' ? 6 : kind[0] == 'k' ? 2 : 1;
	}
	f.tcp_seq = 0xffffffff; /* as high as it gets, so that the next one is 0 */
	f.tcp_ack = strchr(kind, 'G') != NULL ? 0x80000000 : strchr(kind, 'N') != NULL ? -100u : 0;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strchr(kind, flags[i].letter) != NULL)
			f.tcp_flags |= flags[i].flag;
	r = track_frame(t, &f, chunk, 60, time_ns);
	assert_true(r == 0 || r == -ENODATA);
}

static void
finish(struct track *t, struct heard *h, char *out, size_t room)
{
	size_t at = 0;

	track_finish(t);
	qsort(h->lines, h->n, sizeof(h->lines[0]), compare);
	out[0] = '\0';
	for (size_t i = 0; i < h->n; i++) {
		at += (size_t)snprintf(out + at, room - at, "%s%s", i > 0 ? "," : "", h->lines[i]);
		assert_true(at < room);
		free(h->lines[i]);
	}
	h->n = 0;
}

static void
each_capture_has_its_connections(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(track_freep) struct track *t = NULL;
		_cleanup_free_ char *frames = strdup(cases[i].frames);
		struct heard h = { 0 };
		char got[512];
		uint64_t time_ns = 5000;

		assert_int_equal(track_new(100, 1, started, ended, &h, &t), 0);
		for (char *w = strtok(frames, ","); w != NULL; w = strtok(NULL, ","))
			feed(t, w, time_ns--); /* a clock that runs backwards */
		finish(t, &h, got, sizeof(got));
		if (strcmp(got, cases[i].expect) != 0)
			fail_msg("%s: %s, expected %s", cases[i].what, got, cases[i].expect);
		assert_int_equal(track_evicted(t), 0);
	}
}

static void
without_room_the_unanswered_go_first(void **state)
{
	_cleanup_(track_freep) struct track *t = NULL;
	struct heard h = { 0 };
	char text[64], got[512];

	(void)state;
	assert_int_equal(track_new(4, 1, started, ended, &h, &t), 0);
	feed(t, "A:1>B:80 S", 1);
	feed(t, "B:80>A:1 SA", 2);
	feed(t, "A:1>B:80 A", 2);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "C:%u>B:%u S", i + 1, i + 1);
		feed(t, text, 3 + i);
	}
	assert_int_equal(h.n, 1000 - 3);
	assert_int_equal(track_evicted(t), 1000 - 3);
	for (size_t i = 0; i < h.n; i++) {
		assert_null(strstr(h.lines[i], "A:1"));
		free(h.lines[i]);
	}
	h.n = 0;
	finish(t, &h, got, sizeof(got));
	assert_string_equal(got, "A:1>B:80 answered,C:1000>B:1000,C:998>B:998,C:999>B:999");
}

static void
who_was_forgotten_is_still_oriented(void **state)
{
	_cleanup_(track_freep) struct track *t = NULL;
	struct heard h = { 0 };
	char got[512];

	(void)state;
	assert_int_equal(track_new(1, 1, started, ended, &h, &t), 0);
	feed(t, "A:1>B:80 S", 1);
	feed(t, "B:80>A:1 SA", 2);
	feed(t, "A:1>B:80 A", 2);
	feed(t, "C:1>D:1 u", 3);
	feed(t, "B:80>A:1 .", 4);
	feed(t, "A:1>B:80 .", 5);
	finish(t, &h, got, sizeof(got));
	assert_string_equal(got, "A:1>B:80 answered,A:1>B:80 answered,C:1>D:1");
}

static void
a_table_that_grows_loses_nothing(void **state)
{
	_cleanup_(track_freep) struct track *t = NULL;
	struct heard h = { 0 };
	char text[64];
	static char got[MAX_LINES * 32];

	(void)state;
	assert_int_equal(track_new(100000, 1, started, ended, &h, &t), 0);
	for (unsigned i = 0; i < 4000; i++) {
		snprintf(text, sizeof(text), "A:%u>B:80 S", i + 1);
		feed(t, text, i);
	}
	for (unsigned i = 0; i < 4000; i++) {
		snprintf(text, sizeof(text), "B:80>A:%u SA", i + 1);
		feed(t, text, 4000 + i);
		snprintf(text, sizeof(text), "A:%u>B:80 A", i + 1);
		feed(t, text, 8000 + i);
	}
	assert_int_equal(h.n, 0);
	finish(t, &h, got, sizeof(got));
	assert_int_equal(h.started, 4000);
	assert_null(strstr(got, "80,"));
	assert_int_equal(track_evicted(t), 0);
}

static struct frame_info
icmp(char src, char dst, uint8_t type, uint16_t id)
{
	struct frame_info f = { .tuple = { .src = host(src),
				    .dst = host(dst),
				    .proto = IPPROTO_ICMP,
				    .sport = id,
				    .dport = (uint16_t)(type << 8) },
		.icmp_type = type,
		.icmp_id = id };

	return f;
}

static void
an_echo_is_answered_by_its_own_reply(void **state)
{
	_cleanup_(track_freep) struct track *t = NULL;
	struct heard h = { 0 };
	struct frame_info f[] = { icmp('A', 'B', 8, 7), icmp('B', 'A', 8, 7), icmp('B', 'A', 0, 7),
		icmp('C', 'A', 0, 9) };
	char got[512];

	(void)state;
	assert_int_equal(track_new(10, 1, started, ended, &h, &t), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(track_frame(t, &f[i], NULL, 60, i), 0);
	assert_int_equal(track_frame(t, &f[3], NULL, 60, 4), -ENODATA);
	finish(t, &h, got, sizeof(got));
	assert_string_equal(got, "A:7>B:2048 answered,B:7>A:2048");
}

static void
an_error_refuses_what_it_quotes(void **state)
{
	/* UDP from A (10.0.0.65) port 1 to B (10.0.0.66) port 53 */
	static const uint8_t quoted[] = { 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 65,
		10, 0, 0, 66, 0, 1, 0, 53, 0, 8, 0, 0 };
	_cleanup_(track_freep) struct track *t = NULL;
	struct heard h = { 0 };
	struct frame_info f = icmp('B', 'A', 3, 0);
	char got[512];

	(void)state;
	f.payload_len = sizeof(quoted);
	assert_int_equal(track_new(10, 1, started, ended, &h, &t), 0);
	feed(t, "A:1>B:53 u", 1);
	feed(t, "A:2>B:53 u", 1);
	assert_int_equal(track_frame(t, &f, quoted, 60, 2), -ENODATA);
	finish(t, &h, got, sizeof(got));
	assert_string_equal(got, "A:1>B:53 refused,A:2>B:53");
}

static void
what_is_too_large_or_asked_again_is_not_refused(void **state)
{
	/* TCP from A (10.0.0.65) port 1 to B (10.0.0.66) port 80 */
	static const uint8_t quoted[] = { 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 65, 10,
		0, 0, 66, 0, 1, 0, 80, 0, 0, 0, 0 };
	static const struct {
		uint8_t code;
		const char *then, *expect;
	} errors[] = {
		{ 1, "", "A:1>B:80 refused" },
		{ 4, "", "A:1>B:80" },
		{ 1, "A:1>B:80 S,B:80>A:1 SA,A:1>B:80 A", "A:1>B:80 answered" },
		{ 1, "A:1>B:80 S,B:80>A:1 SA", "A:1>B:80" },
		{ 1, "A:1>B:80 S,A:1>B:80 A", "A:1>B:80 refused" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		_cleanup_(track_freep) struct track *t = NULL;
		_cleanup_free_ char *then = strdup(errors[i].then);
		struct frame_info f = icmp('C', 'A', 3, 0);
		struct heard h = { 0 };
		char got[512];

		f.tuple.dport |= errors[i].code;
		f.payload_len = sizeof(quoted);
		assert_int_equal(track_new(10, 1, started, ended, &h, &t), 0);
		feed(t, "A:1>B:80 S", 1);
		assert_int_equal(track_frame(t, &f, quoted, 60, 2), -ENODATA);
		for (char *w = strtok(then, ","); w != NULL; w = strtok(NULL, ","))
			feed(t, w, 3);
		finish(t, &h, got, sizeof(got));
		assert_string_equal(got, errors[i].expect);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_capture_has_its_connections),
		cmocka_unit_test(without_room_the_unanswered_go_first),
		cmocka_unit_test(who_was_forgotten_is_still_oriented),
		cmocka_unit_test(a_table_that_grows_loses_nothing),
		cmocka_unit_test(an_echo_is_answered_by_its_own_reply),
		cmocka_unit_test(an_error_refuses_what_it_quotes),
		cmocka_unit_test(what_is_too_large_or_asked_again_is_not_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
