/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each container is a small machine: a set of wants, at most one question out, and a place in its
 * engine's queue while something is wanted and nothing is out: of what does not run in one that
 * waits for all others. A bounded number of questions is out
 * at a time, so a burst of starts asks each thing once and in turn. Nor is the controller told more
 * than it reads: what its channel had no room for would be lost.
 */
#include "config.h"
#include "daemon/discovery.h"
#include "daemon/grade.h"
#include "daemon/log.h"
#include "rules/workload.h"

#include <errno.h>
#include <string.h>

#define LIMIT_FACTS_S 5
#define LIMIT_IMAGE_S 2 /* identity waits for it */
#define LIMIT_INSPECT_S 10
#define LIMIT_POD_S 2
#define MAX_PODS (4u << 20)
#define MAX_JSON (1u << 20)
#define MAX_UNREAD 2048 /* messages to the controller */
#define LATER_MS 20

static struct container **
bucket_of(struct engine *e, const char *id)
{
	uint64_t h = 0;

	for (int i = 0; i < 16; i++)
		h = h << 4 | (uint64_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'a' + 10);
	return &e->buckets[hash_mix64(h) % DISCOVERY_BUCKETS];
}

struct container *
container_find(struct engine *e, const char *id)
{
	struct container *c = *bucket_of(e, id);

	while (c != NULL && strcmp(c->id, id) != 0)
		c = c->next;
	return c;
}

struct container *
container_get(struct engine *e, const char *id)
{
	struct container *c = container_find(e, id), **bucket;

	if (c != NULL)
		return c;
	if (e->n_containers >= DISCOVERY_MAX_CONTAINERS)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->engine = e;
	memcpy(c->id, id, sizeof(c->id));
	bucket = bucket_of(e, id);
	c->next = *bucket;
	*bucket = c;
	e->n_containers++;
	return c;
}

static void
leave_first(struct container *c)
{
	if (!c->in_first)
		return;
	c->in_first = false;
	c->engine->first_left--;
	engine_check_synced(c->engine);
}

/* Another engine has said so before. */
static bool
is_anothers(const struct container *c)
{
	struct discovery *d = c->engine->d;

	for (uint32_t i = 0; i < d->n_engines; i++) {
		const struct container *k = container_find(d->engines[i], c->id);

		if (k != NULL && k != c && k->believed)
			return true;
	}
	return false;
}

static struct container_queue *
queue_of(struct container *c)
{
	return c->late ? &c->engine->late : &c->engine->queue;
}

static void
tell_gone(struct container *c, uint16_t type)
{
	struct d_id gone = { .id = "" };

	memcpy(gone.id, c->id, sizeof(gone.id));
	(void)role_send(&c->engine->d->loop, ROLE_CONTROLLER, type, 0, &gone, sizeof(gone));
}

static void
container_remove(struct container *c)
{
	struct engine *e = c->engine;
	struct container **p = bucket_of(e, c->id);

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	e->n_containers--;
	if (c->queued)
		TAILQ_REMOVE(queue_of(c), c, queue);
	if (c->fetch != NULL || (c->want & WANT_FACTS) != 0)
		files_engine_answered(e->d, c->id, false);
	if (c->fetch != NULL) {
		fetch_cancel(c->fetch);
		e->in_flight--;
	}
	if (c->sent)
		tell_gone(c, MSG_D_GONE);
	if (c->told_stopped)
		tell_gone(c, MSG_D_STOPPED_GONE);
	leave_first(c);
	docker_container_done(&c->c);
	json_decref(c->pod);
	free(c);
}

void
container_for_each(struct engine *e, container_fn fn)
{
	struct container *c, *next;

	for (size_t i = 0; i < DISCOVERY_BUCKETS; i++) {
		for (c = e->buckets[i]; c != NULL; c = next) {
			next = c->next;
			fn(c);
		}
	}
}

static struct image *
image_find(struct engine *e, const char *id)
{
	for (unsigned i = 0; i < DISCOVERY_IMAGES; i++)
		if (e->images[i].labels != NULL && strcmp(e->images[i].id, id) == 0)
			return &e->images[i];
	return NULL;
}

/* An image's content never changes under its id, so an entry only ever leaves for lack of room. */
static void
image_remember(struct engine *e, const char *id, json_t *labels)
{
	struct image *i = image_find(e, id);

	if (i == NULL)
		i = &e->images[e->next_image++ % DISCOVERY_IMAGES];
	json_decref(i->labels);
	i->labels = labels;
	memcpy(i->id, id, sizeof(i->id));
}

static bool
is_podman(const struct engine *e)
{
	return strcmp(e->runtime, "podman") == 0;
}

void
container_want(struct container *c, unsigned want)
{
	c->want |= want;
	if (c->queued && c->late && !c->stopped) {
		TAILQ_REMOVE(queue_of(c), c, queue);
		c->queued = false;
	}
	if (c->want == 0 || c->queued || c->fetch != NULL)
		return;
	c->queued = true;
	c->late = c->stopped;
	TAILQ_INSERT_TAIL(queue_of(c), c, queue);
}

static bool
has_room(const struct engine *e)
{
	const struct chan *controller = e->d->loop.peers[ROLE_CONTROLLER];

	return controller == NULL || chan_queued(controller) < MAX_UNREAD;
}

void
container_drop(struct container *c)
{
	if (has_room(c->engine))
		container_remove(c);
	else
		container_want(c, WANT_GONE);
}

void
container_update(struct container *c, struct docker_container *facts)
{
	docker_container_done(&c->c);
	c->c = *facts;
	facts->facts = NULL;
	c->want &= ~(unsigned)WANT_GONE;
	if (!c->c.running)
		c->inspect = (struct docker_inspect){ .pid = 0 };
	if (is_podman(c->engine)) {
		c->pod_since = c->engine->pods_asked;
		c->want |= WANT_POD;
	}
	container_want(
	    c, c->c.running && c->inspect.pid == 0 ? WANT_SEND | WANT_INSPECT : WANT_SEND);
}

/* Once a tag means another image, the list shows an id; what was asked for stands elsewhere. */
static bool
set_image(const struct docker_inspect *inspect, json_t *o)
{
	const char *listed = json_string_value(json_object_get(o, "image"));
	char repository[256];

	image_repository(listed != NULL ? listed : "", repository, sizeof(repository));
	if (repository[0] != '\0' || inspect->image[0] == '\0')
		return true;
	return json_object_set_new(o, "image", json_string(inspect->image)) == 0;
}

static json_t *
dns_to_json(const struct docker_inspect *inspect)
{
	json_t *list = json_array();
	char text[ADDR_STRLEN];

	for (size_t i = 0; list != NULL && i < inspect->n_dns; i++)
		json_array_append_new(list, json_string(addr_format(&inspect->dns[i], text)));
	return list;
}

char *
container_text(const struct container_told *t)
{
	json_t *o = json_copy(t->c->facts);
	char *text = NULL, shares[DOCKER_ID_LEN + 1];
	const char *mode;

	if (o == NULL)
		return NULL;
	mode = json_string_value(json_object_get(o, "networkMode"));
	docker_network_owner(mode != NULL ? mode : "", shares);
	if (json_object_set_new(o, "engine", json_string(t->engine)) == 0 &&
	    json_object_set_new(o, "runtime", json_string(t->runtime)) == 0 &&
	    json_object_set(
		o, "imageLabels", t->image_labels != NULL ? t->image_labels : json_null()) == 0 &&
	    set_image(t->inspect, o) &&
	    json_object_set_new(o, "pid", json_integer(t->inspect->pid)) == 0 &&
	    json_object_set_new(o, "sandbox", json_string(t->inspect->sandbox)) == 0 &&
	    json_object_set_new(
		o, "shares", json_string(shares[0] != '\0' ? shares : t->inspect->shares)) == 0 &&
	    json_object_set_new(o, "pod", t->pod != NULL ? json_incref(t->pod) : json_string("")) ==
		0 &&
	    json_object_set_new(o, "grade",
		t->inspect->known ? grade_to_json(t->inspect->grade) : json_null()) == 0 &&
	    json_object_set_new(o, "dns", dns_to_json(t->inspect)) == 0 &&
	    json_object_set_new(o, "started", json_string(t->existing ? "existing" : "new")) == 0)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static char *
container_json(struct container *c)
{
	const struct image *image = image_find(c->engine, c->c.image_id);
	const struct container_told t = {
		.engine = c->engine->state.engine,
		.runtime = c->engine->runtime,
		.c = &c->c,
		.inspect = &c->inspect,
		.image_labels = image != NULL ? image->labels : NULL,
		.pod = c->pod,
		.existing = c->existing,
	};

	return container_text(&t);
}

/* Nobody is believed for it: what runs under that id is another's word. */
static void
send_stopped(struct container *c)
{
	_cleanup_free_ char *text = container_json(c);

	c->want &= ~(unsigned)WANT_SEND;
	if (text == NULL || strlen(text) > MAX_JSON || is_anothers(c))
		return;
	c->told_stopped |= role_send(&c->engine->d->loop, ROLE_CONTROLLER, MSG_D_STOPPED, 0, text,
			       strlen(text)) == 0;
}

static void
container_send(struct container *c)
{
	_cleanup_free_ char *text = container_json(c);
	int r;

	c->want &= ~(unsigned)WANT_SEND;
	if (!c->believed && !c->disputed && is_anothers(c)) {
		c->disputed = true;
		engine_complain(c->engine, "about a container", -EEXIST);
	}
	if (c->disputed) {
		leave_first(c);
		return;
	}
	c->believed = true;
	if (text == NULL || strlen(text) > MAX_JSON) {
		engine_complain(c->engine, "about a container", text == NULL ? -ENOMEM : -E2BIG);
		leave_first(c);
		return;
	}
	r = role_send(&c->engine->d->loop, ROLE_CONTROLLER, MSG_D_CONTAINER, 0, text, strlen(text));
	if (r < 0 && r != -ENOTCONN)
		log_warn("container %.12s: the controller was not told: %s", c->id, strerror(-r));
	c->sent = r == 0;
	c->told_stopped &= !c->sent;
	leave_first(c);
}

static void
step_over(struct container *c)
{
	struct engine *e = c->engine;

	c->fetch = NULL;
	e->in_flight--;
}

static void
step_next(struct container *c)
{
	struct engine *e = c->engine;

	container_want(c, 0);
	container_work(e);
}

/* The answer is a list with this container, or an empty one. 0, -ENOENT, or what is wrong. */
static int
read_facts(struct container *c, const char *body, size_t len)
{
	struct docker_container facts;
	const char *elem;
	size_t pos = 0, n;
	int r = docker_list_next(body, len, &pos, &elem, &n);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = docker_parse_container(elem, n, &facts);
	if (r < 0)
		return r;
	if (strcmp(facts.id, c->id) != 0) {
		docker_container_done(&facts);
		return -EBADMSG;
	}
	container_update(c, &facts);
	return 0;
}

static void
on_facts(void *arg, int error, const char *body, size_t len)
{
	struct container *c = arg;
	struct engine *e = c->engine;

	step_over(c);
	if (error == 0)
		error = read_facts(c, body, len);
	if (error < 0 && error != -ENOENT) {
		engine_complain(e, "about a container", error);
		engine_relist(e);
	}
	files_engine_answered(e->d, c->id, error == 0);
	/* Gone, never known, or renamed while it does not run: nothing to keep. */
	if (error == -ENOENT || c->c.facts == NULL || (!c->c.running && !c->looked_up)) {
		container_drop(c);
		container_work(e);
		return;
	}
	step_next(c);
}

static void
on_image(void *arg, int error, const char *body, size_t len)
{
	struct container *c = arg;
	json_t *labels;

	step_over(c);
	if (error == 0)
		error = docker_parse_image(body, len, &labels);
	if (error == 0) {
		image_remember(c->engine, c->c.image_id, labels);
	} else {
		engine_complain(c->engine, "about an image", error);
		engine_repair(c->engine, error);
	}
	c->image_failed = error < 0;
	step_next(c);
}

static void
on_inspect(void *arg, int error, const char *body, size_t len)
{
	struct container *c = arg;

	step_over(c);
	if (error == 0)
		error = docker_parse_inspect(body, len, &c->inspect);
	if (error < 0) {
		engine_complain(c->engine, "about a container", error);
		engine_repair(c->engine, error);
	} else {
		container_want(c, WANT_SEND);
	}
	step_next(c);
}

static void
take_pod(struct container *c)
{
	json_decref(c->pod);
	c->pod = json_incref(json_object_get(c->engine->pods, c->id));
}

static void
on_pods(void *arg, int error, const char *body, size_t len)
{
	struct container *c = arg;
	struct engine *e = c->engine;
	json_t *pods;

	step_over(c);
	if (error == 0)
		error = docker_parse_pods(body, len, &pods);
	if (error == 0) {
		json_decref(e->pods);
		e->pods = pods;
		e->pods_known = c->pod_asked + 1;
		take_pod(c);
	} else if (error != -EREMOTEIO) {
		/* A refusal: an engine of this name without pods. */
		engine_complain(e, "about pods", error);
		engine_repair(e, error);
	}
	step_next(c);
}

static void
ask(struct container *c, enum relay_request request, const char *id, unsigned limit_s,
    const struct fetch_callbacks *cb)
{
	struct engine *e = c->engine;
	struct fetch_request q = {
		.engine = e->index,
		.request = request,
		.id = id,
		.max = request == RELAY_PODS ? MAX_PODS : DOCKER_MAX_ELEMENT + 1024,
		.limit_s = limit_s,
	};

	e->in_flight++;
	if (fetch_start(&e->d->pool, &q, cb, c, &c->fetch) == 0)
		return;
	/* The relay is away: the list that follows its return asks for everything again. */
	step_over(c);
	c->want = 0;
	files_engine_answered(e->d, c->id, false);
}

/* It may have been started again meanwhile. */
static void
container_end(struct container *c)
{
	bool again = (c->want & WANT_FACTS) != 0;
	struct engine *e = c->engine;
	char id[sizeof(c->id)];

	memcpy(id, c->id, sizeof(id));
	container_remove(c);
	c = again ? container_get(e, id) : NULL;
	if (c != NULL)
		container_want(c, WANT_FACTS);
}

static void
container_step(struct container *c)
{
	static const struct fetch_callbacks facts = { .done = on_facts };
	static const struct fetch_callbacks image = { .done = on_image };
	static const struct fetch_callbacks inspect = { .done = on_inspect };
	static const struct fetch_callbacks pods = { .done = on_pods };

	if (c->want & WANT_GONE) {
		container_end(c);
	} else if (c->want & WANT_FACTS) {
		c->want &= ~(unsigned)WANT_FACTS;
		ask(c, RELAY_CONTAINERS, c->id, LIMIT_FACTS_S, &facts);
	} else if (c->want & WANT_POD) {
		c->want &= ~(unsigned)WANT_POD;
		if (c->engine->pods_known > c->pod_since) {
			take_pod(c);
			container_want(c, 0);
		} else {
			c->pod_asked = c->engine->pods_asked++;
			ask(c, RELAY_PODS, "", LIMIT_POD_S, &pods);
		}
	} else if (c->want & WANT_INSPECT && is_podman(c->engine)) {
		/* Its list does not say whose network a container uses; and it does not block. */
		c->want &= ~(unsigned)WANT_INSPECT;
		ask(c, RELAY_CONTAINER, c->id, LIMIT_INSPECT_S, &inspect);
	} else if (c->want & WANT_SEND && c->c.image_id[0] != '\0' && !c->image_failed &&
		   image_find(c->engine, c->c.image_id) == NULL) {
		ask(c, RELAY_IMAGE, c->c.image_id, LIMIT_IMAGE_S, &image);
	} else if (c->want & WANT_SEND) {
		if (c->stopped)
			send_stopped(c);
		else
			container_send(c);
		c->image_failed = false;
		container_want(c, 0);
	} else if (c->want & WANT_INSPECT) {
		c->want &= ~(unsigned)WANT_INSPECT;
		ask(c, RELAY_CONTAINER, c->id, LIMIT_INSPECT_S, &inspect);
	}
}

/* Of what does not run one question is out at a time, and none while there are others. */
static struct container *
next_in_queue(struct engine *e)
{
	struct container *c = TAILQ_FIRST(&e->queue);

	return c != NULL || e->in_flight > 0 ? c : TAILQ_FIRST(&e->late);
}

void
container_work(struct engine *e)
{
	const struct timeval later = { 0, LATER_MS * 1000 };
	struct container *c;

	while (e->in_flight < DISCOVERY_IN_FLIGHT && (c = next_in_queue(e)) != NULL) {
		if (!has_room(e)) {
			event_add(e->later, &later);
			return;
		}
		TAILQ_REMOVE(queue_of(c), c, queue);
		c->queued = false;
		container_step(c);
	}
}
