/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container's only program, static. What it sends, it sends in its first instructions.
 *
 *   first send ADDR PORT [SECONDS [FILE [ADDR6]]]
 *                                          a datagram and a connection attempt to PORT, and a frame
 *                                          with a datagram to PORT + 1 past the rules of the
 *                                          namespace, to ADDR6 as well; then it stays for a while
 *   first connect ADDR PORT TRIES          connects until it is answered, 100 ms a try
 *   first serve PORT FILE                  listens, and answers each connection with a byte
 *   first load TARGET PORT FILE            connects again and again to the address in the file
 * TARGET
 *
 * send and connect print when they began (CLOCK_MONOTONIC, ms), and connect how long it took and
 * the tries. FILE gets lines "WHAT NETNS TIME TOOK", times in ms, TIME by CLOCK_REALTIME: "began"
 * (of send, TOOK is the error's number of the datagram to ADDR6), "listening", and of each
 * connection of load "ok" or the error's number.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRY_MS 100
#define LOAD_PAUSE_US 20000
#define DEVICE "eth0"

static double
now_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void
say(const char *file, const char *what, double at, double took)
{
	int fd = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
	struct stat st = { .st_ino = 0 };
	char line[128];
	int n;

	stat("/proc/self/ns/net", &st);
	n = snprintf(
	    line, sizeof(line), "%s %lu %.3f %.3f\n", what, (unsigned long)st.st_ino, at, took);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		exit(3);
	close(fd);
}

/* A socket on its way; 0 if it is open within the time. */
static int
try_connect(const struct sockaddr_in6 *to, int wait_ms)
{
	int error = 0, s = socket(to->sin6_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd p = { .fd = s, .events = POLLOUT };
	socklen_t len = sizeof(error);

	connect(s, (const struct sockaddr *)to, sizeof(*to));
	poll(&p, 1, wait_ms);
	getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &len);
	if ((p.revents & POLLOUT) == 0 && error == 0)
		error = ETIMEDOUT;
	if (error == 0)
		error = write(s, "x", 1) == 1 ? 0 : errno;
	close(s);
	return error;
}

static uint16_t
ip_sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* To everyone on the link: nobody has to be asked for an address before. */
static void
send_frame(uint16_t ethertype, const void *frame, size_t len)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ethertype),
		.sll_ifindex = (int)if_nametoindex(DEVICE),
		.sll_halen = ETH_ALEN,
		.sll_addr = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	int s = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	sendto(s, frame, len, 0, (const struct sockaddr *)&ll, sizeof(ll));
	close(s);
}

static void
send_frame4(const struct sockaddr_in *to)
{
	struct {
		struct iphdr ip;
		struct udphdr udp;
		char data[8];
	} f = { .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP },
		.data = "frame" };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = DEVICE };
	int r = ioctl(s, SIOCGIFADDR, &req);

	close(s);
	if (r < 0)
		return;
	memcpy(&f.ip.saddr, &((struct sockaddr_in *)&req.ifr_addr)->sin_addr, sizeof(f.ip.saddr));
	f.ip.daddr = to->sin_addr.s_addr;
	f.ip.tot_len = htons(sizeof(f));
	f.ip.check = ip_sum(&f.ip, sizeof(f.ip));
	f.udp.source = htons(4000);
	f.udp.dest = htons((uint16_t)(ntohs(to->sin_port) + 1));
	f.udp.len = htons(sizeof(f) - sizeof(f.ip));
	send_frame(ETH_P_IP, &f, sizeof(f));
}

/* Counted on the way, and received by nobody: it has no checksum. */
static void
send_frame6(const struct sockaddr_in6 *from, const struct sockaddr_in6 *to)
{
	struct {
		struct ip6_hdr ip;
		struct udphdr udp;
		char data[8];
	} f = { .ip = { .ip6_src = from->sin6_addr, .ip6_dst = to->sin6_addr }, .data = "frame" };

	f.ip.ip6_vfc = 6 << 4;
	f.ip.ip6_plen = htons(sizeof(f) - sizeof(f.ip));
	f.ip.ip6_nxt = IPPROTO_UDP;
	f.ip.ip6_hlim = 64;
	f.udp.source = htons(4000);
	f.udp.dest = htons((uint16_t)(ntohs(to->sin6_port) + 1));
	f.udp.len = f.ip.ip6_plen;
	send_frame(ETH_P_IPV6, &f, sizeof(f));
}

/* The error's number of the datagram: without an address to send from nothing would be shown. */
static int
send_all6(const struct sockaddr_in6 *to)
{
	int u = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;
	int s = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 from = { 0 };
	socklen_t len = sizeof(from);

	if (sendto(u, "first", 5, 0, (const struct sockaddr *)to, sizeof(*to)) < 0)
		error = errno;
	connect(s, (const struct sockaddr *)to, sizeof(*to));
	/* It sends nothing, and chooses the address. */
	connect(u, (const struct sockaddr *)to, sizeof(*to));
	getsockname(u, (struct sockaddr *)&from, &len);
	send_frame6(&from, to);
	return error;
}

static int
run_send(const struct sockaddr_in *to, unsigned seconds, const char *file, const char *v6)
{
	double began = now_ms(CLOCK_MONOTONIC), real = now_ms(CLOCK_REALTIME);
	int u = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = to->sin_port };

	sendto(u, "first", 5, 0, (const struct sockaddr *)to, sizeof(*to));
	connect(s, (const struct sockaddr *)to, sizeof(*to));
	if (v6 != NULL && inet_pton(AF_INET6, v6, &to6.sin6_addr) == 1)
		error = send_all6(&to6);
	send_frame4(to);
	if (file != NULL)
		say(file, "began", real, error);
	printf("began %.3f\n", began);
	fflush(stdout);
	/* What waits for a link address goes with the namespace. */
	usleep(1000);
	sleep(seconds);
	return 0;
}

static int
run_connect(const struct sockaddr_in6 *to, int max)
{
	double began = now_ms(CLOCK_MONOTONIC);

	for (int tries = 1; tries <= max; tries++) {
		double start = now_ms(CLOCK_MONOTONIC), took;

		if (try_connect(to, TRY_MS) == 0) {
			printf("began %.3f open %.3f tries %d\n", began,
			    now_ms(CLOCK_MONOTONIC) - began, tries);
			return 0;
		}
		took = now_ms(CLOCK_MONOTONIC) - start;
		if (took < TRY_MS)
			usleep((useconds_t)((TRY_MS - took) * 1000));
	}
	printf("began %.3f failed\n", began);
	return 1;
}

static int
run_serve(const struct sockaddr_in *at, const char *file)
{
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (const struct sockaddr *)at, sizeof(*at)) < 0 || listen(s, 128) < 0)
		return 1;
	say(file, "listening", now_ms(CLOCK_REALTIME), 0);
	for (;;) {
		int c = accept4(s, NULL, NULL, SOCK_CLOEXEC);

		if (c >= 0 && write(c, "x", 1) == 1)
			close(c);
	}
}

/* One connection as a client of a library makes it: the kernel sends its SYN again. */
static void
load_once(const char *target, uint16_t port, const char *file)
{
	double start = now_ms(CLOCK_REALTIME);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval limit = { .tv_sec = 8 };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
	char text[INET_ADDRSTRLEN + 1] = "", byte, what[16] = "ok";
	FILE *f = fopen(target, "re");

	if (f == NULL || fscanf(f, "%16s", text) != 1 ||
	    inet_pton(AF_INET, text, &to.sin_addr) != 1)
		exit(4);
	fclose(f);
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(s, (const struct sockaddr *)&to, sizeof(to)) < 0 || read(s, &byte, 1) != 1)
		error = errno;
	close(s);
	if (error != 0)
		snprintf(what, sizeof(what), "%d", error);
	say(file, what, start, now_ms(CLOCK_REALTIME) - start);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };

	if (argc == 1) {
		sleep(600);
		return 0;
	}
	if (argc < 4)
		return 2;
	if (strcmp(argv[1], "serve") == 0) {
		to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
		return run_serve(&to, argv[3]);
	}
	if (strcmp(argv[1], "load") == 0 && argc > 4)
		for (;;) {
			load_once(argv[2], (uint16_t)strtoul(argv[3], NULL, 10), argv[4]);
			usleep(LOAD_PAUSE_US);
		}
	to.sin_port = to6.sin6_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	if (inet_pton(AF_INET, argv[2], &to.sin_addr) == 1)
		memcpy(&to6, &to, sizeof(to));
	else if (strcmp(argv[1], "connect") != 0 ||
		 inet_pton(AF_INET6, argv[2], &to6.sin6_addr) != 1)
		return 2;
	if (strcmp(argv[1], "send") == 0)
		return run_send(&to, argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0,
		    argc > 5 ? argv[5] : NULL, argc > 6 ? argv[6] : NULL);
	return run_connect(&to6, argc > 4 ? (int)strtoul(argv[4], NULL, 10) : 1);
}
