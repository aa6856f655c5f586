/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that may not run, under whatever name (`images` in nanosegd.yaml): flagged, or held by the
 * same quarantine that a person would use, with its record. What ran before the daemon did is
 * flagged alone: holding it could break what works, and a release by a person is not undone by the
 * next start. A quarantine made here ends when its image is allowed, or when a person ends it.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"
#include "rules/json.h"

#include <string.h>

#define REASON "its image is not approved (images in nanosegd.yaml)"

static const struct actor daemon_actor = { .name = "nanosegd" };

static bool
is_allowed(const struct controller *c, const struct container *k)
{
	return images_config_allows(
	    &c->config->images, k->image_id != NULL ? k->image_id : "", k->identity.image_repo);
}

static struct instance *
instance_of(struct controller *c, const struct container *k)
{
	for (struct instance *i = c->instances; i != NULL; i = i->next) {
		const struct container *member;
		size_t pos = 0;

		while ((member = instance_next_member(i, &pos)) != NULL)
			if (member == k)
				return i;
	}
	return NULL;
}

static struct quarantine *
held_for_it(const struct controller *c, const struct container *k)
{
	struct quarantine *q = quarantine_of_container(c, k->id);

	return q != NULL && strcmp(q->by, daemon_actor.name) == 0 && strcmp(q->reason, REASON) == 0
		   ? q
		   : NULL;
}

static void
say(struct controller *c, const struct container *k, const struct instance *i)
{
	char name[256], image[1024];

	text_escape(k->id, MIN(strlen(k->id), (size_t)12), name, sizeof(name));
	text_escape(k->image != NULL ? k->image : "", k->image != NULL ? strlen(k->image) : 0,
	    image, sizeof(image));
	log_warn("container %s: its image %s (%.71s) is not approved", name, image,
	    k->image_id != NULL ? k->image_id : "no id known");
	alert_raise(c, ALERT_IMAGE, ALERT_ERROR,
	    i != NULL && i->workload != NULL ? i->workload->name : NULL, name,
	    "its image is not approved: %.256s (%.71s)", k->image != NULL ? k->image : "no name",
	    k->image_id != NULL ? k->image_id : "no id known");
}

static void
hold(struct controller *c, struct container *k)
{
	struct diag d = { 0 };

	k->image_held = true;
	if (quarantine_add(c, k->id, REASON, NULL, 0, &daemon_actor, &d) < 0)
		log_error("container %.12s: its image is not approved, but it cannot be held: %s",
		    k->id, d.msg);
}

static void
judge(struct controller *c, struct container *k)
{
	struct instance *i = NULL;
	struct diag d = { 0 };
	bool allowed = is_allowed(c, k);

	if (allowed) {
		k->unapproved = false;
		if (held_for_it(c, k) != NULL &&
		    quarantine_release(c, k->id, "its image is approved now", &daemon_actor, &d) <
			0)
			return; /* again */
		k->image_judged = c->reload.taken + 1;
		return;
	}
	if (!k->host_network) {
		i = instance_of(c, k);
		if (i == NULL || i->workload == NULL)
			return; /* not known yet whose it is, and whether it is ours */
		if (!workload_selected(c, i->workload->name))
			return;
	}
	k->image_judged = c->reload.taken + 1;
	if (!k->unapproved)
		say(c, k, i);
	k->unapproved = true;
	if (c->config->images.action == IMAGES_QUARANTINE && i != NULL && !i->existing &&
	    !k->existing && !k->image_held && quarantine_of(i) == NULL)
		hold(c, k);
}

void
image_allow_tick(struct controller *c)
{
	for (size_t b = 0; b < ARRAY_SIZE(c->containers); b++)
		for (struct container *k = c->containers[b]; k != NULL; k = k->next)
			if (k->image_judged != c->reload.taken + 1 &&
			    (k->image != NULL || k->image_id != NULL))
				judge(c, k);
}

uint64_t
image_count_unapproved(const struct controller *c)
{
	uint64_t n = 0;

	for (size_t b = 0; b < ARRAY_SIZE(c->containers); b++)
		for (const struct container *k = c->containers[b]; k != NULL; k = k->next)
			n += k->unapproved;
	return n;
}

void
image_add_unapproved(const struct workload *w, json_t *list)
{
	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload) {
		const struct container *k;
		size_t pos = 0;

		while ((k = instance_next_member(i, &pos)) != NULL)
			if (k->unapproved)
				json_array_append_new(list,
				    json_pack("{s:o, s:o, s:o, s:o}", "workload",
					json_text(w->name), "instance", json_text(instance_id(i)),
					"image", json_text(k->image), "imageId",
					json_text(k->image_id)));
	}
}
