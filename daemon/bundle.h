/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that engines leave on the host -> facts about a container, in the form of
 * daemon/discovery.h. Pure. An OCI bundle's config.json says what a container may do and, in its
 * annotations, more or less of who it is.
 *
 * Annotations are claims: whoever starts a container, and with some engines whoever wrote its
 * image, chooses some of them. What is believed depends on the place that a file was found in,
 * which only root can write to, and never on what the file says about itself.
 */
#ifndef NANOSEG_DAEMON_BUNDLE_H
#define NANOSEG_DAEMON_BUNDLE_H

#include "daemon/docker.h"
#include "daemon/proto.h"

#define BUNDLE_MAX (1u << 20)
#define BUNDLE_MAX_NAMES (4u << 20)

struct bundle {
	char shares[DOCKER_ID_LEN + 1]; /* the sandbox it belongs to, or "" */
	json_t *facts;			/* owned */
};

void bundle_done(struct bundle *b);

/* 0, -EBADMSG, -E2BIG or -ENOMEM. */
int bundle_parse(
    enum relay_place place, const char *id, const char *buf, size_t len, struct bundle *ret);

/*
 * Adds name and image from the containers.json of Podman's storage. -ENOENT: the container is not
 * in it.
 */
int bundle_add_names(const char *buf, size_t len, const char *id, struct bundle *b);

#endif
