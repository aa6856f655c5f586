/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known about one edge: counters, times, sketches, and the edge's names in text. Owns no
 * table. Evidence only grows, and its merge is the same in any order.
 */
#include "rules/edge.h"

#include "rules/sketch.h"

#include <errno.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOURS_PER_WEEK 168
#define EPOCH_HOUR 72 /* 1970-01-01 00:00 UTC was a Thursday */

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{ EDGE_FLAG_VIA_HOST, "via-host" },
	{ EDGE_FLAG_MIDSTREAM, "midstream" },
	{ EDGE_FLAG_ONE_WAY, "one-way" },
	{ EDGE_FLAG_IMAGE_CHANGED, "image-changed" },
	{ EDGE_FLAG_AUTO, "auto" },
	{ EDGE_FLAG_WITHDRAWN, "withdrawn" },
	{ EDGE_FLAG_GENERALISED, "generalised" },
	{ EDGE_FLAG_ONE_END, "one-end" },
};

static const struct {
	enum edge_state state;
	const char *name;
} state_names[] = {
	{ EDGE_PENDING, "pending" },
	{ EDGE_APPROVED, "approved" },
	{ EDGE_DENIED, "denied" },
};

static uint64_t
add_saturated(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void
hashes_add(uint32_t hashes[static EDGE_SKETCH], uint8_t *n, uint32_t hash)
{
	*n = (uint8_t)sketch_add(hashes, *n, EDGE_SKETCH, hash);
}

static void
images_add(uint64_t images[static EDGE_IMAGES], uint64_t image)
{
	size_t at = 0;

	if (image == 0)
		return;
	while (at < EDGE_IMAGES && images[at] != 0 && images[at] < image)
		at++;
	if (at == EDGE_IMAGES || images[at] == image)
		return;
	memmove(&images[at + 1], &images[at], (EDGE_IMAGES - 1 - at) * sizeof(images[0]));
	images[at] = image;
}

static void
times_add(struct edge_evidence *ev, uint64_t first_ns, uint64_t last_ns)
{
	if (first_ns != 0 && (ev->first_seen_ns == 0 || first_ns < ev->first_seen_ns))
		ev->first_seen_ns = first_ns;
	if (last_ns > ev->last_seen_ns)
		ev->last_seen_ns = last_ns;
}

static void
bytes_add(struct edge_evidence *ev, uint64_t bytes)
{
	if (ev->bytes == EDGE_BYTES_UNKNOWN)
		ev->bytes = 0;
	ev->bytes = MIN(add_saturated(ev->bytes, bytes), EDGE_BYTES_UNKNOWN - 1);
}

void
edge_evidence_add(struct edge_evidence *ev, const struct edge_observation *o)
{
	unsigned hour =
	    (unsigned)((o->time_ns / NSEC_PER_SEC / 3600 + EPOCH_HOUR) % HOURS_PER_WEEK);

	if (o->end == EDGE_END_SOURCE)
		ev->connections_source = add_saturated(ev->connections_source, o->count);
	else
		ev->connections_destination = add_saturated(ev->connections_destination, o->count);
	ev->ends |= (uint8_t)o->end;
	times_add(ev, o->time_ns, o->time_ns);
	ev->hour_bits[hour / 8] |= (uint8_t)(1u << hour % 8);
	hashes_add(ev->instance_hash, &ev->n_instances, (uint32_t)hash_mix64(o->instance));
	hashes_add(ev->client_hash, &ev->n_clients, (uint32_t)addr_hash(&o->tuple.src, 0));
	images_add(ev->images[o->end == EDGE_END_DESTINATION], o->image);
}

void
edge_add_bytes(struct edge *e, uint64_t bytes, uint64_t time_ns)
{
	bytes_add(&e->evidence, bytes);
	times_add(&e->evidence, 0, time_ns);
	e->dirty = true;
}

void
edge_count_window(struct edge_evidence *ev)
{
	uint32_t hour = (uint32_t)(ev->last_seen_ns / (3600 * NSEC_PER_SEC));

	if (hour <= ev->last_window)
		return;
	ev->last_window = hour;
	if (ev->windows < UINT32_MAX)
		ev->windows++;
}

void
edge_evidence_merge(struct edge_evidence *into, const struct edge_evidence *from)
{
	times_add(into, from->first_seen_ns, from->last_seen_ns);
	into->connections_source =
	    add_saturated(into->connections_source, from->connections_source);
	into->connections_destination =
	    add_saturated(into->connections_destination, from->connections_destination);
	if (from->bytes != EDGE_BYTES_UNKNOWN)
		bytes_add(into, from->bytes);
	into->ends |= from->ends;
	/* Which hours they have in common is not known: at least so many. */
	into->windows = MAX(into->windows, from->windows);
	into->last_window = MAX(into->last_window, from->last_window);
	for (size_t i = 0; i < sizeof(into->hour_bits); i++)
		into->hour_bits[i] |= from->hour_bits[i];
	into->n_instances = (uint8_t)sketch_merge(into->instance_hash, into->n_instances,
	    EDGE_SKETCH, from->instance_hash, from->n_instances);
	into->n_clients = (uint8_t)sketch_merge(
	    into->client_hash, into->n_clients, EDGE_SKETCH, from->client_hash, from->n_clients);
	for (unsigned end = 0; end < 2; end++)
		for (unsigned i = 0; i < EDGE_IMAGES; i++)
			images_add(into->images[end], from->images[end][i]);
}

uint64_t
edge_instances_estimate(const struct edge_evidence *ev)
{
	return sketch_estimate(ev->instance_hash, ev->n_instances, EDGE_SKETCH);
}

uint64_t
edge_clients_estimate(const struct edge_evidence *ev)
{
	return sketch_estimate(ev->client_hash, ev->n_clients, EDGE_SKETCH);
}

uint64_t
edge_connections(const struct edge *e)
{
	return MAX(e->evidence.connections_source, e->evidence.connections_destination);
}

const char *
edge_flag_name(uint32_t single_flag)
{
	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if (flag_names[i].flag == single_flag)
			return flag_names[i].name;
	}
	return NULL;
}

const char *
edge_state_name(enum edge_state s)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_names); i++) {
		if (state_names[i].state == s)
			return state_names[i].name;
	}
	return NULL;
}

int
edge_state_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_names); i++) {
		if (strcmp(state_names[i].name, name) == 0)
			return (int)state_names[i].state;
	}
	return -EINVAL;
}

uint64_t
edge_key_number(const struct peer *from, const struct peer *to, uint8_t proto, uint16_t port_lo,
    uint16_t port_hi)
{
	char from_text[PEER_STRLEN], to_text[PEER_STRLEN], rest[32];
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;
	uint64_t number = 0;

	peer_format(from, from_text);
	peer_format(to, to_text);
	snprintf(rest, sizeof(rest), "%u %u-%u", proto, port_lo, port_hi);

	/* The terminators go in too: names hold any byte but NUL, so no two keys give one text. */
	sha256_init(&sha);
	sha256_update(&sha, strlen(from_text) + 1, (const uint8_t *)from_text);
	sha256_update(&sha, strlen(to_text) + 1, (const uint8_t *)to_text);
	sha256_update(&sha, strlen(rest) + 1, (const uint8_t *)rest);
	sha256_digest(&sha, sizeof(digest), digest);
	for (unsigned i = 0; i < 6; i++)
		number = number << 8 | digest[i];
	return number;
}

void
edge_id_format(uint64_t number, char buf[static EDGE_ID_STRLEN])
{
	snprintf(buf, EDGE_ID_STRLEN, "e-%012" PRIx64, number);
}

int
edge_id_parse(const char *id, uint64_t *ret)
{
	uint64_t number = 0;

	if (id[0] != 'e' || id[1] != '-')
		return -EINVAL;
	for (unsigned i = 2; i < 14; i++) {
		unsigned digit;

		if (id[i] >= '0' && id[i] <= '9')
			digit = (unsigned)(id[i] - '0');
		else if (id[i] >= 'a' && id[i] <= 'f')
			digit = (unsigned)(id[i] - 'a') + 10;
		else
			return -EINVAL;
		number = number << 4 | digit;
	}
	if (id[14] != '\0')
		return -EINVAL;
	*ret = number;
	return 0;
}

int
edge_see_as(struct edge *e, const struct server_name *name)
{
	bool more;
	int r;

	if (e->seen_as == NULL)
		e->seen_as = calloc(1, sizeof(*e->seen_as));
	if (e->seen_as == NULL)
		return -ENOMEM;
	more = e->seen_as->more;
	r = seen_as_add(e->seen_as, name);
	e->dirty |= r == 1 || e->seen_as->more != more;
	return r;
}
