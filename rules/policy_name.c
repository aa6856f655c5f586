/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload names and peers in the policy file. A name is hostile text: what a terminal or a
 * reviewer could not be shown as it is, travels as {escaped: ...}; see policy_parse().
 */
#include "rules/policy_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ESCAPED_MAX (PEER_NAME_MAX * 10 + 1)

/* True if text_escape() would change more than backslashes. */
static bool
name_needs_escape(const char *name)
{
	size_t len = strlen(name), backslashes = 0;
	char none[1];

	for (const char *p = name; *p != '\0'; p++)
		backslashes += *p == '\\';
	return text_escape(name, len, none, sizeof(none)) != len + backslashes;
}

json_t *
policy_name_to_json(const char *name)
{
	char buf[ESCAPED_MAX];

	if (!name_needs_escape(name))
		return json_string(name);
	text_escape(name, strlen(name), buf, sizeof(buf));
	return json_pack("{s:s}", "escaped", buf);
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static size_t
utf8_put(uint32_t c, char out[static 4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* One escape behind its backslash: the bytes it stands for in out, their number, *p moved. */
static int
escape_take(const char **p, char out[static 4])
{
	uint32_t c = 0;
	int n = 0, h, l;

	switch (*(*p)++) {
	case '\\':
		out[0] = '\\';
		return 1;
	case 'x':
		h = hex_value((*p)[0]);
		l = h < 0 ? -1 : hex_value((*p)[1]);
		if (l < 0 || (h == 0 && l == 0))
			return -EINVAL;
		*p += 2;
		out[0] = (char)(h << 4 | l);
		return 1;
	case 'u':
		if (*(*p)++ != '{')
			return -EINVAL;
		for (; (h = hex_value(**p)) >= 0 && n < 6; n++, (*p)++)
			c = c << 4 | (uint32_t)h;
		if (n == 0 || *(*p)++ != '}' || c == 0 || c > 0x10ffff ||
		    (c >= 0xd800 && c <= 0xdfff))
			return -EINVAL;
		return (int)utf8_put(c, out);
	default:
		return -EINVAL;
	}
}

/* Undoes text_escape(). ret holds PEER_NAME_MAX bytes and the terminator. */
static int
name_unescape(const char *text, char *ret)
{
	char bytes[4];
	size_t at = 0;

	while (*text != '\0') {
		int n = 1;

		if (*text == '\\') {
			text++;
			n = *text != '\0' ? escape_take(&text, bytes) : -EINVAL;
			if (n < 0)
				return n;
		} else {
			bytes[0] = *text++;
		}
		if (at + (size_t)n > PEER_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(ret + at, bytes, (size_t)n);
		at += (size_t)n;
	}
	ret[at] = '\0';
	return 0;
}

static int
escaped_read(const struct reader *r, const struct slot *s, const char *what, char **ret)
{
	char name[PEER_NAME_MAX + 1];
	const char *text;
	int rc;

	rc = read_text(r, s, what, ESCAPED_MAX, &text);
	if (rc < 0)
		return rc;
	rc = name_unescape(text, name);
	if (rc == -ENAMETOOLONG)
		return read_fail(r, s, "expected %s of at most %d bytes", what, PEER_NAME_MAX);
	if (rc < 0)
		return read_fail(
		    r, s, "bad escape, expected \\xNN (not 00), \\u{NNNN} or \\\\ in %s", what);
	*ret = strdup(name);
	return *ret != NULL ? 0 : -ENOMEM;
}

int
policy_name_read(const struct reader *r, const struct slot *s, const char *what, char **ret)
{
	static const struct read_key keys[] = { { "escaped", true } };
	struct slot escaped;
	int rc;

	if (!json_is_object(s->value))
		return read_text_dup(r, s, what, PEER_NAME_MAX, ret);
	rc = read_object(r, s, what, keys, 1, &escaped);
	return rc < 0 ? rc : escaped_read(r, &escaped, what, ret);
}

/* The spelled-out peers. The bare ones take "true" as their value. */
static const struct {
	const char *key;
	enum peer_kind kind;
	bool bare;
} peer_forms[] = {
	{ "host", PEER_HOST, true },
	{ "internet", PEER_INTERNET, true },
	{ "multicast", PEER_MULTICAST, true },
	{ "cidr", PEER_CIDR, false },
	{ "address", PEER_ADDR, false },
	{ "fqdn", PEER_FQDN, false },
	{ "network", PEER_NETWORK, false },
	{ "escaped", PEER_WORKLOAD, false },
};

json_t *
peer_to_policy_json(const struct peer *p)
{
	char buf[PREFIX_STRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(peer_forms); i++)
		if (peer_forms[i].kind == p->kind && peer_forms[i].bare)
			return json_pack("{s:b}", peer_forms[i].key, 1);
	switch (p->kind) {
	case PEER_WORKLOAD:
		return policy_name_to_json(p->name);
	case PEER_CIDR:
		return json_pack("{s:s}", "cidr", prefix_format(&p->prefix, buf));
	case PEER_ADDR:
		return json_pack("{s:s}", "address", addr_format(&p->prefix.addr, buf));
	case PEER_FQDN:
		return json_pack("{s:s}", "fqdn", p->name);
	case PEER_NETWORK:
		return json_pack("{s:s}", "network", p->name);
	default:
		return NULL;
	}
}

const char *
policy_fqdn_fault(const char *name)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *p = name, *last = name;

	if (strncmp(p, "*.", 2) == 0)
		p += 2;
	if (strchr(p, '*') != NULL)
		return "only a whole first label can be a wildcard, as in *.example.com";
	if (strlen(name) > 253)
		return "a domain name has at most 253 bytes";
	while (true) {
		size_t n = strspn(p, chars);

		if (p[n] != '.' && p[n] != '\0')
			return "expected letters, digits, '-' and '_' between dots";
		if (n == 0 && p[n] == '\0' && p > name)
			return "leave out the dot at the end";
		if (n == 0 || n > 63)
			return "a label has 1 to 63 characters";
		if (p[0] == '-' || p[n - 1] == '-')
			return "a label neither begins nor ends with '-'";
		last = p;
		if (p[n] == '\0')
			break;
		p += n + 1;
	}
	if (strspn(last, "0123456789") == strlen(last))
		return "that is an address: use {address: A} or {cidr: P}";
	return NULL;
}

static int
fqdn_read(const struct reader *r, const struct slot *s, char **ret)
{
	char said[SHOWN_LEN];
	const char *fault;
	int rc;

	rc = read_text_dup(r, s, "a domain name such as api.example.com", 512, ret);
	if (rc < 0)
		return rc;
	/* Names compare without case, so one spelling gives one edge id. */
	for (char *p = *ret; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 0x20);
	fault = policy_fqdn_fault(*ret);
	if (fault == NULL)
		return 0;
	return read_fail(r, s, "'%s' is not a domain name: %s", shown(*ret, said), fault);
}

bool
policy_network_name_valid(const char *name)
{
	static const char chars[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(name);

	return n >= 1 && n <= POLICY_NETWORK_NAME_MAX && strspn(name, chars) == n &&
	       strchr("._-", name[0]) == NULL;
}

static int
network_compare(const void *name, const void *network)
{
	return strcmp(name, ((const struct policy_network *)network)->name);
}

static int
network_read(const struct reader *r, const struct slot *s, const struct policy *p, char **ret)
{
	char said[SHOWN_LEN];
	const char *text;
	int rc;

	rc = read_text(r, s, "the name of a network", POLICY_NETWORK_NAME_MAX, &text);
	if (rc < 0)
		return rc;
	/* policy_parse() has sorted them. */
	if (p->n_networks == 0 || bsearch(text, p->networks, p->n_networks, sizeof(*p->networks),
				      network_compare) == NULL) {
		const char *known[64], *near;
		size_t n = MIN(p->n_networks, ARRAY_SIZE(known));

		for (size_t i = 0; i < n; i++)
			known[i] = p->networks[i].name;
		near = nearest_word(text, known, n);
		if (near != NULL)
			return read_fail(r, s, "unknown network '%s', did you mean '%s'?",
			    shown(text, said), near);
		return read_fail(
		    r, s, "network '%s' is not declared under 'networks'", shown(text, said));
	}
	*ret = strdup(text);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
address_read(const struct reader *r, const struct slot *s, struct prefix *ret)
{
	char said[SHOWN_LEN];
	const char *text;
	struct addr a;
	int rc;

	rc = read_text(r, s, "an address such as 10.0.0.5", 128, &text);
	if (rc < 0)
		return rc;
	if (addr_parse(text, &a) < 0)
		return read_fail(r, s, "'%s' is not an address, expected one such as 10.0.0.5%s",
		    shown(text, said), strchr(text, '/') != NULL ? "; for a prefix use cidr" : "");
	*ret = prefix_of(&a, (uint8_t)(addr_len(&a) * 8));
	return 0;
}

int
policy_peer_read(
    const struct reader *r, const struct slot *s, const struct policy *p, struct peer *ret)
{
	struct read_key keys[ARRAY_SIZE(peer_forms)] = { 0 };
	struct slot slots[ARRAY_SIZE(peer_forms)];
	const struct slot *value;
	size_t i = 0;
	int rc;

	if (json_is_string(s->value)) {
		ret->kind = PEER_WORKLOAD;
		return policy_name_read(r, s, "a workload's name", (char **)&ret->name);
	}
	if (!json_is_object(s->value))
		return read_fail_type(r, s,
		    "a workload's name (in quotes if it looks like "
		    "something else) or a peer such as {internet: true}");
	for (size_t k = 0; k < ARRAY_SIZE(peer_forms); k++)
		keys[k].key = peer_forms[k].key;
	rc = read_object(r, s, "a peer", keys, ARRAY_SIZE(keys), slots);
	if (rc < 0)
		return rc;
	if (json_object_size(s->value) != 1)
		return read_fail(r, s,
		    "a peer has exactly one of host, internet, multicast, cidr, address, fqdn and "
		    "network");
	while (slots[i].value == NULL)
		i++;

	value = &slots[i];
	ret->kind = peer_forms[i].kind;
	switch (ret->kind) {
	case PEER_CIDR:
		return read_prefix(r, value, &ret->prefix);
	case PEER_ADDR:
		return address_read(r, value, &ret->prefix);
	case PEER_FQDN:
		return fqdn_read(r, value, (char **)&ret->name);
	case PEER_NETWORK:
		return network_read(r, value, p, (char **)&ret->name);
	case PEER_WORKLOAD:
		return escaped_read(r, value, "a workload's name", (char **)&ret->name);
	default:
		if (!json_is_true(value->value))
			return read_fail_type(r, value, "true");
		return 0;
	}
}
