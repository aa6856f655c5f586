/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See quarantine.h. Holding and releasing, and the file that remembers it. */
#include "daemon/alert.h"
#include "daemon/enforce.h"
#include "daemon/gate.h"
#include "daemon/instance.h"
#include "daemon/quarantine.h"
#include "daemon/roster.h"

#include "daemon/api.h"
#include "daemon/log.h"
#include "daemon/statefile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "quarantine.json"
#define FILE_MAX (32u << 20)
#define ID_MIN 12
#define SAVE_EVERY_NS (60 * NSEC_PER_SEC)
#define FORGET_NS (30ULL * 86400 * NSEC_PER_SEC)

void
quarantine_free(struct quarantine *q)
{
	if (q == NULL)
		return;
	for (size_t i = 0; i < q->n_allow; i++)
		free(q->allow_from[i]);
	free(q->workload);
	free(q->reason);
	free(q->hours);
	free(q);
}

static void
quarantine_freep(struct quarantine **q)
{
	quarantine_free(*q);
}

/* The file */

json_t *
json_quarantine(const struct quarantine *q)
{
	json_t *allow = json_array();

	for (size_t i = 0; q != NULL && i < q->n_allow; i++)
		json_array_append_new(allow, json_text(q->allow_from[i]));
	if (q == NULL) {
		json_decref(allow);
		return json_null();
	}
	return json_pack("{s:o, s:o, s:s, s:o}", "since", json_time(q->since_ns), "reason",
	    json_text(q->reason), "by", q->by, "allowFrom", allow);
}

static json_t *
hours_json(const struct quarantine *q)
{
	json_t *list = json_array();

	for (size_t i = 0; i < q->n_hours; i++)
		json_array_append_new(list, json_pack("[I, I]", (json_int_t)q->hours[i].hour,
						(json_int_t)q->hours[i].refused));
	return list;
}

static json_t *
to_file(const struct controller *c, const struct quarantine *without, const struct quarantine *with)
{
	json_t *list = json_array();

	for (const struct quarantine *q = c->quarantines; q != NULL || with != NULL; q = q->next) {
		const struct quarantine *this = q;
		json_t *o, *allow = json_array();

		if (q == NULL)
			this = with;
		for (size_t i = 0; i < this->n_allow; i++)
			json_array_append_new(allow, json_text(this->allow_from[i]));
		o = json_pack("{s:o, s:s, s:o, s:s, s:I, s:I, s:o, s:o}", "workload",
		    json_text(this->workload), "container", this->container, "reason",
		    json_text(this->reason), "by", this->by, "sinceNs", (json_int_t)this->since_ns,
		    "seenNs", (json_int_t)this->seen_ns, "allowFrom", allow, "hours",
		    hours_json(this));
		if (this != without)
			json_array_append(list, o);
		json_decref(o);
		if (q == NULL)
			break;
	}
	return json_pack("{s:i, s:o}", "version", 1, "quarantines", list);
}

static int
save(struct controller *c, const struct quarantine *without, const struct quarantine *with)
{
	return statefile_write(c->state_dir, FILE_NAME, to_file(c, without, with));
}

static int
read_hours(const json_t *list, struct quarantine *q)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > QUARANTINE_HOURS)
		return -EBADMSG;
	if (n == 0)
		return 0;
	q->hours = calloc(QUARANTINE_HOURS, sizeof(*q->hours));
	if (q->hours == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		json_int_t hour, refused;

		if (json_unpack(json_array_get(list, i), "[I, I!]", &hour, &refused) < 0 ||
		    hour < 0 || refused < 0 || (i > 0 && (uint64_t)hour <= q->hours[i - 1].hour))
			return -EBADMSG;
		q->hours[q->n_hours++] =
		    (struct quarantine_hour){ (uint64_t)hour, (uint64_t)refused };
	}
	return 0;
}

/* Texts of peers, as they are kept; -EINVAL for one that is none. */
static int
set_allow(struct quarantine *q, const char *const *list, size_t n, const char **ret_bad)
{
	for (size_t i = 0; i < n; i++) {
		char name[PEER_STRLEN], text[PEER_STRLEN];
		struct peer p;

		*ret_bad = list[i];
		if (q->n_allow == QUARANTINE_MAX_ALLOW)
			return -E2BIG;
		if (list[i] == NULL || peer_parse(list[i], name, &p) < 0 ||
		    (p.kind != PEER_WORKLOAD && p.kind != PEER_HOST && p.kind != PEER_CIDR &&
			p.kind != PEER_ADDR))
			return -EINVAL;
		q->allow_from[q->n_allow] = strdup(peer_format(&p, text));
		if (q->allow_from[q->n_allow] == NULL)
			return -ENOMEM;
		q->n_allow++;
	}
	return 0;
}

static int
read_one(json_t *o, struct quarantine **ret)
{
	_cleanup_(quarantine_freep) struct quarantine *q = calloc(1, sizeof(*q));
	const char *workload = NULL, *container, *reason, *by, *allow[QUARANTINE_MAX_ALLOW], *bad;
	json_t *name, *list, *hours;
	json_int_t since, seen;
	int r;

	if (q == NULL)
		return -ENOMEM;
	if (json_unpack(o, "{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o !}", "workload", &name,
		"container", &container, "reason", &reason, "by", &by, "sinceNs", &since, "seenNs",
		&seen, "allowFrom", &list, "hours", &hours) < 0 ||
	    ((workload = json_string_value(name)) == NULL && !json_is_null(name)) || since < 0 ||
	    seen < 0 || strlen(by) >= sizeof(q->by) ||
	    (workload == NULL) == (container[0] == '\0') ||
	    (container[0] != '\0' &&
		(strlen(container) != 64 || strspn(container, "0123456789abcdef") != 64)) ||
	    !json_is_array(list) || json_array_size(list) > QUARANTINE_MAX_ALLOW)
		return -EBADMSG;
	for (size_t i = 0; i < json_array_size(list); i++)
		allow[i] = json_string_value(json_array_get(list, i));
	snprintf(q->container, sizeof(q->container), "%s", container);
	snprintf(q->by, sizeof(q->by), "%s", by);
	q->workload = workload != NULL ? strdup(workload) : NULL;
	q->reason = strdup(reason);
	q->since_ns = (uint64_t)since;
	q->seen_ns = (uint64_t)seen;
	if (q->reason == NULL || (workload != NULL && q->workload == NULL))
		return -ENOMEM;
	r = set_allow(q, allow, json_array_size(list), &bad);
	if (r == 0)
		r = read_hours(hours, q);
	if (r < 0)
		return r == -EINVAL ? -EBADMSG : r;
	*ret = steal_ptr(q);
	return 0;
}

static int
read_all(struct controller *c, const json_t *o)
{
	const json_t *list = json_object_get(o, "quarantines");
	struct quarantine **tail = &c->quarantines;
	int r = 0;

	if (json_integer_value(json_object_get(o, "version")) != 1 || !json_is_array(list) ||
	    json_array_size(list) > QUARANTINE_MAX)
		return -EBADMSG;
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		r = read_one(json_array_get(list, i), tail);
		if (r == 0)
			tail = &(*tail)->next;
	}
	return r;
}

int
quarantine_load(struct controller *c, struct diag *d)
{
	json_t *o = NULL;
	int r = statefile_read(c->state_dir, FILE_NAME, FILE_MAX, &o);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = read_all(c, o);
	json_decref(o);
	if (r < 0)
		diag_set(d, 0, 0,
		    "%s/%s cannot be read: %s; it says who is in quarantine: restore it, or remove "
		    "it to release all",
		    c->state_dir, FILE_NAME, strerror(-r));
	return r;
}

/* Holding and releasing */

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
		diag_set(d, 0, 0, "at most %d are held", QUARANTINE_MAX);
		return -ENOSPC;
	}
	r = set_allow(q, allow_from, n_allow, &bad);
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
	r = save(c, NULL, q);
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

int
quarantine_release(struct controller *c, const char *target, const char *reason,
    const struct actor *who, struct diag *d)
{
	struct quarantine **slot = find_slot(c, target, NULL), *q;
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
	r = record(c, "release", q, reason, who, NULL, d);
	if (r < 0)
		return r;
	r = save(c, q, NULL);
	if (r < 0) {
		record(c, "release", q, reason, who, "failed: not stored", &ignored);
		return r;
	}
	alert_of(c, q, "released", who);
	log_info(
	    "%s is released, by %s", q->workload != NULL ? "a workload" : q->container, who->name);
	*slot = q->next;
	quarantine_free(q);
	put_in_force(c);
	return 0;
}

void
quarantine_tick(struct controller *c)
{
	static const struct actor daemon_actor = { .name = "nanosegd" };
	static uint64_t saved_ns;
	uint64_t now = now_real(), mono = now_mono();
	bool dirty = false;
	struct diag d;

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
		if (q->container[0] != '\0' && now > q->seen_ns + FORGET_NS) {
			quarantine_release(c, q->container,
			    "its container has not been there for 30 days", &daemon_actor, &d);
			return;
		}
		dirty |= q->dirty || q->seen_ns == now;
	}
	if (!dirty || save(c, NULL, NULL) < 0)
		return;
	for (struct quarantine *q = c->quarantines; q != NULL; q = q->next)
		q->dirty = false;
}

json_t *
json_quarantines(const struct controller *c)
{
	json_t *list = json_array();

	for (const struct quarantine *q = c->quarantines; q != NULL; q = q->next) {
		json_t *o = json_quarantine(q), *hours = json_array();

		for (size_t i = 0; i < q->n_hours; i++)
			json_array_append_new(
			    hours, json_pack("{s:o, s:I}", "hour",
				       json_time(q->hours[i].hour * 3600 * NSEC_PER_SEC), "refused",
				       (json_int_t)q->hours[i].refused));
		json_object_set_new(o, "workload", json_text(q->workload));
		json_object_set_new(o, "container",
		    q->container[0] != '\0' ? json_string(q->container) : json_null());
		json_object_set_new(o, "denials", hours);
		json_array_append_new(list, o);
	}
	return list;
}
