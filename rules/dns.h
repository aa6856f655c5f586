/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers of the Domain Name System: which addresses a name was said to have. Only what naming
 * needs is read (RFC 1035, 3596): one question for A or AAAA, its CNAME chain, and the addresses at
 * the chain's end. Names are lower case, without the final dot.
 */
#ifndef NANOSEG_RULES_DNS_H
#define NANOSEG_RULES_DNS_H

#include "rules/flow.h"

#define DNS_NAME_MAX 254    /* with the terminator */
#define DNS_MAX_ADDRS 64    /* kept of one answer; more are counted as truncated */
#define DNS_MAX_RECORDS 256 /* read of one answer */

struct dns_message {
	uint16_t id;
	bool response;
	bool truncated; /* by the server's flag, or more than is kept here */
	uint8_t rcode;
	uint16_t qtype;
	char name[DNS_NAME_MAX]; /* the question's, as hosts are named; "" for the root */
	struct addr addrs[DNS_MAX_ADDRS];
	size_t n_addrs;
	uint32_t ttl_s; /* the smallest along the way; 0 if there is no address */
};

/*
 * One message (no length in front, as in UDP). 0: *ret is filled, addrs only for a response of code
 * 0 to a question for addresses. -ENODATA: well formed so far as it was read, but not a standard
 * query with a single question of class IN, or its name is none of a host. -EBADMSG: malformed.
 * Records after the answer section are not read.
 */
int dns_parse(const uint8_t *buf, size_t len, struct dns_message *ret);

/*
 * What an answer has to agree with: who asked whom, from which port, the id, the type and the name.
 * Never 0.
 */
uint64_t dns_question_hash(const struct tuple *asked, const struct dns_message *m, uint64_t seed);

#endif
