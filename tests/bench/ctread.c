/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel asks for a connection event, whoever reads it: the same socket, drained in the
 * same way as the controller's, and nothing done with what comes.
 *
 *   ctread NETNS [reports]
 *
 * reports: those of NFLOG in place of events, many in a datagram. The netns is a path. Says
 * "ready", with the group that it has bound, reads until its standard input ends, and prints
 * "messages N nanoseconds M", M of processor time, user's and kernel's.
 */
#include "netlink/ct.h"
#include "netlink/drain.h"
#include "netlink/nflog.h"
#include "rules/util.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RCVBUF (64 << 20)
#define DRAIN_DELAY_US 2000
#define DRAIN_MAX_MESSAGES 8192

static int
on_message(void *arg, const struct nlmsghdr *nlh)
{
	*(uint64_t *)arg += nlh->nlmsg_type != NLMSG_DONE;
	return 0;
}

static uint64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

int
main(int argc, char **argv)
{
	static uint8_t buf[65536] __attribute__((aligned(8)));
	const bool reports = argc == 3 && strcmp(argv[2], "reports") == 0;
	_cleanup_close_ int ns = argc == 2 || reports ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	uint16_t group = 0;
	_cleanup_close_ int sock = ns < 0    ? -1
				   : reports ? nflog_open(ns, RCVBUF, &group)
					     : ct_open_events(ns, CT_GROUP_UPDATE, RCVBUF);
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = sock, .events = POLLIN } };
	uint64_t messages = 0, malformed = 0, before;
	int r = 0;

	if (sock < 0) {
		fprintf(stderr, "usage: ctread NETNS [reports], as root\n");
		return 2;
	}
	printf("ready %u\n", group);
	fflush(stdout);
	before = cpu_ns();
	while (r >= 0 && poll(fds, ARRAY_SIZE(fds), -1) > 0 && fds[0].revents == 0) {
		usleep(DRAIN_DELAY_US);
		r = nl_drain_slots(sock, buf, sizeof(buf), reports ? sizeof(buf) : CT_EVENT_MAX,
		    DRAIN_MAX_MESSAGES, on_message, &messages, &malformed);
	}
	printf("messages %llu nanoseconds %llu\n", (unsigned long long)messages,
	    (unsigned long long)(cpu_ns() - before));
	return r < 0;
}
