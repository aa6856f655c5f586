/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The contract's JSON forms of what this library has. A field that is not known is present and
 * null. */
#include "rules/json.h"

#include "rules/flow.h"
#include "rules/timefmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

json_t *
json_text(const char *text)
{
	char safe[4096];
	size_t len;

	if (text == NULL)
		return json_null();
	len = strlen(text);
	if (text_is_utf8(text, len))
		return json_string(text);
	text_escape(text, len, safe, sizeof(safe));
	return json_string(safe);
}

json_t *
json_time(uint64_t ns)
{
	char text[TIME_STRLEN + 8], whole[TIME_STRLEN];
	uint64_t rest = ns % NSEC_PER_SEC;

	if (ns == 0)
		return json_null();
	/* Milliseconds always, so that times sort as text. */
	time_format(ns - rest, whole);
	snprintf(text, sizeof(text), "%.19s.%03uZ", whole, (unsigned)(rest / NSEC_PER_MSEC));
	return json_string(text);
}

json_t *
json_peer(const struct peer_table *peers, peer_id id)
{
	const struct peer *p = peer_get(peers, id);
	char text[PEER_STRLEN];

	return p != NULL ? json_text(peer_format(p, text)) : json_null();
}

void
json_set_port(json_t *o, uint8_t proto, uint16_t lo, uint16_t hi)
{
	const char *name = proto_name(proto);
	char text[16];

	if (name != NULL) {
		json_object_set_new(o, "proto", json_string(name));
	} else {
		snprintf(text, sizeof(text), "%u", proto);
		json_object_set_new(o, "proto", json_string(text));
	}
	if (proto_is_icmp(proto)) {
		json_object_set_new(o, "type", json_integer(lo >> 8));
		if ((lo & 0xff) != 0)
			json_object_set_new(o, "code", json_integer(lo & 0xff));
	} else if (lo == hi) {
		json_object_set_new(o, "port", json_integer(lo));
	} else {
		snprintf(text, sizeof(text), "%u-%u", lo, hi);
		json_object_set_new(o, "ports", json_string(text));
	}
}

json_t *
json_flags(uint32_t flags)
{
	json_t *list = json_array();

	for (uint32_t bit = 1; bit != 0; bit <<= 1)
		if ((flags & bit) != 0 && edge_flag_name(bit) != NULL)
			json_array_append_new(list, json_string(edge_flag_name(bit)));
	return list;
}

/* What stood at one end of it, by the beginnings of the images' digests. */
static json_t *
json_images(const uint64_t images[static EDGE_IMAGES])
{
	json_t *list = json_array();
	char text[32];

	for (size_t i = 0; i < EDGE_IMAGES && images[i] != 0; i++) {
		snprintf(text, sizeof(text), "sha256:%016" PRIx64, images[i]);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

/* 42 hex digits, a byte for 8 hours of the week from Monday 00h UTC, the first in its lowest bit.
 */
static json_t *
json_hours(const uint8_t bits[static 21])
{
	char text[2 * 21 + 1];

	for (size_t i = 0; i < 21; i++)
		snprintf(text + 2 * i, 3, "%02x", bits[i]);
	return json_string(text);
}

/* All addresses of a prefix, or -1: more than a number of JSON can safely have. */
static json_int_t
prefix_size(const struct prefix *p)
{
	unsigned bits = (unsigned)addr_len(&p->addr) * 8 - p->len;

	return bits <= 52 ? (json_int_t)1 << bits : -1;
}

static json_t *
json_prefixes(const struct edge_extent *x)
{
	json_t *list = json_array();
	char text[PREFIX_STRLEN];

	for (unsigned f = 0; f < 2; f++)
		for (unsigned i = 0; i < x->n_prefixes[f]; i++)
			json_array_append_new(
			    list, json_string(prefix_format(&x->prefixes[f][i], text)));
	return list;
}

static bool
is_workload(const struct peer *p)
{
	return p != NULL && p->kind == PEER_WORKLOAD;
}

/* What it admits beside what was seen, null where it admits nothing else. */
static json_t *
json_covers(const struct peer_table *peers, const struct edge *e)
{
	const struct peer *to = peer_get(peers, e->key.to), *from = peer_get(peers, e->key.from);
	const struct peer *wide = to != NULL && peer_is_wide(to) ? to : from;
	const struct edge_extent *x = e->extent;
	bool range = e->key.port_lo != e->key.port_hi, is_wide = wide != NULL && peer_is_wide(wide);
	bool replicas = is_workload(from) || is_workload(to);
	json_int_t size;
	json_t *o;

	if (!range && !is_wide && !replicas)
		return json_null();
	o = json_object();
	json_object_set_new(
	    o, "ports", json_integer((json_int_t)e->key.port_hi - e->key.port_lo + 1));
	json_object_set_new(o, "portsSeen",
	    !range	? json_integer(1)
	    : x != NULL ? json_integer((json_int_t)extent_ports(x))
			: json_null());
	size = is_wide && wide->kind == PEER_CIDR ? prefix_size(&wide->prefix) : -1;
	json_object_set_new(o, "addresses", size > 0 ? json_integer(size) : json_null());
	json_object_set_new(o, "addressesSeen",
	    is_wide && x != NULL ? json_integer((json_int_t)extent_addrs(x)) : json_null());
	json_object_set_new(
	    o, "prefixesSeen", is_wide && x != NULL ? json_prefixes(x) : json_null());
	json_object_set_new(o, "instancesSeen",
	    replicas ? json_integer((json_int_t)edge_instances_estimate(&e->evidence))
		     : json_null());
	return o;
}

/* What connections of it called the server. Claims: they name the kind of packet that made them. */
static json_t *
json_seen_as(const struct seen_as *s)
{
	json_t *list = json_array();

	for (unsigned i = 0; s != NULL && i < s->n; i++)
		json_array_append_new(
		    list, json_pack("{s:s, s:o}", "by", server_name_kind(s->v[i].kind), "name",
			      json_text(s->v[i].name)));
	return list;
}

json_t *
json_edge(const struct peer_table *peers, const struct edge *e)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_string(e->id));
	json_object_set_new(o, "from", json_peer(peers, e->key.from));
	json_object_set_new(o, "to", json_peer(peers, e->key.to));
	json_set_port(o, e->key.proto, e->key.port_lo, e->key.port_hi);
	json_object_set_new(o, "state", json_string(edge_state_name(e->state)));
	json_object_set_new(o, "flags", json_flags(e->flags));
	json_object_set_new(o, "connections", json_integer((json_int_t)edge_connections(e)));
	json_object_set_new(o, "bytes",
	    e->evidence.bytes == UINT64_MAX ? json_null()
					    : json_integer((json_int_t)e->evidence.bytes));
	json_object_set_new(o, "firstSeen", json_time(e->evidence.first_seen_ns));
	json_object_set_new(o, "lastSeen", json_time(e->evidence.last_seen_ns));
	json_object_set_new(o, "images",
	    json_pack("{s:o, s:o}", "from", json_images(e->evidence.images[0]), "to",
		json_images(e->evidence.images[1])));
	json_object_set_new(
	    o, "instances", json_integer((json_int_t)edge_instances_estimate(&e->evidence)));
	json_object_set_new(
	    o, "clients", json_integer((json_int_t)edge_clients_estimate(&e->evidence)));
	json_object_set_new(o, "hours", json_hours(e->evidence.hour_bits));
	json_object_set_new(o, "covers", json_covers(peers, e));
	json_object_set_new(o, "seenAs", json_seen_as(e->seen_as));
	json_object_set_new(o, "seenAsMore", json_boolean(e->seen_as != NULL && e->seen_as->more));
	if (e->state != EDGE_PENDING) {
		json_object_set_new(o, "reason", json_text(e->decision.reason));
		json_object_set_new(o, "ticket", json_text(e->decision.ticket));
		json_object_set_new(o, "approvedBy", json_text(e->decision.approved_by));
		json_object_set_new(o, "decided", json_time(e->decision.decided_ns));
		json_object_set_new(o, "expires", json_time(e->decision.expires_ns));
		json_object_set_new(o, "keptBy", json_text(e->decision.kept_by));
		json_object_set_new(o, "kept", json_time(e->decision.kept_ns));
	}
	return o;
}
