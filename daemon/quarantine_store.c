/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See quarantine.h. Holding and releasing. */
#include "daemon/alert.h"
#include "daemon/enforce.h"
#include "daemon/gate.h"
#include "daemon/instance.h"
#include "daemon/quarantine_internal.h"
#include "daemon/roster.h"

#include "daemon/api.h"
#include "daemon/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ID_MIN 12
#define SAVE_EVERY_NS (60 * NSEC_PER_SEC)

static bool
is_id(const char *text)
{
	size_t len = strlen(text);

	return len >= ID_MIN && len <= 64 && strspn(text, "0123456789abcdef") == len;
}

/* The one container with this beginning of its id. -ENOENT, -ENOTUNIQ. */
static int
find_container(struct controller *c, const char *id, char ret[static 65])
{
	const char *found = NULL;

	for (const struct instance *i = c->instances; i != NULL; i = i->next) {
		const struct container *k;
		size_t pos = 0;

		while ((k = instance_next_member(i, &pos)) != NULL) {
			if (strncmp(k->id, id, strlen(id)) != 0 ||
			    (found != NULL && strcmp(found, k->id) == 0))
				continue;
			if (found != NULL)
				return -ENOTUNIQ;
			found = k->id;
		}
		if (found == NULL && strncmp(i->ns.container_id, id, strlen(id)) == 0)
			found = i->ns.container_id;
	}
	if (found == NULL)
		return -ENOENT;
	snprintf(ret, 65, "%s", found);
	return 0;
}

/* What cannot be held is not to look as if it were. */
static int
check_holdable(const struct controller *c, const struct quarantine *q, struct diag *d)
{
	for (const struct instance *i = c->instances; i != NULL; i = i->next) {
		const char *why = NULL;

		if (quarantine_of_workload(c, i->workload) != q &&
		    (q->workload == NULL || i->workload == NULL ||
			strcmp(i->workload->name, q->workload) != 0))
			continue;
		if (strcmp(instance_grade(i, &why), "no") == 0) {
			diag_set(d, 0, 0, "it cannot be held: %s", why != NULL ? why : "unknown");
			return -EINVAL;
		}
	}
	return 0;
}

static struct quarantine **
find_slot(struct controller *c, const char *workload, const char *container)
{
	struct quarantine **q = &c->quarantines;

	while (
	    *q != NULL &&
	    !(workload != NULL ? (*q)->workload != NULL && strcmp((*q)->workload, workload) == 0
			       : container != NULL && (*q)->container[0] != '\0' &&
				     strncmp((*q)->container, container, strlen(container)) == 0))
		q = &(*q)->next;
	return q;
}

static int
record(struct controller *c, const char *event, const struct quarantine *q, const char *reason,
    const struct actor *who, const char *result, struct diag *d)
{
	json_t *names = json_array(), *subject = json_quarantine(q);
	struct audit_record r = {
		.event = event, .who = who, .reason = reason, .subject = subject, .result = result
	};

	if (q->workload != NULL)
		json_array_append_new(names, json_text(q->workload));
	json_object_set_new(subject, "workloads", names);
	json_object_set_new(subject, "container",
	    q->container[0] != '\0' ? json_string(q->container) : json_null());
	return audit_write(c->audit, &r, d);
}

static void
put_in_force(struct controller *c)
{
	gate_tick(c);
	enforce_now(c);
}

static int
make(struct controller *c, const char *target, const char *reason, const struct actor *who,
    struct quarantine **ret, struct diag *d)
{
	struct quarantine *q = calloc(1, sizeof(*q));
	const struct workload *w = workload_find(c, target);
	char safe[256];
	int r = 0;

	if (q == NULL)
		return -ENOMEM;
	*ret = q;
	text_escape(target, MIN(strlen(target), (size_t)60), safe, sizeof(safe));
	q->since_ns = q->seen_ns = now_real();
	snprintf(q->by, sizeof(q->by), "%s", who->name);
	q->reason = strdup(reason);
	if (w != NULL && workload_selected(c, w->name))
		q->workload = strdup(w->name);
	else if (!is_id(target))
		r = -ENOENT;
	else
		r = find_container(c, target, q->container);
	if (r == 0 && (q->reason == NULL || (w != NULL && q->workload == NULL)))
		return -ENOMEM;
	if (r == -ENOTUNIQ) {
		diag_set(d, 0, 0, "more than one container's id begins with %s", safe);
		return -EINVAL;
	}
	if (r < 0)
		diag_set(d, 0, 0, "no workload and no running container is called %s", safe);
	return r;
}

static void
alert_of(
    struct controller *c, const struct quarantine *q, const char *what, const struct actor *who)
{
	alert_raise(c, ALERT_QUARANTINE, ALERT_WARNING, q->workload,
	    q->container[0] != '\0' ? q->container : NULL, "%s, by %s", what, who->name);
}

int
quarantine_add(struct controller *c, const char *target, const char *reason,
    const char *const *allow_from, size_t n_allow, const struct actor *who, struct diag *d)
{
	_cleanup_(quarantine_freep) struct quarantine *q = NULL;
	struct quarantine **slot;
	const char *bad = "";
	char safe[256];
	struct diag ignored;
	size_t n = 0;
	int r = make(c, target, reason, who, &q, d);

	if (r < 0)
		return r;
	for (const struct quarantine *o = c->quarantines; o != NULL; o = o->next)
		n++;
	if (n >= QUARANTINE_MAX) {
		diag_set(d, 0, 0,
		    "at most %d are held: release some first, as those whose container is gone",
		    QUARANTINE_MAX);
		return -ENOSPC;
	}
	r = quarantine_set_allow(q, allow_from, n_allow, &bad);
	if (r == -EINVAL || r == -E2BIG) {
		text_escape(
		    bad != NULL ? bad : "", bad != NULL ? strlen(bad) : 0, safe, sizeof(safe));
		diag_set(d, 0, 0,
		    r == -E2BIG ? "too many peers, from %s on"
				: "%s is neither a workload nor host nor an address "
				  "or prefix",
		    safe);
		return -EINVAL;
	}
	if (r == 0)
		r = check_holdable(c, q, d);
	if (r < 0)
		return r;
	slot = find_slot(c, q->workload, q->container);
	if (*slot != NULL) {
		diag_set(d, 0, 0, "it is in quarantine already: release it first");
		return -EEXIST;
	}
	/* The marker of the start gate first: nothing may slip past it. */
	r = gate_mark(c, GATE_MARK_QUARANTINE);
	if (r == 0)
		r = record(c, "quarantine", q, reason, who, NULL, d);
	if (r < 0)
		return r;
	r = quarantine_save(c, q, NULL);
	if (r < 0) {
		record(c, "quarantine", q, reason, who, "failed: not stored", &ignored);
		return r;
	}
	alert_of(c, q, "in quarantine", who);
	log_warn("%s is in quarantine, by %s", q->workload != NULL ? "a workload" : q->container,
	    who->name);
	*slot = steal_ptr(q);
	put_in_force(c);
	return 0;
}

/* Of those released the newest are kept, with their timelines. */
static void
keep_released(struct controller *c, struct quarantine *q)
{
	struct quarantine **p = &c->released;

	q->next = c->released;
	c->released = q;
	for (size_t n = 0; *p != NULL && n < QUARANTINE_MAX_RELEASED; n++)
		p = &(*p)->next;
	quarantine_free(steal_ptr(*p));
}

int
quarantine_release(struct controller *c, const char *target, const char *reason,
    const struct actor *who, struct diag *d)
{
	struct quarantine **slot = find_slot(c, target, NULL), *q;
	_cleanup_free_ char *kept = NULL;
	char safe[256];
	struct diag ignored;
	int r;

	if (*slot == NULL && is_id(target))
		slot = find_slot(c, NULL, target);
	q = *slot;
	if (q == NULL) {
		text_escape(target, MIN(strlen(target), (size_t)60), safe, sizeof(safe));
		diag_set(d, 0, 0, "%s is not in quarantine", safe);
		return -ENOENT;
	}
	kept = strdup(reason);
	if (kept == NULL)
		return -ENOMEM;
	r = record(c, "release", q, reason, who, NULL, d);
	if (r < 0)
		return r;
	free(q->release_reason);
	q->release_reason = steal_ptr(kept);
	snprintf(q->released_by, sizeof(q->released_by), "%s", who->name);
	q->released_ns = now_real();
	r = quarantine_save(c, NULL, q);
	if (r < 0) {
		q->released_ns = 0;
		q->released_by[0] = '\0';
		free(q->release_reason);
		q->release_reason = NULL;
		record(c, "release", q, reason, who, "failed: not stored", &ignored);
		return r;
	}
	alert_of(c, q, "released", who);
	log_info(
	    "%s is released, by %s", q->workload != NULL ? "a workload" : q->container, who->name);
	*slot = q->next;
	keep_released(c, q);
	put_in_force(c);
	return 0;
}

void
quarantine_tick(struct controller *c)
{
	static uint64_t saved_ns;
	uint64_t now = now_real(), mono = now_mono();
	bool dirty = false;

	if (c->quarantines == NULL || mono - saved_ns < SAVE_EVERY_NS)
		return;
	saved_ns = mono;
	for (const struct instance *i = c->instances; i != NULL; i = i->next) {
		struct quarantine *q = quarantine_of(i);

		if (q != NULL && q->container[0] != '\0')
			q->seen_ns = now;
	}
	for (struct quarantine *q = c->quarantines; q != NULL; q = q->next) {
		quarantine_forget_hours(q, now / (3600 * NSEC_PER_SEC));
		dirty |= q->dirty || q->seen_ns == now;
	}
	if (!dirty || quarantine_save(c, NULL, NULL) < 0)
		return;
	for (struct quarantine *q = c->quarantines; q != NULL; q = q->next)
		q->dirty = false;
}
