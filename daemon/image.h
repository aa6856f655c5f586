/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose image may run: image.c, image_allow.c. */
#ifndef NANOSEG_DAEMON_IMAGE_H
#define NANOSEG_DAEMON_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct container;
struct controller;
struct instance;
struct workload;

/* image.c */
/* What an acceptance names: the repository, or the image's id if it has none; "" if not known. */
const char *container_repository(const struct container *k);
/* True also if nothing has ever run under the name. */
bool workload_accepts(const struct workload *w, const char *repository);
bool workload_accepts_container(const struct workload *w, const struct container *k);
/* 0, also if it was accepted before; -ENOSPC, -ENOMEM. */
int workload_accept(struct workload *w, const char *repository);
bool workload_unaccept(struct workload *w, const char *repository);
int workload_accept_running(struct workload *w);
bool instance_has_other_image(const struct instance *i);
/* Its container, or the first of the members, whose image is not accepted; NULL: all are. */
const struct container *instance_other_container(const struct instance *i);
/* A guest's is not: it keeps its rules, and the guest has them too. */
bool instance_has_other_guest(const struct instance *i);
bool workload_has_other_image(const struct workload *w);
bool workload_refuses(const struct workload *w, const struct container *k);
/* Closed, and nobody: it runs another image under an enforced name. */
bool instance_is_refused(const struct instance *i);
/* The workload whose edges it has: NULL if it is not identified, or refused. */
struct workload *instance_counts_as(const struct instance *i);
/* After its workload or its members have changed: notes the first image of a workload. */
void image_check(struct instance *i);

/* image_allow.c */
void image_allow_tick(struct controller *c); /* once a second */
uint64_t image_count_unapproved(const struct controller *c);
/* Appends {workload, instance, image, imageId} of each container of the workload that may not run.
 */
void image_add_unapproved(const struct workload *w, json_t *list);

#endif
