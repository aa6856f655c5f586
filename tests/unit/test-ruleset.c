/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/range.h"
#include "rules/ruleset.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* Places in the binary form, from its description at the head of ruleset.c. */
#define HEAD 24
#define ELEM 64
#define OFF_VERSION 4
#define OFF_IN_MODE 8
#define OFF_ZERO 10
#define OFF_REPORT 12
#define OFF_N_ELEMS 16
#define OFF_N_LOCAL 20
#define ELEM_HI 20
#define ELEM_PORT_LO 48
#define ELEM_PORT_HI 50
#define ELEM_PROTO 52
#define ELEM_DIR 53
#define ELEM_ALLOW 54
#define ELEM_ZERO 55

static struct addr
A(const char *text) {
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct ruleset_elem
E(enum flow_dir dir, int allow, const char *lo, const char *hi, int proto, int port_lo, int port_hi,
    uint64_t edge) {
	return (struct ruleset_elem){ .lo = A(lo),
		.hi = A(hi),
		.edge = edge,
		.port_lo = port_lo,
		.port_hi = port_hi,
		.proto = proto,
		.dir = dir,
		.allow = allow };
}

static struct ruleset *
ruleset_make(const struct ruleset_elem *elems, size_t n, const char *const *local, size_t n_local)
{
	struct ruleset *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->in_mode = MODE_ENFORCE;
	r->out_mode = MODE_AUDIT;
	r->report_per_second = 50;
	r->elems = calloc(n + 1, sizeof(*elems));
	r->local = calloc(n_local + 1, sizeof(*r->local));
	assert_non_null(r->elems);
	assert_non_null(r->local);
	if (n > 0)
		memcpy(r->elems, elems, n * sizeof(*elems));
	r->n_elems = n;
	for (size_t i = 0; i < n_local; i++)
		r->local[i] = A(local[i]);
	r->n_local = n_local;
	return r;
}

static struct ruleset *
sample(void)
{
	const struct ruleset_elem elems[] = {
		E(DIR_INGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 8080, 8080, 3),
		E(DIR_INGRESS, 1, "10.2.0.0", "10.2.255.255", IPPROTO_TCP, 1, 1024, 4),
		E(DIR_INGRESS, 0, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 22, 22, 5),
		E(DIR_EGRESS, 1, "fd00::1", "fd00::9", IPPROTO_UDP, 53, 53, 0x0123456789ab),
		E(DIR_EGRESS, 1, "10.0.0.9", "10.0.0.9", IPPROTO_ICMP, 8 << 8, 8 << 8, 7),
		E(DIR_EGRESS, 1, "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", IPPROTO_ICMPV6,
		    128 << 8, 128 << 8 | 255, 8),
	};
	static const char *const local[] = { "fd00::9", "10.0.0.9", "10.0.0.1", "10.0.0.9" };
	struct ruleset *r = ruleset_make(elems, ARRAY_SIZE(elems), local, ARRAY_SIZE(local));

	ruleset_normalise(r);
	return r;
}

static void
an_exact_element_has_one_address_and_one_port(void **state)
{
	struct ruleset_elem e = E(DIR_INGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 1, 1, 1);

	assert_true(ruleset_elem_is_exact(&e));
	e.port_hi = 2;
	assert_false(ruleset_elem_is_exact(&e));
	e.port_hi = 1;
	e.hi = A("10.0.0.2");
	assert_false(ruleset_elem_is_exact(&e));
}

static void
normalise_sorts_and_keeps_the_smallest_edge_of_equals(void **state)
{
	const struct ruleset_elem elems[] = {
		E(DIR_INGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 80, 80, 9),
		E(DIR_INGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 80, 80, 2),
		E(DIR_INGRESS, 0, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 80, 80, 5),
		E(DIR_INGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 80, 80, 2),
	};
	static const char *const local[] = { "10.0.0.2", "10.0.0.1", "10.0.0.2" };
	_cleanup_(ruleset_freep) struct ruleset *r =
	    ruleset_make(elems, ARRAY_SIZE(elems), local, ARRAY_SIZE(local));

	ruleset_normalise(r);
	assert_int_equal(r->n_elems, 2);
	assert_int_equal(r->elems[0].allow, 0);
	assert_int_equal(r->elems[0].edge, 5);
	assert_int_equal(r->elems[1].edge, 2);
	assert_int_equal(r->n_local, 2);
	assert_int_equal(r->local[0].bytes[3], 1);
}

static void
what_is_encoded_decodes_to_the_same_bytes_and_digest(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = sample(), *back = NULL;
	uint8_t d1[RULESET_DIGEST_LEN], d2[RULESET_DIGEST_LEN];
	_cleanup_free_ uint8_t *buf = NULL, *again = NULL;
	size_t len, again_len;

	assert_int_equal(ruleset_encode(r, &buf, &len), 0);
	assert_int_equal(len, HEAD + r->n_elems * ELEM + r->n_local * 20);
	assert_int_equal(ruleset_decode(buf, len, &back), 0);
	assert_int_equal(back->n_elems, r->n_elems);
	assert_memory_equal(back->elems, r->elems, r->n_elems * sizeof(*r->elems));
	assert_memory_equal(back->local, r->local, r->n_local * sizeof(*r->local));
	assert_int_equal(back->in_mode, MODE_ENFORCE);
	assert_int_equal(back->out_mode, MODE_AUDIT);
	assert_int_equal(ruleset_encode(back, &again, &again_len), 0);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, buf, len);

	assert_int_equal(ruleset_digest(r, d1), 0);
	assert_int_equal(ruleset_digest(back, d2), 0);
	assert_memory_equal(d1, d2, sizeof(d1));
	back->elems[0].edge++;
	assert_int_equal(ruleset_digest(back, d2), 0);
	assert_memory_not_equal(d1, d2, sizeof(d1));
}

static void
an_empty_ruleset_has_a_form_too(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = ruleset_make(NULL, 0, NULL, 0), *back = NULL;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	assert_int_equal(ruleset_encode(r, &buf, &len), 0);
	assert_int_equal(len, HEAD);
	assert_int_equal(ruleset_decode(buf, len, &back), 0);
	assert_int_equal(back->n_elems, 0);
	assert_int_equal(back->n_local, 0);
}

static void
every_truncation_and_every_trailing_byte_is_refused(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = sample();
	_cleanup_free_ uint8_t *buf = NULL;
	struct ruleset *back = NULL;
	size_t len, n;
	uint8_t *cut;

	assert_int_equal(ruleset_encode(r, &buf, &len), 0);
	for (n = 0; n < len; n++) {
		/* A buffer of exactly n bytes, so that a sanitizer sees a read beyond it. */
		cut = malloc(n > 0 ? n : 1);
		assert_non_null(cut);
		memcpy(cut, buf, n);
		assert_int_equal(ruleset_decode(cut, n, &back), -EBADMSG);
		free(cut);
	}
	cut = calloc(1, len + 1);
	assert_non_null(cut);
	memcpy(cut, buf, len);
	assert_int_equal(ruleset_decode(cut, len + 1, &back), -EBADMSG);
	free(cut);
	assert_null(back);
}

static void
put(uint8_t *buf, size_t off, uint64_t value, size_t size)
{
	memcpy(buf + off, &value, size); /* little endian machines only see the low bytes */
}

/* One field of the sample overwritten. Element 0: "in deny tcp 10.0.0.1 22", 4 is IPv6. */
static const struct attack {
	const char *what;
	size_t elem; /* 0: in the header, else 1 + index of the element */
	size_t off, size;
	uint64_t value;
} attacks[] = {
	{ "magic", 0, 0, 4, 0x12345678 },
	{ "version of tomorrow", 0, OFF_VERSION, 4, 2 },
	{ "mode beyond enforce", 0, OFF_IN_MODE, 1, 3 },
	{ "egress mode 255", 0, OFF_IN_MODE + 1, 1, 255 },
	{ "padding of the head", 0, OFF_ZERO, 1, 1 },
	{ "padding of the head", 0, OFF_ZERO + 1, 1, 1 },
	{ "no reports at all", 0, OFF_REPORT, 4, 0 },
	{ "report flood", 0, OFF_REPORT, 4, 10001 },
	{ "one element more than there is", 0, OFF_N_ELEMS, 4, 7 },
	{ "one element less", 0, OFF_N_ELEMS, 4, 5 },
	{ "four billion elements", 0, OFF_N_ELEMS, 4, 0xffffffff },
	{ "a count that wraps 32 bits", 0, OFF_N_ELEMS, 4, 0x04000006 },
	{ "four billion locals", 0, OFF_N_LOCAL, 4, 0xffffffff },
	{ "first above last address", 1, 4, 1, 11 },
	{ "last below first address", 1, ELEM_HI + 4, 1, 9 },
	{ "family 0", 1, 0, 1, 0 },
	{ "family 5", 1, 0, 1, 5 },
	{ "mixed families", 1, ELEM_HI, 1, 6 },
	{ "padding of an address", 1, 1, 1, 1 },
	{ "bytes an IPv4 address does not have", 1, 8, 1, 1 },
	{ "the same in the last address", 1, ELEM_HI + 19, 1, 1 },
	{ "first port above last", 1, ELEM_PORT_LO, 2, 23 },
	{ "last port below first", 1, ELEM_PORT_HI, 2, 21 },
	{ "protocol 0", 1, ELEM_PROTO, 1, 0 },
	{ "protocol GRE", 1, ELEM_PROTO, 1, 47 },
	{ "protocol 255", 1, ELEM_PROTO, 1, 255 },
	{ "ICMPv6 to an IPv4 address", 1, ELEM_PROTO, 1, IPPROTO_ICMPV6 },
	{ "direction 0", 1, ELEM_DIR, 1, 0 },
	{ "direction 3", 1, ELEM_DIR, 1, 3 },
	{ "verdict 2", 1, ELEM_ALLOW, 1, 2 },
	{ "padding of an element", 1, ELEM_ZERO, 1, 1 },
	{ "last byte of an element's padding", 1, ELEM_ZERO + 8, 1, 1 },
	{ "out of order", 1, ELEM_DIR, 1, DIR_EGRESS },
};

static void
every_attack_on_a_field_is_refused(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = sample();
	_cleanup_free_ uint8_t *good = NULL;
	struct ruleset *back = NULL;
	uint8_t bad[1024];
	size_t len, i, off;

	assert_int_equal(ruleset_encode(r, &good, &len), 0);
	assert_true(len <= sizeof(bad));
	assert_int_equal(r->n_elems, 6);
	assert_int_equal(good[HEAD + ELEM_ALLOW], 0);
	for (i = 0; i < ARRAY_SIZE(attacks); i++) {
		memcpy(bad, good, len);
		off = attacks[i].off;
		if (attacks[i].elem > 0)
			off += HEAD + (attacks[i].elem - 1) * ELEM;
		put(bad, off, attacks[i].value, attacks[i].size);
		assert_memory_not_equal(bad, good, len);
		if (ruleset_decode(bad, len, &back) != -EBADMSG)
			fail_msg("accepted: %s", attacks[i].what);
	}
	assert_null(back);
}

static void
swapped_and_repeated_entries_are_refused(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = sample();
	_cleanup_free_ uint8_t *buf = NULL;
	struct ruleset *back = NULL;
	uint8_t keep[ELEM], *local;
	size_t len;

	assert_int_equal(ruleset_encode(r, &buf, &len), 0);
	memcpy(keep, buf + HEAD, ELEM);
	memcpy(buf + HEAD, buf + HEAD + ELEM, ELEM);
	assert_int_equal(ruleset_decode(buf, len, &back), -EBADMSG);
	/* The same element for another edge is still the same element. */
	buf[HEAD + 40] ^= 1;
	assert_int_equal(ruleset_decode(buf, len, &back), -EBADMSG);
	buf[HEAD + 40] ^= 1;
	memcpy(buf + HEAD + ELEM, keep, ELEM);
	assert_int_equal(ruleset_decode(buf, len, &back), -EBADMSG);
	memcpy(buf + HEAD + ELEM, buf + HEAD, ELEM);
	memcpy(buf + HEAD, keep, ELEM);

	local = buf + HEAD + 6 * ELEM;
	memcpy(keep, local, 20);
	memcpy(local, local + 20, 20);
	assert_int_equal(ruleset_decode(buf, len, &back), -EBADMSG);
	memcpy(local + 20, keep, 20);
	assert_int_equal(ruleset_decode(buf, len, &back), -EBADMSG);
	memcpy(local, keep, 20);
	local[19] = 1;
	assert_int_equal(ruleset_decode(buf, len, &back), -EBADMSG);
	assert_null(back);
}

static void
what_would_not_decode_is_not_encoded(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = sample();
	uint8_t digest[RULESET_DIGEST_LEN];
	struct ruleset_elem first = r->elems[0];
	uint8_t *buf = NULL;
	size_t len;

	r->elems[0] = r->elems[1];
	assert_int_equal(ruleset_encode(r, &buf, &len), -EINVAL);
	assert_int_equal(ruleset_digest(r, digest), -EINVAL);
	r->elems[0] = first;
	r->elems[0].proto = IPPROTO_GRE;
	assert_int_equal(ruleset_encode(r, &buf, &len), -EINVAL);
	r->elems[0] = first;
	r->n_elems = RULESET_MAX_ELEMENTS + 1;
	assert_int_equal(ruleset_encode(r, &buf, &len), -E2BIG);
	r->n_elems = 6;
	r->n_local = RULESET_MAX_LOCAL + 1;
	assert_int_equal(ruleset_encode(r, &buf, &len), -E2BIG);
	assert_null(buf);
}

static void
an_element_is_judged_on_its_own_too(void **state)
{
	const struct {
		struct ruleset_elem e;
		int want;
	} cases[] = {
		{ E(DIR_EGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_SCTP, 1, 1, 1), 0 },
		{ E(DIR_EGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_ICMP, 1, 1, 1), 0 },
		{ E(DIR_EGRESS, 1, "fd00::1", "fd00::1", IPPROTO_ICMPV6, 1, 1, 1), 0 },
		{ E(DIR_EGRESS, 1, "fd00::1", "fd00::1", IPPROTO_ICMP, 1, 1, 1), -EINVAL },
		{ E(DIR_EGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_ICMPV6, 1, 1, 1), -EINVAL },
		{ E(DIR_EGRESS, 2, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 1, 1, 1), -EINVAL },
		{ E(0, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 1, 1, 1), -EINVAL },
		{ E(3, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 1, 1, 1), -EINVAL },
		{ E(DIR_EGRESS, 1, "10.0.0.2", "10.0.0.1", IPPROTO_TCP, 1, 1, 1), -EINVAL },
		{ E(DIR_EGRESS, 1, "10.0.0.2", "fd00::1", IPPROTO_TCP, 1, 1, 1), -EINVAL },
		{ E(DIR_EGRESS, 1, "10.0.0.1", "10.0.0.1", IPPROTO_TCP, 2, 1, 1), -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(ruleset_freep) struct ruleset *r = ruleset_make(&cases[i].e, 1, NULL, 0);
		_cleanup_free_ uint8_t *buf = NULL;
		size_t len;

		if (ruleset_encode(r, &buf, &len) != cases[i].want)
			fail_msg("case %zu", i);
	}
}

static void
the_largest_ruleset_goes_through(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = ruleset_make(NULL, 0, NULL, 0), *back = NULL;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t i, len;

	r->elems = realloc(r->elems, RULESET_MAX_ELEMENTS * sizeof(*r->elems));
	assert_non_null(r->elems);
	for (i = 0; i < RULESET_MAX_ELEMENTS; i++) {
		r->elems[i] = E(DIR_EGRESS, 1, "10.0.0.0", "10.0.0.0", IPPROTO_TCP, 1, 1, i);
		r->elems[i].lo.bytes[1] = r->elems[i].hi.bytes[1] = (uint8_t)(i >> 16);
		r->elems[i].lo.bytes[2] = r->elems[i].hi.bytes[2] = (uint8_t)(i >> 8);
		r->elems[i].lo.bytes[3] = r->elems[i].hi.bytes[3] = (uint8_t)i;
	}
	r->n_elems = RULESET_MAX_ELEMENTS;
	assert_int_equal(ruleset_encode(r, &buf, &len), 0);
	assert_int_equal(ruleset_decode(buf, len, &back), 0);
	assert_int_equal(back->n_elems, RULESET_MAX_ELEMENTS);
}

static void
text_says_every_fact_on_a_line(void **state)
{
	_cleanup_(ruleset_freep) struct ruleset *r = sample();
	_cleanup_free_ char *text = NULL;

	assert_int_equal(ruleset_print(r, &text), 0);
	assert_string_equal(text, "ingress enforce\n"
				  "egress audit\n"
				  "report 50 per second\n"
				  "in from 10.0.0.1 tcp 22 deny e-000000000005\n"
				  "in from 10.0.0.1 tcp 8080 allow e-000000000003\n"
				  "in from 10.2.0.0/16 tcp 1-1024 allow e-000000000004\n"
				  "out to 10.0.0.9 icmp type 8 code 0 allow e-000000000007\n"
				  "out to fd00::1-fd00::9 udp 53 allow e-0123456789ab\n"
				  "out to ::/0 icmpv6 type 128 code 0-255 allow e-000000000008\n"
				  "local 10.0.0.1\n"
				  "local 10.0.0.9\n"
				  "local fd00::9\n");
}

/* Elements that overlap, and what must be left of them. */
static void
disjoin(const struct ruleset_elem *in, size_t n_in, const struct ruleset_elem *out, size_t n_out)
{
	_cleanup_(ruleset_freep) struct ruleset *r = ruleset_make(in, n_in, NULL, 0);

	assert_int_equal(ruleset_disjoin(r), 0);
	assert_int_equal(r->n_elems, n_out);
	for (size_t i = 0; i < n_out; i++)
		assert_int_equal(ruleset_elem_cmp(&r->elems[i], &out[i]), 0);
}
#define IN(...) E(DIR_INGRESS, 1, __VA_ARGS__)
#define DISJOIN(in, out) disjoin(in, ARRAY_SIZE(in), out, ARRAY_SIZE(out))

static void
a_range_inside_another_vanishes(void **state)
{
	const struct ruleset_elem in[] = {
		IN("10.1.0.0", "10.1.255.255", IPPROTO_TCP, 443, 443, 1),
		IN("10.0.0.0", "10.255.255.255", IPPROTO_TCP, 400, 500, 2),
	};
	const struct ruleset_elem out[] = {
		IN("10.0.0.0", "10.255.255.255", IPPROTO_TCP, 400, 500, 2),
	};

	DISJOIN(in, out);
}

static void
ranges_that_cross_are_cut_where_they_meet(void **state)
{
	const struct ruleset_elem addresses[] = {
		IN("10.0.0.0", "10.0.0.9", IPPROTO_TCP, 1, 1, 1),
		IN("10.0.0.5", "10.0.0.20", IPPROTO_TCP, 1, 1, 2),
		IN("10.0.0.10", "10.0.0.10", IPPROTO_TCP, 1, 2, 3),
	};
	const struct ruleset_elem addresses_out[] = {
		IN("10.0.0.0", "10.0.0.9", IPPROTO_TCP, 1, 1, 1),
		IN("10.0.0.10", "10.0.0.10", IPPROTO_TCP, 2, 2, 3),
		IN("10.0.0.10", "10.0.0.20", IPPROTO_TCP, 1, 1, 2),
	};
	const struct ruleset_elem ports[] = {
		IN("10.0.0.0", "10.0.0.9", IPPROTO_TCP, 10, 20, 1),
		IN("10.0.0.5", "10.0.0.9", IPPROTO_TCP, 5, 25, 2),
	};
	const struct ruleset_elem ports_out[] = {
		IN("10.0.0.0", "10.0.0.9", IPPROTO_TCP, 10, 20, 1),
		IN("10.0.0.5", "10.0.0.9", IPPROTO_TCP, 5, 9, 2),
		IN("10.0.0.5", "10.0.0.9", IPPROTO_TCP, 21, 25, 2),
	};

	DISJOIN(addresses, addresses_out);
	DISJOIN(ports, ports_out);
}

static void
exact_elements_and_other_groups_are_left_alone(void **state)
{
	const struct ruleset_elem in[] = {
		E(DIR_INGRESS, 0, "10.0.0.0", "10.0.0.255", IPPROTO_TCP, 80, 80, 1),
		IN("10.0.0.0", "10.0.0.255", IPPROTO_TCP, 80, 80, 2),
		IN("10.0.0.7", "10.0.0.7", IPPROTO_TCP, 80, 80, 3),
		IN("10.0.0.0", "10.0.0.255", IPPROTO_UDP, 80, 80, 4),
		IN("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", IPPROTO_UDP, 0, 65535, 5),
		E(DIR_EGRESS, 1, "10.0.0.0", "10.0.0.255", IPPROTO_TCP, 80, 80, 6),
	};

	DISJOIN(in, in);
}

static void
work_without_end_is_refused(void **state)
{
	const struct ruleset_elem all = IN("10.0.0.0", "10.255.255.255", IPPROTO_TCP, 0, 0, 1);
	const struct ruleset_elem one = IN("10.0.0.0", "10.0.0.0", IPPROTO_TCP, 0, 65535, 2);
	_cleanup_(ruleset_freep) struct ruleset *r = ruleset_make(NULL, 0, NULL, 0);
	struct ruleset_elem *e;
	size_t i;

	r->elems = realloc(r->elems, RULESET_MAX_ELEMENTS * sizeof(*r->elems));
	assert_non_null(r->elems);
	for (i = 0; i < RULESET_MAX_ELEMENTS; i++) {
		e = &r->elems[i];
		*e = i < 65536 ? all : one;
		if (i < 65536) {
			e->port_lo = e->port_hi = (uint16_t)i;
		} else {
			e->lo.bytes[1] = e->hi.bytes[1] = (uint8_t)(i >> 16);
			e->lo.bytes[2] = e->hi.bytes[2] = (uint8_t)(i >> 8);
			e->lo.bytes[3] = e->hi.bytes[3] = (uint8_t)i;
		}
	}
	r->n_elems = RULESET_MAX_ELEMENTS;
	assert_int_equal(ruleset_disjoin(r), -E2BIG);
	assert_int_equal(r->n_elems, RULESET_MAX_ELEMENTS);
	/* With a single port instead, the same many are no work at all. */
	for (i = 0; i < RULESET_MAX_ELEMENTS; i++)
		r->elems[i].port_lo = r->elems[i].port_hi = 80;
	assert_int_equal(ruleset_disjoin(r), 0);
}

/* "lo-hi" ranges less holes; at most four of each. */
static const struct {
	const char *lo[3], *hi[3], *holes[4], *want_lo[4], *want_hi[4];
} subtractions[] = {
	{ { "10.0.0.0" }, { "10.0.0.9" }, { NULL }, { "10.0.0.0" }, { "10.0.0.9" } },
	{ { "10.0.0.0" }, { "10.0.0.9" }, { "10.0.0.0" }, { "10.0.0.1" }, { "10.0.0.9" } },
	{ { "10.0.0.0" }, { "10.0.0.9" }, { "10.0.0.9" }, { "10.0.0.0" }, { "10.0.0.8" } },
	{ { "10.0.0.0" }, { "10.0.0.9" }, { "10.0.0.3", "10.0.0.4" }, { "10.0.0.0", "10.0.0.5" },
	    { "10.0.0.2", "10.0.0.9" } },
	{ { "10.0.0.5" }, { "10.0.0.5" }, { "10.0.0.5" }, { NULL }, { NULL } },
	{ { "10.0.0.5" }, { "10.0.0.6" }, { "10.0.0.4", "10.0.0.7" }, { "10.0.0.5" },
	    { "10.0.0.6" } },
	{ { "10.0.0.0", "10.0.1.0" }, { "10.0.0.9", "10.0.1.9" },
	    { "10.0.0.9", "10.0.0.200", "10.0.1.0" }, { "10.0.0.0", "10.0.1.1" },
	    { "10.0.0.8", "10.0.1.9" } },
	{ { "0.0.0.0" }, { "255.255.255.255" }, { "0.0.0.0", "10.0.255.255", "255.255.255.255" },
	    { "0.0.0.1", "10.1.0.0" }, { "10.0.255.254", "255.255.255.254" } },
	{ { "::" }, { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	    { "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" }, { "::1" },
	    { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe" } },
};

static void
holes_are_cut_out_of_ranges(void **state)
{
	struct addr_range ranges[3];
	struct addr holes[4], lo, hi;
	size_t i, j, n_ranges, n_holes, n;

	for (i = 0; i < ARRAY_SIZE(subtractions); i++) {
		_cleanup_free_ struct addr_range *got = NULL;

		for (n_ranges = 0; n_ranges < 3 && subtractions[i].lo[n_ranges]; n_ranges++) {
			ranges[n_ranges].lo = A(subtractions[i].lo[n_ranges]);
			ranges[n_ranges].hi = A(subtractions[i].hi[n_ranges]);
		}
		for (n_holes = 0; n_holes < 4 && subtractions[i].holes[n_holes]; n_holes++)
			holes[n_holes] = A(subtractions[i].holes[n_holes]);
		assert_int_equal(range_subtract(ranges, n_ranges, holes, n_holes, &got, &n), 0);
		for (j = 0; j < 4 && subtractions[i].want_lo[j]; j++) {
			if (j >= n)
				fail_msg("case %zu: only %zu ranges", i, n);
			lo = A(subtractions[i].want_lo[j]);
			hi = A(subtractions[i].want_hi[j]);
			if (!addr_eq(&got[j].lo, &lo) || !addr_eq(&got[j].hi, &hi))
				fail_msg("case %zu, range %zu", i, j);
		}
		assert_int_equal(n, j);
	}
}

static void
a_digest_of_verdicts_does_not_know_who_is_local(void **state)
{
	struct addr two[] = { A("10.0.0.2"), A("10.0.0.3") };
	struct ruleset_elem e = E(DIR_EGRESS, 1, "10.0.0.9", "10.0.0.9", IPPROTO_TCP, 80, 80, 7);
	struct ruleset a = { .in_mode = MODE_ENFORCE,
		.out_mode = MODE_ENFORCE,
		.report_per_second = 50,
		.elems = &e,
		.n_elems = 1,
		.local = two,
		.n_local = 2 };
	struct ruleset b = a;
	uint8_t d1[RULESET_DIGEST_LEN], d2[RULESET_DIGEST_LEN];

	assert_int_equal(ruleset_digest_verdicts(&a, d1), 0);
	b.local = two + 1;
	b.n_local = 1;
	assert_int_equal(ruleset_digest_verdicts(&b, d2), 0);
	assert_memory_equal(d1, d2, sizeof(d1));
	/* In quarantine nobody is answered: another ruleset. */
	b.n_local = 0;
	assert_int_equal(ruleset_digest_verdicts(&b, d2), 0);
	assert_memory_not_equal(d1, d2, sizeof(d1));
	b.n_local = 1;
	b.n_elems = 0;
	assert_int_equal(ruleset_digest_verdicts(&b, d2), 0);
	assert_memory_not_equal(d1, d2, sizeof(d1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exact_element_has_one_address_and_one_port),
		cmocka_unit_test(normalise_sorts_and_keeps_the_smallest_edge_of_equals),
		cmocka_unit_test(what_is_encoded_decodes_to_the_same_bytes_and_digest),
		cmocka_unit_test(an_empty_ruleset_has_a_form_too),
		cmocka_unit_test(every_truncation_and_every_trailing_byte_is_refused),
		cmocka_unit_test(every_attack_on_a_field_is_refused),
		cmocka_unit_test(swapped_and_repeated_entries_are_refused),
		cmocka_unit_test(what_would_not_decode_is_not_encoded),
		cmocka_unit_test(an_element_is_judged_on_its_own_too),
		cmocka_unit_test(the_largest_ruleset_goes_through),
		cmocka_unit_test(text_says_every_fact_on_a_line),
		cmocka_unit_test(a_range_inside_another_vanishes),
		cmocka_unit_test(ranges_that_cross_are_cut_where_they_meet),
		cmocka_unit_test(work_without_end_is_refused),
		cmocka_unit_test(holes_are_cut_out_of_ranges),
		cmocka_unit_test(a_digest_of_verdicts_does_not_know_who_is_local),
		cmocka_unit_test(exact_elements_and_other_groups_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
