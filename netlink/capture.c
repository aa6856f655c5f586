/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's connection attempts through one libpcap handle on the "any" device, which sees devices
 * made later too. The kernel's filter keeps first packets only; what it cannot decide (IPv6 with
 * extension headers) comes up here and is decided by the frame parser.
 */
#include "netlink/capture.h"

#include "rules/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

#define RING_BYTES (256 * 1024)
#define SNAP_LEN 128

#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define ICMP4_ECHO 8
#define ICMP6_ECHO 128

/*
 * tcp[] and icmp[] read IPv4 alone. For IPv6 byte 6 is the next header, the transport header starts
 * at 40 if that is one; 0, 43, 44, 51 and 60 are extension headers.
 */
static const char filter[] =
    "(tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn) or (icmp[icmptype] == icmp-echo) or "
    "(ip6[6] == 6 and ip6[53] & 0x12 == 0x02) or (ip6[6] == 58 and ip6[40] == 128) or "
    "(ip6[6] == 0) or (ip6[6] == 43) or (ip6[6] == 44) or (ip6[6] == 51) or (ip6[6] == 60)";

struct capture {
	pcap_t *pcap;
	struct capture_stats stats;
	uint32_t last_received, last_dropped; /* libpcap's own, which wrap */
};

struct dispatch {
	capture_fn fn;
	void *arg;
	uint64_t *malformed;
};

static int
capture_setup(struct capture *c, char error[static 256])
{
	struct bpf_program prog;
	int r;

	pcap_set_snaplen(c->pcap, SNAP_LEN);
	pcap_set_promisc(c->pcap, 0);
	pcap_set_buffer_size(c->pcap, RING_BYTES);
	pcap_set_immediate_mode(c->pcap, 1);
	pcap_set_tstamp_precision(c->pcap, PCAP_TSTAMP_PRECISION_NANO);
	r = pcap_activate(c->pcap);
	if (r < 0) {
		snprintf(error, 256, "%s: %.200s", pcap_statustostr(r), pcap_geterr(c->pcap));
		return r == PCAP_ERROR_PERM_DENIED ? -EPERM : -EIO;
	}
	if (pcap_set_datalink(c->pcap, DLT_LINUX_SLL2) < 0 ||
	    pcap_compile(c->pcap, &prog, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		goto fail;
	r = pcap_setfilter(c->pcap, &prog);
	pcap_freecode(&prog);
	if (r < 0)
		goto fail;
	if (pcap_setnonblock(c->pcap, 1, error) < 0)
		return -EIO;
	if (pcap_get_selectable_fd(c->pcap) < 0) {
		snprintf(error, 256, "the capture cannot be waited for");
		return -ENOTSUP;
	}
	return 0;
fail:
	snprintf(error, 256, "%.255s", pcap_geterr(c->pcap));
	return -EIO;
}

int
capture_open(struct capture **ret, char error[static 256])
{
	char errbuf[PCAP_ERRBUF_SIZE];
	struct capture *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		snprintf(error, 256, "out of memory");
		return -ENOMEM;
	}
	c->pcap = pcap_create("any", errbuf);
	if (c->pcap == NULL) {
		snprintf(error, 256, "%.255s", errbuf);
		free(c);
		return -EIO;
	}
	r = capture_setup(c, error);
	if (r < 0) {
		capture_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void
capture_free(struct capture *c)
{
	if (c == NULL)
		return;
	pcap_close(c->pcap);
	free(c);
}

int
capture_fd(const struct capture *c)
{
	return pcap_get_selectable_fd(c->pcap);
}

static bool
opens_something(const struct frame_info *f)
{
	switch (f->tuple.proto) {
	case IPPROTO_TCP:
		return (f->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	case IPPROTO_ICMP:
		return f->icmp_type == ICMP4_ECHO;
	case IPPROTO_ICMPV6:
		return f->icmp_type == ICMP6_ECHO;
	}
	return false;
}

static void
on_packet(u_char *user, const struct pcap_pkthdr *h, const u_char *bytes)
{
	struct dispatch *d = (struct dispatch *)user;
	struct frame_info f;
	int r;

	r = frame_parse(FRAME_SLL2, bytes, h->caplen, &f);
	if (r == -EBADMSG)
		(*d->malformed)++;
	if (r < 0 || !opens_something(&f))
		return;
	/* tv_usec holds nanoseconds: that precision was asked for. */
	d->fn(d->arg, &f, (uint64_t)h->ts.tv_sec * NSEC_PER_SEC + (uint64_t)h->ts.tv_usec);
}

int
capture_dispatch(struct capture *c, int max, capture_fn fn, void *arg, uint64_t *malformed)
{
	struct dispatch d = { .fn = fn, .arg = arg, .malformed = malformed };
	int r;

	r = pcap_dispatch(c->pcap, max, on_packet, (u_char *)&d);
	return r < 0 ? -EIO : r;
}

int
capture_stats(struct capture *c, struct capture_stats *ret)
{
	struct pcap_stat st;

	if (pcap_stats(c->pcap, &st) < 0)
		return -EIO;
	c->stats.received += (uint32_t)(st.ps_recv - c->last_received);
	c->stats.dropped += (uint32_t)(st.ps_drop - c->last_dropped);
	c->last_received = st.ps_recv;
	c->last_dropped = st.ps_drop;
	*ret = c->stats;
	return 0;
}
