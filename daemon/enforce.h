/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is decided, brought into the kernel and held there: enforce.c, applied.c, foreign.c,
 * reconcile.c, cut.c.
 */
#ifndef NANOSEG_DAEMON_ENFORCE_H
#define NANOSEG_DAEMON_ENFORCE_H

#include "daemon/proto.h"
#include "netlink/ct.h"
#include "rules/edge.h"

#include <event2/util.h>

struct controller;
struct instance;
struct match;
struct workload;

/* What whoever is root inside can do all the time is said and recorded so often, of an instance. */
#define DRIFT_SAY_NS (5 * NSEC_PER_SEC)

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

/* tables.c */
int tables_open(struct controller *c);
/* Its table is about to be changed. */
void tables_strike(struct controller *c, uint64_t cookie);
/* It was read back, by the kernel's digest. */
void tables_note(
    struct controller *c, uint64_t cookie, const uint8_t kernel[static RULESET_DIGEST_LEN]);
/* When it was read back last, if it was another than this one; else 0. A digest of zeros: unread.
 */
uint64_t tables_changed(
    const struct controller *c, uint64_t cookie, const uint8_t kernel[static RULESET_DIGEST_LEN]);

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

#endif
