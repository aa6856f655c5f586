/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known as a probe, who may be sent one, and what a result says. */
#include "ctl-fixture.h"
#include "daemon/instance.h"
#include "daemon/probing.h"

#define S NSEC_PER_SEC

static unsigned answered;
static int answer_error;
static struct w_probe last_head;
static struct w_probe_to last_to;
static uint32_t last_seq;

static void
keep_probe(uint16_t type, uint32_t seq, const void *body, size_t len)
{
	if (type != MSG_W_PROBE)
		return;
	last_seq = seq;
	memcpy(&last_head, body, sizeof(last_head));
	memcpy(&last_to, (const uint8_t *)body + sizeof(last_head), sizeof(last_to));
}

static void
on_answer(struct controller *c, int error, const struct p_result *got, size_t n, void *arg)
{
	answered++;
	answer_error = error;
	assert_true((error == 0) == (got != NULL));
}

static void
send_answer(struct controller *c, uint32_t seq, int error, size_t n)
{
	struct {
		struct w_probed head;
		struct p_result got[2];
	} body = { .head = { .error = error } };
	struct msg m = { .body = (const uint8_t *)&body };

	m.h.seq = seq;
	m.h.body_len = (uint32_t)(sizeof(body.head) + n * sizeof(body.got[0]));
	probing_on_probed(c, &m);
}

struct setting {
	struct controller *c;
	struct instance *a, *b;
	struct probe_want want;
};

static struct setting
begin(void)
{
	struct setting s = { .c = ctl_new(NULL) };

	assert_int_equal(probing_new(&s.c->probing), 0);
	s.a = ctl_instance(s.c, 11, "a", "10.0.0.1");
	s.b = ctl_instance(s.c, 12, "b", "10.0.0.2");
	s.want.to = s.b;
	s.want.t = (struct tuple){ .src = ctl_addr("10.0.0.1"),
		.dst = ctl_addr("10.0.0.2"),
		.dport = 5432,
		.proto = IPPROTO_TCP };
	on_sent = keep_probe;
	answered = 0;
	return s;
}

static void
end(struct setting *s)
{
	on_sent = NULL;
	probing_free(s->c->probing);
	s->c->probing = NULL;
	ctl_free(s->c);
}

static void
one_list_at_a_time_and_one_answer(void **state)
{
	struct setting s = begin();
	uint16_t first;

	assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), 0);
	first = last_head.sport;
	assert_true(first >= PROBE_PORT_MIN);
	assert_int_equal(last_head.cookie, 11);
	assert_int_equal(last_to.cookie, 12);
	assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), -EBUSY);
	send_answer(s.c, last_seq + 1, 0, 1);
	assert_int_equal(answered, 0);
	send_answer(s.c, last_seq, 0, 1);
	send_answer(s.c, last_seq, 0, 1);
	assert_int_equal(answered, 1);
	assert_int_equal(answer_error, 0);
	/* As many results as probes, or none counts. */
	assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), 0);
	assert_int_not_equal(last_head.sport, first);
	send_answer(s.c, last_seq, 0, 2);
	assert_int_equal(answer_error, -EBADMSG);
	assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), 0);
	send_answer(s.c, last_seq, -EPIPE, 0);
	assert_int_equal(answer_error, -EPIPE);
	/* The warden dies. */
	assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), 0);
	s.c->warden_ready = false;
	probing_on_warden_gone(s.c);
	assert_int_equal(answer_error, -ENOTCONN);
	assert_int_equal(answered, 4);
	assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), -ENOTCONN);
	end(&s);
}

static void
ports_are_not_used_again_too_soon(void **state)
{
	struct setting s = begin();
	unsigned n = 0;

	while (probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL) == 0) {
		send_answer(s.c, last_seq, 0, 1);
		assert_true(++n < 65536);
	}
	assert_int_equal(n, 65536 - PROBE_PORT_MIN);
	ctl_wait(131 * S);
	assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), 0);
	end(&s);
}

static void
a_probe_is_known_and_nothing_else(void **state)
{
	static const struct {
		const char *what, *src, *dst;
		int port_off;
		uint16_t dport;
		uint8_t proto, flags;
		unsigned after_ms; /* its end, which is 100 ms after its begin; 0: before */
		bool own;
		uint64_t netns; /* 0: of its sender */
	} t[] = {
		{ "itself", "10.0.0.1", "10.0.0.2", 0, 5432, IPPROTO_TCP, 0, 0, true },
		{ "read late", "10.0.0.1", "10.0.0.2", 0, 5432, IPPROTO_TCP, 0, 1900, true },
		{ "too late", "10.0.0.1", "10.0.0.2", 0, 5432, IPPROTO_TCP, 0, 2100, false },
		{ "in a dump", "10.0.0.1", "10.0.0.2", 0, 5432, IPPROTO_TCP, FLOW_F_FROM_DUMP,
		    100000, true },
		{ "in a dump much later", "10.0.0.1", "10.0.0.2", 0, 5432, IPPROTO_TCP,
		    FLOW_F_FROM_DUMP, 140000, false },
		{ "translated", "10.0.0.1", "10.0.0.9", 0, 80, IPPROTO_TCP, 0, 0, true },
		{ "whoever takes the port then", "10.0.0.1", "10.0.0.9", 0, 80, IPPROTO_TCP, 0, 500,
		    false },
		{ "another's port of that number", "10.0.0.2", "10.0.0.9", 0, 80, IPPROTO_TCP, 0, 0,
		    false },
		{ "another port", "10.0.0.1", "10.0.0.2", 1, 5432, IPPROTO_TCP, 0, 0, false },
		{ "a usual port", "10.0.0.1", "10.0.0.2", -20000, 5432, IPPROTO_TCP, 0, 0, false },
		{ "another's to the same port", "10.0.0.3", "10.0.0.2", 0, 5432, IPPROTO_TCP, 0, 0,
		    false, 13 },
		{ "another's, seen at the target", "10.0.0.3", "10.0.0.2", 0, 5432, IPPROTO_TCP, 0,
		    0, false, 12 },
		{ "the host's own", "10.0.0.254", "10.0.0.2", 0, 5432, IPPROTO_TCP, 0, 0, false,
		    1 },
		{ "seen at the target", "10.0.0.1", "10.0.0.2", 0, 5432, IPPROTO_TCP, 0, 0, true,
		    12 },
		{ "with the host's source at the target", "10.0.0.254", "10.0.0.2", 0, 5432,
		    IPPROTO_TCP, 0, 0, true, 12 },
		{ "another protocol, later", "10.0.0.1", "10.0.0.2", 0, 5432, IPPROTO_UDP, 0, 500,
		    false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct setting s = begin();
		struct flow_event ev = { .kind = FLOW_DENIED,
			.flags = t[i].flags,
			.netns = t[i].netns != 0 ? t[i].netns : 11 };

		ctl_instance(s.c, 13, "c", "10.0.0.3");
		ctl_instance(s.c, 1, "host", "10.0.0.254");

		assert_int_equal(probing_ask(s.c, s.a, &s.want, 1, 100, on_answer, NULL), 0);
		ev.tuple = (struct tuple){ .src = ctl_addr(t[i].src),
			.dst = ctl_addr(t[i].dst),
			.sport = (uint16_t)(last_head.sport + t[i].port_off),
			.dport = t[i].dport,
			.proto = t[i].proto };
		ctl_wait(100 * NSEC_PER_MSEC);
		ev.time_ns = fake_now;
		if (t[i].after_ms > 0) {
			send_answer(s.c, last_seq, 0, 1);
			ctl_wait(t[i].after_ms * NSEC_PER_MSEC);
			ev.time_ns = fake_now;
		}
		if (probing_is_own(s.c, &ev) != t[i].own)
			fail_msg("%s: expected %d", t[i].what, t[i].own);
		end(&s);
	}
}

static void
a_result_says_what_it_can(void **state)
{
	static const struct {
		uint8_t outcome, flags;
		enum probe_verdict at_source, at_destination;
	} t[] = {
		{ PROBE_UNSENT, 0, PROBE_UNCLEAR, PROBE_UNCLEAR },
		{ PROBE_HELD, 0, PROBE_DENIED, PROBE_UNCLEAR },
		{ PROBE_SILENT, 0, PROBE_PASSED, PROBE_UNCLEAR },
		{ PROBE_SILENT, PROBE_F_COUNTED, PROBE_PASSED, PROBE_DENIED },
		{ PROBE_SILENT, PROBE_F_ARRIVED, PROBE_PASSED, PROBE_PASSED },
		{ PROBE_SILENT, PROBE_F_ARRIVED | PROBE_F_COUNTED, PROBE_PASSED, PROBE_PASSED },
		{ PROBE_ANSWERED, 0, PROBE_PASSED, PROBE_PASSED },
		{ PROBE_RESET, 0, PROBE_PASSED, PROBE_UNCLEAR },
		{ PROBE_RESET, PROBE_F_COUNTED, PROBE_PASSED, PROBE_DENIED },
		{ PROBE_UNREACHABLE, PROBE_F_COUNTED, PROBE_PASSED, PROBE_DENIED },
		{ PROBE_ANSWERED, PROBE_F_TRANSLATED, PROBE_UNCLEAR, PROBE_UNCLEAR },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const struct p_result got = { .outcome = t[i].outcome, .flags = t[i].flags };

		assert_int_equal(probing_judge(&got, true), t[i].at_source);
		assert_int_equal(probing_judge(&got, false), t[i].at_destination);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_list_at_a_time_and_one_answer),
		cmocka_unit_test(ports_are_not_used_again_too_soon),
		cmocka_unit_test(a_probe_is_known_and_nothing_else),
		cmocka_unit_test(a_result_says_what_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
