/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame parser. Every layer gets a cursor over the bytes that are left and either narrows it
 * and hands on, or ends. Invariants: nothing is read beyond the cursor's end; the cursor only ever
 * shrinks; the result is written once, at the end, on success.
 *
 * A frame may be cut by the capture's snapshot length. What is missing because of that is not
 * malformed, so lengths inside the packet are compared with each other, and only the bytes up to
 * the ports are demanded of the capture. A first fragment of TCP needs its flags, no more.
 */
#include "rules/frame_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define UNREACHABLE_V4 3
#define UNREACHABLE_V6 1
#define FRAGMENTATION_NEEDED 4 /* the packet was too large; a smaller one gets there */

static void
set_payload(const uint8_t *buf, const struct cursor *c, struct frame_info *f)
{
	f->payload_off = (uint32_t)(c->p - buf);
	f->payload_len = (uint32_t)c->len;
}

static int
parse_tcp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	bool cut = f->flags & FRAME_F_FIRST_FRAGMENT;
	size_t header;

	if (c.pkt_len < (cut ? 14 : 20) || c.len < 4)
		return -EBADMSG;
	f->tuple.sport = be16(c.p);
	f->tuple.dport = be16(c.p + 2);
	if (c.len < 14) {
		c.len = 0;
		set_payload(buf, &c, f);
		return 0;
	}
	header = (size_t)(c.p[12] >> 4) * 4;
	if (header < 20 || (header > c.pkt_len && !cut))
		return -EBADMSG;
	f->tcp_flags = c.p[13];
	f->tcp_seq = be32(c.p + 4);
	f->tcp_ack = be32(c.p + 8);
	skip(&c, MIN(header, c.len));
	set_payload(buf, &c, f);
	return 0;
}

/* More than the packet has may have been cut by whoever rewrote the capture. */
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
		limit(&c, udp_len);
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

int
frame_ip4(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t header, total;
	uint16_t frag;
	int r;

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
	while (f->tuple.proto == IPPROTO_AH) {
		r = skip_extension(&c, &f->tuple.proto, f);
		if (r < 0)
			return r;
	}
	return parse_transport(buf, c, f);
}

int
frame_ip6(const uint8_t *buf, struct cursor c, struct frame_info *f)
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
	while (is_extension(next)) { /* each is of 8 bytes or more */
		r = skip_extension(&c, &next, f);
		if (r < 0)
			return r;
	}
	if (next == IPPROTO_NONE)
		return -ENODATA;
	f->tuple.proto = next;
	return parse_transport(buf, c, f);
}

int
frame_ip(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len < 1)
		return -EBADMSG;
	return c.p[0] >> 4 == 6 ? frame_ip6(buf, c, f) : frame_ip4(buf, c, f);
}

int
frame_parse(int linktype, const uint8_t *buf, size_t len, struct frame_info *ret)
{
	link_parser parse = frame_link_find(linktype);
	struct cursor c = { buf, len, SIZE_MAX, false };
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

bool
frame_refuses(const struct frame_info *f, const uint8_t *frame, struct frame_info *ret)
{
	const bool v4 = f->tuple.proto == IPPROTO_ICMP;
	struct frame_info quoted;

	if (!proto_is_icmp(f->tuple.proto) ||
	    f->icmp_type != (v4 ? UNREACHABLE_V4 : UNREACHABLE_V6) ||
	    (v4 && (uint8_t)f->tuple.dport == FRAGMENTATION_NEEDED) ||
	    frame_parse(FRAME_RAW, frame + f->payload_off, f->payload_len, &quoted) < 0 ||
	    !proto_has_port(quoted.tuple.proto))
		return false;
	*ret = quoted;
	return true;
}
