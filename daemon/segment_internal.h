/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between the segment*.c files alone. */
#ifndef NANOSEG_DAEMON_SEGMENT_INTERNAL_H
#define NANOSEG_DAEMON_SEGMENT_INTERNAL_H

#include "daemon/controller.h"
#include "daemon/roster.h"

#define SEGMENT_LARGE 2000 /* edges of a policy: some 30 ms to write */

/* segment_policy.c: deep copies; *ret is untouched on failure. 0 or -ENOMEM. */
int labels_copy(const struct policy_label *from, size_t n, struct policy_label **ret);
void labels_free(struct policy_label *list, size_t n);
int networks_copy(const struct policy_network *from, size_t n, struct policy_network **ret);
void networks_free(struct policy_network *list, size_t n);
int texts_copy(char *const *from, size_t n, char ***ret);
void texts_free(char **list, size_t n);
/* NULL gives NULL. 0 or -ENOMEM. */
int text_copy(const char *text, char **ret);

bool policy_edge_selected(const struct controller *c, const struct policy_edge *pe); /* --only */

/*
 * segment_undo.c: what a change touches is saved before it is touched, so that a refused change
 * leaves no trace: not in edges, workloads or networks, and none that it made. Rolling back
 * allocates nothing and cannot fail.
 */
struct edge_undo {
	struct edge *edge;
	bool created, dirty;
	enum edge_state state;
	uint32_t flags;
	uint64_t last_seen_ns;
	struct edge_decision decision;
};

struct workload_undo {
	struct workload *workload;
	enum wl_mode mode;
	enum wl_direction direction;
	uint64_t mode_since_ns;
	char *mode_reason, *mode_by;
	struct policy_label *labels, *selector;
	size_t n_labels, n_selector;
	char **images;
	size_t n_images;
	bool dirty, auto_promoted, rolled_back;
};

struct undo {
	struct edge_undo *edges;
	struct workload_undo *workloads;
	size_t n_edges, n_workloads;
	struct workload **made; /* by the change */
	size_t n_made;
	struct policy_network *networks;
	size_t n_networks;
	bool has_networks;
};

/* segment.c */
/* A change that is to become a revision. */
struct change {
	const char *action, *reason, *ticket;
	const struct actor *who;
	const struct undo *undo;
	uint64_t confirm_ns; /* 0: it stands */
	bool restores;	     /* an earlier revision: settles what awaits confirmation */
};
/* Makes the change the current revision, or leaves everything as it was. */
int segment_finish(struct controller *c, const struct change *ch, struct diag *d);
/* The edge of the key, made if need be, and saved for the undo. */
int segment_take_edge(
    struct controller *c, struct undo *u, const struct edge_key *key, struct edge **ret);
/* Saves the workload for the undo, then sets its mode. */
int segment_set_mode(struct undo *u, struct workload *w, enum wl_mode mode,
    enum wl_direction direction, const char *reason, const struct actor *who);

/* segment_apply.c: makes the policy the one in force, whatever awaits confirmation; that is settled
 * then.
 */
int segment_restore(struct controller *c, const struct policy *p, const char *reason,
    const struct actor *who, struct diag *d);

/*
 * duties.c: with separateDuties, may this person make the change that *u has saved? 0, or -EPERM
 * with a sentence.
 */
int duties_check(
    const struct controller *c, const struct actor *who, const struct undo *u, struct diag *d);

/* segment_audit.c: what a change is about, for its record: {edges, edgeCount, what, workloads,
 * modes}. */
json_t *change_subject(struct controller *c, const struct undo *u);
/* {revision, digest} */
json_t *revision_json(uint64_t revision, const char *digest);

void undo_start(struct undo *u);
/* As workload_get(), and one that it makes is of the change. */
struct workload *undo_get_workload(struct undo *u, struct controller *c, const char *name);
/* created: the edge is there only for this change. 0 or -ENOMEM. */
int undo_save_edge(struct undo *u, struct edge *e, bool created);
int undo_save_workload(struct undo *u, const struct workload *w);
/* Takes the networks in force out of the controller; the caller puts others there. */
void undo_save_networks(struct undo *u, struct controller *c);
/* Distinct edges saved. */
size_t undo_count_edges(const struct undo *u);
void undo_roll_back(struct undo *u, struct controller *c);
void undo_done(struct undo *u);

#endif
