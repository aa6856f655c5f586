/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Docker keeps on disk of a container and of its image -> the facts that its API would tell.
 * Pure. dockerd writes these files itself, in folders that only root can write to, and they are
 * there before a container starts: they say who it is while dockerd does not answer.
 *
 * An image's configuration is different: it is, byte for byte, what a stranger wrote.
 */
#ifndef NANOSEG_DAEMON_DOCKER_FILE_H
#define NANOSEG_DAEMON_DOCKER_FILE_H

#include "daemon/docker.h"
#include "daemon/proto.h"

#define DOCKER_MAX_FILE (1u << 20)

struct docker_file {
	json_t *config; /* owned: config.v2.json, checked to be of this container */
	int driver;	/* enum relay_driver that the image is kept by; -1: another one */
	struct docker_container c;
	struct docker_inspect inspect; /* pid and sandbox are not told: the files may be outdated */
};

void docker_file_done(struct docker_file *f);

/* config.v2.json. 0, -EBADMSG, -E2BIG or -ENOMEM. */
int docker_file_read_config(const char *id, const char *buf, size_t len, struct docker_file *ret);
/* hostconfig.json of the same container; then c and inspect are there. */
int docker_file_read_host(struct docker_file *f, const char *buf, size_t len);
/*
 * The labels of an image's configuration. -EBADMSG also where dockerd and this parser might read
 * different labels in the same text.
 */
int docker_file_read_image(const char *buf, size_t len, json_t **ret_labels);

#endif
