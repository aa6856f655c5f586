/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between the nft_*.c files alone: the layout of the table, elements, batches and dumps. */
#ifndef NANOSEG_NETLINK_NFT_INTERNAL_H
#define NANOSEG_NETLINK_NFT_INTERNAL_H

#include "netlink/nft.h"

#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netlink.h>

/* Not in the headers of older kernels. */
#define NFT_FLAG_OWNER 0x2u
#define NFT_FLAG_PERSIST 0x4u

/*
 * Sets: 16 of (address . protocol . port), numbered by nft_set_id(), two of addresses; and five
 * that a host guard has besides.
 */
#define NFT_SET_LOCAL4 16
#define NFT_SET_LOCAL6 17
#define NFT_N_SETS_INET 18
#define NFT_SET_OWN4 18
#define NFT_SET_OWN6 19
#define NFT_SET_FRAG4 20
#define NFT_SET_FRAG6 21
#define NFT_SET_LINK6 22
#define NFT_N_SETS 23
#define NFT_KEY_MAX 24

static inline unsigned
nft_set_id(bool egress, bool allow, bool range, bool v6)
{
	return (unsigned)egress << 3 | (unsigned)allow << 2 | (unsigned)range << 1 | (unsigned)v6;
}

/* Is it a set of what is approved, or (not allow) of what is denied? */
static inline bool
nft_set_is_verdict(unsigned set, bool allow)
{
	return set < NFT_SET_LOCAL4 && ((set & 1u << 2) != 0) == allow;
}

/* Of a set of a verdict: one of enum flow_dir. */
static inline unsigned
nft_set_dir(unsigned set)
{
	return (set & 1u << 3) != 0 ? DIR_EGRESS : DIR_INGRESS;
}

struct nft_set_shape {
	const char *name;
	uint32_t key_len;
	uint32_t key_type; /* nft(8)'s number of the type, for its listing */
	bool range, counters;
};
const struct nft_set_shape *nft_set_shape(unsigned set);

/* nft(8)'s numbers of data types, six bits each in a concatenation. */
#define NFT_TYPE_IPV4 7u
#define NFT_TYPE_IPV6 8u
#define NFT_TYPE_PROTO 12u
#define NFT_TYPE_SERVICE 13u

enum nft_chain_id {
	NFT_CHAIN_INPUT,
	NFT_CHAIN_OUTPUT,
	NFT_CHAIN_FORWARD,
	NFT_CHAIN_REFUSE_IN,
	NFT_CHAIN_REFUSE_OUT,
	NFT_N_CHAINS,
};
#define NFT_N_BASE_CHAINS NFT_CHAIN_REFUSE_IN
extern const char *const nft_chain_names[NFT_N_CHAINS];

/* Named counters: packets refused at input, output and forward, in that order. */
#define NFT_N_COUNTERS 3

/*
 * What the rules depend on. The rate is 0 if nothing is reported with it; the hardware address is a
 * guard's.
 */
struct nft_modes {
	enum wl_mode in, out;
	uint32_t rate;
	uint8_t mac[NFT_MAC_LEN];
};
struct nft_modes nft_modes_of(const struct ruleset *r);
bool nft_modes_eq(const struct nft_modes *a, const struct nft_modes *b);
/* NF_ACCEPT or NF_DROP for a base chain. */
uint32_t nft_chain_policy(const struct nft_modes *m, enum nft_chain_id chain);

struct nft_rules {
	struct nftnl_rule **v;
	size_t n, cap;
};

/* One of the two kinds of tables: the one in a namespace, and a guard on the host's side of a veth.
 */
struct nft_target;
struct nft_kind {
	uint16_t family;
	unsigned n_sets;	      /* the first of all */
	unsigned n_chains, n_base;    /* the first are base chains */
	const char *const *chains;    /* names */
	const char *const *counters;  /* NFT_N_COUNTERS names */
	const struct nft_hook *hooks; /* of the base chains */
	uint32_t (*policy)(const struct nft_modes *m, unsigned chain);
	int (*rules)(const struct nft_target *t, const struct nft_modes *m, struct nft_rules *ret);
};
struct nft_hook {
	uint32_t num;
	int32_t priority;
};
extern const struct nft_kind nft_kind_inet, nft_kind_guard;

/* Which table, and what in it never changes. */
#define NFT_SUFFIX_MAX 16
struct nft_target {
	const struct nft_kind *kind;
	char name[NFT_TABLE_NAME_MAX];
	uint16_t group;			  /* of reports */
	char device[NFT_DEVICE_NAME_MAX]; /* a guard's */
	uint32_t twins;			  /* sets (a bit each) that have the suffix, in a change */
	char suffix[NFT_SUFFIX_MAX];
};
#define NFT_SET_NAME_MAX (NFT_SET_NAME_LEN + NFT_SUFFIX_MAX)
/* What a set is called in it. Returns buf. */
const char *nft_target_set(
    const struct nft_target *t, unsigned set, char buf[static NFT_SET_NAME_MAX]);

/*
 * An element as the kernel's key has it: every byte not used is zero, so memcmp orders. The
 * protocol comes first besides, as in a ruleset: a normalised one needs no sorting then.
 */
struct nft_elem {
	uint8_t set;
	uint8_t proto;
	uint8_t key[NFT_KEY_MAX];
	uint8_t end[NFT_KEY_MAX]; /* range sets: inclusive; else zero */
};
/* Fills proto from the key. */
void nft_elem_finish(struct nft_elem *e);

/* Sorted by every byte, unique. */
struct nft_elems {
	struct nft_elem *v;
	size_t n;
};
void nft_elems_done(struct nft_elems *e);
int nft_elem_cmp(const void *a, const void *b);
void nft_elems_sort(struct nft_elems *e);

/* The elements of a ruleset. -EINVAL: not a valid one; -E2BIG: too large. */
int nft_elems_build(const struct ruleset *r, struct nft_elems *ret);
/* Adds those that a guard has besides; r as above. 0, -EINVAL or -ENOMEM. */
int nft_elems_add_guard(struct nft_elems *e, const struct ruleset *r, const struct nft_pin *pin);

void nft_rules_done(struct nft_rules *r);
int nft_rules_inet(const struct nft_target *t, const struct nft_modes *m, struct nft_rules *ret);
int nft_rules_guard(const struct nft_target *t, const struct nft_modes *m, struct nft_rules *ret);

/* Objects as they are sent, and as they go into the expected digest. */
struct nftnl_chain *nft_chain_build(
    const struct nft_target *t, unsigned chain, const struct nft_modes *m);
struct nftnl_set *nft_set_build(const struct nft_target *t, unsigned set, uint32_t size);
/* Of a table that decides nothing. */
uint32_t nft_policy_accept(const struct nft_modes *m, unsigned chain);
/* One without flags, for a table that is none of rules. NULL: no memory. */
struct nftnl_set *nft_set_new(const struct nft_target *t, const char *name, uint32_t id,
    uint32_t key_type, uint32_t key_len, uint32_t size);
/* Every element of s has e. Takes both; NULL if one of them is. */
struct nftnl_set *nft_set_with(struct nftnl_set *s, struct nftnl_expr *e);

/* A transaction under construction; the first failure sticks and is returned by the send. */
struct nft_batch {
	uint8_t *buf;
	size_t len, cap, last;
	uint32_t first_seq, seq;
	int err;
};
int nft_batch_start(struct nft_batch *b, uint32_t seq);
void nft_batch_done(struct nft_batch *b);
/* Room for one message with its header; NULL after a failure. Then the batch is told its end. */
struct nlmsghdr *nft_batch_msg(struct nft_batch *b, uint16_t type, uint16_t family, uint16_t flags);
void nft_batch_commit_msg(struct nft_batch *b, const struct nlmsghdr *nlh);
/* Deletes what is named: `attr` NULL flushes or deletes the container itself. */
void nft_batch_del(struct nft_batch *b, uint16_t type, uint16_t family, uint16_t table_attr,
    const char *table, uint16_t name_attr, const char *name);
void nft_batch_del_table(struct nft_batch *b, const struct nft_target *t);
void nft_batch_table(struct nft_batch *b, const struct nft_target *t, uint32_t flags);
void nft_batch_elems(
    struct nft_batch *b, const struct nft_target *t, bool add, const struct nft_elem *v, size_t n);
/* An error of a transaction that a new attempt may not meet, and that left everything as it was. */
bool nft_is_passing(int r);
/* 0 or the first error of the kernel. Tries again for a moment where that may help. */
int nft_batch_send(struct nft_batch *b, int sock);
/* The table, in a transaction of its own. -ENOENT is success. */
int nft_target_delete(int sock, const struct nft_target *t);
void nft_batch_chain(
    struct nft_batch *b, const struct nft_target *t, unsigned chain, const struct nft_modes *m);
/* Takes s, which is NULL where there was no memory for it. flags: besides NLM_F_CREATE. */
void nft_batch_new_set(
    struct nft_batch *b, const struct nft_target *t, struct nftnl_set *s, uint16_t flags);
void nft_batch_set(struct nft_batch *b, const struct nft_target *t, unsigned set, uint32_t size);
void nft_batch_flush_rules(struct nft_batch *b, const struct nft_target *t);
void nft_batch_rule(struct nft_batch *b, const struct nft_target *t, struct nftnl_rule *rule);
void nft_batch_counter(struct nft_batch *b, const struct nft_target *t, const char *name);
/* With each rule that asks a set with a twin, the one that asks the twin. */
void nft_batch_rules(struct nft_batch *b, const struct nft_target *t, const struct nft_modes *m);

/* nft_change.c: the differences of two sorted lists. */
struct nft_delta {
	struct nft_elems del, add;
};
int nft_delta_make(
    const struct nft_elems *old, const struct nft_elems *want, struct nft_delta *ret);
void nft_delta_done(struct nft_delta *d);
/* What is approved no more, or denied anew. A range that is only cut up differently counts too. */
bool nft_delta_narrows(const struct nft_delta *d);
void nft_batch_delta(struct nft_batch *b, const struct nft_target *t, const struct nft_delta *d);
/*
 * Makes twins, named with t's suffix, of the range sets that get anything, and puts it there. *ret
 * is t with them.
 */
int nft_twins_make(
    int sock, const struct nft_target *t, const struct nft_elems *add, struct nft_target *ret);
/* Loads the rules without them, and deletes them; or does so where no rule asks them. */
int nft_twins_end(int sock, const struct nft_target *with, const struct nft_modes *m);
void nft_twins_drop(int sock, const struct nft_target *with);
/* Of the elements of sets that are no range sets. */
void nft_batch_hashed(struct nft_batch *b, const struct nft_target *t, const struct nft_elems *add);
/* What was allowed, then what was denied goes; the range sets get what is in their twins. */
int nft_gone_send(
    int sock, const struct nft_target *with, const struct nft_delta *d, bool *ret_begun);
/* The whole way, in a table that is as `old` and the delta say. After an error it is in between. */
struct nft_change {
	const struct nft_modes *old, *want;
	struct nft_delta delta;
	bool begun; /* some of it is committed */
};
int nft_change_send(int sock, const struct nft_target *t, struct nft_change *c);

uint32_t nft_seq_start(void);

/* A GET request: with NLM_F_DUMP the callback sees every message. 0, fn's error or the kernel's. */
typedef int (*nft_msg_fn)(void *arg, const struct nlmsghdr *nlh);
struct nft_query {
	uint16_t type, family;
	uint16_t flags;
	uint16_t attr[2]; /* string attributes, 0: none */
	const char *value[2];
};
int nft_query(int sock, const struct nft_query *q, nft_msg_fn fn, void *arg);

struct nft_names {
	char **v;
	size_t n;
};
/* Copies the text; -E2BIG: too many. */
int nft_names_add(struct nft_names *l, const char *text);
void nft_names_done(struct nft_names *l);

/* The canonical text of a table in the making; zero it first. Rules come chain by chain. */
struct nft_text {
	struct nft_names lines;
	char chain[256]; /* of the last rule */
	unsigned index;	 /* of the next rule in it */
};
int nft_text_table(struct nft_text *t, uint32_t flags);
int nft_text_chain(struct nft_text *t, const struct nftnl_chain *c);
int nft_text_rule(struct nft_text *t, const struct nftnl_rule *r);
int nft_text_set(struct nft_text *t, const struct nftnl_set *set);
int nft_text_obj(struct nft_text *t, uint32_t type, const char *name);
/* SHA-256 of it, with the elements, which are sorted. */
void nft_text_digest(
    struct nft_text *t, const struct nft_elems *elems, uint8_t ret[static RULESET_DIGEST_LEN]);
void nft_text_done(struct nft_text *t);
/* True if the set is declared as ours of that number is, its size left out. */
bool nft_set_as_built(const struct nft_target *t, unsigned set, const struct nftnl_set *have);

/* What is in the table of that name, ours or not; for a rebuild over an unknown state. */
struct nft_inventory {
	bool present;
	uint32_t flags, owner;
	struct nft_names chains, sets, flowtables;
	struct nft_names objs;	   /* the first byte is the object's type */
	uint32_t size[NFT_N_SETS]; /* declared; 0: missing, or not as we make it */
	struct nft_elems elems;	   /* of our sets, sorted */
};
int nft_inventory_read(int sock, const struct nft_target *t, struct nft_inventory *ret);
void nft_inventory_done(struct nft_inventory *inv);

/* SHA-256 over the canonical form. Elements must be sorted. */
int nft_digest_expected(const struct nft_target *t, const struct nft_modes *m,
    const struct nft_elems *elems, uint8_t ret[static RULESET_DIGEST_LEN]);
int nft_state_read(int sock, const struct nft_target *t, struct nft_state *ret);
/* The port of the table's owner, 0: it has none, or is not there. */
int nft_owner_read(int sock, const struct nft_target *t, uint32_t *ret_port);
int nft_refused_read(int sock, const struct nft_target *t, uint64_t ret[static NFT_N_COUNTERS]);

#endif
