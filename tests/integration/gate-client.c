/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container's only program, static: its first instructions send a UDP packet and a TCP SYN to
 * ADDRESS PORT. Prints "tcp yes" or "tcp no" when the connection is answered or not, within a
 * quarter of a second. Without arguments it sleeps: something for a server's container.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 250

static int
say(const char *text)
{
	return write(STDOUT_FILENO, text, strlen(text)) < 0;
}

int
main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int udp, tcp, error = 0;
	socklen_t len = sizeof(error);
	struct pollfd p;

	if (argc < 3) {
		sleep(600);
		return 0;
	}
	to.sin_port = htons((unsigned short)atoi(argv[2]));
	if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	sendto(udp, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
	tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(tcp, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		return say("tcp no\n");
	p = (struct pollfd){ .fd = tcp, .events = POLLOUT };
	if (poll(&p, 1, WAIT_MS) != 1 || getsockopt(tcp, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ||
	    error != 0)
		return say("tcp no\n");
	return say("tcp yes\n");
}
