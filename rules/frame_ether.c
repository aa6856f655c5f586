/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is between a wire and IP: Ethernet with its tags, IEEE 802.2, PPP, MPLS, and the links that
 * carry these. See frame.c for the rules; a frame whose link says that it carries something else
 * than IP is -ENODATA, one that breaks its link's own form is -EBADMSG.
 */
#include "rules/frame_internal.h"

#include <errno.h>
#include <string.h>

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_IP6 0x86dd
#define ETHERTYPE_MPLS 0x8847
#define ETHERTYPE_MPLS_UPSTREAM 0x8848
#define ETHERTYPE_PPPOE 0x8864
#define ETHERTYPE_BRIDGED 0x6558 /* a whole frame */
#define ETHERTYPE_MACSEC 0x88e5	 /* IEEE 802.1AE */
#define ETHERTYPE_NSH 0x894f	 /* RFC 8300 */
#define ETHERTYPE_MIN 0x0600	 /* below: a length (IEEE 802.3) */

#define MACSEC_ENCRYPTED 0x0c
#define MACSEC_HAS_SCI 0x20

enum {
	NSH_IP4 = 1,
	NSH_IP6 = 2,
	NSH_ETHERNET = 3,
	NSH_MPLS = 5,
};

#define PPP_IP4 0x0021
#define PPP_IP6 0x0057
#define PPP_MPLS 0x0281

#define LLC_SAP_IP 0x06
#define SNAP_BRIDGED 0x0080c2
#define SNAP_FCS 0x0001 /* Ethernet with its checksum behind, and without */
#define SNAP_NO_FCS 0x0007
#define ATM_PADDING 2 /* before a bridged frame (RFC 2684 5.2) */

#define NLPID_SNAP 0x80
#define NLPID_IP4 0xcc
#define NLPID_IP6 0x8e

#define COOKED_OUTGOING 4
#define COOKED_IEEE80211 801 /* hardware, as in linux/if_arp.h */
#define COOKED_PRISM 802
#define COOKED_RADIOTAP 803
#define COOKED_LLC 4 /* in place of an Ethernet type, as in linux/if_ether.h */

/* What is under the labels is not said; an IP packet tells by its version (RFC 4928 2.1). */
int
frame_mpls(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	bool bottom = false;

	while (!bottom) {
		if (c.len < 4)
			return -EBADMSG;
		bottom = c.p[2] & 1;
		skip(&c, 4);
	}
	if (c.len < 1)
		return -EBADMSG;
	return c.p[0] >> 4 == 4 || c.p[0] >> 4 == 6 ? frame_ip(buf, c, f) : -ENODATA;
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
	return proto == PPP_MPLS ? frame_mpls(buf, c, f) : -ENODATA;
}

int
frame_ppp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len >= 2 && c.p[0] == 0xff && c.p[1] == 0x03)
		skip(&c, 2);
	return parse_ppp_protocol(buf, c, f);
}

int
frame_pppoe(const uint8_t *buf, struct cursor c, struct frame_info *f)
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

/* pppd's and BSD's: the first byte of what PPP begins with is the direction. */
int
frame_pppd(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len >= 2 && c.p[0] <= 1 && c.p[1] == 0x03)
		skip(&c, 2);
	return frame_ppp(buf, c, f);
}

/* From the organisation's number of a SNAP header on. padding: before a bridged frame. */
static int
parse_snap(const uint8_t *buf, struct cursor c, size_t padding, struct frame_info *f)
{
	uint32_t who;
	uint16_t type;

	if (c.len < 5)
		return -ENODATA;
	who = be32(c.p) >> 8;
	type = be16(c.p + 3);
	if (who == 0 || who == 0x0000f8) /* RFC 1042; IEEE 802.1H */
		return frame_typed(buf, c, 3, 5, f);
	if (who != SNAP_BRIDGED || (type != SNAP_FCS && type != SNAP_NO_FCS))
		return -ENODATA;
	return skip(&c, 5 + padding) ? frame_bridged(buf, c, f) : -EBADMSG;
}

/* IEEE 802.2: IP is behind a SNAP header, or rarely has a number of its own. */
int
frame_llc(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	static const uint8_t snap[] = { 0xaa, 0xaa, 0x03 };

	if (c.len < 3)
		return -EBADMSG;
	if (c.p[0] == LLC_SAP_IP && c.p[1] == LLC_SAP_IP && c.p[2] == snap[2]) {
		skip(&c, 3);
		return frame_ip4(buf, c, f);
	}
	if (memcmp(c.p, snap, sizeof(snap)) != 0)
		return -ENODATA;
	skip(&c, 3);
	return parse_snap(buf, c, ATM_PADDING, f);
}

/* What stands before another type: of VLANs, of switches that are one, of rings, and of security.
 */
static const struct {
	uint16_t type;
	uint8_t len; /* of what is between this type and the next */
} tags[] = {
	{ 0x8100, 2 }, { 0x88a8, 2 },
	{ 0x9100, 2 },	/* IEEE 802.1Q, 802.1ad, and before there was one */
	{ 0x88e7, 16 }, /* IEEE 802.1ah, with addresses of its own */
	{ 0x8909, 6 },	/* Cisco's metadata, with one group tag */
	{ 0x8926, 4 },	/* VN-Tag */
	{ 0x892f, 4 },	/* HSR */
	{ 0x893f, 6 },	/* IEEE 802.1BR */
	{ 0xf1c1, 4 },	/* IEEE 802.1CB */
};

/* 0: there is none, or what is behind it cannot be read. */
static size_t
tag_len(uint16_t type, struct cursor c)
{
	if (type == ETHERTYPE_MACSEC && c.len >= 1 && (c.p[0] & MACSEC_ENCRYPTED) == 0)
		return (c.p[0] & MACSEC_HAS_SCI) != 0 ? 14 : 6;
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++)
		if (tags[i].type == type)
			return tags[i].len;
	return 0;
}

/* What a chain of services hands on. */
static int
parse_nsh(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t header;
	uint8_t next;

	if (c.len < 8)
		return -EBADMSG;
	header = (size_t)(c.p[1] & 0x3f) * 4;
	next = c.p[3];
	if (header < 8 || !skip(&c, header))
		return -EBADMSG;
	switch (next) {
	case NSH_IP4:
		return frame_ip4(buf, c, f);
	case NSH_IP6:
		return frame_ip6(buf, c, f);
	case NSH_ETHERNET:
		return frame_bridged(buf, c, f);
	case NSH_MPLS:
		return frame_mpls(buf, c, f);
	default:
		return -ENODATA;
	}
}

int
frame_ethertype(const uint8_t *buf, struct cursor c, uint16_t type, struct frame_info *f)
{
	size_t tag;

	while (type >= ETHERTYPE_MIN && type != ETHERTYPE_IP4 && (tag = tag_len(type, c)) > 0) {
		if (c.len < tag + 2)
			return -EBADMSG;
		type = be16(c.p + tag);
		skip(&c, tag + 2);
	}
	switch (type) {
	case ETHERTYPE_IP4:
		return frame_ip4(buf, c, f);
	case ETHERTYPE_IP6:
		return frame_ip6(buf, c, f);
	case ETHERTYPE_PPPOE:
		return frame_pppoe(buf, c, f);
	case ETHERTYPE_NSH:
		return parse_nsh(buf, c, f);
	case ETHERTYPE_BRIDGED:
		return frame_bridged(buf, c, f);
	case ETHERTYPE_MPLS:
	case ETHERTYPE_MPLS_UPSTREAM:
		return frame_mpls(buf, c, f);
	default:
		break;
	}
	if (type >= ETHERTYPE_MIN)
		return -ENODATA;
	limit(&c, type);
	return frame_llc(buf, c, f);
}

int
frame_typed(const uint8_t *buf, struct cursor c, size_t at, size_t header, struct frame_info *f)
{
	uint16_t type;

	if (c.len < header)
		return -EBADMSG;
	type = be16(c.p + at);
	skip(&c, header);
	return frame_ethertype(buf, c, type, f);
}

/* Ethernet as it is between a switch and its processor: n bytes stand before the type. */
int
frame_ethernet_tagged(const uint8_t *buf, struct cursor c, size_t n, struct frame_info *f)
{
	return frame_typed(buf, c, 12 + n, 14 + n, f);
}

int
frame_ethernet(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return frame_ethernet_tagged(buf, c, 0, f);
}

int
frame_bridged(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.bridged)
		return -ENODATA;
	c.bridged = true;
	return frame_ethernet(buf, c, f);
}

/*
 * Linux writes numbers of its own where a frame has a length in place of a type; of a wireless
 * device that listens to all, the hardware says what is there.
 */
static int
parse_cooked(
    const uint8_t *buf, struct cursor c, uint16_t hardware, uint16_t type, struct frame_info *f)
{
	if (hardware == COOKED_IEEE80211)
		return frame_ieee80211(buf, c, f);
	if (hardware == COOKED_PRISM)
		return frame_prism(buf, c, f);
	if (hardware == COOKED_RADIOTAP)
		return frame_radiotap(buf, c, f);
	if (type == COOKED_LLC)
		return frame_llc(buf, c, f);
	return type < ETHERTYPE_MIN ? -ENODATA : frame_ethertype(buf, c, type, f);
}

int
frame_sll(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t hardware, type;

	if (c.len < 16)
		return -EBADMSG;
	hardware = be16(c.p + 2);
	if (be16(c.p) == COOKED_OUTGOING)
		f->flags |= FRAME_F_OUTGOING;
	type = be16(c.p + 14);
	skip(&c, 16);
	return parse_cooked(buf, c, hardware, type, f);
}

int
frame_sll2(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t hardware, type;

	if (c.len < 20)
		return -EBADMSG;
	type = be16(c.p);
	hardware = be16(c.p + 8);
	f->ifindex = be32(c.p + 4);
	if (c.p[10] == COOKED_OUTGOING)
		f->flags |= FRAME_F_OUTGOING;
	skip(&c, 20);
	return parse_cooked(buf, c, hardware, type, f);
}

int
frame_chdlc(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return frame_typed(buf, c, 2, 4, f);
}

/* PPP in HDLC-like framing, or Cisco's HDLC: the first byte tells. */
int
frame_ppp_serial(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len >= 1 && (c.p[0] == 0x0f || c.p[0] == 0x8f))
		return frame_chdlc(buf, c, f);
	return frame_ppp(buf, c, f);
}

/* RFC 2427, or Cisco's own, which has an Ethernet type; with the usual two bytes of address. */
int
frame_relay(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t nlpid;

	if (c.len < 4)
		return -EBADMSG;
	if (be16(c.p + 2) >= ETHERTYPE_MIN)
		return frame_typed(buf, c, 2, 4, f);
	if (c.p[2] != 0x03)
		return -EBADMSG;
	skip(&c, c.p[3] == 0 ? 4 : 3); /* a byte of padding */
	if (c.len < 1)
		return -EBADMSG;
	nlpid = c.p[0];
	skip(&c, 1);
	if (nlpid == NLPID_IP4)
		return frame_ip4(buf, c, f);
	if (nlpid == NLPID_IP6)
		return frame_ip6(buf, c, f);
	return nlpid == NLPID_SNAP ? parse_snap(buf, c, 0, f) : -ENODATA;
}

int
frame_fddi(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return skip(&c, 13) ? frame_llc(buf, c, f) : -EBADMSG;
}

int
frame_token_ring(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t routing = 0;

	if (c.len < 15)
		return -EBADMSG;
	if (c.p[8] & 0x80)
		routing = c.p[14] & 0x1f;
	return skip(&c, 14 + routing) ? frame_llc(buf, c, f) : -EBADMSG;
}
