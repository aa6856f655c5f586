/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/sign.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void
the_key_is_that_of_rfc_8032(void **state)
{
	static const struct {
		const char *seed, *public;
	} cases[] = {
		{ "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" },
		{ "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t seed[SIGN_SEED_LEN];
		struct sign_key k;

		assert_int_equal(sign_parse_hex(cases[i].seed, seed, sizeof(seed)), 0);
		sign_key_init(seed, &k);
		assert_string_equal(k.public_text, cases[i].public);
	}
}

static json_t *
signed_statement(const struct sign_key *k)
{
	json_t *o = json_pack("{s:s, s:I, s:s}", "kind", "checkpoint", "seq", (json_int_t)7, "hash",
	    "\xc3\xbc and \" more");

	assert_int_equal(sign_statement(k, o), 0);
	return o;
}

static void
what_was_signed_is_told_from_what_was_not(void **state)
{
	const uint8_t seed[SIGN_SEED_LEN] = { 1, 2, 3 }, other_seed[SIGN_SEED_LEN] = { 1, 2, 4 };
	struct sign_key k, other;
	struct diag d;
	json_t *o, *again;

	sign_key_init(seed, &k);
	sign_key_init(other_seed, &other);
	o = signed_statement(&k);
	assert_int_equal(sign_check(o, &d), 0);
	/* Signed again it is the same, and another order of keys is. */
	again = json_object();
	json_object_set(again, "signature", json_object_get(o, "signature"));
	json_object_set(again, "seq", json_object_get(o, "seq"));
	json_object_set(again, "publicKey", json_object_get(o, "publicKey"));
	json_object_set(again, "hash", json_object_get(o, "hash"));
	json_object_set(again, "kind", json_object_get(o, "kind"));
	assert_int_equal(sign_check(again, &d), 0);
	json_decref(again);
	json_object_set_new(o, "seq", json_integer(8));
	assert_int_equal(sign_check(o, &d), -EBADMSG);
	json_object_set_new(o, "seq", json_integer(7));
	assert_int_equal(sign_check(o, &d), 0);
	json_object_set_new(o, "more", json_true());
	assert_int_equal(sign_check(o, &d), -EBADMSG);
	json_object_del(o, "more");
	json_object_set_new(o, "publicKey", json_string(other.public_text));
	assert_int_equal(sign_check(o, &d), -EBADMSG);
	json_object_del(o, "publicKey");
	assert_int_equal(sign_check(o, &d), -EBADMSG);
	json_decref(o);
}

static void
every_digit_of_a_signature_counts(void **state)
{
	const uint8_t seed[SIGN_SEED_LEN] = { 9 };
	struct sign_key k;
	struct diag d;
	json_t *o;

	sign_key_init(seed, &k);
	o = signed_statement(&k);
	for (size_t i = 0; i < SIGN_SIGNATURE_STRLEN - 1; i++) {
		char text[SIGN_SIGNATURE_STRLEN], was;

		memcpy(text, json_string_value(json_object_get(o, "signature")), sizeof(text));
		was = text[i];
		text[i] = was == '0' ? '1' : '0';
		json_object_set_new(o, "signature", json_string(text));
		assert_int_equal(sign_check(o, &d), -EBADMSG);
		text[i] = was;
		json_object_set_new(o, "signature", json_string(text));
	}
	assert_int_equal(sign_check(o, &d), 0);
	json_decref(o);
}

static void
only_whole_hex_is_read(void **state)
{
	uint8_t b[2];

	assert_int_equal(sign_parse_hex("0aff", b, 2), 0);
	assert_int_equal(b[0], 0x0a);
	assert_int_equal(b[1], 0xff);
	assert_int_equal(sign_parse_hex("0aFF", b, 2), -EINVAL);
	assert_int_equal(sign_parse_hex("0af", b, 2), -EINVAL);
	assert_int_equal(sign_parse_hex("0aff0", b, 2), -EINVAL);
	assert_int_equal(sign_parse_hex("0xff", b, 2), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_key_is_that_of_rfc_8032),
		cmocka_unit_test(what_was_signed_is_told_from_what_was_not),
		cmocka_unit_test(every_digit_of_a_signature_counts),
		cmocka_unit_test(only_whole_hex_is_read),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
