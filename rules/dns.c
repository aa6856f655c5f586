/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reader of DNS messages. A library for this (ldns) would bring a cryptographic one with it
 * into a process that is to be small and to read hostile bytes; what is read here is two record
 * types and a chain of names.
 *
 * Compression pointers must point backwards, each further than the last, so that every name ends.
 * Records of the answer count only if their owner is the name that the chain has reached: a record
 * of another name in the same answer says nothing that was asked. Their order is nobody's promise:
 * some programs take an address that stands before the alias that leads to it, so we do.
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
#define MAX_ALIASES 32

#define FLAG_RESPONSE 0x8000
#define FLAG_TRUNCATED 0x0200
#define OPCODE_MASK 0x7800
#define RCODE_MASK 0x000f

/* Where it is said, what is said. */
struct record {
	size_t owner, data, len; /* offsets and a length in the message */
	uint64_t owner_hash;
	uint32_t ttl_s;
	uint16_t type, class;
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

static uint64_t
hash_name(const char *name)
{
	uint64_t h = 0;

	for (; *name != '\0'; name++)
		h = hash_mix64(h ^ (uint8_t)*name);
	return h;
}

/* 0, -EBADMSG, or -ENODATA for a record to step over. */
static int
read_record(const uint8_t *buf, size_t len, size_t *pos, struct record *ret)
{
	char owner[DNS_NAME_MAX];
	int r;

	ret->owner = *pos;
	r = read_name(buf, len, pos, owner);
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
	if (r == 0)
		ret->owner_hash = hash_name(owner);
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

/* Is this record of that type, and of that name? Hashes only save the comparison. */
static bool
is_of(const uint8_t *buf, size_t len, const struct record *rec, uint16_t type, const char *name,
    uint64_t name_hash)
{
	char owner[DNS_NAME_MAX];
	size_t pos = rec->owner;

	return rec->type == type && rec->owner_hash == name_hash &&
	       read_name(buf, len, &pos, owner) == 0 && strcmp(owner, name) == 0;
}

/* Those that may count, of one class and with owners that hosts could be. How many, or -EBADMSG. */
static int
read_records(const uint8_t *buf, size_t len, size_t pos, unsigned count, struct dns_message *m,
    struct record records[static DNS_MAX_RECORDS])
{
	struct record rec;
	int n = 0, r;

	for (unsigned i = 0; i < count; i++) {
		if (i == DNS_MAX_RECORDS) {
			m->truncated = true;
			break;
		}
		r = read_record(buf, len, &pos, &rec);
		/* A server that had no room may have cut anywhere. */
		if (r == -EBADMSG && m->truncated)
			break;
		if (r == -EBADMSG)
			return r;
		if (r == 0 && (rec.type == TYPE_CNAME || rec.type == m->qtype))
			records[n++] = rec;
	}
	return n;
}

/* One step along the chain. 1: *name is the next one; 0: it ends here; -EBADMSG. */
static int
follow_alias(const uint8_t *buf, size_t len, const struct record *records, size_t n,
    char name[static DNS_NAME_MAX], uint32_t *ttl_s)
{
	uint64_t hash = hash_name(name);
	char alias[DNS_NAME_MAX];

	for (size_t i = 0; i < n; i++) {
		size_t pos = records[i].data;
		int r;

		if (!is_of(buf, len, &records[i], TYPE_CNAME, name, hash))
			continue;
		r = read_name(buf, len, &pos, alias);
		if (r == -EBADMSG || pos != records[i].data + records[i].len)
			return -EBADMSG;
		if (r < 0)
			return 0;
		memcpy(name, alias, sizeof(alias));
		*ttl_s = MIN(*ttl_s, records[i].ttl_s);
		return 1;
	}
	return 0;
}

static int
read_addr(const uint8_t *buf, const struct record *rec, struct dns_message *m)
{
	struct addr a;

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
	struct record records[DNS_MAX_RECORDS];
	char reached[DNS_NAME_MAX];
	uint32_t alias_ttl_s = UINT32_MAX;
	int n = read_records(buf, len, pos, count, m, records), r = 1;
	uint64_t hash;

	if (n < 0)
		return n;
	memcpy(reached, m->name, sizeof(reached));
	for (unsigned k = 0; r == 1 && k < MAX_ALIASES; k++)
		r = follow_alias(buf, len, records, (size_t)n, reached, &alias_ttl_s);
	if (r < 0)
		return r;
	hash = hash_name(reached);
	for (int i = 0; i < n; i++) {
		if (!is_of(buf, len, &records[i], m->qtype, reached, hash))
			continue;
		r = read_addr(buf, &records[i], m);
		if (r < 0)
			return r;
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
