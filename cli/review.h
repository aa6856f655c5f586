/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg review: pending edges in groups, the answers of a person, what was left for later. Edges
 * are the daemon's JSON, borrowed.
 */
#ifndef NANOSEG_CLI_REVIEW_H
#define NANOSEG_CLI_REVIEW_H

#include "cli/cli.h"

#include "rules/edge.h"
#include "rules/policy.h"

enum review_risk {
	RISK_LOW,
	RISK_MEDIUM,
	RISK_HIGH,
};

struct review_edge {
	const json_t *json;
	const char *id, *from, *to; /* from and to as the API has them */
	const char *workload;	    /* whose edge it is: the destination's, else the source's */
	const char *other;	    /* the other end */
	const char *meaning;	    /* static: "database" */
	enum review_risk risk;
	const char *why; /* static: why it is that risky */
	enum wl_mode mode;
	int64_t port; /* for order */
};

/* Edges of one workload, meaning and risk: list[first .. first + n - 1]. */
struct review_group {
	size_t first, n;
};

struct review {
	struct cli *cli;
	json_t *edges, *status;
	struct policy *policy; /* for labels and networks; NULL: not asked for */
	struct review_edge *list;
	struct review_group *groups;
	size_t n, n_groups, n_left; /* n_left: not shown, left in an earlier review */
	struct review_left *left;
	const char *reason, *ticket, *expires; /* given on the command line, or NULL */
	bool never_expires;		       /* and not asked */
};

struct review_select {
	const char *label, *project, *network;
	const char *state; /* of the edges */
	bool all;
};

/* review_group.c. Fills (anew) list and groups from edges: most important first. 0 or -ENOMEM. */
int review_make_groups(struct review *v, const struct review_select *sel);
/* "shop" of "shop/web"; the length, 0 for none. */
size_t review_project_len(const char *name);
const char *review_risk_name(enum review_risk r);
/* The entry of /v1/status, or NULL. */
const json_t *review_workload(const struct review *v, const char *name);

/* review_left.c: edges that this user has looked at and left, by daemon, in a file. */
struct review_left;
/* Never fails for good: without a file it remembers nothing, and says so once. NULL: no memory. */
struct review_left *review_left_load(const char *socket);
void review_left_free(struct review_left *l);
bool review_left_has(const struct review_left *l, const char *id);
void review_left_add(struct review_left *l, const char *id);
/* Forgets those that are not among the pending edges. */
void review_left_prune(struct review_left *l, const json_t *edges);

/* review_ask.c: answers from a terminal. False: the input has ended. */
#define ASK_LEN 1024
bool ask_line(const char *prompt, char buf[static ASK_LEN]);
/* One of the letters. */
bool ask_letter(const char *prompt, const char *letters, char *ret);

struct review_why {
	char reason[ASK_LEN], ticket[ASK_LEN]; /* ticket: "" is none */
	uint64_t expires_s;		       /* 0: never */
	bool known;
};
/* Asks what is not known yet, reasons given on the command line aside. */
bool ask_why(const struct review *v, const char *verb, struct review_why *w);

/* review_show.c */
void review_show_group(const struct review *v, const struct review_group *g, size_t number);
void review_show_edge(const struct review *v, const struct review_edge *e);
/* One line: who, whom, port, connections. */
void review_show_line(const struct review *v, const struct review_edge *e);
int review_list(const struct review *v);

/* review_edit.c: approves a wider edge in the place of e. CLI_OK and *ret_done, or an exit code. */
int review_edit(
    struct review *v, const struct review_edge *e, struct review_why *w, bool *ret_done);

/* review_batch.c: decisions from a file; review_decide() posts one decision. */
int review_batch(const struct review *v, const char *file);
int review_decide(const struct cli *cli, bool approve, const char *const *ids, size_t n,
    const struct review_why *w, int64_t *ret_revision);

/* review_recertify.c: approved edges, to be kept or denied. */
int review_recertify(struct review *v, const struct review_select *sel);

/* review_stale.c: approved edges that are not used, about to end, or never seen. */
int review_stale(struct cli *cli, const char *workload, uint64_t days);

#endif
