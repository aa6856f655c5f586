/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Containers, and the namespaces that they run in: instance.c, container.c, nested.c, hosted.c. */
#ifndef NANOSEG_DAEMON_INSTANCE_H
#define NANOSEG_DAEMON_INSTANCE_H

#include "daemon/proto.h"
#include "daemon/selftest.h"
#include "netlink/ct.h"
#include "netlink/rtnl.h"
#include "rules/compile.h"
#include "rules/workload.h"

#include <event2/event.h>
#include <jansson.h>

#define CTL_MAX_DNS 4

struct aggregate;
struct controller;
struct cut;
struct diag_listener;
struct msg;
struct published;
struct workload;

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
	char *networks;		     /* that it is on, one a line */
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

/* Where something that an instance did was lost; their names and words: completeness.c. */
enum loss_source {
	LOSS_EVENTS,	   /* by the kernel, on the way to us */
	LOSS_COUNTERS,	   /* of those that the kernel counts */
	LOSS_TABLE,	   /* conntrack itself had no room */
	LOSS_UNIDENTIFIED, /* whose they are was not known in time */
	LOSS_EDGES,	   /* there was no room for another edge */
	LOSS_END,	   /* what it did last, if the kernel counted it */
	LOSS_REPORTS,	   /* of its rules: refusals, attempts, what it asked name servers */
	LOSS_NAMES,	   /* name servers' answers, between two roles */
	LOSS_DUMP,	   /* its connection table could not be read */
	LOSS_START,	   /* it began before it was watched */
	LOSS_ATTACH,	   /* it is not watched */
	LOSS_SOURCES,
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
	uint64_t image_before;	     /* of that one, 0: none */
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
	bool dump_learns;	/* the one that runs is for learning, and not only for cut.c */
	bool dump_unread;	/* a part of a dump has come, nothing of it is used yet */
	uint64_t dumped_ns;	/* CLOCK_MONOTONIC: the last dump after an overrun */
	unsigned dump_failures; /* in a row, of those for learning */
	uint64_t dump_retry_ns; /* CLOCK_MONOTONIC: not before, if there are any */
	uint64_t dump_began_ns, dumped_whole_ns; /* CLOCK_MONOTONIC: of the last that was complete,
						    when it began */
	uint64_t named_ns; /* CLOCK_REALTIME: waits for a name's address since; 0: does not */
	struct event *ev_dump, *ev_rtnl;
	int ct_fd;
	bool is_watched; /* its events are: observe_watch.c */
	struct rtnl_watch *addrs;
	struct {
		struct addr addr;
		uint64_t gone_ns; /* CLOCK_REALTIME */
	} lost_addrs[4];	  /* by turns */
	unsigned n_lost_addrs;
	struct ct_recv_stats ct_stats;
	uint64_t overrun_logged_ns; /* CLOCK_MONOTONIC */
	uint64_t lost_ns;	    /* CLOCK_MONOTONIC: connections of it were lost, 0: never */
	uint64_t lost_packets;	    /* reports of this namespace, and answers to its questions */
	struct w_ct_stats ct_count;
	uint64_t ct_forgotten; /* dropped from its table while it was observed */
	uint64_t loss_told_ns[LOSS_SOURCES];
	bool ct_alert; /* over the configured share of the table */
	struct listeners {
		uint64_t read_ns, cost_ns; /* CLOCK_MONOTONIC, 0: to be read; what that took */
		struct diag_listener *list;
		size_t n;
	} listeners[3];		     /* by protocol: observe_sockets.c */
	uint64_t events;	     /* of its connections, in all */
	unsigned one_way_edges;	     /* that are its doing */
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
	bool stood_in;	      /* `asked` is of what it was, and in force. See former.h */
	uint64_t tampered_ns; /* CLOCK_REALTIME: its table was whole, and was found changed; or 0 */
	bool is_first;	      /* waits for its first rules */
	uint8_t kernel[RULESET_DIGEST_LEN];
	uint32_t apply_usec;
	uint64_t applied_ns; /* CLOCK_REALTIME */
	int apply_error;
	unsigned apply_failures;
	uint64_t retry_at_ns;  /* CLOCK_MONOTONIC */
	bool asked_held;       /* the rules asked for are those of its quarantine */
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
	bool cut_marked;	  /* there may be entries with its mark */
	uint64_t cut_connections; /* in all */

	/* hostguard.c */
	void *guard_asked; /* the MSG_W_GUARD that was sent last */
	size_t guard_asked_len;
	struct w_guarded guard;
	bool has_guard;	  /* it has been told about */
	uint64_t dropped; /* packets refused, as last read */
};

/* instance.c, container.c */
void instance_on_netns(struct controller *c, const struct w_netns *n);
void instance_on_netns_gone(struct controller *c, uint64_t cookie);
void instance_on_attached(struct controller *c, struct msg *m);
/* From all that is known now, also again. */
void instance_identify(struct instance *i);
void instance_on_container(struct controller *c, const char *json, size_t len);
/* What such a text says, of nobody yet. 0, or what is wrong with it. */
int container_parse(struct controller *c, const char *json, size_t len, struct container **ret);
void container_free(struct container *k);
void instance_on_container_gone(struct controller *c, const struct d_id *id);
void instance_reset(struct controller *c);   /* the warden is new */
void instance_tick(struct controller *c);    /* once a second */
void instance_ask_all(struct controller *c); /* discovery is new: who is not known yet? */
struct instance *instance_find(struct controller *c, uint64_t cookie);
/* After a failure, once the warden knows more about it. */
void instance_attach_again(struct instance *i);
/* Short id for people: container id (12 digits) or the namespace's name. */
const char *instance_id(const struct instance *i);
/* The same, escaped for a line of the log; valid until the next call. */
const char *instance_log_id(const struct instance *i);
/*
 * The containers in its namespace, one a call: the one that the namespace was made for first.
 * Start with *pos = 0; NULL ends.
 */
const struct container *instance_next_member(const struct instance *i, size_t *pos);
/* False once nothing more is expected to become known about any instance. */
bool instance_settling(const struct controller *c);
/* Its addresses that count: a container can give itself any number. */
const struct rtnl_addr *instance_addrs(const struct instance *i, size_t *ret_n);
/* Closed by the warden from its first moment, and still so for want of an identity. */
bool instance_is_quarantined(const struct instance *i);
/*
 * A namespace in /run/netns that nobody's container is in: what runs in it is the host's own, put
 * there by root, who also gives it its addresses.
 */
bool instance_is_plain(const struct instance *i);
/* GRADE_*, of every container in its namespace. */
unsigned instance_grade_bits(const struct instance *i);
/* "full", "partial" or "no"; *ret_why is NULL or a static sentence. */
const char *instance_grade(const struct instance *i, const char **ret_why);
/* Says so, once, when conntrack in the namespace gets too full. */
void instance_on_ct_stats(struct instance *i, const struct w_ct_stats *s);
void instance_check_headroom(struct instance *i);
bool instance_has_addr(const struct instance *i, const struct addr *a);
/* Has it lost the address so lately that an event of that time may be about it? */
bool instance_had_addr(const struct instance *i, const struct addr *a, uint64_t time_ns);
void instance_lost_addr(struct instance *i, const struct addr *a);
/* Another workload's instance claims it too, or the host has it: no rule is made with it. */
bool instance_shares_addr(const struct instance *i, const struct addr *a);
/* Facts from files go when no namespace of the container is left. */
void container_forget_files(struct controller *c, const char *id);
/* What is known of a container, or of the one whose namespace it uses; NULL: nothing yet. */
struct container *container_find(struct controller *c, const char *id);
/* Of that container itself. */
struct container *container_known(struct controller *c, const char *id);

/* Nobody inside a container can make one. */
static inline bool
instance_netns_has_file(const struct w_netns *n)
{
	return (n->flags & (NETNS_F_NAMED | NETNS_F_ENGINE)) != 0;
}

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

#endif
