/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See probe_packet.h. */
#include "daemon/probe_packet.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define IP4_HEADER_MIN 20
#define TCP_HEADER_MIN 20
#define WINDOW 64240

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t
sum16(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += get16(p + i);
	return sum;
}

void
probe_syn(const struct tuple *t, uint32_t seq, uint8_t ret[static PROBE_SYN_LEN])
{
	uint32_t sum;

	memset(ret, 0, PROBE_SYN_LEN);
	put16(ret, t->sport);
	put16(ret + 2, t->dport);
	put32(ret + 4, seq);
	ret[12] = PROBE_SYN_LEN / 4 << 4;
	ret[13] = TCP_SYN;
	put16(ret + 14, WINDOW);
	if (t->src.family != 4)
		return;
	sum = sum16(t->src.bytes, 4) + sum16(t->dst.bytes, 4) + IPPROTO_TCP + PROBE_SYN_LEN +
	      sum16(ret, PROBE_SYN_LEN);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	put16(ret + 16, (uint16_t)~sum);
}

int
probe_segment_parse(uint8_t family, const uint8_t *buf, size_t len, struct probe_segment *ret)
{
	size_t skip = 0;
	uint8_t flags;

	if (family == 4) {
		if (len < IP4_HEADER_MIN || buf[0] >> 4 != 4 || buf[9] != IPPROTO_TCP)
			return -EBADMSG;
		skip = (size_t)(buf[0] & 0xf) * 4;
	}
	if ((family == 4 && skip < IP4_HEADER_MIN) || len < skip || len - skip < TCP_HEADER_MIN)
		return -EBADMSG;
	buf += skip;
	flags = buf[13] & (TCP_SYN | TCP_RST | TCP_ACK);
	if (flags != (TCP_SYN | TCP_ACK) && flags != (TCP_RST | TCP_ACK))
		return -EBADMSG;
	*ret = (struct probe_segment){
		.sport = get16(buf),
		.dport = get16(buf + 2),
		.ack = (uint32_t)get16(buf + 8) << 16 | get16(buf + 10),
		.syn_ack = (flags & TCP_SYN) != 0,
		.reset = (flags & TCP_RST) != 0,
	};
	return 0;
}
