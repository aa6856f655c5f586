/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An interpreter of nf_tables, from the bytes that go to the kernel to the verdict on a packet. It
 * knows the kernel's messages and the kernel's meaning of expressions (net/netfilter/nft_*.c), and
 * nothing of the code that makes them: an attribute, an expression or a flag that it does not
 * understand is an error, never passed over.
 *
 * A table is a plain value, so that a test can break it on purpose.
 */
#ifndef NANOSEG_TESTS_NFTSIM_H
#define NANOSEG_TESTS_NFTSIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_NAME 32
#define SIM_CHAINS 8
#define SIM_SETS 32
#define SIM_RULES 64 /* of a chain */
#define SIM_EXPRS 12 /* of a rule */
#define SIM_KEY 24
#define SIM_FIELDS 3
#define SIM_COUNTERS 3

enum sim_op {
	SIM_META, /* arg: key */
	SIM_PAYLOAD,
	SIM_CT_STATE,
	SIM_CT_EVENTMASK,
	SIM_CT_DIRECTION,
	SIM_CT_DPORT, /* of the original direction */
	SIM_CT_MARK,
	SIM_BITWISE, /* data: mask, then xor */
	SIM_CMP,
	SIM_LOOKUP,
	SIM_IMMEDIATE,
	SIM_VERDICT, /* arg: code, index: chain */
	SIM_LIMIT,
	SIM_LOG,
	SIM_COUNT, /* index: counter */
	SIM_REJECT,
};

struct sim_expr {
	enum sim_op op;
	uint32_t arg;	     /* meta key, verdict, comparison, reject type */
	uint8_t reg;	     /* word of the register file, read or written */
	uint8_t base;	     /* payload */
	uint8_t code;	     /* reject */
	bool invert;	     /* lookup */
	uint32_t offset;     /* payload */
	uint32_t len;	     /* bytes */
	int index;	     /* chain, set or counter */
	uint8_t data[2][16]; /* comparison, mask and xor, immediate, log prefix */
};

struct sim_rule {
	struct sim_expr exprs[SIM_EXPRS];
	unsigned n;
};

struct sim_chain {
	char name[SIM_NAME];
	bool base;
	uint32_t hook, policy;
	int32_t priority;
	struct sim_rule rules[SIM_RULES];
	unsigned n;
};

struct sim_elem {
	uint8_t key[SIM_KEY], end[SIM_KEY];
};

struct sim_set {
	char name[SIM_NAME];
	uint32_t key_len, size;
	bool interval;
	uint8_t fields[SIM_FIELDS]; /* bytes of each, padding included; an interval set's */
	struct sim_elem *elems;
	size_t n, cap;
};

struct sim_table {
	bool present;
	uint32_t flags;
	char name[SIM_NAME];
	struct sim_chain chains[SIM_CHAINS];
	unsigned n_chains;
	struct sim_set sets[SIM_SETS];
	unsigned n_sets;
	char counters[SIM_COUNTERS][SIM_NAME];
	unsigned n_counters;
	char fault[160]; /* what was not understood or refused */
};

void sim_done(struct sim_table *t);
/* Copies the value; abort()s without memory. */
void sim_copy(struct sim_table *to, const struct sim_table *from);
/*
 * Applies the messages of one transaction. 0 or a negative errno as the kernel would answer (or
 * -EOPNOTSUPP for what the interpreter does not know), with `fault` set; the table is then void.
 */
int sim_feed(struct sim_table *t, const void *buf, size_t len);

struct sim_packet {
	uint32_t hook;	   /* NF_INET_* */
	uint32_t iif, oif; /* interface index; 0: none */
	uint32_t ct_state; /* NF_CT_STATE_BIT() */
	uint16_t ct_dport; /* that was dialled, network order */
	uint32_t ct_mark;  /* of its connection, if it has one */
	bool ct_reply;	   /* it goes the other way */
	bool limited;	   /* rate limits are used up */
	uint8_t nfproto;   /* NFPROTO_IPV4, NFPROTO_IPV6 */
	uint8_t l4proto;
	uint16_t thoff, len; /* of bytes */
	uint8_t bytes[64];   /* from the network header on */
};

enum sim_verdict {
	SIM_ACCEPT,
	SIM_DROP,
	SIM_REJECT_RST,	  /* with a TCP reset */
	SIM_REJECT_ADMIN, /* with ICMP: administratively prohibited */
};

struct sim_result {
	enum sim_verdict verdict;
	uint32_t event_mask; /* of conntrack's events, 0: untouched */
	uint8_t counted;     /* bit per counter */
	char log[8];	     /* prefixes, one after another */
};

/* The verdict of the table's base chains of that hook. */
void sim_run(const struct sim_table *t, const struct sim_packet *p, struct sim_result *ret);
/* True if the set has an element that matches the key. */
bool sim_set_has(const struct sim_set *set, const uint8_t *key);

#endif
