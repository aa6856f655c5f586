/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between simulate_prepare.c, simulate.c (judges) and simulate_json.c (answers) alone. */
#ifndef NANOSEG_RULES_SIMULATE_INTERNAL_H
#define NANOSEG_RULES_SIMULATE_INTERNAL_H

#include "rules/policy_cover.h"
#include "rules/simulate.h"

/* What became of a flow. */
#define SIM_GOVERNED 0x1u /* some end enforces */
#define SIM_REFUSED_SOURCE 0x2u
#define SIM_REFUSED_DESTINATION 0x4u
#define SIM_REFUSED (SIM_REFUSED_SOURCE | SIM_REFUSED_DESTINATION)

struct sim_flow {
	peer_id from, to;
	uint8_t proto, family, what;
	uint16_t port;
	uint32_t hours;
	uint32_t by[2]; /* 1 + the edge that lets it pass at its source and its destination; 0 */
	uint64_t connections, last_seen_ns;
};

struct simulation {
	const struct policy *policy;
	struct policy judged; /* the same with other modes; its edges are the policy's */
	struct inventory inv; /* the given one, and whom it does not have */
	const struct inventory *given;
	enum simulate_modes modes;
	uint64_t now_ns, refused_flows;
	struct peer_table *peers;
	struct sim_flow *flows;
	size_t n_flows, room;
	/* Flows by the workload at an end: those of `peer` are list[end[peer - 1]..end[peer]). */
	uint32_t *list, *end;
	peer_id next; /* the workload that is judged next */
	/* What is made before the first workload is judged, a part at a time. */
	unsigned stage;
	size_t at;	/* in its list */
	uint8_t *needs; /* families by peer; NULL: nothing has begun */
	struct inventory_entry *entries;
	struct addr *host;
	size_t n_made;
	uint64_t *numbers; /* of the policy's edges, in their order */
	size_t *by_number; /* their indexes, by number */
	bool *used;
	struct edge_cover *cover, *cover_flows; /* by words: the policy's edges, and the flows */
	struct policy_edge *words;
	const struct policy_edge **word_list, **edge_list;
};

/* Real addresses of an end that has any number of them. */
const struct addr *simulate_addrs_of(
    const struct inventory *inv, const struct peer *p, size_t *ret_n);
/* A part of what is made first. 1: there is more; 0; -ENOMEM. */
int simulate_prepare(struct simulation *s);

#endif
