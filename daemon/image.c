/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose image may run under a workload's name. Names are chosen by whoever starts a container, so a
 * name alone does not inherit rules: a workload has a list of accepted repositories. The first one
 * that is ever seen under a name is accepted; enforcing a workload accepts what runs at that moment
 * (a person does it, promotion waits); any other needs a person. An instance of another repository
 * under an enforced name is refused: it counts as nobody (its address belongs to no workload), and
 * its own ruleset lets nothing in or out.
 *
 * An image without a repository goes by its id. Members of a namespace share its rules. In a pod
 * the images of all of them must be accepted: its sandbox is no program, and they come after it. A
 * guest of another container (`--network container:X`) takes nothing away from that one: whoever
 * looks into a running service would cut it off. It is refused by the start gate, and otherwise
 * said: the grade is partial.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/roster.h"

#include <errno.h>
#include <string.h>

const char *
container_repository(const struct container *k)
{
	if (k->identity.image_repo[0] != '\0')
		return k->identity.image_repo;
	return k->image_id != NULL ? k->image_id : "";
}

bool
workload_accepts(const struct workload *w, const char *repository)
{
	for (size_t i = 0; i < w->n_images; i++)
		if (strcmp(w->images[i], repository) == 0)
			return true;
	return w->n_images == 0;
}

/* Some runtimes leave no word about a pod's images in their files: that closes nothing. */
bool
workload_accepts_container(const struct workload *w, const struct container *k)
{
	const char *repository = container_repository(k);

	return (k->in_pod && *repository == '\0') || workload_accepts(w, repository);
}

bool
instance_has_other_image(const struct instance *i)
{
	return i->workload != NULL && i->container != NULL &&
	       !workload_accepts_container(i->workload, i->container);
}

const struct container *
instance_other_container(const struct instance *i)
{
	const struct container *k;
	size_t pos = 0;

	if (i->workload == NULL)
		return NULL;
	while ((k = instance_next_member(i, &pos)) != NULL)
		if (!workload_accepts_container(i->workload, k))
			return k;
	return NULL;
}

bool
instance_has_other_guest(const struct instance *i)
{
	return i->other_member && i->container != NULL && !i->container->in_pod &&
	       i->workload != NULL && i->workload->mode == MODE_ENFORCE;
}

bool
workload_has_other_image(const struct workload *w)
{
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		if (instance_has_other_image(i))
			return true;
	return false;
}

bool
workload_refuses(const struct workload *w, const struct container *k)
{
	return w->mode == MODE_ENFORCE && !workload_accepts_container(w, k);
}

bool
instance_is_refused(const struct instance *i)
{
	if (i->workload == NULL)
		return false;
	/* Its namespace may outlive it, and is no better for that. */
	if (i->container == NULL)
		return i->was_refused;
	return workload_refuses(i->workload, i->container) ||
	       (i->workload->mode == MODE_ENFORCE && i->container->in_pod && i->other_member);
}

struct workload *
instance_counts_as(const struct instance *i)
{
	return instance_is_refused(i) ? NULL : i->workload;
}

int
workload_accept(struct workload *w, const char *repository)
{
	char **grown, *copy;

	if (w->n_images > 0 && workload_accepts(w, repository))
		return 0;
	if (w->n_images >= POLICY_MAX_IMAGES)
		return -ENOSPC;
	copy = strdup(repository);
	grown = reallocarray(w->images, w->n_images + 1, sizeof(*grown));
	if (grown != NULL)
		w->images = grown;
	if (copy == NULL || grown == NULL) {
		free(copy);
		return -ENOMEM;
	}
	w->images[w->n_images++] = copy;
	w->dirty = true;
	return 0;
}

bool
workload_unaccept(struct workload *w, const char *repository)
{
	for (size_t i = 0; i < w->n_images; i++) {
		if (strcmp(w->images[i], repository) != 0)
			continue;
		free(w->images[i]);
		memmove(
		    &w->images[i], &w->images[i + 1], (w->n_images - i - 1) * sizeof(*w->images));
		w->n_images--;
		w->dirty = true;
		return true;
	}
	return false;
}

static int
accept_members(struct workload *w, const struct instance *i)
{
	const struct container *k;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && (k = instance_next_member(i, &pos)) != NULL)
		if ((k == i->container || i->container->in_pod) && *container_repository(k) != '\0')
			r = workload_accept(w, container_repository(k));
	return r;
}

int
workload_accept_running(struct workload *w)
{
	int r = 0;

	for (const struct instance *i = w->instances; i != NULL && r == 0; i = i->next_of_workload)
		r = accept_members(w, i);
	return r;
}

static void
say(struct instance *i, const struct container *k)
{
	char name[PEER_STRLEN], image[4 * 256];
	const char *repository = container_repository(k);
	bool closed = instance_is_refused(i);
	const char *whose = k == i->container ? "its image"
			    : closed	      ? "a member's image"
					      : "a guest has its rules, and the guest's image";

	text_escape(i->workload->name, strlen(i->workload->name), name, sizeof(name));
	text_escape(repository, strlen(repository), image, sizeof(image));
	alert_raise_instance(i, ALERT_IMAGE, ALERT_ERROR, "%s%s %s is not accepted under this name",
	    closed ? "it is closed: " : "", whose,
	    *repository != '\0' ? repository : "is not known and");
	log_error("workload %s: instance %s%s: %s %s is not accepted under this name (nanoseg "
		  "approve --image)",
	    name, instance_log_id(i), closed ? " is closed" : "", whose,
	    *image != '\0' ? image : "is not known and");
}

void
image_check(struct instance *i)
{
	const struct container *other;
	struct workload *w = i->workload;
	const char *repository;

	if (w == NULL || i->container == NULL)
		return;
	repository = container_repository(i->container);
	if (w->n_images == 0 && *repository != '\0' && workload_accept(w, repository) < 0)
		log_warn("out of memory: an image was not noted");
	other = instance_other_container(i);
	i->other_member = other != NULL && other != i->container;
	if (!instance_is_refused(i) && !instance_has_other_guest(i)) {
		i->refusal_logged = false;
		return;
	}
	if (!i->refusal_logged)
		say(i, other);
	i->refusal_logged = true;
}
