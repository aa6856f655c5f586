/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OCSF 1.3, class Network Activity (4001), one event a line: for each edge that was seen a summary
 * of its traffic (activity 6), for each denial a refusal (activity 5).
 */
#include "cli/export.h"

#include "cli/bundle.h"
#include "cli/show.h"
#include "rules/flow.h"

#include <errno.h>
#include <string.h>

#define CLASS 4001
#define ACTIVITY_REFUSE 5
#define ACTIVITY_TRAFFIC 6

static json_int_t
millis(const json_t *o, const char *key)
{
	return (json_int_t)(bundle_time(o, key) / NSEC_PER_MSEC);
}

static json_t *
endpoint(const char *peer, const char *ip, int64_t port)
{
	const char *name = show_workload(peer);
	json_t *o = json_object();

	if (name != NULL)
		json_object_set_new(o, "svc_name", json_string(name));
	else
		json_object_set_new(o, "name", json_string(peer));
	/* A domain alone names no endpoint. */
	if (strncmp(peer, "fqdn:", 5) == 0)
		json_object_set_new(o, "domain", json_string(peer + 5));
	if (ip == NULL && strncmp(peer, "addr:", 5) == 0)
		ip = peer + 5;
	if (ip != NULL)
		json_object_set_new(o, "ip", json_string(ip));
	if (port >= 0)
		json_object_set_new(o, "port", json_integer(port));
	return o;
}

static json_t *
connection(const json_t *o)
{
	const char *name = show_text(o, "proto", "?");
	int number = proto_parse(name);
	json_t *c = json_pack("{s:s, s:i}", "protocol_name", name, "direction_id", 0);

	if (number >= 0)
		json_object_set_new(c, "protocol_num", json_integer(number));
	return c;
}

static json_t *
event(const json_t *b, const json_t *o, int activity, const char *count_key)
{
	bool refused = activity == ACTIVITY_REFUSE;
	bool audited = refused && strcmp(show_text(o, "verdict", ""), "audit") == 0;
	const json_t *host = show_in(b, "host");
	json_t *e = json_pack("{s:i, s:s, s:i, s:s, s:i, s:s, s:i, s:i, s:s}", "activity_id",
	    activity, "activity_name", refused ? "Refuse" : "Traffic", "category_uid", 4,
	    "category_name", "Network Activity", "class_uid", CLASS, "class_name",
	    "Network Activity", "type_uid", CLASS * 100 + activity, "severity_id", refused ? 2 : 1,
	    "severity", refused ? "Low" : "Informational");

	json_object_set_new(e, "time", json_integer(millis(o, "lastSeen")));
	json_object_set_new(e, "start_time", json_integer(millis(o, "firstSeen")));
	json_object_set_new(e, "end_time", json_integer(millis(o, "lastSeen")));
	json_object_set_new(e, "count", json_integer(MAX(show_int(o, count_key, 1), 1)));
	json_object_set_new(e, "metadata",
	    json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:[s, s]}", "version", "1.3.0", "uid",
		show_text(o, "id", "?"), "product", "name", "nanoseg", "vendor_name", "nanoseg",
		"version", show_text(host, "nanoseg", "?"), "profiles", "host",
		"security_control"));
	json_object_set_new(e, "device",
	    json_pack("{s:s, s:i}", "hostname", show_text(host, "name", "?"), "type_id", 1));
	json_object_set_new(
	    e, "src_endpoint", endpoint(show_text(o, "from", "?"), show_text(o, "src", NULL), -1));
	json_object_set_new(e, "dst_endpoint",
	    endpoint(show_text(o, "to", "?"), show_text(o, "dst", NULL), show_int(o, "port", -1)));
	json_object_set_new(e, "connection_info", connection(o));
	json_object_set_new(e, "action_id", json_integer(refused && !audited ? 2 : 1));
	json_object_set_new(e, "disposition_id", json_integer(refused && !audited ? 2 : 1));
	if (json_is_integer(json_object_get(o, "bytes")))
		json_object_set_new(
		    e, "traffic", json_pack("{s:I}", "bytes", (json_int_t)show_int(o, "bytes", 0)));
	json_object_set_new(e, "unmapped",
	    json_pack("{s:I, s:s, s:s?, s:s}", "revision", (json_int_t)show_int(b, "revision", 0),
		"evidenceSha256", bundle_digest(b), "state", show_text(o, "state", NULL), "edge",
		show_text(o, "edge", show_text(o, "id", "?"))));
	if (json_array_size(show_in(o, "seenAs")) > 0)
		json_object_set(
		    json_object_get(e, "unmapped"), "seenAs", json_object_get(o, "seenAs"));
	return e;
}

static int
print_event(json_t *e, FILE *f)
{
	int r = json_dumpf(e, f, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);

	json_decref(e);
	fputc('\n', f);
	return r < 0 && !ferror(f) ? -ENOMEM : 0;
}

int
export_ocsf(const json_t *b, FILE *f)
{
	const json_t *edges = show_in(b, "edges"), *denials = show_in(b, "denials");
	int r = 0;

	for (size_t i = 0; i < json_array_size(edges) && r == 0; i++) {
		const json_t *e = json_array_get(edges, i);

		if (bundle_time(e, "lastSeen") != 0)
			r = print_event(event(b, e, ACTIVITY_TRAFFIC, "connections"), f);
	}
	for (size_t i = 0; i < json_array_size(denials) && r == 0; i++)
		r = print_event(event(b, json_array_get(denials, i), ACTIVITY_REFUSE, "count"), f);
	return r;
}
