/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POST /v1/simulate: a candidate policy, the one in force, or that one with some workloads
 * enforced (?enforce, and the body of POST /v1/mode), against the history.
 *
 * There may be millions of entries and a policy from anybody who may look, and containers that
 * start wait for this same loop: so it is done in slices of some milliseconds, one request at a
 * time, and no longer than TIME_MAX_NS. Nothing is held open between slices.
 */
#include "daemon/aside.h"
#include "daemon/history.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/whatif.h"
#include "rules/compile.h"
#include "rules/complete.h"

#include "daemon/api.h"
#include "rules/simulate.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

#define SLICE_NS (10 * NSEC_PER_MSEC)
#define PAUSE_US 3000
#define TIME_MAX_NS (50 * NSEC_PER_SEC) /* the command waits 60 s */
#define PAGE 2000
#define DEFAULT_SINCE_S (7ULL * 86400)
#define MAX_SINCE_S (3660ULL * 86400)

/* A flow's sum; number 0: unused. */
struct sum {
	uint64_t number, connections, last_ns;
	uint32_t hours;
};

struct whatif {
	struct api_wait base; /* first */
	struct controller *c;
	struct MHD_Connection *conn; /* while suspended */
	struct event *timer;
	struct policy *policy;
	struct inventory *inv;
	struct simulation *sim;
	struct live *live;
	uint64_t began_ns; /* CLOCK_MONOTONIC */
	uint32_t since_hour;
	bool *asked; /* peers whose flows count alone, by id; NULL: all */
	size_t n_asked;
	/* The step that runs, and where it is. */
	int (*step)(struct whatif *w); /* 1: again; 2: later; 0: done */
	uint32_t day;
	int64_t flow;
	struct sum *sums;
	size_t n_slots, n_sums, at;
	uint64_t not_looked;
	int error;
	json_t *answer;
	char *text; /* of it */
};

static int read_step(struct whatif *w);
static int name_step(struct whatif *w);
static int judge_step(struct whatif *w);

static struct sum *
find_sum(struct sum *sums, size_t n_slots, uint64_t number)
{
	size_t at = hash_mix64(number) & (n_slots - 1);

	while (sums[at].number != 0 && sums[at].number != number)
		at = (at + 1) & (n_slots - 1);
	return &sums[at];
}

static int
grow_sums(struct whatif *w)
{
	size_t n = w->n_slots != 0 ? w->n_slots * 2 : 1024;
	struct sum *grown = calloc(n, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_slots; i++)
		if (w->sums[i].number != 0)
			*find_sum(grown, n, w->sums[i].number) = w->sums[i];
	free(w->sums);
	w->sums = grown;
	w->n_slots = n;
	return 0;
}

static int
on_entry(void *arg, uint64_t number, uint32_t day, const uint64_t counts[static HISTORY_DAY_HOURS],
    uint64_t last_ns)
{
	struct whatif *w = arg;
	uint64_t connections = 0;
	uint32_t hours = 0;
	struct sum *s;

	for (uint32_t h = 0; h < HISTORY_DAY_HOURS; h++) {
		if (counts[h] == 0 || day * HISTORY_DAY_HOURS + h < w->since_hour)
			continue;
		connections += counts[h];
		hours++;
	}
	if (connections == 0 || number == 0)
		return 0;
	if (w->n_sums * 2 >= w->n_slots && grow_sums(w) < 0)
		return -ENOMEM;
	s = find_sum(w->sums, w->n_slots, number);
	if (s->number == 0) {
		if (w->n_sums >= SIMULATE_MAX_FLOWS) {
			w->not_looked++;
			return 0;
		}
		s->number = number;
		w->n_sums++;
	}
	s->connections += connections;
	s->hours += hours;
	s->last_ns = MAX(s->last_ns, last_ns);
	return 0;
}

static int
read_step(struct whatif *w)
{
	int n;

	if (w->c->changing)
		return 2;
	n = store_read_history(w->c->store, &w->day, &w->flow, PAGE, on_entry, w);

	if (n < 0)
		return n;
	if (n < PAGE)
		w->step = name_step;
	return 1;
}

static bool
is_selected(const struct controller *c, const struct peer *p)
{
	return c->only == NULL || (p->kind == PEER_WORKLOAD && workload_selected(c, p->name));
}

static bool
is_asked(const struct whatif *w, const struct peer *p)
{
	peer_id id = peer_lookup(w->c->peers, p);

	return w->asked == NULL || (id < w->n_asked && w->asked[id]);
}

static int
name_one(struct whatif *w, const struct sum *s)
{
	struct history_flow f;
	struct simulate_flow add;
	int r = store_find_history_flow(w->c->store, s->number, &f);

	/* A day went meanwhile. */
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if ((!is_selected(w->c, &f.from) && !is_selected(w->c, &f.to)) ||
	    (!is_asked(w, &f.from) && !is_asked(w, &f.to)))
		return 0;
	add = (struct simulate_flow){ .from = f.from,
		.to = f.to,
		.proto = f.proto,
		.port = f.port,
		.connections = s->connections,
		.last_seen_ns = s->last_ns,
		.hours = s->hours };
	r = simulate_add(w->sim, &add);
	return r == -ENOSPC || r == -EINVAL ? 0 : r;
}

static int
name_step(struct whatif *w)
{
	int r = 0;

	if (w->c->changing)
		return 2;
	for (size_t n = 0; r == 0 && n < PAGE && w->at < w->n_slots; n++, w->at++)
		if (w->sums[w->at].number != 0)
			r = name_one(w, &w->sums[w->at]);
	if (r < 0)
		return r;
	if (w->at >= w->n_slots)
		w->step = judge_step;
	return 1;
}

static void
on_rules(void *arg, const char *workload, const struct match *rules)
{
	struct whatif *w = arg;

	if (w->live != NULL && workload_selected(w->c, workload))
		live_look(w->live, workload, rules);
}

static int
judge_step(struct whatif *w)
{
	return simulate_step(w->sim, on_rules, w);
}

static void
sum_up(void *arg)
{
	struct whatif *w = arg;

	w->answer = simulate_to_json(w->sim);
}

static void
write_text(void *arg)
{
	struct whatif *w = arg;

	w->text = json_dumps(w->answer, API_JSON_FORM);
	json_decref(steal_ptr(w->answer));
}

/* What comes of it, in turns with the loop. */
static void
write_answer(void *arg)
{
	struct whatif *w = arg;

	aside_apart(sum_up, w);
	if (w->answer == NULL)
		return;
	json_object_set_new(w->answer, "live", live_to_json(w->live));
	json_object_set_new(w->answer, "history", history_to_json(w->c, w->since_hour));
	json_object_set_new(
	    w->answer, "since", json_time((uint64_t)w->since_hour * COMPLETE_HOUR_NS));
	json_object_set_new(w->answer, "revision", json_integer((json_int_t)w->c->revision));
	json_object_set_new(w->answer, "tookMs",
	    json_integer((json_int_t)((now_mono() - w->began_ns) / NSEC_PER_MSEC)));
	if (w->not_looked > 0)
		json_object_set_new(
		    w->answer, "notLooked", json_integer((json_int_t)w->not_looked));
	aside_apart(write_text, w);
}

/* Nothing of it is needed any more but its answer. */
static void
finish(struct whatif *w, int error)
{
	w->error = error;
	w->step = NULL;
	w->c->memory_used = true;
	if (w->c->whatif == w)
		w->c->whatif = NULL;
	if (w->conn != NULL)
		api_resume(w->c->api, steal_ptr(w->conn));
}

static void
on_written(void *arg)
{
	struct whatif *w = arg;

	finish(w, w->text != NULL ? 0 : -ENOMEM);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval pause = { .tv_usec = PAUSE_US };
	struct whatif *w = arg;
	uint64_t now = now_mono(), until = now + SLICE_NS;
	int r = 1;

	if (now - w->began_ns > TIME_MAX_NS)
		r = -ETIME;
	while (r == 1 && now_mono() < until)
		r = w->step(w);
	if (r > 0)
		evtimer_add(w->timer, &pause);
	else if (r < 0)
		finish(w, r);
	else if (aside_start(w->c->loop.base, write_answer, on_written, w) > 0)
		on_written(w);
}

static bool
answered(struct api_wait *base, struct MHD_Connection *conn)
{
	struct whatif *w = (struct whatif *)base;

	if (w->step != NULL)
		w->conn = conn;
	return w->step == NULL;
}

static void
reply(struct api_wait *base, struct api_reply *r)
{
	struct whatif *w = (struct whatif *)base;

	if (w->step != NULL)
		api_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "nanosegd is ending");
	else if (w->error == -ETIME)
		api_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL,
		    "it takes too long: ask for less of the history");
	else if (w->error == -E2BIG)
		api_fail(r, MHD_HTTP_CONTENT_TOO_LARGE, NULL,
		    "the policy makes too many rules for one of its workloads");
	else if (w->error < 0)
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "the history cannot be read: %s",
		    strerror(-w->error));
	else
		r->text = steal_ptr(w->text);
}

static void
wait_free(struct api_wait *base)
{
	struct whatif *w = (struct whatif *)base;

	if (w->c->whatif == w)
		w->c->whatif = NULL;
	if (w->timer != NULL)
		event_free(w->timer);
	simulate_free(w->sim);
	inventory_free(w->inv);
	policy_free(w->policy);
	live_free(w->live);
	free(w->text);
	free(w->sums);
	free(w->asked);
	free(w);
}

void
whatif_release(struct controller *c)
{
	if (c->whatif != NULL && c->whatif->conn != NULL)
		MHD_resume_connection(steal_ptr(c->whatif->conn));
}

/* The policy in force with other modes, as POST /v1/mode would set them. 0 or -ENOMEM. */
static int
set_modes(struct whatif *w, const struct mode_change *changes, size_t n, enum wl_direction dir)
{
	struct controller *c = w->c;
	const struct workload *wl = c->workloads;
	int r = segment_build_policy(c, false, &w->policy);

	w->n_asked = peer_table_count(c->peers) + 1;
	w->asked = calloc(w->n_asked, sizeof(*w->asked));
	if (r < 0 || w->asked == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		w->asked[changes[i].workload->peer] = true;
	/* The policy's are made of these, in their order. */
	for (size_t i = 0; i < w->policy->n_workloads; i++, wl = wl->next) {
		struct policy_workload *pw = &w->policy->workloads[i];

		if (!w->asked[wl->peer])
			continue;
		pw->mode = MODE_ENFORCE;
		pw->direction = dir;
	}
	return 0;
}

/* As the body of POST /v1/mode names them. 0, -ENOMEM; 1 after filling r. */
static int
read_modes(struct whatif *w, const struct api_request *q, struct api_reply *r)
{
	static const char *const keys[] = { "workloads", "all", "direction", NULL };
	_cleanup_free_ struct mode_change *changes =
	    calloc(q->c->n_workloads + 1, sizeof(*changes));
	json_t *o = api_read_body(q, r, keys);
	const char *direction;
	int dir = WL_BOTH, ret = 1;
	size_t n;

	if (o == NULL || !api_read_string(o, "direction", 16, r, &direction))
		goto out;
	if (direction != NULL && (dir = direction_parse(direction)) < 0) {
		api_fail(
		    r, MHD_HTTP_BAD_REQUEST, NULL, "direction: expected ingress, egress or both");
		goto out;
	}
	ret = -ENOMEM;
	if (changes == NULL)
		goto out;
	n = api_read_workloads(q, o, changes, r);
	ret = n > 0 ? set_modes(w, changes, n, (enum wl_direction)dir) : 1;
out:
	json_decref(o);
	return ret;
}

/* False after filling r. */
static bool
read_args(
    const struct api_request *q, struct api_reply *r, uint64_t *ret_since_s, const char **ret_modes)
{
	const char *since = api_arg(q, "sinceSeconds"), *modes = api_arg(q, "modes");
	unsigned long long n = DEFAULT_SINCE_S;
	char *end;

	if (since != NULL) {
		n = strtoull(since, &end, 10);
		if (*since < '0' || *since > '9' || *end != '\0' || n == 0 || n > MAX_SINCE_S) {
			api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
			    "sinceSeconds: expected a whole number, at most ten years");
			return false;
		}
	}
	if (modes != NULL && strcmp(modes, "all") != 0 && strcmp(modes, "asWritten") != 0) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "modes: expected all or asWritten");
		return false;
	}
	*ret_since_s = n;
	*ret_modes = modes;
	return true;
}

static int
begin(struct whatif *w, const char *modes, bool own, bool live)
{
	struct controller *c = w->c;
	enum simulate_modes m = own ? SIMULATE_ALL : simulate_modes_of(w->policy);
	const struct timeval now = { 0 };
	int r;

	if (modes != NULL)
		m = strcmp(modes, "all") == 0 ? SIMULATE_ALL : SIMULATE_AS_WRITTEN;
	w->inv = inventory_build(c, true);
	w->timer = evtimer_new(c->loop.base, on_timer, w);
	if (w->inv == NULL || w->timer == NULL)
		return -ENOMEM;
	if ((r = simulate_new(w->policy, w->inv, m, now_real(), c->seed, &w->sim)) < 0 ||
	    (live && (r = live_new(c, &w->live)) < 0) || (r = history_flush(c)) < 0)
		return r;
	w->step = read_step;
	return evtimer_add(w->timer, &now) < 0 ? -ENOMEM : 0;
}

void
whatif_post(const struct api_request *q, struct api_reply *r)
{
	struct controller *c = q->c;
	uint64_t since_s, now_s = now_real() / NSEC_PER_SEC;
	bool enforce = api_arg(q, "enforce") != NULL;
	const char *modes;
	struct whatif *w;
	int error = 0;

	if (!read_args(q, r, &since_s, &modes))
		return;
	if (c->whatif != NULL) {
		api_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL,
		    "another simulation runs: try again in a moment");
		return;
	}
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "out of memory");
		return;
	}
	w->base = (struct api_wait){ answered, reply, wait_free };
	w->c = c;
	w->began_ns = now_mono();
	w->since_hour = (uint32_t)((now_s - MIN(now_s, since_s)) / 3600);
	w->day = w->since_hour / HISTORY_DAY_HOURS;
	w->flow = -1;
	/* Of a policy that is in force. */
	if (enforce || q->body_len == 0)
		aside_wait(&c->changing);
	if (enforce)
		error = read_modes(w, q, r);
	else if (q->body_len > 0)
		w->policy = api_read_policy(q, r);
	else
		error = segment_build_policy(c, false, &w->policy);
	/* To ask sockets costs the more the more a container has: not for everybody. */
	if (w->policy != NULL && error == 0)
		error = begin(
		    w, enforce ? "asWritten" : modes, q->body_len == 0, q->role >= API_REVIEWER);
	if (error < 0)
		api_fail(
		    r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "no simulation: %s", strerror(-error));
	if (w->policy == NULL || error != 0) {
		wait_free(&w->base);
		return;
	}
	c->whatif = w;
	r->wait = &w->base;
}
