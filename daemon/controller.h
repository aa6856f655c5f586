/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller's state, shared by its files; what each of them offers stands in a header of its
 * subject. One event loop; what takes long takes turns with it (aside.h), and nothing here is
 * locked.
 *
 *   controller.c   start, timers
 *   dispatch.c     messages of the other roles
 *   clock.c        time
 *   instance.c     namespaces + container facts -> instances of workloads, their addresses
 *   nested.c       namespaces that containers made inside
 *   hosted.c       containers in the host's own network
 *   stopped.c      containers that do not run
 *   container.c    what the engines said of containers, and how far they can be held
 *   image.c        whose image may run under a workload's name
 *   image_allow.c  which images may run at all
 *   roster.c       the workloads
 *   expire.c       forgetting idle ones
 *   resolve.c      address -> peer
 *   names.c        what instances were told of domain names
 *   observe.c      conntrack sockets: drained, dumped -> learn_flow()
 *   observe_sockets.c  who listens, what is established
 *   aggregate*.c   connections counted by the kernel, in place of observe.c's events
 *   published.c    which workloads are behind the host's ports
 *   learn.c        flow events -> edges, recent flows
 *   denial.c       refused and unanswered connections, kept apart from the edges
 *   one_way.c      but for datagrams of long standing
 *   confirm.c      changes that are taken back unless confirmed; rollback
 *   quarantine*.c  who is held, whatever the policy says
 *   segment*.c     decisions, modes, revisions: what is to be in the kernel
 *   enforce.c      when what is to be in the kernel is looked at, and what the warden says of it
 *   reconcile.c    what each instance is to have, sent if it has not
 *   former.c       who was where before we were away, until everybody is known again
 *   tables.c       what each table was read back with, kept over deaths
 *   applied.c      what the kernel was read back with, on record
 *   cut.c          live connections that rules allow no more
 *   gate.c         the start gate: who may start, the marker
 *   exposure.c     what ran without its rules while the daemon was away
 *   hostguard.c    who has a host guard, and what it means for the grade
 *   posture.c      whether the warden closes new namespaces
 *   start.c        how long before its program an instance was held
 *   probing.c      probes: who may be asked, and that nothing is learned from them
 *   verify*.c      nanoseg verify: what the policy says, asked of the kernel
 *   selftest.c     are denied probes denied, all the time
 *   promote.c      automatic segmentation, by the clock or by evidence
 *   recertify.c    who let an approval stand, and which ones are overdue
 *   duties.c       who approves is not who enforces
 *   completeness.c how much of what a workload does is known
 *   kin.c          which workloads belong together, and which of them have not run
 *   alert*.c       what people are told of, wherever they are
 *   activity.c     how busy everybody is, and what is unusual
 *   history.c      what was connected when
 *   whatif.c       a candidate policy against it
 *   flush.c        evidence to the store, every few seconds
 *   store*.c       SQLite
 *   reload.c       the configuration, read again
 *   refusal.c      a store that cannot be used
 *   audit*.c       the audit log
 *   api*.c         HTTP
 *   aside.c        long work, in turns with the loop
 *   metrics_out.c  the metrics on a port and in a file
 */
#ifndef NANOSEG_DAEMON_CONTROLLER_H
#define NANOSEG_DAEMON_CONTROLLER_H

#include "daemon/audit.h"
#include "daemon/conf.h"
#include "daemon/confirm.h"
#include "daemon/labels.h"
#include "daemon/proto.h"
#include "daemon/reload.h"
#include "daemon/role.h"
#include "daemon/selftest.h"
#include "daemon/start.h"
#include "rules/edge.h"
#include "rules/policy.h"

#include <event2/event.h>
#include <jansson.h>

#define CTL_MAX_INSTANCES 8192
#define CTL_MAX_USER_INSTANCES 512 /* of all users together, who can make any number */
#define CTL_MAX_WORKLOADS POLICY_MAX_WORKLOADS
#define CTL_MAX_CONTAINERS 8192
#define CTL_MAX_ENGINES 8
#define CTL_MAX_ADDRS 64 /* per instance; the host may have RTNL_MAX_ADDRS */
#define CTL_MAX_WAITING 16384
#define CTL_MAX_RESOLVERS 8 /* of the host */

struct store;
struct api;
struct gate;
struct addr_map;
struct nested;
struct nat_cache;
struct witness;
struct one_way;
struct denial_table;
struct attempt_table;
struct flow_ring;
struct controller;
struct history;
struct instance;
struct container;
struct workload;
struct inventory;
struct tables;
struct alerts;
struct alert_spool;
struct quarantine;
struct probing;
struct selftest;
struct verify;
struct whatif;
struct metrics_out;
struct aggregate;

struct engine_state {
	struct d_engine d;
	uint64_t since_ns; /* CLOCK_REALTIME: that it is reachable, or not */
	bool synced;
};

/* Counters for /metrics, since the start of the controller. */
#define HISTOGRAM_BOUNDS 11
struct histogram {
	uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* each by itself, the last without end */
	uint64_t count, sum_ns;
};

struct metrics {
	uint64_t flow_events[FLOW_AUDITED + 1]; /* by enum flow_kind */
	uint64_t applies, refreshes, apply_failures, drift, foreign, cut;
	uint64_t starts[START_KINDS];
	struct histogram lead[START_CLOSED + 1], late, gate_wait, apply, named;
	struct selftest_counts selftest;
};

struct controller {
	struct role_args args;
	struct role_loop loop;
	struct config *config;
	const char *state_dir, *only, *socket_path, *config_path;
	uint64_t seed; /* of every hash over outside input */

	struct store *store;
	char refusal[1024]; /* why nothing is done but to answer with this, or "" */
	/*
	 * The store is empty, but the marker says that there was a policy and something enforced:
	 * what stands in the kernel stays until a person has decided.
	 */
	bool held;
	struct audit *audit;
	struct confirm confirm;
	struct reload reload;
	struct quarantine *quarantines;
	struct quarantine *released; /* from quarantine, the newest first */
	struct api *api;
	struct gate *gate;
	struct probing *probing;
	struct selftest *selftest;
	struct verify *verify;
	struct alerts *alerts; /* NULL: nobody is told */
	struct alert_spool *alert_spool;
	struct metrics_out *metrics_out;
	struct peer_table *peers;
	struct edge_table *edges;
	struct addr_map *addr_map;
	struct nat_cache *nat;
	struct witness *witness;
	struct one_way *one_way;
	struct aggregate *aggregates;
	struct denial_table *denials;
	struct attempt_table *attempts;
	struct flow_ring *flows;
	struct history *history;
	struct whatif *whatif; /* the one that runs, or NULL */
	/*
	 * A change is being made, in turns with the loop (aside.h): until it is over the store is
	 * its own, and no edge or workload with a decision goes.
	 */
	bool changing;

	struct instance *instances;
	struct instance *by_cookie[1024];
	size_t n_instances, n_user_instances, n_settling;
	struct instance *host;
	struct container *containers[1024];
	struct nested *nested;
	size_t n_nested;
	size_t n_hosted;	 /* containers in the host's network */
	struct stopped *stopped; /* containers that do not run */
	size_t n_stopped;
	struct container *publishers; /* those with ports */
	size_t n_containers, n_sharing;
	struct workload *workloads, **workloads_tail;
	struct workload *by_peer[4096]; /* roster.c: by the ids of their peers */
	size_t n_workloads;
	uint64_t workloads_refused;			    /* times that one found no place */
	bool memory_used;				    /* by much that is free again */
	uint64_t expired_ns, refused_ns, refused_logged_ns; /* CLOCK_MONOTONIC, of the last time */

	struct policy_network *networks;
	size_t n_networks;
	uint64_t revision;
	/* Of `revision`, built from the tables; never NULL. Whom it does not name is observed. */
	struct policy *policy;
	char policy_digest[AUDIT_HASH_STRLEN]; /* of its stored text; "": not known */
	peer_id peer_host, peer_internet, peer_multicast;

	struct addr resolvers[CTL_MAX_RESOLVERS]; /* of the host's resolv.conf */
	size_t n_resolvers;
	struct {
		uint64_t answers, untrusted, left_out;
		uint64_t save_ns; /* CLOCK_MONOTONIC, not before */
		bool unsaved;
	} names;

	json_t *applied_waiting; /* applied.c: entries not on record yet, or NULL */
	uint64_t applied_missed;
	uint64_t applied_full_ns; /* CLOCK_MONOTONIC, when there is room for all again */

	struct exposure exposures[CTL_MAX_EXPOSURES]; /* oldest first */
	size_t n_exposures, exposures_unsaved;
	/* Numbers of edges whose evidence went into another one, to be deleted from the store. */
	uint64_t *folded;
	size_t n_folded, folded_cap;
	size_t edges_stored; /* how many there were when they were stored */

	/* Recorded exports of users other than root in the hour that began then. */
	struct export_rate {
		uint64_t since_ns;
		unsigned n;
	} exports;

	struct metrics metrics;
	struct w_hello warden;
	struct w_posture posture; /* as last sent */
	bool warden_ready, scanned, listening, told_watching;
	uint64_t warden_since_ns; /* CLOCK_MONOTONIC */
	bool caught_up;		  /* everybody that it has found is known. See enforce.c */
	struct engine_state engines[CTL_MAX_ENGINES]; /* by name, in order of appearance */
	size_t n_engines;
	struct cap_stats capture;

	struct event *ev_drain, *ev_second, *ev_reconcile, *ev_first, *ev_expire;
	int told_fd; /* an epoll of the instances' sockets of events, ev_told on it */
	struct event *ev_told;
	uint64_t events_read_ns;		     /* CLOCK_MONOTONIC */
	unsigned events_read;			     /* then */
	uint64_t reconcile_after_ns, first_after_ns; /* CLOCK_MONOTONIC */
	json_t *former; /* former.c, until everybody is known; NULL: nobody is remembered */
	uint64_t former_saved;
	struct tables *tables;	     /* NULL: they are not known to the next start */
	struct inventory *inventory; /* that the workloads are compiled under; NULL: none yet */
	bool compile_all;	     /* they are to be compiled anew whatever it says */
	uint64_t local_generation;   /* of the addresses of all workloads, as of that inventory */
	uint64_t
	    drained_ns; /* CLOCK_REALTIME of the drain under way: one read for all its events */
	uint32_t next_seq;

	uint64_t sctp_opening[256]; /* hashes of associations in their handshake: observe.c */
	/* Events of namespaces or peers that are not identified yet. */
	struct flow_event *waiting;
	size_t n_waiting;
	struct label_waiting labels[LABELS_WAITING];
	size_t n_labels;
	uint64_t waiting_lost;
	uint64_t spoofed;    /* answered connections that their source has not made: witness.h */
	uint64_t unresolved; /* events of no instance, not counted anywhere else */
	uint64_t ticked_ns, promote_retry_ns;	  /* CLOCK_MONOTONIC */
	uint64_t activity_ns;			  /* CLOCK_MONOTONIC, of the last look */
	unsigned activity_logs;			  /* lines that are left to it */
	uint64_t completed_ns, promote_looked_ns; /* CLOCK_MONOTONIC */
	uint64_t reports_lost, reports_lost_ns;	  /* as promote.c has seen them; CLOCK_REALTIME */
	uint64_t started_ns;
};

/* Now, in nanoseconds: CLOCK_REALTIME and CLOCK_MONOTONIC. */
uint64_t now_real(void);
uint64_t now_mono(void);
/* The same as of the last tick, some milliseconds ago: it is asked for at each event. */
uint64_t now_coarse(void);
/* Of this boot of the machine; "" if it cannot be told. Returns buf. */
#define BOOT_ID_STRLEN 37
const char *boot_id(char buf[static BOOT_ID_STRLEN]);

/* refusal.c: says why once and ends the loop when it is worth another start. */
int refusal_begin(struct controller *c, const struct diag *d, int error);
/* A copy of the revision as STATE/policy.json, to be applied when the store is lost. */
void refusal_keep_policy(const struct controller *c, const char *text);

/* record.c */
void record_start(struct controller *c);
void record_stop(struct controller *c);
/* For the program that removes everything, the daemon being dead. 0, or a negative errno, said. */
int record_cleanup(const char *state_dir, const struct actor *who);

/* api.c */
int api_new(struct controller *c, struct api **ret);
/* The groups of a configuration that was read again; names that are not known, as an array. */
json_t *api_take_groups(struct api *a);
void api_free(struct api *a);
int api_listen(struct api *a, int fd);
/* No change is being made any more: requests that have waited for that are answered. */
void api_next(struct api *a);
/* New flows or denials are there: wake the followers. */
void api_wake(struct api *a);
/* A suspended request can be answered. */
struct MHD_Connection;
void api_resume(struct api *a, struct MHD_Connection *conn);

/* metrics_out.c */
int metrics_out_new(struct controller *c, struct metrics_out **ret); /* before the filter */
void metrics_out_tick(struct controller *c);			     /* once a second */
void metrics_out_stop(struct controller *c);

/* api_metrics.c */
void histogram_add(struct histogram *h, uint64_t ns);

#endif
