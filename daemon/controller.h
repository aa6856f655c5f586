/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller's state, shared by its files. One thread, one event loop; nothing here is locked.
 *
 *   controller.c   start, dispatch of messages, timers
 *   clock.c        time
 *   instance.c     namespaces + container facts -> instances of workloads, their addresses
 *   nested.c       namespaces that containers made inside
 *   hosted.c       containers in the host's own network
 *   container.c    what the engines said of containers, and how far they can be held
 *   image.c        whose image may run under a workload's name
 *   image_allow.c  which images may run at all
 *   roster.c       the workloads
 *   expire.c       forgetting idle ones
 *   resolve.c      address -> peer
 *   names.c        what instances were told of domain names
 *   observe.c      conntrack sockets: drained, dumped -> learn_flow(); who listens
 *   aggregate.c    connections counted by the kernel, in place of observe.c's events
 *   published.c    which workloads are behind the host's ports
 *   learn.c        flow events -> edges, recent flows
 *   denial.c       refused and unanswered connections, kept apart from the edges
 *   confirm.c      changes that are taken back unless confirmed; rollback
 *   quarantine*.c  who is held, whatever the policy says
 *   segment*.c     decisions, modes, revisions: what is to be in the kernel
 *   enforce.c      when what is to be in the kernel is looked at, and what the warden says of it
 *   reconcile.c    what each instance is to have, sent if it has not
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
 *   metrics_out.c  the metrics on a port and in a file
 */
#ifndef NANOSEG_DAEMON_CONTROLLER_H
#define NANOSEG_DAEMON_CONTROLLER_H

#include "daemon/alert.h"
#include "daemon/activity.h"
#include "daemon/audit.h"
#include "daemon/conf.h"
#include "daemon/confirm.h"
#include "daemon/grade.h"
#include "daemon/history.h"
#include "daemon/probing.h"
#include "daemon/proto.h"
#include "daemon/quarantine.h"
#include "daemon/reload.h"
#include "daemon/role.h"
#include "daemon/selftest.h"
#include "netlink/ct.h"
#include "netlink/rtnl.h"
#include "rules/compile.h"
#include "rules/complete.h"
#include "rules/edge.h"
#include "rules/policy.h"
#include "rules/workload.h"

#include <event2/event.h>
#include <jansson.h>

#define CTL_MAX_INSTANCES 8192
#define CTL_MAX_USER_INSTANCES 512 /* of all users together, who can make any number */
#define CTL_MAX_WORKLOADS POLICY_MAX_WORKLOADS
#define CTL_MAX_CONTAINERS 8192
#define CTL_MAX_ENGINES 8
#define CTL_MAX_ADDRS 64 /* per instance; the host may have RTNL_MAX_ADDRS */
#define CTL_MAX_WAITING 16384
#define CTL_MAX_DNS 4
#define CTL_MAX_RESOLVERS 8   /* of the host */
#define CTL_MAX_EXPOSURES 256 /* the newest are kept */

struct store;
struct api;
struct gate;
struct addr_map;
struct nested;
struct nat_cache;
struct witness;
struct denial_table;
struct attempt_table;
struct flow_ring;
struct controller;
struct match;
struct name_table;
struct probing;
struct selftest;
struct verify;
struct whatif;
struct metrics_out;
struct aggregate;

/* What the controller knows about a container from an engine (MSG_D_CONTAINER). */
struct container {
	struct container *next; /* hash chain */
	char id[65];
	char *facts; /* the JSON text, for status and identity again */
	char *name, *image, *image_id;
	uint64_t image_number; /* the first 8 bytes of the id; 0: none */
	struct workload_id identity;
	enum runtime runtime;
	bool existing; /* it ran before we asked for the first time */
	bool host_network;
	char network[128];
	uint32_t image_judged;	     /* image_allow.c: under which configuration */
	bool unapproved, image_held; /* it was held for it, once */
	bool nameless;		     /* from files that do not say enough for a name that lasts */
	bool from_files;	     /* no engine keeps us informed: forgotten with its instance */
	char shares[65];	     /* the container whose network namespace it uses, or "" */
	bool in_pod;		     /* or the sandbox of one */
	unsigned grade;		     /* GRADE_* */
	struct container *next_publisher;
	struct published *ports; /* of the host, that lead to it */
	size_t n_ports;
	struct addr dns[CTL_MAX_DNS]; /* name servers that the engine was told to give it */
	size_t n_dns;
};

enum attach_state {
	ATTACH_NONE,
	ATTACH_ASKED,
	ATTACH_DONE,
	ATTACH_FAILED,
};

/* One namespace with what runs in it. */
struct instance {
	struct instance *next;		 /* of controller.instances */
	struct instance *next_of_cookie; /* hash chain */
	struct instance *next_of_workload;
	struct controller *ctl;
	struct w_netns ns;
	struct container *container; /* borrowed, NULL: none known (yet) */
	bool was_refused;	     /* as its container was forgotten */
	struct workload *workload;   /* NULL until identified */
	uint64_t announced_ns;	     /* CLOCK_MONOTONIC */
	uint64_t attached_ns;
	uint64_t renamed_ns; /* CLOCK_REALTIME: it left a workload and lives on; 0: never */
	uint32_t hash;	     /* stable hash of the instance for evidence */
	bool is_host;
	bool unknown;	   /* no engine has said in time what it is */
	bool settling;	   /* its addresses or its name may still be about to be known */
	bool existing;	   /* it was there before the warden's first scan was over */
	unsigned shared_s; /* how long others have claimed an address of it, until it is said */
	bool refusal_logged;
	bool other_member; /* image.c: a member's image is not accepted; not its own container's */

	enum attach_state attach;
	int attach_error;	  /* of the last try, 0: it succeeded */
	unsigned attach_failures; /* in a row */
	uint64_t attach_retry_ns; /* CLOCK_MONOTONIC */
	struct w_attached attached;
	int dump_fd, diag_fd;
	bool dump_running, dump_wanted;
	bool dump_learns;   /* the one that runs is for learning, and not only for cut.c */
	bool dump_unread;   /* a part of a dump has come, nothing of it is used yet */
	uint64_t dumped_ns; /* CLOCK_MONOTONIC: the last dump after an overrun */
	uint64_t dump_began_ns, dumped_whole_ns; /* CLOCK_MONOTONIC: of the last that was complete,
						    when it began */
	uint64_t named_ns; /* CLOCK_REALTIME: waits for a name's address since; 0: does not */
	struct event *ev_ct, *ev_dump, *ev_rtnl;
	int ct_fd;
	bool armed; /* waits for the drain timer */
	struct rtnl_watch *addrs;
	struct ct_recv_stats ct_stats;
	uint64_t overrun_logged_ns; /* CLOCK_MONOTONIC */
	uint64_t lost_ns;	    /* CLOCK_MONOTONIC: connections of it were lost, 0: never */
	uint64_t lost_packets;	    /* of reports of this namespace */
	struct w_ct_stats ct_count;
	bool ct_alert; /* over the configured share of the table */
	uint64_t listeners_read_ns, listeners_cost_ns;
	struct diag_listener *listeners; /* observe.c */
	size_t n_listeners;
	uint64_t events;	     /* of its connections, in all */
	struct aggregate *aggregate; /* aggregate.c; NULL: not attached */

	/* enforce.c */
	bool enforced_before; /* some direction has been in enforce since attach */
	uint32_t apply_seq;   /* of the outstanding NFT_APPLY, 0: none */
	uint8_t *asked_rules; /* what it holds, encoded */
	size_t asked_rules_len;
	uint64_t asked_revision, applied_revision;
	uint8_t asked[RULESET_DIGEST_LEN], applied[RULESET_DIGEST_LEN]; /* without `local` */
	uint8_t loaded[RULESET_DIGEST_LEN];				/* with it */
	uint64_t asked_local, applied_local; /* controller.local_generation of it */
	bool local_due, asked_refresh;	     /* it is, was, to be loaded for that alone */
	uint64_t local_asked_ns;	     /* CLOCK_MONOTONIC: as it was missing */
	uint64_t looked_ns;		     /* CLOCK_MONOTONIC: its turn, in enforce.c */
	uint64_t local_since;		     /* the first generation that has it as it is now */
	bool has_applied, match;
	bool is_first; /* waits for its first rules */
	uint8_t kernel[RULESET_DIGEST_LEN];
	uint32_t apply_usec;
	uint64_t applied_ns; /* CLOCK_REALTIME */
	int apply_error;
	unsigned apply_failures;
	uint64_t retry_at_ns;  /* CLOCK_MONOTONIC */
	bool asked_held;       /* the rules asked for are those of its quarantine */
	bool held_cut;	       /* and the connections from before it are cut */
	bool gated;	       /* it passed the start gate, its rules in force */
	int64_t gate_lead_ns;  /* and they were so long before the answer */
	uint64_t held_ns;      /* CLOCK_REALTIME: gated or closed since */
	uint64_t ruled_ns;     /* CLOCK_MONOTONIC: governed from the start, its first rules; or 0 */
	bool start_counted;    /* in the metrics */
	bool begin_judged;     /* whether it was seen: completeness.c */
	uint32_t table_holder; /* netlink port of whoever else owns its table, 0: nobody */
	struct {
		uint32_t holder;     /* as last said */
		uint64_t times;	     /* that it changed since */
		uint64_t said_ns[2]; /* CLOCK_MONOTONIC, that it is free and that it is held */
	} foreign;
	uint64_t drift;		/* times that its rules were found changed */
	uint64_t drift_said;	/* how many of them have been said */
	uint64_t drift_said_ns; /* CLOCK_MONOTONIC */
	struct selftest_counts selftest;
	uint64_t selftest_due_ns, selftest_said_ns; /* CLOCK_MONOTONIC */
	bool on_record; /* applied.c: what it was read back with, or that it failed */
	uint8_t recorded[RULESET_DIGEST_LEN], recorded_kernel[RULESET_DIGEST_LEN];
	bool exposure_judged; /* its first rules are there: exposure.c has seen them */

	struct cut *cut;	  /* cut.c; NULL: there is nothing to cut */
	uint64_t cut_connections; /* in all */

	/* hostguard.c */
	void *guard_asked; /* the MSG_W_GUARD that was sent last */
	size_t guard_asked_len;
	struct w_guarded guard;
	bool has_guard;	  /* it has been told about */
	uint64_t dropped; /* packets refused, as last read */
};

struct workload {
	struct workload *next; /* of controller.workloads, in order of appearance */
	char *name;
	peer_id peer;
	enum wl_mode mode;
	enum wl_direction direction;
	struct policy_label *labels, *selector; /* given by the policy file */
	size_t n_labels, n_selector;
	char **images; /* accepted repositories, in order of acceptance; image.c */
	size_t n_images;
	char project[256];
	uint64_t first_seen_ns, last_seen_ns; /* CLOCK_REALTIME: an instance was there */
	uint64_t away_ns; /* last_seen_ns as the daemon before had it; 0: never */
	uint64_t mode_since_ns;
	uint64_t observed_ns; /* how long, in all, with every instance attached */
	char *mode_reason;    /* NULL: nobody has chosen the mode */
	char *mode_by;	      /* who has; NULL: nobody, or not known */
	bool dirty;
	bool auto_promoted;
	struct instance *instances;
	size_t n_hosted; /* containers in the host's network, which are no instances */
	/* reconcile.c: what it was compiled to, without `local` */
	uint8_t wanted[RULESET_DIGEST_LEN];
	bool is_compiled, wants_nothing;
	/* names.c */
	struct name_table *names; /* NULL: none yet */
	size_t n_name_peers;
	/* CLOCK_MONOTONIC: its connections are dumped, for what had ended then */
	uint64_t names_asked_ns, names_next_ns;
	uint64_t lost_events, lost_packets; /* of instances that are gone */
	/* completeness.c */
	struct complete_log *log; /* NULL: it has not run */
	struct completeness complete;
	uint64_t lost_ns;  /* CLOCK_REALTIME, when something may last have been missed */
	char network[128]; /* the engine's name of its network, "": not known */
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

struct engine_state {
	struct d_engine d;
	uint64_t since_ns; /* CLOCK_REALTIME: that it is reachable, or not */
	bool synced;
};

/* How an instance was started, see start.c. */
enum start_kind {
	START_GATED,
	START_CLOSED,
	START_LATE,
	START_EXISTING,
	START_KINDS,
};

struct start {
	enum start_kind kind;
	bool known;	 /* lead_ns is */
	int64_t lead_ns; /* at least so long before its program began; negative: at most so late */
	uint64_t held_real_ns; /* since when, CLOCK_REALTIME; 0: not known */
};

/* A container of an enforced workload ran without its rules; CLOCK_REALTIME. */
struct exposure {
	char *workload;
	char instance[65];
	uint64_t from_ns, to_ns;
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
	struct histogram lead[START_CLOSED + 1], late, apply, named;
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
	struct aggregate *aggregates;
	struct denial_table *denials;
	struct attempt_table *attempts;
	struct flow_ring *flows;
	struct history *history;
	struct whatif *whatif; /* the one that runs, or NULL */

	struct instance *instances;
	struct instance *by_cookie[1024];
	size_t n_instances, n_user_instances, n_settling;
	struct instance *host;
	struct container *containers[1024];
	struct nested *nested;
	size_t n_nested;
	size_t n_hosted;	      /* containers in the host's network */
	struct container *publishers; /* those with ports */
	size_t n_containers, n_sharing;
	struct workload *workloads, **workloads_tail;
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
	bool drain_armed;
	uint64_t reconcile_after_ns, first_after_ns; /* CLOCK_MONOTONIC */
	struct inventory *inventory; /* that the workloads are compiled under; NULL: none yet */
	bool compile_all;	     /* they are to be compiled anew whatever it says */
	uint64_t local_generation;   /* of the addresses of all workloads, as of that inventory */
	uint64_t
	    drained_ns; /* CLOCK_REALTIME of the drain under way: one read for all its events */
	uint32_t next_seq;

	/* Events of namespaces or peers that are not identified yet. */
	struct flow_event *waiting;
	size_t n_waiting;
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
/* Of this boot of the machine; "" if it cannot be told. Returns buf. */
#define BOOT_ID_STRLEN 37
const char *boot_id(char buf[static BOOT_ID_STRLEN]);

/* instance.c */
void instance_on_netns(struct controller *c, const struct w_netns *n);
void instance_on_netns_gone(struct controller *c, uint64_t cookie);
void instance_on_attached(struct controller *c, struct msg *m);
/* From all that is known now, also again. */
void instance_identify(struct instance *i);
void instance_on_container(struct controller *c, const char *json, size_t len);
void instance_on_container_gone(struct controller *c, const struct d_id *id);
void instance_reset(struct controller *c);   /* the warden is new */
void instance_tick(struct controller *c);    /* once a second */
void instance_ask_all(struct controller *c); /* discovery is new: who is not known yet? */
struct instance *instance_find(struct controller *c, uint64_t cookie);
/* After a failure, once the warden knows more about it. */
void instance_attach_again(struct instance *i);
/* Short id for people: container id (12 digits) or the namespace's name. */
const char *instance_id(const struct instance *i);
/*
 * The containers in its namespace, one a call: the one that the namespace was made for first.
 * Start with *pos = 0; NULL ends.
 */
const struct container *instance_next_member(const struct instance *i, size_t *pos);
/* False once nothing more is expected to become known about any instance. */
bool instance_settling(const struct controller *c);
/* The same, escaped for a line of the log; valid until the next call. */
const char *instance_log_id(const struct instance *i);
/* Its addresses that count: a container can give itself any number. */
const struct rtnl_addr *instance_addrs(const struct instance *i, size_t *ret_n);
/* Closed by the warden from its first moment, and still so for want of an identity. */
bool instance_is_quarantined(const struct instance *i);
/* GRADE_*, of every container in its namespace. */
unsigned instance_grade_bits(const struct instance *i);
/* "full", "partial" or "no"; *ret_why is NULL or a static sentence. */
const char *instance_grade(const struct instance *i, const char **ret_why);
/* Says so, once, when conntrack in the namespace gets too full. */
void instance_check_headroom(struct instance *i);
bool instance_has_addr(const struct instance *i, const struct addr *a);
/* Another workload's instance claims it too, or the host has it: no rule is made with it. */
bool instance_shares_addr(const struct instance *i, const struct addr *a);
/* What is known of a container, or of the one whose namespace it uses; NULL: nothing yet. */
struct container *container_find(struct controller *c, const char *id);
/* Of that container itself. */
struct container *container_known(struct controller *c, const char *id);
struct workload *workload_find(struct controller *c, const char *name);
/* Creates it if need be; NULL when full or out of memory. */
struct workload *workload_get(struct controller *c, const char *name);
/* expire.c */
void workload_expire_tick(struct controller *c);
/* Room for n more, by forgetting those idle for longest; nothing decided is lost. True: there is.
 */
bool workload_make_room(struct controller *c, size_t n);
void workload_free(struct workload *w); /* no list holds it any more */
/* A user makes up names: beyond a number of them, all others are one workload. */
void roster_bound_user(struct controller *c, struct workload_id *id);
bool workload_selected(const struct controller *c, const char *name); /* --only */

/* image.c */
/* What an acceptance names: the repository, or the image's id if it has none; "" if not known. */
const char *container_repository(const struct container *k);
/* True also if nothing has ever run under the name. */
bool workload_accepts(const struct workload *w, const char *repository);
bool workload_accepts_container(const struct workload *w, const struct container *k);
/* 0, also if it was accepted before; -ENOSPC, -ENOMEM. */
int workload_accept(struct workload *w, const char *repository);
bool workload_unaccept(struct workload *w, const char *repository);
int workload_accept_running(struct workload *w);
bool instance_has_other_image(const struct instance *i);
/* Its container, or the first of the members, whose image is not accepted; NULL: all are. */
const struct container *instance_other_container(const struct instance *i);
/* A guest's is not: it keeps its rules, and the guest has them too. */
bool instance_has_other_guest(const struct instance *i);
bool workload_has_other_image(const struct workload *w);
bool workload_refuses(const struct workload *w, const struct container *k);
/* Closed, and nobody: it runs another image under an enforced name. */
bool instance_is_refused(const struct instance *i);
/* The workload whose edges it has: NULL if it is not identified, or refused. */
struct workload *instance_counts_as(const struct instance *i);
/* After its workload or its members have changed: notes the first image of a workload. */
void image_check(struct instance *i);

/* image_allow.c */
void image_allow_tick(struct controller *c); /* once a second */
uint64_t image_count_unapproved(const struct controller *c);

/* Facts from files go when no namespace of the container is left. */
void container_forget_files(struct controller *c, const char *id);
/* Adds the time since the last call to what was observed all along. */
void workload_count_observed(struct controller *c);

/* nested.c */
/*
 * Is it one that a container, or a user's container, has made inside? Then it is counted as a part
 * of that and is no instance.
 */
bool nested_take(struct controller *c, const struct w_netns *n);
/* The same for what was taken for an instance before this one, the container's own, was known. */
void nested_sort_out(struct controller *c, const struct w_netns *own);
void nested_forget(struct controller *c, uint64_t cookie);
void nested_clear(struct controller *c);
/* How many of them the instance has; *ret_many: there may be more. */
size_t nested_count(const struct instance *i, bool *ret_many);

/* hosted.c */
#define HOSTED_WHY                                                                                \
	"it uses the host's network: it has no namespace of its own, what it does counts as the " \
	"host's, and no rule holds it"
void hosted_tick(struct controller *c); /* once a second */
void hosted_each(struct controller *c, const struct workload *w,
    void (*fn)(void *arg, const struct container *k), void *arg);

/* resolve.c */
int addr_map_new(uint64_t seed, struct addr_map **ret);
void addr_map_free(struct addr_map *m);
int addr_map_claim(struct addr_map *m, const struct addr *a, struct instance *i);
void addr_map_retract(struct addr_map *m, const struct addr *a, const struct instance *i);
/* No event is read longer than this after what it tells of. */
#define LATE_NS (2 * NSEC_PER_SEC)
/* What whoever is root inside can do all the time is said and recorded so often, of an instance. */
#define DRIFT_SAY_NS (5 * NSEC_PER_SEC)
/* What retract says by itself: from now on it may be another workload's. */
void addr_map_release(struct addr_map *m, const struct addr *a, const struct instance *i);
/* May an event of that time be about another workload than the one that i is of now? */
bool addr_map_was_anothers(
    const struct addr_map *m, const struct addr *a, const struct instance *i, uint64_t time_ns);
/* The one instance with this address; NULL if none, or *ret_ambiguous. */
struct instance *addr_map_find(const struct addr_map *m, const struct addr *a, bool *ret_ambiguous);
/*
 * The peer behind an address. 0; -EAGAIN: an instance that is not identified yet has it, or nobody
 * has it and some instance's addresses are still on their way (asked to wait); -ENOSPC. *ret_i is
 * the instance or NULL.
 *
 * RESOLVE_FINAL: take what is known, do not wait. RESOLVE_REFUSED: nothing was answered, anyone can
 * make any number of such events: new addresses get half of the room that evidence has.
 */
#define RESOLVE_FINAL 0x1u
#define RESOLVE_REFUSED 0x2u
int resolve_addr(struct controller *c, const struct addr *a, unsigned flags, peer_id *ret,
    struct instance **ret_i);
/* all_names: also those that no edge of the policy speaks of, for another policy. */
struct inventory *inventory_build(struct controller *c, bool all_names);
void inventory_free(struct inventory *inv);
static inline void
inventory_freep(struct inventory **inv)
{
	inventory_free(*inv);
}

/* observe.c */
int observe_start(struct instance *i, struct msg *m);
/* Its addresses are others than these were. */
void observe_addrs_changed(struct instance *i, const struct addr *before, size_t n_before);
void observe_stop(struct instance *i);
void observe_drain_cb(evutil_socket_t fd, short what, void *arg);
int observe_dump(struct instance *i);
/* For cut.c alone: begins one, unless one runs. And reads on once cut.c is no longer busy. */
void observe_dump_to_cut(struct instance *i);
void observe_dump_go_on(struct instance *i);
#define OBSERVE_DUMP_SEQ 1u
void observe_tick(struct instance *i); /* once a second */
void observe_on_dump_asked(struct controller *c, const struct w_done *d);
/* The established TCP connections of the instance, from the local end: not oriented. */
typedef void (*observe_socket_fn)(void *arg, const struct tuple *t);
int observe_established(struct instance *i, observe_socket_fn fn, void *arg);
/* Reads what the host's connection table has said by now, so that the NAT cache knows it. */
void observe_host(struct controller *c);
/* Settles the direction of a connection seen in i, by who listens. True if it could be told. */
bool observe_orient(struct instance *i, struct tuple *t);
struct tuple observe_tuple_of(const struct ct_entry *e);

/* aggregate.c */
void aggregate_start(struct instance *i);  /* it is attached */
void aggregate_stop(struct instance *i);   /* its sockets go; what is known of its counters stays */
void aggregate_tick(struct controller *c); /* once a second */
void aggregate_on_answer(struct controller *c, struct msg *m);
/* Connections that begin in it now are counted by the kernel. */
bool aggregate_is_on(const struct instance *i);
/* {state, missed}, or null: an event tells of each. */
json_t *aggregate_to_json(const struct instance *i);
void aggregate_forget(struct controller *c, uint64_t cookie); /* its namespace is gone */

/* published.c */
/* Takes the container's `ports` (see discovery.h). */
int published_read(struct container *k, const json_t *ports);
void published_add(struct controller *c, struct container *k);
void published_remove(struct controller *c, struct container *k);
/* Does a container take the host's port at that address, by any protocol? */
bool published_takes(const struct controller *c, const struct addr *a, uint16_t port);
/* The workload behind an address and port of the host; PEER_ID_NONE: none, or more than one. */
peer_id published_find(
    const struct controller *c, const struct addr *a, uint8_t proto, uint16_t port);
/*
 * "behind": the workload that an edge's port leads to, or "behindAnyOf": several; nothing where
 * none is known. edge may be NULL: what is published alone.
 */
void published_set_behind(
    struct controller *c, json_t *o, const struct edge_key *key, const struct edge *edge);
/* Whom an edge from the host to that port of the workload admits. */
json_t *published_admits(struct controller *c, const char *workload, uint8_t proto, uint16_t port);

/* learn.c */
void learn_flow(struct controller *c, const struct flow_event *ev);
/* Of answered connections: counted if their edge is known. The event's kind and count are ignored.
 */
/* What the host knows the connection as on its other side, or NULL. Valid until the next event. */
const struct tuple *learn_find_nat(struct controller *c, const struct tuple *t);
void learn_bytes(struct controller *c, const struct flow_event *ev, uint64_t bytes);
void learn_retry_waiting(struct controller *c, bool give_up_old);
bool learn_covers(
    void *arg, const struct edge *decided, const struct edge_key *observed, const struct tuple *t);

/* One line of `nanoseg flows`. */
struct flow_record {
	uint64_t seq, time_ns;
	struct tuple tuple;
	peer_id from, to, behind; /* behind: the workload behind a published port, or none */
	uint8_t kind;		  /* enum flow_kind */
	uint64_t edge;		  /* number, 0: none */
};
int flow_ring_new(size_t size, struct flow_ring **ret);
void flow_ring_free(struct flow_ring *r);
void flow_ring_add(struct flow_ring *r, struct flow_record *rec);
/* The record with the smallest seq >= *seq; NULL if there is none. *seq becomes its seq + 1. */
const struct flow_record *flow_ring_next(const struct flow_ring *r, uint64_t *seq);
uint64_t flow_ring_head(const struct flow_ring *r); /* seq of the next record */
/* The newest record of the connection since then, if it is among the latest few; NULL: none. */
struct flow_record *flow_ring_recent(struct flow_ring *r, const struct tuple *t, uint64_t since_ns);
int nat_cache_new(uint64_t seed, struct nat_cache **ret);
void nat_cache_free(struct nat_cache *n);
void nat_cache_add(struct nat_cache *n, const struct ct_entry *e);
/* The same connection as the other side of the host's NAT sees it; NULL if not translated. */
const struct tuple *nat_cache_find(const struct nat_cache *n, const struct tuple *t);

/* denial.c */
struct denial {
	char id[EDGE_ID_STRLEN]; /* "d-" and hex digits */
	uint8_t kind;		 /* FLOW_DENIED, FLOW_AUDITED or FLOW_ATTEMPT */
	uint8_t dir;
	struct edge_key key;
	uint64_t edge; /* the edge it would need */
	struct tuple last;
	uint64_t count, first_ns, last_ns;
	uint64_t seq;	  /* of the last change, for following */
	uint64_t sampled; /* of count, what is in the rates; not stored */
	bool steady;	  /* refused just before the change that awaits confirmation */
};
int denial_table_new(size_t max, uint64_t seed, struct denial_table **ret);
void denial_table_free(struct denial_table *t);
/* Valid until the next call. */
const struct denial *denial_record(
    struct controller *c, const struct flow_event *ev, const struct edge_key *key);
/* What was refused in the minutes before now is not the fault of the change made now. */
void denial_mark_steady(struct denial_table *t, uint64_t now_ns);
/* By its own id, or by that of the edge it would need. */
const struct denial *denial_find(const struct denial_table *t, const char *id);
struct stored_denial;
/* From the store. 0 also if there is no room for it. */
int denial_restore(struct controller *c, const struct stored_denial *s);
/* Is there anything to store; writes it inside a transaction; what was written is durable. */
bool denial_unsaved(const struct denial_table *t);
int denial_save(struct controller *c);
void denial_saved(struct denial_table *t);
/* In order of first sight; attempts are listed only if asked for. */
const struct denial *denial_next(const struct denial_table *t, size_t *pos);
struct denial *denial_next_mutable(struct denial_table *t, size_t *pos);
uint64_t denial_head(const struct denial_table *t);
uint64_t denial_evicted(const struct denial_table *t);
int attempt_table_new(size_t max, uint64_t seed, struct attempt_table **ret);
void attempt_table_free(struct attempt_table *t);
void attempt_add(struct controller *c, const struct flow_event *ev);
void attempt_answered(struct controller *c, const struct tuple *t, uint64_t time_ns);
void attempt_tick(struct controller *c); /* unanswered ones become records */
uint64_t attempt_lost(const struct attempt_table *t);

/*
 * segment.c: every change is on record and durable in the store before the function returns 0.
 * confirm_ns: it is rolled back unless confirmed by then; 0: it stands. While a change awaits that,
 * others are refused: -EBUSY.
 */
struct mode_change {
	struct workload *workload;
	enum wl_mode mode;
	enum wl_direction direction;
};
/* ids: edges or denials. -ENOENT with the id in *d. *ret_changed counts edges. */
int segment_decide(struct controller *c, const char *const *ids, size_t n, enum edge_state state,
    const struct edge_decision *decision, const struct actor *who, struct diag *d,
    size_t *ret_changed);
int segment_set_modes(struct controller *c, const struct mode_change *changes, size_t n,
    uint64_t confirm_ns, const char *reason, const struct actor *who, struct diag *d);
/* Accepts, or no longer accepts, a repository. -EINVAL with a sentence. */
int segment_set_image(struct controller *c, struct workload *w, const char *repository,
    bool accepted, const char *reason, const struct actor *who, struct diag *d);
/* Replaces everything decided. expected: the revision it was made from, 0: any. -ESTALE. */
int segment_apply_policy(struct controller *c, const struct policy *p, uint64_t expected,
    uint64_t confirm_ns, const char *reason, const struct actor *who, struct diag *d);
/* Approves edges and changes one workload's mode in one revision (promotion). */
int segment_promote(struct controller *c, struct workload *w, enum wl_mode mode,
    enum wl_direction direction, uint64_t confirm_ns, const char *reason, struct diag *d,
    size_t *ret_approved);
/* The policy value of now; pending edges included on request. */
int segment_build_policy(struct controller *c, bool with_pending, struct policy **ret);
/* The part of it that --only selects, for people. */
int segment_show_policy(struct controller *c, bool with_pending, struct policy **ret);
/* Has the edge a workload that --only selects? */
bool segment_edge_selected(const struct controller *c, const struct edge *e);
/* How many workloads and edges of the policy an apply leaves alone, being outside --only. */
size_t segment_count_foreign(const struct controller *c, const struct policy *p);
int segment_load(struct controller *c, struct diag *d); /* from the store */

/* enforce.c */
void enforce_schedule(struct controller *c);
/* One of its instances was told an address that an edge speaks of, and is about to use it. */
void enforce_names(struct workload *w);
/* The same at once: somebody has decided, and waits. */
void enforce_now(struct controller *c);
void enforce_reconcile_cb(evutil_socket_t fd, short what, void *arg);
/* Rules for a new instance before everybody else's turn: it is closed until they are there. */
void enforce_first(struct instance *i);
void enforce_first_cb(evutil_socket_t fd, short what, void *arg);
void enforce_expire_cb(evutil_socket_t fd, short what, void *arg);
void enforce_on_applied(struct controller *c, const struct w_applied *a);
void enforce_on_state(struct controller *c, const struct w_nft_state *s);
void enforce_on_drift(struct controller *c, const struct w_drift *d);
void enforce_tick(struct controller *c);

/* applied.c */
void applied_on_read_back(struct instance *i); /* its new rules are in force */
void applied_on_failure(struct instance *i, const char *why);
/* Also: governed no more. Before it is forgotten, or its workload is. */
void applied_on_gone(struct instance *i, const char *why);
void applied_flush(struct controller *c); /* once a second, and at the end */

/* foreign.c */
/* The netlink port of whoever else owns its table now, 0: nobody. */
void foreign_on_holder(struct instance *i, uint32_t port);
void foreign_tick(struct instance *i); /* once a second */
/* What that means for it. */
const char *foreign_why(const struct instance *i);

/* reconcile.c */
/* Sends everybody's rules, where they are not what was loaded last. 0 or -ENOMEM. */
int reconcile_all(struct controller *c);
/* Those of the workloads of which an instance waits for its first ones. */
void reconcile_first(struct controller *c);
/* Its `local` is to be brought up to date, if it is not. */
void reconcile_local(struct instance *i);
/* The same, as it was refused a connection with that one, which may not be there. */
void reconcile_on_refused(struct instance *i, const struct instance *other);

/* cut.c */
/* Its rules let nothing new through: now what was there before them goes. */
void cut_held(struct instance *i);
/*
 * These rules, encoded, are in force; narrowed: they may refuse what passed before. Connections
 * that are established and that they refuse are cut from here on.
 */
int cut_begin(struct instance *i, const uint8_t *ruleset, size_t len, bool narrowed);
void cut_stop(struct instance *i);
/* Do these rules refuse the connection at this end? */
bool cut_refuses(const struct instance *i, const struct match *rules, const struct tuple *t);
/* From observe.c, of the dump that runs. No more of it is to be read while it is busy. */
void cut_on_dump_begun(struct instance *i);
void cut_entry(struct instance *i, const struct ct_entry *e);
bool cut_is_busy(const struct instance *i);
void cut_on_dump_ended(struct instance *i, bool complete);
void cut_on_done(struct controller *c, const struct w_done *d, uint32_t seq);
void cut_tick(struct instance *i);

/* hostguard.c */
/* Tells the warden what has changed. True if the rules have to be loaded again for it. */
bool hostguard_update(struct instance *i);
void hostguard_on_guarded(struct controller *c, const struct w_guarded *g);
/* Does it hold a container with CAP_NET_RAW? *ret_why is a static sentence either way. */
bool hostguard_holds(const struct instance *i, const char **ret_why);
/* It admits nothing, in place of rules that cannot be loaded. */
bool hostguard_closes(const struct instance *i);
/* It holds all that is sent, with every direction enforced. */
bool hostguard_in_force(const struct instance *i);
/* By what is known of its capabilities. */
bool hostguard_is_wanted(const struct instance *i);
/* At every link that can have one, when the warden looked last. */
bool hostguard_is_in_place(const struct instance *i);
json_t *hostguard_to_json(const struct instance *i);

/* posture.c: tells the warden what to do with new namespaces; again: also if it is as before. */
void posture_update(struct controller *c, bool again);

/* start.c */
struct start start_of(const struct instance *i);
const char *start_kind_name(enum start_kind kind);
void start_on_netns(struct instance *i);
void start_on_attached(struct instance *i);
void start_on_ruled(struct instance *i); /* its workload's rules are in force */
void start_on_gated(struct instance *i, uint64_t lead_ns);
/* For the metrics, once, when no more will be known. */
void start_count(struct instance *i);

/* alert_watch.c: what has no moment of its own, noticed by looking; once a second. */
void alert_watch_tick(struct controller *c);

/* flush.c */
/* Stores all evidence that is not stored yet: edges, workloads, denials. 0 or negative errno. */
int flush_evidence(struct controller *c);
/* For edge_table_generalise(): the store has to forget `gone`. */
void flush_folded(void *c, const struct edge *gone, const struct edge *into);

/* gate.c */
int gate_new(struct controller *c); /* after segment_load() */
/* Something that a start waits for may have changed. */
void gate_check(struct controller *c);
void gate_tick(struct controller *c); /* once a second */
void gate_on_looked(struct controller *c, const struct w_looked *l, uint32_t seq);
/* There is a marker of an earlier life, but nothing that says what it stood for. */
bool gate_is_held(const struct controller *c);
/* Some workload that this daemon governs is enforced, or was and nobody knows which. */
bool gate_enforces(const struct controller *c);
/*
 * What STATE/enforced says: an empty one that the policy enforces somebody, and is not to be taken
 * for lost with the store.
 */
enum gate_mark {
	GATE_MARK_UNKNOWN,
	GATE_MARK_NONE,	      /* it is not there */
	GATE_MARK_QUARANTINE, /* somebody is held; GATE_MARK_POLICY if that is so as well */
	GATE_MARK_POLICY,
};
/* Writes or removes it, durably; logged. */
int gate_mark(struct controller *c, enum gate_mark mark);

/* exposure.c */
void exposure_on_ruled(struct instance *i); /* the first time that it is enforced */
int exposure_restore(struct controller *c, const struct exposure *e); /* from the store; copied */
int exposure_save(struct controller *c); /* those that are not stored yet; within a transaction */
void exposure_free_all(struct controller *c);

/* recertify.c */
/*
 * Lets approved edges stand, on record: no revision, no rule changes. -ENOENT, -EINVAL for one that
 * is not approved; then nothing is changed.
 */
int recertify(struct controller *c, const char *const *ids, size_t n, const char *reason,
    const char *ticket, const struct actor *who, struct diag *d, size_t *ret_kept);
/* When it has to be looked at again; 0: never. */
uint64_t recertify_due_ns(const struct controller *c, const struct edge *e);
json_t *recertify_to_json(const struct controller *c);

/* completeness.c */
/* It runs from now on; what it did before it was seen is not known. */
void complete_on_joined(struct instance *i);
void complete_on_left(struct instance *i); /* before it leaves its workload */
/* Something that it did may not have been seen. NULL: nothing known. */
void complete_on_loss(const struct instance *i);
void complete_tick(struct controller *c); /* once a second */
/* Counts the hours in which edges were seen; before evidence is stored. */
void complete_count_windows(struct controller *c);
#define COMPLETE_FRESH_NS (5 * NSEC_PER_SEC) /* young enough to be shown */
/* Brings every workload's `complete` up to date; how old it may be. 0 or -ENOMEM. */
int complete_update(struct controller *c, uint64_t max_age_ns);
/* Another one of its project or network that has not run since it is observed, after `pos`. */
const struct workload *complete_next_missing(
    const struct controller *c, const struct workload *w, const struct workload *pos);
/* A sentence without its full stop: why no bound is claimed; NULL: it is. */
const char *complete_why_not(const struct completeness *k);
json_t *complete_to_json(const struct controller *c, const struct workload *w);

/* promote.c */
extern const struct actor promotion_actor;
void promote_tick(struct controller *c);
/* {why, at}: what it waits for, and when it would be enforced if that is announced; or null. */
json_t *promote_to_json(const struct workload *w);

/* refusal.c: says why once and ends the loop when it is worth another start. */
int refusal_begin(struct controller *c, const struct diag *d, int error);
/* A copy of the revision as STATE/policy.json, to be applied when the store is lost. */
void refusal_keep_policy(const struct controller *c, const char *text);

/* store.c */
int store_open(const char *dir, struct diag *d, struct store **ret);
void store_close(struct store *s);
/* Durable when it returns 0: dirty edges and workloads, and with a text a revision's record. */
struct store_revision {
	uint64_t number, time_ns;
	const char *actor, *action, *reason;
	const char *policy_json; /* the whole revision */
};
int store_begin(struct store *s);
int store_commit(struct store *s);
void store_rollback(struct store *s);
int store_put_edge(struct store *s, const struct peer_table *peers, const struct edge *e);
int store_put_workload(struct store *s, const struct workload *w);
int store_delete_edge(struct store *s, const char *id);
int store_delete_workload(struct store *s, const char *name);
int store_put_networks(struct store *s, const struct policy_network *n, size_t count);
/* Of old revisions the record stays longer than the text, and neither for ever. */
int store_put_revision(struct store *s, const struct store_revision *r);
int store_put_denial(struct store *s, const struct peer_table *peers, const struct denial *d);
int store_clear_denials(struct store *s);
/* Of the oldest none is kept beyond CTL_MAX_EXPOSURES. */
int store_put_exposure(struct store *s, const struct exposure *e);
/* Loading: callbacks with borrowed values; a negative return stops. */
struct stored_edge {
	struct peer from, to;
	uint8_t proto;
	uint16_t port_lo, port_hi;
	enum edge_state state;
	uint32_t flags;
	struct edge_evidence evidence;
	struct edge_decision decision;
	const struct edge_extent *extent; /* NULL: none */
};
struct stored_workload {
	const char *name, *project, *mode_reason, *mode_by, *network;
	const struct complete_log *log; /* NULL: none */
	bool rolled_back;
	enum wl_mode mode;
	enum wl_direction direction;
	uint64_t first_seen_ns, last_seen_ns, mode_since_ns;
	uint64_t observed_ns;
	bool auto_promoted;
	const char *labels_json, *selector_json; /* objects of strings, or NULL */
	const char *images_json;		 /* array of strings, or NULL */
};
struct stored_denial {
	struct peer from, to;
	uint8_t kind, dir, proto;
	uint16_t port_lo, port_hi;
	struct tuple last;
	uint64_t count, first_ns, last_ns;
};
struct store_loader {
	void *arg;
	int (*edge)(void *arg, const struct stored_edge *e);
	int (*workload)(void *arg, const struct stored_workload *w);
	int (*network)(void *arg, const struct policy_network *n);
	int (*denial)(void *arg, const struct stored_denial *d);
	int (*exposure)(void *arg, const struct exposure *e);
	int (*revision)(void *arg, uint64_t newest);
};
int store_load(struct store *s, const struct store_loader *l, struct diag *d);
/* The text of a revision, malloc'ed. -ENOENT: there is none, or it is no longer kept. */
int store_get_revision(struct store *s, uint64_t number, char **ret);
/* The revision in force at that time, 0: none yet. -ENOENT: its record is no longer kept. */
int store_find_revision(struct store *s, uint64_t time_ns, uint64_t *ret);
/* The newest first, at most max; a JSON array of {revision, time, actor, action, reason}. */
json_t *store_revisions(struct store *s, size_t max);

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
