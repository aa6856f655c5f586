/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container's program that sends in its first instructions: a datagram and a connection attempt.
 *
 *   first send ADDR PORT [SECONDS]     both, once, then it stays for a while
 *   first connect ADDR PORT TRIES      connects until it is answered, 100 ms a try
 *
 * Prints when it began (CLOCK_MONOTONIC, ms), and for connect how long it took and the tries.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRY_MS 100

static double
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* A socket on its way; 0 if it is open within the time. */
static int
try_connect(const struct sockaddr_in *to, int wait_ms)
{
	int error = 0, s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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

int
main(int argc, char **argv)
{
	double began = now_ms();
	struct sockaddr_in to = { .sin_family = AF_INET };
	int s, tries = 0, max;

	if (argc < 4 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1)
		return 2;
	to.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	max = argc > 4 ? (int)strtoul(argv[4], NULL, 10) : 1;
	if (strcmp(argv[1], "send") == 0) {
		s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		sendto(s, "first", 5, 0, (const struct sockaddr *)&to, sizeof(to));
		try_connect(&to, 1);
		printf("began %.3f\n", began);
		fflush(stdout);
		sleep(argc > 4 ? (unsigned)max : 0);
		return 0;
	}
	while (++tries <= max) {
		double start = now_ms();
		int error = try_connect(&to, TRY_MS);

		if (error == 0) {
			printf("began %.3f open %.3f tries %d\n", began, now_ms() - began, tries);
			return 0;
		}
		if (now_ms() - start < TRY_MS)
			usleep((useconds_t)((TRY_MS - (now_ms() - start)) * 1000));
	}
	printf("began %.3f failed\n", began);
	return 1;
}
