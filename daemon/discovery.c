/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-discovery: reads what engines say about their containers and tells the controller. It has
 * no capability and no way to an engine but the relay's pipes.
 */
#include "config.h"
#include "daemon/discovery.h"
#include "daemon/log.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

static void
tell_again(struct container *c)
{
	c->sent = c->told_stopped = false;
	if (c->c.facts == NULL)
		return;
	if (c->stopped) {
		container_want(c, WANT_SEND);
		return;
	}
	if (!c->in_first) {
		c->in_first = true;
		c->engine->first_left++;
	}
	container_want(c, WANT_SEND);
}

/* A controller that is new knows nothing. */
static void
controller_came(struct discovery *d)
{
	for (uint32_t i = 0; i < d->n_engines; i++) {
		engine_tell(d->engines[i]);
		d->engines[i]->synced = false;
		container_for_each(d->engines[i], tell_again);
		container_work(d->engines[i]);
		engine_check_synced(d->engines[i]);
	}
}

static void
on_peer(void *arg, enum role peer, struct chan *c)
{
	struct discovery *d = arg;

	if (peer == ROLE_CONTROLLER)
		controller_came(d);
	if (peer != ROLE_RELAY)
		return;
	for (uint32_t i = 0; i < d->n_engines; i++)
		engine_connect(d->engines[i]);
	files_relay_came(d);
}

static void
on_peer_gone(void *arg, enum role peer)
{
	struct discovery *d = arg;

	if (peer != ROLE_RELAY)
		return;
	fetch_pool_fail(&d->pool, -ENOTCONN);
	/* Its pipes may have ended before its channel did, which looked like the engine's doing. */
	for (uint32_t i = 0; i < d->n_engines; i++)
		engine_relay_gone(d->engines[i]);
}

static void
on_lookup(struct discovery *d, const struct msg *m)
{
	struct d_id ask;
	struct container *c;
	struct engine *e;

	memcpy(&ask, m->body, sizeof(ask));
	ask.id[sizeof(ask.id) - 1] = '\0';
	if (!docker_id_valid(ask.id))
		return;
	files_lookup(d, ask.id, d->n_engines);
	for (uint32_t i = 0; i < d->n_engines; i++) {
		e = d->engines[i];
		c = container_get(e, ask.id);
		if (c == NULL) {
			files_engine_answered(d, ask.id, false);
			continue;
		}
		c->looked_up = true;
		c->stopped = false;
		container_want(c, WANT_FACTS);
		container_work(e);
	}
}

static void
on_msg(void *arg, enum role peer, struct msg *m)
{
	struct discovery *d = arg;

	if (m->h.type == MSG_D_LOOKUP)
		on_lookup(d, m);
	else if (m->h.type == MSG_R_STREAM)
		fetch_pool_answer(&d->pool, m);
}

static void
usage(void)
{
	fprintf(stderr,
	    "usage: nanoseg-discovery ... --engine NAME=/PATH, in the relay's order (at most %d)\n"
	    "This program is started by nanosegd.\n",
	    DISCOVERY_MAX_ENGINES);
	exit(2);
}

/* The paths are the relay's; only the names and their order matter here. */
static void
parse_engines(struct discovery *d, int argc, char **argv)
{
	const char *eq;

	for (int i = 1; i < argc; i += 2) {
		eq = i + 1 < argc ? strchr(argv[i + 1], '=') : NULL;
		if (strcmp(argv[i], "--engine") != 0 || eq == NULL ||
		    d->n_engines == DISCOVERY_MAX_ENGINES ||
		    engine_new(
			d, argv[i + 1], (size_t)(eq - argv[i + 1]), &d->engines[d->n_engines]) < 0)
			usage();
		d->n_engines++;
	}
}

int
main(int argc, char **argv)
{
	static struct discovery d;
	struct role_args args;
	int error;

	role_parse_args(ROLE_DISCOVERY, &argc, argv, &args);
	priv_drop(ROLE_DISCOVERY, args.uid, args.gid);
	error = role_loop_init(&d.loop, ROLE_DISCOVERY);
	if (error < 0) {
		log_error("cannot start: %s", strerror(-error));
		return 1;
	}
	fetch_pool_init(&d.pool, &d.loop);
	LIST_INIT(&d.lookups);
	parse_engines(&d, argc, argv);
	/* A fixed threshold: one large answer is given back, and is no reason to stay large. */
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	/* Keys are hashed by jansson with a seed of its own; read before the filter forbids files.
	 */
	json_object_seed(0);
	d.loop.arg = &d;
	d.loop.on_peer = on_peer;
	d.loop.on_peer_gone = on_peer_gone;
	d.loop.on_msg = on_msg;
	priv_seccomp(ROLE_DISCOVERY);
	return role_loop_run(&d.loop);
}
