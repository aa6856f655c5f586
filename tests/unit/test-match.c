/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/match.h"
#include "rules/util.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct addr
at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void
add(struct ruleset *r, enum flow_dir dir, bool allow, uint8_t proto, const char *lo, const char *hi,
    uint16_t port_lo, uint16_t port_hi)
{
	r->elems[r->n_elems++] = (struct ruleset_elem){
		.lo = at(lo),
		.hi = at(hi),
		.edge = r->n_elems,
		.port_lo = port_lo,
		.port_hi = port_hi,
		.proto = proto,
		.dir = (uint8_t)dir,
		.allow = allow,
	};
}

static struct ruleset *
rules(enum wl_mode in, enum wl_mode out)
{
	struct ruleset *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->elems = calloc(16, sizeof(*r->elems));
	assert_non_null(r->elems);
	r->in_mode = in;
	r->out_mode = out;
	add(r, DIR_INGRESS, true, IPPROTO_TCP, "10.0.0.1", "10.0.0.1", 80, 80);
	add(r, DIR_INGRESS, true, IPPROTO_TCP, "10.0.0.2", "10.0.0.2", 80, 80);
	add(r, DIR_INGRESS, true, IPPROTO_UDP, "10.1.0.0", "10.1.255.255", 53, 60);
	add(r, DIR_INGRESS, false, IPPROTO_UDP, "10.1.2.3", "10.1.2.3", 55, 55);
	add(r, DIR_INGRESS, false, IPPROTO_TCP, "10.0.0.2", "10.0.0.3", 0, 65535);
	add(r, DIR_EGRESS, true, IPPROTO_TCP, "fd00::1", "fd00::1", 443, 443);
	add(r, DIR_EGRESS, true, IPPROTO_ICMPV6, "fd00::", "fd00::ff", 128 << 8, 128 << 8);
	ruleset_normalise(r);
	return r;
}

static const struct {
	enum flow_dir dir;
	uint8_t proto;
	const char *other;
	uint16_t port;
	bool refused;
} cases[] = {
	{ DIR_INGRESS, IPPROTO_TCP, "10.0.0.1", 80, false },
	{ DIR_INGRESS, IPPROTO_TCP, "10.0.0.1", 81, true },
	{ DIR_INGRESS, IPPROTO_UDP, "10.0.0.1", 80, true },
	{ DIR_EGRESS, IPPROTO_TCP, "10.0.0.1", 80, true },
	{ DIR_INGRESS, IPPROTO_TCP, "10.0.0.2", 80, true }, /* a denial beats it */
	{ DIR_INGRESS, IPPROTO_UDP, "10.1.0.0", 53, false },
	{ DIR_INGRESS, IPPROTO_UDP, "10.1.255.255", 60, false },
	{ DIR_INGRESS, IPPROTO_UDP, "10.1.255.255", 61, true },
	{ DIR_INGRESS, IPPROTO_UDP, "10.2.0.0", 53, true },
	{ DIR_INGRESS, IPPROTO_UDP, "10.1.2.3", 55, true },
	{ DIR_INGRESS, IPPROTO_UDP, "10.1.2.3", 56, false },
	{ DIR_EGRESS, IPPROTO_TCP, "fd00::1", 443, false },
	{ DIR_EGRESS, IPPROTO_TCP, "fd00::2", 443, true },
	{ DIR_EGRESS, IPPROTO_ICMPV6, "fd00::ff", 128 << 8, false },
	{ DIR_EGRESS, IPPROTO_ICMPV6, "fd00::ff", 129 << 8, true },
	{ DIR_EGRESS, 47, "fd00::1", 0, true },
};

static void
refuses_what_no_element_allows_or_one_denies(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = rules(MODE_ENFORCE, MODE_ENFORCE);
	_cleanup_(match_freep) struct match *m = NULL;

	assert_int_equal(match_new(r, &m), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr other = at(cases[i].other);

		if (match_refuses(m, cases[i].dir, &other, cases[i].proto, cases[i].port) !=
		    cases[i].refused)
			fail_msg("case %zu", i);
	}
}

static void
refuses_nothing_in_a_direction_that_is_not_enforced(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = rules(MODE_AUDIT, MODE_ENFORCE);
	_cleanup_(match_freep) struct match *m = NULL;

	assert_int_equal(match_new(r, &m), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr other = at(cases[i].other);

		if (match_refuses(m, cases[i].dir, &other, cases[i].proto, cases[i].port) !=
		    (cases[i].refused && cases[i].dir == DIR_EGRESS))
			fail_msg("case %zu", i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_no_element_allows_or_one_denies),
		cmocka_unit_test(refuses_nothing_in_a_direction_that_is_not_enforced),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
