/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See api_lane.h. A job lives as long as its request; one that waits or works is in its lane. */
#include "daemon/api_lane.h"

#include "daemon/aside.h"

#include <microhttpd.h>
#include <string.h>

struct api_job {
	struct api_wait base; /* first */
	struct api_job *next; /* in the lane's order */
	struct api_lanes *lanes;
	struct MHD_Connection *conn; /* while suspended */
	struct api_request q;
	const struct api_route *route;
	struct api_reply r;
	bool over;
};

static struct api_lane *
lane_of(struct api_job *j)
{
	return j->route->pace == API_APART ? &j->lanes->apart : &j->lanes->tables;
}

static void
write_text(void *arg)
{
	struct api_reply *r = arg;

	r->text = json_dumps(r->json, API_JSON_FORM);
	json_decref(steal_ptr(r->json));
}

static void
work(void *arg)
{
	struct api_job *j = arg;

	j->route->fn(&j->q, &j->r);
	if (j->r.json != NULL)
		aside_apart(write_text, &j->r);
}

static void
settle(struct api_job *j)
{
	struct api_lane *l = lane_of(j);
	struct api_job **p = &l->first;

	while (*p != j)
		p = &(*p)->next;
	*p = j->next;
	l->busy = false;
	if (j->route->pace == API_CHANGE)
		j->lanes->c->changing = false;
	j->over = true;
	if (j->conn != NULL)
		api_resume(j->lanes->c->api, steal_ptr(j->conn));
}

static void
done(void *arg)
{
	struct api_job *j = arg;
	struct api_lanes *l = j->lanes;

	settle(j);
	api_lanes_next(l);
}

static struct api_job *
choose(struct api_lane *l)
{
	struct api_job *list = NULL;

	for (struct api_job *j = l->first; j != NULL; j = j->next) {
		if (j->route->pace == API_CHANGE)
			return j;
		if (list == NULL)
			list = j;
	}
	return list;
}

static void
begin(struct api_lane *l, struct api_job *j)
{
	l->busy = true;
	if (j->route->pace == API_CHANGE)
		j->lanes->c->changing = true;
	if (aside_start(j->lanes->c->loop.base, work, done, j) > 0)
		settle(j);
}

void
api_lanes_next(struct api_lanes *l)
{
	struct api_job *j;

	while (!l->apart.busy && (j = l->apart.first) != NULL)
		begin(&l->apart, j);
	while (!l->tables.busy && !l->c->changing && (j = choose(&l->tables)) != NULL)
		begin(&l->tables, j);
}

static bool
answered(struct api_wait *base, struct MHD_Connection *conn)
{
	struct api_job *j = (struct api_job *)base;

	if (!j->over) {
		j->conn = conn;
		return false;
	}
	return j->r.wait == NULL || j->r.wait->answered(j->r.wait, conn);
}

static void
reply(struct api_wait *base, struct api_reply *r)
{
	struct api_job *j = (struct api_job *)base;

	if (j->r.wait != NULL) {
		j->r.wait->reply(j->r.wait, r);
		return;
	}
	*r = j->r;
	j->r.text = NULL;
}

static void
job_free(struct api_wait *base)
{
	struct api_job *j = (struct api_job *)base;

	if (j->r.wait != NULL)
		j->r.wait->free(j->r.wait);
	free(j->r.text);
	free(j);
}

void
api_lane_take(struct api_lanes *l, const struct api_request *q, const struct api_route *route,
    struct api_reply *r)
{
	struct api_job *j = calloc(1, sizeof(*j)), **p;

	if (j == NULL) {
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "out of memory");
		return;
	}
	j->base = (struct api_wait){ answered, reply, job_free };
	j->lanes = l;
	j->q = *q;
	j->route = route;
	j->r.status = MHD_HTTP_OK;
	for (p = &lane_of(j)->first; *p != NULL; p = &(*p)->next)
		;
	*p = j;
	api_lanes_next(l);
	r->wait = &j->base;
}
