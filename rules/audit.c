/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See audit.h. A line that verifies is exactly the line that audit_seal() would make of it. */
#include "rules/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

#define CANONICAL (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII)
#define SEQ_MAX UINT64_C(999999999999)

/* What stands between the canonical form without its last brace and the hash. */
static const char hash_member[] = ",\"hash\":\"";
#define SUFFIX_LEN (sizeof(hash_member) - 1 + AUDIT_HASH_STRLEN - 1 + 2)

const char audit_no_hash[AUDIT_HASH_STRLEN] =
    "0000000000000000000000000000000000000000000000000000000000000000";

static void
finish_hash(struct sha256_ctx *ctx, char ret[static AUDIT_HASH_STRLEN])
{
	uint8_t digest[SHA256_DIGEST_SIZE];

	sha256_digest(ctx, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

void
audit_digest(const void *bytes, size_t len, char ret[static AUDIT_HASH_STRLEN])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, len, bytes);
	finish_hash(&ctx, ret);
}

/* Of prev || body || "}". */
static void
hash_of(const char *prev, const char *body, size_t len, char ret[static AUDIT_HASH_STRLEN])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, AUDIT_HASH_STRLEN - 1, (const uint8_t *)prev);
	sha256_update(&ctx, len, (const uint8_t *)body);
	sha256_update(&ctx, 1, (const uint8_t *)"}");
	finish_hash(&ctx, ret);
}

int
audit_seal(json_t *record, uint64_t seq, const char prev[static AUDIT_HASH_STRLEN], char **ret_line,
    size_t *ret_len, char ret_hash[static AUDIT_HASH_STRLEN])
{
	_cleanup_free_ char *body = NULL;
	char hash[AUDIT_HASH_STRLEN], *line;
	size_t len;

	if (json_object_set_new(record, "seq", json_integer((json_int_t)seq)) < 0 ||
	    json_object_set_new(record, "prev", json_string(prev)) < 0 ||
	    (body = json_dumps(record, CANONICAL)) == NULL)
		return -ENOMEM;
	len = strlen(body);
	if (len + SUFFIX_LEN > AUDIT_LINE_MAX)
		return -E2BIG;
	hash_of(prev, body, len - 1, hash);
	line = malloc(len - 1 + SUFFIX_LEN + 2);
	if (line == NULL)
		return -ENOMEM;
	*ret_len = (size_t)snprintf(
	    line, len - 1 + SUFFIX_LEN + 2, "%.*s%s%s\"}\n", (int)len - 1, body, hash_member, hash);
	*ret_line = line;
	memcpy(ret_hash, hash, sizeof(hash));
	return 0;
}

const char *
audit_segment_name(uint64_t first, char buf[static AUDIT_SEGMENT_NAME_LEN])
{
	snprintf(buf, AUDIT_SEGMENT_NAME_LEN, "%012" PRIu64 ".jsonl", MIN(first, SEQ_MAX));
	return buf;
}

uint64_t
audit_segment_first(const char *name)
{
	if (strspn(name, "0123456789") != 12 || strcmp(name + 12, ".jsonl") != 0)
		return 0;
	return strtoull(name, NULL, 10);
}

const char *
audit_text(const json_t *record, const char *key, const char *inner)
{
	const json_t *v = json_object_get(record, key);

	return json_string_value(inner != NULL ? json_object_get(v, inner) : v);
}

static int
refuse(struct diag *d, const char *why)
{
	diag_set(d, 0, 0, "%s", why);
	return -EBADMSG;
}

/* The record of a line whose own hash is right. */
static int
open_line(const char *line, size_t len, char ret_hash[static AUDIT_HASH_STRLEN], struct diag *d,
    json_t **ret)
{
	char hash[AUDIT_HASH_STRLEN];
	const char *suffix, *prev;
	json_t *o;

	if (len <= SUFFIX_LEN || len > AUDIT_LINE_MAX)
		return refuse(d, "not a record");
	suffix = line + len - SUFFIX_LEN;
	if (memcmp(suffix, hash_member, sizeof(hash_member) - 1) != 0 ||
	    memcmp(line + len - 2, "\"}", 2) != 0)
		return refuse(d, "not a record: its hash is missing");
	/* With the hash: the parser wants a whole object, and sees a key given twice. */
	o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	prev = audit_text(o, "prev", NULL);
	if (prev == NULL || strlen(prev) != AUDIT_HASH_STRLEN - 1 ||
	    !json_is_integer(json_object_get(o, "seq"))) {
		json_decref(o);
		return refuse(d, "not a record");
	}
	hash_of(prev, line, len - SUFFIX_LEN, hash);
	if (memcmp(hash, suffix + sizeof(hash_member) - 1, AUDIT_HASH_STRLEN - 1) != 0) {
		json_decref(o);
		return refuse(d, "changed: the hash does not fit its content");
	}
	memcpy(ret_hash, hash, sizeof(hash));
	*ret = o;
	return 0;
}

/* Does the record follow what was read before? */
static int
check_link(const struct audit_chain *c, const json_t *o, uint64_t seq, struct diag *d)
{
	const char *prev = audit_text(o, "prev", NULL);

	if (c->lost)
		return 0;
	if (c->seq == 0) {
		if (seq != 1 || strcmp(prev, audit_no_hash) == 0)
			return 0;
		diag_set(d, 0, 0, "record 1 names a record before it");
		return -EBADMSG;
	}
	if (seq != c->seq + 1) {
		diag_set(d, 0, 0, "record %" PRIu64 " stands behind record %" PRIu64 ": %s", seq,
		    c->seq, seq > c->seq ? "records are missing" : "out of order");
		return -EBADMSG;
	}
	if (strcmp(prev, c->hash) != 0) {
		diag_set(
		    d, 0, 0, "record %" PRIu64 " does not continue record %" PRIu64, seq, c->seq);
		return -EBADMSG;
	}
	return 0;
}

int
audit_chain_line(struct audit_chain *c, const char *line, size_t len, struct diag *d, json_t **ret)
{
	char hash[AUDIT_HASH_STRLEN];
	json_int_t seq, kept;
	json_t *o;
	int r = open_line(line, len, hash, d, &o);

	if (r < 0) {
		c->lost = true;
		return r;
	}
	seq = json_integer_value(json_object_get(o, "seq"));
	if (seq < 1 || (uint64_t)seq > SEQ_MAX) {
		c->lost = true;
		json_decref(o);
		return refuse(d, "not a record: its number is out of range");
	}
	r = check_link(c, o, (uint64_t)seq, d);
	kept = json_integer_value(json_object_get(json_object_get(o, "subject"), "firstKept"));
	if (kept > 0 && audit_text(o, "event", NULL) != NULL &&
	    strcmp(audit_text(o, "event", NULL), "audit-expire") == 0)
		c->kept_from = MAX(c->kept_from, (uint64_t)kept);
	if (c->records++ == 0)
		c->first = (uint64_t)seq;
	c->seq = (uint64_t)seq;
	memcpy(c->hash, hash, sizeof(hash));
	c->lost = false;
	if (r < 0) {
		json_decref(o);
		return r;
	}
	*ret = o;
	return 0;
}

int
audit_chain_end(const struct audit_chain *c, struct diag *d)
{
	if (c->records == 0 || c->first == 1 || c->first <= c->kept_from)
		return 0;
	diag_set(d, 0, 0,
	    "the log begins with record %" PRIu64 ", and no record says that those before it were "
	    "removed after their time",
	    c->first);
	return -EBADMSG;
}
