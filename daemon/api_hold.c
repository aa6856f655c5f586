/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking changes back: confirm and rollback. Holding and releasing. Verifying. */
#include "daemon/api.h"
#include "daemon/quarantine.h"
#include "daemon/verify.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

/* {revision?, reason?}; the revision is -1 if it is not given. NULL after filling r. */
static json_t *
read_revision(const struct api_request *q, struct api_reply *r, json_int_t *ret_revision,
    const char **ret_reason)
{
	static const char *const keys[] = { "revision", "reason", NULL };
	json_t *o = api_read_body(q, r, keys);
	const json_t *revision = json_object_get(o, "revision");

	if (o == NULL)
		return NULL;
	*ret_revision = revision != NULL ? json_integer_value(revision) : -1;
	if (revision != NULL && (!json_is_integer(revision) || *ret_revision < 0))
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "revision: expected a whole number");
	else if (api_read_string(o, "reason", EDGE_REASON_MAX, r, ret_reason))
		return o;
	json_decref(o);
	return NULL;
}

static void
post_confirm(const struct api_request *q, struct api_reply *r)
{
	const char *reason = NULL;
	struct diag d = { 0 };
	json_int_t revision;
	json_t *o = read_revision(q, r, &revision, &reason);
	int ret;

	if (o == NULL)
		return;
	ret = confirm_accept(q->c, revision > 0 ? (uint64_t)revision : 0, reason, &q->who, &d);
	json_decref(o);
	if (ret < 0)
		api_fail_change(r, ret, &d);
	else
		r->json = json_pack("{s:I}", "revision", (json_int_t)q->c->revision);
}

static void
post_rollback(const struct api_request *q, struct api_reply *r)
{
	struct controller *c = q->c;
	const char *reason = NULL;
	struct diag d = { 0 };
	json_int_t revision;
	json_t *o = read_revision(q, r, &revision, &reason);
	int ret;

	if (o == NULL)
		return;
	if (revision < 0)
		revision = (json_int_t)(c->confirm.pending ? c->confirm.previous : c->revision - 1);
	if (c->revision == 0) {
		api_fail(r, MHD_HTTP_CONFLICT, NULL, "there is nothing to roll back yet");
	} else {
		ret = confirm_roll_back(c, (uint64_t)revision, reason, &q->who, &d);
		if (ret < 0)
			api_fail_change(r, ret, &d);
		else
			r->json = json_pack(
			    "{s:I, s:I}", "revision", (json_int_t)c->revision, "as", revision);
	}
	json_decref(o);
}

static void
get_quarantine(const struct api_request *q, struct api_reply *r)
{
	r->json = json_quarantines(q->c, api_arg(q, "released") != NULL);
}

/* target and reason; NULL after filling r. */
static json_t *
read_target(const struct api_request *q, struct api_reply *r, const char **ret_target,
    const char **ret_reason)
{
	static const char *const keys[] = { "target", "reason", "allowFrom", NULL };
	json_t *o = api_read_body(q, r, keys);

	if (o == NULL)
		return NULL;
	if (!api_read_string(o, "target", PEER_STRLEN, r, ret_target) ||
	    !api_read_string(o, "reason", EDGE_REASON_MAX, r, ret_reason)) {
		json_decref(o);
		return NULL;
	}
	if (*ret_target == NULL || *ret_reason == NULL || **ret_reason == '\0') {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "expected a target and a reason");
		json_decref(o);
		return NULL;
	}
	return o;
}

static void
post_quarantine(const struct api_request *q, struct api_reply *r)
{
	const char *target = NULL, *reason = NULL, *allow[QUARANTINE_MAX_ALLOW];
	json_t *o = read_target(q, r, &target, &reason);
	const json_t *list = json_object_get(o, "allowFrom");
	size_t n = json_array_size(list);
	struct diag d = { 0 };
	int ret;

	if (o == NULL)
		return;
	if ((list != NULL && !json_is_array(list)) || n > ARRAY_SIZE(allow)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "allowFrom: expected at most %zu peers",
		    ARRAY_SIZE(allow));
	} else {
		for (size_t i = 0; i < n; i++)
			allow[i] = json_string_value(json_array_get(list, i));
		ret = quarantine_add(q->c, target, reason, allow, n, &q->who, &d);
		if (ret < 0)
			api_fail_change(r, ret, &d);
		else
			r->json = json_pack("{s:b}", "quarantined", 1);
	}
	json_decref(o);
}

static void
post_release(const struct api_request *q, struct api_reply *r)
{
	const char *target = NULL, *reason = NULL;
	json_t *o = read_target(q, r, &target, &reason);
	struct diag d = { 0 };
	int ret;

	if (o == NULL)
		return;
	ret = quarantine_release(q->c, target, reason, &q->who, &d);
	if (ret < 0)
		api_fail_change(r, ret, &d);
	else
		r->json = json_pack("{s:b}", "released", 1);
	json_decref(o);
}

static void
get_verify(const struct api_request *q, struct api_reply *r)
{
	r->json = verify_to_json(q->c);
}

/* {plan?, max?} */
static void
post_verify(const struct api_request *q, struct api_reply *r)
{
	static const char *const keys[] = { "plan", "max", NULL };
	json_t *o = api_read_body(q, r, keys);
	const json_t *max = json_object_get(o, "max"), *plan = json_object_get(o, "plan");
	json_int_t n = max != NULL ? json_integer_value(max) : VERIFY_DEFAULT;
	int ret;

	if (o == NULL)
		return;
	if (n < 1 || n > VERIFY_MAX || (plan != NULL && !json_is_boolean(plan))) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "expected {plan?: true, max?: 1 to %d}",
		    VERIFY_MAX);
	} else {
		ret = verify_start(q->c, (uint32_t)n, json_is_true(plan), &q->who);
		if (ret < 0)
			api_fail(r,
			    ret == -EBUSY ? MHD_HTTP_CONFLICT : MHD_HTTP_SERVICE_UNAVAILABLE, NULL,
			    "%s", ret == -EBUSY ? "a verification runs" : strerror(-ret));
		else
			r->json = verify_to_json(q->c);
	}
	json_decref(o);
}

const struct api_route api_hold_routes[] = {
	{ "GET", "/v1/verify", API_VIEWER, get_verify, API_AT_ONCE },
	{ "POST", "/v1/verify", API_REVIEWER, post_verify, API_AT_ONCE },
	{ "GET", "/v1/quarantine", API_VIEWER, get_quarantine, API_AT_ONCE },
	{ "POST", "/v1/quarantine", API_ADMIN, post_quarantine, API_AT_ONCE },
	{ "POST", "/v1/release", API_ADMIN, post_release, API_AT_ONCE },
	{ "POST", "/v1/confirm", API_ADMIN, post_confirm, API_CHANGE },
	{ "POST", "/v1/rollback", API_ADMIN, post_rollback, API_CHANGE },
	{ NULL, NULL, API_VIEWER, NULL, API_AT_ONCE },
};
