/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages are hex with spaces, as in test-frame.c. Each is also cut at every length and parsed
 * from a heap block of exactly that size, so that a sanitizer sees a read too far.
 */
#include "rules/dns.h"

#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define QUERY(answers) "1234 8180 0001" answers "0000 0000 "
#define WWW                                                                                  \
	"03777777 076578616d706c65 03636f6d 00 " /* www.example.com at 12; example.com at 16 \
						  */
#define ASK(type) WWW type " 0001 "
#define A_RR(name, ttl, addr) name "0001 0001 " ttl " 0004 " addr " "
#define AAAA_RR(name, ttl) name "001c 0001 " ttl " 0010 20010db8000000000000000000000001 "
/* www -> cdn.example.com, its name at 45 */
#define CNAME "c00c 0005 0001 00000014 0006 0363646e c010 "
#define A_IN ASK("0001")
#define TTL60 "0000003c"
#define EDNS "00 0029 1000 00000000 000c 000a 0008 0102030405060708 " /* with a cookie */

static const struct {
	const char *what, *hex;
	int expect;
	const char *name, *addrs; /* addresses with spaces */
	uint32_t ttl_s;
	bool truncated, response;
} cases[] = {
	{ "a question", "1234 0100 0001 0000 0000 0000" A_IN, 0, "www.example.com", "", 0, false,
	    false },
	{ "an address", QUERY("0001") A_IN A_RR("c00c", TTL60, "cb007105"), 0, "www.example.com",
	    "203.0.113.5", 60, false, true },
	{ "a question with EDNS", "1234 0100 0001 0000 0000 0001" A_IN EDNS, 0, "www.example.com",
	    "", 0, false, false },
	{ "an answer with EDNS",
	    "1234 8180 0001 0001 0000 0001" A_IN A_RR("c00c", TTL60, "cb007105") EDNS, 0,
	    "www.example.com", "203.0.113.5", 60, false, true },
	{ "two addresses, the smaller lifetime",
	    QUERY("0002") A_IN A_RR("c00c", TTL60, "cb007105") A_RR("c00c", "00000005", "cb007106"),
	    0, "www.example.com", "203.0.113.5 203.0.113.6", 5, false, true },
	{ "an IPv6 address", QUERY("0001") ASK("001c") AAAA_RR("c00c", TTL60), 0, "www.example.com",
	    "2001:db8::1", 60, false, true },
	{ "an IPv4-mapped address",
	    QUERY("0001") ASK("001c") "c00c 001c 0001" TTL60
				      "0010 00000000000000000000ffffcb007105",
	    0, "www.example.com", "", 0, false, true },
	{ "upper case is the same name",
	    QUERY("0001") "03575757 074578416d506c65 03434f4d 00 0001 0001" A_RR(
		"c00c", TTL60, "cb007105"),
	    0, "www.example.com", "203.0.113.5", 60, false, true },
	{ "a chain", QUERY("0002") A_IN CNAME A_RR("c02d", TTL60, "cb007105"), 0, "www.example.com",
	    "203.0.113.5", 20, false, true },
	{ "a chain that ends without an address", QUERY("0001") A_IN CNAME, 0, "www.example.com",
	    "", 0, false, true },
	{ "an address of the chain's beginning is not its end's",
	    QUERY("0002") A_IN CNAME A_RR("c00c", TTL60, "cb007105"), 0, "www.example.com", "", 0,
	    false, true },
	{ "an address before the alias that leads to it",
	    QUERY("0002") A_IN "03636474 c010 0001 0001 0000003c 0004 cb007105 "
			       "c00c 0005 0001 00000014 0002 c021",
	    0, "www.example.com", "203.0.113.5", 20, false, true },
	{ "a chain backwards, with addresses on both sides of it",
	    QUERY("0004") A_IN "0163 c010 0001 0001 0000003c 0004 cb007105 "
			       "0162 c010 0005 0001 0000003c 0002 c021 "
			       "c00c 0005 0001 0000003c 0002 c033" A_RR("c021", TTL60, "cb007106"),
	    0, "www.example.com", "203.0.113.5 203.0.113.6", 60, false, true },
	{ "a chain that goes round",
	    QUERY("0003") A_IN
	    "c00c 0005 0001 0000003c 0004 0162 c010 c02d 0005 0001 0000003c 0002 c00c " A_RR(
		"0163 c010", TTL60, "cb007105"),
	    0, "www.example.com", "", 0, false, true },
	{ "an address of a name that was not asked for",
	    QUERY("0001") A_IN A_RR("c010", TTL60, "cb007105"), 0, "www.example.com", "", 0, false,
	    true },
	{ "an address of the other family",
	    QUERY("0001") ASK("001c") A_RR("c00c", TTL60, "cb007105"), 0, "www.example.com", "", 0,
	    false, true },
	{ "another class", QUERY("0001") A_IN "c00c 0001 0003 0000003c 0004 cb007105", 0,
	    "www.example.com", "", 0, false, true },
	{ "other records between",
	    QUERY("0002") A_IN "c00c 002e 0001 0000003c 0002 abcd" A_RR("c00c", TTL60, "cb007105"),
	    0, "www.example.com", "203.0.113.5", 60, false, true },
	{ "a lifetime with its first bit", QUERY("0001") A_IN A_RR("c00c", "80000001", "cb007105"),
	    0, "www.example.com", "203.0.113.5", 0, false, true },
	{ "no such name", "1234 8183 0001 0000 0000 0000" A_IN, 0, "www.example.com", "", 0, false,
	    true },
	{ "cut by the server inside a record",
	    "1234 8380 0001 0002 0000 0000" A_IN A_RR("c00c", TTL60, "cb007105") "c00c 0001", 0,
	    "www.example.com", "203.0.113.5", 60, true, true },
	{ "the root", "1234 0100 0001 0000 0000 0000 00 0002 0001", 0, "", "", 0, false, false },

	{ "two questions", "1234 0100 0002 0000 0000 0000" A_IN A_IN, -ENODATA },
	{ "an update", "1234 2800 0001 0000 0000 0000" A_IN, -ENODATA },
	{ "class CHAOS", "1234 0100 0001 0000 0000 0000" WWW "0001 0003", -ENODATA },
	{ "a blank in a name", "1234 0100 0001 0000 0000 0000 03772077 00 0001 0001", -ENODATA },
	{ "a dot in a label", "1234 0100 0001 0000 0000 0000 03772e77 00 0001 0001", -ENODATA },
	{ "a NUL in a label", "1234 0100 0001 0000 0000 0000 03770077 00 0001 0001", -ENODATA },

	{ "a pointer to itself", "1234 0100 0001 0000 0000 0000 c00c 0001 0001", -EBADMSG },
	{ "a pointer forwards", "1234 0100 0001 0000 0000 0000 c00e 0001 0001", -EBADMSG },
	{ "two pointers at each other",
	    QUERY("0001") A_IN "c023 c021 0001 0001 0000003c 0004 cb007105", -EBADMSG },
	{ "a reserved label", "1234 0100 0001 0000 0000 0000 4177 00 0001 0001", -EBADMSG },
	{ "an address of three bytes", QUERY("0001") A_IN "c00c 0001 0001 0000003c 0003 cb0071",
	    -EBADMSG },
	{ "an alias longer than its record",
	    QUERY("0001") A_IN "c00c 0005 0001 00000014 0003 0363646e c010", -EBADMSG },
	{ "more answers than there are", QUERY("0002") A_IN A_RR("c00c", TTL60, "cb007105"),
	    -EBADMSG },
	{ "nothing", "", -EBADMSG },
};

static size_t
from_hex(const char *hex, uint8_t *out, size_t room)
{
	size_t n = 0;
	unsigned byte;

	for (const char *p = hex; *p != '\0'; p += 2) {
		while (*p == ' ')
			p++;
		if (*p == '\0')
			break;
		assert_true(n < room && sscanf(p, "%2x", &byte) == 1);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

static void
addrs_text(const struct dns_message *m, char *out, size_t room)
{
	char text[ADDR_STRLEN];
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < m->n_addrs; i++) {
		addr_format(&m->addrs[i], text);
		len += (size_t)snprintf(out + len, room - len, "%s%s", i > 0 ? " " : "", text);
		assert_true(len < room);
	}
}

static void
each_message_gives_its_name_and_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t buf[512];
		char addrs[512];
		struct dns_message m = { .id = 7 };
		size_t len = from_hex(cases[i].hex, buf, sizeof(buf));
		int r = dns_parse(buf, len, &m);

		if (r != cases[i].expect)
			fail_msg("%s: %d, expected %d", cases[i].what, r, cases[i].expect);
		if (r < 0) {
			assert_int_equal(m.id, 7);
			continue;
		}
		addrs_text(&m, addrs, sizeof(addrs));
		if (strcmp(m.name, cases[i].name) != 0 || strcmp(addrs, cases[i].addrs) != 0 ||
		    m.ttl_s != cases[i].ttl_s || m.truncated != cases[i].truncated ||
		    m.response != cases[i].response)
			fail_msg("%s: %s [%s] ttl %u", cases[i].what, m.name, addrs, m.ttl_s);
		assert_int_equal(m.id, 0x1234);
	}
}

static void
a_cut_message_is_read_to_its_end_and_no_further(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t buf[512];
		size_t len = from_hex(cases[i].hex, buf, sizeof(buf));

		for (size_t cut = 0; cut < len; cut++) {
			uint8_t *block = malloc(cut + (cut == 0));
			struct dns_message m;
			int r;

			assert_non_null(block);
			memcpy(block, buf, cut);
			r = dns_parse(block, cut, &m);
			free(block);
			assert_true(r == 0 || r == -EBADMSG || r == -ENODATA);
		}
	}
}

static size_t
put_header(uint8_t *buf, uint16_t answers)
{
	static const uint8_t head[] = { 0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1,
		0, 1 };

	memcpy(buf, head, sizeof(head));
	buf[6] = (uint8_t)(answers >> 8);
	buf[7] = (uint8_t)answers;
	return sizeof(head);
}

static void
addresses_beyond_the_bound_are_said_to_be_missing(void **state)
{
	static const uint8_t rr[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, 0 };
	static uint8_t buf[64 + sizeof(rr) * 400];
	struct dns_message m;
	size_t at = put_header(buf, 400);

	(void)state;
	for (unsigned i = 0; i < 400; i++, at += sizeof(rr)) {
		memcpy(buf + at, rr, sizeof(rr));
		buf[at + 15] = (uint8_t)i;
	}
	assert_int_equal(dns_parse(buf, at, &m), 0);
	assert_int_equal(m.n_addrs, DNS_MAX_ADDRS);
	assert_true(m.truncated);
}

static void
a_name_ends_at_255_bytes(void **state)
{
	uint8_t buf[512] = { 0, 1, 1, 0, 0, 1 };
	struct dns_message m;
	size_t at;

	(void)state;
	/* 63 + 63 + 63 + last, with their lengths and the root. */
	for (unsigned last = 61; last <= 62; last++) {
		at = 12;
		for (unsigned k = 0; k < 4; k++) {
			unsigned n = k < 3 ? 63 : last;

			buf[at++] = (uint8_t)n;
			memset(buf + at, 'a', n);
			at += n;
		}
		memset(buf + at, 0, 5);
		buf[at + 2] = 1;
		buf[at + 4] = 1;
		assert_int_equal(dns_parse(buf, at + 5, &m), last == 61 ? 0 : -EBADMSG);
		if (last == 61)
			assert_int_equal(strlen(m.name), 253);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_gives_its_name_and_addresses),
		cmocka_unit_test(a_cut_message_is_read_to_its_end_and_no_further),
		cmocka_unit_test(addresses_beyond_the_bound_are_said_to_be_missing),
		cmocka_unit_test(a_name_ends_at_255_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
