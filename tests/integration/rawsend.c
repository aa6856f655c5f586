/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sends frames past an output hook: rawsend PATH DEV FRAME-IN-HEX...
 *
 * packet  an AF_PACKET socket; bypass  the same with PACKET_QDISC_BYPASS
 * xdp     AF_XDP in copy mode, which needs no program to send
 * tun     DEV is a new TUN device, and what is written (IP packets, the frame's first 14 bytes left
 *         out) comes in by it to be forwarded
 * tap     DEV is a new TAP device, a port of the bridge br9 that is there
 * inet    raw sockets with a header of the sender's own, for what is IP; DEV is not used
 * Prints how many were sent. Exit status 0: all; 77: this path is not there or not permitted.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif

#define TAP_BRIDGE "br9"
#define FRAME 2048
#define RING 256

struct sender {
	int fd, fd6;
	int ifindex;
	uint8_t *umem;
	uint32_t *producer;
	struct xdp_desc *ring;
};

static int
open_packet(struct sender *s, int bypass)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_ifindex = s->ifindex };

	s->fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	if (bypass &&
	    setsockopt(s->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(bypass)) < 0)
		return -errno;
	return 0;
}

static int
send_packet(struct sender *s, const uint8_t *frame, size_t len)
{
	return send(s->fd, frame, len, 0) == (ssize_t)len ? 0 : -errno;
}

static int
open_xdp(struct sender *s)
{
	struct xdp_umem_reg reg = { .len = RING * FRAME, .chunk_size = FRAME };
	struct sockaddr_xdp sa = {
		.sxdp_family = AF_XDP, .sxdp_ifindex = (uint32_t)s->ifindex, .sxdp_flags = XDP_COPY
	};
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	int n = RING;
	uint8_t *map;

	s->fd = socket(AF_XDP, SOCK_RAW, 0);
	s->umem =
	    mmap(NULL, RING * FRAME, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->fd < 0 || s->umem == MAP_FAILED)
		return -errno;
	reg.addr = (uintptr_t)s->umem;
	if (setsockopt(s->fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)) < 0 ||
	    setsockopt(s->fd, SOL_XDP, XDP_UMEM_FILL_RING, &n, sizeof(n)) < 0 ||
	    setsockopt(s->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &n, sizeof(n)) < 0 ||
	    setsockopt(s->fd, SOL_XDP, XDP_TX_RING, &n, sizeof(n)) < 0 ||
	    getsockopt(s->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) < 0)
		return -errno;
	map = mmap(NULL, off.tx.desc + RING * sizeof(struct xdp_desc), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_POPULATE, s->fd, XDP_PGOFF_TX_RING);
	if (map == MAP_FAILED || bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	s->producer = (uint32_t *)(void *)(map + off.tx.producer);
	s->ring = (struct xdp_desc *)(void *)(map + off.tx.desc);
	return 0;
}

static int
send_xdp(struct sender *s, const uint8_t *frame, size_t len)
{
	uint32_t at = *s->producer % RING;

	memcpy(s->umem + at * FRAME, frame, len);
	s->ring[at] = (struct xdp_desc){ .addr = at * FRAME, .len = (uint32_t)len };
	__atomic_store_n(s->producer, *s->producer + 1, __ATOMIC_RELEASE);
	if (sendto(s->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY)
		return -errno;
	return 0;
}

static int
open_tun(struct sender *s, const char *dev, short kind)
{
	struct ifreq ifr = { .ifr_flags = (short)(kind | IFF_NO_PI) };
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", dev);
	s->fd = open("/dev/net/tun", O_RDWR);
	if (s->fd < 0 || ioctl(s->fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	ifr.ifr_flags = IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
		return -errno;
	if (kind == IFF_TUN)
		return 0;
	ifr = (struct ifreq){ .ifr_ifindex = (int)if_nametoindex(dev) };
	snprintf(ifr.ifr_name, IFNAMSIZ, TAP_BRIDGE);
	if (ioctl(sock, SIOCBRADDIF, &ifr) < 0)
		return -errno;
	usleep(100000); /* until the port forwards */
	return 0;
}

static int
send_tap(struct sender *s, const uint8_t *frame, size_t len)
{
	return write(s->fd, frame, len) < 0 ? -errno : 0;
}

static int
send_tun(struct sender *s, const uint8_t *frame, size_t len)
{
	if (len < ETH_HLEN)
		return -EINVAL;
	return write(s->fd, frame + ETH_HLEN, len - ETH_HLEN) < 0 ? -errno : 0;
}

static int
open_inet(struct sender *s)
{
	int on = 1;

	s->fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	s->fd6 = socket(AF_INET6, SOCK_RAW, IPPROTO_RAW);
	if (s->fd < 0 || s->fd6 < 0 ||
	    setsockopt(s->fd6, IPPROTO_IPV6, IPV6_HDRINCL, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

/* What is refused on the way out is sent as well: that is told to the sender. */
static int
send_inet(struct sender *s, const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + ETH_HLEN;
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	ssize_t n = 0;

	if (len < ETH_HLEN + 40)
		return 0;
	if (frame[12] == 0x08 && frame[13] == 0x00) {
		memcpy(&four.sin_addr, ip + 16, sizeof(four.sin_addr));
		n = sendto(s->fd, ip, len - ETH_HLEN, 0, (struct sockaddr *)&four, sizeof(four));
	} else if (frame[12] == 0x86 && frame[13] == 0xdd) {
		memcpy(&six.sin6_addr, ip + 24, sizeof(six.sin6_addr));
		six.sin6_scope_id = (uint32_t)s->ifindex;
		n = sendto(s->fd6, ip, len - ETH_HLEN, 0, (struct sockaddr *)&six, sizeof(six));
	}
	return n < 0 && errno == EBADF ? -errno : 0;
}

static size_t
from_hex(const char *hex, uint8_t *ret)
{
	size_t n = 0;
	unsigned byte;

	while (n < FRAME && sscanf(hex + 2 * n, "%2x", &byte) == 1)
		ret[n++] = (uint8_t)byte;
	return n;
}

int
main(int argc, char **argv)
{
	struct sender s = { .fd = -1, .fd6 = -1 };
	int (*out)(struct sender *, const uint8_t *, size_t) = send_packet;
	int r = -EINVAL, sent = 0;

	if (argc < 3)
		return 2;
	s.ifindex = (int)if_nametoindex(argv[2]);
	if (strcmp(argv[1], "packet") == 0) {
		r = open_packet(&s, 0);
	} else if (strcmp(argv[1], "bypass") == 0) {
		r = open_packet(&s, 1);
	} else if (strcmp(argv[1], "xdp") == 0) {
		r = open_xdp(&s);
		out = send_xdp;
	} else if (strcmp(argv[1], "tun") == 0) {
		r = open_tun(&s, argv[2], IFF_TUN);
		out = send_tun;
	} else if (strcmp(argv[1], "tap") == 0) {
		r = open_tun(&s, argv[2], IFF_TAP);
		out = send_tap;
	} else if (strcmp(argv[1], "inet") == 0) {
		r = open_inet(&s);
		out = send_inet;
	}
	if (r < 0) {
		printf("%s: %s\n", argv[1], strerror(-r));
		return 77;
	}
	for (int i = 3; i < argc; i++) {
		uint8_t frame[FRAME];
		size_t len = from_hex(argv[i], frame);

		r = out(&s, frame, len);
		if (r < 0)
			printf("frame %d: %s\n", i - 3, strerror(-r));
		sent += r == 0;
	}
	/* What is queued leaves before the socket does. */
	usleep(20000);
	printf("sent %d\n", sent);
	return sent == argc - 3 ? 0 : 1;
}
