/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the warden and the capture role send, as JSON lines, and what they hand over, in use. */
#include "config.h"
#include "tests/integration/warden-driver.h"

#include "daemon/proto.h"
#include "netlink/ct.h"
#include "netlink/rtnl.h"
#include "netlink/sockdiag.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct attached attached[MAX_ATTACHED];
size_t n_attached;
bool count_only;

static void
out_text(const char *name, const char *s, size_t max)
{
	printf(",\"%s\":\"", name);
	for (size_t i = 0; i < max && s[i] != '\0'; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void
out_hex(const char *name, const uint8_t *b, size_t n)
{
	printf(",\"%s\":\"", name);
	for (size_t i = 0; i < n; i++)
		printf("%02x", b[i]);
	putchar('"');
}

static void
out_tuple(const struct tuple *t)
{
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];

	printf(",\"proto\":%u,\"src\":\"%s\",\"sport\":%u,\"dst\":\"%s\",\"dport\":%u", t->proto,
	    addr_format(&t->src, src), t->sport, addr_format(&t->dst, dst), t->dport);
}

void
fail(const char *what)
{
	printf("{\"msg\":\"FAIL\",\"what\":\"%s\",\"errno\":%d}\n", what, errno);
	fflush(stdout);
	exit(1);
}

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void
drop_attached(uint64_t cookie)
{
	for (size_t i = 0; i < n_attached; i++) {
		if (cookie != 0 && attached[i].cookie != cookie)
			continue;
		for (int k = 0; k < 4; k++)
			close_fd(&attached[i].fds[k]);
		attached[i--] = attached[--n_attached];
	}
}

static void
show_netns(const struct msg *m)
{
	const struct w_netns *b = (const void *)m->body;

	printf(",\"cookie\":%" PRIu64 ",\"ino\":%" PRIu64 ",\"flags\":%u,\"pid\":%d,\"seen\":%.6f"
	       ",\"closed\":%.6f,\"opened\":%.6f,\"began\":%.6f",
	    b->cookie, b->ino, b->flags, b->pid, (double)b->seen_ns / 1e9,
	    (double)b->closed_ns / 1e9, (double)b->opened_ns / 1e9, (double)b->began_ns / 1e9);
	out_text("name", b->basename, sizeof(b->basename));
	out_text("container", b->container_id, sizeof(b->container_id));
}

static void
show_attached(struct msg *m)
{
	const struct w_attached *b = (const void *)m->body;

	printf(",\"cookie\":%" PRIu64 ",\"error\":%d,\"owned\":%u,\"adopted\":%u,\"count\":%u,"
	       "\"max\":%u,\"rcvbuf\":%u,\"fds\":%zu",
	    b->cookie, b->error, b->owned, b->adopted, b->ct_count, b->ct_max, b->rcvbuf, m->n_fds);
	if (b->error != 0 || m->n_fds != 4)
		return;
	drop_attached(b->cookie);
	if (n_attached == MAX_ATTACHED)
		return;
	attached[n_attached].cookie = b->cookie;
	for (int k = 0; k < 4; k++)
		attached[n_attached].fds[k] = steal_fd(&m->fds[k]);
	n_attached++;
}

static void
show_applied(const struct msg *m)
{
	const struct w_applied *b = (const void *)m->body;

	printf(",\"cookie\":%" PRIu64 ",\"error\":%d,\"usec\":%u,\"owned\":%u,\"match\":%u",
	    b->cookie, b->error, b->usec, b->owned, b->match);
	out_hex("kernel", b->kernel, sizeof(b->kernel));
}

static void
show_state(const struct msg *m)
{
	const struct w_nft_state *b = (const void *)m->body;

	printf(",\"cookie\":%" PRIu64 ",\"error\":%d,\"present\":%u,\"match\":%u,\"rules\":%u,"
	       "\"elems\":%u,\"dropped\":%" PRIu64,
	    b->cookie, b->error, b->present, b->match, b->n_rules, b->n_elems, b->dropped);
	out_hex("kernel", b->kernel, sizeof(b->kernel));
}

static void
show_ct_stats(const struct msg *m)
{
	const struct w_ct_stats *b = (const void *)m->body;
	size_t n = m->h.body_len / sizeof(*b);

	printf(",\"all\":[");
	for (size_t i = 0; i < n; i++)
		printf("%s{\"cookie\":%" PRIu64 ",\"count\":%u,\"max\":%u}", i > 0 ? "," : "",
		    b[i].cookie, b[i].count, b[i].max);
	putchar(']');
}

static void
show_cap_stats(const struct msg *m)
{
	const struct cap_stats *b = (const void *)m->body;

	printf(",\"frames\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"ring_dropped\":%" PRIu64
	       ",\"nflog_lost\":%" PRIu64 ",\"unsent\":%" PRIu64,
	    b->frames, b->malformed, b->ring_dropped, b->nflog_lost, b->unsent);
	out_text("error", b->error, sizeof(b->error));
}

static void
show_events(const struct msg *m)
{
	const struct flow_event *ev = (const void *)m->body;
	size_t n = m->h.body_len / sizeof(*ev);

	for (size_t i = 0; i < n; i++) {
		if (flow_event_validate(&ev[i]) < 0)
			printf("{\"msg\":\"BAD_EVENT\"}\n");
		if (count_only)
			continue;
		printf("{\"msg\":\"EVENT\",\"netns\":%" PRIu64
		       ",\"kind\":%u,\"dir\":%u,\"ifindex\":%u,\"count\":%u,\"time\":%.6f",
		    ev[i].netns, ev[i].kind, ev[i].dir, ev[i].ifindex, ev[i].count,
		    (double)ev[i].time_ns / 1e9);
		out_tuple(&ev[i].tuple);
		printf("}\n");
	}
	printf("{\"msg\":\"EVENTS\",\"n\":%zu}\n", n);
}

void
show(struct msg *m)
{
	const struct w_done *done = (const void *)m->body;
	const struct w_ct_entry *entry = (const void *)m->body;
	const struct w_cookie *cookie = (const void *)m->body;
	const struct w_hello *hello = (const void *)m->body;

	if (m->h.type == MSG_CAP_EVENTS) {
		show_events(m);
		return;
	}
	printf("{\"msg\":\"%s\",\"seq\":%u,\"at\":%.6f", msg_shape_of(m->h.type)->name, m->h.seq,
	    now_s());
	switch (m->h.type) {
	case MSG_W_HELLO:
		printf(",\"features\":%u", hello->features);
		out_text("kernel", hello->kernel, sizeof(hello->kernel));
		break;
	case MSG_W_NETNS:
		show_netns(m);
		break;
	case MSG_W_NETNS_GONE:
		printf(",\"cookie\":%" PRIu64, cookie->cookie);
		drop_attached(cookie->cookie);
		break;
	case MSG_W_ATTACHED:
		show_attached(m);
		break;
	case MSG_W_APPLIED:
		show_applied(m);
		break;
	case MSG_W_DONE:
		printf(",\"cookie\":%" PRIu64 ",\"error\":%d", done->cookie, done->error);
		break;
	case MSG_W_CT_ENTRY:
		printf(",\"cookie\":%" PRIu64 ",\"error\":%d,\"status\":%u", entry->cookie,
		    entry->error, entry->status);
		out_tuple(&entry->orig);
		break;
	case MSG_W_CT_STATS:
		show_ct_stats(m);
		break;
	case MSG_W_NFT_STATE:
		show_state(m);
		break;
	case MSG_CAP_STATS:
		show_cap_stats(m);
		break;
	default:
		break;
	}
	printf("}\n");
}

/* An unprivileged process uses what was handed over. */

static int
print_socket(void *arg, const struct diag_socket *s)
{
	char a[ADDR_STRLEN];

	printf("{\"msg\":\"SOCKET\",\"proto\":%u,\"listening\":%d,\"local\":\"%s\",\"port\":%u}\n",
	    s->proto, s->listening, addr_format(&s->local, a), s->local_port);
	return 0;
}

static int
print_entry(void *arg, const struct ct_entry *e)
{
	printf("{\"msg\":\"CT\",\"from\":\"%s\",\"kind\":%u,\"status\":%u", (const char *)arg,
	    e->msg, e->status);
	out_tuple(&e->orig);
	printf("}\n");
	return 0;
}

static void
use_ct(int fd, const char *what, int timeout_ms)
{
	static uint8_t buf[65536];
	struct ct_recv_stats stats = { 0 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	double end = now_s() + timeout_ms / 1000.0;
	bool done = false;
	int error = 0;

	while (!done && now_s() < end) {
		if (poll(&p, 1, (int)((end - now_s()) * 1000) + 1) > 0)
			ct_recv(fd, buf, sizeof(buf), 64, print_entry, (void *)what, &stats, &done,
			    &error);
	}
	if (done)
		printf("{\"msg\":\"CT_END\",\"error\":%d}\n", error);
}

static void
use_rtnl(int fd)
{
	struct rtnl_watch *w = NULL;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	const struct rtnl_addr *all;
	char a[ADDR_STRLEN];
	size_t n;

	if (rtnl_watch_new(fd, &w) < 0) {
		printf("{\"msg\":\"RTNL_FAIL\"}\n");
		return;
	}
	for (int i = 0; i < 20 && !rtnl_watch_ready(w); i++)
		if (poll(&p, 1, 50) > 0)
			rtnl_watch_read(w);
	all = rtnl_watch_addrs(w, &n);
	for (size_t i = 0; i < n; i++)
		printf("{\"msg\":\"ADDR\",\"addr\":\"%s\"}\n", addr_format(&all[i].addr, a));
}

void
use_child(int fds[4], int timeout_ms)
{
	if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
	    setresuid(65534, 65534, 65534) < 0)
		fail("drop");
	use_rtnl(fds[2]);
	if (diag_listening(fds[3], IPPROTO_TCP, 1000, print_socket, NULL) < 0 ||
	    diag_established(fds[3], 1000, print_socket, NULL) < 0)
		printf("{\"msg\":\"DIAG_FAIL\"}\n");
	use_ct(fds[1], "dump", timeout_ms / 2);
	use_ct(fds[0], "events", timeout_ms / 2);
	printf("{\"msg\":\"USED\",\"uid\":%d}\n", (int)getuid());
	fflush(stdout);
	_exit(0);
}
