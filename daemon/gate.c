/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start gate, seen from the controller: nanoseg-oci-hook asks before a container's first
 * instruction, and the answer comes when its rules are in force. The request waits for that,
 * suspended, at most as long as the hook allows.
 *
 * A start passes at once while nothing is enforced. Otherwise the namespace of the hook's process
 * is looked at by the warden, the engine is asked for the container's name, and what is then known
 * decides: a workload that is not enforced starts; an enforced one when its ruleset was read back
 * from the kernel. The rules of its peers are waited for as well, so that an approved connection
 * works at its first packet, but never for longer than SETTLE_NS: they cannot leak anything. An
 * enforced one that is to have a host guard starts when the warden has looked at its links once
 * more and holds what can be held: those that the engine has given it by now.
 *
 * The marker, a file in the state folder, says to the hook that something is enforced when nobody
 * else can. It is there before the first enforcing revision is stored, and goes after the last.
 */
#include "daemon/api.h"
#include "daemon/gate.h"
#include "daemon/hostguard.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "daemon/start.h"
#include "netlink/rtnl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS 20
#define LOOK_EVERY_NS (50 * NSEC_PER_MSEC)
/* No answer to a look: the warden has died. */
#define LOOK_LOST_NS (2 * NSEC_PER_SEC)
#define SETTLE_NS (300 * NSEC_PER_MSEC)
#define MAX_TIMEOUT_MS 600000
#define MARKER "enforced"
#define HELD_ONLY "quarantine\n" /* its text where the policy enforces nothing */

struct gate_wait {
	struct api_wait base; /* first */
	struct gate_wait *next;
	struct controller *c;
	struct MHD_Connection *conn; /* while suspended */
	char id[65];		     /* "" unless 64 hex digits */
	char name[80];		     /* for the log */
	int32_t pid;
	uint32_t seq;	 /* of its questions to the warden */
	uint64_t cookie; /* 0: not known */
	uint64_t asked_ns, deadline_ns, looked_ns;
	bool is_asked;	   /* an answer of the warden is due */
	uint64_t ready_ns; /* its own rules are in force since; 0: not yet */
	/* Its links have been looked at since, as the last thing before the answer. */
	bool links_seen;
	uint32_t links_seq;
	uint64_t links_asked_ns;

	enum gate_answer { GATE_WAIT, GATE_START, GATE_REFUSE } answer;
	const char *reason;
	char workload[PEER_STRLEN];
	int64_t lead_ms; /* -1: none */
};

struct gate {
	struct gate_wait *waits;
	struct event *timer;
	uint32_t seq;
	enum gate_mark mark; /* as it is in the file; GATE_MARK_UNKNOWN: that is not known */
	bool mark_failed;
};

json_t *
gate_marker_to_json(const struct controller *c)
{
	_cleanup_free_ char *folder = realpath(c->state_dir, NULL);

	return folder != NULL ? json_sprintf("%s/" MARKER, folder) : json_null();
}

bool
gate_is_held(const struct controller *c)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" MARKER, c->state_dir);
	return c->revision == 0 && stat(path, &st) == 0 && st.st_size == 0;
}

static bool
policy_enforces(const struct controller *c)
{
	if (c->held)
		return true;
	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		if (w->mode == MODE_ENFORCE && workload_selected(c, w->name))
			return true;
	return false;
}

bool
gate_enforces(const struct controller *c)
{
	return policy_enforces(c) || quarantine_any(c);
}

/* The marker */

static int
set_mark(int dir, enum gate_mark mark)
{
	_cleanup_close_ int fd = -1;

	if (mark == GATE_MARK_NONE)
		return unlinkat(dir, MARKER, 0) < 0 && errno != ENOENT ? -errno : 0;
	/* Cut short, it says the more careful of the two. */
	fd = openat(
	    dir, MARKER, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	if (fd < 0 || (mark == GATE_MARK_QUARANTINE && write(fd, HELD_ONLY, strlen(HELD_ONLY)) < 0))
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int
gate_mark(struct controller *c, enum gate_mark mark)
{
	_cleanup_close_ int dir = -1;
	int r;

	if (mark == GATE_MARK_QUARANTINE && policy_enforces(c))
		mark = GATE_MARK_POLICY;
	if (c->gate == NULL || c->gate->mark == mark)
		return 0;
	dir = open(c->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? -errno : set_mark(dir, mark);
	if (r == 0 && fsync(dir) < 0)
		r = -errno;
	if (r < 0) {
		if (!c->gate->mark_failed)
			log_error("%s/%s: cannot be %s, trying again: %s", c->state_dir, MARKER,
			    mark != GATE_MARK_NONE ? "written" : "removed", strerror(-r));
		c->gate->mark_failed = true;
		c->gate->mark = GATE_MARK_UNKNOWN;
		return r;
	}
	c->gate->mark_failed = false;
	c->gate->mark = mark;
	return 0;
}

/* Answers */

static void
decide(struct gate_wait *g, enum gate_answer answer, const char *reason)
{
	g->answer = answer;
	g->reason = reason;
	histogram_add(&g->c->metrics.gate_wait, now_mono() - g->asked_ns);
	if (answer == GATE_REFUSE)
		log_warn("container %s: start refused: %s", g->name, reason);
	if (g->conn != NULL)
		api_resume(g->c->api, steal_ptr(g->conn));
}

static const struct container *
container_of(const struct gate_wait *g, const struct instance *i)
{
	if (i != NULL && i->container != NULL)
		return i->container;
	return g->id[0] != '\0' ? container_find(g->c, g->id) : NULL;
}

/* The workload whose rules count for it; NULL: none. False: not known yet. */
static bool
identify(const struct gate_wait *g, const struct instance *i, struct workload **ret)
{
	const struct container *k = container_of(g, i);

	*ret = NULL;
	if (i != NULL && i->is_host)
		return true;
	/* An engine's word that it is in the host's network is none of the kernel's. */
	if (i == NULL && k != NULL && k->host_network)
		return false;
	/* One that joins another's namespace has an image of its own. */
	if (g->id[0] != '\0' && k != NULL && container_known(g->c, g->id) == NULL)
		return false;
	/* What stands in for a name that is not known yet is nobody's. */
	if (k != NULL ? k->nameless : i == NULL || i->ns.container_id[0] != '\0')
		return false;
	if (i != NULL && i->workload != NULL) {
		*ret = i->workload;
		return true;
	}
	/* It may come under another one's rules. */
	if (k == NULL || k->shares[0] != '\0')
		return false;
	*ret = workload_find(g->c, k->identity.name);
	return true;
}

/* It would start closed: better that whoever starts it is told. */
static bool
has_other_image(const struct gate_wait *g, const struct instance *i, const struct workload *w)
{
	const struct container *k = g->id[0] != '\0' ? container_known(g->c, g->id) : NULL;

	/* A member is itself, and not the one whose namespace it joins. */
	if (k == NULL)
		k = container_of(g, i);
	return k != NULL && workload_refuses(w, k);
}

static bool
is_governed(const struct controller *c, const struct workload *w)
{
	return w != NULL && w->mode == MODE_ENFORCE && workload_selected(c, w->name);
}

/* No change of anybody's rules is planned or under way. */
static bool
is_settled(const struct controller *c, const struct instance *i)
{
	if (evtimer_pending(c->ev_reconcile, NULL) || i == NULL || i->attach == ATTACH_ASKED)
		return false;
	if (i->addrs != NULL && !rtnl_watch_ready(i->addrs))
		return false;
	for (const struct instance *o = c->instances; o != NULL; o = o->next)
		if (o->apply_seq != 0)
			return false;
	return true;
}

static bool
in_force(const struct controller *c, const struct instance *i)
{
	return i != NULL && i->workload != NULL && i->attach == ATTACH_DONE && i->has_applied &&
	       i->match && i->apply_seq == 0 && i->applied_revision == c->revision;
}

static void
start(struct gate_wait *g, struct instance *i, bool governed)
{
	uint64_t lead = 0;

	if (i != NULL && i->attach == ATTACH_DONE && !i->is_host) {
		lead = governed ? now_real() - MIN(i->applied_ns, now_real())
				: now_mono() - i->attached_ns;
		g->lead_ms = (int64_t)(lead / NSEC_PER_MSEC);
		start_on_gated(i, lead);
	}
	decide(g, GATE_START, governed ? "its rules are in force" : "its workload is not enforced");
}

static void
time_out(struct gate_wait *g, const struct instance *i, bool known)
{
	if (!known && g->id[0] != '\0') {
		decide(g, GATE_REFUSE,
		    "no engine and no file said in time what it is, and workloads are enforced");
	} else if (!known && g->c->config->on_unknown == ON_UNKNOWN_ALLOW) {
		log_warn("container %s: not identified in time: it starts unenforced (onUnknown: "
			 "allow)",
		    g->name);
		decide(g, GATE_START, "it was not identified in time (onUnknown: allow)");
	} else if (!known) {
		decide(g, GATE_REFUSE, "it was not identified in time (onUnknown: quarantine)");
	} else if (!g->c->warden_ready) {
		decide(g, GATE_REFUSE, "the warden that loads its rules is not running");
	} else if (i != NULL && i->attach == ATTACH_FAILED) {
		decide(g, GATE_REFUSE, "its namespace cannot be attached");
	} else if (i != NULL && i->apply_error < 0) {
		decide(g, GATE_REFUSE, "the kernel refuses its rules");
	} else if (g->ready_ns != 0) {
		decide(g, GATE_REFUSE, "its host guard was not in force in time");
	} else {
		decide(g, GATE_REFUSE, "its rules were not in force in time");
	}
}

static uint32_t
next_seq(struct gate *gate)
{
	if (++gate->seq == 0)
		gate->seq = 1;
	return gate->seq;
}

static void
look(struct gate_wait *g, uint32_t seq, uint64_t now, uint64_t *asked_ns)
{
	struct w_look body = { .pid = g->pid };

	/* Of many that start at once, each has one question in the warden's queue. */
	if (*asked_ns != 0 && now - *asked_ns < (g->is_asked ? LOOK_LOST_NS : LOOK_EVERY_NS))
		return;
	*asked_ns = now;
	g->is_asked = true;
	memcpy(body.container_id, g->id, sizeof(g->id));
	role_send(&g->c->loop, ROLE_WARDEN, MSG_W_LOOK, seq, &body, sizeof(body));
}

/* The warden loads a guard at each link that it finds, and tells of it before it answers. */
static bool
is_guarded(struct gate_wait *g, const struct instance *i, uint64_t now)
{
	if (g->links_seen || !hostguard_is_wanted(i))
		return true;
	look(g, g->links_seq, now, &g->links_asked_ns);
	return false;
}

static void
check_one(struct gate_wait *g, uint64_t now)
{
	struct controller *c = g->c;
	struct instance *i = g->cookie != 0 ? instance_find(c, g->cookie) : NULL;
	bool known, governed, held, ready;
	struct workload *w;

	if (!gate_enforces(c)) {
		decide(g, GATE_START, "nothing is enforced");
		return;
	}
	if (c->held) {
		decide(g, GATE_REFUSE, "the store is empty: apply a policy or set a mode first");
		return;
	}
	known = identify(g, i, &w);
	governed = known && is_governed(c, w);
	held = known && (quarantine_of(i) != NULL || quarantine_of_workload(c, w) != NULL ||
			    quarantine_of_container(c, g->id) != NULL);
	if (w != NULL)
		text_escape(w->name, strlen(w->name), g->workload, sizeof(g->workload));
	if (governed && has_other_image(g, i, w)) {
		decide(g, GATE_REFUSE,
		    "its image is not accepted under this name (nanoseg approve --image)");
		return;
	}
	governed |= held;
	ready = known && (!governed || in_force(c, i));
	if (!ready) {
		g->ready_ns = g->links_asked_ns = 0;
		g->links_seen = false;
	} else if (g->ready_ns == 0) {
		g->ready_ns = now;
		g->links_seq = next_seq(c->gate);
	}
	ready =
	    ready && (is_settled(c, i) || now - g->ready_ns >= SETTLE_NS || now >= g->deadline_ns);
	ready = ready && (!governed || is_guarded(g, i, now));
	/* What is planned may be about its own rules. */
	if (ready && (!governed || !evtimer_pending(c->ev_reconcile, NULL)))
		start(g, i, governed);
	else if (now >= g->deadline_ns)
		time_out(g, i, known);
	else if ((i == NULL || i->attach == ATTACH_FAILED) && c->warden_ready)
		look(g, g->seq, now, &g->looked_ns);
}

void
gate_check(struct controller *c)
{
	const struct timeval retry = { .tv_usec = RETRY_MS * 1000 };
	uint64_t now = now_mono();
	bool waiting = false;

	if (c->gate == NULL || c->gate->waits == NULL)
		return;
	for (struct gate_wait *g = c->gate->waits; g != NULL; g = g->next) {
		if (g->answer == GATE_WAIT)
			check_one(g, now);
		waiting |= g->answer == GATE_WAIT;
	}
	if (waiting && !evtimer_pending(c->gate->timer, NULL))
		evtimer_add(c->gate->timer, &retry);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	gate_check(arg);
}

void
gate_on_looked(struct controller *c, const struct w_looked *l, uint32_t seq)
{
	for (struct gate_wait *g = c->gate->waits; g != NULL; g = g->next) {
		struct instance *i;

		g->is_asked &= g->seq != seq && g->links_seq != seq;
		if (l->error != 0)
			continue;
		i = instance_find(c, l->cookie);
		if (g->links_seq == seq && g->ready_ns != 0)
			g->links_seen =
			    l->cookie == g->cookie && i != NULL && hostguard_is_in_place(i);
		if (g->seq != seq)
			continue;
		g->cookie = l->cookie;
		/* The process it was known by may have been one that only set it up. */
		if (i != NULL)
			instance_attach_again(i);
	}
	gate_check(c);
}

/* HTTP */

static bool
is_container_id(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static bool
wait_answered(struct api_wait *w, struct MHD_Connection *conn)
{
	struct gate_wait *g = (struct gate_wait *)w;

	if (g->answer == GATE_WAIT)
		g->conn = conn;
	return g->answer != GATE_WAIT;
}

static void
wait_reply(struct api_wait *w, struct api_reply *r)
{
	const struct gate_wait *g = (const struct gate_wait *)w;

	if (g->answer == GATE_WAIT) {
		api_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "nanosegd is ending");
		return;
	}
	if (g->answer == GATE_REFUSE) {
		api_fail(r, MHD_HTTP_CONFLICT, NULL, "%s%s%s", g->workload,
		    g->workload[0] != '\0' ? ": " : "", g->reason);
		return;
	}
	r->json = json_pack("{s:b, s:s, s:o, s:o, s:I}", "start", 1, "reason", g->reason,
	    "workload", g->workload[0] != '\0' ? json_text(g->workload) : json_null(), "leadMs",
	    g->lead_ms >= 0 ? json_integer(g->lead_ms) : json_null(), "waitedMs",
	    (json_int_t)((now_mono() - g->asked_ns) / NSEC_PER_MSEC));
}

static void
wait_free(struct api_wait *w)
{
	struct gate_wait *g = (struct gate_wait *)w, **p;

	for (p = &g->c->gate->waits; *p != NULL && *p != g; p = &(*p)->next)
		;
	if (*p == g)
		*p = g->next;
	free(g);
}

void
gate_post(const struct api_request *q, struct api_reply *r)
{
	const char *id = NULL, *bundle = NULL;
	json_t *o = json_loadb(q->body, q->body_len, JSON_REJECT_DUPLICATES, NULL);
	struct d_id ask = { .id = "" };
	int pid = 0, timeout_ms = 0;
	struct gate_wait *g;

	if (json_unpack(o, "{s:s, s:i, s?s, s?i !}", "id", &id, "pid", &pid, "bundle", &bundle,
		"timeoutMs", &timeout_ms) < 0 ||
	    pid <= 0 || timeout_ms < 0 || timeout_ms > MAX_TIMEOUT_MS) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expected {id, pid, bundle?, timeoutMs?} of the container that starts");
		goto out;
	}
	g = calloc(1, sizeof(*g));
	if (g == NULL) {
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "out of memory");
		goto out;
	}
	g->base = (struct api_wait){ wait_answered, wait_reply, wait_free };
	g->c = q->c;
	g->pid = pid;
	g->lead_ms = -1;
	text_escape(id, MIN(strlen(id), (size_t)12), g->name, sizeof(g->name));
	if (is_container_id(id)) {
		memcpy(g->id, id, sizeof(g->id));
		memcpy(ask.id, id, sizeof(g->id));
		if (gate_enforces(q->c) && container_find(q->c, id) == NULL)
			role_send(&q->c->loop, ROLE_DISCOVERY, MSG_D_LOOKUP, 0, &ask, sizeof(ask));
	}
	g->seq = next_seq(q->c->gate);
	g->asked_ns = now_mono();
	/*
	 * The hook is to hear the answer before it gives up. It waits longer than identifyTimeout:
	 * a start that is refused may be the only one, and nothing leaks meanwhile.
	 */
	g->deadline_ns =
	    g->asked_ns + (timeout_ms != 0 ? (uint64_t)timeout_ms * NSEC_PER_MSEC / 4 * 3
					   : q->c->config->identify_timeout_ns);
	g->next = q->c->gate->waits;
	q->c->gate->waits = g;
	r->wait = &g->base;
	gate_check(q->c);
out:
	json_decref(o);
}

void
gate_release(struct controller *c)
{
	if (c->gate == NULL)
		return;
	for (struct gate_wait *g = c->gate->waits; g != NULL; g = g->next)
		if (g->conn != NULL)
			MHD_resume_connection(steal_ptr(g->conn));
}

int
gate_new(struct controller *c)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return -ENOMEM;
	g->timer = evtimer_new(c->loop.base, on_timer, c);
	if (g->timer == NULL) {
		free(g);
		return -ENOMEM;
	}
	c->gate = g;
	gate_tick(c);
	return 0;
}

void
gate_free(struct controller *c)
{
	if (c->gate != NULL)
		event_free(c->gate->timer);
	free(steal_ptr(c->gate));
}

/* By somebody's hand: what we know of the file is not so. */
static bool
marker_is_gone(const struct controller *c)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" MARKER, c->state_dir);
	return c->gate != NULL && c->gate->mark > GATE_MARK_NONE && access(path, F_OK) < 0 &&
	       errno == ENOENT;
}

void
gate_tick(struct controller *c)
{
	if (marker_is_gone(c)) {
		log_warn("%s/" MARKER " was removed: it is written again", c->state_dir);
		c->gate->mark = GATE_MARK_UNKNOWN;
	}
	gate_mark(c, gate_enforces(c) ? GATE_MARK_QUARANTINE : GATE_MARK_NONE);
	gate_check(c);
}
