/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One engine: its event stream is opened first and its list read after, so that no start falls in
 * between. Whatever goes wrong with either ends both, is said in a sentence, and is tried again:
 * after 5 s while the socket does not exist or nobody listens there, else after 1, 2, 4 .. 30 s.
 * What is known about containers stays meanwhile: an engine's silence is no reason to forget who is
 * who.
 */
#include "config.h"
#include "daemon/discovery.h"
#include "daemon/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_MAX_S 30
#define RETRY_AWAY_S 5 /* it costs next to nothing */
#define LIMIT_EVENTS_S 10
#define LIMIT_LIST_S 30
#define REPAIR_MIN_S 5
#define STOPPED_S 3 /* after whatever may have changed them */
#define REPAIR_MAX_S 60

void
engine_tell(struct engine *e)
{
	(void)role_send(&e->d->loop, ROLE_CONTROLLER, MSG_D_ENGINE, 0, &e->state, sizeof(e->state));
}

static void
engine_say(struct engine *e, bool reachable, const char *why)
{
	if (e->state.reachable == reachable && strcmp(e->state.why, why) == 0)
		return;
	e->state.reachable = reachable;
	memset(e->state.why, 0, sizeof(e->state.why));
	snprintf(e->state.why, sizeof(e->state.why), "%s", why);
	engine_tell(e);
}

void
engine_complain(struct engine *e, const char *about, int error)
{
	char why[sizeof(e->state.why)];

	/* These end the connection as a whole, which is said once. */
	if (error == -ENOTCONN || error == -ECANCELED)
		return;
	e->state.errors++;
	snprintf(why, sizeof(why), "%s: %s", about, fetch_strerror(error));
	if (strcmp(e->state.why, why) != 0)
		log_warn("engine %s: %s; what it said is left out", e->state.engine, why);
	engine_say(e, e->state.reachable, why);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	engine_connect(arg);
}

void
engine_relay_gone(struct engine *e)
{
	/* Its return connects again. */
	event_del(e->retry);
	engine_say(e, false, fetch_strerror(-ENOTCONN));
}

static void
engine_fail(struct engine *e, const char *about, int error)
{
	struct timeval pause = { 0, 0 };
	char why[sizeof(e->state.why)];
	bool missing = error == -ENOENT || error == -ELOOP;
	bool away = missing || error == -ECONNREFUSED;

	fetch_cancel(e->events);
	fetch_cancel(e->list);
	fetch_cancel(e->stopped);
	e->events = e->list = e->stopped = NULL;
	event_del(e->stopped_due);
	e->listed = e->list_again = false;
	if (error == -ENOTCONN) {
		engine_relay_gone(e);
		return;
	}
	e->backoff_s = e->backoff_s == 0 ? 1 : MIN(e->backoff_s * 2, (unsigned)BACKOFF_MAX_S);
	pause.tv_sec = away ? RETRY_AWAY_S : (time_t)e->backoff_s;
	if (away)
		e->backoff_s = 0;
	if (!missing)
		e->state.errors++;
	snprintf(
	    why, sizeof(why), "%s%s%s", about, *about != '\0' ? ": " : "", fetch_strerror(error));
	/* An engine that is not installed is no fault. */
	if (missing && !e->missing)
		log_info("engine %s: %s; looking for it every %lld s", e->state.engine, why,
		    (long long)pause.tv_sec);
	else if (!missing && (e->state.reachable || strcmp(why, e->state.why) != 0))
		log_warn("engine %s: %s; trying again every %lld s", e->state.engine, why,
		    (long long)pause.tv_sec);
	e->missing = missing;
	engine_say(e, false, why);
	event_add(e->retry, &pause);
}

void
engine_check_synced(struct engine *e)
{
	if (!e->listed || e->synced || e->first_left > 0)
		return;
	e->synced = true;
	(void)role_send(&e->d->loop, ROLE_CONTROLLER, MSG_D_SYNCED, 0, &e->state, sizeof(e->state));
}

/* In one list: refused items, and the last reason. */
struct list_outcome {
	unsigned refused;
	int error;
};

static void
list_item(struct engine *e, const char *elem, size_t len, struct list_outcome *o)
{
	struct docker_container facts = { .facts = NULL };
	struct container *c = NULL;
	bool known = false;
	int r = docker_parse_container(elem, len, &facts);

	if (r == 0) {
		known = container_find(e, facts.id) != NULL;
		c = container_get(e, facts.id);
		r = c != NULL ? 0 : -ENOSPC;
	}
	if (r < 0) {
		docker_container_done(&facts);
		o->refused++;
		o->error = r;
		return;
	}
	if (!known || c->stopped)
		c->existing = e->fresh;
	c->stopped = false;
	c->generation = e->generation;
	if (!c->in_first && !e->synced) {
		c->in_first = true;
		e->first_left++;
	}
	container_update(c, &facts);
	docker_container_done(&facts);
}

/*
 * What the list does not have: gone, or to be asked about again, for it was asked for before its
 * start, or has started since the list was asked for.
 */
static void
drop_unlisted(struct container *c)
{
	if (c->stopped || c->generation == c->engine->generation)
		return;
	if ((c->looked_up && !c->c.running) || c->fetch != NULL || (c->want & WANT_FACTS) != 0)
		container_want(c, WANT_FACTS);
	else if (c->c.facts != NULL)
		container_drop(c);
}

static void engine_list(struct engine *e);

static void
on_list(void *arg, int error, const char *body, size_t len)
{
	struct engine *e = arg;
	struct list_outcome o = { 0, 0 };
	const char *elem;
	char why[sizeof(e->state.why)];
	size_t pos = 0, n;
	int r = error;

	e->list = NULL;
	e->generation++;
	if (r == 0)
		while ((r = docker_list_next(body, len, &pos, &elem, &n)) == 1)
			list_item(e, elem, n, &o);
	if (r < 0) {
		engine_fail(e, "the list of containers", r);
		container_work(e);
		return;
	}
	container_for_each(e, drop_unlisted);
	e->listed = true;
	e->fresh = false;
	e->backoff_s = 0;
	if (o.refused == 0) {
		if (!e->state.reachable)
			log_info("engine %s: connected, %zu containers", e->state.engine,
			    e->n_containers);
		engine_say(e, true, "");
	} else {
		e->state.errors += o.refused;
		snprintf(why, sizeof(why), "%u containers of the list are not known: %s", o.refused,
		    o.error == -ENOSPC ? "more than 8192 of them" : fetch_strerror(o.error));
		log_warn("engine %s: %s", e->state.engine, why);
		engine_say(e, true, why);
	}
	container_work(e);
	engine_check_synced(e);
	engine_look_for_stopped(e);
	if (e->list_again)
		engine_list(e);
}

static void
stopped_item(struct engine *e, const char *elem, size_t len)
{
	struct docker_container facts = { .facts = NULL };
	struct container *c;

	if (docker_parse_container(elem, len, &facts) < 0)
		return;
	c = container_find(e, facts.id);
	if (c == NULL && !facts.running && (c = container_get(e, facts.id)) != NULL)
		c->stopped = true;
	/* What is known to run, or asked for before its start, is not to be had from here. */
	if (c != NULL && c->stopped && !facts.running) {
		c->generation = e->stopped_generation;
		if (!json_equal(c->c.facts, facts.facts) || !c->told_stopped)
			container_update(c, &facts);
	}
	docker_container_done(&facts);
}

static void
drop_unstopped(struct container *c)
{
	if (c->stopped && c->generation != c->engine->stopped_generation)
		container_drop(c);
}

static void
on_stopped(void *arg, int error, const char *body, size_t len)
{
	struct engine *e = arg;
	const char *elem;
	size_t pos = 0, n, count = 0;
	int r = error;

	e->stopped = NULL;
	e->stopped_generation++;
	if (r == 0)
		while (count++ < DISCOVERY_MAX_STOPPED &&
		       (r = docker_list_next(body, len, &pos, &elem, &n)) == 1)
			stopped_item(e, elem, n);
	if (r >= 0)
		container_for_each(e, drop_unstopped);
	else if (r != -EREMOTEIO)
		engine_complain(e, "the list of containers that do not run", r);
	container_work(e);
}

static void
on_stopped_due(evutil_socket_t fd, short what, void *arg)
{
	static const struct fetch_callbacks cb = { .done = on_stopped };
	struct engine *e = arg;
	struct fetch_request q = {
		.engine = e->index,
		.request = RELAY_STOPPED,
		.id = "",
		.max = DISCOVERY_MAX_LIST,
		.limit_s = LIMIT_LIST_S,
	};

	if (e->stopped != NULL)
		engine_look_for_stopped(e);
	else if (e->listed)
		(void)fetch_start(&e->d->pool, &q, &cb, e, &e->stopped);
}

void
engine_look_for_stopped(struct engine *e)
{
	const struct timeval pause = { STOPPED_S, 0 };

	if (!event_pending(e->stopped_due, EV_TIMEOUT, NULL))
		event_add(e->stopped_due, &pause);
}

static void
engine_list(struct engine *e)
{
	static const struct fetch_callbacks cb = { .done = on_list };
	struct fetch_request q = {
		.engine = e->index,
		.request = RELAY_CONTAINERS,
		.id = "",
		.max = DISCOVERY_MAX_LIST,
		.limit_s = LIMIT_LIST_S,
	};
	int r;

	if (e->list != NULL) {
		e->list_again = true;
		return;
	}
	e->list_again = false;
	r = fetch_start(&e->d->pool, &q, &cb, e, &e->list);
	if (r < 0)
		engine_fail(e, "the list of containers", r);
}

void
engine_relist(struct engine *e)
{
	if (e->events != NULL && e->listed)
		engine_list(e);
}

/* Would the same question get another answer later? */
static bool
may_pass(int error)
{
	return error != -EREMOTEIO && error != -E2BIG && error != -EMSGSIZE && error != -EBADMSG;
}

void
engine_repair(struct engine *e, int error)
{
	struct timeval pause = { e->repair_s, 0 };

	if (!may_pass(error) || event_pending(e->repair, EV_TIMEOUT, NULL))
		return;
	e->repair_s = MIN(e->repair_s * 2, (unsigned)REPAIR_MAX_S);
	event_add(e->repair, &pause);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	container_work(arg);
}

static void
on_repair(evutil_socket_t fd, short what, void *arg)
{
	engine_relist(arg);
}

static void
on_events_open(void *arg)
{
	struct engine *e = arg;

	e->fresh = true;
	e->repair_s = REPAIR_MIN_S;
	engine_list(e);
}

static void
on_event_line(void *arg, const char *line, size_t len)
{
	struct engine *e = arg;
	struct docker_event ev = { .kind = DOCKER_EVENT_OTHER };
	struct container *c;
	int r = line != NULL ? docker_parse_event(line, len, &ev) : -E2BIG;

	if (r < 0) {
		/* Something happened that we cannot read: the list knows. */
		engine_complain(e, "an event", r);
		engine_list(e);
		return;
	}
	if (ev.kind == DOCKER_EVENT_OTHER)
		return;
	engine_look_for_stopped(e);
	if (ev.kind == DOCKER_EVENT_CREATED)
		return;
	c = container_find(e, ev.id);
	if (ev.kind == DOCKER_EVENT_GONE) {
		if (c != NULL)
			container_drop(c);
		container_work(e);
		/* Asked now it may still be listed; an old event told again is found out then. */
		engine_repair(e, 0);
		return;
	}
	/* A container that dies leaves its networks afterwards, and the engine may still list it.
	 */
	if ((c == NULL || c->stopped) && !ev.started)
		return;
	if (c == NULL)
		c = container_get(e, ev.id);
	if (c == NULL) {
		engine_complain(e, "a container more than 8192", -ENOSPC);
		return;
	}
	c->stopped = false;
	container_want(c, WANT_FACTS);
	container_work(e);
}

static void
on_events_done(void *arg, int error, const char *body, size_t len)
{
	struct engine *e = arg;

	e->events = NULL;
	engine_fail(e, e->listed ? "events" : "", error);
}

void
engine_connect(struct engine *e)
{
	static const struct fetch_callbacks cb = {
		.done = on_events_done,
		.open = on_events_open,
		.line = on_event_line,
	};
	struct fetch_request q = {
		.engine = e->index,
		.request = RELAY_EVENTS,
		.id = "",
		.max = DOCKER_MAX_EVENT,
		.limit_s = LIMIT_EVENTS_S,
	};
	int r;

	event_del(e->retry);
	if (e->events != NULL)
		return;
	r = fetch_start(&e->d->pool, &q, &cb, e, &e->events);
	if (r < 0)
		engine_fail(e, "", r);
}

int
engine_new(struct discovery *d, const char *name, size_t name_len, struct engine **ret)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (e == NULL || name_len == 0 || name_len >= sizeof(e->state.engine)) {
		free(e);
		return -EINVAL;
	}
	e->d = d;
	e->index = d->n_engines;
	memcpy(e->state.engine, name, name_len);
	e->runtime = strcmp(e->state.engine, "podman") == 0 ? "podman" : "docker";
	snprintf(e->state.why, sizeof(e->state.why), "not asked yet");
	TAILQ_INIT(&e->queue);
	TAILQ_INIT(&e->late);
	e->repair_s = REPAIR_MIN_S;
	e->retry = evtimer_new(d->loop.base, on_retry, e);
	e->repair = evtimer_new(d->loop.base, on_repair, e);
	e->later = evtimer_new(d->loop.base, on_later, e);
	e->stopped_due = evtimer_new(d->loop.base, on_stopped_due, e);
	if (e->retry == NULL || e->repair == NULL || e->later == NULL || e->stopped_due == NULL) {
		free(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}
