/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/probe_packet.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct addr
addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* RFC 9293, 3.1: the sum over pseudo header and segment, the checksum included, is all ones. */
static void
a_syn_of_ipv4_has_its_checksum(void **state)
{
	static const char *const ends[][2] = { { "10.1.2.3", "10.1.2.4" },
		{ "192.0.2.255", "203.0.113.1" }, { "0.0.0.1", "255.255.255.254" } };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct tuple t = { .src = addr_of(ends[i][0]),
			.dst = addr_of(ends[i][1]),
			.sport = 61234,
			.dport = 5432 };
		uint8_t p[12 + PROBE_SYN_LEN] = { 0 };
		uint32_t sum = 0;

		memcpy(p, t.src.bytes, 4);
		memcpy(p + 4, t.dst.bytes, 4);
		p[9] = IPPROTO_TCP;
		p[11] = PROBE_SYN_LEN;
		probe_syn(&t, 0xfeedbeef, p + 12);
		for (size_t k = 0; k < sizeof(p); k += 2)
			sum += (uint32_t)(p[k] << 8 | p[k + 1]);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal(sum, 0xffff);
	}
}

static void
a_syn_is_bare(void **state)
{
	static const uint8_t want[PROBE_SYN_LEN] = { 0xee, 0x48, 0x15, 0x38, 1, 2, 3, 4, 0, 0, 0, 0,
		0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0 };
	struct tuple t = {
		.src = addr_of("fd00::1"), .dst = addr_of("fd00::2"), .sport = 61000, .dport = 5432
	};
	uint8_t got[PROBE_SYN_LEN];

	probe_syn(&t, 0x01020304, got);
	assert_memory_equal(got, want, sizeof(want));
}

static const uint8_t header4[20] = { 0x45, [9] = IPPROTO_TCP };

static size_t
segment(uint8_t *buf, size_t head, uint8_t flags)
{
	static const uint8_t tcp[20] = { 0x15, 0x38, 0xee, 0x48, [8] = 1, 2, 3, 5, [12] = 0x50 };

	memset(buf, 0, 64);
	memcpy(buf, header4, MIN(head, sizeof(header4)));
	if (head > 0)
		buf[0] = (uint8_t)(0x40 | head / 4);
	memcpy(buf + head, tcp, sizeof(tcp));
	buf[head + 13] = flags;
	return head + sizeof(tcp);
}

static void
an_answer_is_read_with_and_without_options(void **state)
{
	static const struct {
		uint8_t family;
		size_t head;
		uint8_t flags;
		int ret;
		bool syn_ack;
	} t[] = {
		{ 4, 20, 0x12, 0, true },
		{ 4, 24, 0x12, 0, true },
		{ 4, 20, 0x14, 0, false },
		{ 6, 0, 0x12, 0, true },
		{ 6, 0, 0x14, 0, false },
		{ 6, 0, 0x52, 0, true }, /* ECE */
		{ 4, 20, 0x02, -EBADMSG, false },
		{ 4, 20, 0x10, -EBADMSG, false },
		{ 4, 20, 0x04, -EBADMSG, false },
		{ 4, 20, 0x16, -EBADMSG, false },
		{ 4, 16, 0x12, -EBADMSG, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct probe_segment s = { 0 };
		uint8_t buf[64];
		size_t len = segment(buf, t[i].head, t[i].flags);

		assert_int_equal(probe_segment_parse(t[i].family, buf, len, &s), t[i].ret);
		if (t[i].ret < 0)
			continue;
		assert_int_equal(s.sport, 5432);
		assert_int_equal(s.dport, 61000);
		assert_int_equal(s.ack, 0x01020305);
		assert_int_equal(s.syn_ack, t[i].syn_ack);
		assert_int_equal(s.reset, !t[i].syn_ack);
	}
}

static void
what_is_cut_off_is_refused_at_every_length(void **state)
{
	struct probe_segment s;
	uint8_t buf[64];

	for (size_t len = segment(buf, 20, 0x12); len-- > 0;)
		assert_int_equal(probe_segment_parse(4, buf, len, &s), -EBADMSG);
	for (size_t len = segment(buf, 0, 0x12); len-- > 0;)
		assert_int_equal(probe_segment_parse(6, buf, len, &s), -EBADMSG);
	segment(buf, 20, 0x12);
	buf[9] = IPPROTO_UDP;
	assert_int_equal(probe_segment_parse(4, buf, 40, &s), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_syn_of_ipv4_has_its_checksum),
		cmocka_unit_test(a_syn_is_bare),
		cmocka_unit_test(an_answer_is_read_with_and_without_options),
		cmocka_unit_test(what_is_cut_off_is_refused_at_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
