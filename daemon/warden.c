/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The warden's program: arguments, privileges, who is told what, and the table of verbs. A verb
 * names a namespace by cookie; what the other fields mean is checked where they are used.
 *
 * Nothing is announced before the keeper has told what it holds (or has not come within a second):
 * an attach that comes too early would find a table owned by a socket it does not have.
 */
#include "config.h"
#include "daemon/l0.h"
#include "daemon/log.h"
#include "daemon/warden.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define SETTLE_MS 1000
#define WARDEN_NICE (-10)
/*
 * Per attached namespace: owner, NFLOG, dump, request, a watch if nothing can be owned, and the
 * dumps of what the kernel counts.
 */
#define WANTED_FDS (6u * SCAN_MAX_NETNS + 256)

static void
answer(struct warden *w, uint16_t type, uint32_t seq, const void *body, size_t len, const int *fds,
    size_t n_fds)
{
	struct chan *c = w->loop.peers[ROLE_CONTROLLER];
	int r = c == NULL ? -ENOTCONN : chan_send(c, type, seq, body, len, fds, n_fds);

	if (r < 0 && r != -ENOTCONN)
		log_warn("an answer (%s) is lost: %s", msg_shape_of(type)->name, strerror(-r));
}

/* Announcements */

void
warden_announce(struct warden *w, struct ns *n)
{
	n->announced = false;
	if (!w->settled)
		return;
	/* One that fails is repeated by the next walk. */
	n->announced =
	    role_send(&w->loop, ROLE_CONTROLLER, MSG_W_NETNS, 0, &n->info, sizeof(n->info)) == 0;
}

static void
on_changed(void *arg, struct ns *n)
{
	close_consider(arg, n);
	begin_consider(arg, n);
	warden_announce(arg, n);
}

static void
on_gone(void *arg, struct ns *n)
{
	struct warden *w = arg;
	struct w_cookie body = { n->info.cookie };
	struct w_ct_stats last = { 0 };

	/* What conntrack had no room for since it was asked last is a loss as well. */
	if (w->settled && netns_ct_stats(n, &last) == 0)
		role_send(&w->loop, ROLE_CONTROLLER, MSG_W_CT_STATS, 0, &last, sizeof(last));
	if (w->settled)
		seen_last(w, n);
	netns_detach(w, n);
	if (w->settled)
		role_send(&w->loop, ROLE_CONTROLLER, MSG_W_NETNS_GONE, 0, &body, sizeof(body));
}

static const struct scan_ops scan_ops = { on_changed, on_gone };

static void
announce_one(void *arg, struct ns *n)
{
	warden_announce(arg, n);
}

static void
announce_all(struct warden *w)
{
	struct w_hello hello = { .features = w->features };
	struct utsname u;

	if (!w->settled || w->loop.peers[ROLE_CONTROLLER] == NULL)
		return;
	if (uname(&u) == 0)
		snprintf(hello.kernel, sizeof(hello.kernel), "%.63s", u.release);
	answer(w, MSG_W_HELLO, 0, &hello, sizeof(hello), NULL, 0);
	scan_each(w->scan, announce_one, w);
	answer(w, MSG_W_SCANNED, 0, NULL, 0, NULL, 0);
}

static void
settle(struct warden *w)
{
	if (w->settled)
		return;
	w->settled = true;
	event_del(w->settle_timer);
	announce_all(w);
}

static void
on_settle_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct warden *w = arg;

	if (!w->settled)
		log_warn("no word from the keeper within %d ms: starting without it", SETTLE_MS);
	settle(w);
}

/* Verbs */

static void
verb_attach(struct warden *w, struct ns *n, struct msg *m)
{
	const struct w_attach *req = (const void *)m->body;
	struct w_attached ret = { .cookie = req->cookie };
	int fds[4] = { -1, -1, -1, -1 };
	int r = n == NULL ? -ENOENT : netns_attach(w, n, req, &ret, fds);

	if (r < 0)
		ret.error = r;
	answer(w, MSG_W_ATTACHED, m->h.seq, &ret, sizeof(ret), fds, r < 0 ? 0 : 4);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close_fd(&fds[i]);
	if (r == 0)
		netns_to_capture(w, n);
}

static void
done(struct warden *w, struct msg *m, int error)
{
	struct w_done ret = { .error = error };

	memcpy(&ret.cookie, m->body, sizeof(ret.cookie));
	answer(w, MSG_W_DONE, m->h.seq, &ret, sizeof(ret), NULL, 0);
}

static void
verb_release(struct warden *w, struct ns *n, struct msg *m)
{
	done(w, m, n == NULL ? -ENOENT : netns_release(w, n));
}

static void
verb_ct_dump(struct warden *w, struct ns *n, struct msg *m)
{
	done(w, m, n == NULL ? -ENOENT : netns_ct_dump(n, m->h.seq));
}

static void
verb_ct_get(struct warden *w, struct ns *n, struct msg *m)
{
	const struct w_ct_tuple *req = (const void *)m->body;
	struct w_ct_entry ret = { .cookie = req->cookie };

	ret.error = n == NULL ? -ENOENT : netns_ct_get(n, &req->tuple, &ret);
	answer(w, MSG_W_CT_ENTRY, m->h.seq, &ret, sizeof(ret), NULL, 0);
}

static void
verb_ct_delete(struct warden *w, struct ns *n, struct msg *m)
{
	const struct w_ct_tuple *req = (const void *)m->body;

	done(w, m, n == NULL ? -ENOENT : netns_ct_delete(n, &req->tuple));
}

static void
verb_ct_cut(struct warden *w, struct ns *n, struct msg *m)
{
	struct w_done ret = { 0 };
	size_t skip = sizeof(ret.cookie);

	memcpy(&ret.cookie, m->body, skip);
	ret.error = n == NULL ? -ENOENT
			      : netns_ct_cut(n, m->h.type == MSG_W_CT_CUT, m->body + skip,
				    m->h.body_len - skip, &ret.count);
	answer(w, MSG_W_DONE, m->h.seq, &ret, sizeof(ret), NULL, 0);
}

static void
verb_ct_insert(struct warden *w, struct ns *n, struct msg *m)
{
	const struct w_ct_tuple *req = (const void *)m->body;

	done(w, m, n == NULL ? -ENOENT : netns_ct_insert(n, &req->tuple, req->timeout_s));
}

static void
verb_apply(struct warden *w, struct ns *n, struct msg *m)
{
	struct w_applied ret = { 0 };
	size_t skip = sizeof(struct w_cookie);

	memcpy(&ret.cookie, m->body, sizeof(ret.cookie));
	ret.error =
	    n == NULL ? -ENOENT : netns_apply(w, n, m->body + skip, m->h.body_len - skip, &ret);
	answer(w, MSG_W_APPLIED, m->h.seq, &ret, sizeof(ret), NULL, 0);
	if (ret.error == 0 && close_opened(n))
		warden_announce(w, n);
}

static void
verb_read(struct warden *w, struct ns *n, struct msg *m)
{
	const struct nft_change nobody = { 0 };
	struct w_nft_state ret = { 0 };

	memcpy(&ret.cookie, m->body, sizeof(ret.cookie));
	ret.error = n == NULL ? -ENOENT : netns_read(n, &ret);
	answer(w, MSG_W_NFT_STATE, m->h.seq, &ret, sizeof(ret), NULL, 0);
	if (ret.error == 0)
		guard_check(w, n, &nobody);
}

static void
verb_guard(struct warden *w, struct ns *n, struct msg *m)
{
	const size_t head = sizeof(struct w_guard), each = sizeof(struct w_guard_addr);
	struct w_guard req;
	struct w_guarded ret = { 0 };

	memcpy(&req, m->body, head);
	ret.cookie = req.cookie;
	ret.error = n == NULL ? -ENOENT
			      : guard_configure(w, n, &req, (const void *)(m->body + head),
				    (m->h.body_len - head) / each);
	/* What it has become is told by itself. */
	if (ret.error < 0)
		answer(w, MSG_W_GUARDED, m->h.seq, &ret, sizeof(ret), NULL, 0);
}

static void
verb_look(struct warden *w, struct ns *n, struct msg *m)
{
	const struct w_look *req = (const void *)m->body;
	struct w_looked ret = { .pid = req->pid };
	struct ns *found;
	size_t len = strnlen(req->container_id, sizeof(req->container_id));

	if (!w->settled)
		ret.error = -EAGAIN;
	else if (req->pid <= 0 || (len != 0 && len != L0_CONTAINER_ID_LEN))
		ret.error = -EINVAL;
	else
		ret.error = scan_look(w->scan, req->pid, req->container_id, &found);
	if (ret.error == 0) {
		ret.cookie = found->info.cookie;
		guard_look(w, found);
	}
	answer(w, MSG_W_LOOKED, m->h.seq, &ret, sizeof(ret), NULL, 0);
}

static void
verb_posture(struct warden *w, struct ns *n, struct msg *m)
{
	struct w_posture p;

	memcpy(&p, m->body, sizeof(p));
	if (close_is_posture(&p))
		close_set_posture(w, &p);
	else
		log_warn("a posture that makes no sense: ignored");
}

static void
verb_probe(struct warden *w, struct ns *n, struct msg *m)
{
	probe_run(w, n, m);
}

static void
verb_aggregate(struct warden *w, struct ns *n, struct msg *m)
{
	const struct w_aggregate *req = (const void *)m->body;
	struct w_aggregated ret = { .cookie = req->cookie, .verb = req->verb };
	int fd = -1;

	ret.error = n == NULL ? -ENOENT : seen_do(w, n, req, m->h.seq, &ret, &fd);
	answer(w, MSG_W_AGGREGATED, m->h.seq, &ret, sizeof(ret), &fd, fd >= 0 ? 1 : 0);
	close_fd(&fd);
}

static void
verb_labels(struct warden *w, struct ns *n, struct msg *m)
{
	const struct w_labels *req = (const void *)m->body;

	netns_labels(w, n, req->on != 0);
}

struct stats_out {
	struct w_ct_stats *all;
	size_t n;
};

static void
add_stats(void *arg, struct ns *n)
{
	struct stats_out *out = arg;

	if (out->n < SCAN_MAX_NETNS && netns_ct_stats(n, &out->all[out->n]) == 0)
		out->n++;
}

static void
verb_ct_stats(struct warden *w, struct ns *n, struct msg *m)
{
	struct stats_out out = { .all = calloc(SCAN_MAX_NETNS, sizeof(*out.all)) };

	if (out.all != NULL)
		scan_each(w->scan, add_stats, &out);
	answer(w, MSG_W_CT_STATS, m->h.seq, out.all, out.n * sizeof(*out.all), NULL, 0);
	free(out.all);
}

static const struct verb {
	uint16_t type;
	void (*run)(struct warden *w, struct ns *n, struct msg *m);
} verbs[] = {
	{ MSG_W_ATTACH, verb_attach },
	{ MSG_W_RELEASE, verb_release },
	{ MSG_W_CT_DUMP, verb_ct_dump },
	{ MSG_W_CT_GET, verb_ct_get },
	{ MSG_W_CT_DELETE, verb_ct_delete },
	{ MSG_W_CT_CUT, verb_ct_cut },
	{ MSG_W_CT_UNCUT, verb_ct_cut },
	{ MSG_W_CT_INSERT, verb_ct_insert },
	{ MSG_W_GET_CT_STATS, verb_ct_stats },
	{ MSG_W_NFT_APPLY, verb_apply },
	{ MSG_W_NFT_READ, verb_read },
	{ MSG_W_GUARD, verb_guard },
	{ MSG_W_LOOK, verb_look },
	{ MSG_W_POSTURE, verb_posture },
	{ MSG_W_PROBE, verb_probe },
	{ MSG_W_AGGREGATE, verb_aggregate },
	{ MSG_W_LABELS, verb_labels },
};

/* Peers */

static void
on_controller_msg(struct warden *w, struct msg *m)
{
	struct ns *n = NULL;
	uint64_t cookie;

	/* Every body starts with the cookie, but for the empty one and the posture. */
	if (m->h.body_len >= sizeof(cookie) && m->h.type != MSG_W_POSTURE) {
		memcpy(&cookie, m->body, sizeof(cookie));
		n = scan_find(w->scan, cookie);
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (verbs[i].type != m->h.type)
			continue;
		verbs[i].run(w, n, m);
		return;
	}
	log_warn("no verb for message type %u: ignored", m->h.type);
}

static void
on_msg(void *arg, enum role peer, struct msg *m)
{
	struct warden *w = arg;

	/* Dozens of requests may be queued, and some take long. */
	scan_poll(w->scan);
	if (peer == ROLE_CONTROLLER) {
		on_controller_msg(w, m);
	} else if (peer == ROLE_KEEPER) {
		keep_on_msg(w, m);
		if (m->h.type == MSG_KEEP_END) {
			close_resume(w);
			settle(w);
		}
	}
}

static void
give_to_capture(void *arg, struct ns *n)
{
	netns_to_capture(arg, n);
}

static void
on_peer(void *arg, enum role peer, struct chan *c)
{
	struct warden *w = arg;

	if (peer == ROLE_KEEPER)
		keep_on_peer(w, c);
	else if (peer == ROLE_CONTROLLER)
		announce_all(w);
	else if (peer == ROLE_CAPTURE)
		scan_each(w->scan, give_to_capture, w);
}

/* Start */

/* An fd is needed per socket; the hard limit is raised while we may. */
static void
raise_fd_limit(void)
{
	struct rlimit l, more = { WANTED_FDS, WANTED_FDS };

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= WANTED_FDS)
		return;
	if (l.rlim_max > WANTED_FDS)
		more.rlim_max = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

/* What every role is started with besides; without meaning for a cleanup. */
static bool
is_common_option(const char *arg)
{
	return strcmp(arg, "--uid") == 0 || strcmp(arg, "--gid") == 0 || strcmp(arg, "--log") == 0;
}

static bool
wants_cleanup(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--cleanup") == 0)
			return true;
	return false;
}

/* The prefix of the tables to remove; false if the arguments do not name one. */
static bool
cleanup_prefix(int argc, char **argv, char *prefix, size_t size)
{
	bool all = false, one = false;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--cleanup") == 0)
			continue;
		if (strcmp(argv[i], "--all") == 0) {
			all = true;
			continue;
		}
		if (strcmp(argv[i], "--instance") == 0 && role_instance_valid(value)) {
			snprintf(prefix, size, "%s%s", WARDEN_TABLE_PREFIX, value);
			one = true;
		} else if (!is_common_option(argv[i])) {
			return false;
		}
		i++;
	}
	if (all)
		snprintf(prefix, size, "%s", WARDEN_TABLE_PREFIX);
	return all || one;
}

static int
cleanup_main(int argc, char **argv)
{
	char prefix[NFT_TABLE_NAME_MAX];

	log_init("warden", LOG_LVL_INFO);
	if (cleanup_prefix(argc, argv, prefix, sizeof(prefix)))
		return warden_cleanup(prefix);
	fprintf(stderr, "usage: nanoseg-warden --cleanup --instance HEX8 | --all\n");
	return 2;
}

/* At the end: the keeper still has them, and the tables stand. */
static void
close_sockets(void *arg, struct ns *n)
{
	attachment_free(steal_ptr(n->att));
}

static int
start(struct warden *w)
{
	const struct timeval settle_tv = { SETTLE_MS / 1000, SETTLE_MS % 1000 * 1000 };
	int r;

	r = role_loop_init(&w->loop, ROLE_WARDEN);
	if (r < 0)
		return r;
	w->loop.arg = w;
	w->loop.on_peer = on_peer;
	w->loop.on_msg = on_msg;
	w->settle_timer = evtimer_new(w->loop.base, on_settle_timeout, w);
	if (w->settle_timer == NULL || evtimer_add(w->settle_timer, &settle_tv) < 0)
		return -ENOMEM;
	r = close_init(w);
	if (r == 0)
		r = guard_init(w);
	if (r == 0)
		r = begin_init(w);
	if (r == 0)
		r = foreign_init(w);
	if (r < 0)
		return r;
	r = scan_new(w->loop.base, &scan_ops, w, &w->scan);
	if (r < 0)
		return r;
	return scan_start(w->scan);
}

int
main(int argc, char **argv)
{
	struct warden w = { 0 };
	int r, probe = -1;

	if (wants_cleanup(argc, argv))
		return cleanup_main(argc, argv);
	role_parse_args(ROLE_WARDEN, &argc, argv, &w.args);
	if (argc > 2 && strcmp(argv[1], "--probe") == 0) {
		probe = probe_start(argv[0], w.args.instance, argv[2]);
		if (probe < 0)
			log_error("no self-test and no verification: %s", strerror(-probe));
		argc -= 2;
		argv += 2;
	}
	if (argc > 1 && strcmp(argv[1], "--without-owner") == 0) {
		w.without_owner = true;
		argc--;
	}
	if (argc > 1) {
		log_error("argument %s is not known", argv[1]);
		return 2;
	}
	snprintf(w.table, sizeof(w.table), "%s%s", WARDEN_TABLE_PREFIX, w.args.instance);
	/* It needs a namespace of its own, which the filter below does not let it make. */
	r = nft_probe(&w.features);
	if (r < 0)
		log_error("cannot find out what this kernel's nftables can do: %s", strerror(-r));
	if (w.without_owner)
		w.features &= ~(uint32_t)(NFT_CAN_OWNER | NFT_CAN_PERSIST);
	raise_fd_limit();
	/* Closing a namespace races with an engine. Without it that is only likelier to be lost. */
	if (setpriority(PRIO_PROCESS, 0, WARDEN_NICE) < 0)
		log_debug("no higher priority: %s", strerror(errno));
	priv_drop(ROLE_WARDEN, w.args.uid, w.args.gid);
	priv_seccomp(ROLE_WARDEN);
	r = start(&w);
	if (r == 0 && probe >= 0)
		r = probe_init(&w, probe);
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	r = role_loop_run(&w.loop);
	keep_done(&w);
	scan_each(w.scan, close_sockets, &w);
	scan_free(w.scan);
	event_free(w.settle_timer);
	close_done(&w);
	guard_done(&w);
	begin_done(&w);
	foreign_done(&w);
	probe_done(&w);
	event_base_free(w.loop.base);
	return r;
}
