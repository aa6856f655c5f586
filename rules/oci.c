/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rules/oci.h"
#include "rules/util.h"

#include <errno.h>
#include <string.h>

struct scan {
	const char *p, *end;
};

static void
skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool
take(struct scan *s, char c)
{
	if (s->p >= s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static int
hex4(const char *p, const char *end, unsigned *ret)
{
	unsigned v = 0;

	if (end - p < 4)
		return -EBADMSG;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			return -EBADMSG;
	}
	*ret = v;
	return 0;
}

static int
scan_string(struct scan *s)
{
	unsigned v;

	if (!take(s, '"'))
		return -EBADMSG;
	while (s->p < s->end) {
		unsigned char c = (unsigned char)*s->p++;

		if (c == '"')
			return 0;
		if (c < 0x20)
			return -EBADMSG;
		if (c != '\\')
			continue;
		if (s->p >= s->end || strchr("\"\\/bfnrtu", *s->p) == NULL || *s->p == '\0')
			return -EBADMSG;
		if (*s->p++ != 'u')
			continue;
		if (hex4(s->p, s->end, &v) < 0)
			return -EBADMSG;
		s->p += 4;
	}
	return -EBADMSG;
}

static bool
scan_digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static int
scan_number(struct scan *s)
{
	take(s, '-');
	if (!take(s, '0') && !scan_digits(s))
		return -EBADMSG;
	if (take(s, '.') && !scan_digits(s))
		return -EBADMSG;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			take(s, '-');
		if (!scan_digits(s))
			return -EBADMSG;
	}
	return 0;
}

static int
scan_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
		return -EBADMSG;
	s->p += len;
	return 0;
}

static int
scan_key(struct scan *s)
{
	skip_space(s);
	if (scan_string(s) < 0)
		return -EBADMSG;
	skip_space(s);
	return take(s, ':') ? 0 : -EBADMSG;
}

static int scan_value(struct scan *s, unsigned depth);

static int
scan_container(struct scan *s, char close, unsigned depth)
{
	if (depth == 0)
		return -EBADMSG;
	s->p++;
	skip_space(s);
	if (take(s, close))
		return 0;
	do {
		if (close == '}' && scan_key(s) < 0)
			return -EBADMSG;
		if (scan_value(s, depth - 1) < 0)
			return -EBADMSG;
	} while (take(s, ','));
	return take(s, close) ? 0 : -EBADMSG;
}

/* A value with the space around it. */
static int
scan_value(struct scan *s, unsigned depth)
{
	int r;

	skip_space(s);
	if (s->p >= s->end)
		return -EBADMSG;
	switch (*s->p) {
	case '{':
		r = scan_container(s, '}', depth);
		break;
	case '[':
		r = scan_container(s, ']', depth);
		break;
	case '"':
		r = scan_string(s);
		break;
	case 't':
		r = scan_word(s, "true");
		break;
	case 'f':
		r = scan_word(s, "false");
		break;
	case 'n':
		r = scan_word(s, "null");
		break;
	default:
		r = scan_number(s);
	}
	skip_space(s);
	return r;
}

int
oci_check(const char *text, size_t len)
{
	struct scan s = { text, text + len };

	return scan_value(&s, OCI_MAX_DEPTH) == 0 && s.p == s.end ? 0 : -EBADMSG;
}

static struct oci_value
trimmed(const char *from, const char *to)
{
	while (from < to && strchr(" \t\n\r", *from) != NULL && *from != '\0')
		from++;
	while (from < to && strchr(" \t\n\r", to[-1]) != NULL && to[-1] != '\0')
		to--;
	return (struct oci_value){ from, (size_t)(to - from) };
}

int
oci_member(const char *text, size_t len, const char *key, struct oci_value *ret)
{
	struct scan s = { text, text + len };
	struct oci_value found = { NULL, 0 };
	char name[64];

	if (oci_check(text, len) < 0)
		return -EBADMSG;
	skip_space(&s);
	if (!take(&s, '{'))
		return -EBADMSG;
	skip_space(&s);
	while (s.p < s.end && *s.p != '}') {
		struct oci_value k = { s.p, 0 };
		const char *from;

		scan_string(&s);
		k.len = (size_t)(s.p - k.text);
		skip_space(&s);
		take(&s, ':');
		from = s.p;
		scan_value(&s, OCI_MAX_DEPTH);
		if (oci_string(&k, name, sizeof(name)) == 0 && strcmp(name, key) == 0) {
			if (found.text != NULL)
				return -EBADMSG;
			found = trimmed(from, s.p);
		}
		take(&s, ',');
		skip_space(&s);
	}
	if (found.text == NULL)
		return -ENOENT;
	*ret = found;
	return 0;
}

static size_t
put_utf8(unsigned v, char out[static 4])
{
	if (v < 0x80) {
		out[0] = (char)v;
		return 1;
	}
	if (v < 0x800) {
		out[0] = (char)(0xc0 | v >> 6);
		out[1] = (char)(0x80 | (v & 0x3f));
		return 2;
	}
	if (v < 0x10000) {
		out[0] = (char)(0xe0 | v >> 12);
		out[1] = (char)(0x80 | (v >> 6 & 0x3f));
		out[2] = (char)(0x80 | (v & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | v >> 18);
	out[1] = (char)(0x80 | (v >> 12 & 0x3f));
	out[2] = (char)(0x80 | (v >> 6 & 0x3f));
	out[3] = (char)(0x80 | (v & 0x3f));
	return 4;
}

/* *p stands behind the backslash. */
static int
decode_escape(const char **p, const char *end, char out[static 4], size_t *ret_n)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	unsigned v, low;
	char c = *(*p)++;

	if (c != 'u') {
		out[0] = to[strchr(from, c) - from];
		*ret_n = 1;
		return 0;
	}
	if (hex4(*p, end, &v) < 0 || v == 0)
		return -EBADMSG;
	*p += 4;
	if (v >= 0xdc00 && v <= 0xdfff)
		return -EBADMSG;
	if (v >= 0xd800 && v <= 0xdbff) {
		if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' ||
		    hex4(*p + 2, end, &low) < 0 || low < 0xdc00 || low > 0xdfff)
			return -EBADMSG;
		*p += 6;
		v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
	}
	*ret_n = put_utf8(v, out);
	return 0;
}

int
oci_string(const struct oci_value *v, char *ret, size_t size)
{
	struct scan s = { v->text, v->text + v->len };
	const char *p = v->text + 1, *end;
	size_t len = 0;

	if (size == 0 || scan_string(&s) < 0 || s.p != s.end)
		return -EBADMSG;
	end = s.p - 1;
	while (p < end) {
		char out[4];
		size_t n = 1;

		out[0] = *p++;
		if (out[0] == '\\' && decode_escape(&p, end, out, &n) < 0)
			return -EBADMSG;
		if (len + n >= size)
			return -E2BIG;
		memcpy(ret + len, out, n);
		len += n;
	}
	ret[len] = '\0';
	return 0;
}

int
oci_number(const struct oci_value *v, long max, long *ret)
{
	long n = 0;

	if (v->len == 0 || (v->len > 1 && v->text[0] == '0'))
		return -EBADMSG;
	for (size_t i = 0; i < v->len; i++) {
		int digit = v->text[i] - '0';

		if (digit < 0 || digit > 9)
			return -EBADMSG;
		if (n > (max - digit) / 10)
			return -ERANGE;
		n = n * 10 + digit;
	}
	*ret = n;
	return 0;
}

static bool
id_valid(const char *id)
{
	static const char chars[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";

	return id[0] != '\0' && strspn(id, chars) == strlen(id);
}

int
oci_state_read(const char *text, size_t len, struct oci_state *ret, const char **ret_why)
{
	struct oci_state st = { .id = "" };
	struct oci_value v;
	long pid;

	*ret_why = "the state is not a JSON object";
	if (len > OCI_MAX_TEXT || oci_check(text, len) < 0)
		return -EBADMSG;
	*ret_why = "the state has no usable id";
	if (oci_member(text, len, "id", &v) < 0 || oci_string(&v, st.id, sizeof(st.id)) < 0 ||
	    !id_valid(st.id))
		return -EBADMSG;
	*ret_why = "the state has no pid";
	if (oci_member(text, len, "pid", &v) < 0 || oci_number(&v, 1L << 30, &pid) < 0 || pid == 0)
		return -EBADMSG;
	*ret_why = "the state has no bundle";
	if (oci_member(text, len, "bundle", &v) < 0 ||
	    oci_string(&v, st.bundle, sizeof(st.bundle)) < 0)
		return -EBADMSG;
	st.pid = (int)pid;
	*ret = st;
	return 0;
}

char *
oci_quote(const char *text)
{
	static const char digits[] = "0123456789abcdef";
	char *out = malloc(strlen(text) * 6 + 3), *p = out;

	if (out == NULL)
		return NULL;
	*p++ = '"';
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			*p++ = '\\';
			*p++ = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			memcpy(p, "\\u00", 4);
			p[4] = digits[c >> 4];
			p[5] = digits[c & 15];
			p += 6;
		} else {
			*p++ = (char)c;
		}
	}
	*p++ = '"';
	*p = '\0';
	return out;
}

/* Puts pieces in the place of [at, to) of the text. */
static int
replace(const char *text, size_t len, const char *at, const char *to, const char *const pieces[4],
    char **ret, size_t *ret_len)
{
	size_t head = (size_t)(at - text), tail = len - (size_t)(to - text), n = head;
	char *out;

	for (int i = 0; i < 4; i++)
		n += strlen(pieces[i]);
	out = malloc(n + tail + 1);
	if (out == NULL)
		return -ENOMEM;
	memcpy(out, text, head);
	n = head;
	for (int i = 0; i < 4; i++) {
		memcpy(out + n, pieces[i], strlen(pieces[i]));
		n += strlen(pieces[i]);
	}
	memcpy(out + n, to, tail);
	out[n + tail] = '\0';
	*ret = out;
	*ret_len = n + tail;
	return 0;
}

static bool
is_null(const struct oci_value *v)
{
	return v->len == 4 && memcmp(v->text, "null", 4) == 0;
}

/* Nothing but space between the brackets. */
static bool
is_empty(const struct oci_value *v)
{
	return trimmed(v->text + 1, v->text + v->len - 1).len == 0;
}

/* One more member in front of the others of an object. */
static int
add_member(const char *text, size_t len, const struct oci_value *object, const char *const head[2],
    const char *hook, const char *tail, char **ret, size_t *ret_len)
{
	char close[8] = "";
	const char *const pieces[] = { head[0], head[1], hook, close };

	/* tail and a comma: at most "]}," */
	memcpy(close, tail, strlen(tail) + 1);
	if (!is_empty(object))
		memcpy(close + strlen(tail), ",", 2);
	return replace(text, len, object->text + 1, object->text + 1, pieces, ret, ret_len);
}

static bool
has_entry(const struct oci_value *list, const char *hook)
{
	struct scan s = { list->text + 1, list->text + list->len - 1 };

	while (s.p < s.end) {
		const char *from = s.p;
		struct oci_value v;

		if (scan_value(&s, OCI_MAX_DEPTH) < 0)
			return false;
		v = trimmed(from, s.p);
		if (v.len == strlen(hook) && memcmp(v.text, hook, v.len) == 0)
			return true;
		take(&s, ',');
	}
	return false;
}

static int
add_entry(const char *text, size_t len, const struct oci_value *list, const char *hook, char **ret,
    size_t *ret_len)
{
	const char *at = list->text + list->len - 1;
	const char *const pieces[] = { is_empty(list) ? "" : ",", hook, "", "" };
	const char *const nothing[] = { "", "", "", "" };

	if (has_entry(list, hook))
		return replace(text, len, at, at, nothing, ret, ret_len);
	return replace(text, len, at, at, pieces, ret, ret_len);
}

int
oci_add_hook(const char *text, size_t len, const char *hook, char **ret, size_t *ret_len)
{
	static const char *const in_root[] = { "\"hooks\":{\"createRuntime\":[", "" };
	static const char *const in_hooks[] = { "\"createRuntime\":[", "" };
	struct oci_value hooks, list, root = trimmed(text, text + len);
	const char *const whole[] = { "{\"createRuntime\":[", hook, "]}", "" };
	const char *const entries[] = { "[", hook, "]", "" };
	int r;

	if (oci_check(hook, strlen(hook)) < 0)
		return -EBADMSG;
	r = oci_member(text, len, "hooks", &hooks);
	if (r == -ENOENT)
		return add_member(text, len, &root, in_root, hook, "]}", ret, ret_len);
	if (r < 0)
		return r;
	if (is_null(&hooks))
		return replace(text, len, hooks.text, hooks.text + hooks.len, whole, ret, ret_len);
	r = oci_member(hooks.text, hooks.len, "createRuntime", &list);
	if (r == -ENOENT)
		return add_member(text, len, &hooks, in_hooks, hook, "]", ret, ret_len);
	if (r < 0)
		return r;
	if (is_null(&list))
		return replace(text, len, list.text, list.text + list.len, entries, ret, ret_len);
	if (list.text[0] != '[')
		return -EBADMSG;
	return add_entry(text, len, &list, hook, ret, ret_len);
}
