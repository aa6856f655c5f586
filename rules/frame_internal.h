/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the frame parser share: the cursor, and the way from the link to IP. */
#ifndef NANOSEG_RULES_FRAME_INTERNAL_H
#define NANOSEG_RULES_FRAME_INTERNAL_H

#include "rules/frame.h"
#include "rules/util.h"

/* The bytes that are left. pkt_len is what the packet says it has, len what was captured of it. */
struct cursor {
	const uint8_t *p;
	size_t len, pkt_len;
	bool bridged; /* in a whole frame inside another one */
};

static inline uint16_t
be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint16_t
le16(const uint8_t *p)
{
	return (uint16_t)(p[1] << 8 | p[0]);
}

static inline uint32_t
le32(const uint8_t *p)
{
	return (uint32_t)le16(p + 2) << 16 | le16(p);
}

/* Steps over n captured bytes. */
static inline bool
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
static inline void
limit(struct cursor *c, size_t n)
{
	c->pkt_len = MIN(c->pkt_len, n);
	c->len = MIN(c->len, n);
}

/* buf is where the frame began, for offsets. Each returns as frame_parse() does. */
int frame_ip(const uint8_t *buf, struct cursor c, struct frame_info *f); /* by the version */
int frame_ip4(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_ip6(const uint8_t *buf, struct cursor c, struct frame_info *f);

/* frame_ether.c */
int frame_ethertype(const uint8_t *buf, struct cursor c, uint16_t type, struct frame_info *f);
/* A header of that many bytes, with an Ethernet type at that place in it. */
int frame_typed(
    const uint8_t *buf, struct cursor c, size_t at, size_t header, struct frame_info *f);
int frame_ethernet(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_ethernet_tagged(const uint8_t *buf, struct cursor c, size_t n, struct frame_info *f);
/* A whole Ethernet frame inside another link's, once. */
int frame_bridged(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_llc(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_mpls(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_ppp(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_pppd(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_ppp_serial(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_pppoe(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_sll(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_sll2(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_chdlc(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_relay(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_fddi(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_token_ring(const uint8_t *buf, struct cursor c, struct frame_info *f);
/* frame_wlan.c */
int frame_ieee80211(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_radiotap(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_prism(const uint8_t *buf, struct cursor c, struct frame_info *f);
/* frame_other.c */
int frame_arcnet(const uint8_t *buf, struct cursor c, struct frame_info *f); /* of BSD */
int frame_arcnet_linux(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_ax25(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_ax25_kiss(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_docsis(const uint8_t *buf, struct cursor c, struct frame_info *f);
int frame_ebhscr(const uint8_t *buf, struct cursor c, struct frame_info *f);

typedef int (*link_parser)(const uint8_t *buf, struct cursor c, struct frame_info *f);
link_parser frame_link_find(int linktype);

#endif
