/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One edge of the policy file. */
#include "rules/policy_internal.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum edge_field {
	F_ID,
	F_FROM,
	F_TO,
	F_PROTO,
	F_PORT,
	F_TYPE,
	F_CODE,
	F_STATE,
	F_REASON,
	F_TICKET,
	F_EXPIRES,
	F_APPROVED_BY,
	F_EVIDENCE,
	F_COUNT_,
};

/* approvedBy and evidence are claims: shown in a file, never believed from one. */
static const struct read_key edge_keys[F_COUNT_] = {
	[F_ID] = { "id", false },
	[F_FROM] = { "from", true },
	[F_TO] = { "to", true },
	[F_PROTO] = { "proto", true },
	[F_PORT] = { "port", false },
	[F_TYPE] = { "type", false },
	[F_CODE] = { "code", false },
	[F_STATE] = { "state", true },
	[F_REASON] = { "reason", false },
	[F_TICKET] = { "ticket", false },
	[F_EXPIRES] = { "expires", false },
	[F_APPROVED_BY] = { "approvedBy", false },
	[F_EVIDENCE] = { "evidence", false },
};

static const char *const state_names[] = {
	[EDGE_PENDING] = "pending",
	[EDGE_APPROVED] = "approved",
	[EDGE_DENIED] = "denied",
};

static const struct {
	const char *name;
	uint8_t number;
} protos[] = {
	{ "tcp", IPPROTO_TCP },
	{ "udp", IPPROTO_UDP },
	{ "sctp", IPPROTO_SCTP },
	{ "icmp", IPPROTO_ICMP },
	{ "icmpv6", IPPROTO_ICMPV6 },
};

/* "A-B": 1, with any numbers that fit; anything else: 0. */
static int
range_split(const char *text, long *ret_lo, long *ret_hi)
{
	static const char digits[] = "0123456789";
	size_t a = strspn(text, digits), b;

	if (a == 0 || a > 9 || text[a] != '-')
		return 0;
	b = strspn(text + a + 1, digits);
	if (b == 0 || b > 9 || text[a + 1 + b] != '\0')
		return 0;
	*ret_lo = strtol(text, NULL, 10);
	*ret_hi = strtol(text + a + 1, NULL, 10);
	return 1;
}

static int
range_read(const struct reader *r, const struct slot *s, struct policy_edge *e)
{
	const char *text = json_string_value(s->value);
	char said[SHOWN_LEN];
	long lo, hi;

	if (*text != '\0' && strspn(text, "0123456789") == strlen(text))
		return read_fail(r, s, "a single port is a number: leave out the quotes");
	if (range_split(text, &lo, &hi) == 0)
		return read_fail(r, s,
		    "'%s' is not a port, expected a number (8080) or a range (\"8000-8010\")",
		    shown(text, said));
	if (lo < 1 || lo > 65535 || hi < 1 || hi > 65535)
		return read_fail(r, s, "port %ld is out of range, expected ports from 1 to 65535",
		    lo < 1 || lo > 65535 ? lo : hi);
	if (lo > hi)
		return read_fail(r, s, "the range %ld-%ld runs backwards, did you mean %ld-%ld?",
		    lo, hi, hi, lo);
	e->port_lo = (uint16_t)lo;
	e->port_hi = (uint16_t)hi;
	return 0;
}

static int
port_read(const struct reader *r, const struct slot *f, const struct slot *edge, const char *proto,
    struct policy_edge *e)
{
	const struct slot *port = &f[F_PORT];
	json_int_t v;

	for (size_t i = F_TYPE; i <= F_CODE; i++)
		if (f[i].value != NULL)
			return read_fail_key(
			    r, &f[i], "%s has no '%s', it has a 'port'", proto, edge_keys[i].key);
	if (port->value == NULL)
		return read_fail(r, edge,
		    "%s needs a 'port': a number (8080) or a range (\"8000-8010\")", proto);
	if (json_is_string(port->value))
		return range_read(r, port, e);
	if (!json_is_integer(port->value))
		return read_fail_type(r, port, "a port (8080) or a range (\"8000-8010\")");
	v = json_integer_value(port->value);
	if (v < 1 || v > 65535)
		return read_fail(r, port,
		    "port %" JSON_INTEGER_FORMAT " is out of range, expected 1 to 65535", v);
	e->port_lo = e->port_hi = (uint16_t)v;
	return 0;
}

static int
icmp_read(const struct reader *r, const struct slot *f, const struct slot *edge, const char *proto,
    struct policy_edge *e)
{
	int64_t type, code = 0;
	int rc;

	if (f[F_PORT].value != NULL)
		return read_fail_key(
		    r, &f[F_PORT], "%s has no 'port', it has a 'type' (and a 'code')", proto);
	if (f[F_TYPE].value == NULL)
		return read_fail(r, edge, "%s needs a 'type' from 0 to 255", proto);
	rc = read_int(r, &f[F_TYPE], "a type", 0, 255, &type);
	if (rc >= 0 && f[F_CODE].value != NULL)
		rc = read_int(r, &f[F_CODE], "a code", 0, 255, &code);
	if (rc < 0)
		return rc;
	e->port_lo = e->port_hi = (uint16_t)(type << 8 | code);
	return 0;
}

static int
proto_read(
    const struct reader *r, const struct slot *f, const struct slot *edge, struct policy_edge *e)
{
	const char *names[ARRAY_SIZE(protos)];
	size_t i;
	int rc;

	for (i = 0; i < ARRAY_SIZE(protos); i++)
		names[i] = protos[i].name;
	rc = read_choice(r, &f[F_PROTO], "protocol", names, ARRAY_SIZE(names), &i);
	if (rc < 0)
		return rc;
	e->proto = protos[i].number;
	if (e->proto == IPPROTO_ICMP || e->proto == IPPROTO_ICMPV6)
		return icmp_read(r, f, edge, names[i], e);
	return port_read(r, f, edge, names[i], e);
}

static int
ends_check(const struct reader *r, const struct slot *f, const struct slot *edge,
    const struct policy_edge *e)
{
	if (e->from.kind == PEER_MULTICAST)
		return read_fail(r, &f[F_FROM], "multicast can only be a destination");
	if (e->from.kind == PEER_INTERNET && e->to.kind == PEER_INTERNET)
		return read_fail(r, edge, "an edge from internet to internet: neither end is here");
	if (e->state != EDGE_PENDING && e->from.kind != PEER_WORKLOAD &&
	    e->to.kind != PEER_WORKLOAD)
		return read_fail(
		    r, edge, "neither end is a workload: no rule could follow from this edge");
	return 0;
}

static int
expires_read(const struct reader *r, const struct slot *s, uint64_t *ret)
{
	char said[SHOWN_LEN];
	const char *text;
	int rc;

	rc = read_text(r, s, "a time such as 2027-01-31T12:00:00Z", 64, &text);
	if (rc < 0)
		return rc;
	if (time_parse(text, ret) < 0 || *ret == 0)
		return read_fail(r, s,
		    "'%s' is not a time, expected one such as 2027-01-31T12:00:00Z",
		    shown(text, said));
	return 0;
}

static int
id_check(const struct reader *r, const struct slot *id, struct policy_edge *e)
{
	char said[SHOWN_LEN];
	const char *text;
	int rc;

	edge_id_format(edge_key_number(&e->from, &e->to, e->proto, e->port_lo, e->port_hi), e->id);
	if (id->value == NULL)
		return 0;
	rc = read_text(r, id, "an edge id", 64, &text);
	if (rc < 0)
		return rc;
	if (strcmp(text, e->id) == 0)
		return 0;
	return read_fail(r, id, "id '%s' is not this edge's, expected %s; or leave it out",
	    shown(text, said), e->id);
}

int
policy_edge_read(
    const struct reader *r, const struct slot *s, const struct policy *p, struct policy_edge *ret)
{
	struct slot f[F_COUNT_];
	unsigned col;
	size_t state;
	int rc;

	rc = read_object(r, s, "an edge", edge_keys, F_COUNT_, f);
	if (rc < 0)
		return rc;
	doc_item_place(r->doc, s->holder, s->index, &ret->line, &col);
	rc = policy_peer_read(r, &f[F_FROM], p, &ret->from);
	if (rc >= 0)
		rc = policy_peer_read(r, &f[F_TO], p, &ret->to);
	if (rc >= 0)
		rc = proto_read(r, f, s, ret);
	if (rc >= 0)
		rc = read_choice(
		    r, &f[F_STATE], "state", state_names, ARRAY_SIZE(state_names), &state);
	if (rc < 0)
		return rc;
	ret->state = (enum edge_state)state;
	rc = ends_check(r, f, s, ret);
	if (rc >= 0 && f[F_REASON].value != NULL)
		rc = read_text_dup(r, &f[F_REASON], "a reason", EDGE_REASON_MAX, &ret->reason);
	if (rc >= 0 && f[F_TICKET].value != NULL)
		rc = read_text_dup(r, &f[F_TICKET], "a ticket", POLICY_TICKET_MAX, &ret->ticket);
	if (rc >= 0 && f[F_EXPIRES].value != NULL)
		rc = expires_read(r, &f[F_EXPIRES], &ret->expires_ns);
	if (rc >= 0)
		rc = id_check(r, &f[F_ID], ret);
	return rc;
}
