/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink/nft_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static struct ruleset_elem
elem(int dir, int allow, int proto, const char *lo, const char *hi, int port_lo, int port_hi)
{
	struct ruleset_elem e = {
		.dir = (uint8_t)dir,
		.allow = (uint8_t)allow,
		.proto = (uint8_t)proto,
		.port_lo = (uint16_t)port_lo,
		.port_hi = (uint16_t)port_hi,
	};

	assert_int_equal(addr_parse(lo, &e.lo), 0);
	assert_int_equal(addr_parse(hi, &e.hi), 0);
	return e;
}

static int
build(struct ruleset_elem *elems, size_t n, struct nft_elems *ret)
{
	const struct ruleset r = { .elems = elems, .n_elems = n };

	return nft_elems_build(&r, ret);
}

static void
test_keys_are_the_kernels(void **state)
{
	static const uint8_t v4[NFT_KEY_MAX] = { 10, 1, 2, 3, IPPROTO_TCP, 0, 0, 0, 0x1f, 0x90 };
	static const uint8_t v6[NFT_KEY_MAX] = { 0xfd, [15] = 1, IPPROTO_ICMPV6, 0, 0, 0, 128, 0 };
	struct ruleset_elem in[] = {
		elem(DIR_EGRESS, 1, IPPROTO_ICMPV6, "fd00::1", "fd00::1", 128 << 8, 128 << 8),
		elem(DIR_INGRESS, 1, IPPROTO_TCP, "10.1.2.3", "10.1.2.3", 8080, 8080),
	};
	struct nft_elems out;

	assert_int_equal(build(in, 2, &out), 0);
	assert_int_equal(out.n, 2);
	assert_string_equal(nft_set_shape(out.v[0].set)->name, "allow_in4");
	assert_memory_equal(out.v[0].key, v4, sizeof(v4));
	assert_string_equal(nft_set_shape(out.v[1].set)->name, "allow_out6");
	assert_memory_equal(out.v[1].key, v6, sizeof(v6));
	nft_elems_done(&out);
}

static void
test_ranges_have_an_inclusive_end(void **state)
{
	static const uint8_t end[NFT_KEY_MAX] = { 10, 1, 2, 255, IPPROTO_UDP, 0, 0, 0, 0, 60 };
	struct ruleset_elem in[] = { elem(
	    DIR_INGRESS, 0, IPPROTO_UDP, "10.1.2.0", "10.1.2.255", 53, 60) };
	struct nft_elems out;

	assert_int_equal(build(in, 1, &out), 0);
	assert_string_equal(nft_set_shape(out.v[0].set)->name, "deny_in4_range");
	assert_memory_equal(out.v[0].end, end, sizeof(end));
	nft_elems_done(&out);
}

static void
test_every_kind_has_its_own_set(void **state)
{
	unsigned set, other;

	for (set = 0; set < NFT_N_SETS; set++)
		for (other = 0; other < set; other++)
			assert_string_not_equal(
			    nft_set_shape(set)->name, nft_set_shape(other)->name);
	for (set = 0; set < NFT_SET_LOCAL4; set++) {
		const char *name = nft_set_shape(set)->name;

		assert_int_equal(strstr(name, "_out") != NULL, (set >> 3) & 1);
		assert_int_equal(strstr(name, "allow") != NULL, (set >> 2) & 1);
		assert_int_equal(strstr(name, "_range") != NULL, (set >> 1) & 1);
		assert_int_equal(nft_set_shape(set)->range, (set >> 1) & 1);
		assert_int_equal(strchr(name, '6') != NULL, set & 1);
		assert_int_equal(nft_set_shape(set)->key_len, set & 1 ? 24 : 12);
	}
}

static void
test_any_order_gives_one_result(void **state)
{
	struct ruleset_elem in[] = {
		elem(DIR_INGRESS, 1, IPPROTO_UDP, "10.0.0.1", "10.0.0.1", 1, 1),
		elem(DIR_INGRESS, 1, IPPROTO_TCP, "10.0.0.2", "10.0.0.2", 2, 2),
		elem(DIR_INGRESS, 0, IPPROTO_TCP, "10.0.0.2", "10.0.0.9", 2, 2),
		elem(DIR_EGRESS, 1, IPPROTO_TCP, "::1", "::1", 3, 3),
	};
	struct ruleset_elem back[] = { in[3], in[2], in[2], in[1], in[0] };
	struct nft_elems a, b;

	assert_int_equal(build(in, 4, &a), 0);
	assert_int_equal(build(back, 5, &b), 0);
	assert_int_equal(a.n, 4);
	assert_int_equal(b.n, 4);
	assert_memory_equal(a.v, b.v, a.n * sizeof(*a.v));
	nft_elems_done(&a);
	nft_elems_done(&b);
}

static void
test_local_addresses(void **state)
{
	struct addr local[2];
	struct ruleset r = { .local = local, .n_local = 2 };
	struct nft_elems out;

	addr_parse("fd00::1", &r.local[0]);
	addr_parse("10.0.0.1", &r.local[1]);
	assert_int_equal(nft_elems_build(&r, &out), 0);
	assert_int_equal(out.n, 2);
	assert_int_equal(out.v[0].set, NFT_SET_LOCAL4);
	assert_int_equal(out.v[1].set, NFT_SET_LOCAL6);
	nft_elems_done(&out);
	r.local[1].family = 5;
	assert_int_equal(nft_elems_build(&r, &out), -EINVAL);
}

static void
test_what_is_no_element_is_refused(void **state)
{
	const struct ruleset_elem good =
	    elem(DIR_INGRESS, 1, IPPROTO_TCP, "10.0.0.1", "10.0.0.9", 1, 9);
	struct ruleset_elem bad[8];
	struct nft_elems out = { 0 };
	size_t i;

	for (i = 0; i < 8; i++)
		bad[i] = good;
	bad[0].proto = IPPROTO_GRE;
	bad[1].proto = IPPROTO_ICMPV6;
	bad[2].dir = 3;
	bad[3].allow = 2;
	bad[4].hi.family = 6;
	bad[5].hi.bytes[0] = 9;
	bad[6].port_hi = 0;
	bad[7].lo.family = bad[7].hi.family = 0;
	for (i = 0; i < 8; i++)
		assert_int_equal(build(&bad[i], 1, &out), -EINVAL);
	assert_int_equal(
	    nft_elems_build(&(struct ruleset){ .n_elems = RULESET_MAX_ELEMENTS + 1 }, &out),
	    -E2BIG);
	assert_null(out.v);
}

static void
test_policy_follows_the_mode_of_its_direction(void **state)
{
	const struct nft_modes in = { MODE_ENFORCE, MODE_OBSERVE, 1 };
	const struct nft_modes out = { MODE_AUDIT, MODE_ENFORCE, 1 };
	const struct nft_modes none = { MODE_AUDIT, MODE_AUDIT, 1 };

	assert_int_equal(nft_chain_policy(&in, NFT_CHAIN_INPUT), 0);
	assert_int_equal(nft_chain_policy(&in, NFT_CHAIN_OUTPUT), 1);
	assert_int_equal(nft_chain_policy(&in, NFT_CHAIN_FORWARD), 0);
	assert_int_equal(nft_chain_policy(&out, NFT_CHAIN_INPUT), 1);
	assert_int_equal(nft_chain_policy(&out, NFT_CHAIN_OUTPUT), 0);
	assert_int_equal(nft_chain_policy(&out, NFT_CHAIN_FORWARD), 0);
	assert_int_equal(nft_chain_policy(&none, NFT_CHAIN_FORWARD), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_are_the_kernels),
		cmocka_unit_test(test_ranges_have_an_inclusive_end),
		cmocka_unit_test(test_every_kind_has_its_own_set),
		cmocka_unit_test(test_any_order_gives_one_result),
		cmocka_unit_test(test_local_addresses),
		cmocka_unit_test(test_what_is_no_element_is_refused),
		cmocka_unit_test(test_policy_follows_the_mode_of_its_direction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
