/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The warden: the only role that enters a namespace. It acts on requests that name a namespace by
 * its cookie and nothing else, on tables of its own name only, and hands sockets to the roles that
 * read them. This header is what its files share.
 */
#ifndef NANOSEG_DAEMON_WARDEN_H
#define NANOSEG_DAEMON_WARDEN_H

#include "daemon/role.h"
#include "daemon/warden_scan.h"
#include "netlink/link.h"
#include "netlink/nft.h"
#include "netlink/nft_watch.h"

#define WARDEN_TABLE_PREFIX "nanoseg_"
#define WARDEN_MAX_KEPT (2 * SCAN_MAX_NETNS)

/*
 * The sockets of one attached namespace. They keep it alive, so they end with its last file and
 * process, or by a release.
 */
struct attachment {
	int owner; /* owns the table; -1 for the host */
	int nflog;
	int dump; /* the controller reads its answers */
	int request;
	int seen; /* the controller reads its answers; -1: not asked for yet */
	uint16_t group;
	bool host;
	bool owned;	 /* as far as we know */
	bool ruled;	 /* its table holds what somebody asked for */
	uint32_t holder; /* netlink port of the foreign owner of its table, 0: none */
	uint32_t mark;	 /* of a closed one, in the keeper; 0: not closed. See warden_close.c */
	uint64_t due_ns; /* when it is to be opened, 0: not by us */
	uint64_t drops;	 /* of conntrack, as read last */
	struct nft_table *table;
	struct guards *guards; /* warden_guard.c */
	struct drift *drift;   /* warden_drift.c */
};

/* Sockets of an earlier life, from the keeper, until their namespace is found and attached. */
struct kept {
	struct kept *next;
	uint64_t cookie;
	int owner, nflog;
	uint16_t group;
	uint32_t mark;
};

struct warden {
	struct role_args args;
	struct role_loop loop;
	struct scan *scan;
	uint32_t features;
	char table[NFT_TABLE_NAME_MAX];

	struct kept *kept;
	size_t n_kept;
	bool without_owner; /* as if the kernel had no owners of tables */
	bool labels_failed; /* and said so */
	bool settled;	    /* the keeper has told what it holds, or was not there in time */
	struct event *settle_timer;

	struct w_posture posture;
	struct event *close_timer;

	int guard_sock; /* owns the host guards */
	int link_sock, link_events;
	struct event *link_event, *link_timer;
	struct drift *guard_drift;
	uint64_t links_again_ns;
	struct link_changes link_changes; /* that have not been looked at */
	struct links *sweep_links;
	bool guards_left;  /* of an earlier life */
	bool guards_asked; /* it was looked for them */
	struct event *begin_timer;
	struct event *foreign_timer;
	struct prober *prober; /* NULL: there is no probe */
};

uint64_t warden_now_us(void); /* CLOCK_MONOTONIC */
/* warden.c: tells the controller what is known about the namespace now. */
void warden_announce(struct warden *w, struct ns *n);

/* warden_keep.c: the keeper's side. */
void keep_on_peer(struct warden *w, struct chan *c);
void keep_on_msg(struct warden *w, struct msg *m);
/* Takes what is kept for the namespace out of the list; NULL if there is nothing. */
struct kept *keep_take(struct warden *w, uint64_t cookie);
void keep_free(struct kept *k);
/* The opposite: the sockets wait in the list again. Takes both. */
void keep_back(struct warden *w, uint64_t cookie, int *owner, int *nflog, uint16_t group);
/* The same, without taking it. */
const struct kept *keep_find(struct warden *w, uint64_t cookie);
int keep_put(struct warden *w, uint64_t cookie, uint32_t kind, uint32_t value, int fd);
void keep_drop(struct warden *w, uint64_t cookie);
/* After the first scan: what belongs to no namespace found can go. */
void keep_drop_unknown(struct warden *w);
void keep_done(struct warden *w);

/* warden_netns.c: attach and the verbs. */
int netns_attach(struct warden *w, struct ns *n, const struct w_attach *req, struct w_attached *ret,
    int ret_fds[static 4]);
/*
 * Opens the owner's side of a namespace that is not attached; without kept sockets its table then
 * holds rs. The rest comes with its attach.
 */
int netns_close(struct warden *w, struct ns *n, const struct ruleset *rs, uint32_t mark);
/* Closes the sockets; the table stays. */
void netns_detach(struct warden *w, struct ns *n);
void attachment_free(struct attachment *a);
int netns_release(struct warden *w, struct ns *n);
void netns_to_capture(struct warden *w, const struct ns *n);
int netns_apply(
    struct warden *w, struct ns *n, const uint8_t *ruleset, size_t len, struct w_applied *ret);
int netns_read(struct ns *n, struct w_nft_state *ret);
int netns_ct_dump(struct ns *n, uint32_t seq);
int netns_ct_get(struct ns *n, const struct tuple *t, struct w_ct_entry *ret);
int netns_ct_delete(struct ns *n, const struct tuple *t);
/*
 * The entries of an array of tuples, those that are there: cut (deleted; UDP is marked, for the
 * rules to drop), or the mark taken from them.
 */
int netns_ct_cut(struct ns *n, bool cut, const uint8_t *tuples, size_t len, uint32_t *ret_count);
int netns_ct_insert(struct ns *n, const struct tuple *t, uint32_t timeout_s);
int netns_ct_stats(struct ns *n, struct w_ct_stats *ret);

/* warden_netns.c: names of servers in packets are reported from now on, or not. n may be NULL. */
void netns_labels(struct warden *w, struct ns *n, bool on);

/* warden_seen.c: connections counted by the kernel. */
int seen_do(struct warden *w, struct ns *n, const struct w_aggregate *req, uint32_t seq,
    struct w_aggregated *ret, int *ret_fd);
/* Has it a table for that, of an earlier life? */
bool seen_is_there(struct warden *w, const struct ns *n);
/* It is gone: what it did last is handed to the controller to be read. */
void seen_last(struct warden *w, const struct ns *n);
/* Before it is released. */
void seen_end(struct warden *w, struct ns *n);

/* warden_close.c: namespaces that are closed until their rules are known. */
int close_init(struct warden *w);
void close_done(struct warden *w);
bool close_is_posture(const struct w_posture *p);
void close_set_posture(struct warden *w, const struct w_posture *p);
/* A namespace has appeared or got a file: before it is announced. */
void close_consider(struct warden *w, struct ns *n);
/* The keeper has told: those that were closed in an earlier life are taken up again. */
void close_resume(struct warden *w);
/* Rules for it have come: they are loaded next, and the warden no longer opens it by itself. */
void close_end(struct warden *w, struct ns *n);
/* They are loaded. True if it was closed until now. */
bool close_opened(struct ns *n);

/* warden_guard*.c: the host's end of a namespace's links. */
int guard_init(struct warden *w);
void guard_done(struct warden *w);
/* The keeper is new. */
void guard_put_again(struct warden *w);
/* Whether there is to be one, and its own addresses. */
int guard_configure(struct warden *w, struct ns *n, const struct w_guard *req,
    const struct w_guard_addr *addrs, size_t n_addrs);
/* Before rs is loaded inside. A failure is told to the controller, and the rules are loaded. */
void guard_apply(struct warden *w, struct ns *n, const struct ruleset *rs);
/* They are loaded: may take *rs. Or they were refused. */
void guard_keep(struct ns *n, struct ruleset **rs);
void guard_revert(struct warden *w, struct ns *n);
/* Its namespace is closed by rs, which has no elements, until the next guard_apply(). */
void guard_close(struct warden *w, struct ns *n, const struct ruleset *rs);
/* It is opened without an order of the controller. */
void guard_open(struct ns *n);
/* There are guards of an earlier life. */
bool guard_has_left(struct warden *w);
/* Looks at its links now, loads what is missing, tells. */
void guard_look(struct warden *w, struct ns *n);
/* Reads back, repairs, tells. who: has changed a guard, as far as that is known. */
void guard_check(struct warden *w, struct ns *n, const struct nft_change *who);
/* Deletes its tables. */
void guard_remove(struct ns *n);
void guards_free(struct guards *s);

/* warden_drift.c: watches the table, if it can be changed by others. */
void drift_watch(struct warden *w, struct ns *n);
/* The same of the host guards. */
void drift_watch_guards(struct warden *w);
/* Tells that a guard was changed; error: it is not repaired. */
void drift_of_guard(struct warden *w, struct ns *n, int error, const struct nft_change *who);
void drift_free(struct drift *d);

/* warden_foreign.c: tables of our name that another socket owns. */
int foreign_init(struct warden *w);
void foreign_done(struct warden *w);
/* Asks who owns its table; tells the controller what has changed. True: somebody else does. */
bool foreign_look(struct warden *w, struct ns *n);
/* Rules cannot be loaded for that reason: its host guard closes, if they enforce. Takes *rs. */
bool foreign_stops(struct warden *w, struct ns *n, struct ruleset **rs);

/* warden_begin.c: when a new namespace's first program began. */
int begin_init(struct warden *w);
void begin_done(struct warden *w);
/* A namespace has appeared or its process is known: before it is announced. */
void begin_consider(struct warden *w, struct ns *n);

/* warden_probe.c: do the rules hold? */
/* Runs the probe's program, beside our own; ids: "UID:GID". Its channel or a negative errno. */
int probe_start(const char *self, const char *instance, const char *ids);
int probe_init(struct warden *w, int sock);
void probe_done(struct warden *w);
/* Answers with PROBED, at once or later. */
void probe_run(struct warden *w, struct ns *n, const struct msg *m);

/* warden_cleanup.c: `--cleanup`, a program of its own; the exit status. */
int warden_cleanup(const char *prefix);

#endif
