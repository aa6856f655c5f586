/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the discovery role tells the controller, and its own state.
 *
 * MSG_D_CONTAINER carries one JSON object, compact, UTF-8, at most 1 MB. Every field is there:
 *
 *   engine         string   name of the engine as configured: "docker"; "files": no engine knows it
 *   runtime        string   "docker", "podman", "containerd" or "cri" (runtime_name())
 *   id             string   64 hex digits
 *   name           string   without the leading slash
 *   nameGenerated  bool     the engine made the name up
 *   image          string   reference as the engine shows it
 *   imageId        string   "sha256:" and 64 hex digits, or ""
 *   labels         object   key -> string: the container's, with the image's merged in
 *   imageLabels    object   the image's own, or null: the image could not be asked
 *   networkMode    string   "default", "host", "none", "container:ID", a network's name
 *   networks       array    names of those it is on, at most 16; empty where that is not known
 *   created        integer  seconds since 1970
 *   state          string   the engine's word: "created", "running", "paused", "exited", ...
 *   pid            integer  first process as the host sees it, 0 while unknown
 *   sandbox        string   basename of the namespace's file, "" while unknown
 *   shares         string   id of the container whose network namespace it uses, or ""
 *   ports          array    published: {proto, address ("": any of the host's), port, last, to}:
 *                           the host's ports from port to last lead to the container's from `to`
 *   portsLeftOut   integer  published ranges beyond 256, or malformed
 *   podLabels      bool     from files of "cri" only: the pod's labels are among labels
 *   pod            string   name of the Podman pod with shared namespaces, or ""
 *   grade          array    words of daemon/grade.h; null while unknown
 *   dns            array    addresses of name servers that it was started with, at most 4
 *   started        string   "existing": from the first list after (re)connecting; "new": by event
 *   altered        bool     a text was cut ("~" and a hash at its end) or had bytes replaced by
 *                           U+FFFD, here or by the engine
 *   labelsLeftOut  integer  labels beyond 256 or 64 KB, not strings, or with a key over 1,024
 *                           bytes; labels that identity is decided by are never among the former
 *
 * The same container comes again when something about it changes: first as soon as its labels are
 * known, then with pid and sandbox once its start is over. From files it comes once, with neither,
 * and never goes; an engine's word comes after it and replaces it.
 *
 * MSG_D_STOPPED carries the same of one that was created and not started, or has exited: only to
 * know who may still come. Of each engine the latest 1,024 are told, after all that runs, and
 * MSG_D_STOPPED_GONE takes one back; MSG_D_CONTAINER of the same id does so as well.
 */
#ifndef NANOSEG_DAEMON_DISCOVERY_H
#define NANOSEG_DAEMON_DISCOVERY_H

#include "daemon/docker.h"
#include "daemon/fetch.h"
#include "daemon/role.h"

#include <stdbool.h>
#include <sys/queue.h>

#define DISCOVERY_MAX_ENGINES 8
#define DISCOVERY_MAX_CONTAINERS 8192
#define DISCOVERY_MAX_STOPPED 1024     /* of an engine; asked for by relay.c */
#define DISCOVERY_MAX_LIST (32u << 20) /* bytes of a list */
#define DISCOVERY_BUCKETS 1024
#define DISCOVERY_IMAGES 128 /* images whose labels are remembered */
#define DISCOVERY_IN_FLIGHT 16

#define WANT_FACTS 0x01	  /* ask the engine about this one */
#define WANT_SEND 0x02	  /* tell the controller, with the image's labels */
#define WANT_INSPECT 0x04 /* pid and sandbox; only after the start: the engine blocks before it */
#define WANT_POD 0x08	  /* Podman: the pod it belongs to */
#define WANT_GONE 0x10	  /* tell the controller that it is gone, and forget it */

struct engine;

struct container {
	struct container *next; /* hash chain */
	TAILQ_ENTRY(container) queue;
	struct engine *engine;
	char id[DOCKER_ID_LEN + 1];
	struct docker_container c; /* c.facts NULL: nothing known yet */
	struct docker_inspect inspect;
	json_t *pod;	     /* string or NULL */
	uint64_t pod_since;  /* engine.pods_asked when it was last wanted */
	uint64_t pod_asked;  /* number of the question that is out */
	struct fetch *fetch; /* the question that is out */
	unsigned want;
	uint64_t generation; /* of the list that had it last */
	bool queued, existing, sent, in_first, looked_up, image_failed;
	bool stopped;	   /* known from the list of those, and not otherwise */
	bool late;	   /* it is in that queue */
	bool told_stopped; /* to the controller */
	bool believed;	   /* its engine was the first to claim it */
	bool
	    disputed; /* another one was: nothing of it is told, until its engine says it is gone */
};

/* What the controller is told of a container that speaks Docker's language. Borrowed. */
struct container_told {
	const char *engine, *runtime;
	const struct docker_container *c;
	const struct docker_inspect *inspect;
	json_t *image_labels; /* NULL: not known */
	json_t *pod;	      /* or NULL */
	bool existing;
};

struct image {
	char id[DOCKER_IMAGE_ID_LEN + 1];
	json_t *labels;
};

struct discovery;

struct engine {
	struct discovery *d;
	uint32_t index;
	const char *runtime;
	struct d_engine state; /* as last sent */
	struct fetch *events, *list, *stopped;
	struct event *retry, *repair, *stopped_due;
	struct event *later; /* the controller has not read what it was told */
	unsigned backoff_s, repair_s;
	bool missing;	 /* its socket; said once */
	bool fresh;	 /* just connected: what the list has was there before us */
	bool list_again; /* when the list that is out has come */
	bool listed, synced;
	uint64_t generation, stopped_generation;
	size_t n_containers, first_left;
	unsigned in_flight;
	TAILQ_HEAD(container_queue, container) queue, late; /* late: once the other is empty */
	struct container *buckets[DISCOVERY_BUCKETS];
	struct image images[DISCOVERY_IMAGES];
	unsigned next_image;
	json_t *pods; /* container id -> pod's name, of the question with number pods_known */
	uint64_t pods_asked, pods_known;
};

struct lookup;

struct discovery {
	struct role_loop loop;
	struct fetch_pool pool;
	struct engine *engines[DISCOVERY_MAX_ENGINES];
	uint32_t n_engines;
	LIST_HEAD(, lookup) lookups;
	unsigned n_lookups, files_out;
};

/* discovery_files.c: what no engine knows (yet), from files. */
/* Docker's own at once; others after as many answers of engines. */
void files_lookup(struct discovery *d, const char *id, unsigned engines);
/* An engine has been asked: one that knows the container ends the lookup. */
void files_engine_answered(struct discovery *d, const char *id, bool known);
void files_relay_came(struct discovery *d);

/* discovery_engine.c: the event stream, the list, what is said about the engine. */
int engine_new(struct discovery *d, const char *name, size_t name_len, struct engine **ret);
void engine_connect(struct engine *e);
void engine_relay_gone(struct engine *e);
/* Counts an answer that was refused, and says so to the controller. */
void engine_complain(struct engine *e, const char *about, int error);
/* Says the engine's state to the controller. */
void engine_tell(struct engine *e);
/* Something about a container could not be read: the list may know better. */
void engine_relist(struct engine *e);
/* The same, some seconds later, if the error is one that passes: what is missing is asked again. */
void engine_repair(struct engine *e, int error);
/* Soon, and once for all that happens until then: those that do not run are asked for. */
void engine_look_for_stopped(struct engine *e);
/* Everything from the list has been sent: say so. */
void engine_check_synced(struct engine *e);

/* discovery_container.c: what is known about each container, and the questions about it. */
struct container *container_find(struct engine *e, const char *id);
/* NULL when the table is full. */
struct container *container_get(struct engine *e, const char *id);
void container_want(struct container *c, unsigned want);
/* Takes new facts (moves *facts). */
void container_update(struct container *c, struct docker_container *facts);
/* Gone: the controller is told if it knew, as soon as it has room. */
void container_drop(struct container *c);
void container_work(struct engine *e);
/* MSG_D_CONTAINER's text, to be freed; NULL: no memory. */
char *container_text(const struct container_told *t);
typedef void (*container_fn)(struct container *c);
/* fn may remove the container it is given. */
void container_for_each(struct engine *e, container_fn fn);

#endif
