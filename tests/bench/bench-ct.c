/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conntrack events at the highest rate: N new UDP flows between two namespaces, each answered,
 * under the observe table. Our drained reader runs beside "conntrack -E" on the same events. The
 * oracle is the sender, which counts the flows that were answered.
 *
 * bench-ct [flows]: needs root. Prints one line per reader, then the traffic alone for comparison.
 */
#include "netlink/ct.h"
#include "netlink/netns.h"
#include "rules/util.h"
#include "tests/integration/nslib.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_FLOWS 1000000u
#define RCVBUF (32 << 20)
#define DRAIN_DELAY_US 2000
#define BATCH 32
#define SERVERS 8
#define FIRST_PORT 9000

struct shared {
	uint64_t answered, events, cpu_ns, overruns, wakeups, recv_ns;
	volatile bool stop, ready;
};

static uint64_t
now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Answers every datagram until it is killed. */
static void
echo(int nsfd)
{
	struct pollfd pfd[SERVERS];
	struct sockaddr_storage from[BATCH];
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	char byte[BATCH];

	for (int i = 0; i < SERVERS; i++) {
		pfd[i] = (struct pollfd){ .fd = ns_udp(nsfd, NS_B4, (uint16_t)(FIRST_PORT + i)),
			.events = POLLIN };
		sock_rcvbuf(pfd[i].fd, 8 << 20);
	}
	for (;;) {
		poll(pfd, SERVERS, -1);
		for (int i = 0; i < SERVERS; i++) {
			int n;

			if ((pfd[i].revents & POLLIN) == 0)
				continue;
			for (int k = 0; k < BATCH; k++) {
				iov[k] = (struct iovec){ &byte[k], 1 };
				memset(&m[k], 0, sizeof(m[k]));
				m[k].msg_hdr.msg_iov = &iov[k];
				m[k].msg_hdr.msg_iovlen = 1;
				m[k].msg_hdr.msg_name = &from[k];
				m[k].msg_hdr.msg_namelen = sizeof(from[k]);
			}
			n = recvmmsg(pfd[i].fd, m, BATCH, MSG_DONTWAIT, NULL);
			if (n > 0)
				sendmmsg(pfd[i].fd, m, (unsigned)n, 0);
		}
	}
}

/*
 * Each flow is a new tuple: one client socket per source port, to each server port in turn. A
 * window of one socket's flows is outstanding, so that no socket buffer ever drops.
 */
static uint64_t
send_flows(int nsfd, unsigned flows)
{
	const unsigned sockets = (flows + SERVERS - 1) / SERVERS;
	struct sockaddr_storage to[SERVERS];
	struct mmsghdr m[SERVERS];
	struct iovec iov[SERVERS];
	char byte[SERVERS] = { 0 };
	uint64_t answered = 0;
	socklen_t len = 0;

	for (int i = 0; i < SERVERS; i++)
		len = ns_sockaddr(NS_B4, (uint16_t)(FIRST_PORT + i), &to[i]);
	for (unsigned s = 0; s < sockets; s++) {
		const unsigned n = MIN(flows - s * SERVERS, SERVERS);
		const uint16_t port = (uint16_t)(10000 + s % 50000);
		/* More source ports than one address has: a second and third address. */
		static const char *const sources[] = { NS_A4, "10.99.0.101", "10.99.0.102" };
		_cleanup_close_ int fd = ns_udp(nsfd, sources[s / 50000 % 3], port);
		unsigned got = 0;

		if (fd < 0)
			break;
		for (unsigned i = 0; i < n; i++) {
			iov[i] = (struct iovec){ &byte[i], 1 };
			memset(&m[i], 0, sizeof(m[i]));
			m[i].msg_hdr.msg_iov = &iov[i];
			m[i].msg_hdr.msg_iovlen = 1;
			m[i].msg_hdr.msg_name = &to[i];
			m[i].msg_hdr.msg_namelen = len;
		}
		if (sendmmsg(fd, m, n, 0) != (int)n)
			break;
		for (unsigned i = 0; i < n; i++)
			m[i].msg_hdr.msg_name = NULL;
		while (got < n) {
			int r = recvmmsg(fd, m, n - got, MSG_WAITFORONE, NULL);

			if (r <= 0)
				break;
			got += (unsigned)r;
		}
		answered += got;
	}
	return answered;
}

static int
count_entry(void *arg, const struct ct_entry *e)
{
	struct shared *sh = arg;

	if (e->orig.proto == IPPROTO_UDP && e->orig.dport >= FIRST_PORT &&
	    e->orig.dport < FIRST_PORT + SERVERS && (e->status & CT_SEEN_REPLY) != 0)
		sh->events++;
	return 0;
}

static void
reader(int sock, struct shared *sh)
{
	static uint8_t buf[65536] __attribute__((aligned(8)));
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	struct ct_recv_stats stats = { 0 };
	uint64_t start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	bool last = false;

	sh->ready = true;
	/* One more round after the sender is done. */
	while (!last) {
		int r;

		last = sh->stop;
		if (poll(&pfd, 1, 100) <= 0)
			continue;
		last = false;
		sh->wakeups++;
		usleep(DRAIN_DELAY_US);
		do
			r = ct_recv(
			    sock, buf, sizeof(buf), 1024, count_entry, sh, &stats, NULL, NULL);
		while (r > 0 || r == -ENOBUFS);
	}
	sh->overruns = stats.overruns;
	sh->cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
}

/* "conntrack -E" on the same group with the same buffer (the kernel doubles), its lines counted
 * from a file once it has ended. */
static pid_t
start_conntrack(int nsfd, int out)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (setns(nsfd, CLONE_NEWNET) == 0 && dup2(out, 1) == 1)
		execlp("conntrack", "conntrack", "-E", "-e", "UPDATES", "-p", "udp", "-b",
		    "16777216", (char *)NULL);
	_exit(127);
}

static uint64_t
count_lines(int fd)
{
	static char buf[1 << 20];
	uint64_t lines = 0;
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += buf[i] == '\n';
	return lines;
}

static uint64_t
reap(pid_t pid, int sig)
{
	struct rusage ru = { 0 };
	int status;

	if (pid <= 0)
		return 0;
	if (sig != 0)
		kill(pid, sig);
	wait4(pid, &status, 0, &ru);
	return ((uint64_t)ru.ru_utime.tv_sec + (uint64_t)ru.ru_stime.tv_sec) * NSEC_PER_SEC +
	       ((uint64_t)ru.ru_utime.tv_usec + (uint64_t)ru.ru_stime.tv_usec) * 1000;
}

enum readers {
	NONE = 0,
	OURS = 1,
	THEIRS = 2,
};

static void
print_reader(const char *name, uint64_t events, uint64_t answered, uint64_t cpu_ns)
{
	printf("  %-14s %8llu of %llu events, lost %lld (%.3f%%), %.0f ns of CPU an event\n", name,
	    (unsigned long long)events, (unsigned long long)answered,
	    (long long)(answered - events),
	    answered == 0 ? 0.0 : 100.0 * (double)(int64_t)(answered - events) / (double)answered,
	    events == 0 ? 0.0 : (double)cpu_ns / (double)events);
}

static void
run(const char *name, unsigned flows, bool table, unsigned readers)
{
	struct shared *sh;
	pid_t server, ours = 0, theirs = 0;
	uint64_t t0, t, theirs_ns = 0;
	struct ns_pair p;
	int out, ev = -1;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ns_pair_new(&p);
	NS_RUN(p.a, "ip", "addr", "add", "10.99.0.101/24", "dev", "va");
	NS_RUN(p.a, "ip", "addr", "add", "10.99.0.102/24", "dev", "va");
	if (table)
		ns_nft(p.a, "table inet obs { chain o { type filter hook output priority 0;"
			    " ct state new ct event set reply; }\n"
			    " chain i { type filter hook input priority 0; }\n}\n");
	server = fork();
	if (server == 0)
		echo(p.b);
	out = memfd_create("events", MFD_CLOEXEC);
	if ((readers & THEIRS) != 0)
		theirs = start_conntrack(p.a, out);
	if ((readers & OURS) != 0) {
		ev = ct_open_events(p.a, CT_GROUP_UPDATE, RCVBUF);
		ours = fork();
		if (ours == 0) {
			reader(ev, sh);
			_exit(0);
		}
	}
	usleep(300000);
	t0 = now_ns(CLOCK_MONOTONIC);
	sh->answered = send_flows(p.a, flows);
	t = now_ns(CLOCK_MONOTONIC) - t0;
	sh->stop = true;
	if (ours > 0)
		reap(ours, 0);
	usleep((readers & THEIRS) != 0 ? 1000000 : 0);
	theirs_ns = reap(theirs, SIGINT);
	reap(server, SIGKILL);

	printf("%s: %llu of %u flows answered in %.2f s, %.0f flows a second\n", name,
	    (unsigned long long)sh->answered, flows, (double)t / 1e9,
	    (double)sh->answered * 1e9 / (double)t);
	if (ours > 0) {
		print_reader("drained reader", sh->events, sh->answered, sh->cpu_ns);
		printf("  %-14s %llu wake-ups, %llu overruns\n", "",
		    (unsigned long long)sh->wakeups, (unsigned long long)sh->overruns);
	}
	if (theirs > 0)
		print_reader("conntrack -E", count_lines(out), sh->answered, theirs_ns);
	fflush(stdout);
	if (ev >= 0)
		close(ev);
	close(out);
	close(p.a);
	close(p.b);
	munmap(sh, sizeof(*sh));
}

int
main(int argc, char **argv)
{
	unsigned long flows = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;

	ns_start();
	if (flows == 0 || flows > MAX_FLOWS) {
		fprintf(stderr, "bench-ct: 1 to %u flows\n", MAX_FLOWS);
		return 2;
	}
	run("no table", (unsigned)flows, false, NONE);
	run("observe table, nobody listens", (unsigned)flows, true, NONE);
	run("observe table, drained reader", (unsigned)flows, true, OURS);
	run("observe table, both readers", (unsigned)flows, true, OURS | THEIRS);
	return 0;
}
