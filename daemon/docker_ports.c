/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A published range comes as one entry a port and address family, in no order: ten thousand of
 * them are one range again here.
 */
#include "config.h"
#include "daemon/docker.h"

#include "rules/addr.h"
#include "rules/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 16384

struct port {
	char address[ADDR_STRLEN]; /* "": every one of the host */
	const char *proto;
	json_int_t host, container;
};

static int
port_cmp(const void *x, const void *y)
{
	const struct port *a = x, *b = y;
	int r = strcmp(a->proto, b->proto);

	if (r == 0)
		r = strcmp(a->address, b->address);
	if (r == 0)
		r = (a->host > b->host) - (a->host < b->host);
	return r;
}

static bool
is_any(const struct addr *a)
{
	static const uint8_t zero[sizeof(a->bytes)];

	return memcmp(a->bytes, zero, sizeof(zero)) == 0;
}

/* 1: *ret is filled; 0: it is not published; -EBADMSG. */
static int
port_read(const json_t *o, struct port *ret)
{
	static const char *const protos[] = { "tcp", "udp", "sctp" };
	const char *type = json_string_value(json_object_get(o, "Type"));
	const char *ip = json_string_value(json_object_get(o, "IP"));
	struct port p = { .host = json_integer_value(json_object_get(o, "PublicPort")),
		.container = json_integer_value(json_object_get(o, "PrivatePort")) };
	struct addr a;

	if (json_object_get(o, "PublicPort") == NULL || p.host == 0)
		return 0;
	for (size_t i = 0; type != NULL && i < ARRAY_SIZE(protos); i++)
		if (strcmp(type, protos[i]) == 0)
			p.proto = protos[i];
	if (p.proto == NULL || p.host < 1 || p.host > 65535 || p.container < 1 ||
	    p.container > 65535)
		return -EBADMSG;
	if (ip != NULL && *ip != '\0') {
		if (addr_parse(ip, &a) < 0)
			return -EBADMSG;
		if (!is_any(&a))
			addr_format(&a, p.address);
	}
	*ret = p;
	return 1;
}

static int
add_range(json_t *list, const struct port *p, json_int_t last)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I}", "proto", p->proto, "address", p->address,
	    "port", p->host, "last", last, "to", p->container);

	return o == NULL || json_array_append_new(list, o) < 0 ? -ENOMEM : 0;
}

/* Runs of ports that lead to runs of ports; *left_out grows by what there is no room for. */
static int
add_ranges(json_t *list, const struct port *p, size_t n, json_int_t *left_out)
{
	size_t end;

	for (size_t i = 0; i < n; i = end) {
		json_int_t last = p[i].host;

		for (end = i + 1; end < n; end++) {
			bool same = strcmp(p[end].proto, p[i].proto) == 0 &&
				    strcmp(p[end].address, p[i].address) == 0 &&
				    p[end].host - p[end].container == p[i].host - p[i].container;

			if (!same || p[end].host > last + 1)
				break;
			last = p[end].host;
		}
		if (json_array_size(list) >= DOCKER_MAX_PORTS)
			(*left_out)++;
		else if (add_range(list, &p[i], last) < 0)
			return -ENOMEM;
	}
	return 0;
}

int
docker_ports(const json_t *from, json_t **ret, json_int_t *ret_left_out)
{
	size_t count = MIN(json_array_size(from), (size_t)MAX_ENTRIES), n = 0;
	_cleanup_free_ struct port *ports = calloc(count + 1, sizeof(*ports));
	json_int_t left_out = (json_int_t)(json_array_size(from) - count);
	json_t *list = json_array();
	int r;

	for (size_t i = 0; ports != NULL && i < count; i++) {
		r = port_read(json_array_get(from, i), &ports[n]);
		if (r < 0)
			left_out++;
		else
			n += (size_t)r;
	}
	if (ports == NULL || list == NULL) {
		json_decref(list);
		return -ENOMEM;
	}
	qsort(ports, n, sizeof(*ports), port_cmp);
	if (add_ranges(list, ports, n, &left_out) < 0) {
		json_decref(list);
		return -ENOMEM;
	}
	*ret = list;
	*ret_left_out = left_out;
	return 0;
}
