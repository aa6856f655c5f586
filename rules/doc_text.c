/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of a document before it is parsed: see doc_text.h. */
#include "rules/doc_text.h"
#include "rules/peer.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Length and code point of the character at p; 0 if it is not UTF-8. */
static size_t
char_get(const char *p, size_t len, uint32_t *ret)
{
	unsigned char lead = (unsigned char)*p;
	size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? lead : lead & (0x7fu >> n);

	if (n > len || !text_is_utf8(p, n))
		return 0;
	for (size_t i = 1; i < n; i++)
		c = c << 6 | ((unsigned char)p[i] & 0x3f);
	*ret = c;
	return n;
}

static bool
char_is_hidden(uint32_t c)
{
	if (c < 0x20)
		return c != '\t' && c != '\n' && c != '\r';
	return (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f || c == 0x061c ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff ||
	       c == 0xfffe || c == 0xffff;
}

int
doc_text_check(const char *text, size_t len, struct diag *d)
{
	unsigned line = 1, col = 1;
	uint32_t c = 0;
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		n = char_get(text + i, len - i, &c);
		if (n == 0) {
			diag_set(d, line, col, "not valid UTF-8: byte 0x%02x",
			    (unsigned)(unsigned char)text[i]);
			return -EINVAL;
		}
		if (char_is_hidden(c)) {
			diag_set(d, line, col,
			    "the invisible character U+%04X is not allowed here; inside double "
			    "quotes it can be written \"\\%s%0*x\"",
			    (unsigned)c, c < 0x100 ? "x" : "u", c < 0x100 ? 2 : 4, (unsigned)c);
			return -EINVAL;
		}
		if (c == '\n' || (c == '\r' && (i + 1 == len || text[i + 1] != '\n'))) {
			line++;
			col = 1;
		} else if (c != '\r') {
			col++;
		}
	}
	return 0;
}

static bool
hex4(const char *p, uint32_t *ret)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *at = p[i] != '\0' ? strchr(digits, p[i] | 0x20) : NULL;

		if (at == NULL)
			return false;
		v = v << 4 | (uint32_t)(at - digits);
	}
	*ret = v;
	return true;
}

/* The code point of the pair \uD8xx\uDCxx at p, or 0. */
static uint32_t
surrogate_pair(const char *p, size_t len)
{
	uint32_t high, low;

	if (len < 12 || p[0] != '\\' || p[1] != 'u' || p[6] != '\\' || p[7] != 'u' ||
	    !hex4(p + 2, &high) || !hex4(p + 8, &low))
		return 0;
	if (high < 0xd800 || high > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return 0;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* How many characters would have to be rewritten; SIZE_MAX if the text is not even UTF-8. */
static size_t
count_foreign(const char *text, size_t len)
{
	size_t count = 0, n;
	uint32_t c = 0;

	for (size_t i = 0; i < len; i += n) {
		n = char_get(text + i, len - i, &c);
		if (n == 0)
			return SIZE_MAX;
		count += char_is_hidden(c) || surrogate_pair(text + i, len - i) != 0;
	}
	return count;
}

static bool
is_json(const char *text, size_t len)
{
	size_t i = 0;
	json_t *root;

	while (i < len && strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
		i++;
	if (i == len || text[i] != '{')
		return false;
	/* Keys given twice are doc_parse()'s to refuse, with their place. */
	root = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
	json_decref(root);
	return root != NULL;
}

int
doc_text_from_json(const char *text, size_t len, char **ret, size_t *ret_len)
{
	size_t foreign = count_foreign(text, len), n, at = 0;
	uint32_t c = 0;
	char *out;

	if (foreign == 0 || foreign == SIZE_MAX || !is_json(text, len))
		return 0;
	out = malloc(len + foreign * 6 + 1);
	if (out == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += n) {
		uint32_t pair = surrogate_pair(text + i, len - i);

		n = char_get(text + i, len - i, &c);
		if (pair != 0) {
			n = 12;
			at += (size_t)snprintf(out + at, 11, "\\U%08x", (unsigned)pair);
		} else if (char_is_hidden(c)) {
			at += (size_t)snprintf(out + at, 7, "\\u%04x", (unsigned)c);
		} else {
			/* An escape is two characters: the second must not be taken for a first. */
			n = c == '\\' && i + 1 < len ? 2 : n;
			memcpy(out + at, text + i, n);
			at += n;
		}
	}
	out[at] = '\0';
	*ret = out;
	*ret_len = at;
	return 1;
}
