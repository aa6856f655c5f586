/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to the questions that a namespace itself has asked, and nothing else. Which packets
 * belong to a question's connection the kernel has said: whoever feeds this reports packets to a
 * name server's port as queries, and as answers only what goes the other way on such a connection.
 */
#ifndef NANOSEG_RULES_DNS_WATCH_H
#define NANOSEG_RULES_DNS_WATCH_H

#include "rules/dns.h"
#include "rules/frame.h"

#define DNS_WATCH_QUESTIONS 16384	      /* without an answer, of all namespaces */
#define DNS_WATCH_WAIT_NS (30 * NSEC_PER_SEC) /* for one; nobody's resolver waits longer */

struct dns_watch;

struct dns_watch_stats {
	uint64_t queries, answers; /* that were well formed */
	uint64_t unasked;	   /* answers to no question of the namespace */
	uint64_t malformed;
	uint64_t broken; /* dns_stream.h */
};

int dns_watch_new(uint64_t hash_seed, struct dns_watch **ret);
void dns_watch_free(struct dns_watch *w);
static inline void
dns_watch_freep(struct dns_watch **w)
{
	dns_watch_free(*w);
}

/*
 * An answer with addresses, the first to its question; borrowed. translated: the question went on
 * to another port than the one that was dialled.
 */
struct dns_answer {
	uint64_t netns;
	struct addr resolver; /* where it came from, as the asking program sees it */
	bool translated;
	const struct dns_message *message;
};
typedef void (*dns_watch_fn)(void *arg, const struct dns_answer *a);

/* One packet of a namespace, as the asking program sends or sees it. Calls fn before it returns. */
void dns_watch_packet(struct dns_watch *w, uint64_t netns, bool answer, const struct frame_info *f,
    const uint8_t *buf, uint64_t now_ns, dns_watch_fn fn, void *arg);
const struct dns_watch_stats *dns_watch_stats(const struct dns_watch *w);

#endif
