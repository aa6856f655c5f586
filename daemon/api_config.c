/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration: which one is in force, and reading it again. */
#include "daemon/api.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

static void
get_config(const struct api_request *q, struct api_reply *r)
{
	r->json = reload_to_json(q->c);
}

/* Answered at once: `done` of GET says when the one asked for is over. */
static void
post_reload(const struct api_request *q, struct api_reply *r)
{
	static const char *const keys[] = { NULL };
	json_t *o = api_read_body(q, r, keys);
	uint32_t number;
	int ret;

	if (o == NULL)
		return;
	json_decref(o);
	ret = reload_ask(q->c, &q->who, &number);
	if (ret < 0)
		api_fail(r, ret == -EBUSY ? MHD_HTTP_CONFLICT : MHD_HTTP_SERVICE_UNAVAILABLE, NULL,
		    "%s", ret == -EBUSY ? "it is being read again already" : strerror(-ret));
	else
		r->json = json_pack("{s:I, s:o}", "number", (json_int_t)number, "started",
		    json_time(q->c->started_ns));
}

const struct api_route api_config_routes[] = {
	{ "GET", "/v1/config", API_VIEWER, get_config, API_AT_ONCE },
	{ "POST", "/v1/reload", API_ADMIN, post_reload, API_AT_ONCE },
	{ NULL, NULL, API_VIEWER, NULL, API_AT_ONCE },
};
