/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Links that few have: old buses, packet radio, cable modems. Errors as in frame_ether.c. */
#include "rules/frame_internal.h"

#include <errno.h>

#define ARCNET_IP_1051 240
#define ARCNET_IP_1201 212
#define ARCNET_EXCEPTION 0xff /* before the header of a packet of an awkward length (RFC 1201) */

#define AX25_ADDRESS 7
#define AX25_MAX_ADDRESSES 10 /* of the two ends, and of repeaters */
#define AX25_UI 0x03
#define AX25_PID_IP 0xcc

#define DOCSIS_HEADER 6
/* Elements of its extended header that may say that it is encrypted. */
#define DOCSIS_PRIVACY_UP 3
#define DOCSIS_PRIVACY_DOWN 4
#define DOCSIS_PRIVACY_UP2 7

/* From the protocol on. Linux puts packets together; of other systems a packet's first frame has
 * an odd flag, or none, and what follows has no ports. */
static int
parse_arcnet(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	uint8_t proto;

	if (c.len < 1)
		return -EBADMSG;
	proto = c.p[0];
	skip(&c, 1);
	if (proto == ARCNET_IP_1051)
		return frame_ip4(buf, c, f);
	if (proto != ARCNET_IP_1201)
		return -ENODATA;
	if (c.len >= 1 && c.p[0] == ARCNET_EXCEPTION && !skip(&c, 4))
		return -EBADMSG;
	if (c.len < 3)
		return -EBADMSG;
	if (c.p[0] != 0 && !(c.p[0] & 1))
		return -ENODATA;
	skip(&c, 3);
	return frame_ip4(buf, c, f);
}

int
frame_arcnet(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return skip(&c, 2) ? parse_arcnet(buf, c, f) : -EBADMSG;
}

int
frame_arcnet_linux(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	return skip(&c, 4) ? parse_arcnet(buf, c, f) : -EBADMSG;
}

/* The lowest bit of an address's last byte is set in the last address. */
int
frame_ax25(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	unsigned n = 0;
	bool last = false;

	while (!last) {
		if (c.len < AX25_ADDRESS || ++n > AX25_MAX_ADDRESSES)
			return -EBADMSG;
		last = c.p[AX25_ADDRESS - 1] & 1;
		skip(&c, AX25_ADDRESS);
	}
	if (n < 2 || c.len < 2)
		return -EBADMSG;
	/* Only these two kinds of frames say what is in them. */
	if ((c.p[0] & 1) != 0 && (c.p[0] & 0xef) != AX25_UI)
		return -ENODATA;
	if (c.p[1] != AX25_PID_IP)
		return -ENODATA;
	skip(&c, 2);
	return frame_ip4(buf, c, f);
}

/* With the byte that says what a modem shall do with it: 0 of the low half is data. */
int
frame_ax25_kiss(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	if (c.len < 1)
		return -EBADMSG;
	if ((c.p[0] & 0x0f) != 0)
		return -ENODATA;
	skip(&c, 1);
	return frame_ax25(buf, c, f);
}

/* Elements of type and length in one byte. */
static bool
docsis_is_encrypted(const uint8_t *p, size_t len)
{
	for (size_t at = 0, n; at < len; at += 1 + n) {
		uint8_t type = p[at] >> 4;

		n = p[at] & 0x0f;
		if (n >= 2 && len - at > 2 && (p[at + 2] & 0x80) &&
		    (type == DOCSIS_PRIVACY_UP || type == DOCSIS_PRIVACY_DOWN ||
			type == DOCSIS_PRIVACY_UP2))
			return true;
	}
	return false;
}

/* A cable modem's: control, the extended header's length, the length of all that follows, a check.
 */
int
frame_docsis(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	size_t extended, len;
	uint8_t control;

	if (c.len < DOCSIS_HEADER)
		return -EBADMSG;
	control = c.p[0];
	extended = control & 1 ? c.p[1] : 0;
	len = be16(c.p + 2);
	if (control >> 6 != 0 && control >> 6 != 2)
		return -ENODATA; /* no packet: of the modem's own */
	if (len < extended || c.len < DOCSIS_HEADER + extended)
		return -EBADMSG;
	if (docsis_is_encrypted(c.p + 4, extended))
		return -ENODATA;
	skip(&c, DOCSIS_HEADER + extended);
	limit(&c, len - extended);
	return frame_ethernet(buf, c, f);
}

/* Elektrobit's: a header of 32 bytes, of which the first says what is behind it. */
int
frame_ebhscr(const uint8_t *buf, struct cursor c, struct frame_info *f)
{
	const uint8_t ethernet = 0x50;

	if (c.len < 32)
		return -EBADMSG;
	if (c.p[0] != ethernet)
		return -ENODATA;
	skip(&c, 32);
	return frame_ethernet(buf, c, f);
}
