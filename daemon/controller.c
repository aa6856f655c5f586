/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-controller: events and dumps on handed sockets, learning, policy, store, API. Own uid, no
 * capability; it never enters a namespace. What is to happen in the kernel it asks of the warden.
 */
#include "daemon/activity.h"
#include "daemon/aggregate.h"
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/enforce.h"
#include "daemon/flows.h"
#include "daemon/gate.h"
#include "daemon/history.h"
#include "daemon/hostguard.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/log.h"
#include "daemon/names.h"
#include "daemon/observe.h"
#include "daemon/probing.h"
#include "daemon/promote.h"
#include "daemon/quarantine.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/store.h"
#include "daemon/witness.h"
#include "netlink/nft.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define MEMORY_EVERY_S 5
#define EVIDENCE_EVERY_S 5
#define CT_STATS_EVERY_S 10
#define FLOW_RING_SIZE 4096
#define ATTEMPTS_MAX 8192
#define DENIALS_MAX 10000

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
		i->ct_count = s;
		instance_check_headroom(i);
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
	{ MSG_CAP_ANSWER, ROLE_CAPTURE, names_on_answer },
	{ MSG_D_CONTAINER, ROLE_DISCOVERY, on_container },
	{ MSG_D_GONE, ROLE_DISCOVERY, on_container_gone },
	{ MSG_D_ENGINE, ROLE_DISCOVERY, on_engine },
	{ MSG_D_SYNCED, ROLE_DISCOVERY, on_engine },
	{ MSG_H_STATE, ROLE_HERALD, on_herald_state },
};

static void
on_msg(void *arg, enum role peer, struct msg *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].type != m->h.type || handlers[i].from != peer)
			continue;
		handlers[i].fn(arg, m);
		return;
	}
	log_warn("%s sent a message that is not its to send: ignored", role_name(peer));
}

static void
on_peer_gone(void *arg, enum role peer)
{
	struct controller *c = arg;

	if (peer == ROLE_HERALD)
		alert_spool_on_herald_gone(c);
	if (peer != ROLE_WARDEN)
		return;
	c->warden_ready = false;
	probing_on_warden_gone(c);
}

static void
on_peer(void *arg, enum role peer, struct chan *ch)
{
	if (peer == ROLE_DISCOVERY)
		instance_ask_all(arg);
	if (peer == ROLE_HERALD)
		alert_spool_on_herald(arg);
}

static void
on_listen(void *arg, int fd)
{
	struct controller *c = arg;
	int r = api_listen(c->api, fd);

	if (r < 0)
		log_error("the API cannot listen: %s", strerror(-r));
	c->listening = r == 0;
	tell_watching(c);
}

static void
on_config(void *arg, struct msg *m)
{
	reload_on_file(arg, m);
}

static void
save_evidence(struct controller *c)
{
	static bool failing;
	int r = flush_evidence(c);

	if (r < 0 && !failing)
		log_error("evidence is not stored, trying again: %s", strerror(-r));
	failing = r < 0;
}

/*
 * Answers, policies and evidence are many small pieces: freed, they lie among what stays, and
 * malloc gives none of them back by itself. At rest there is nothing to give.
 */
static void
give_memory_back(struct controller *c)
{
	if (!c->memory_used)
		return;
	c->memory_used = false;
	malloc_trim(0);
}

static void
on_second(evutil_socket_t fd, short what, void *arg)
{
	struct controller *c = arg;
	static unsigned seconds;

	seconds++;
	instance_tick(c);
	attempt_tick(c);
	names_tick(c);
	enforce_tick(c);
	confirm_tick(c);
	quarantine_tick(c);
	selftest_tick(c);
	promote_tick(c);
	gate_tick(c);
	applied_flush(c);
	image_allow_tick(c);
	alert_watch_tick(c);
	alerts_tick(c);
	witness_tick(c);
	metrics_out_tick(c);
	audit_tick(c->audit);
	activity_tick(c);
	history_tick(c);
	if (seconds % EVIDENCE_EVERY_S == 0)
		save_evidence(c);
	if (seconds % CT_STATS_EVERY_S == 0 && c->warden_ready)
		role_send(&c->loop, ROLE_WARDEN, MSG_W_GET_CT_STATS, 0, NULL, 0);
	if (seconds % MEMORY_EVERY_S == 0)
		give_memory_back(c);
	api_wake(c->api);
}

static void
on_stop(void *arg)
{
	struct controller *c = arg;

	/* Until when they were looked after. */
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		w->dirty |= w->instances != NULL;
	save_evidence(c);
	(void)history_flush(c);
	names_save(c);
	applied_flush(c);
	metrics_out_stop(c);
	record_stop(arg);
}

static int
intern_fixed(struct controller *c)
{
	const struct peer host = { .kind = PEER_HOST }, internet = { .kind = PEER_INTERNET },
			  multicast = { .kind = PEER_MULTICAST };
	int r = peer_intern(c->peers, &host, &c->peer_host);

	if (r == 0)
		r = peer_intern(c->peers, &internet, &c->peer_internet);
	if (r == 0)
		r = peer_intern(c->peers, &multicast, &c->peer_multicast);
	return r;
}

static int
make_tables(struct controller *c)
{
	size_t max_edges = c->config->max_edges;
	int r;

	c->waiting = calloc(CTL_MAX_WAITING, sizeof(*c->waiting));
	if (c->waiting == NULL)
		return -ENOMEM;
	if ((r = peer_table_new_seeded(max_edges * 3 + CTL_MAX_WORKLOADS, c->seed, &c->peers)) <
		0 ||
	    (r = edge_table_new(c->peers, max_edges, c->seed, learn_covers, c, &c->edges)) < 0 ||
	    (r = edge_table_generalise(c->edges, c->peers, flush_folded, c)) < 0 ||
	    (r = addr_map_new(c->seed, &c->addr_map)) < 0 ||
	    (r = nat_cache_new(c->seed, &c->nat)) < 0 ||
	    (r = witness_new(c->seed, &c->witness)) < 0 ||
	    (r = denial_table_new(DENIALS_MAX, c->seed, &c->denials)) < 0 ||
	    (r = attempt_table_new(ATTEMPTS_MAX, c->seed, &c->attempts)) < 0 ||
	    (r = flow_ring_new(FLOW_RING_SIZE, &c->flows)) < 0 ||
	    (r = probing_new(&c->probing)) < 0 ||
	    (r = alerts_new(c->config->alerts.repeat_after_ns, c->config->alerts.per_minute,
		 c->seed, &c->alerts)) < 0 ||
	    (r = alert_spool_new(hash_mix64(~c->seed), alerts_config_delivers(&c->config->alerts),
		 &c->alert_spool)) < 0)
		return r;
	return intern_fixed(c);
}

static int
make_events(struct controller *c)
{
	struct event_base *base = c->loop.base;

	c->ev_drain = evtimer_new(base, observe_drain_cb, c);
	c->ev_reconcile = evtimer_new(base, enforce_reconcile_cb, c);
	c->ev_first = evtimer_new(base, enforce_first_cb, c);
	c->ev_second = event_new(base, -1, EV_PERSIST, on_second, c);
	c->ev_expire = evtimer_new(base, enforce_expire_cb, c);
	if (selftest_new(c) < 0)
		return -ENOMEM;
	if (c->ev_drain == NULL || c->ev_reconcile == NULL || c->ev_second == NULL ||
	    c->ev_first == NULL || c->ev_expire == NULL)
		return -ENOMEM;
	return 0;
}

#define CONFIG_INVALID 2 /* the exit code of wrong usage */

static void
refuse(const char *what, const struct diag *d, int error, int code)
{
	if (d->line != 0)
		log_error("%s: line %u, column %u: %s", what, d->line, d->col, d->msg);
	else
		log_error("%s: %s", what, d->msg[0] != '\0' ? d->msg : strerror(-error));
	exit(code);
}

enum task { TASK_RUN, TASK_CHECK, TASK_RECORD_CLEANUP };

static void
parse_args(struct controller *c, int argc, char **argv, enum task *ret_task, bool *ret_again)
{
	static const struct option options[] = {
		{ "state-dir", required_argument, NULL, 'd' },
		{ "config", required_argument, NULL, 'c' },
		{ "only", required_argument, NULL, 'o' },
		{ "socket", required_argument, NULL, 's' },
		{ "again", no_argument, NULL, 'a' },
		{ "check", no_argument, NULL, 'k' },
		{ "record-cleanup", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	c->config_path = SYSCONFDIR "/nanoseg/nanosegd.yaml";
	c->state_dir = LOCALSTATEDIR "/lib/nanoseg";
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			c->state_dir = optarg;
			break;
		case 'c':
			c->config_path = optarg;
			break;
		case 'o':
			c->only = optarg;
			break;
		case 's':
			c->socket_path = optarg;
			break;
		case 'a':
			*ret_again = true;
			break;
		case 'k':
			*ret_task = TASK_CHECK;
			break;
		case 'r':
			*ret_task = TASK_RECORD_CLEANUP;
			break;
		default:
			exit(2);
		}
	}
}

static void
start_loop(struct controller *c)
{
	struct diag d = { 0 };
	int r;

	if ((r = role_loop_init(&c->loop, ROLE_CONTROLLER)) < 0 || (r = make_events(c)) < 0)
		refuse("event loop", &d, r, EXIT_FAILURE);
	if ((r = api_new(c, &c->api)) < 0)
		refuse("API", &d, r, EXIT_FAILURE);
	c->loop.arg = c;
	c->loop.on_listen = on_listen;
}

static void
start_work(struct controller *c)
{
	const struct timeval second = { .tv_sec = 1 };
	struct diag d = { 0 };
	int r;

	if ((r = audit_open(c->state_dir, &c->audit)) < 0)
		refuse("audit log", &d, r, EXIT_FAILURE);
	names_load(c);
	audit_sign_init(c->audit, c->state_dir, c->args.instance);
	record_start(c);
	confirm_tick(c);
	if ((r = history_new(c, &c->history)) < 0)
		refuse("history", &d, r, EXIT_FAILURE);
	c->held = gate_is_held(c);
	if (c->held)
		log_error("the store is empty, but workloads were enforced: the rules in the "
			  "kernel stand and new containers are closed, until a policy is applied "
			  "or a mode is set; %s/policy.json is the last policy",
		    c->state_dir);
	if ((r = gate_new(c)) < 0)
		refuse("gate", &d, r, EXIT_FAILURE);
	if ((r = metrics_out_new(c, &c->metrics_out)) < 0)
		refuse("metrics", &d, r, EXIT_FAILURE);
	if (evtimer_add(c->ev_second, &second) < 0 || evtimer_add(c->ev_expire, &second) < 0)
		refuse("event loop", &d, -ENOMEM, EXIT_FAILURE);
	c->loop.on_msg = on_msg;
	c->loop.on_peer = on_peer;
	c->loop.on_peer_gone = on_peer_gone;
	c->loop.on_config = on_config;
	c->loop.on_stop = on_stop;
	if (alerts_config_delivers(&c->config->alerts) &&
	    chan_send(c->loop.control, MSG_SUP_HERALD, 0, NULL, 0, NULL, 0) < 0)
		log_error("alerts cannot be delivered: the supervisor cannot be told");
}

static void
start(struct controller *c)
{
	struct diag d = { 0 };
	int r, usable;

	c->workloads_tail = &c->workloads;
	c->started_ns = now_real();
	if (getrandom(&c->seed, sizeof(c->seed), 0) != sizeof(c->seed))
		refuse("random numbers", &d, -EIO, EXIT_FAILURE);
	if ((r = make_tables(c)) < 0)
		refuse("tables", &d, r, EXIT_FAILURE);
	usable = store_open(c->state_dir, &d, &c->store);
	if (usable == 0)
		usable = segment_load(c, &d);
	if (usable == 0)
		usable = confirm_load(c, &d);
	if (usable == 0)
		usable = quarantine_load(c, &d);
	start_loop(c);
	c->loop.unready = usable < 0;
	if (usable == 0)
		start_work(c);
	else if ((r = refusal_begin(c, &d, usable)) < 0)
		refuse("event loop", &d, r, EXIT_FAILURE);
}

/* For nanosegd --cleanup, which started us. */
static int
record_for_parent(const struct controller *c)
{
	struct actor who = { .name = "uid:0", .is_process = true, .pid = getppid() };

	actor_look(&who);
	priv_drop(ROLE_CONTROLLER, c->args.uid, c->args.gid);
	return record_cleanup(c->state_dir, &who) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	static struct controller c;
	enum task task = TASK_RUN;
	struct diag d = { 0 };
	bool again = false;
	int r;

	role_parse_args(ROLE_CONTROLLER, &argc, argv, &c.args);
	parse_args(&c, argc, argv, &task, &again);
	if (task == TASK_RECORD_CLEANUP)
		return record_for_parent(&c);
	r = config_load(c.config_path, &d, &c.config);
	if (r < 0 && !again)
		refuse(c.config_path, &d, r, CONFIG_INVALID);
	if (task == TASK_CHECK)
		return EXIT_SUCCESS;
	/* A fixed threshold: what one large answer or policy took is given back. */
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	priv_drop(ROLE_CONTROLLER, c.args.uid, c.args.gid);
	r = reload_start(&c, again, r, &d);
	if (r < 0)
		refuse(c.config_path, &d, r, CONFIG_INVALID);
	log_raise(c.config->log_level);
	start(&c);
	priv_seccomp(ROLE_CONTROLLER);
	r = role_loop_run(&c.loop);
	store_close(c.store);
	audit_close(c.audit);
	return r;
}
