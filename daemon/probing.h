/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller's side of probes (see proto.h): which may be sent, which came through, and that
 * nothing is learned from them. A probe is known by its tuple: the source port is chosen here, and
 * what the observers tell of it is nobody's traffic: for two seconds, and of dumps for two minutes.
 * Nor is anything else from that port, but only as long as the port is the probe's alone. Who has
 * seen it cannot hide behind it.
 *
 * Probes go from a watched namespace to an address of another one on a network that both have; the
 * host counts. A container that can give itself addresses (CAP_NET_ADMIN) is no target: what
 * is sent to such an address could leave the host.
 */
#ifndef NANOSEG_DAEMON_PROBING_H
#define NANOSEG_DAEMON_PROBING_H

#include "daemon/proto.h"

struct controller;
struct instance;
struct msg;
struct probing;

struct probe_want {
	struct instance *to;
	struct tuple t; /* src and sport are filled in */
};

/* got is NULL on an error. */
typedef void (*probing_fn)(
    struct controller *c, int error, const struct p_result *got, size_t n, void *arg);

int probing_new(struct probing **ret);
void probing_free(struct probing *p);
/*
 * From `from`'s namespace, 1 to PROBES_MAX of them. After a 0 fn comes once, never from inside.
 * -EBUSY: a list is under way, or none of the ports is free yet; -ENOTCONN: no warden.
 */
int probing_ask(struct controller *c, const struct instance *from, const struct probe_want *list,
    size_t n, uint32_t timeout_ms, probing_fn fn, void *arg);
bool probing_is_busy(const struct controller *c);
void probing_on_probed(struct controller *c, const struct msg *m);
void probing_on_warden_gone(struct controller *c);
/* Is the event about a probe? */
bool probing_is_own(const struct controller *c, const struct flow_event *ev);

/*
 * Addresses of that family on a network that both are on, and whose they are beyond doubt. False:
 * there are none.
 */
bool probing_addrs(const struct instance *from, const struct instance *to, uint8_t family,
    struct addr *ret_src, struct addr *ret_dst);
bool probing_may_be_target(const struct instance *i);
/* Its rules are those of this revision, and in force. */
bool probing_is_settled(const struct instance *i);
/* And nobody's are about to be looked at, for a name or an address that is new. */
bool probing_is_quiet(const struct controller *c);

/* What a result says of whoever was to refuse it. */
enum probe_verdict {
	PROBE_DENIED,
	PROBE_PASSED,
	PROBE_UNCLEAR, /* it did not arrive, or cannot be told */
};
enum probe_verdict probing_judge(const struct p_result *got, bool at_source);
const char *probing_outcome_name(const struct p_result *got); /* "answered", "silent", ... */

#endif
