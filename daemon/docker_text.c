/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replacing pass runs before the JSON parser, over the raw text: inside and outside of strings
 * alike, since every place where it changes something would be an error for the parser anyway.
 */
#include "config.h"
#include "daemon/docker_text.h"

#include "rules/peer.h"
#include "rules/util.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define MARK_LEN 33 /* "~" and 32 hex digits */

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The code unit of a \uXXXX at s, or -1. */
static int
escape_unit(const char *s, const char *end)
{
	unsigned unit;
	char digits[5];

	if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
		if (!is_hex(s[i]))
			return -1;
	memcpy(digits, s + 2, 4);
	digits[4] = '\0';
	return sscanf(digits, "%x", &unit) == 1 ? (int)unit : -1;
}

static size_t
utf8_length(const char *s, size_t left)
{
	for (size_t n = 1; n <= MIN(left, (size_t)4); n++)
		if (text_is_utf8(s, n))
			return n;
	return 0;
}

/* Copies one unit of input to out; returns its length in the input, *ret_out what was written. */
static size_t
copy_unit(const char *s, const char *end, char *out, size_t *ret_out)
{
	size_t n;
	int unit, low;

	if (*s == '\\') {
		unit = escape_unit(s, end);
		n = unit >= 0 ? 6 : MIN((size_t)(end - s), (size_t)2);
		low = unit >= 0xd800 && unit <= 0xdbff ? escape_unit(s + 6, end) : -1;
		if (low >= 0xdc00 && low <= 0xdfff)
			n = 12;
		else if (unit == 0 || (unit >= 0xd800 && unit <= 0xdfff))
			s = "\\ufffd";
		/* A backslash before a byte of a longer character: the parser refuses it. */
		if (n == 2 && (unsigned char)s[1] >= 0x80)
			n = 1;
		memcpy(out, s, n);
		*ret_out = n;
		return n;
	}
	n = utf8_length(s, (size_t)(end - s));
	if (n > 0) {
		memcpy(out, s, n);
		*ret_out = n;
		return n;
	}
	memcpy(out, REPLACEMENT, 3);
	*ret_out = 3;
	return 1;
}

json_t *
docker_text_load(const char *buf, size_t len, int *ret_error)
{
	_cleanup_free_ char *clean = NULL;
	size_t at = 0, out = 0, n;
	json_t *j;

	*ret_error = -ENOMEM;
	if (len > SIZE_MAX / 4)
		return NULL;
	clean = malloc(len * 3 + 1);
	if (clean == NULL)
		return NULL;
	while (at < len) {
		at += copy_unit(buf + at, buf + len, clean + out, &n);
		out += n;
	}
	j = json_loadb(clean, out, 0, NULL);
	if (j == NULL)
		*ret_error = -EBADMSG;
	return j;
}

json_t *
docker_text_object(const char *buf, size_t len, size_t max, int *ret_error)
{
	json_t *o;

	*ret_error = -E2BIG;
	if (len > max)
		return NULL;
	o = docker_text_load(buf, len, ret_error);
	if (o != NULL && !json_is_object(o)) {
		json_decref(o);
		*ret_error = -EBADMSG;
		return NULL;
	}
	return o;
}

const char *
docker_text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

json_t *
docker_text_copy(const char *text, size_t max, bool *altered)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;
	size_t len = strlen(text);
	_cleanup_free_ char *cut = NULL;

	if (strstr(text, REPLACEMENT) != NULL)
		*altered = true;
	if (len <= max)
		return json_string(text);
	cut = malloc(max + 1);
	if (cut == NULL)
		return NULL;
	*altered = true;
	sha256_init(&ctx);
	sha256_update(&ctx, len, (const uint8_t *)text);
	sha256_digest(&ctx, sizeof(digest), digest);
	len = max - MARK_LEN;
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	memcpy(cut, text, len);
	cut[len] = '~';
	for (size_t i = 0; i < 16; i++)
		snprintf(cut + len + 1 + i * 2, 3, "%02x", digest[i]);
	return json_string(cut);
}
