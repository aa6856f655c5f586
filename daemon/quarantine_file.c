/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See quarantine.h. The file that remembers who is held and who was, and their JSON. */
#include "daemon/quarantine_internal.h"

#include "daemon/api.h"
#include "daemon/statefile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "quarantine.json"
#define FILE_MAX (32u << 20)
#define SHOWN_NS (30ULL * 86400 * NSEC_PER_SEC)

void
quarantine_free(struct quarantine *q)
{
	if (q == NULL)
		return;
	for (size_t i = 0; i < q->n_allow; i++)
		free(q->allow_from[i]);
	free(q->workload);
	free(q->reason);
	free(q->release_reason);
	free(q->hours);
	free(q);
}

void
quarantine_freep(struct quarantine **q)
{
	quarantine_free(*q);
}

static json_t *
allow_json(const struct quarantine *q)
{
	json_t *list = json_array();

	for (size_t i = 0; i < q->n_allow; i++)
		json_array_append_new(list, json_text(q->allow_from[i]));
	return list;
}

json_t *
json_quarantine(const struct quarantine *q)
{
	if (q == NULL)
		return json_null();
	return json_pack("{s:o, s:o, s:s, s:o}", "since", json_time(q->since_ns), "reason",
	    json_text(q->reason), "by", q->by, "allowFrom", allow_json(q));
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
to_file(const struct quarantine *q)
{
	json_t *o = json_pack("{s:o, s:s, s:o, s:s, s:I, s:I, s:o, s:o}", "workload",
	    json_text(q->workload), "container", q->container, "reason", json_text(q->reason), "by",
	    q->by, "sinceNs", (json_int_t)q->since_ns, "seenNs", (json_int_t)q->seen_ns,
	    "allowFrom", allow_json(q), "hours", hours_json(q));
	if (q->released_ns != 0)
		json_object_update_new(
		    o, json_pack("{s:I, s:s, s:o}", "releasedNs", (json_int_t)q->released_ns,
			   "releasedBy", q->released_by, "releaseReason",
			   json_text(q->release_reason)));
	return o;
}

int
quarantine_save(struct controller *c, const struct quarantine *added, const struct quarantine *gone)
{
	json_t *held = json_array(), *released = json_array();

	for (const struct quarantine *q = c->quarantines; q != NULL; q = q->next)
		if (q != gone)
			json_array_append_new(held, to_file(q));
	if (added != NULL)
		json_array_append_new(held, to_file(added));
	if (gone != NULL)
		json_array_append_new(released, to_file(gone));
	for (const struct quarantine *q = c->released; q != NULL; q = q->next)
		if (json_array_size(released) < QUARANTINE_MAX_RELEASED)
			json_array_append_new(released, to_file(q));
	return statefile_write(c->state_dir, FILE_NAME,
	    json_pack("{s:i, s:o, s:o}", "version", 1, "quarantines", held, "released", released));
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
int
quarantine_set_allow(struct quarantine *q, const char *const *list, size_t n, const char **ret_bad)
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
read_one(json_t *o, bool is_released, struct quarantine **ret)
{
	_cleanup_(quarantine_freep) struct quarantine *q = calloc(1, sizeof(*q));
	const char *workload = NULL, *container, *reason, *by, *allow[QUARANTINE_MAX_ALLOW], *bad;
	json_t *name, *list, *hours;
	const char *released_by = "", *release_reason = NULL;
	json_int_t since, seen, released = 0;
	int r;

	if (q == NULL)
		return -ENOMEM;
	if (json_unpack(o, "{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s?I, s?s, s?s !}", "workload",
		&name, "container", &container, "reason", &reason, "by", &by, "sinceNs", &since,
		"seenNs", &seen, "allowFrom", &list, "hours", &hours, "releasedNs", &released,
		"releasedBy", &released_by, "releaseReason", &release_reason) < 0 ||
	    released < 0 || (released != 0) != is_released ||
	    strlen(released_by) >= sizeof(q->released_by) ||
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
	q->released_ns = (uint64_t)released;
	snprintf(q->released_by, sizeof(q->released_by), "%s", released_by);
	q->release_reason = release_reason != NULL ? strdup(release_reason) : NULL;
	if (q->reason == NULL || (workload != NULL && q->workload == NULL) ||
	    (release_reason != NULL && q->release_reason == NULL))
		return -ENOMEM;
	r = quarantine_set_allow(q, allow, json_array_size(list), &bad);
	if (r == 0)
		r = read_hours(hours, q);
	if (r < 0)
		return r == -EINVAL ? -EBADMSG : r;
	*ret = steal_ptr(q);
	return 0;
}

static int
read_list(const json_t *list, size_t max, bool is_released, struct quarantine **tail)
{
	int r = json_is_array(list) && json_array_size(list) <= max ? 0 : -EBADMSG;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		r = read_one(json_array_get(list, i), is_released, tail);
		if (r == 0)
			tail = &(*tail)->next;
	}
	return r;
}

static int
read_all(struct controller *c, const json_t *o)
{
	const json_t *released = json_object_get(o, "released");
	int r;

	if (json_integer_value(json_object_get(o, "version")) != 1)
		return -EBADMSG;
	r = read_list(json_object_get(o, "quarantines"), QUARANTINE_MAX, false, &c->quarantines);
	if (r == 0 && released != NULL)
		r = read_list(released, QUARANTINE_MAX_RELEASED, true, &c->released);
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

static void
add_to_list(json_t *list, const struct quarantine *q)
{
	json_t *o = json_quarantine(q), *hours = json_array(), *released = json_null();

	for (size_t i = 0; i < q->n_hours; i++)
		json_array_append_new(hours, json_pack("{s:o, s:I}", "hour",
						 json_time(q->hours[i].hour * 3600 * NSEC_PER_SEC),
						 "refused", (json_int_t)q->hours[i].refused));
	if (q->released_ns != 0)
		released = json_pack("{s:o, s:s, s:o}", "at", json_time(q->released_ns), "by",
		    q->released_by, "reason", json_text(q->release_reason));
	json_object_set_new(o, "workload", json_text(q->workload));
	json_object_set_new(
	    o, "container", q->container[0] != '\0' ? json_string(q->container) : json_null());
	json_object_set_new(
	    o, "lastSeen", q->container[0] != '\0' ? json_time(q->seen_ns) : json_null());
	json_object_set_new(o, "denials", hours);
	json_object_set_new(o, "released", released);
	json_array_append_new(list, o);
}

json_t *
json_quarantines(const struct controller *c, bool with_released)
{
	json_t *list = json_array();
	uint64_t now = now_real();

	for (const struct quarantine *q = c->quarantines; q != NULL; q = q->next)
		add_to_list(list, q);
	for (const struct quarantine *q = c->released; with_released && q != NULL; q = q->next)
		if (now < q->released_ns + SHOWN_NS)
			add_to_list(list, q);
	return list;
}
