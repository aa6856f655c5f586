/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Docker's JSON (Podman speaks it too) -> facts, in the form of daemon/discovery.h. Pure.
 *
 * What is inside comes from whoever wrote an image or started a container, and must never cost the
 * facts about another container: a list is taken apart before it is parsed, and each container is
 * parsed by itself; bytes that a JSON parser refuses are replaced first. What was replaced, cut or
 * left out is marked in the result.
 */
#ifndef NANOSEG_DAEMON_DOCKER_H
#define NANOSEG_DAEMON_DOCKER_H

#include "rules/addr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DOCKER_ID_LEN 64
#define DOCKER_IMAGE_ID_LEN 71 /* "sha256:" and 64 hex digits */

#define DOCKER_MAX_ELEMENT (1u << 20) /* JSON text of one container in a list */
#define DOCKER_MAX_EVENT (256u << 10) /* of one event */
#define DOCKER_MAX_LABELS 256
#define DOCKER_MAX_LABEL_BYTES (64u << 10) /* keys and values of one container or image */
#define DOCKER_MAX_TEXT 4096		   /* a name, an image reference; cut with a hash */
#define DOCKER_MAX_IN_PODS 8192		   /* containers of all pods */
#define DOCKER_MAX_DNS 4
#define DOCKER_MAX_NETWORKS 16 /* of one container, that are named */
#define DOCKER_MAX_NETWORK 128 /* bytes of a name; a longer one is left out */
#define DOCKER_MAX_PORTS 256   /* published ranges of ports of one container */
#define DOCKER_MAX_KEY 1024    /* a label's key; a longer one is left out */
#define DOCKER_MAX_VALUE 2048  /* a label's value; cut with a hash */

/* Lower-case hex digits, exactly 64. */
bool docker_id_valid(const char *id);
/* "sha256:" and 64 hex digits. */
bool docker_image_id_valid(const char *id);

/*
 * The next element of a JSON array. Start with *pos = 0. 1: *ret_elem (inside buf) is filled; 0:
 * the array has ended, and nothing but space follows; -EBADMSG: no array, cut short, or nested
 * deeper than 256. Elements are not checked beyond their brackets and strings.
 */
int docker_list_next(
    const char *buf, size_t len, size_t *pos, const char **ret_elem, size_t *ret_len);

struct docker_container {
	char id[DOCKER_ID_LEN + 1];
	char image_id[DOCKER_IMAGE_ID_LEN + 1]; /* "" if the engine gave none that is one */
	bool running;				/* running or paused */
	json_t *facts; /* owned: id, name, nameGenerated, image, imageId, labels, networkMode,
			  networks, created, state, ports, portsLeftOut, altered, labelsLeftOut */
};

void docker_container_done(struct docker_container *c);

/* An element of /containers/json. 0, -EBADMSG, -E2BIG (over DOCKER_MAX_ELEMENT) or -ENOMEM. */
int docker_parse_container(const char *buf, size_t len, struct docker_container *ret);
/* The same of one that is parsed already. */
int docker_read_container(const json_t *o, struct docker_container *ret);

/*
 * What of "Ports" is published, as ranges in the form of discovery.h; a malformed entry, and what
 * is beyond DOCKER_MAX_PORTS, is counted in *ret_left_out. 0 or -ENOMEM.
 */
int docker_ports(const json_t *ports, json_t **ret, json_int_t *ret_left_out);

/*
 * The labels of /images/ID/json, bounded as those of a container; an empty object if none. Values
 * are "" where not all of them fit with theirs.
 */
int docker_parse_image(const char *buf, size_t len, json_t **ret_labels);
/* The same of its configuration, by the key that this has there. */
int docker_read_image(const json_t *config, json_t **ret_labels);

struct docker_inspect {
	int pid;			 /* 0: does not run */
	char sandbox[64];		 /* basename of the namespace's file, "" if none */
	char shares[DOCKER_ID_LEN + 1];	 /* the container whose network it uses, or "" */
	bool known;			 /* this was read at all */
	unsigned grade;			 /* GRADE_* */
	char image[512];		 /* as it was asked for; "" if too long */
	struct addr dns[DOCKER_MAX_DNS]; /* name servers it was started with */
	size_t n_dns;
};

/* "container:" and an id: that id goes to ret; otherwise ret becomes "". */
void docker_network_owner(const char *network_mode, char ret[static DOCKER_ID_LEN + 1]);

/*
 * Podman's /libpod/pods/json: an object that maps the id of each container in a pod to the pod's
 * name. Pods without an infra container share nothing, and are left out.
 */
int docker_parse_pods(const char *buf, size_t len, json_t **ret);

/* What only /containers/ID/json tells. */
int docker_parse_inspect(const char *buf, size_t len, struct docker_inspect *ret);
/* The same of one that is parsed already. */
void docker_read_inspect(const json_t *o, struct docker_inspect *ret);

enum docker_event_kind {
	DOCKER_EVENT_OTHER,
	DOCKER_EVENT_CREATED, /* and not started */
	DOCKER_EVENT_CHANGED, /* started, renamed, joined or left a network: ask about it */
	DOCKER_EVENT_GONE,    /* died or destroyed */
};

struct docker_event {
	enum docker_event_kind kind;
	bool started;
	char id[DOCKER_ID_LEN + 1]; /* of the container; "" for DOCKER_EVENT_OTHER */
};

/* One line of /events. 0 or as docker_parse_container(). */
int docker_parse_event(const char *buf, size_t len, struct docker_event *ret);

#endif
