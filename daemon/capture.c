/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture role: the only one that parses packets. It has the libpcap handle on the host's
 * interfaces and the NFLOG sockets that the warden hands over, and turns both into flow events for
 * the controller.
 *
 * Invariants: no allocation per packet; work per wake-up is bounded; what the controller does not
 * take is dropped here and counted, never queued without bound.
 */
#include "config.h"
#include "daemon/capture_sources.h"
#include "daemon/log.h"
#include "daemon/recent.h"
#include "daemon/role.h"
#include "netlink/capture.h"
#include "netlink/nflog.h"
#include "rules/dns_watch.h"
#include "rules/server_name.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH_EVENTS 400u
#define BATCH_MS 5
#define STATS_S 1
#define FRAMES_PER_WAKE 256
#define READS_PER_WAKE 32
#define MAX_QUEUED 32u	      /* messages waiting for the controller: 12,800 events */
#define LOOPBACK_IFINDEX 1    /* in every namespace */
#define LABELS_PER_SECOND 20u /* of a namespace: root inside can log to our group */
#define TCP_SYN 0x02
#define TCP_ACK 0x10

struct capturer {
	struct role_args args;
	struct role_loop loop;
	struct capture *pcap;
	struct event *pcap_readable, *flush, *stats_timer;
	struct report_sources sources;
	struct recent recent;
	struct dns_watch *dns;
	uint64_t dns_inside; /* answers from beyond that came in by the loopback */
	struct flow_event batch[BATCH_EVENTS];
	size_t n_batch;
	struct cap_stats stats, sent;
	bool stats_armed;
	uint64_t now_ns; /* monotonic, of this wake-up */
	uint8_t buf[65536] __attribute__((aligned(8)));
};

static uint64_t
clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Statistics: sent a second after something happened, and again while they change. */

static void
stats_touch(struct capturer *c)
{
	const struct timeval tv = { STATS_S, 0 };

	if (c->stats_armed)
		return;
	c->stats_armed = true;
	evtimer_add(c->stats_timer, &tv);
}

static int
tell_lost(void *arg, const struct cap_lost *list, size_t n)
{
	struct capturer *c = arg;

	return role_send(&c->loop, ROLE_CONTROLLER, MSG_CAP_LOST, 0, list, n * sizeof(list[0]));
}

static void
losses_send(struct capturer *c)
{
	if (!sources_tell_lost(&c->sources, tell_lost, c))
		stats_touch(c);
}

static void
stats_send(struct capturer *c)
{
	struct capture_stats s;

	losses_send(c);
	if (c->pcap != NULL && capture_stats(c->pcap, &s) == 0)
		c->stats.ring_dropped = s.dropped;
	if (memcmp(&c->stats, &c->sent, sizeof(c->stats)) == 0)
		return;
	if (role_send(&c->loop, ROLE_CONTROLLER, MSG_CAP_STATS, 0, &c->stats, sizeof(c->stats)) ==
	    0)
		c->sent = c->stats;
	/* The ring may go on losing after the last frame we saw. */
	stats_touch(c);
}

static void
on_stats_timer(evutil_socket_t fd, short what, void *arg)
{
	struct capturer *c = arg;

	c->stats_armed = false;
	stats_send(c);
}

/* Events out */

static void
batch_flush(struct capturer *c)
{
	struct chan *to = c->loop.peers[ROLE_CONTROLLER];
	int r = -ENOTCONN;

	evtimer_del(c->flush);
	if (c->n_batch == 0)
		return;
	if (to != NULL && chan_queued(to) < MAX_QUEUED)
		r = chan_send(
		    to, MSG_CAP_EVENTS, 0, c->batch, c->n_batch * sizeof(c->batch[0]), NULL, 0);
	if (r < 0) {
		c->stats.unsent += c->n_batch;
		for (size_t k = 0; k < c->n_batch; k++)
			sources_note_lost(&c->sources, c->batch[k].netns, 1, 0);
		stats_touch(c);
	}
	c->n_batch = 0;
}

static void
on_flush(evutil_socket_t fd, short what, void *arg)
{
	batch_flush(arg);
}

static struct flow_event *
batch_next(struct capturer *c)
{
	const struct timeval tv = { 0, BATCH_MS * 1000 };
	struct flow_event *ev;

	if (c->n_batch == BATCH_EVENTS)
		batch_flush(c);
	if (c->n_batch == 0)
		evtimer_add(c->flush, &tv);
	ev = &c->batch[c->n_batch++];
	memset(ev, 0, sizeof(*ev));
	ev->count = 1;
	return ev;
}

/* The tuple of a frame that opens a connection; ICMP as flow.h has it. */
static struct tuple
tuple_of(const struct frame_info *f)
{
	struct tuple t = f->tuple;

	memset(t.zero, 0, sizeof(t.zero));
	return t;
}

/* Frames of the host's interfaces */

static void
on_frame(void *arg, const struct frame_info *f, uint64_t time_ns)
{
	struct capturer *c = arg;
	struct tuple t = tuple_of(f);
	struct flow_event *ev;

	c->stats.frames++;
	if (t.proto == IPPROTO_TCP && (f->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return;
	if (recent_seen(&c->recent, 0, &t, c->now_ns))
		return;
	ev = batch_next(c);
	ev->time_ns = time_ns;
	ev->tuple = t;
	ev->kind = FLOW_ATTEMPT;
	ev->ifindex = f->ifindex;
}

static void
on_pcap(evutil_socket_t fd, short what, void *arg)
{
	struct capturer *c = arg;
	int r;

	c->now_ns = clock_ns(CLOCK_MONOTONIC);
	r = capture_dispatch(c->pcap, FRAMES_PER_WAKE, on_frame, c, &c->stats.malformed);
	stats_touch(c);
	if (r >= 0 || r == -EAGAIN)
		return;
	snprintf(c->stats.error, sizeof(c->stats.error), "capture ended: %s", strerror(-r));
	log_error("%s; attempts are seen through the rules' reports alone", c->stats.error);
	event_free(steal_ptr(c->pcap_readable));
	capture_free(steal_ptr(c->pcap));
}

/* Reports of the rules */

static int
report_kind(const struct nflog_report *r)
{
	switch (r->what) {
	case NFLOG_WHAT_DENIED:
		return FLOW_DENIED;
	case NFLOG_WHAT_AUDITED:
		return FLOW_AUDITED;
	case NFLOG_WHAT_NEW:
	case NFLOG_WHAT_UNREACHABLE:
		return FLOW_ATTEMPT;
	default:
		return -ENOTSUP;
	}
}

/* Right away: whoever asked goes on to connect. */
static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct capturer *c = arg;
	struct {
		struct cap_answer head;
		struct addr addrs[DNS_MAX_ADDRS];
	} body = { .head = { .cookie = a->netns,
		       .time_ns = clock_ns(CLOCK_REALTIME),
		       .resolver = a->resolver,
		       .ttl_s = a->message->ttl_s,
		       .translated = a->translated } };
	struct chan *to = c->loop.peers[ROLE_CONTROLLER];
	size_t n = a->message->n_addrs;
	int r = -ENOTCONN;

	snprintf(body.head.name, sizeof(body.head.name), "%s", a->message->name);
	memcpy(body.addrs, a->message->addrs, n * sizeof(body.addrs[0]));
	if (to != NULL && chan_queued(to) < MAX_QUEUED)
		r = chan_send(to, MSG_CAP_ANSWER, 0, &body,
		    sizeof(body.head) + n * sizeof(body.addrs[0]), NULL, 0);
	c->stats.unsent += r < 0;
	sources_note_lost(&c->sources, a->netns, 0, r < 0);
}

/*
 * What comes in by the loopback was sent inside. Only what is there itself can answer that way: an
 * answer from beyond is one that somebody with a raw socket wrote.
 */
static bool
is_sent_inside(const struct nflog_report *r, const struct frame_info *f)
{
	return r->indev == LOOPBACK_IFINDEX && !addr_is_loopback(&f->tuple.src);
}

static void
take_dns(struct report_source *s, const struct nflog_report *r)
{
	const bool answer = r->what == NFLOG_WHAT_DNS_ANSWER;
	struct capturer *c = s->owner;
	struct frame_info f;

	/* What root inside logs to our group by itself may stand in any chain. */
	if (r->where != (answer ? 'i' : 'o') ||
	    frame_parse(FRAME_RAW, r->payload, r->payload_len, &f) < 0) {
		c->stats.malformed++;
		return;
	}
	if (answer && is_sent_inside(r, &f)) {
		c->dns_inside++;
		return;
	}
	dns_watch_packet(c->dns, s->cookie, answer, &f, r->payload, c->now_ns, on_answer, c);
	c->stats.dns_unasked = dns_watch_stats(c->dns)->unasked + c->dns_inside;
	c->stats.dns_broken = dns_watch_stats(c->dns)->broken;
}

static void
take_label(struct report_source *s, const struct nflog_report *r)
{
	struct capturer *c = s->owner;
	struct chan *to = c->loop.peers[ROLE_CONTROLLER];
	struct cap_label body = { .cookie = s->cookie };
	struct server_name name;
	struct frame_info f;

	if (s->labels_second != c->now_ns / NSEC_PER_SEC) {
		s->labels_second = c->now_ns / NSEC_PER_SEC;
		s->n_labels = 0;
	}
	if (s->n_labels++ >= LABELS_PER_SECOND)
		return;
	if (r->where != 'o' || frame_parse(FRAME_RAW, r->payload, r->payload_len, &f) < 0 ||
	    f.tuple.proto != IPPROTO_TCP) {
		c->stats.malformed++;
		return;
	}
	if (server_name_parse(r->payload + f.payload_off, f.payload_len, &name) < 0)
		return;
	body.tuple = tuple_of(&f);
	body.kind = name.kind;
	snprintf(body.name, sizeof(body.name), "%s", name.name);
	if (to == NULL || chan_queued(to) >= MAX_QUEUED ||
	    chan_send(to, MSG_CAP_LABEL, 0, &body, sizeof(body), NULL, 0) < 0)
		c->stats.unsent++;
}

static int
on_report(void *arg, const struct nflog_report *r)
{
	struct report_source *s = arg;
	struct capturer *c = s->owner;
	int kind = report_kind(r);
	struct frame_info f;
	struct flow_event *ev;
	struct tuple t;

	if (r->what == NFLOG_WHAT_DNS_QUERY || r->what == NFLOG_WHAT_DNS_ANSWER)
		take_dns(s, r);
	if (r->what == NFLOG_WHAT_LABEL)
		take_label(s, r);
	if (kind < 0)
		return 0;
	c->stats.frames++;
	if (frame_parse(FRAME_RAW, r->payload, r->payload_len, &f) < 0) {
		c->stats.malformed++;
		return 0;
	}
	if (r->what == NFLOG_WHAT_UNREACHABLE && !frame_refuses(&f, r->payload, &f))
		return 0;
	t = tuple_of(&f);
	if (r->what != NFLOG_WHAT_UNREACHABLE && kind == FLOW_ATTEMPT &&
	    recent_seen(&c->recent, s->cookie, &t, c->now_ns))
		return 0;
	ev = batch_next(c);
	ev->netns = s->cookie;
	ev->time_ns = r->time_ns != 0 ? r->time_ns : clock_ns(CLOCK_REALTIME);
	ev->tuple = t;
	ev->kind = (uint8_t)kind;
	if (r->what == NFLOG_WHAT_UNREACHABLE)
		ev->flags = FLOW_F_REFUSED;
	/* What a namespace forwards came in from elsewhere. */
	if (kind != FLOW_ATTEMPT)
		ev->dir = r->where == 'o' ? DIR_EGRESS : DIR_INGRESS;
	return 0;
}

static void
on_nflog(evutil_socket_t fd, short what, void *arg)
{
	struct report_source *s = arg;
	struct capturer *c = s->owner;
	struct nflog_stats before = s->stats;
	uint64_t lost;

	c->now_ns = clock_ns(CLOCK_MONOTONIC);
	nflog_recv(s->fd, c->buf, sizeof(c->buf), READS_PER_WAKE, on_report, s, &s->stats);
	c->stats.malformed += s->stats.malformed - before.malformed;
	/* A gap shows with the next report; the overrun itself stands for the case of none. */
	lost = s->stats.lost - before.lost + s->stats.overruns - before.overruns;
	c->stats.nflog_lost += lost;
	stats_touch(c);
	/* At once: its namespace may be about to end. */
	sources_note_lost(&c->sources, s->cookie, lost, 0);
	losses_send(c);
}

/* Peers */

static void
take_nflog(struct capturer *c, struct msg *m)
{
	struct cap_nflog body;
	int r;

	memcpy(&body, m->body, sizeof(body));
	r = sources_add(&c->sources, c->loop.base, body.cookie, &m->fds[0], on_nflog, c);
	if (r < 0)
		log_warn(
		    "netns %" PRIu64 ": its reports are not read: %s", body.cookie, strerror(-r));
}

static void
on_msg(void *arg, enum role peer, struct msg *m)
{
	struct capturer *c = arg;
	struct w_cookie body;

	switch (m->h.type) {
	case MSG_CAP_NFLOG:
		take_nflog(c, m);
		return;
	case MSG_CAP_DROP:
		memcpy(&body, m->body, sizeof(body));
		losses_send(c);
		sources_drop(&c->sources, body.cookie);
		return;
	default:
		log_warn("message type %u from %s: ignored", m->h.type, role_name(peer));
	}
}

static void
on_peer(void *arg, enum role peer, struct chan *chan)
{
	struct capturer *c = arg;

	/* A new warden hands over everything that still exists; what it does not is gone. */
	if (peer == ROLE_WARDEN) {
		losses_send(c);
		sources_drop_all(&c->sources);
	}
	if (peer != ROLE_CONTROLLER)
		return;
	memset(&c->sent, 0xff, sizeof(c->sent));
	stats_send(c);
}

/* Start */

static int
init(struct capturer *c, int pcap_error, const char *why)
{
	uint64_t seed;
	int r;

	r = role_loop_init(&c->loop, ROLE_CAPTURE);
	if (r < 0)
		return r;
	c->loop.arg = c;
	c->loop.on_peer = on_peer;
	c->loop.on_msg = on_msg;
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	recent_init(&c->recent, seed);
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	r = dns_watch_new(seed, &c->dns);
	if (r < 0)
		return r;
	c->flush = evtimer_new(c->loop.base, on_flush, c);
	c->stats_timer = evtimer_new(c->loop.base, on_stats_timer, c);
	if (c->flush == NULL || c->stats_timer == NULL)
		return -ENOMEM;
	if (pcap_error < 0) {
		snprintf(c->stats.error, sizeof(c->stats.error), "%.127s", why);
		log_error(
		    "cannot capture: %s; attempts are seen through the rules' reports alone", why);
		return 0;
	}
	c->pcap_readable =
	    event_new(c->loop.base, capture_fd(c->pcap), EV_READ | EV_PERSIST, on_pcap, c);
	if (c->pcap_readable == NULL || event_add(c->pcap_readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static void
raise_fd_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	l.rlim_cur = l.rlim_max = MAX(l.rlim_max, SOURCES_MAX + 256);
	if (setrlimit(RLIMIT_NOFILE, &l) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

int
main(int argc, char **argv)
{
	static struct capturer c;
	char why[256] = "";
	int r, pcap_error;

	role_parse_args(ROLE_CAPTURE, &argc, argv, &c.args);
	if (argc > 1) {
		log_error("argument %s is not known", argv[1]);
		return 2;
	}
	raise_fd_limit();
	priv_drop_opening(ROLE_CAPTURE, c.args.uid, c.args.gid);
	pcap_error = capture_open(&c.pcap, why);
	priv_drop(ROLE_CAPTURE, c.args.uid, c.args.gid);
	priv_seccomp(ROLE_CAPTURE);
	r = init(&c, pcap_error, why);
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	r = role_loop_run(&c.loop);
	sources_drop_all(&c.sources);
	if (c.pcap_readable != NULL)
		event_free(c.pcap_readable);
	capture_free(c.pcap);
	dns_watch_free(c.dns);
	event_free(c.flush);
	event_free(c.stats_timer);
	event_base_free(c.loop.base);
	return r;
}
