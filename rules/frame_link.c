/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Link layers, down to where IP begins. See frame.c for the rules; a frame whose link says that it
 * carries something else than IP is -ENODATA, one that breaks its link's own form is -EBADMSG.
 * Formats: https://www.tcpdump.org/linktypes.html
 */
#include "rules/frame_internal.h"

#include <errno.h>
#include <string.h>

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IP6 0x86dd
#define ETHERTYPE_MPLS 0x8847
#define ETHERTYPE_MPLS_UPSTREAM 0x8848
#define ETHERTYPE_PPPOE 0x8864
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_QINQ_OLD 0x9100
#define ETHERTYPE_MIN 0x0600 /* below: a length (IEEE 802.3) */

#define PPP_IP4 0x0021
#define PPP_IP6 0x0057

#define COOKED_OUTGOING 4
#define MAX_VLAN_TAGS 2
#define MAX_MPLS_LABELS 8

static int parse_ethertype(
    const uint8_t *buf, struct cursor c, uint16_t type, struct frame_info *f);

static uint16_t
le16(const uint8_t *p)
{
	return (uint16_t)(p[1] << 8 | p[0]);
}

static uint32_t
le32(const uint8_t *p)
{
	return (uint32_t)le16(p + 2) << 16 | le16(p);
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
		return frame_ip4(buf, c, f);
	if (proto == PPP_IP6)
		return frame_ip6(buf, c, f);
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

/* What is under the labels is not said; an IP packet tells by its version (RFC 4928 2.1). */
static int
parse_mpls(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	bool bottom = false;

	for (unsigned n = 0; !bottom; n++) {
		if (n == MAX_MPLS_LABELS)
			return -ENODATA;
		if (c.len < 4)
			return -EBADMSG;
		bottom = c.p[2] & 1;
		skip(&c, 4);
	}
	if (c.len < 1)
		return -EBADMSG;
	return c.p[0] >> 4 == 4 || c.p[0] >> 4 == 6 ? frame_ip(buf, c, f) : -ENODATA;
}

/* IEEE 802.2; only the SNAP header of RFC 1042 carries IP. */
static int
parse_llc(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	static const uint8_t snap[] = { 0xaa, 0xaa, 0x03, 0, 0, 0 };
	uint16_t type;

	if (c.len < 3)
		return -EBADMSG;
	if (c.len < 8 || memcmp(c.p, snap, sizeof(snap)) != 0)
		return -ENODATA;
	type = be16(c.p + 6);
	skip(&c, 8);
	return parse_ethertype(buf, c, type, f);
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
		return frame_ip4(buf, c, f);
	case ETHERTYPE_IP6:
		return frame_ip6(buf, c, f);
	case ETHERTYPE_PPPOE:
		return parse_pppoe(buf, c, f);
	case ETHERTYPE_MPLS:
	case ETHERTYPE_MPLS_UPSTREAM:
		return parse_mpls(buf, c, f);
	default:
		break;
	}
	if (type >= ETHERTYPE_MIN)
		return -ENODATA;
	limit(&c, type);
	return parse_llc(buf, c, f);
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

/* From an address family that some system wrote. */
static int
parse_family(const uint8_t *buf, struct cursor c, uint32_t family, struct frame_info *f)
{
	switch (family) {
	case 2:
		return frame_ip4(buf, c, f);
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* Darwin */
		return frame_ip6(buf, c, f);
	default:
		return -ENODATA;
	}
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
	return parse_family(buf, c, family, f);
}

static int
parse_enc(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint32_t family;

	if (c.len < 12)
		return -EBADMSG;
	family = be32(c.p);
	if (family > 0xffff)
		family = __builtin_bswap32(family);
	skip(&c, 12);
	return parse_family(buf, c, family, f);
}

static int
parse_pflog(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t family;

	if (c.len < 2)
		return -EBADMSG;
	family = c.p[1];
	if (!skip(&c, ((size_t)c.p[0] + 3) & ~(size_t)3))
		return -EBADMSG;
	return parse_family(buf, c, family, f);
}

static int
parse_chdlc(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t type;

	if (c.len < 4)
		return -EBADMSG;
	type = be16(c.p + 2);
	skip(&c, 4);
	return parse_ethertype(buf, c, type, f);
}

/* PPP in HDLC-like framing, or Cisco's HDLC: the first byte tells. */
static int
parse_ppp_serial(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len >= 1 && (c.p[0] == 0x0f || c.p[0] == 0x8f))
		return parse_chdlc(buf, c, f);
	return parse_ppp(buf, c, f);
}

/* RFC 2427, with the usual two bytes of address. */
static int
parse_frame_relay(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t nlpid;

	if (c.len < 4 || c.p[2] != 0x03)
		return -EBADMSG;
	nlpid = c.p[3];
	skip(&c, 4);
	if (nlpid == 0xcc)
		return frame_ip4(buf, c, f);
	return nlpid == 0x8e ? frame_ip6(buf, c, f) : -ENODATA;
}

static int
parse_fddi(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return skip(&c, 13) ? parse_llc(buf, c, f) : -EBADMSG;
}

static int
parse_token_ring(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t routing = 0;

	if (c.len < 15)
		return -EBADMSG;
	if (c.p[8] & 0x80)
		routing = c.p[14] & 0x1f;
	return skip(&c, 14 + routing) ? parse_llc(buf, c, f) : -EBADMSG;
}

static int
parse_ieee80211(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	bool qos, mesh_pair;
	size_t header = 24;

	if (c.len < 2)
		return -EBADMSG;
	if ((c.p[0] & 0x0c) != 0x08 || (c.p[0] & 0x40) || (c.p[1] & 0x40))
		return -ENODATA; /* not data, without data, or encrypted */
	qos = c.p[0] & 0x80;
	mesh_pair = (c.p[1] & 0x03) == 0x03;
	if (mesh_pair)
		header += 6;
	if (qos)
		header += c.p[1] & 0x80 ? 6 : 2;
	return skip(&c, header) ? parse_llc(buf, c, f) : -EBADMSG;
}

static int
parse_radiotap(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len < 8)
		return -EBADMSG;
	return skip(&c, le16(c.p + 2)) ? parse_ieee80211(buf, c, f) : -EBADMSG;
}

/* The Prism header, or AVS, which has its length in it. */
static int
parse_prism(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t header = 144;

	if (c.len < 8)
		return -EBADMSG;
	if ((be32(c.p) & 0xfffff000) == 0x80211000)
		header = be32(c.p + 4);
	return skip(&c, header) ? parse_ieee80211(buf, c, f) : -EBADMSG;
}

/* Per-packet information around another link type, which is not itself again. */
static int
parse_ppi(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	link_parser inner;

	if (c.len < 8)
		return -EBADMSG;
	inner = frame_link_find((int)le32(c.p + 4));
	if (!skip(&c, le16(c.p + 2)))
		return -EBADMSG;
	return inner == NULL || inner == parse_ppi ? -ENODATA : inner(buf, c, f);
}

/* Netfilter's log: attributes, in the byte order of the machine, which is nearly always little. */
static int
parse_nflog(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	const uint16_t payload = 9; /* NFULA_PAYLOAD */
	uint8_t family;

	if (c.len < 4 || c.p[1] != 0)
		return -EBADMSG;
	family = c.p[0];
	skip(&c, 4);
	while (c.len >= 4) {
		size_t len = le16(c.p);

		if (len < 4)
			return -EBADMSG;
		if ((le16(c.p + 2) & 0x7fff) == payload) {
			limit(&c, len);
			skip(&c, 4);
			return parse_family(buf, c, family, f);
		}
		if (!skip(&c, (len + 3) & ~(size_t)3))
			return -EBADMSG;
	}
	return -ENODATA;
}

static const struct {
	int linktype;
	link_parser parse;
} links[] = {
	{ FRAME_EN10MB, parse_ethernet },
	{ FRAME_SLL2, parse_sll2 },
	{ FRAME_SLL, parse_sll },
	{ FRAME_RAW, frame_ip },
	{ 14, frame_ip },  /* DLT_RAW of OpenBSD */
	{ 101, frame_ip }, /* LINKTYPE_RAW */
	{ FRAME_IPV4, frame_ip4 },
	{ FRAME_IPV6, frame_ip6 },
	{ FRAME_NULL, parse_loopback },
	{ FRAME_LOOP, parse_loopback },
	{ FRAME_PPP, parse_ppp },
	{ 50, parse_ppp_serial },
	{ 51, parse_pppoe }, /* DLT_PPP_ETHER */
	{ 6, parse_token_ring },
	{ 10, parse_fddi },
	{ 11, parse_llc }, /* DLT_ATM_RFC1483 */
	{ 100, parse_llc },
	{ 104, parse_chdlc },
	{ 105, parse_ieee80211 },
	{ 107, parse_frame_relay },
	{ 109, parse_enc },
	{ 117, parse_pflog },
	{ 119, parse_prism },
	{ 127, parse_radiotap },
	{ 163, parse_prism }, /* DLT_IEEE802_11_RADIO_AVS */
	{ 192, parse_ppi },
	{ 219, parse_mpls },
	{ 239, parse_nflog },
};

link_parser
frame_link_find(int linktype)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (links[i].linktype == linktype)
			return links[i].parse;
	return NULL;
}

bool
frame_link_supported(int linktype)
{
	return frame_link_find(linktype) != NULL;
}
