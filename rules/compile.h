/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compile: policy + inventory -> the ruleset of one namespace. Pure and deterministic.
 *
 * evaluate: the reference evaluator, written against the words of the policy and not against
 * compile's output; tests hold compile, evaluate and the kernel against each other.
 */
#ifndef NANOSEG_RULES_COMPILE_H
#define NANOSEG_RULES_COMPILE_H

#include "rules/policy.h"
#include "rules/ruleset.h"

/*
 * Who has which addresses now. Borrowed by the functions below. An address that two claim is in no
 * entry and not among the host's, but in `nobodys`: no peer is found by it.
 */
struct inventory_entry {
	const char *workload;
	const struct addr *addrs; /* of all its live instances, identified ones only */
	size_t n_addrs;
	bool contested; /* it has more addresses, that others claim too */
};

/* That workload was told that the name, as it is asked for, has that address. */
struct inventory_name {
	const char *workload, *name;
	struct addr addr;
};

struct inventory {
	const struct inventory_entry *entries; /* sorted by workload name (strcmp), unique */
	size_t n_entries;
	const struct addr *host; /* every address of the host's namespace, loopback excluded */
	size_t n_host;
	const struct addr *nobodys; /* also those of instances that are not identified */
	size_t n_nobodys;
	const struct inventory_name *names; /* sorted by workload, name and address, unique */
	size_t n_names;
};

/*
 * The ruleset for the instances of `workload`. A mode of observe in both directions gives an empty
 * ruleset. Edges whose peers have no address yet give no element. Denied edges give deny elements
 * on the same terms. An FQDN at the far end of what goes out has the addresses that the
 * workload was told it has, but none that the inventory has and none that stays on a link (a name
 * is not to lead to what is here); where it is the source it gives none
 * (compile_unsupported()). An edge whose expires_ns is not 0 and <= now_ns gives none if approved
 * (a denied edge never expires away). "internet" covers SCOPE_INTERNET less every address that the
 * inventory has. In each direction that is not governed there are no elements. Reports 50 per
 * second. The result is disjoint (ruleset_disjoin). 0, -ENOMEM, or -E2BIG when bounds are exceeded.
 *
 * The workload is an edge's near end by name, or as a member of a prefix, network or address. Where
 * such a set holds only some of the workload's addresses of a family, elements cannot tell them
 * apart: the approval then gives none, the denial counts for all (never more open than evaluated).
 * The same where it has contested addresses, which may be in the set or not.
 */
int ruleset_compile(const struct policy *p, const struct inventory *inv, const char *workload,
    uint64_t now_ns, struct ruleset **ret);
int inventory_name_cmp(const struct inventory_name *a, const struct inventory_name *b);
const struct inventory_entry *inventory_find(const struct inventory *inv, const char *workload);
/*
 * For each of now's entries: may its workload's ruleset be another one than under `before`, the
 * policy being the same? `local` aside, and link-local addresses of the host: engines give it one
 * with each container, and it has them on links that are nobody else's. True if workloads'
 * addresses are others, and so `local` is.
 */
bool inventory_concerns(const struct policy *p, const struct inventory *before,
    const struct inventory *now, bool *concerned);
/* True if some decided edge of the workload cannot be compiled; *ret points at the first. */
bool compile_unsupported(
    const struct policy *p, const char *workload, const struct policy_edge **ret);

enum verdict {
	VERDICT_ALLOW = 1,
	VERDICT_DENY_EDGE,   /* a denied edge matches */
	VERDICT_DENY_ABSENT, /* no approved edge matches */
};

struct evaluation {
	enum verdict verdict;			    /* of the policy, modes aside */
	const struct policy_edge *edge;		    /* that decided; NULL for DENY_ABSENT */
	bool source_enforces, destination_enforces; /* an end in enforce governs this connection */
	bool source_audits, destination_audits;
	bool passes; /* allowed, or refused by nobody because no end enforces */
};

/*
 * Would the first packet of t pass now, and why? src_workload/dst_workload: NULL if the address
 * is of no workload (then it is looked up in the inventory, the host, and by scope). A connection
 * must be allowed by every enforcing end; with workload names given, edges to the workload and
 * edges to a CIDR or internet that contain the address count alike, as compile has it.
 */
void policy_evaluate(const struct policy *p, const struct inventory *inv, const struct tuple *t,
    const char *src_workload, const char *dst_workload, uint64_t now_ns, struct evaluation *ret);

/* Does the peer contain the address (under the policy's networks and the inventory)? No FQDN does.
 */
bool peer_contains(const struct policy *p, const struct inventory *inv, const struct peer *peer,
    const struct addr *a);

#endif
