/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile text made safe to look at. Owns the list of characters that change, hide or reorder what
 * a terminal shows around them. Only for people: no other format's escaping is done here.
 */
#include "rules/peer.h"

#include <stdio.h>
#include <string.h>

struct code_range {
	uint32_t lo, hi;
};

/* Ascending. Format characters (Unicode's Cf and the like), blanks, separators, noncharacters. */
static const struct code_range unsafe[] = {
	{ 0x80, 0xa0 },	      /* C1, no-break space */
	{ 0xad, 0xad },	      /* soft hyphen */
	{ 0x34f, 0x34f },     /* combining grapheme joiner */
	{ 0x600, 0x605 },     /* Arabic number marks */
	{ 0x61c, 0x61c },     /* Arabic letter mark (bidi) */
	{ 0x6dd, 0x6dd },     /* Arabic end of ayah */
	{ 0x70f, 0x70f },     /* Syriac abbreviation mark */
	{ 0x8e2, 0x8e2 },     /* Arabic disputed end of ayah */
	{ 0x115f, 0x1160 },   /* Hangul fillers */
	{ 0x1680, 0x1680 },   /* Ogham space */
	{ 0x17b4, 0x17b5 },   /* Khmer inherent vowels: invisible */
	{ 0x180b, 0x180f },   /* Mongolian selectors and vowel separator */
	{ 0x2000, 0x200f },   /* spaces, zero width, bidi marks */
	{ 0x2028, 0x202f },   /* line and paragraph separators, bidi embedding and override */
	{ 0x205f, 0x206f },   /* spaces, invisible operators, bidi isolates */
	{ 0x2800, 0x2800 },   /* blank Braille */
	{ 0x3000, 0x3000 },   /* ideographic space */
	{ 0x3164, 0x3164 },   /* Hangul filler */
	{ 0xfdd0, 0xfdef },   /* noncharacters */
	{ 0xfe00, 0xfe0f },   /* variation selectors */
	{ 0xfeff, 0xfeff },   /* zero width no-break space */
	{ 0xffa0, 0xffa0 },   /* halfwidth Hangul filler */
	{ 0xfff0, 0xfffb },   /* unassigned, interlinear annotation */
	{ 0x110bd, 0x110bd }, /* Kaithi number sign */
	{ 0x110cd, 0x110cd }, { 0x13430, 0x13455 }, /* Egyptian format controls */
	{ 0x1bca0, 0x1bca3 },			    /* shorthand format controls */
	{ 0x1d173, 0x1d17a },			    /* musical format controls */
	{ 0xe0000, 0xe0fff },			    /* tags, more variation selectors */
};

static bool
is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* The bytes of the character at in (1 to 4), or 0 if it is not well-formed. */
static size_t
utf8_decode(const unsigned char *in, size_t len, uint32_t *ret)
{
	static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t code;
	size_t n;

	if (in[0] < 0x80) {
		*ret = in[0];
		return 1;
	}
	if ((in[0] & 0xe0) == 0xc0) {
		n = 2;
		code = in[0] & 0x1f;
	} else if ((in[0] & 0xf0) == 0xe0) {
		n = 3;
		code = in[0] & 0x0f;
	} else if ((in[0] & 0xf8) == 0xf0) {
		n = 4;
		code = in[0] & 0x07;
	} else {
		return 0;
	}
	if (n > len)
		return 0;

	for (size_t i = 1; i < n; i++) {
		if (!is_continuation(in[i]))
			return 0;
		code = code << 6 | (in[i] & 0x3f);
	}
	if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret = code;
	return n;
}

static bool
is_unsafe(uint32_t code)
{
	/* The last two code points of every plane are noncharacters. */
	if ((code & 0xfffe) == 0xfffe)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(unsafe) && code >= unsafe[i].lo; i++) {
		if (code <= unsafe[i].hi)
			return true;
	}
	return false;
}

/* One character of the input as it is to be shown; returns the input bytes it stands for. */
static size_t
escape_one(const unsigned char *in, size_t len, char unit[static 16], size_t *ret_unit_len)
{
	uint32_t code;
	size_t n = utf8_decode(in, len, &code);

	if (n == 0) {
		*ret_unit_len = (size_t)snprintf(unit, 16, "\\x%02x", in[0]);
		return 1;
	}
	if (code == '\\')
		*ret_unit_len = (size_t)snprintf(unit, 16, "\\\\");
	else if (code < 0x20 || code == 0x7f)
		*ret_unit_len = (size_t)snprintf(unit, 16, "\\x%02x", (unsigned)code);
	else if (is_unsafe(code))
		*ret_unit_len = (size_t)snprintf(unit, 16, "\\u{%04x}", (unsigned)code);
	else {
		memcpy(unit, in, n);
		*ret_unit_len = n;
	}
	return n;
}

size_t
text_escape(const char *in, size_t len, char *out, size_t out_size)
{
	const unsigned char *bytes = (const unsigned char *)in;
	size_t needed = 0, written = 0, unit_len;
	bool full = out_size == 0;
	char unit[16];

	for (size_t i = 0; i < len;) {
		i += escape_one(bytes + i, len - i, unit, &unit_len);
		needed += unit_len;
		/* What follows a unit that did not fit is left out too: the text is a prefix. */
		full = full || unit_len >= out_size - written;
		if (!full) {
			memcpy(out + written, unit, unit_len);
			written += unit_len;
		}
	}
	if (out_size > 0)
		out[written] = '\0';
	return needed;
}

bool
text_is_utf8(const char *in, size_t len)
{
	const unsigned char *bytes = (const unsigned char *)in;
	uint32_t code;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_decode(bytes + i, len - i, &code);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}
