/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/nslib.h"

#include "netlink/netns.h"
#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static unsigned tap_count;
static bool tap_failed;

static void
die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(99);
}

void
ns_start(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		exit(0);
	}
	prctl(PR_SET_PDEATHSIG, 9);
}

bool
tap_ok(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %u - ", ok ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!ok)
		tap_failed = true;
	return ok;
}

void
tap_skip(const char *name, const char *why)
{
	printf("ok %u - %s # SKIP %s\n", ++tap_count, name, why);
}

void
tap_note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

int
tap_end(void)
{
	printf("1..%u\n", tap_count);
	return tap_failed ? 1 : 0;
}

int
ns_new(void)
{
	_cleanup_close_ int self = -1;
	int fd;

	self = netns_open_self();
	if (self < 0 || unshare(CLONE_NEWNET) < 0)
		die("unshare");
	fd = netns_open_self();
	if (setns(self, CLONE_NEWNET) < 0)
		die("setns");
	if (fd < 0 || NS_RUN(fd, "ip", "link", "set", "lo", "up") != 0)
		die("new namespace");
	return fd;
}

static int
input_fd(const char *input)
{
	size_t len;
	int fd;

	if (input == NULL)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	len = strlen(input);
	fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0 || write(fd, input, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0)
		die("input");
	return fd;
}

int
ns_run(int nsfd, const char *input, const char *const argv[])
{
	_cleanup_close_ int in = input_fd(input);
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 9);
		/* Standard output carries TAP. */
		if (setns(nsfd, CLONE_NEWNET) == 0 && dup2(in, 0) == 0 && dup2(2, 1) == 1)
			execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void
ns_nft(int nsfd, const char *script)
{
	if (ns_run(nsfd, script, (const char *const[]){ "nft", "-f", "-", NULL }) != 0)
		die("nft");
}

void
ns_pair_new(struct ns_pair *ret)
{
	char peer[64];

	ret->a = ns_new();
	ret->b = ns_new();
	snprintf(peer, sizeof(peer), "/proc/%d/fd/%d", (int)getpid(), ret->b);
	if (NS_RUN(ret->a, "ip", "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns",
		peer) != 0)
		die("veth");
	if (NS_RUN(ret->a, "ip", "addr", "add", NS_A4 "/24", "dev", "va") != 0 ||
	    NS_RUN(ret->b, "ip", "addr", "add", NS_B4 "/24", "dev", "vb") != 0 ||
	    NS_RUN(ret->a, "ip", "addr", "add", NS_A6 "/64", "dev", "va", "nodad") != 0 ||
	    NS_RUN(ret->b, "ip", "addr", "add", NS_B6 "/64", "dev", "vb", "nodad") != 0 ||
	    NS_RUN(ret->a, "ip", "link", "set", "va", "up") != 0 ||
	    NS_RUN(ret->b, "ip", "link", "set", "vb", "up") != 0)
		die("addresses");
	/* The carrier comes up a moment later. */
	for (int i = 0; i < 100; i++) {
		if (ns_ping(ret->a, NS_B4, 1) == 0 && ns_ping(ret->a, NS_B6, 1) == 0)
			return;
		usleep(10000);
	}
	die("wire");
}

socklen_t
ns_sockaddr(const char *addr, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *s4 = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, addr, &s4->sin_addr) == 1) {
		s4->sin_family = AF_INET;
		s4->sin_port = htons(port);
		return sizeof(*s4);
	}
	if (inet_pton(AF_INET6, addr, &s6->sin6_addr) != 1)
		die(addr);
	s6->sin6_family = AF_INET6;
	s6->sin6_port = htons(port);
	return sizeof(*s6);
}

struct addr
ns_addr(const char *text)
{
	struct addr a = { .family = 4 };

	if (inet_pton(AF_INET, text, a.bytes) == 1)
		return a;
	a.family = 6;
	if (inet_pton(AF_INET6, text, a.bytes) != 1)
		die(text);
	return a;
}

static int
socket_for(int nsfd, int type, const struct sockaddr_storage *sa)
{
	const struct timeval limit = { .tv_sec = 2 };
	const int on = 1;
	int fd;

	fd = netns_socket(nsfd, sa->ss_family, type, 0);
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd;
}

int
ns_listen(int nsfd, const char *addr, uint16_t port)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len = ns_sockaddr(addr, port, &sa);

	fd = socket_for(nsfd, SOCK_STREAM, &sa);
	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 64) < 0)
		return -errno;
	return steal_fd(&fd);
}

int
ns_connect(int nsfd, const char *addr, uint16_t port)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len = ns_sockaddr(addr, port, &sa);

	fd = socket_for(nsfd, SOCK_STREAM, &sa);
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	return steal_fd(&fd);
}

int
ns_udp(int nsfd, const char *addr, uint16_t port)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len = ns_sockaddr(addr, port, &sa);

	fd = socket_for(nsfd, SOCK_DGRAM, &sa);
	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	return steal_fd(&fd);
}

uint16_t
ns_local_port(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		die("getsockname");
	/* The port is at the same place in both families. */
	return ntohs(((struct sockaddr_in *)&sa)->sin_port);
}

int
ns_talk(int a, int b)
{
	char c = 'x';

	if (send(a, &c, 1, MSG_NOSIGNAL) != 1 || recv(b, &c, 1, 0) != 1)
		return -errno;
	if (send(b, &c, 1, MSG_NOSIGNAL) != 1 || recv(a, &c, 1, 0) != 1)
		return -errno;
	return 0;
}

int
ns_tcp(int client_ns, int server_ns, const char *server, uint16_t port, int *ret_client,
    int *ret_server)
{
	_cleanup_close_ int l = -1, c = -1, s = -1;
	int r;

	l = ns_listen(server_ns, server, port);
	if (l < 0)
		return l;
	c = ns_connect(client_ns, server, port);
	if (c < 0)
		return c;
	s = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (s < 0)
		return -errno;
	/* Accepted sockets do not inherit the time limits on every kernel. */
	setsockopt(
	    s, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 2 }, sizeof(struct timeval));
	r = ns_talk(c, s);
	if (r < 0)
		return r;
	*ret_client = steal_fd(&c);
	*ret_server = steal_fd(&s);
	return 0;
}

int
ns_udp_exchange(int client_ns, int server_ns, const char *server, uint16_t port)
{
	_cleanup_close_ int c = -1, s = -1;
	struct sockaddr_storage to, from;
	socklen_t to_len = ns_sockaddr(server, port, &to), from_len = sizeof(from);
	char byte = 'u';

	s = ns_udp(server_ns, server, port);
	if (s < 0)
		return s;
	c = ns_udp(client_ns, strchr(server, ':') != NULL ? "::" : "0.0.0.0", 0);
	if (c < 0)
		return c;
	if (sendto(c, &byte, 1, 0, (struct sockaddr *)&to, to_len) != 1 ||
	    recvfrom(s, &byte, 1, 0, (struct sockaddr *)&from, &from_len) != 1 ||
	    sendto(s, &byte, 1, 0, (struct sockaddr *)&from, from_len) != 1 ||
	    recv(c, &byte, 1, 0) != 1)
		return -errno;
	return ns_local_port(c);
}

int
ns_ping(int nsfd, const char *addr, uint16_t id)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len = ns_sockaddr(addr, 0, &sa);
	const bool v6 = sa.ss_family == AF_INET6;
	const struct timeval limit = { .tv_usec = 100000 };
	uint8_t echo[8] = { v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO, 0, 0, 0, (uint8_t)(id >> 8),
		(uint8_t)id, 0, 1 };
	uint8_t in[256];
	uint16_t sum;
	ssize_t n;

	fd = netns_socket(nsfd, sa.ss_family, SOCK_RAW, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	/* Type, code and id and sequence: too small to carry twice. ICMPv6's sum is the kernel's.
	 */
	sum = (uint16_t) ~(((uint32_t)echo[0] << 8) + id + 1);
	echo[2] = v6 ? 0 : (uint8_t)(sum >> 8);
	echo[3] = v6 ? 0 : (uint8_t)sum;
	if (sendto(fd, echo, sizeof(echo), 0, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	for (int i = 0; i < 16; i++) {
		const uint8_t *icmp = v6 ? in : in + 20;

		n = recv(fd, in, sizeof(in), 0);
		if (n < 0)
			return -errno;
		if (n >= (v6 ? 8 : 28) && icmp[0] == (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) &&
		    icmp[4] == echo[4] && icmp[5] == echo[5])
			return 0;
	}
	return -ETIMEDOUT;
}

int
ns_unprivileged(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 9);
		if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
		    setresuid(65534, 65534, 65534) < 0 ||
		    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			_exit(126);
		_exit(fn(arg) & 0x7f);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
