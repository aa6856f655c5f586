/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A policy: one complete, numbered statement of approved and denied edges, modes, directions and
 * networks, and its file form (YAML or JSON, one validator).
 */
#ifndef NANOSEG_RULES_POLICY_H
#define NANOSEG_RULES_POLICY_H

#include "rules/doc.h"
#include "rules/edge.h"
#include "rules/peer.h"

#include <jansson.h>

enum wl_mode {
	MODE_OBSERVE,
	MODE_AUDIT,
	MODE_ENFORCE,
};

enum wl_direction {
	WL_INGRESS = 1,
	WL_EGRESS = 2,
	WL_BOTH = 3,
};

/* Bounds on a policy file and on a policy; more is refused with a sentence. */
#define POLICY_MAX_BYTES DOC_MAX_BYTES
#define POLICY_MAX_WORKLOADS 10000
#define POLICY_MAX_EDGES 100000
#define POLICY_MAX_NETWORKS 1000
#define POLICY_MAX_PREFIXES 10000
#define POLICY_MAX_IMAGES 32 /* of a workload */
#define POLICY_MAX_DEPTH DOC_MAX_DEPTH

struct policy_network {
	char *name;
	struct prefix *prefixes;
	size_t n_prefixes;
};

struct policy_label {
	char *key, *value;
};

struct policy_workload {
	char *name;
	enum wl_mode mode;
	enum wl_direction direction;
	struct policy_label *selector, *labels;
	size_t n_selector, n_labels;
	char **images; /* repositories that may run under the name; none: the file does not say */
	size_t n_images;
};

struct policy_edge {
	char id[EDGE_ID_STRLEN]; /* computed; an id in the file must agree with it */
	struct peer from, to;	 /* names are owned by the policy */
	uint8_t proto;
	uint16_t port_lo, port_hi;
	enum edge_state state;
	char *reason, *ticket;
	uint64_t expires_ns;
	unsigned line; /* in the file it came from, else 0 */
};

struct policy {
	char *name;
	uint64_t revision;
	struct policy_network *networks;
	struct policy_workload *workloads;
	struct policy_edge *edges;
	size_t n_networks, n_workloads, n_edges;
	struct policy_index *index; /* of policy_index(), or NULL */
};

void policy_free(struct policy *p);
static inline void
policy_freep(struct policy **p)
{
	policy_free(*p);
}

/*
 * Remembers which edges concern which workload, for a policy that is compiled for many and not
 * changed any more. 0 or -ENOMEM, then all is as before, and slower.
 */
int policy_index(struct policy *p);

/*
 * The edges that may concern a workload, by their order in the policy: those that name it, and
 * those with a set of addresses that may hold one of its own. Without an index, all.
 */
struct policy_walk {
	const struct policy *policy;
	const char *workload;
	size_t named, edge;
};

struct policy_walk policy_walk_edges(const struct policy *p, const char *workload);
const struct policy_edge *policy_walk_next(struct policy_walk *w);

/*
 * Parses a whole file. YAML and JSON alike (JSON is read as YAML's subset, by libyaml's events into
 * one tree that remembers lines and columns; anchors, aliases, tags, duplicate keys, several
 * documents, invalid UTF-8 and trailing data are refused). Unknown keys, wrong types, ports out of
 * range, prefixes with host bits, edges given twice, a workload given twice, an edge that names an
 * undeclared network, an id that does not belong to the edge: all refused, with line, column and
 * what was expected in *d; nothing is returned then. 0, -EINVAL or -ENOMEM.
 *
 * A workload name is written as it is, unless text_escape() would change more of it than its
 * backslashes (control characters, bidi overrides, bytes that are not UTF-8): such a name is
 * written {escaped: "shop/\\xff"} in text_escape()'s notation, wherever a name may stand. The two
 * forms cannot be confused, both are read back, and either gives the same bytes.
 *
 * port: 8080, "8000-8010" or absent only for ICMP, which has `type` (0..255, and optional `code`).
 * Claims in the file (approvedBy, evidence) are accepted as keys and ignored.
 */
int policy_parse(const char *text, size_t len, struct diag *d, struct policy **ret);

/* The policy's file form as a tree, keys in the documented order; edges sorted. */
json_t *policy_to_json(const struct policy *p);
/* As YAML text, deterministic, ends in a newline; *ret is malloc'ed. */
int policy_to_yaml(const struct policy *p, char **ret);

/* {host: true}, {cidr: ...}, or a bare string: a peer in the file's form. */
json_t *peer_to_policy_json(const struct peer *p);

const struct policy_workload *policy_find_workload(const struct policy *p, const char *name);
const struct policy_network *policy_find_network(const struct policy *p, const char *name);

/* Why a name (lower case) is no domain name, or NULL. One "*." may lead. */
const char *policy_fqdn_fault(const char *name);
const char *mode_name(enum wl_mode m);
int mode_parse(const char *name); /* or -EINVAL */
const char *direction_name(enum wl_direction d);
int direction_parse(const char *name);
/* The mode in one direction: mode if the direction is governed, else observe. */
enum wl_mode mode_in(enum wl_mode m, enum wl_direction governed, enum flow_dir dir);

#endif
