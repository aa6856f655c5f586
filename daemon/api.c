/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP on the unix socket: libmicrohttpd with its epoll fd in our loop. Requests are bounded in
 * size and number; a follower that does not read is suspended and costs nothing.
 */
#include "daemon/api.h"
#include "daemon/api_groups.h"
#include "daemon/api_lane.h"
#include "daemon/aside.h"
#include "daemon/denial.h"
#include "daemon/flows.h"
#include "daemon/log.h"

#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

#define FOLLOW_CHUNK 32768
#define IDLE_TIMEOUT_S 30u
/* Some of the connections and of the memory for bodies stay for those who can stop things. */
#define MAX_FOLLOWERS 32
#define MAX_UPLOADS (4u * API_MAX_BODY)
#define LARGE_ANSWER (256u << 10)

struct follower {
	struct follower *next;
	struct api *api;
	struct MHD_Connection *conn;
	enum api_follow what;
	uint64_t seq;
	bool suspended;
	char *pending; /* a line not yet handed over */
	size_t pending_len, pending_off;
};

struct api {
	struct controller *c;
	struct MHD_Daemon *mhd;
	struct event *ev, *ev_timeout;
	struct api_groups groups;
	struct api_lanes lanes;
	bool ending; /* nobody is answered later */
	struct follower *followers;
	size_t n_followers;
	size_t uploads; /* bytes of all bodies under way */
};

/* What a request has collected so far. */
struct upload {
	char *body;
	size_t len, room;
	bool too_large;
	struct api_wait *wait;
};

const char *
api_arg(const struct api_request *q, const char *name)
{
	return MHD_lookup_connection_value(q->conn, MHD_GET_ARGUMENT_KIND, name);
}

void
api_fail(struct api_reply *r, unsigned status, const struct diag *d, const char *fmt, ...)
{
	char msg[1024];
	json_t *e = json_object();
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	json_object_set_new(e, "message", json_text(msg));
	if (d != NULL && d->line != 0) {
		json_object_set_new(e, "line", json_integer(d->line));
		json_object_set_new(e, "column", json_integer(d->col));
	}
	r->status = status;
	json_decref(r->json);
	r->json = json_pack("{s:o}", "error", e);
}

/* Fills role and actor from the kernel's knowledge of the peer. -EPERM if it cannot be told. */
static int
identify_peer(struct api *a, int fd, struct api_request *q)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	gid_t groups[256 + 1];
	size_t n;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -EPERM;
	len = sizeof(groups) - sizeof(gid_t);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		len = 0;
	n = len / sizeof(gid_t);
	groups[n++] = cred.gid;
	snprintf(q->who.name, sizeof(q->who.name), "uid:%u", cred.uid);
	q->who.is_process = true;
	q->who.uid = cred.uid;
	q->who.pid = cred.pid;
	q->role = API_VIEWER;
	if (api_groups_have(&a->groups.reviewers, groups, n))
		q->role = API_REVIEWER;
	if (api_groups_have(&a->groups.admins, groups, n))
		q->role = API_ADMIN;
	if (cred.uid == 0)
		q->role = API_ROOT;
	return 0;
}

static const struct api_route *
find_in(const struct api_route *routes, const char *method, const char *path, bool *ret_path_known)
{
	for (; routes->path != NULL; routes++) {
		if (strcmp(routes->path, path) != 0)
			continue;
		*ret_path_known = true;
		if (strcmp(routes->method, method) == 0)
			return routes;
	}
	return NULL;
}

static void
deny(const struct api_request *q, const struct api_route *route)
{
	char what[64];

	snprintf(what, sizeof(what), "%s %s", route->method, route->path);
	audit_denied(q->c->audit, &q->who, what);
}

static void
dispatch(const struct api_request *q, const char *method, const char *path, struct api_reply *r)
{
	bool known = false;
	const struct api_route *route = find_in(api_read_routes, method, path, &known);

	if (route == NULL)
		route = find_in(api_write_routes, method, path, &known);
	if (route == NULL)
		route = find_in(api_audit_routes, method, path, &known);
	if (route == NULL)
		route = find_in(api_hold_routes, method, path, &known);
	if (route == NULL)
		route = find_in(api_config_routes, method, path, &known);
	if (route == NULL) {
		api_fail(r, known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND, NULL,
		    known ? "this path does not take %s" : "no such path", method);
		return;
	}
	if (q->role < route->role) {
		static const char *const needs[] = { "", "", "a reviewer", "an administrator",
			"root" };

		/* The path is one of ours: routes are compared whole. */
		deny(q, route);
		log_info("API: %s refused: %s %s", q->who.name, route->method, route->path);
		api_fail(r, MHD_HTTP_FORBIDDEN, NULL, "%s needs %s", path, needs[route->role]);
		return;
	}
	if (route->pace != API_AT_ONCE) {
		api_lane_take(&q->c->api->lanes, q, route, r);
		return;
	}
	route->fn(q, r);
	if (r->follow != FOLLOW_NONE && q->n_followers >= MAX_FOLLOWERS && q->role < API_ADMIN) {
		r->follow = FOLLOW_NONE;
		api_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL,
		    "too many are following already: at most %u", (unsigned)MAX_FOLLOWERS);
	}
}

/* The next line for a follower, or NULL if there is none. */
static json_t *
follower_line(struct follower *f)
{
	struct controller *c = f->api->c;
	const struct flow_record *rec;
	const struct denial *d, *best = NULL;
	size_t pos = 0;

	if (f->what == FOLLOW_FLOWS) {
		rec = flow_ring_next(c->flows, &f->seq);
		return rec != NULL ? json_flow(c, rec) : NULL;
	}
	if (denial_head(c->denials) < f->seq)
		return NULL;
	while ((d = denial_next(c->denials, &pos)) != NULL)
		if (d->seq >= f->seq && d->kind != FLOW_ATTEMPT &&
		    (best == NULL || d->seq < best->seq))
			best = d;
	f->seq = best != NULL ? best->seq + 1 : denial_head(c->denials) + 1;
	return best != NULL ? json_denial(c, best) : NULL;
}

static ssize_t
follower_read(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct follower *f = arg;
	size_t n;

	if (f->pending == NULL) {
		json_t *line = follower_line(f);
		char *text = line != NULL ? json_dumps(line, API_JSON_FORM) : NULL;

		json_decref(line);
		if (text != NULL) {
			f->pending_len = strlen(text) + 1;
			f->pending = realloc(text, f->pending_len + 1);
			if (f->pending == NULL) {
				free(text);
				return MHD_CONTENT_READER_END_WITH_ERROR;
			}
			f->pending[f->pending_len - 1] = '\n';
			f->pending_off = 0;
		}
	}
	if (f->pending == NULL) {
		f->suspended = true;
		MHD_suspend_connection(f->conn);
		return 0;
	}
	n = MIN(max, f->pending_len - f->pending_off);
	memcpy(buf, f->pending + f->pending_off, n);
	f->pending_off += n;
	if (f->pending_off == f->pending_len) {
		free(f->pending);
		f->pending = NULL;
	}
	return (ssize_t)n;
}

static void
follower_done(void *arg)
{
	struct follower *f = arg;
	struct follower **p;

	for (p = &f->api->followers; *p != NULL && *p != f; p = &(*p)->next)
		;
	if (*p == f)
		*p = f->next;
	f->api->n_followers--;
	free(f->pending);
	free(f);
}

static struct MHD_Response *
follow(struct api *a, struct MHD_Connection *conn, enum api_follow what)
{
	struct follower *f = calloc(1, sizeof(*f));
	struct MHD_Response *resp;

	if (f == NULL)
		return NULL;
	f->api = a;
	f->conn = conn;
	f->what = what;
	f->seq =
	    what == FOLLOW_FLOWS ? flow_ring_head(a->c->flows) : denial_head(a->c->denials) + 1;
	resp = MHD_create_response_from_callback(
	    MHD_SIZE_UNKNOWN, FOLLOW_CHUNK, follower_read, f, follower_done);
	if (resp == NULL) {
		free(f);
		return NULL;
	}
	f->next = a->followers;
	a->followers = f;
	a->n_followers++;
	/* Nothing may happen for hours. */
	MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	return resp;
}

static enum MHD_Result
answer(struct api *a, struct MHD_Connection *conn, struct api_reply *r)
{
	struct MHD_Response *resp;
	const char *type = r->content_type != NULL ? r->content_type : "application/json";
	enum MHD_Result ret;
	char *text = r->text;

	if (r->follow != FOLLOW_NONE) {
		type = "application/x-ndjson";
		resp = follow(a, conn, r->follow);
	} else {
		if (text == NULL)
			text = json_dumps(r->json, API_JSON_FORM);
		json_decref(r->json);
		a->c->memory_used = true;
		/* The tree it was made of took ten times as much. */
		if (text != NULL && strlen(text) >= LARGE_ANSWER)
			malloc_trim(0);
		if (text == NULL)
			return MHD_NO;
		resp = MHD_create_response_from_buffer(
		    r->text != NULL && r->text_len != 0 ? r->text_len : strlen(text), text,
		    MHD_RESPMEM_MUST_FREE);
		if (resp == NULL)
			free(text);
	}
	if (resp == NULL)
		return MHD_NO;
	MHD_add_response_header(resp, "Content-Type", type);
	ret = MHD_queue_response(conn, r->status, resp);
	MHD_destroy_response(resp);
	return ret;
}

static enum MHD_Result
collect(struct api *a, struct upload *u, const char *data, size_t len)
{
	if (u->too_large || len > API_MAX_BODY - u->len) {
		u->too_large = true;
		return MHD_YES;
	}
	if (u->len + len + 1 > u->room) {
		size_t room = MAX((size_t)4096, (u->len + len + 1) * 2);
		char *grown;

		if (room - u->room > MAX_UPLOADS - a->uploads)
			return MHD_NO;
		grown = realloc(u->body, room);
		if (grown == NULL)
			return MHD_NO;
		a->uploads += room - u->room;
		u->body = grown;
		u->room = room;
	}
	memcpy(u->body + u->len, data, len);
	u->len += len;
	u->body[u->len] = '\0';
	return MHD_YES;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *conn, const char *url, const char *method,
    const char *version, const char *data, size_t *len, void **state)
{
	struct api *a = arg;
	struct upload *u = *state;
	const union MHD_ConnectionInfo *info;
	struct api_request q = { .c = a->c, .conn = conn, .n_followers = a->n_followers };
	struct api_reply r = { .status = MHD_HTTP_OK };
	enum MHD_Result ret;

	if (u == NULL) {
		*state = calloc(1, sizeof(struct upload));
		return *state != NULL ? MHD_YES : MHD_NO;
	}
	if (*len > 0) {
		ret = collect(a, u, data, *len);
		*len = 0;
		return ret;
	}
	if (u->wait != NULL) {
		if (!a->ending && !u->wait->answered(u->wait, conn)) {
			MHD_suspend_connection(conn);
			return MHD_YES;
		}
		u->wait->reply(u->wait, &r);
		return answer(a, conn, &r);
	}
	q.body = u->body != NULL ? u->body : "";
	q.body_len = u->len;
	info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (a->c->refusal[0] != '\0') {
		api_fail(&r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "%s", a->c->refusal);
		json_object_set_new(json_object_get(r.json, "error"), "refused", json_true());
	} else if (u->too_large)
		api_fail(&r, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the body is over %u bytes",
		    API_MAX_BODY);
	else if (info == NULL || identify_peer(a, info->connect_fd, &q) < 0)
		api_fail(&r, MHD_HTTP_FORBIDDEN, NULL, "the caller cannot be identified");
	else {
		if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
			actor_look(&q.who);
		dispatch(&q, method, url, &r);
	}
	u->wait = r.wait;
	if (u->wait != NULL && !u->wait->answered(u->wait, conn)) {
		MHD_suspend_connection(conn);
		return MHD_YES;
	}
	if (u->wait != NULL)
		u->wait->reply(u->wait, &r);
	return answer(a, conn, &r);
}

static void
on_completed(
    void *arg, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why)
{
	struct upload *u = *state;
	struct api *a = arg;

	if (u == NULL)
		return;
	a->uploads -= u->room;
	if (u->wait != NULL)
		u->wait->free(u->wait);
	free(u->body);
	free(u);
	*state = NULL;
}

static void
run(struct api *a)
{
	MHD_UNSIGNED_LONG_LONG ms;
	struct timeval tv;

	MHD_run(a->mhd);
	if (MHD_get_timeout(a->mhd, &ms) == MHD_NO)
		return;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	evtimer_add(a->ev_timeout, &tv);
}

static void
on_ready(evutil_socket_t fd, short what, void *arg)
{
	run(arg);
}

void
api_wake(struct api *a)
{
	bool woken = false;

	if (a == NULL || a->followers == NULL)
		return;
	for (struct follower *f = a->followers; f != NULL; f = f->next) {
		uint64_t head = f->what == FOLLOW_FLOWS ? flow_ring_head(a->c->flows)
							: denial_head(a->c->denials) + 1;

		if (!f->suspended || f->seq >= head)
			continue;
		f->suspended = false;
		MHD_resume_connection(f->conn);
		woken = true;
	}
	if (woken)
		run(a);
}

void
api_resume(struct api *a, struct MHD_Connection *conn)
{
	MHD_resume_connection(conn);
	if (a->ev_timeout != NULL)
		event_active(a->ev_timeout, EV_TIMEOUT, 0);
}

int
api_new(struct controller *c, struct api **ret)
{
	struct api *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	a->c = c;
	a->lanes.c = c;
	api_groups_resolve(&a->groups, c->config);
	*ret = a;
	return 0;
}

void
api_next(struct api *a)
{
	if (a != NULL)
		api_lanes_next(&a->lanes);
}

json_t *
api_take_groups(struct api *a)
{
	return api_groups_again(&a->groups, a->c->config);
}

static void
stop_listening(struct api *a)
{
	if (a->mhd == NULL)
		return;
	aside_finish();
	a->ending = true;
	for (struct follower *f = a->followers; f != NULL; f = f->next) {
		if (f->suspended)
			MHD_resume_connection(f->conn);
		f->suspended = false;
	}
	gate_release(a->c);
	whatif_release(a->c);
	if (a->ev != NULL)
		event_free(a->ev);
	if (a->ev_timeout != NULL)
		event_free(a->ev_timeout);
	a->ev = a->ev_timeout = NULL;
	MHD_stop_daemon(a->mhd);
	a->mhd = NULL;
	a->ending = false;
}

int
api_listen(struct api *a, int fd)
{
	const union MHD_DaemonInfo *info;

	stop_listening(a);
	a->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL,
	    NULL, on_request, a, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
	    API_MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)65536, MHD_OPTION_NOTIFY_COMPLETED,
	    on_completed, a, MHD_OPTION_END);
	if (a->mhd == NULL) {
		close(fd);
		return -EIO;
	}
	info = MHD_get_daemon_info(a->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL)
		return -EIO;
	a->ev = event_new(a->c->loop.base, info->epoll_fd, EV_READ | EV_PERSIST, on_ready, a);
	a->ev_timeout = evtimer_new(a->c->loop.base, on_ready, a);
	if (a->ev == NULL || a->ev_timeout == NULL || event_add(a->ev, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void
api_free(struct api *a)
{
	if (a == NULL)
		return;
	stop_listening(a);
	free(a);
}
