/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A ruleset: what one network namespace is to enforce, as a plain value. It says what, never how:
 * netlink/nft turns it into the table. It crosses from the controller to the warden in the binary
 * form below, and the warden believes nothing of it that ruleset_decode() did not check.
 *
 * Elements are sorted and unique (by every field), so equal policies give equal bytes and digests.
 */
#ifndef NANOSEG_RULES_RULESET_H
#define NANOSEG_RULES_RULESET_H

#include "rules/flow.h"
#include "rules/policy.h"

#define RULESET_MAX_ELEMENTS 200000
#define RULESET_MAX_LOCAL 20000
#define RULESET_DIGEST_LEN 32

struct ruleset_elem {
	struct addr lo, hi;	   /* the other end's address, inclusive range; lo == hi: exact */
	uint64_t edge;		   /* edge_id_number(), of the first edge that gave this element */
	uint16_t port_lo, port_hi; /* destination port; ICMP: type << 8 | code */
	uint8_t proto;
	uint8_t dir;   /* enum flow_dir */
	uint8_t allow; /* 1 allow, 0 deny; deny is looked up first */
	uint8_t zero[9];
};

struct ruleset {
	enum wl_mode in_mode, out_mode;
	struct ruleset_elem *elems;
	size_t n_elems;
	/* Identified local instances: refused with a reject; everything else is dropped. */
	struct addr *local;
	size_t n_local;
	/* Answer every refusal's report with NFLOG; the group is the warden's own choice. */
	uint32_t report_per_second; /* rate limit of reports, 1..10000 */
};

void ruleset_free(struct ruleset *r);
static inline void
ruleset_freep(struct ruleset **r)
{
	ruleset_free(*r);
}

/* Exact addresses and one port go to a hash set, all else to an interval set. */
bool ruleset_elem_is_exact(const struct ruleset_elem *e);
int ruleset_elem_cmp(const struct ruleset_elem *a, const struct ruleset_elem *b);
/* Sorts, removes duplicates (keeping the smallest edge number), sorts local. */
void ruleset_normalise(struct ruleset *r);
/*
 * Rewrites the elements that are not exact so that no two of the same direction, verdict and
 * protocol overlap, and matches what it matched before. Of two that overlap, the one that starts
 * first (then the longer) keeps the common part for its edge. Normalises too. What
 * ruleset_compile() gives is disjoint. 0, -ENOMEM or -E2BIG; r is as it was on failure, but
 * normalised.
 */
int ruleset_disjoin(struct ruleset *r);

/* Binary form: bounded, versioned, host byte order, trailing bytes refused (-EBADMSG). */
int ruleset_encode(const struct ruleset *r, uint8_t **ret, size_t *ret_len);
int ruleset_decode(const uint8_t *buf, size_t len, struct ruleset **ret);
/* SHA-256 of the binary form. */
int ruleset_digest(const struct ruleset *r, uint8_t ret[static RULESET_DIGEST_LEN]);
/* The same whatever is in `local`; but not whether anything is: then nobody is answered. */
int ruleset_digest_verdicts(const struct ruleset *r, uint8_t ret[static RULESET_DIGEST_LEN]);
/* Readable text for goldens and explain; one line per fact; malloc'ed. */
int ruleset_print(const struct ruleset *r, char **ret);

#endif
