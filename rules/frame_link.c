/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Link types by their numbers, and those that only put a header of their own before another one, or
 * before IP. Errors as in frame_ether.c. Formats: https://www.tcpdump.org/linktypes.html
 */
#include "rules/frame_internal.h"

#include <errno.h>
#include <string.h>

static int parse_ppi(const uint8_t *buf, struct cursor c, struct frame_info *f);
static int parse_pktap(const uint8_t *buf, struct cursor c, struct frame_info *f);

/* Those that have another link type in them. None has one of them in it again. */
static bool
is_around(link_parser parse)
{
	return parse == parse_ppi || parse == parse_pktap;
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
	case 26: /* Solaris */
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

/* Per-packet information around another link type. */
static int
parse_ppi(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	link_parser inner;

	if (c.len < 8)
		return -EBADMSG;
	inner = frame_link_find((int)le32(c.p + 4));
	if (le16(c.p + 2) < 8 || !skip(&c, le16(c.p + 2)))
		return -EBADMSG;
	return inner == NULL || is_around(inner) ? -ENODATA : inner(buf, c, f);
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

/* The header of an older link type, of so many bytes, before a newer one. */
static int
behind(const uint8_t *buf, struct cursor c, size_t header, link_parser parse, struct frame_info *f)
{
	return skip(&c, header) ? parse(buf, c, f) : -EBADMSG;
}

static int
parse_slip(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 16, frame_ip, f);
}

static int
parse_slip_bsdos(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 24, frame_ip, f);
}

/* LLC, or IP at once (RFC 2225, which has both). */
static int
parse_clip(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	bool llc = c.len >= 2 && c.p[0] == 0xaa && c.p[1] == 0xaa;

	return llc ? frame_llc(buf, c, f) : frame_ip(buf, c, f);
}

/* RFC 2625: the network header. */
static int
parse_ip_over_fc(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 16, frame_llc, f);
}

static int
parse_sunatm(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t kind;

	if (c.len < 4)
		return -EBADMSG;
	kind = c.p[0] & 0x0f;
	if (kind == 1) /* LAN emulation, with the sender's number first */
		return behind(buf, c, 6, frame_ethernet, f);
	return kind == 2 ? behind(buf, c, 4, frame_llc, f) : -ENODATA;
}

/* A byte of direction first. */
static int
parse_ppp_directed(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 1, frame_ppp, f);
}

static int
parse_chdlc_directed(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 1, frame_chdlc, f);
}

static int
parse_frame_relay_directed(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 1, frame_relay, f);
}

/* Juniper's header: a magic number, flags, and as much more as it says. */
static int
parse_juniper(const uint8_t *buf, struct cursor c, link_parser parse, struct frame_info *f)
{
	static const uint8_t magic[] = { 'M', 'G', 'C' };
	size_t header = 4;
	uint8_t flags;

	if (c.len < 6 || memcmp(c.p, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	flags = c.p[3];
	if (flags & 0x80)
		header += 2 + be16(c.p + 4);
	if (flags & 0x02) /* no link: the protocol's number, and IP */
		return behind(buf, c, header + 4, frame_ip, f);
	return behind(buf, c, header, parse, f);
}

static int
parse_juniper_ethernet(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_juniper(buf, c, frame_ethernet, f);
}

static int
parse_juniper_ppp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_juniper(buf, c, frame_ppp, f);
}

static int
parse_juniper_frame_relay(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_juniper(buf, c, frame_relay, f);
}

static int
parse_juniper_chdlc(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_juniper(buf, c, frame_chdlc, f);
}

static int
parse_vp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 18, frame_ip, f);
}

static int
parse_juniper_vp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_juniper(buf, c, parse_vp, f);
}

/* A cookie of so many bytes, and LLC or IP. */
static int
parse_atm1(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 4, parse_clip, f);
}

static int
parse_juniper_atm1(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_juniper(buf, c, parse_atm1, f);
}

static int
parse_atm2(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 8, parse_clip, f);
}

static int
parse_juniper_atm2(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_juniper(buf, c, parse_atm2, f);
}

/* IEEE 1394: two numbers of nodes, and a type. */
static int
parse_firewire(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return frame_typed(buf, c, 16, 18, f);
}

/* Symantec's firewall, whose two versions differ in where the type is. */
static int
parse_symantec(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len < 44)
		return -EBADMSG;
	return be16(c.p + 6) != 0 ? frame_typed(buf, c, 6, 44, f) : frame_typed(buf, c, 20, 56, f);
}

/* TaZmen sniffer: what was captured, and tagged fields up to the one that ends them. */
static int
parse_tzsp(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	enum { PADDING, END };
	uint16_t link;
	size_t len;

	if (c.len < 4)
		return -EBADMSG;
	if (c.p[1] > 1)
		return -ENODATA; /* no packet in it */
	link = be16(c.p + 2);
	skip(&c, 4);
	for (;;) {
		if (c.len < 1)
			return -EBADMSG;
		if (c.p[0] == END)
			break;
		if (c.p[0] != PADDING && c.len < 2)
			return -EBADMSG;
		len = c.p[0] == PADDING ? 1 : 2 + (size_t)c.p[1];
		if (!skip(&c, len))
			return -EBADMSG;
	}
	skip(&c, 1);
	if (link == 1)
		return frame_ethernet(buf, c, f);
	return link == 18 ? frame_ieee80211(buf, c, f) : -ENODATA;
}

/* Endace: a header, more of them, and the frame. */
static int
parse_erf(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t type, more;

	if (c.len < 16)
		return -EBADMSG;
	type = c.p[8] & 0x7f;
	more = c.p[8];
	skip(&c, 16);
	while (more & 0x80) {
		if (c.len < 8)
			return -EBADMSG;
		more = c.p[0];
		skip(&c, 8);
	}
	switch (type) {
	case 1: /* HDLC on SONET, also with a colour or a hash */
	case 10:
	case 15:
	case 19:
		return frame_ppp_serial(buf, c, f);
	case 2: /* Ethernet, with an offset and padding */
	case 11:
	case 16:
	case 20:
		return behind(buf, c, 2, frame_ethernet, f);
	case 22:
		return frame_ip4(buf, c, f);
	case 23:
		return frame_ip6(buf, c, f);
	default:
		return -ENODATA;
	}
}

/* Solaris: version, address family, and what it knows of the interfaces. */
static int
parse_ipnet(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t family;

	if (c.len < 24)
		return -EBADMSG;
	family = c.p[1];
	skip(&c, 24);
	return parse_family(buf, c, family, f);
}

static int
parse_netanalyzer(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 4, frame_ethernet, f);
}

/* With the preamble. */
static int
parse_netanalyzer_whole(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 12, frame_ethernet, f);
}

static int
parse_epon(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 8, frame_ethernet, f);
}

/* The global routing header, a type, and two bytes that are nothing. */
static int
parse_ipoib(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return frame_typed(buf, c, 40, 44, f);
}

/* Tags of Broadcom's and Marvell's switches. */
static int
parse_dsa_4(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return frame_ethernet_tagged(buf, c, 4, f);
}

static int
parse_dsa_8(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return frame_ethernet_tagged(buf, c, 8, f);
}

static int
parse_dsa_before(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return behind(buf, c, 4, frame_ethernet, f);
}

/* Apple's: the length of this header, what kind it is, and the link type behind it. */
static int
parse_pktap(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	link_parser inner;

	if (c.len < 12)
		return -EBADMSG;
	inner = le32(c.p + 4) == 1 ? frame_link_find((int)le32(c.p + 8)) : NULL;
	if (le32(c.p) < 12 || !skip(&c, le32(c.p)))
		return -EBADMSG;
	return inner == NULL || is_around(inner) ? -ENODATA : inner(buf, c, f);
}

static const struct {
	int linktype;
	link_parser parse;
} links[] = {
	{ FRAME_EN10MB, frame_ethernet }, { FRAME_SLL2, frame_sll2 }, { FRAME_SLL, frame_sll },
	{ FRAME_RAW, frame_ip }, { 14, frame_ip }, /* DLT_RAW of OpenBSD */
	{ 101, frame_ip },			   /* LINKTYPE_RAW */
	{ FRAME_IPV4, frame_ip4 }, { FRAME_IPV6, frame_ip6 }, { FRAME_NULL, parse_loopback },
	{ FRAME_LOOP, parse_loopback }, { FRAME_PPP, frame_ppp }, { 50, frame_ppp_serial },
	{ 51, frame_pppoe }, /* DLT_PPP_ETHER */
	{ 3, frame_ax25 }, { 7, frame_arcnet }, { 129, frame_arcnet_linux },
	{ 130, parse_juniper_ppp }, /* with more than one line */
	{ 143, frame_docsis }, { 202, frame_ax25_kiss }, { 279, frame_ebhscr },
	{ 6, frame_token_ring }, { 8, parse_slip }, { 10, frame_fddi },
	{ 11, frame_llc },	  /* DLT_ATM_RFC1483 */
	{ 15, parse_slip_bsdos }, /* DLT_SLIP_BSDOS */
	{ 19, parse_clip },	  /* DLT_ATM_CLIP */
	{ 13, parse_enc },	  /* DLT_ENC of OpenBSD */
	{ 99, parse_symantec }, { 100, frame_llc }, { 102, parse_slip_bsdos }, { 104, frame_chdlc },
	{ 112, frame_chdlc }, /* of NetBSD */
	{ 105, frame_ieee80211 }, { 106, parse_clip }, { 107, frame_relay }, { 109, parse_enc },
	{ 117, parse_pflog }, { 119, frame_prism }, { 122, parse_ip_over_fc },
	{ 123, parse_sunatm }, { 128, parse_tzsp }, { 135, parse_juniper_atm2 },
	{ 137, parse_juniper_atm1 }, { 138, parse_firewire }, { 127, frame_radiotap },
	{ 163, frame_prism }, /* DLT_IEEE802_11_RADIO_AVS */
	{ 166, frame_pppd }, { 167, parse_juniper_ethernet },
	/* PPPoE */ { 178, parse_juniper_ethernet }, { 179, parse_juniper_ppp },
	{ 180, parse_juniper_frame_relay }, { 181, parse_juniper_chdlc }, { 183, parse_juniper_vp },
	{ 192, parse_ppi }, { 197, parse_erf }, { 204, parse_ppp_directed },
	{ 205, parse_chdlc_directed }, { 206, parse_frame_relay_directed }, { 219, frame_mpls },
	{ 226, parse_ipnet }, { 239, parse_nflog }, { 240, parse_netanalyzer },
	{ 241, parse_netanalyzer_whole }, { 242, parse_ipoib }, { 258, parse_pktap },
	{ 259, parse_epon }, { 281, parse_dsa_4 },	 /* Broadcom */
	{ 282, parse_dsa_before }, { 284, parse_dsa_4 }, /* Marvell */
	{ 285, parse_dsa_8 },				 /* Marvell, with a type */
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
