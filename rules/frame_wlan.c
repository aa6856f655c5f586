/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of wireless networks, and what drivers put before them. Errors as in frame_ether.c. */
#include "rules/frame_internal.h"

#include <errno.h>

#define RADIOTAP_TSFT 0x01 /* bits of what is present */
#define RADIOTAP_FLAGS 0x02
#define RADIOTAP_MORE 0x80000000
#define RADIOTAP_F_PADDED 0x20

/* Several packets of one destination in one frame: the first of them. */
static int
parse_aggregate(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint16_t len;

	if (c.len < 14)
		return -EBADMSG;
	len = be16(c.p + 12);
	skip(&c, 14);
	limit(&c, len);
	return frame_llc(buf, c, f);
}

/* padded: the driver has made the header a multiple of four bytes. */
static int
parse_ieee80211(const uint8_t *buf, struct cursor c, bool padded, struct frame_info *f)
{
	bool qos, aggregate = false;
	size_t header = 24;

	if (c.len < 2)
		return -EBADMSG;
	if ((c.p[0] & 0x0c) != 0x08 || (c.p[0] & 0x40) || (c.p[1] & 0x40))
		return -ENODATA; /* not data, without data, or encrypted */
	qos = c.p[0] & 0x80;
	if ((c.p[1] & 0x03) == 0x03) /* between two access points */
		header += 6;
	if (qos && c.len > header)
		aggregate = c.p[header] & 0x80;
	if (qos)
		header += c.p[1] & 0x80 ? 6 : 2;
	if (padded)
		header = (header + 3) & ~(size_t)3;
	if (!skip(&c, header))
		return -EBADMSG;
	return aggregate ? parse_aggregate(buf, c, f) : frame_llc(buf, c, f);
}

int
frame_ieee80211(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return parse_ieee80211(buf, c, false, f);
}

/* Does the header say that there is padding? What is malformed in it, its length will tell. */
static bool
radiotap_padded(const struct cursor *c)
{
	uint32_t present = le32(c->p + 4);
	size_t at = 8;

	if (!(present & RADIOTAP_FLAGS))
		return false;
	for (uint32_t more = present; more & RADIOTAP_MORE; at += 4) {
		if (c->len < at + 4)
			return false;
		more = le32(c->p + at);
	}
	if (present & RADIOTAP_TSFT)
		at = ((at + 7) & ~(size_t)7) + 8;
	return at < c->len && (c->p[at] & RADIOTAP_F_PADDED);
}

int
frame_radiotap(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	bool padded;

	if (c.len < 8 || le16(c.p + 2) < 8)
		return -EBADMSG;
	padded = radiotap_padded(&c);
	return skip(&c, le16(c.p + 2)) ? parse_ieee80211(buf, c, padded, f) : -EBADMSG;
}

/* The Prism header, or AVS, which has its length in it. */
int
frame_prism(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t header = 144;

	if (c.len < 8)
		return -EBADMSG;
	if ((be32(c.p) & 0xfffff000) == 0x80211000)
		header = be32(c.p + 4);
	return header >= 8 && skip(&c, header) ? frame_ieee80211(buf, c, f) : -EBADMSG;
}
