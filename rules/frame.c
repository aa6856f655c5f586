/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame parser. Every layer gets a cursor over the bytes that are left and either narrows it
 * and hands on, or ends. Invariants: nothing is read beyond the cursor's end; the cursor only ever
 * shrinks; the result is written once, at the end, on success.
 *
 * A frame may be cut by the capture's snapshot length. What is missing because of that is not
 * malformed, so lengths inside the packet are compared with each other, and only the bytes up to
 * the ports are demanded of the capture.
 */
#include "rules/frame.h"

#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IP6 0x86dd
#define ETHERTYPE_PPPOE 0x8864
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_QINQ_OLD 0x9100

#define PPP_IP4 0x0021
#define PPP_IP6 0x0057

#define COOKED_OUTGOING 4
#define MAX_VLAN_TAGS 2
#define MAX_EXTENSIONS 8

/* The bytes that are left. pkt_len is what the packet says it has, len what was captured of it. */
struct cursor {
	const uint8_t *p;
	size_t len, pkt_len;
};

static uint16_t
be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t
be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Steps over n captured bytes. */
static bool
skip(struct cursor *c, size_t n)
{
	if (c->len < n || c->pkt_len < n)
		return false;
	c->p += n;
	c->len -= n;
	c->pkt_len -= n;
	return true;
}

/* The packet ends after n bytes; what follows is padding. */
static void
limit(struct cursor *c, size_t n)
{
	c->pkt_len = MIN(c->pkt_len, n);
	c->len = MIN(c->len, n);
}

static void
set_payload(const uint8_t *buf, const struct cursor *c, struct frame_info *f)
{
	f->payload_off = (uint32_t)(c->p - buf);
	f->payload_len = (uint32_t)c->len;
}

static int
parse_tcp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t header;

	if (c.pkt_len < 20 || c.len < 4)
		return -EBADMSG;
	f->tuple.sport = be16(c.p);
	f->tuple.dport = be16(c.p + 2);
	if (c.len < 14) {
		c.len = 0;
		set_payload(buf, &c, f);
		return 0;
	}
	header = (size_t)(c.p[12] >> 4) * 4;
	if (header < 20 || header > c.pkt_len)
		return -EBADMSG;
	f->tcp_flags = c.p[13];
	skip(&c, MIN(header, c.len));
	set_payload(buf, &c, f);
	return 0;
}

static int
parse_udp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t udp_len;

	if (c.pkt_len < 8 || c.len < 4)
		return -EBADMSG;
	f->tuple.sport = be16(c.p);
	f->tuple.dport = be16(c.p + 2);
	if (c.len >= 6) {
		udp_len = be16(c.p + 4);
		if (udp_len == 0 && f->tuple.src.family == 6)
			udp_len = c.pkt_len; /* RFC 2675: a jumbogram */
		if (udp_len < 8)
			return -EBADMSG;
		if (udp_len <= c.pkt_len)
			limit(&c, udp_len);
		else if (!(f->flags & FRAME_F_FIRST_FRAGMENT))
			return -EBADMSG;
	}
	skip(&c, MIN((size_t)8, c.len));
	set_payload(buf, &c, f);
	return 0;
}

static int
parse_sctp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.pkt_len < 12 || c.len < 4)
		return -EBADMSG;
	f->tuple.sport = be16(c.p);
	f->tuple.dport = be16(c.p + 2);
	skip(&c, MIN((size_t)12, c.len));
	set_payload(buf, &c, f);
	return 0;
}

static bool
icmp_has_id(uint8_t proto, uint8_t type)
{
	if (proto == IPPROTO_ICMPV6)
		return type == 128 || type == 129;
	/* Echo, timestamp, information and address mask, requests and replies. */
	return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

static int
parse_icmp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	bool has_id;

	/* Each belongs to one family; the kernel drops the other combination. */
	if ((f->tuple.proto == IPPROTO_ICMP) != (f->tuple.src.family == 4))
		return -EBADMSG;
	if (c.pkt_len < 4 || c.len < 4)
		return -EBADMSG;
	f->icmp_type = c.p[0];
	f->tuple.dport = be16(c.p);
	has_id = icmp_has_id(f->tuple.proto, f->icmp_type);
	if (has_id && (c.pkt_len < 8 || c.len < 6))
		return -EBADMSG;
	if (has_id) {
		f->icmp_id = be16(c.p + 4);
		f->tuple.sport = f->icmp_id;
	}
	skip(&c, MIN((size_t)8, c.len));
	set_payload(buf, &c, f);
	return 0;
}

static int
parse_transport(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	switch (f->tuple.proto) {
	case IPPROTO_TCP:
		return parse_tcp(buf, c, f);
	case IPPROTO_UDP:
		return parse_udp(buf, c, f);
	case IPPROTO_SCTP:
		return parse_sctp(buf, c, f);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return parse_icmp(buf, c, f);
	default:
		set_payload(buf, &c, f);
		return 0;
	}
}

static int
parse_ip4(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t header, total;
	uint16_t frag;

	if (c.len < 20 || c.p[0] >> 4 != 4)
		return -EBADMSG;
	header = (size_t)(c.p[0] & 0x0f) * 4;
	total = be16(c.p + 2);
	if (total == 0)
		total = c.pkt_len; /* a large packet before segmentation offload */
	if (header < 20 || total < header)
		return -EBADMSG;
	frag = be16(c.p + 6);
	f->tuple.proto = c.p[9];
	f->tuple.src = addr_from_v4(c.p + 12);
	f->tuple.dst = addr_from_v4(c.p + 16);
	limit(&c, total);
	if (!skip(&c, header))
		return -EBADMSG;
	if ((frag & 0x1fff) != 0)
		return -ENODATA;
	if (frag & 0x2000)
		f->flags |= FRAME_F_FIRST_FRAGMENT;
	return parse_transport(buf, c, f);
}

/* Steps over one extension header. 0 with *next set, or what ends the walk. */
static int
skip_extension(struct cursor *c, uint8_t *next, struct frame_info *f)
{
	uint8_t type = *next;
	uint16_t frag;
	size_t len;

	if (c->len < 8)
		return -EBADMSG;
	*next = c->p[0];
	len = 8 + (size_t)c->p[1] * 8;
	if (type == IPPROTO_FRAGMENT) {
		frag = be16(c->p + 2);
		if ((frag & 0xfff8) != 0)
			return -ENODATA;
		if (frag & 1)
			f->flags |= FRAME_F_FIRST_FRAGMENT;
		len = 8;
	} else if (type == IPPROTO_AH) {
		len = ((size_t)c->p[1] + 2) * 4;
	}
	return skip(c, len) ? 0 : -EBADMSG;
}

static bool
is_extension(uint8_t type)
{
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case 139: /* HIP */
	case 140: /* shim6 */
		return true;
	default:
		return false;
	}
}

static int
parse_ip6(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t next;
	size_t total;
	int r;

	if (c.len < 40 || c.p[0] >> 4 != 6)
		return -EBADMSG;
	next = c.p[6];
	f->tuple.src = addr_from_v6(c.p + 8);
	f->tuple.dst = addr_from_v6(c.p + 24);
	/* IPv4-mapped addresses never belong on a wire (RFC 4038 4.2); they would forge a tuple. */
	if (f->tuple.src.family != 6 || f->tuple.dst.family != 6)
		return -EBADMSG;
	total = be16(c.p + 4);
	skip(&c, 40);
	if (total != 0) /* 0: a jumbogram, or a large packet before segmentation offload */
		limit(&c, total);
	for (unsigned n = 0; is_extension(next); n++) {
		if (n == MAX_EXTENSIONS)
			return -EBADMSG;
		r = skip_extension(&c, &next, f);
		if (r < 0)
			return r;
	}
	if (next == IPPROTO_NONE)
		return -ENODATA;
	f->tuple.proto = next;
	return parse_transport(buf, c, f);
}

static int
parse_ip(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len < 1)
		return -EBADMSG;
	return c.p[0] >> 4 == 6 ? parse_ip6(buf, c, f) : parse_ip4(buf, c, f);
}

/* From the PPP protocol field on; the field may be compressed to one byte (RFC 1661). */
static int
parse_ppp_protocol(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t proto;
	size_t width;

	if (c.len < 1)
		return -EBADMSG;
	width = c.p[0] & 1 ? 1 : 2;
	if (c.len < width)
		return -EBADMSG;
	proto = width == 1 ? c.p[0] : be16(c.p);
	skip(&c, width);
	if (proto == PPP_IP4)
		return parse_ip4(buf, c, f);
	if (proto == PPP_IP6)
		return parse_ip6(buf, c, f);
	return -ENODATA;
}

static int
parse_ppp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len >= 2 && c.p[0] == 0xff && c.p[1] == 0x03)
		skip(&c, 2);
	return parse_ppp_protocol(buf, c, f);
}

static int
parse_pppoe(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t len;

	if (c.len < 6 || c.p[0] != 0x11)
		return -EBADMSG;
	if (c.p[1] != 0)
		return -ENODATA;
	len = be16(c.p + 4);
	skip(&c, 6);
	limit(&c, len);
	return parse_ppp_protocol(buf, c, f);
}

static int
parse_ethertype(const uint8_t *buf, struct cursor c, uint16_t type, struct frame_info *f)
{
	unsigned tags = 0;

	while (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ || type == ETHERTYPE_QINQ_OLD) {
		if (tags++ == MAX_VLAN_TAGS)
			return -ENODATA;
		if (c.len < 4)
			return -EBADMSG;
		type = be16(c.p + 2);
		skip(&c, 4);
	}
	switch (type) {
	case ETHERTYPE_IP4:
		return parse_ip4(buf, c, f);
	case ETHERTYPE_IP6:
		return parse_ip6(buf, c, f);
	case ETHERTYPE_PPPOE:
		return parse_pppoe(buf, c, f);
	default:
		return -ENODATA;
	}
}

static int
parse_ethernet(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t type;

	if (c.len < 14)
		return -EBADMSG;
	type = be16(c.p + 12);
	skip(&c, 14);
	return parse_ethertype(buf, c, type, f);
}

static int
parse_sll(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t type;

	if (c.len < 16)
		return -EBADMSG;
	if (be16(c.p) == COOKED_OUTGOING)
		f->flags |= FRAME_F_OUTGOING;
	type = be16(c.p + 14);
	skip(&c, 16);
	return parse_ethertype(buf, c, type, f);
}

static int
parse_sll2(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t type;

	if (c.len < 20)
		return -EBADMSG;
	type = be16(c.p);
	f->ifindex = be32(c.p + 4);
	if (c.p[10] == COOKED_OUTGOING)
		f->flags |= FRAME_F_OUTGOING;
	skip(&c, 20);
	return parse_ethertype(buf, c, type, f);
}

/* BSD loopback. A file from another machine may have either byte order; no family is above 255. */
static int
parse_loopback(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint32_t family;

	if (c.len < 4)
		return -EBADMSG;
	family = be32(c.p);
	if (family > 0xffff)
		family = __builtin_bswap32(family);
	skip(&c, 4);
	switch (family) {
	case 2:
		return parse_ip4(buf, c, f);
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* Darwin */
		return parse_ip6(buf, c, f);
	default:
		return -ENODATA;
	}
}

typedef int (*link_parser)(const uint8_t *buf, struct cursor c, struct frame_info *f);

static const struct {
	int linktype;
	link_parser parse;
} links[] = {
	{ FRAME_EN10MB, parse_ethernet },
	{ FRAME_SLL2, parse_sll2 },
	{ FRAME_SLL, parse_sll },
	{ FRAME_RAW, parse_ip },
	{ 14, parse_ip },  /* DLT_RAW of OpenBSD */
	{ 101, parse_ip }, /* LINKTYPE_RAW */
	{ FRAME_IPV4, parse_ip4 },
	{ FRAME_IPV6, parse_ip6 },
	{ FRAME_NULL, parse_loopback },
	{ FRAME_LOOP, parse_loopback },
	{ FRAME_PPP, parse_ppp },
};

static link_parser
link_find(int linktype)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (links[i].linktype == linktype)
			return links[i].parse;
	return NULL;
}

bool
frame_link_supported(int linktype)
{
	return link_find(linktype) != NULL;
}

int
frame_parse(int linktype, const uint8_t *buf, size_t len, struct frame_info *ret)
{
	link_parser parse = link_find(linktype);
	struct cursor c = { buf, len, SIZE_MAX };
	struct frame_info f;
	int r;

	if (parse == NULL || len > UINT32_MAX)
		return -EBADMSG;
	memset(&f, 0, sizeof(f));
	r = parse(buf, c, &f);
	if (r < 0)
		return r;
	*ret = f;
	return 0;
}
