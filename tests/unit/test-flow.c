/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/flow.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct tuple
tuple_of(const char *src, uint16_t sport, const char *dst, uint16_t dport, uint8_t proto)
{
	struct tuple t = { .sport = sport, .dport = dport, .proto = proto };

	assert_int_equal(addr_parse(src, &t.src), 0);
	assert_int_equal(addr_parse(dst, &t.dst), 0);
	return t;
}

static struct flow_event
good_event(void)
{
	return (struct flow_event){
		.netns = 1,
		.time_ns = 1,
		.tuple = tuple_of("10.0.0.1", 40000, "10.0.0.2", 443, IPPROTO_TCP),
		.kind = FLOW_ANSWERED,
		.tcp_state = 3,
		.count = 1,
	};
}

static void
every_field_of_a_tuple_counts(void **state)
{
	const struct tuple base = tuple_of("10.0.0.1", 1000, "10.0.0.2", 2000, IPPROTO_TCP);
	const struct tuple others[] = {
		tuple_of("10.0.0.3", 1000, "10.0.0.2", 2000, IPPROTO_TCP),
		tuple_of("10.0.0.1", 1001, "10.0.0.2", 2000, IPPROTO_TCP),
		tuple_of("10.0.0.1", 1000, "10.0.0.3", 2000, IPPROTO_TCP),
		tuple_of("10.0.0.1", 1000, "10.0.0.2", 2001, IPPROTO_TCP),
		tuple_of("10.0.0.1", 1000, "10.0.0.2", 2000, IPPROTO_UDP),
		tuple_of("10.0.0.2", 1000, "10.0.0.1", 2000, IPPROTO_TCP),
		tuple_of("10.0.0.1", 2000, "10.0.0.2", 1000, IPPROTO_TCP),
		tuple_of("a00:1::", 1000, "a00:2::", 2000, IPPROTO_TCP),
	};
	struct tuple same = base;

	assert_true(tuple_eq(&base, &same));
	assert_int_equal(tuple_hash(&base, 5), tuple_hash(&same, 5));
	assert_int_not_equal(tuple_hash(&base, 5), tuple_hash(&base, 6));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_false(tuple_eq(&base, &others[i]));
		assert_int_not_equal(tuple_hash(&base, 5), tuple_hash(&others[i], 5));
	}
}

static void
hashes_of_a_port_scan_spread(void **state)
{
	struct tuple t = tuple_of("10.0.0.1", 40000, "10.0.0.2", 0, IPPROTO_TCP);
	unsigned buckets[256] = { 0 };

	for (unsigned port = 0; port < 65536; port++) {
		t.dport = (uint16_t)port;
		buckets[tuple_hash(&t, 42) & 255]++;
	}
	/* 256 expected in each, standard deviation 16. */
	for (size_t i = 0; i < ARRAY_SIZE(buckets); i++)
		assert_in_range(buckets[i], 256 - 96, 256 + 96);
}

static void
reversing_twice_gives_the_same(void **state)
{
	struct tuple t = tuple_of("2001:db8::1", 1000, "2001:db8::2", 53, IPPROTO_UDP);
	struct tuple want = tuple_of("2001:db8::2", 53, "2001:db8::1", 1000, IPPROTO_UDP);
	struct tuple r = tuple_reverse(&t), back = tuple_reverse(&r);

	assert_true(tuple_eq(&r, &want));
	assert_true(tuple_eq(&back, &t));
}

static void
protocol_names_round_trip(void **state)
{
	static const struct {
		const char *name;
		uint8_t proto;
		bool icmp, port;
	} cases[] = {
		{ "tcp", 6, false, true },
		{ "udp", 17, false, true },
		{ "icmp", 1, true, false },
		{ "icmpv6", 58, true, false },
		{ "sctp", 132, false, true },
		{ NULL, 47, false, false },
		{ NULL, 0, false, false },
		{ NULL, 255, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(proto_is_icmp(cases[i].proto), cases[i].icmp);
		assert_int_equal(proto_has_port(cases[i].proto), cases[i].port);
		if (cases[i].name == NULL) {
			assert_null(proto_name(cases[i].proto));
			continue;
		}
		assert_string_equal(proto_name(cases[i].proto), cases[i].name);
		assert_int_equal(proto_parse(cases[i].name), cases[i].proto);
	}
	assert_int_equal(proto_parse(""), -EINVAL);
	assert_int_equal(proto_parse("TCP"), -EINVAL);
	assert_int_equal(proto_parse("tcp "), -EINVAL);
	assert_int_equal(proto_parse("6"), -EINVAL);
}

static void
good_events_are_taken(void **state)
{
	struct flow_event ev = good_event();

	assert_int_equal(flow_event_validate(&ev), 0);
	ev.flags = FLOW_F_MIDSTREAM | FLOW_F_ORIENTED | FLOW_F_FROM_DUMP | FLOW_F_FROM_SOCKET;
	assert_int_equal(flow_event_validate(&ev), 0);
	ev.tuple = tuple_of("fe80::1", 0, "ff02::fb", 0x8000, IPPROTO_ICMPV6);
	ev.tcp_state = 0;
	ev.kind = FLOW_ATTEMPT;
	assert_int_equal(flow_event_validate(&ev), 0);
	ev.kind = FLOW_DENIED;
	ev.dir = DIR_INGRESS;
	assert_int_equal(flow_event_validate(&ev), 0);
	ev.kind = FLOW_AUDITED;
	ev.dir = DIR_EGRESS;
	assert_int_equal(flow_event_validate(&ev), 0);
}

static void
each_broken_field_is_refused(void **state)
{
	const struct flow_event good = good_event();

#define REFUSED(change)                                   \
	do {                                              \
		struct flow_event ev = good;              \
		change;                                   \
		if (flow_event_validate(&ev) != -EBADMSG) \
			fail_msg("taken: %s", #change);   \
	} while (0)

	REFUSED(ev.kind = 0);
	REFUSED(ev.kind = FLOW_AUDITED + 1);
	REFUSED(ev.kind = 255);
	REFUSED(ev.dir = DIR_INGRESS);
	REFUSED(ev.dir = 3);
	REFUSED(ev.kind = FLOW_DENIED);
	REFUSED(ev.kind = FLOW_AUDITED; ev.dir = 3);
	REFUSED(ev.flags = FLOW_F_REFUSED);
	REFUSED(ev.flags = FLOW_F_ONE_WAY);
	REFUSED(ev.flags = 0x80);
	REFUSED(ev.count = 0);
	REFUSED(ev.zero = 1);
	REFUSED(ev.tuple.zero[2] = 1);
	REFUSED(ev.tuple.src.zero[0] = 1);
	REFUSED(ev.tuple.dst.zero[2] = 1);
	REFUSED(ev.tuple.src.family = 0);
	REFUSED(ev.tuple.dst.family = 0);
	REFUSED(ev.tuple.src.family = 5; ev.tuple.dst.family = 5);
	REFUSED(ev.tuple.src.family = 0; ev.tuple.dst.family = 0);
	REFUSED(ev.tuple.src.family = 6);
	REFUSED(ev.tuple.dst.family = 6);
	REFUSED(ev.tuple.src.bytes[4] = 1);
	REFUSED(ev.tuple.dst.bytes[15] = 1);
	REFUSED(ev.tuple.proto = IPPROTO_UDP);
	/* ::ffff:10.0.0.1 as IPv6 would be a second value for 10.0.0.1. */
	REFUSED(ev.tuple = tuple_of("2001:db8::1", 1, "2001:db8::2", 2, IPPROTO_TCP);
		memset(ev.tuple.src.bytes, 0, 10); ev.tuple.src.bytes[10] = 0xff;
		ev.tuple.src.bytes[11] = 0xff);
#undef REFUSED
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_a_tuple_counts),
		cmocka_unit_test(hashes_of_a_port_scan_spread),
		cmocka_unit_test(reversing_twice_gives_the_same),
		cmocka_unit_test(protocol_names_round_trip),
		cmocka_unit_test(good_events_are_taken),
		cmocka_unit_test(each_broken_field_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
