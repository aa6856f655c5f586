/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-controller: events and dumps on handed sockets, learning, policy, store, API. Own uid, no
 * capability; it never enters a namespace. What is to happen in the kernel it asks of the warden.
 */
#include "daemon/activity.h"
#include "daemon/alert.h"
#include "daemon/aside.h"
#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/dispatch.h"
#include "daemon/enforce.h"
#include "daemon/flows.h"
#include "daemon/gate.h"
#include "daemon/history.h"
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
#include "daemon/one_way.h"
#include "daemon/witness.h"

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
	if (!c->changing)
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
	if (!c->changing)
		history_tick(c);
	/* What is new is not to be lost; what grows can wait. */
	if (!c->changing &&
	    (seconds % EVIDENCE_EVERY_S == 0 || edge_table_count(c->edges) != c->edges_stored))
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

	aside_finish();
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
	    (r = one_way_new(c->seed, &c->one_way)) < 0 ||
	    (r = denial_table_new(DENIALS_MAX, c->seed, &c->denials)) < 0 ||
	    (r = attempt_table_new(ATTEMPTS_MAX, c->seed, &c->attempts)) < 0 ||
	    (r = flow_ring_new(FLOW_RING_SIZE, &c->flows)) < 0 ||
	    (r = probing_new(&c->probing)) < 0 ||
	    (r = alerts_new(c->config->alerts.repeat_after_ns, c->config->alerts.per_minute,
		 c->seed, &c->alerts)) < 0 ||
	    (r = alert_spool_new(hash_mix64(~c->seed), alerts_config_ways(&c->config->alerts),
		 &c->alert_spool)) < 0)
		return r;
	return intern_fixed(c);
}

static int
make_events(struct controller *c)
{
	struct event_base *base = c->loop.base;

	c->ev_reconcile = evtimer_new(base, enforce_reconcile_cb, c);
	c->ev_first = evtimer_new(base, enforce_first_cb, c);
	c->ev_second = event_new(base, -1, EV_PERSIST, on_second, c);
	c->ev_expire = evtimer_new(base, enforce_expire_cb, c);
	if (selftest_new(c) < 0)
		return -ENOMEM;
	if (c->ev_reconcile == NULL || c->ev_second == NULL || c->ev_first == NULL ||
	    c->ev_expire == NULL)
		return -ENOMEM;
	return observe_new(c);
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
	c->loop.on_listen = dispatch_listener;
}

static void
start_work(struct controller *c)
{
	const struct timeval second = { .tv_sec = 1 };
	struct diag d = { 0 };
	int r;

	if ((r = audit_open(c->state_dir, &c->audit)) < 0)
		refuse("audit log", &d, r, EXIT_FAILURE);
	if ((r = tables_open(c)) < 0)
		log_error("%s/tables: %s: what is changed in tables while nobody owns them is not "
			  "told at the next start",
		    c->state_dir, strerror(-r));
	names_load(c);
	audit_sign_init(c->audit, c->state_dir, c->args.instance);
	record_start(c);
	confirm_tick(c);
	aside_finish();
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
	c->loop.on_msg = dispatch_msg;
	c->loop.on_peer = dispatch_peer;
	c->loop.on_peer_gone = dispatch_peer_gone;
	c->loop.on_config = on_config;
	c->loop.on_stop = on_stop;
	if (alerts_config_ways(&c->config->alerts) != 0 &&
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
	/* A fixed threshold: what one large answer or policy took is given back. What a thread
	 * takes comes from where all is taken from. */
	(void)mallopt(M_ARENA_MAX, 1);
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
