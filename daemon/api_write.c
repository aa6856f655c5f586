/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What changes something. A change is durable before it is answered, or it did not happen. */
#include "daemon/api.h"
#include "daemon/instance.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "rules/workload.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

json_t *
api_read_body(const struct api_request *q, struct api_reply *r, const char *const *keys)
{
	json_error_t err;
	json_t *o = json_loadb(q->body, q->body_len, JSON_REJECT_DUPLICATES, &err);
	struct diag d = { 0 };
	const char *key;
	json_t *value;

	if (!json_is_object(o)) {
		d.line = err.line > 0 ? (unsigned)err.line : 1;
		d.col = err.column > 0 ? (unsigned)err.column : 1;
		api_fail(r, MHD_HTTP_BAD_REQUEST, &d, "expected a JSON object");
		json_decref(o);
		return NULL;
	}
	json_object_foreach(o, key, value)
	{
		const char *const *k = keys;

		while (*k != NULL && strcmp(*k, key) != 0)
			k++;
		if (*k == NULL) {
			api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "unknown key in the request");
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

bool
api_read_string(const json_t *o, const char *key, size_t max, struct api_reply *r, const char **ret)
{
	const json_t *v = json_object_get(o, key);

	*ret = NULL;
	if (v == NULL || json_is_null(v))
		return true;
	if (!json_is_string(v) || json_string_length(v) > max ||
	    strlen(json_string_value(v)) != json_string_length(v)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "%s: expected a text of at most %zu bytes",
		    key, max);
		return false;
	}
	*ret = json_string_value(v);
	return true;
}

static unsigned
status_of(int error)
{
	switch (error) {
	case -ENOENT:
		return MHD_HTTP_NOT_FOUND;
	case -EPERM:
		return MHD_HTTP_FORBIDDEN;
	case -ESTALE:
	case -EBUSY:
	case -EEXIST:
		return MHD_HTTP_CONFLICT;
	case -EINVAL:
		return MHD_HTTP_BAD_REQUEST;
	case -ENOSPC:
	case -E2BIG:
		return MHD_HTTP_CONTENT_TOO_LARGE;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

void
api_fail_change(struct api_reply *r, int error, const struct diag *d)
{
	api_fail(r, status_of(error), d, "%s", d->msg[0] != '\0' ? d->msg : strerror(-error));
}

static const char **
read_ids(const json_t *list, struct api_reply *r)
{
	size_t n = json_array_size(list);
	const char **ids;

	if (n == 0 || n > API_MAX_IDS) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "ids: expected 1 to %d ids", API_MAX_IDS);
		return NULL;
	}
	ids = calloc(n, sizeof(*ids));
	for (size_t i = 0; ids != NULL && i < n; i++) {
		ids[i] = json_string_value(json_array_get(list, i));
		if (ids[i] == NULL) {
			api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "ids: expected texts");
			free(ids);
			return NULL;
		}
	}
	return ids;
}

/*
 * What every decision about edges has: reason, ticket and ids, of which *ret_ids is to be freed.
 * The number of ids, or 0 after filling r.
 */
static size_t
read_decision(const json_t *o, struct api_reply *r, const char **ret_reason,
    const char **ret_ticket, const char ***ret_ids)
{
	if (!api_read_string(o, "reason", EDGE_REASON_MAX, r, ret_reason) ||
	    !api_read_string(o, "ticket", EDGE_REASON_MAX, r, ret_ticket))
		return 0;
	if (*ret_reason == NULL || **ret_reason == '\0') {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "a decision needs a reason");
		return 0;
	}
	*ret_ids = read_ids(json_object_get(o, "ids"), r);
	return *ret_ids != NULL ? json_array_size(json_object_get(o, "ids")) : 0;
}

static void
decide(const struct api_request *q, struct api_reply *r, enum edge_state state)
{
	static const char *const keys[] = { "ids", "reason", "ticket", "expiresInSeconds", NULL };
	json_t *o = api_read_body(q, r, keys);
	const json_t *expires = json_object_get(o, "expiresInSeconds");
	const char *reason, *ticket;
	struct edge_decision given = { 0 };
	_cleanup_free_ const char **ids = NULL;
	struct diag d = { 0 };
	size_t changed, n;
	int ret;

	if (o == NULL)
		return;
	n = read_decision(o, r, &reason, &ticket, &ids);
	if (n == 0)
		goto out;
	if (expires != NULL && !json_is_null(expires) &&
	    (!json_is_integer(expires) || json_integer_value(expires) <= 0 ||
		json_integer_value(expires) > 10LL * 366 * 86400)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expiresInSeconds: expected a whole number, at most ten years");
		goto out;
	}
	given.reason = (char *)reason;
	given.ticket = (char *)ticket;
	if (json_is_integer(expires))
		given.expires_ns =
		    now_real() + (uint64_t)json_integer_value(expires) * NSEC_PER_SEC;
	ret = segment_decide(q->c, ids, n, state, &given, &q->who, &d, &changed);
	if (ret < 0)
		api_fail_change(r, ret, &d);
	else
		r->json = json_pack("{s:I, s:I}", "changed", (json_int_t)changed, "revision",
		    (json_int_t)q->c->revision);
out:
	json_decref(o);
}

static void
post_approve(const struct api_request *q, struct api_reply *r)
{
	decide(q, r, EDGE_APPROVED);
}

static void
post_deny(const struct api_request *q, struct api_reply *r)
{
	decide(q, r, EDGE_DENIED);
}

static void
post_recertify(const struct api_request *q, struct api_reply *r)
{
	static const char *const keys[] = { "ids", "reason", "ticket", NULL };
	json_t *o = api_read_body(q, r, keys);
	const char *reason, *ticket;
	_cleanup_free_ const char **ids = NULL;
	struct diag d = { 0 };
	size_t kept, n;
	int ret;

	if (o == NULL)
		return;
	n = read_decision(o, r, &reason, &ticket, &ids);
	if (n == 0)
		goto out;
	ret = recertify(q->c, ids, n, reason, ticket, &q->who, &d, &kept);
	if (ret < 0)
		api_fail_change(r, ret, &d);
	else
		r->json = json_pack(
		    "{s:I, s:I}", "kept", (json_int_t)kept, "revision", (json_int_t)q->c->revision);
out:
	json_decref(o);
}

size_t
api_read_workloads(
    const struct api_request *q, const json_t *o, struct mode_change *changes, struct api_reply *r)
{
	const json_t *list = json_object_get(o, "workloads");
	const json_t *all = json_object_get(o, "all");
	size_t n = 0;

	if (all != NULL && (!json_is_boolean(all) || (json_is_true(all) && list != NULL))) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expected either names of workloads or all: true");
		return 0;
	}
	if (json_is_true(all)) {
		for (struct workload *w = q->c->workloads; w != NULL; w = w->next)
			if (workload_selected(q->c, w->name))
				changes[n++].workload = w;
		if (n == 0)
			api_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is no workload yet");
		return n;
	}
	if (json_array_size(list) == 0 || json_array_size(list) > q->c->n_workloads) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "workloads: expected names of workloads, or all: true");
		return 0;
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		struct workload *w = name != NULL ? workload_find(q->c, name) : NULL;
		char safe[256] = "";

		if (w == NULL || !workload_selected(q->c, w->name)) {
			if (name != NULL)
				text_escape(name, strlen(name), safe, sizeof(safe));
			api_fail(r, MHD_HTTP_NOT_FOUND, NULL, "no such workload: %s", safe);
			return 0;
		}
		changes[n++].workload = w;
	}
	return n;
}

/* Edges of these workloads that are pending: what enforcement would drop. */
static json_int_t
count_pending(struct controller *c, const struct mode_change *changes, size_t n)
{
	_cleanup_free_ bool *asked = calloc(peer_table_count(c->peers) + 2, sizeof(bool));
	json_int_t pending = 0;
	size_t pos = 0;
	struct edge *e;

	for (size_t i = 0; asked != NULL && i < n; i++)
		asked[changes[i].workload->peer] = true;
	while (asked != NULL && (e = edge_table_next(c->edges, &pos)) != NULL)
		pending += e->state == EDGE_PENDING && (asked[e->key.from] || asked[e->key.to]);
	return pending;
}

/* Of these workloads, those with a container in the host's network. */
static json_int_t
count_hosted(const struct mode_change *changes, size_t n)
{
	json_int_t hosted = 0;

	for (size_t i = 0; i < n; i++)
		hosted += changes[i].workload->n_hosted > 0;
	return hosted;
}

static bool
has_nested(const struct workload *w)
{
	bool many;

	for (const struct instance *i = w->instances; i != NULL; i = i->next_of_workload)
		if (nested_count(i, &many) > 0)
			return true;
	return false;
}

/* Of these workloads, those that have made namespaces inside. */
static json_int_t
count_nested(const struct mode_change *changes, size_t n)
{
	json_int_t nested = 0;

	for (size_t i = 0; i < n; i++)
		nested += has_nested(changes[i].workload);
	return nested;
}

/* How long a change waits to be confirmed. False after filling r. */
static bool
check_confirm(json_int_t seconds, struct api_reply *r)
{
	const json_int_t min = CONFIRM_MIN_NS / NSEC_PER_SEC, max = CONFIRM_MAX_NS / NSEC_PER_SEC;

	if (seconds == 0 || (seconds >= min && seconds <= max))
		return true;
	api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
	    "confirmSeconds: expected a whole number from %d to %d", (int)min, (int)max);
	return false;
}

static void
post_mode(const struct api_request *q, struct api_reply *r)
{
	static const char *const keys[] = { "workloads", "all", "mode", "direction", "reason",
		"confirmSeconds", NULL };
	json_t *o = api_read_body(q, r, keys);
	const char *mode, *direction, *reason;
	_cleanup_free_ struct mode_change *changes = NULL;
	struct diag d = { 0 };
	const json_t *confirm = json_object_get(o, "confirmSeconds");
	json_int_t seconds = json_is_integer(confirm) ? json_integer_value(confirm) : 0;
	int m, dir, ret;
	size_t n;

	if (o == NULL)
		return;
	if (!api_read_string(o, "mode", 16, r, &mode) ||
	    !api_read_string(o, "direction", 16, r, &direction) ||
	    !api_read_string(o, "reason", EDGE_REASON_MAX, r, &reason))
		goto out;
	if (!check_confirm(confirm != NULL && !json_is_integer(confirm) ? -1 : seconds, r))
		goto out;
	m = mode != NULL ? mode_parse(mode) : -EINVAL;
	dir = direction != NULL ? direction_parse(direction) : WL_BOTH;
	if (m < 0 || dir < 0) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "%s",
		    m < 0 ? "mode: expected observe, audit or enforce"
			  : "direction: expected ingress, egress or both");
		goto out;
	}
	changes = calloc(q->c->n_workloads + 1, sizeof(*changes));
	n = changes != NULL ? api_read_workloads(q, o, changes, r) : 0;
	if (n == 0)
		goto out;
	for (size_t i = 0; i < n; i++) {
		changes[i].mode = (enum wl_mode)m;
		changes[i].direction = (enum wl_direction)dir;
	}
	ret = segment_set_modes(q->c, changes, n, (uint64_t)seconds * NSEC_PER_SEC,
	    reason != NULL ? reason : "by command", &q->who, &d);
	if (ret < 0)
		api_fail_change(r, ret, &d);
	else
		r->json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "changed", (json_int_t)n,
		    "revision", (json_int_t)q->c->revision, "hostNetwork", count_hosted(changes, n),
		    "nested", count_nested(changes, n), "pendingEdges",
		    m == MODE_OBSERVE ? (json_int_t)0 : count_pending(q->c, changes, n), "confirm",
		    json_confirm(q->c), "engines", json_engines(q->c));
out:
	json_decref(o);
}

static void
post_image(const struct api_request *q, struct api_reply *r, bool accepted)
{
	static const char *const keys[] = { "workload", "image", "reason", NULL };
	json_t *o = api_read_body(q, r, keys);
	const char *name, *image, *reason;
	char repository[256];
	struct workload *w;
	struct diag d = { 0 };
	int ret;

	if (o == NULL)
		return;
	if (!api_read_string(o, "workload", PEER_NAME_MAX, r, &name) ||
	    !api_read_string(o, "image", 1024, r, &image) ||
	    !api_read_string(o, "reason", EDGE_REASON_MAX, r, &reason))
		goto out;
	w = name != NULL ? workload_find(q->c, name) : NULL;
	if (reason == NULL || *reason == '\0') {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "a decision needs a reason");
	} else if (image == NULL || image_acceptable(image, repository) < 0) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "image: expected an image's repository, or its whole id (sha256:...)");
	} else if (w == NULL || !workload_selected(q->c, w->name)) {
		api_fail(r, MHD_HTTP_NOT_FOUND, NULL, "no such workload");
	} else {
		ret = segment_set_image(q->c, w, repository, accepted, reason, &q->who, &d);
		if (ret < 0)
			api_fail_change(r, ret, &d);
		else
			r->json = json_pack("{s:o, s:s, s:I}", "workload", json_text(w->name),
			    "image", repository, "revision", (json_int_t)q->c->revision);
	}
out:
	json_decref(o);
}

static void
post_image_approve(const struct api_request *q, struct api_reply *r)
{
	post_image(q, r, true);
}

static void
post_image_deny(const struct api_request *q, struct api_reply *r)
{
	post_image(q, r, false);
}

struct policy *
api_read_policy(const struct api_request *q, struct api_reply *r)
{
	struct policy *p = NULL;
	struct diag d = { 0 };

	if (policy_parse_apart(q->body, q->body_len, &d, &p) < 0)
		api_fail(r, MHD_HTTP_UNPROCESSABLE_CONTENT, &d, "%s", d.msg);
	return p;
}

static void
post_validate(const struct api_request *q, struct api_reply *r)
{
	_cleanup_(policy_free_apart) struct policy *p = api_read_policy(q, r);

	if (p != NULL)
		r->json = json_pack("{s:I, s:I, s:I}", "workloads", (json_int_t)p->n_workloads,
		    "edges", (json_int_t)p->n_edges, "networks", (json_int_t)p->n_networks);
}

static void
post_apply(const struct api_request *q, struct api_reply *r)
{
	const char *expected = api_arg(q, "expectedRevision"), *reason = api_arg(q, "reason");
	const char *confirm = api_arg(q, "confirmSeconds");
	_cleanup_(policy_free_apart) struct policy *p = NULL;
	unsigned long long number = 0, seconds = 0;
	struct diag d = { 0 };
	char *end;
	int ret;

	if (expected != NULL) {
		number = strtoull(expected, &end, 10);
		if (*expected < '0' || *expected > '9' || *end != '\0') {
			api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
			    "expectedRevision: expected a whole number");
			return;
		}
		/* What was made from nothing is not for something that came to be since. */
		if (number == 0 && q->c->revision != 0) {
			api_fail(r, MHD_HTTP_CONFLICT, NULL,
			    "the policy was made from revision 0, but revision %llu is in force",
			    (unsigned long long)q->c->revision);
			return;
		}
	}
	if (confirm != NULL) {
		seconds = strtoull(confirm, &end, 10);
		if (!check_confirm(
			*confirm < '0' || *confirm > '9' || *end != '\0' || seconds > INT32_MAX
			    ? -1
			    : (json_int_t)seconds,
			r))
			return;
	}
	if (reason != NULL && strlen(reason) > EDGE_REASON_MAX) {
		api_fail(
		    r, MHD_HTTP_BAD_REQUEST, NULL, "reason: at most %d bytes", EDGE_REASON_MAX);
		return;
	}
	p = api_read_policy(q, r);
	if (p == NULL)
		return;
	ret = segment_apply_policy(q->c, p, number, seconds * NSEC_PER_SEC,
	    reason != NULL ? reason : "policy apply", &q->who, &d);
	if (ret < 0)
		api_fail_change(r, ret, &d);
	else
		r->json =
		    json_pack("{s:I, s:I, s:o}", "revision", (json_int_t)q->c->revision, "ignored",
			(json_int_t)segment_count_foreign(q->c, p), "confirm", json_confirm(q->c));
}

const struct api_route api_write_routes[] = {
	{ "POST", "/v1/edges/approve", API_REVIEWER, post_approve, API_CHANGE },
	{ "POST", "/v1/edges/deny", API_REVIEWER, post_deny, API_CHANGE },
	{ "POST", "/v1/edges/recertify", API_REVIEWER, post_recertify, API_CHANGE },
	{ "POST", "/v1/images/approve", API_REVIEWER, post_image_approve, API_CHANGE },
	{ "POST", "/v1/images/deny", API_REVIEWER, post_image_deny, API_CHANGE },
	{ "POST", "/v1/mode", API_ADMIN, post_mode, API_CHANGE },
	{ "POST", "/v1/gate", API_ROOT, gate_post, API_AT_ONCE },
	{ "POST", "/v1/policy/validate", API_VIEWER, post_validate, API_APART },
	{ "POST", "/v1/policy/apply", API_ADMIN, post_apply, API_CHANGE },
	{ "POST", "/v1/simulate", API_VIEWER, whatif_post, API_APART },
	{ NULL, NULL, API_VIEWER, NULL, API_AT_ONCE },
};
