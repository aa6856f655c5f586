/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The workloads, and when one is forgotten: roster.c, expire.c. */
#ifndef NANOSEG_DAEMON_ROSTER_H
#define NANOSEG_DAEMON_ROSTER_H

#include "rules/compile.h"
#include "rules/complete.h"
#include "rules/policy.h"
#include "rules/workload.h"

struct activity;
struct controller;
struct instance;
struct name_table;

struct workload {
	struct workload *next; /* of controller.workloads, in order of appearance */
	struct workload *next_of_peer;
	char *name;
	peer_id peer;
	enum wl_mode mode;
	enum wl_direction direction;
	struct policy_label *labels, *selector; /* given by the policy file */
	size_t n_labels, n_selector;
	char **images; /* accepted repositories, in order of acceptance; image.c */
	size_t n_images;
	const char *project;		      /* workload_set_text(); "": none */
	uint64_t first_seen_ns, last_seen_ns; /* CLOCK_REALTIME: an instance was there */
	uint64_t away_ns; /* last_seen_ns as the daemon before had it; 0: never */
	uint64_t mode_since_ns;
	uint64_t observed_ns; /* how long, in all, with every instance attached */
	char *mode_reason;    /* NULL: nobody has chosen the mode */
	char *mode_by;	      /* who has; NULL: nobody, or not known */
	bool dirty;
	bool auto_promoted;
	struct instance *instances;
	size_t inventory_at; /* resolve.c, former.c: its entry while one is built, or SIZE_MAX */
	size_t n_hosted;     /* containers in the host's network, which are no instances */
	/* reconcile.c: what it was compiled to, without `local` */
	uint8_t wanted[RULESET_DIGEST_LEN];
	bool is_compiled, wants_nothing;
	/* names.c */
	struct name_table *names; /* NULL: none yet */
	size_t n_name_peers;
	/* CLOCK_MONOTONIC: its connections are dumped, for what had ended then */
	uint64_t names_asked_ns, names_next_ns;
	uint64_t lost_events, lost_packets, ct_forgotten; /* of instances that are gone */
	unsigned loss_sources; /* bits of enum loss_source, since the start */
	/* completeness.c */
	struct complete_hours *log; /* NULL: it has not run */
	struct completeness complete;
	uint64_t lost_ns;     /* CLOCK_REALTIME, when something may last have been missed */
	uint64_t missed_ns;   /* and when a source last said that something was; 0: never */
	const char *networks; /* the engine's names of those it is on, one a line; "": not known */
	/* promote.c: since when it is quiet in audit, CLOCK_REALTIME; when that was first and last
	 * looked at, CLOCK_MONOTONIC; and how long it had been so when first */
	struct {
		uint64_t since_ns, seen_ns, looked_ns, before_ns;
	} quiet;
	char *promotion;	   /* promote.c: what it waits for, for people; NULL: nothing */
	uint64_t promote_at_ns;	   /* CLOCK_MONOTONIC, announced for; 0: not */
	bool rolled_back;	   /* a promotion of it was: a person has to look */
	struct activity *activity; /* NULL: not looked at yet */
};

/* roster.c */
struct workload *workload_find(struct controller *c, const char *name);
/* Creates it if need be; NULL when full or out of memory. */
struct workload *workload_get(struct controller *c, const char *name);
void workload_free(struct workload *w); /* no list holds it any more */
/* Of the fields that are never NULL. Without memory it stays as it was. */
void workload_set_text(const char **text, const char *value);
/* A user makes up names: beyond a number of them, all others are one workload. */
void roster_bound_user(struct controller *c, struct workload_id *id);
bool workload_selected(const struct controller *c, const char *name); /* --only */
/* Adds the time since the last call to what was observed all along. */
void workload_count_observed(struct controller *c);

/* expire.c */
void workload_remove(struct controller *c, struct workload *w); /* nothing leads to it */
void workload_expire_tick(struct controller *c);
/* Room for n more, by forgetting those idle for longest; nothing decided is lost. True: there is.
 */
bool workload_make_room(struct controller *c, size_t n);

#endif
