/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ruleset value: order, canonical form, binary form, digest and text.
 *
 * Binary form, host byte order:
 *
 *	struct wire_head	magic, version, modes, report rate, counts
 *	n_elems * 64 bytes	struct ruleset_elem as it is in memory (it has no padding)
 *	n_local * 20 bytes	struct addr as it is in memory
 *
 * There is exactly one encoding of a ruleset: elements and local addresses strictly ascend, all
 *that is unused is zero, nothing follows. ruleset_check() holds these rules for both directions, so
 *what encodes also decodes.
 */
#include "rules/ruleset.h"
#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <nettle/sha2.h>

#define WIRE_MAGIC 0x6e737273u /* "nsrs" */
#define WIRE_VERSION 1u
#define REPORT_MAX 10000u

struct wire_head {
	uint32_t magic, version;
	uint8_t in_mode, out_mode;
	uint8_t zero[2];
	uint32_t report_per_second;
	uint32_t n_elems, n_local;
};

_Static_assert(sizeof(struct wire_head) == 24, "the wire header has no padding");
_Static_assert(sizeof(struct ruleset_elem) == 64, "an element has no padding");
_Static_assert(sizeof(struct addr) == 20, "an address has no padding");

void
ruleset_free(struct ruleset *r)
{
	if (r == NULL)
		return;
	free(r->elems);
	free(r->local);
	free(r);
}

bool
ruleset_elem_is_exact(const struct ruleset_elem *e)
{
	return addr_eq(&e->lo, &e->hi) && e->port_lo == e->port_hi;
}

/* Everything that decides which packets an element matches and what becomes of them. */
static int
elem_cmp_match(const struct ruleset_elem *a, const struct ruleset_elem *b)
{
	int c;

	if (a->dir != b->dir)
		return a->dir < b->dir ? -1 : 1;
	if (a->allow != b->allow)
		return a->allow < b->allow ? -1 : 1;
	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	c = addr_cmp(&a->lo, &b->lo);
	if (c != 0)
		return c;
	c = addr_cmp(&a->hi, &b->hi);
	if (c != 0)
		return c;
	if (a->port_lo != b->port_lo)
		return a->port_lo < b->port_lo ? -1 : 1;
	if (a->port_hi != b->port_hi)
		return a->port_hi < b->port_hi ? -1 : 1;
	return 0;
}

int
ruleset_elem_cmp(const struct ruleset_elem *a, const struct ruleset_elem *b)
{
	int c = elem_cmp_match(a, b);

	if (c != 0)
		return c;
	if (a->edge != b->edge)
		return a->edge < b->edge ? -1 : 1;
	return 0;
}

static int
elem_cmp_void(const void *a, const void *b)
{
	return ruleset_elem_cmp(a, b);
}

static int
addr_cmp_void(const void *a, const void *b)
{
	return addr_cmp(a, b);
}

void
ruleset_normalise(struct ruleset *r)
{
	size_t i, n;

	if (r->n_elems > 1) {
		qsort(r->elems, r->n_elems, sizeof(*r->elems), elem_cmp_void);
		for (i = n = 1; i < r->n_elems; i++)
			if (elem_cmp_match(&r->elems[n - 1], &r->elems[i]) != 0)
				r->elems[n++] = r->elems[i];
		r->n_elems = n;
	}
	if (r->n_local > 1) {
		qsort(r->local, r->n_local, sizeof(*r->local), addr_cmp_void);
		for (i = n = 1; i < r->n_local; i++)
			if (!addr_eq(&r->local[n - 1], &r->local[i]))
				r->local[n++] = r->local[i];
		r->n_local = n;
	}
}

static bool
is_zero(const uint8_t *bytes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static bool
addr_is_canonical(const struct addr *a)
{
	if (!is_zero(a->zero, sizeof(a->zero)))
		return false;
	if (a->family == 4)
		return is_zero(a->bytes + 4, sizeof(a->bytes) - 4);
	return a->family == 6;
}

static bool
elem_is_valid(const struct ruleset_elem *e)
{
	if (!addr_is_canonical(&e->lo) || !addr_is_canonical(&e->hi))
		return false;
	if (e->lo.family != e->hi.family || addr_cmp(&e->lo, &e->hi) > 0)
		return false;
	if (e->port_lo > e->port_hi || e->allow > 1 || !is_zero(e->zero, sizeof(e->zero)))
		return false;
	if (e->dir != DIR_INGRESS && e->dir != DIR_EGRESS)
		return false;
	switch (e->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return true;
	case IPPROTO_ICMP:
		return e->lo.family == 4;
	case IPPROTO_ICMPV6:
		return e->lo.family == 6;
	default:
		return false;
	}
}

static bool
mode_is_valid(unsigned mode)
{
	return mode <= MODE_ENFORCE;
}

static bool
ruleset_check(const struct ruleset *r)
{
	size_t i;

	if (!mode_is_valid(r->in_mode) || !mode_is_valid(r->out_mode))
		return false;
	if (r->report_per_second < 1 || r->report_per_second > REPORT_MAX)
		return false;
	for (i = 0; i < r->n_elems; i++) {
		if (!elem_is_valid(&r->elems[i]))
			return false;
		if (i > 0 && elem_cmp_match(&r->elems[i - 1], &r->elems[i]) >= 0)
			return false;
	}
	for (i = 0; i < r->n_local; i++) {
		if (!addr_is_canonical(&r->local[i]))
			return false;
		if (i > 0 && addr_cmp(&r->local[i - 1], &r->local[i]) >= 0)
			return false;
	}
	return true;
}

int
ruleset_encode(const struct ruleset *r, uint8_t **ret, size_t *ret_len)
{
	struct wire_head h = { .magic = WIRE_MAGIC, .version = WIRE_VERSION };
	size_t elems_len, local_len;
	uint8_t *buf;

	if (r->n_elems > RULESET_MAX_ELEMENTS || r->n_local > RULESET_MAX_LOCAL)
		return -E2BIG;
	if (!ruleset_check(r))
		return -EINVAL;
	h.in_mode = r->in_mode;
	h.out_mode = r->out_mode;
	h.report_per_second = r->report_per_second;
	h.n_elems = r->n_elems;
	h.n_local = r->n_local;
	elems_len = r->n_elems * sizeof(*r->elems);
	local_len = r->n_local * sizeof(*r->local);

	buf = malloc(sizeof(h) + elems_len + local_len);
	if (buf == NULL)
		return -ENOMEM;
	memcpy(buf, &h, sizeof(h));
	if (elems_len > 0)
		memcpy(buf + sizeof(h), r->elems, elems_len);
	if (local_len > 0)
		memcpy(buf + sizeof(h) + elems_len, r->local, local_len);
	*ret = buf;
	*ret_len = sizeof(h) + elems_len + local_len;
	return 0;
}

/* A copy of n bytes, or NULL for none; only -ENOMEM fails. */
static int
copy_bytes(const uint8_t *bytes, size_t n, void **ret)
{
	void *copy;

	if (n == 0) {
		*ret = NULL;
		return 0;
	}
	copy = malloc(n);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, bytes, n);
	*ret = copy;
	return 0;
}

int
ruleset_decode(const uint8_t *buf, size_t len, struct ruleset **ret)
{
	_cleanup_(ruleset_freep) struct ruleset *r = NULL;
	size_t elems_len, local_len;
	struct wire_head h;
	void *copy;
	int rc;

	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (h.magic != WIRE_MAGIC || h.version != WIRE_VERSION || !is_zero(h.zero, sizeof(h.zero)))
		return -EBADMSG;
	if (h.n_elems > RULESET_MAX_ELEMENTS || h.n_local > RULESET_MAX_LOCAL)
		return -EBADMSG;
	elems_len = h.n_elems * sizeof(*r->elems);
	local_len = h.n_local * sizeof(*r->local);
	if (len != sizeof(h) + elems_len + local_len)
		return -EBADMSG;

	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	r->in_mode = h.in_mode;
	r->out_mode = h.out_mode;
	r->report_per_second = h.report_per_second;
	rc = copy_bytes(buf + sizeof(h), elems_len, &copy);
	if (rc < 0)
		return rc;
	r->elems = copy;
	r->n_elems = h.n_elems;
	rc = copy_bytes(buf + sizeof(h) + elems_len, local_len, &copy);
	if (rc < 0)
		return rc;
	r->local = copy;
	r->n_local = h.n_local;
	if (!ruleset_check(r))
		return -EBADMSG;
	*ret = steal_ptr(r);
	return 0;
}

int
ruleset_digest(const struct ruleset *r, uint8_t ret[static RULESET_DIGEST_LEN])
{
	_cleanup_free_ uint8_t *buf = NULL;
	struct sha256_ctx ctx;
	size_t len;
	int rc;

	rc = ruleset_encode(r, &buf, &len);
	if (rc < 0)
		return rc;
	sha256_init(&ctx);
	sha256_update(&ctx, len, buf);
	sha256_digest(&ctx, RULESET_DIGEST_LEN, ret);
	return 0;
}

int
ruleset_digest_verdicts(const struct ruleset *r, uint8_t ret[static RULESET_DIGEST_LEN])
{
	struct addr some = { .family = 4 };
	struct ruleset verdicts = *r;

	verdicts.local = &some;
	verdicts.n_local = MIN(r->n_local, (size_t)1);
	return ruleset_digest(&verdicts, ret);
}

struct text {
	char *buf;
	size_t len, size;
};

static int text_add(struct text *t, const char *fmt, ...) _printf_(2, 3);

static int
text_add(struct text *t, const char *fmt, ...)
{
	char line[256];
	size_t size;
	va_list ap;
	char *buf;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		return -EINVAL;
	if (t->size - t->len <= (size_t)n) {
		size = (t->size + sizeof(line)) * 2;
		buf = realloc(t->buf, size);
		if (buf == NULL)
			return -ENOMEM;
		t->buf = buf;
		t->size = size;
	}
	memcpy(t->buf + t->len, line, (size_t)n + 1);
	t->len += (size_t)n;
	return 0;
}

/* "A", "P/len" where the range is a prefix, else "A-B". */
static void
range_format(const struct ruleset_elem *e, char *buf, size_t size)
{
	char lo[PREFIX_STRLEN], hi[ADDR_STRLEN];
	struct addr_range range;
	struct prefix p;
	unsigned len;

	for (len = 0; len <= 8 * addr_len(&e->lo); len++) {
		p = prefix_of(&e->lo, len);
		range = prefix_range(&p);
		if (!addr_eq(&range.lo, &e->lo) || !addr_eq(&range.hi, &e->hi))
			continue;
		if (addr_eq(&e->lo, &e->hi))
			addr_format(&e->lo, lo);
		else
			prefix_format(&p, lo);
		snprintf(buf, size, "%s", lo);
		return;
	}
	snprintf(buf, size, "%s-%s", addr_format(&e->lo, lo), addr_format(&e->hi, hi));
}

static void
service_format(const struct ruleset_elem *e, char *buf, size_t size)
{
	unsigned lo = e->port_lo, hi = e->port_hi;
	const char *name = proto_name(e->proto);

	if (name == NULL)
		name = "?";
	if (!proto_is_icmp(e->proto) && lo == hi)
		snprintf(buf, size, "%s %u", name, lo);
	else if (!proto_is_icmp(e->proto))
		snprintf(buf, size, "%s %u-%u", name, lo, hi);
	else if (lo == hi)
		snprintf(buf, size, "%s type %u code %u", name, lo >> 8, lo & 0xff);
	else if (lo >> 8 == hi >> 8)
		snprintf(buf, size, "%s type %u code %u-%u", name, lo >> 8, lo & 0xff, hi & 0xff);
	else
		snprintf(buf, size, "%s type/code %u/%u-%u/%u", name, lo >> 8, lo & 0xff, hi >> 8,
		    hi & 0xff);
}

static int
elem_print(struct text *t, const struct ruleset_elem *e)
{
	char range[2 * ADDR_STRLEN + 1], service[64], id[EDGE_ID_STRLEN];

	range_format(e, range, sizeof(range));
	service_format(e, service, sizeof(service));
	edge_id_format(e->edge, id);
	return text_add(t, "%s %s %s %s %s\n", e->dir == DIR_INGRESS ? "in from" : "out to", range,
	    service, e->allow ? "allow" : "deny", id);
}

int
ruleset_print(const struct ruleset *r, char **ret)
{
	char a[ADDR_STRLEN];
	struct text t = { 0 };
	size_t i;
	int rc;

	rc = text_add(&t, "ingress %s\negress %s\nreport %u per second\n", mode_name(r->in_mode),
	    mode_name(r->out_mode), r->report_per_second);
	for (i = 0; rc == 0 && i < r->n_elems; i++)
		rc = elem_print(&t, &r->elems[i]);
	for (i = 0; rc == 0 && i < r->n_local; i++)
		rc = text_add(&t, "local %s\n", addr_format(&r->local[i], a));
	if (rc < 0) {
		free(t.buf);
		return rc;
	}
	*ret = t.buf;
	return 0;
}
