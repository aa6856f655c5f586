/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers asked for by id, looked up in the files that engines leave on the host. Docker's own
 * say as much as its API and are read at once: dockerd does not answer while it starts containers
 * of its own accord, and those wait for their names. Bundles say less; so engines come before
 * them, and the first one that knows the container ends its lookup. What a file said is sent once;
 * the controller forgets it with the namespace.
 */
#include "config.h"
#include "daemon/bundle.h"
#include "daemon/discovery.h"
#include "daemon/docker_file.h"
#include "daemon/log.h"

#include <errno.h>
#include <string.h>

#define MAX_LOOKUPS 1024
#define MAX_FILES_OUT 16
#define LIMIT_FILE_S 2

enum step {
	STEP_DOCKER,  /* for its turn, or for the relay, to read Docker's files */
	STEP_ENGINES, /* some engine has not answered yet */
	STEP_WAIT,    /* for its turn, or for the relay, to read bundles */
	STEP_OUT,     /* a question is out */
};

struct lookup {
	LIST_ENTRY(lookup) link;
	struct discovery *d;
	char id[DOCKER_ID_LEN + 1];
	enum step step;
	unsigned engines_left;
	uint32_t place;
	bool sandbox; /* asked for on behalf of another one: does not ask on */
	struct fetch *fetch;
	struct docker_file docker;
	struct bundle bundle;
};

static void files_work(struct discovery *d);

static struct lookup *
lookup_find(struct discovery *d, const char *id)
{
	struct lookup *l;

	LIST_FOREACH(l, &d->lookups, link)
	{
		if (strcmp(l->id, id) == 0)
			break;
	}
	return l;
}

static void
lookup_free(struct lookup *l)
{
	if (l->fetch != NULL) {
		fetch_cancel(l->fetch);
		l->d->files_out--;
	}
	LIST_REMOVE(l, link);
	l->d->n_lookups--;
	docker_file_done(&l->docker);
	bundle_done(&l->bundle);
	free(l);
}

static struct lookup *
lookup_new(struct discovery *d, const char *id, unsigned engines)
{
	struct lookup *l;

	if (d->n_lookups >= MAX_LOOKUPS || lookup_find(d, id) != NULL)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->d = d;
	memcpy(l->id, id, sizeof(l->id));
	l->engines_left = engines;
	LIST_INSERT_HEAD(&d->lookups, l, link);
	d->n_lookups++;
	return l;
}

/* Sends the text, which it frees; the lookup is over. */
static void
lookup_send(struct lookup *l, char *text, const char *shares)
{
	struct discovery *d = l->d;
	bool ask = !l->sandbox && docker_id_valid(shares);
	char owner[DOCKER_ID_LEN + 1] = "";
	struct lookup *next;

	if (ask)
		memcpy(owner, shares, sizeof(owner));
	if (text != NULL)
		(void)role_send(&d->loop, ROLE_CONTROLLER, MSG_D_CONTAINER, 0, text, strlen(text));
	free(text);
	lookup_free(l);
	next = ask ? lookup_new(d, owner, 0) : NULL;
	if (next != NULL)
		next->sandbox = true;
}

/* False: there is nobody to ask. */
static bool
lookup_ask(struct lookup *l, enum relay_request request, uint32_t place, const char *id,
    const struct fetch_callbacks *cb)
{
	struct fetch_request q = {
		.engine = place,
		.request = request,
		.id = id,
		.max = request == RELAY_NAMES ? BUNDLE_MAX_NAMES : BUNDLE_MAX,
		.limit_s = LIMIT_FILE_S,
	};

	if (fetch_start(&l->d->pool, &q, cb, l, &l->fetch) < 0)
		return false;
	l->step = STEP_OUT;
	l->d->files_out++;
	return true;
}

static void
answered(struct lookup *l)
{
	l->fetch = NULL;
	l->d->files_out--;
}

/* Docker's files */

/* They are not there, or nothing to go by; -ENOTCONN: the same again with the next relay. */
static void
docker_fail(struct lookup *l, int error)
{
	if (error == -ENOTCONN) {
		l->step = STEP_DOCKER;
		return;
	}
	if (error != -ENOENT)
		log_warn("container %.12s: Docker's files about it cannot be read: %s", l->id,
		    fetch_strerror(error));
	docker_file_done(&l->docker);
	l->step = l->engines_left > 0 ? STEP_ENGINES : STEP_WAIT;
}

static void
docker_send(struct lookup *l, json_t *image_labels)
{
	const struct container_told t = {
		.engine = "files",
		.runtime = "docker",
		.c = &l->docker.c,
		.inspect = &l->docker.inspect,
		.image_labels = image_labels,
	};

	lookup_send(l, container_text(&t), l->docker.inspect.shares);
}

static void
on_docker_image(void *arg, int error, const char *body, size_t len)
{
	struct lookup *l = arg;
	struct discovery *d = l->d;
	json_t *labels = NULL;

	answered(l);
	if (error == 0)
		error = docker_file_read_image(body, len, &labels);
	if (error == -ENOTCONN) {
		docker_fail(l, error);
	} else {
		if (error < 0)
			log_warn("container %.12s: its image's labels cannot be read: %s", l->id,
			    fetch_strerror(error));
		docker_send(l, labels);
	}
	json_decref(labels);
	files_work(d);
}

static void
on_docker_host(void *arg, int error, const char *body, size_t len)
{
	static const struct fetch_callbacks image = { .done = on_docker_image };
	struct lookup *l = arg;
	struct discovery *d = l->d;

	answered(l);
	if (error == 0)
		error = docker_file_read_host(&l->docker, body, len);
	if (error < 0)
		docker_fail(l, error);
	else if (l->docker.driver < 0 || l->docker.c.image_id[0] == '\0' ||
		 !lookup_ask(l, RELAY_DOCKER_IMAGE, (uint32_t)l->docker.driver,
		     l->docker.c.image_id + strlen("sha256:"), &image))
		docker_send(l, NULL);
	files_work(d);
}

static void
on_docker_config(void *arg, int error, const char *body, size_t len)
{
	static const struct fetch_callbacks host = { .done = on_docker_host };
	struct lookup *l = arg;
	struct discovery *d = l->d;

	answered(l);
	docker_file_done(&l->docker);
	if (error == 0)
		error = docker_file_read_config(l->id, body, len, &l->docker);
	if (error == 0 && !lookup_ask(l, RELAY_DOCKER_HOST, 0, l->id, &host))
		error = -ENOTCONN;
	if (error < 0)
		docker_fail(l, error);
	files_work(d);
}

/* Bundles */

static void
bundle_send(struct lookup *l)
{
	lookup_send(l, json_dumps(l->bundle.facts, JSON_COMPACT), l->bundle.shares);
}

static void
on_names(void *arg, int error, const char *body, size_t len)
{
	struct lookup *l = arg;
	struct discovery *d = l->d;

	answered(l);
	if (error == 0)
		error = bundle_add_names(body, len, l->id, &l->bundle);
	if (error < 0 && error != -ENOENT)
		log_warn("container %.12s: Podman's names cannot be read: %s", l->id,
		    fetch_strerror(error));
	bundle_send(l);
	files_work(d);
}

static void
on_bundle(void *arg, int error, const char *body, size_t len)
{
	static const struct fetch_callbacks names = { .done = on_names };
	struct lookup *l = arg;
	struct discovery *d = l->d;

	answered(l);
	l->step = STEP_WAIT;
	if (error == 0)
		error = bundle_parse((enum relay_place)l->place, l->id, body, len, &l->bundle);
	if (error == 0) {
		if (l->place != RELAY_PLACE_PODMAN || !lookup_ask(l, RELAY_NAMES, 0, "", &names))
			bundle_send(l);
	} else if (error != -ENOTCONN) {
		if (error != -ENOENT)
			log_warn("container %.12s: its bundle cannot be read: %s", l->id,
			    fetch_strerror(error));
		if (++l->place == RELAY_PLACES)
			lookup_free(l);
	}
	files_work(d);
}

/* Asks for those whose turn it is. */
static void
files_work(struct discovery *d)
{
	static const struct fetch_callbacks docker = { .done = on_docker_config };
	static const struct fetch_callbacks bundle = { .done = on_bundle };
	struct lookup *l, *next;
	bool asked;

	for (l = LIST_FIRST(&d->lookups); l != NULL; l = next) {
		next = LIST_NEXT(l, link);
		if (d->files_out >= MAX_FILES_OUT)
			return;
		if (l->step != STEP_DOCKER && l->step != STEP_WAIT)
			continue;
		asked = l->step == STEP_DOCKER
			    ? lookup_ask(l, RELAY_DOCKER_CONFIG, 0, l->id, &docker)
			    : lookup_ask(l, RELAY_BUNDLE, l->place, l->id, &bundle);
		if (!asked)
			return;
	}
}

void
files_lookup(struct discovery *d, const char *id, unsigned engines)
{
	if (lookup_new(d, id, engines) != NULL)
		files_work(d);
}

void
files_engine_answered(struct discovery *d, const char *id, bool known)
{
	struct lookup *l = lookup_find(d, id);

	if (l == NULL)
		return;
	if (known) {
		lookup_free(l);
		return;
	}
	if (l->engines_left > 0)
		l->engines_left--;
	if (l->step == STEP_ENGINES && l->engines_left == 0) {
		l->step = STEP_WAIT;
		files_work(d);
	}
}

void
files_relay_came(struct discovery *d)
{
	files_work(d);
}
