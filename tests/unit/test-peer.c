/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/peer.h"
#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct peer
named(enum peer_kind kind, const char *name)
{
	return (struct peer){ .kind = kind, .name = name };
}

static struct peer
with_prefix(enum peer_kind kind, const char *text)
{
	struct peer p = { .kind = kind };

	assert_int_equal(prefix_parse(text, &p.prefix), 0);
	return p;
}

static void
text_forms_parse(void **state)
{
	static const struct {
		const char *in;
		enum peer_kind kind;
		const char *name, *out;
	} cases[] = {
		{ "host", PEER_HOST, NULL, "host" },
		{ "internet", PEER_INTERNET, NULL, "internet" },
		{ "multicast", PEER_MULTICAST, NULL, "multicast" },
		{ "workload:host", PEER_WORKLOAD, "host", "workload:host" },
		{ "workload:internet", PEER_WORKLOAD, "internet", "workload:internet" },
		{ "workload:multicast", PEER_WORKLOAD, "multicast", "workload:multicast" },
		{ "workload:workload:x", PEER_WORKLOAD, "workload:x", "workload:workload:x" },
		{ "workload:10.0.0.1", PEER_WORKLOAD, "10.0.0.1", "workload:10.0.0.1" },
		{ "shop/api", PEER_WORKLOAD, "shop/api", "workload:shop/api" },
		{ "Host", PEER_WORKLOAD, "Host", "workload:Host" },
		{ "host ", PEER_WORKLOAD, "host ", "workload:host " },
		{ "hostile", PEER_WORKLOAD, "hostile", "workload:hostile" },
		{ "../../etc\n\x1b[31m\xff", PEER_WORKLOAD, "../../etc\n\x1b[31m\xff",
		    "workload:../../etc\n\x1b[31m\xff" },
		{ "fqdn:*.s3.amazonaws.com", PEER_FQDN, "*.s3.amazonaws.com",
		    "fqdn:*.s3.amazonaws.com" },
		{ "network:office", PEER_NETWORK, "office", "network:office" },
		{ "cidr:10.0.0.0/8", PEER_CIDR, NULL, "cidr:10.0.0.0/8" },
		{ "cidr:10.0.0.1", PEER_CIDR, NULL, "cidr:10.0.0.1/32" },
		{ "10.0.0.0/8", PEER_CIDR, NULL, "cidr:10.0.0.0/8" },
		{ "2001:db8::/32", PEER_CIDR, NULL, "cidr:2001:db8::/32" },
		{ "addr:10.0.0.1", PEER_ADDR, NULL, "addr:10.0.0.1" },
		{ "10.0.0.1", PEER_ADDR, NULL, "addr:10.0.0.1" },
		{ "2001:DB8::1", PEER_ADDR, NULL, "addr:2001:db8::1" },
		{ "::ffff:10.0.0.1", PEER_ADDR, NULL, "addr:10.0.0.1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char namebuf[PEER_STRLEN], text[PEER_STRLEN], again_buf[PEER_STRLEN];
		struct peer p, again;

		assert_int_equal(peer_parse(cases[i].in, namebuf, &p), 0);
		assert_int_equal(p.kind, cases[i].kind);
		if (cases[i].name != NULL)
			assert_string_equal(p.name, cases[i].name);
		else
			assert_null(p.name);
		assert_string_equal(peer_format(&p, text), cases[i].out);

		assert_int_equal(peer_parse(text, again_buf, &again), 0);
		assert_true(peer_eq(&p, &again));
	}
}

static void
bad_text_is_refused_and_leaves_the_output(void **state)
{
	static const char *const bad[] = { "",
		"workload:", "fqdn:", "network:", "cidr:", "addr:", "cidr:10.0.0.1/8", "cidr:shop",
		"addr:10.0.0.0/8", "addr:10.0.0.1/32", "addr:shop", "10.0.0.1/8", "10.0.0.0/33",
		"10.0.0.0/", "2001:db8::1/32", "::1/x" };
	char longer[PEER_NAME_MAX + 32], namebuf[PEER_STRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct peer p = named(PEER_FQDN, "kept");

		if (peer_parse(bad[i], namebuf, &p) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(p.kind, PEER_FQDN);
		assert_string_equal(p.name, "kept");
	}

	memset(longer, 'x', sizeof(longer));
	for (size_t extra = 0; extra < 2; extra++) {
		char *const bare = longer + strlen("workload:");
		struct peer p;

		memcpy(longer, "workload:", strlen("workload:"));
		bare[PEER_NAME_MAX + extra] = '\0';
		assert_int_equal(peer_parse(longer, namebuf, &p), extra ? -EINVAL : 0);
		assert_int_equal(peer_parse(bare, namebuf, &p), extra ? -EINVAL : 0);
		bare[PEER_NAME_MAX + extra] = 'x';
	}
}

static void
the_longest_name_fits_its_text(void **state)
{
	char name[PEER_NAME_MAX + 1], text[PEER_STRLEN], namebuf[PEER_STRLEN];
	struct peer p, again;

	memset(name, 'n', PEER_NAME_MAX);
	name[PEER_NAME_MAX] = '\0';
	p = named(PEER_WORKLOAD, name);
	assert_int_equal(strlen(peer_format(&p, text)), PEER_NAME_MAX + strlen("workload:"));
	assert_int_equal(peer_parse(text, namebuf, &again), 0);
	assert_true(peer_eq(&p, &again));
	assert_true(workload_name_valid(name));
	assert_false(workload_name_valid(""));
	assert_false(workload_name_valid(NULL));
}

static void
a_workload_named_like_a_keyword_is_another_peer(void **state)
{
	_cleanup_(peer_table_freep) struct peer_table *t = NULL;
	const struct peer peers[] = {
		named(PEER_HOST, NULL),
		named(PEER_INTERNET, NULL),
		named(PEER_MULTICAST, NULL),
		named(PEER_WORKLOAD, "host"),
		named(PEER_WORKLOAD, "internet"),
		named(PEER_WORKLOAD, "multicast"),
		named(PEER_FQDN, "host"),
		named(PEER_NETWORK, "host"),
		named(PEER_WORKLOAD, "10.0.0.1"),
		with_prefix(PEER_ADDR, "10.0.0.1"),
		with_prefix(PEER_CIDR, "10.0.0.1"),
		with_prefix(PEER_CIDR, "10.0.0.0/31"),
		with_prefix(PEER_CIDR, "10.0.0.0/30"),
		with_prefix(PEER_CIDR, "a00::/30"),
	};
	peer_id ids[ARRAY_SIZE(peers)];

	assert_int_equal(peer_table_new(100, &t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		assert_int_equal(peer_lookup(t, &peers[i]), PEER_ID_NONE);
		assert_int_equal(peer_intern(t, &peers[i], &ids[i]), 0);
		assert_int_equal(peer_table_count(t), i + 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		char a[PEER_STRLEN], b[PEER_STRLEN];
		peer_id id;

		assert_int_equal(peer_lookup(t, &peers[i]), ids[i]);
		assert_int_equal(peer_intern(t, &peers[i], &id), 0);
		assert_int_equal(id, ids[i]);
		assert_true(peer_eq(peer_get(t, id), &peers[i]));
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(ids[j], ids[i]);
			assert_false(peer_eq(&peers[i], &peers[j]));
			assert_string_not_equal(
			    peer_format(&peers[i], a), peer_format(&peers[j], b));
		}
	}
}

static void
malformed_peers_are_refused(void **state)
{
	_cleanup_(peer_table_freep) struct peer_table *t = NULL;
	char longer[PEER_NAME_MAX + 2];
	struct peer host_bits = with_prefix(PEER_CIDR, "10.0.0.0/8");
	struct peer too_long = host_bits, short_addr = host_bits, no_family = host_bits;
	peer_id id = 77;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	host_bits.prefix.addr.bytes[3] = 1;
	too_long.prefix.len = 33;
	short_addr.kind = PEER_ADDR;
	no_family.prefix.addr.family = 0;

	const struct peer bad[] = { named(PEER_NONE, NULL), named(PEER_WORKLOAD, NULL),
		named(PEER_WORKLOAD, ""), named(PEER_WORKLOAD, longer), named(PEER_FQDN, NULL),
		named(PEER_FQDN, longer), named(PEER_NETWORK, ""), named((enum peer_kind)99, "x"),
		named(PEER_CIDR, "x"), named(PEER_ADDR, "x"), host_bits, too_long, short_addr,
		no_family };

	assert_int_equal(peer_table_new(100, &t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(peer_intern(t, &bad[i], &id), -EINVAL);
		assert_int_equal(id, 77);
		assert_int_equal(peer_lookup(t, &bad[i]), PEER_ID_NONE);
	}
	assert_int_equal(peer_table_count(t), 0);
	assert_null(peer_get(t, PEER_ID_NONE));
	assert_null(peer_get(t, 1));
	assert_null(peer_get(t, UINT32_MAX));
}

static void
a_full_table_still_finds_what_it_has(void **state)
{
	_cleanup_(peer_table_freep) struct peer_table *t = NULL;
	struct peer a = named(PEER_WORKLOAD, "a"), b = named(PEER_WORKLOAD, "b");
	struct peer c = named(PEER_WORKLOAD, "c");
	peer_id id_a, id, none = 5;

	assert_int_equal(peer_table_new(2, &t), 0);
	assert_int_equal(peer_intern(t, &a, &id_a), 0);
	assert_int_equal(peer_intern(t, &b, &id), 0);
	assert_int_equal(peer_intern(t, &c, &none), -ENOSPC);
	assert_int_equal(none, 5);
	assert_int_equal(peer_intern(t, &a, &id), 0);
	assert_int_equal(id, id_a);
	assert_int_equal(peer_table_count(t), 2);
}

static void
names_are_copied_and_pointers_stay_good(void **state)
{
	_cleanup_(peer_table_freep) struct peer_table *t = NULL;
	const size_t n = 20000;
	const struct peer *first;
	char name[32] = "first";
	struct peer p = named(PEER_WORKLOAD, name);
	peer_id id;

	/* What a kind does not use is not kept and makes no difference. */
	p.prefix.len = 99;
	assert_int_equal(peer_table_new_seeded(n + 1, 12345, &t), 0);
	assert_int_equal(peer_intern(t, &p, &id), 0);
	first = peer_get(t, id);
	assert_int_equal(first->prefix.len, 0);
	p.prefix.len = 0;
	assert_int_equal(peer_lookup(t, &p), id);

	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "w%zu", i);
		assert_int_equal(peer_intern(t, &p, &id), 0);
		assert_int_equal(id, i + 2);
	}
	assert_ptr_equal(peer_get(t, 1), first);
	assert_string_equal(first->name, "first");
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "w%zu", i);
		assert_int_equal(peer_lookup(t, &p), i + 2);
	}
	p.name = "w0 ";
	assert_int_equal(peer_lookup(t, &p), PEER_ID_NONE);
}

static void
a_table_of_no_size_takes_nothing(void **state)
{
	_cleanup_(peer_table_freep) struct peer_table *t = NULL;
	struct peer p = named(PEER_HOST, NULL);
	peer_id id;

	assert_int_equal(peer_table_new(0, &t), 0);
	assert_int_equal(peer_intern(t, &p, &id), -ENOSPC);
	peer_table_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_forms_parse),
		cmocka_unit_test(bad_text_is_refused_and_leaves_the_output),
		cmocka_unit_test(the_longest_name_fits_its_text),
		cmocka_unit_test(a_workload_named_like_a_keyword_is_another_peer),
		cmocka_unit_test(malformed_peers_are_refused),
		cmocka_unit_test(a_full_table_still_finds_what_it_has),
		cmocka_unit_test(names_are_copied_and_pointers_stay_good),
		cmocka_unit_test(a_table_of_no_size_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
