/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reader of DNS messages. A library for this (ldns) would bring a cryptographic one with it
 * into a process that is to be small and to read hostile bytes; what is read here is two record
 * types and a chain of names.
 *
 * Compression pointers must point backwards, each further than the last, so that every name ends.
 * Records of the answer count only if their owner is the name that the chain has reached: a record
 * of another name in the same answer says nothing that was asked.
 */
#include "rules/dns.h"

#include "rules/util.h"

#include <errno.h>
#include <string.h>

#define HEADER_LEN 12
#define CLASS_IN 1
#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_AAAA 28
#define MAX_LABEL 63
#define WIRE_NAME_MAX 255

#define FLAG_RESPONSE 0x8000
#define FLAG_TRUNCATED 0x0200
#define OPCODE_MASK 0x7800
#define RCODE_MASK 0x000f

struct record {
	char owner[DNS_NAME_MAX];
	uint16_t type, class;
	uint32_t ttl_s;
	size_t data, len; /* offset and length of what it says */
};

static uint16_t
be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t
be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

/* Letters, digits, hyphens and underscores (services have them); all else is no host's name. */
static char
host_char(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c + ('a' - 'A'));
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
		return (char)c;
	return '\0';
}

/*
 * The name at *pos, which then stands behind it. 0, -EBADMSG, or -ENODATA for one with other
 * characters than a host's (read to its end all the same).
 */
static int
read_name(const uint8_t *buf, size_t len, size_t *pos, char ret[static DNS_NAME_MAX])
{
	size_t at = *pos, n = 0, limit = *pos, wire = 1;
	bool jumped = false, odd = false;

	for (;;) {
		uint8_t label;

		if (at >= len)
			return -EBADMSG;
		label = buf[at];
		if ((label & 0xc0) == 0xc0) {
			size_t target;

			if (len - at < 2)
				return -EBADMSG;
			target = (size_t)(be16(buf + at) & 0x3fff);
			if (target >= limit)
				return -EBADMSG;
			if (!jumped)
				*pos = at + 2;
			jumped = true;
			limit = at = target;
			continue;
		}
		if (label > MAX_LABEL || len - at - 1 < label)
			return -EBADMSG;
		at++;
		if (label == 0)
			break;
		wire += (size_t)label + 1;
		if (wire > WIRE_NAME_MAX)
			return -EBADMSG;
		if (n > 0)
			ret[n++] = '.';
		for (size_t i = 0; i < label; i++) {
			ret[n] = host_char(buf[at + i]);
			odd |= ret[n++] == '\0';
		}
		at += label;
	}
	if (!jumped)
		*pos = at;
	ret[n] = '\0';
	return odd ? -ENODATA : 0;
}

/* 0, -EBADMSG, or -ENODATA for a record to step over. */
static int
read_record(const uint8_t *buf, size_t len, size_t *pos, struct record *ret)
{
	int r = read_name(buf, len, pos, ret->owner);

	if (r == -EBADMSG)
		return r;
	if (len - *pos < 10)
		return -EBADMSG;
	ret->type = be16(buf + *pos);
	ret->class = be16(buf + *pos + 2);
	ret->ttl_s = be32(buf + *pos + 4);
	ret->len = be16(buf + *pos + 8);
	ret->data = *pos + 10;
	if (len - ret->data < ret->len)
		return -EBADMSG;
	*pos = ret->data + ret->len;
	if (ret->ttl_s > INT32_MAX)
		ret->ttl_s = 0; /* RFC 2181 8 */
	return ret->class == CLASS_IN ? r : -ENODATA;
}

static void
add_addr(struct dns_message *m, const struct addr *a, uint32_t ttl_s)
{
	if (m->n_addrs == DNS_MAX_ADDRS) {
		m->truncated = true;
		return;
	}
	m->ttl_s = m->n_addrs == 0 ? ttl_s : MIN(m->ttl_s, ttl_s);
	m->addrs[m->n_addrs++] = *a;
}

/* What one record adds at the chain's end. 1: the chain went on to another name. */
static int
follow(const uint8_t *buf, size_t len, const struct record *rec, struct dns_message *m,
    char reached[static DNS_NAME_MAX])
{
	char alias[DNS_NAME_MAX];
	size_t pos = rec->data;
	struct addr a;
	int r;

	if (strcmp(rec->owner, reached) != 0)
		return 0;
	if (rec->type == TYPE_CNAME) {
		r = read_name(buf, len, &pos, alias);
		if (r == -EBADMSG || pos != rec->data + rec->len)
			return -EBADMSG;
		if (r < 0 || m->n_addrs > 0)
			return 0;
		memcpy(reached, alias, sizeof(alias));
		return 1;
	}
	if (rec->type != m->qtype)
		return 0;
	if (rec->len != (rec->type == TYPE_A ? 4u : 16u))
		return -EBADMSG;
	a = rec->type == TYPE_A ? addr_from_v4(buf + rec->data) : addr_from_v6(buf + rec->data);
	/* An IPv4-mapped one can be at no server. */
	if (addr_len(&a) == rec->len)
		add_addr(m, &a, rec->ttl_s);
	return 0;
}

static int
read_answers(const uint8_t *buf, size_t len, size_t pos, unsigned count, struct dns_message *m)
{
	char reached[DNS_NAME_MAX];
	uint32_t alias_ttl_s = UINT32_MAX;
	struct record rec;

	memcpy(reached, m->name, sizeof(reached));
	for (unsigned n = 0; n < count; n++) {
		int r;

		if (n == DNS_MAX_RECORDS) {
			m->truncated = true;
			break;
		}
		r = read_record(buf, len, &pos, &rec);
		/* A server that had no room may have cut anywhere. */
		if (r == -EBADMSG && m->truncated)
			break;
		if (r == -EBADMSG)
			return r;
		if (r < 0)
			continue;
		r = follow(buf, len, &rec, m, reached);
		if (r < 0)
			return r;
		if (r == 1)
			alias_ttl_s = MIN(alias_ttl_s, rec.ttl_s);
	}
	if (m->n_addrs > 0)
		m->ttl_s = MIN(m->ttl_s, alias_ttl_s);
	return 0;
}

int
dns_parse(const uint8_t *buf, size_t len, struct dns_message *ret)
{
	struct dns_message m;
	uint16_t flags;
	size_t pos = HEADER_LEN;
	int r;

	if (len < HEADER_LEN)
		return -EBADMSG;
	memset(&m, 0, sizeof(m));
	flags = be16(buf + 2);
	m.id = be16(buf);
	m.response = (flags & FLAG_RESPONSE) != 0;
	m.truncated = (flags & FLAG_TRUNCATED) != 0;
	m.rcode = flags & RCODE_MASK;
	if ((flags & OPCODE_MASK) != 0 || be16(buf + 4) != 1)
		return -ENODATA;
	r = read_name(buf, len, &pos, m.name);
	if (r < 0)
		return r;
	if (len - pos < 4)
		return -EBADMSG;
	m.qtype = be16(buf + pos);
	if (be16(buf + pos + 2) != CLASS_IN)
		return -ENODATA;
	pos += 4;
	if (m.response && m.rcode == 0 && (m.qtype == TYPE_A || m.qtype == TYPE_AAAA)) {
		r = read_answers(buf, len, pos, be16(buf + 6), &m);
		if (r < 0)
			return r;
	}
	*ret = m;
	return 0;
}

uint64_t
dns_question_hash(const struct tuple *asked, const struct dns_message *m, uint64_t seed)
{
	uint64_t h = tuple_hash(asked, seed) ^ ((uint64_t)m->id << 16 | m->qtype);

	for (const char *p = m->name; *p != '\0'; p++)
		h = hash_mix64(h ^ (uint8_t)*p);
	return h | 1;
}
