/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text as a terminal shows it: made safe, measured, shortened. */
#include "cli/table.h"

#include "rules/peer.h"

#include <locale.h>
#include <string.h>
#include <wchar.h>

#define ELLIPSIS "\u2026"

/* One character of text that text_escape() made: well-formed UTF-8. Its bytes. */
static size_t
decode(const char *text, wchar_t *ret)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4, have = 1;
	wchar_t c = n == 1 ? s[0] : s[0] & (0x7f >> n);

	while (have < n && (s[have] & 0xc0) == 0x80)
		c = (wchar_t)(c << 6 | (s[have++] & 0x3f));
	*ret = c;
	return have;
}

/*
 * wcwidth() knows more than ASCII only in a UTF-8 locale, whatever the user's is. It is read from a
 * file, once: a confined child has to find it there.
 */
static unsigned
char_width(wchar_t c)
{
	static locale_t utf8;
	static bool tried;
	locale_t before;
	int w;

	if (c < 0x80)
		return 1;
	if (!tried)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	tried = true;
	if (utf8 == (locale_t)0)
		return c >= 0x1100 ? 2 : 1;
	before = uselocale(utf8);
	w = wcwidth(c);
	uselocale(before);
	/* Unknown ones: a terminal shows something, seldom wider than this. */
	return w < 0 ? 2 : (unsigned)w;
}

unsigned
text_width(const char *text)
{
	unsigned width = 0;
	wchar_t c;

	while (*text != '\0') {
		text += decode(text, &c);
		width += char_width(c);
	}
	return width;
}

/* The bytes at the start of text that take at most width columns. */
static size_t
head_bytes(const char *text, unsigned width)
{
	size_t at = 0;
	wchar_t c;

	while (text[at] != '\0') {
		size_t n = decode(text + at, &c);
		unsigned w = char_width(c);

		if (w > width)
			break;
		width -= w;
		at += n;
	}
	return at;
}

/* Where the longest end of text that takes at most width columns starts. */
static size_t
tail_start(const char *text, unsigned width)
{
	size_t at = 0;
	unsigned left = text_width(text);
	wchar_t c;

	while (left > width) {
		at += decode(text + at, &c);
		left -= char_width(c);
	}
	/* A combining mark belongs to what was cut away. */
	while (text[at] != '\0') {
		size_t n = decode(text + at, &c);

		if (char_width(c) != 0)
			break;
		at += n;
	}
	return at;
}

char *
text_cut(const char *text, unsigned width)
{
	size_t head, tail, len = strlen(text);
	char *cut;

	if (text_width(text) <= width)
		return strdup(text);
	if (width == 0)
		return strdup("");
	head = head_bytes(text, (width - 1) / 2);
	tail = tail_start(text, width - 1 - (width - 1) / 2);
	cut = malloc(head + sizeof(ELLIPSIS) + len - tail);
	if (cut == NULL)
		return NULL;
	memcpy(cut, text, head);
	memcpy(cut + head, ELLIPSIS, sizeof(ELLIPSIS) - 1);
	memcpy(cut + head + sizeof(ELLIPSIS) - 1, text + tail, len - tail + 1);
	return cut;
}

char *
text_safe(const char *text)
{
	size_t len = text != NULL ? strlen(text) : 0, need, kept = MIN(len, (size_t)TEXT_MAX);
	char *safe;

	/* Not inside a character. */
	while (kept < len && kept > 0 && ((unsigned char)text[kept] & 0xc0) == 0x80)
		kept--;
	need = kept > 0 ? text_escape(text, kept, NULL, 0) : 0;
	safe = malloc(need + sizeof(ELLIPSIS));
	if (safe == NULL)
		return NULL;
	safe[0] = '\0';
	if (kept > 0)
		text_escape(text, kept, safe, need + 1);
	if (kept < len)
		memcpy(safe + need, ELLIPSIS, sizeof(ELLIPSIS));
	return safe;
}

char *
text_safe_sentence(const char *text)
{
	char *safe = text_safe(text), *to = safe;

	for (const char *from = safe; from != NULL && *from != '\0'; from++) {
		*to++ = *from;
		if (from[0] == '\\' && from[1] == '\\')
			from++;
	}
	if (to != NULL)
		*to = '\0';
	return safe;
}

void
colour_print(FILE *f, const char *text, enum colour c, bool colour)
{
	static const char *const codes[] = { "", "1", "2", "32", "33", "31" };

	if (colour && c != COLOUR_NONE)
		fprintf(f, "\033[%sm%s\033[0m", codes[c], text);
	else
		fputs(text, f);
}
