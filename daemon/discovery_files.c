/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers that no engine knows: asked for by id, looked up in the files that engines leave on
 * the host, place after place. Engines come first, for they know more and say when something
 * changes. What a file said is sent once; the controller forgets it with the namespace.
 */
#include "config.h"
#include "daemon/bundle.h"
#include "daemon/discovery.h"
#include "daemon/log.h"

#include <errno.h>
#include <string.h>

#define MAX_LOOKUPS 1024
#define MAX_FILES_OUT 16
#define LIMIT_FILE_S 2

enum step {
	STEP_ENGINES, /* some engine has not answered yet */
	STEP_WAIT,    /* for its turn, or for the relay */
	STEP_BUNDLE,
	STEP_NAMES,
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
	l->step = engines > 0 ? STEP_ENGINES : STEP_WAIT;
	LIST_INSERT_HEAD(&d->lookups, l, link);
	d->n_lookups++;
	return l;
}

static void
lookup_send(struct lookup *l)
{
	struct discovery *d = l->d;
	char shares[DOCKER_ID_LEN + 1];
	_cleanup_free_ char *text = json_dumps(l->bundle.facts, JSON_COMPACT);
	bool ask = !l->sandbox;
	struct lookup *owner;

	memcpy(shares, l->bundle.shares, sizeof(shares));
	if (text != NULL)
		(void)role_send(&d->loop, ROLE_CONTROLLER, MSG_D_CONTAINER, 0, text, strlen(text));
	lookup_free(l);
	if (!ask || shares[0] == '\0')
		return;
	owner = lookup_new(d, shares, 0);
	if (owner != NULL)
		owner->sandbox = true;
}

/* False: the lookup is over, or waits for the relay. */
static bool
lookup_ask(struct lookup *l, enum relay_request request, const struct fetch_callbacks *cb)
{
	struct fetch_request q = {
		.engine = request == RELAY_BUNDLE ? l->place : 0,
		.request = request,
		.id = request == RELAY_BUNDLE ? l->id : "",
		.max = request == RELAY_BUNDLE ? BUNDLE_MAX : BUNDLE_MAX_NAMES,
		.limit_s = LIMIT_FILE_S,
	};

	if (fetch_start(&l->d->pool, &q, cb, l, &l->fetch) < 0)
		return false;
	l->d->files_out++;
	return true;
}

static void
on_names(void *arg, int error, const char *body, size_t len)
{
	struct lookup *l = arg;
	struct discovery *d = l->d;

	l->fetch = NULL;
	d->files_out--;
	if (error == 0)
		error = bundle_add_names(body, len, l->id, &l->bundle);
	if (error < 0 && error != -ENOENT)
		log_warn("container %.12s: Podman's names cannot be read: %s", l->id,
		    fetch_strerror(error));
	lookup_send(l);
	files_work(d);
}

static void
on_bundle(void *arg, int error, const char *body, size_t len)
{
	static const struct fetch_callbacks names = { .done = on_names };
	struct lookup *l = arg;
	struct discovery *d = l->d;

	l->fetch = NULL;
	d->files_out--;
	l->step = STEP_WAIT;
	if (error == 0)
		error = bundle_parse((enum relay_place)l->place, l->id, body, len, &l->bundle);
	if (error == 0) {
		l->step = STEP_NAMES;
		if (l->place != RELAY_PLACE_PODMAN || !lookup_ask(l, RELAY_NAMES, &names))
			lookup_send(l);
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
	static const struct fetch_callbacks bundle = { .done = on_bundle };
	struct lookup *l, *next;

	for (l = LIST_FIRST(&d->lookups); l != NULL; l = next) {
		next = LIST_NEXT(l, link);
		if (d->files_out >= MAX_FILES_OUT)
			return;
		if (l->step != STEP_WAIT)
			continue;
		if (!lookup_ask(l, RELAY_BUNDLE, &bundle))
			return;
		l->step = STEP_BUNDLE;
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
	} else if (l->step == STEP_ENGINES && (l->engines_left == 0 || --l->engines_left == 0)) {
		l->step = STEP_WAIT;
		files_work(d);
	}
}

void
files_relay_came(struct discovery *d)
{
	files_work(d);
}
