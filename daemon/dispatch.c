/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the other roles say, taken to whom it concerns; none may say what is another's to say. */
#include "daemon/dispatch.h"

#include "daemon/aggregate.h"
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/former.h"
#include "daemon/gate.h"
#include "daemon/hostguard.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/log.h"
#include "daemon/labels.h"
#include "daemon/names.h"
#include "daemon/observe.h"
#include "daemon/probing.h"
#include "daemon/promote.h"
#include "daemon/stopped.h"
#include "netlink/nft.h"

#include <string.h>

/* What each missing feature costs, said at every start of the warden. */
static void
name_missing_features(const struct controller *c)
{
	static const struct {
		uint32_t feature;
		const char *cost;
	} costs[] = {
		{ NFT_CAN_TABLE, "nothing can be observed or enforced" },
		{ NFT_CAN_OWNER,
		    "root in a container can change its rules, until they are repaired" },
		{ NFT_CAN_PERSIST, "tables get no owner, so that they outlive the keeper" },
		{ NFT_CAN_CT_EVENT, "connections cannot be observed" },
		{ NFT_CAN_CONCAT_RANGES, "prefixes and port ranges cannot be enforced" },
		{ NFT_CAN_LOG, "refusals cannot be reported" },
		{ NFT_CAN_REJECT, "refused connections hang until they time out" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(costs); i++)
		if ((c->warden.features & costs[i].feature) == 0)
			log_error("this kernel (%.64s) lacks %s: %s", c->warden.kernel,
			    nft_feature_name(costs[i].feature), costs[i].cost);
}

static void
on_hello(struct controller *c, struct msg *m)
{
	memcpy(&c->warden, m->body, sizeof(c->warden));
	c->warden.kernel[sizeof(c->warden.kernel) - 1] = '\0';
	name_missing_features(c);
	instance_reset(c);
	former_load(c);
	c->warden_ready = true;
	c->warden_since_ns = now_mono();
	c->caught_up = false;
	posture_update(c, true);
}

static void
on_netns(struct controller *c, struct msg *m)
{
	struct w_netns n;

	memcpy(&n, m->body, sizeof(n));
	instance_on_netns(c, &n);
}

static void
on_netns_gone(struct controller *c, struct msg *m)
{
	struct w_cookie k;

	memcpy(&k, m->body, sizeof(k));
	instance_on_netns_gone(c, k.cookie);
}

static void
on_applied(struct controller *c, struct msg *m)
{
	struct w_applied a;

	memcpy(&a, m->body, sizeof(a));
	enforce_on_applied(c, &a);
}

static void
on_done(struct controller *c, struct msg *m)
{
	struct w_done d;

	memcpy(&d, m->body, sizeof(d));
	if (m->h.seq == OBSERVE_DUMP_SEQ)
		observe_on_dump_asked(c, &d);
	else
		cut_on_done(c, &d, m->h.seq);
}

static void
on_nft_state(struct controller *c, struct msg *m)
{
	struct w_nft_state s;

	memcpy(&s, m->body, sizeof(s));
	enforce_on_state(c, &s);
}

static void
on_drift(struct controller *c, struct msg *m)
{
	struct w_drift d;

	memcpy(&d, m->body, sizeof(d));
	d.program[sizeof(d.program) - 1] = '\0';
	enforce_on_drift(c, &d);
}

static void
on_foreign(struct controller *c, struct msg *m)
{
	struct w_foreign f;
	struct instance *i;

	memcpy(&f, m->body, sizeof(f));
	i = instance_find(c, f.cookie);
	if (i != NULL)
		foreign_on_holder(i, f.holder);
}

static void
on_ct_stats(struct controller *c, struct msg *m)
{
	struct w_ct_stats s;

	for (size_t at = 0; at + sizeof(s) <= m->h.body_len; at += sizeof(s)) {
		struct instance *i;

		memcpy(&s, m->body + at, sizeof(s));
		i = instance_find(c, s.cookie);
		if (i == NULL)
			continue;
		instance_on_ct_stats(i, &s);
	}
}

/* What starts from now on is seen from its beginning, and the start gate is answered. */
static void
tell_watching(struct controller *c)
{
	if (c->told_watching || !c->scanned || !c->listening)
		return;
	c->told_watching = chan_send(c->loop.control, MSG_SUP_WATCHING, 0, NULL, 0, NULL, 0) == 0;
}

static void
on_scanned(struct controller *c, struct msg *m)
{
	c->scanned = true;
	tell_watching(c);
	enforce_schedule(c);
}

static void
on_guarded(struct controller *c, struct msg *m)
{
	struct w_guarded g;

	memcpy(&g, m->body, sizeof(g));
	hostguard_on_guarded(c, &g);
}

static void
on_looked(struct controller *c, struct msg *m)
{
	struct w_looked l;

	memcpy(&l, m->body, sizeof(l));
	gate_on_looked(c, &l, m->h.seq);
}

static void
on_probed(struct controller *c, struct msg *m)
{
	probing_on_probed(c, m);
}

static void
on_capture_events(struct controller *c, struct msg *m)
{
	struct flow_event ev;

	for (size_t at = 0; at + sizeof(ev) <= m->h.body_len; at += sizeof(ev)) {
		memcpy(&ev, m->body + at, sizeof(ev));
		/* The capture role parses hostile packets: it may not claim an answer. */
		if (flow_event_validate(&ev) < 0 || ev.kind == FLOW_ANSWERED) {
			c->unresolved++;
			continue;
		}
		learn_flow(c, &ev);
	}
	api_wake(c->api);
}

static void
on_capture_stats(struct controller *c, struct msg *m)
{
	char before[sizeof(c->capture.error)], safe[4 * sizeof(c->capture.error)];

	memcpy(before, c->capture.error, sizeof(before));
	memcpy(&c->capture, m->body, sizeof(c->capture));
	c->capture.error[sizeof(c->capture.error) - 1] = '\0';
	if (c->capture.error[0] != '\0' && strcmp(before, c->capture.error) != 0) {
		text_escape(c->capture.error, strlen(c->capture.error), safe, sizeof(safe));
		log_warn("no capture of attempts: %s", safe);
	}
}

static void
on_container(struct controller *c, struct msg *m)
{
	instance_on_container(c, (const char *)m->body, m->h.body_len);
}

static void
on_container_gone(struct controller *c, struct msg *m)
{
	struct d_id d;

	memcpy(&d, m->body, sizeof(d));
	instance_on_container_gone(c, &d);
}

static void
on_stopped(struct controller *c, struct msg *m)
{
	stopped_on_told(c, (const char *)m->body, m->h.body_len);
}

static void
on_stopped_gone(struct controller *c, struct msg *m)
{
	struct d_id d;

	memcpy(&d, m->body, sizeof(d));
	stopped_on_gone(c, &d);
}

static void
on_engine(struct controller *c, struct msg *m)
{
	struct d_engine d;
	size_t i = 0;

	memcpy(&d, m->body, sizeof(d));
	d.engine[sizeof(d.engine) - 1] = '\0';
	d.why[sizeof(d.why) - 1] = '\0';
	while (i < c->n_engines && strcmp(c->engines[i].d.engine, d.engine) != 0)
		i++;
	if (i == ARRAY_SIZE(c->engines))
		return;
	if (i == c->n_engines)
		c->n_engines++;
	if (c->engines[i].since_ns == 0 || c->engines[i].d.reachable != d.reachable)
		c->engines[i].since_ns = now_real();
	c->engines[i].d = d;
	if (m->h.type == MSG_D_SYNCED)
		c->engines[i].synced = true;
}

static void
on_herald_state(struct controller *c, struct msg *m)
{
	struct h_state s;

	memcpy(&s, m->body, sizeof(s));
	alert_spool_on_state(c, &s);
}

struct handler {
	uint16_t type;
	enum role from;
	void (*fn)(struct controller *c, struct msg *m);
};

static const struct handler handlers[] = {
	{ MSG_W_HELLO, ROLE_WARDEN, on_hello },
	{ MSG_W_NETNS, ROLE_WARDEN, on_netns },
	{ MSG_W_NETNS_GONE, ROLE_WARDEN, on_netns_gone },
	{ MSG_W_ATTACHED, ROLE_WARDEN, instance_on_attached },
	{ MSG_W_APPLIED, ROLE_WARDEN, on_applied },
	{ MSG_W_DONE, ROLE_WARDEN, on_done },
	{ MSG_W_NFT_STATE, ROLE_WARDEN, on_nft_state },
	{ MSG_W_DRIFT, ROLE_WARDEN, on_drift },
	{ MSG_W_FOREIGN, ROLE_WARDEN, on_foreign },
	{ MSG_W_CT_STATS, ROLE_WARDEN, on_ct_stats },
	{ MSG_W_SCANNED, ROLE_WARDEN, on_scanned },
	{ MSG_W_LOOKED, ROLE_WARDEN, on_looked },
	{ MSG_W_GUARDED, ROLE_WARDEN, on_guarded },
	{ MSG_W_PROBED, ROLE_WARDEN, on_probed },
	{ MSG_W_AGGREGATED, ROLE_WARDEN, aggregate_on_answer },
	{ MSG_CAP_EVENTS, ROLE_CAPTURE, on_capture_events },
	{ MSG_CAP_STATS, ROLE_CAPTURE, on_capture_stats },
	{ MSG_CAP_LOST, ROLE_CAPTURE, complete_on_reports_lost },
	{ MSG_CAP_ANSWER, ROLE_CAPTURE, names_on_answer },
	{ MSG_CAP_LABEL, ROLE_CAPTURE, labels_on_label },
	{ MSG_D_CONTAINER, ROLE_DISCOVERY, on_container },
	{ MSG_D_GONE, ROLE_DISCOVERY, on_container_gone },
	{ MSG_D_STOPPED, ROLE_DISCOVERY, on_stopped },
	{ MSG_D_STOPPED_GONE, ROLE_DISCOVERY, on_stopped_gone },
	{ MSG_D_ENGINE, ROLE_DISCOVERY, on_engine },
	{ MSG_D_SYNCED, ROLE_DISCOVERY, on_engine },
	{ MSG_H_STATE, ROLE_HERALD, on_herald_state },
};

void
dispatch_msg(void *arg, enum role peer, struct msg *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].type != m->h.type || handlers[i].from != peer)
			continue;
		handlers[i].fn(arg, m);
		return;
	}
	log_warn("%s sent a message that is not its to send: ignored", role_name(peer));
}

void
dispatch_peer_gone(void *arg, enum role peer)
{
	struct controller *c = arg;

	if (peer == ROLE_HERALD)
		alert_spool_on_herald_gone(c);
	if (peer != ROLE_WARDEN)
		return;
	c->warden_ready = false;
	probing_on_warden_gone(c);
}

void
dispatch_peer(void *arg, enum role peer, struct chan *ch)
{
	/* It tells anew what there is. */
	if (peer == ROLE_DISCOVERY) {
		stopped_clear(arg);
		instance_ask_all(arg);
	}
	if (peer == ROLE_HERALD)
		alert_spool_on_herald(arg);
}

void
dispatch_listener(void *arg, int fd)
{
	struct controller *c = arg;
	int r = api_listen(c->api, fd);

	if (r < 0)
		log_error("the API cannot listen: %s", strerror(-r));
	c->listening = r == 0;
	tell_watching(c);
}
