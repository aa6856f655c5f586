/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is read of instances: conntrack in observe.c, at the time that observe_watch.c says; sockets
 * in observe_sockets.c.
 */
#ifndef NANOSEG_DAEMON_OBSERVE_H
#define NANOSEG_DAEMON_OBSERVE_H

#include "netlink/ct.h"
#include "rules/edge.h"

struct controller;
struct instance;
struct msg;
struct w_done;

int observe_start(struct instance *i, struct msg *m);
/* Its addresses are others than these were. */
void observe_addrs_changed(struct instance *i, const struct addr *before, size_t n_before);
void observe_stop(struct instance *i);
int observe_dump(struct instance *i);
/* For cut.c alone: begins one, unless one runs. And reads on once cut.c is no longer busy. */
void observe_dump_to_cut(struct instance *i);
void observe_dump_go_on(struct instance *i);
#define OBSERVE_DUMP_SEQ 1u
void observe_tick(struct instance *i); /* once a second */
void observe_on_dump_asked(struct controller *c, const struct w_done *d);
/* Reads what its events have said by now. True if there may be more to read. */
bool observe_drain(struct instance *i);
/* Reads what the host's connection table has said by now, so that the NAT cache knows it. */
void observe_host(struct controller *c);
struct tuple observe_tuple_of(const struct ct_entry *e);
/* What a namespace's socket has to say; arg is the instance. */
int observe_event(void *arg, const struct ct_entry *e);
/* It may have had conversations of UDP before conntrack saw them. */
bool observe_may_be_midstream(const struct instance *i);

/* observe_watch.c */
/* The watch, on the controller's loop; who comes into it, and goes. 0 or -errno. */
int observe_new(struct controller *c);
int observe_watch(struct instance *i);
void observe_unwatch(struct instance *i);

/* observe_sockets.c */
/* The established TCP connections of the instance, from the local end: not oriented. */
typedef void (*observe_socket_fn)(void *arg, const struct tuple *t);
int observe_established(struct instance *i, observe_socket_fn fn, void *arg);
/* Settles the direction of a connection seen in i, by who listens. True if it could be told. */
bool observe_orient(struct instance *i, struct tuple *t);
/* They are asked for anew when next one has to be known. */
void observe_forget_listeners(struct instance *i);

#endif
