/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rules/tunnel.h. Ports are those that IANA has registered, or that the software comes with. */
#include "rules/tunnel.h"

#include "rules/util.h"

#include <netinet/in.h>

/*
 * The destination's port below this is a service's: a client that has a tunnel's port by chance,
 * and asks one, is no tunnel.
 */
#define SERVICE_PORTS 1024

static const struct {
	uint8_t proto;
	uint16_t port; /* 0: the protocol has none */
	const char *kind;
} kinds[] = {
	{ IPPROTO_IPIP, 0, "ipip" },
	{ IPPROTO_IPV6, 0, "ipv6-in-ip" },
	{ IPPROTO_GRE, 0, "gre" },
	{ IPPROTO_ESP, 0, "esp" },
	{ 55, 0, "minimal-ip-in-ip" }, /* RFC 2004 */
	{ 97, 0, "etherip" },
	{ 115, 0, "l2tpv3" },
	{ 137, 0, "mpls-in-ip" },
	{ IPPROTO_UDP, 1194, "openvpn" },
	{ IPPROTO_UDP, 1701, "l2tp" },
	{ IPPROTO_UDP, 2152, "gtp-u" },
	{ IPPROTO_UDP, 2268, "amt" },
	{ IPPROTO_UDP, 3544, "teredo" },
	{ IPPROTO_UDP, 4341, "lisp" },
	{ IPPROTO_UDP, 4500, "ipsec-nat-t" },
	{ IPPROTO_UDP, 4754, "gre-in-udp" },
	{ IPPROTO_UDP, 4789, "vxlan" },
	{ IPPROTO_UDP, 4790, "vxlan-gpe" },
	{ IPPROTO_UDP, 5246, "capwap-control" },
	{ IPPROTO_UDP, 5247, "capwap-data" },
	{ IPPROTO_UDP, 6080, "gue" },
	{ IPPROTO_UDP, 6081, "geneve" },
	{ IPPROTO_UDP, 6635, "mpls-in-udp" },
	{ IPPROTO_UDP, 8472, "vxlan" }, /* Linux's own, before there was a number */
	{ IPPROTO_UDP, 37008, "tzsp" },
	{ IPPROTO_UDP, 51820, "wireguard" },
};

static const char *
kind_of(uint8_t proto, uint16_t port)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].proto == proto && kinds[i].port == port)
			return kinds[i].kind;
	return NULL;
}

const char *
tunnel_kind(const struct tuple *t)
{
	bool ports = proto_has_port(t->proto);
	const char *kind = kind_of(t->proto, ports ? t->dport : 0);

	if (kind == NULL && ports && t->dport >= SERVICE_PORTS)
		kind = kind_of(t->proto, t->sport);
	return kind;
}
