/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/sign.h"

#include <errno.h>
#include <nettle/eddsa.h>
#include <stdio.h>
#include <string.h>

#define CANONICAL (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII)

static void
to_hex(const uint8_t *bytes, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
sign_parse_hex(const char *text, uint8_t *ret, size_t len)
{
	if (strlen(text) != 2 * len || strspn(text, "0123456789abcdef") != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		ret[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
	return 0;
}

void
sign_key_init(const uint8_t seed[static SIGN_SEED_LEN], struct sign_key *ret)
{
	memcpy(ret->seed, seed, SIGN_SEED_LEN);
	ed25519_sha512_public_key(ret->public, ret->seed);
	to_hex(ret->public, sizeof(ret->public), ret->public_text);
}

int
sign_statement(const struct sign_key *key, json_t *o)
{
	_cleanup_free_ char *text = NULL;
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	char hex[SIGN_SIGNATURE_STRLEN];

	json_object_del(o, "signature");
	if (json_object_set_new(o, "publicKey", json_string(key->public_text)) < 0)
		return -ENOMEM;
	text = json_dumps(o, CANONICAL);
	if (text == NULL)
		return -ENOMEM;
	ed25519_sha512_sign(key->public, key->seed, strlen(text), (const uint8_t *)text, signature);
	to_hex(signature, sizeof(signature), hex);
	return json_object_set_new(o, "signature", json_string(hex)) < 0 ? -ENOMEM : 0;
}

int
sign_check(const json_t *o, struct diag *d)
{
	const char *key = json_string_value(json_object_get(o, "publicKey"));
	const char *signature = json_string_value(json_object_get(o, "signature"));
	uint8_t key_bytes[ED25519_KEY_SIZE], bytes[ED25519_SIGNATURE_SIZE];
	_cleanup_free_ char *text = NULL;
	json_t *bare;

	if (key == NULL || signature == NULL ||
	    sign_parse_hex(key, key_bytes, sizeof(key_bytes)) < 0 ||
	    sign_parse_hex(signature, bytes, sizeof(bytes)) < 0) {
		diag_set(d, 0, 0, "it has no signature");
		return -EBADMSG;
	}
	bare = json_copy((json_t *)o);
	json_object_del(bare, "signature");
	text = json_dumps(bare, CANONICAL);
	json_decref(bare);
	if (text == NULL ||
	    ed25519_sha512_verify(key_bytes, strlen(text), (const uint8_t *)text, bytes) != 1) {
		diag_set(d, 0, 0, "its signature is wrong");
		return -EBADMSG;
	}
	return 0;
}
