/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Peers: the ends of an edge. A peer_table interns them, so that the rest of the program compares
 * and hashes 32-bit ids. Ids are never reused while the table lives; the table is bounded.
 */
#ifndef NANOSEG_RULES_PEER_H
#define NANOSEG_RULES_PEER_H

#include "rules/addr.h"
#include "rules/util.h"

enum peer_kind {
	PEER_NONE,
	PEER_WORKLOAD,
	PEER_HOST,
	PEER_CIDR,
	PEER_FQDN,
	PEER_NETWORK, /* a named set of prefixes of the policy */
	PEER_INTERNET,
	PEER_ADDR,
	PEER_MULTICAST,
};

/* Names are at most this long in bytes, without the terminator; longer ones are refused. */
#define PEER_NAME_MAX 512
/* Enough for any peer_format() result. */
#define PEER_STRLEN (PEER_NAME_MAX + 16)

struct peer {
	enum peer_kind kind;
	const char *name;     /* workload, fqdn, network */
	struct prefix prefix; /* cidr; addr with full length */
};

typedef uint32_t peer_id;
#define PEER_ID_NONE 0

struct peer_table;

int peer_table_new(size_t max, struct peer_table **ret);
/* The same with a secret seed, where peers come from the network or from container names. */
int peer_table_new_seeded(size_t max, uint64_t hash_seed, struct peer_table **ret);
void peer_table_free(struct peer_table *t);
static inline void
peer_table_freep(struct peer_table **t)
{
	peer_table_free(*t);
}

/* Copies the peer. The id, or a negative errno: -ENOSPC when full, -EINVAL for a malformed peer. */
int peer_intern(struct peer_table *t, const struct peer *p, peer_id *ret);
/* PEER_ID_NONE if not there. */
peer_id peer_lookup(const struct peer_table *t, const struct peer *p);
/* Borrowed until the table is freed. NULL for an unknown id. */
const struct peer *peer_get(const struct peer_table *t, peer_id id);
size_t peer_table_count(const struct peer_table *t);

/* Stands for addresses that need not have been seen: the internet, a prefix, a name, a network. */
bool peer_is_wide(const struct peer *p);
bool peer_eq(const struct peer *a, const struct peer *b);
/*
 * The contract's JSON form: "workload:NAME" "host" "cidr:P" "fqdn:N" "network:N" "internet"
 * "addr:A" "multicast". Returns buf.
 */
const char *peer_format(const struct peer *p, char buf[static PEER_STRLEN]);
/*
 * The reverse, also for command lines: a bare name is a workload, "host", "internet" and
 * "multicast" are those peers, an address or prefix literal is an addr or cidr peer (a malformed
 * prefix of a valid address is refused, not taken for a name). The name is copied into namebuf and
 * ret->name points there. 0 or -EINVAL.
 */
int peer_parse(const char *text, char namebuf[static PEER_STRLEN], struct peer *ret);

/* A valid workload name: 1..PEER_NAME_MAX bytes, any bytes but NUL. */
bool workload_name_valid(const char *name);

/*
 * Terminal-safe text: control characters, escapes, DEL, C1, bidi overrides, invisible and
 * non-ASCII blank characters and invalid UTF-8 become \xNN or \u{NNNN}; a backslash becomes \\.
 * Terminates unless out_size is 0 and never cuts inside a character or an escape; returns the
 * length it needed, without the terminator.
 */
size_t text_escape(const char *in, size_t len, char *out, size_t out_size);
/* True if the bytes are well-formed UTF-8 (RFC 3629). */
bool text_is_utf8(const char *in, size_t len);

#endif
