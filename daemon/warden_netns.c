/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attaching to a namespace, and what is done in an attached one.
 *
 * The order of an attach matters: event sockets are joined before any rule makes conntrack work,
 * and the sockets that own rules are with the keeper before the first rule is loaded. A table that
 * is there already is never replaced by an attach: between that and the next apply its namespace
 * would be open.
 *
 * The host's namespace is read only: no table, no change of its conntrack.
 */
#include "daemon/log.h"
#include "daemon/warden.h"
#include "netlink/ct.h"
#include "netlink/netns.h"
#include "netlink/nft_labels.h"
#include "netlink/nflog.h"
#include "netlink/rtnl.h"
#include "netlink/sockdiag.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define RCVBUF_MIN (64u << 10)
#define RCVBUF_MAX (64u << 20)
#define NFLOG_RCVBUF (1 << 20)
#define NFLOG_GROUP_HELD 1024
#define REQUEST_RCVBUF (256 << 10)
#define CT_INSERT_MAX_S (7u * 24 * 3600)

void
attachment_free(struct attachment *a)
{
	if (a == NULL)
		return;
	drift_free(a->drift);
	nft_table_free(a->table);
	guards_free(a->guards);
	close_fd(&a->owner);
	close_fd(&a->nflog);
	close_fd(&a->dump);
	close_fd(&a->request);
	close_fd(&a->seen);
	free(a);
}

static void
attachment_freep(struct attachment **a)
{
	attachment_free(*a);
}

static struct attachment *
attachment_new(bool host)
{
	struct attachment *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->owner = a->nflog = a->dump = a->request = a->seen = -1;
	a->host = host;
	return a;
}

void
netns_to_capture(struct warden *w, const struct ns *n)
{
	struct chan *c = w->loop.peers[ROLE_CAPTURE];
	struct cap_nflog body = { .cookie = n->info.cookie };

	if (c == NULL || n->att == NULL || n->att->nflog < 0)
		return;
	body.group = n->att->group;
	if (chan_send(c, MSG_CAP_NFLOG, 0, &body, sizeof(body), &n->att->nflog, 1) < 0)
		log_warn(
		    "netns %" PRIu64 ": the capture role did not take its reports", n->info.cookie);
}

/*
 * Who holds every group of its namespace loses the reports, not the rules. They name a group that
 * is then its own.
 */
static int
open_reports(int nsfd, uint64_t cookie, struct attachment *a)
{
	int r = nflog_open(nsfd, NFLOG_RCVBUF, &a->group);

	if (r >= 0) {
		a->nflog = r;
		return 0;
	}
	if (r != -EPERM && r != -EBUSY && r != -EEXIST)
		return r;
	a->group = NFLOG_GROUP_HELD;
	log_error("netns %" PRIu64
		  ": somebody inside holds its NFLOG groups: it is observed and enforced, but what "
		  "is refused there is not reported",
	    cookie);
	return 0;
}

/* Owner and NFLOG sockets: those of an earlier life, or new ones, with the keeper either way. */
static int
open_owner(struct warden *w, uint64_t cookie, int nsfd, struct attachment *a)
{
	struct kept *k = keep_take(w, cookie);
	bool put_owner = true, put_nflog = true;
	int r;

	if (k != NULL) {
		a->owner = steal_fd(&k->owner);
		a->nflog = steal_fd(&k->nflog);
		a->group = k->group;
		a->owned = a->owner >= 0;
		put_owner = a->owner < 0;
		put_nflog = a->nflog < 0;
		keep_free(k);
		if (a->nflog >= 0)
			nflog_set_range(a->nflog, a->group);
	}
	if (a->owner < 0) {
		a->owner = netns_socket(nsfd, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
		if (a->owner < 0)
			return a->owner;
	}
	if (a->nflog < 0) {
		r = open_reports(nsfd, cookie, a);
		if (r < 0)
			return r;
	}
	r = put_owner ? keep_put(w, cookie, KEEP_OWNER, a->mark, a->owner) : 0;
	if (r == 0 && put_nflog && a->nflog >= 0)
		r = keep_put(w, cookie, KEEP_NFLOG, a->group, a->nflog);
	if (r < 0)
		log_warn("netns %" PRIu64 ": no keeper holds its sockets; a death of the warden "
			 "leaves its table without an owner: %s",
		    cookie, strerror(-r));
	return 0;
}

/* Sockets that own a standing table wait for the next attach; others leave no trace. */
static void
undo_owner(struct warden *w, uint64_t cookie, struct attachment *a)
{
	if (a->owned)
		keep_back(w, cookie, &a->owner, &a->nflog, a->group);
	else
		keep_drop(w, cookie);
}

static int
new_table(struct warden *w, struct attachment *a)
{
	int r = nft_table_new(a->owner, w->table, a->group, &a->table);

	if (r == 0 && w->without_owner)
		nft_table_forgo_owner(a->table);
	return r;
}

static int
open_table(struct warden *w, uint64_t cookie, struct attachment *a, bool *ret_adopted,
    uint8_t ret_kernel[static RULESET_DIGEST_LEN])
{
	struct nft_state st;
	int r;

	r = new_table(w, a);
	if (r < 0)
		return r;
	r = nft_table_read(a->table, &st);
	if (r == 0 && !(st.present && st.n_rules > 0)) {
		r = nft_table_apply(a->table, NULL, &a->owned);
		if (r == 0)
			*ret_adopted = false;
	} else if (r == 0) {
		*ret_adopted = true;
		memcpy(ret_kernel, st.digest, sizeof(st.digest));
	}
	/*
	 * Root inside has planted a table of our name that we may not touch, or cannot read. It is
	 * attached all the same: the next apply tells what stands in the way, and is repeated.
	 */
	if (r == -EPERM || r == -E2BIG || r == -EINTR || r == -ETIMEDOUT || r == -EBUSY) {
		log_error("netns %" PRIu64 ": the table %s there is not ours to use: %s", cookie,
		    w->table, strerror(-r));
		*ret_adopted = true;
		return 0;
	}
	return r;
}

/* The sockets that are made anew for every controller: [0] events [1] dump [2] rtnl [3] diag. */
static int
open_handed(int nsfd, bool host, int rcvbuf, int fds[static 4])
{
	fds[0] = ct_open_events(nsfd, host ? CT_GROUP_NEW : CT_GROUP_UPDATE, rcvbuf);
	if (fds[0] < 0)
		return fds[0];
	fds[1] = ct_open_requests(nsfd, rcvbuf);
	if (fds[1] < 0)
		return fds[1];
	fds[2] = rtnl_open(nsfd);
	if (fds[2] < 0)
		return fds[2];
	fds[3] = diag_open(nsfd);
	return MIN(fds[3], 0);
}

static int
rcvbuf_in_force(int sock)
{
	int value = 0;
	socklen_t len = sizeof(value);

	getsockopt(sock, SOL_SOCKET, SO_RCVBUF, &value, &len);
	return value;
}

static int
attach_sockets(struct warden *w, struct ns *n, const struct w_attach *req, int nsfd,
    struct w_attached *ret, int fds[static 4])
{
	_cleanup_(attachment_freep) struct attachment *fresh = NULL;
	struct attachment *a = n->att;
	bool adopted = a != NULL;
	int r;

	r = open_handed(nsfd, req->host, (int)MAX(MIN(req->rcvbuf, RCVBUF_MAX), RCVBUF_MIN), fds);
	if (r < 0)
		return r;
	if (a == NULL) {
		a = fresh = attachment_new(req->host);
		if (a == NULL)
			return -ENOMEM;
	}
	close_fd(&a->dump);
	a->dump = fcntl(fds[1], F_DUPFD_CLOEXEC, 0);
	if (a->dump < 0)
		return -errno;
	if (a->request < 0)
		a->request = ct_open_requests(nsfd, REQUEST_RCVBUF);
	if (a->request < 0)
		return a->request;

	if (fresh != NULL && !a->host) {
		r = open_owner(w, n->info.cookie, nsfd, a);
		if (r == 0)
			r = open_table(w, n->info.cookie, a, &adopted, ret->kernel);
		if (r < 0) {
			undo_owner(w, n->info.cookie, a);
			return r;
		}
	}
	ct_stats(a->request, &ret->ct_count, &ret->ct_max);
	ct_dropped(a->request, &a->drops);
	ret->ct_dropped = a->drops;
	ret->owned = a->owned;
	ret->adopted = adopted && !a->host;
	a->ruled |= ret->adopted != 0;
	ret->rcvbuf = (uint32_t)rcvbuf_in_force(fds[0]);
	n->att = a;
	fresh = NULL;
	return 0;
}

int
netns_attach(struct warden *w, struct ns *n, const struct w_attach *req, struct w_attached *ret,
    int ret_fds[static 4])
{
	_cleanup_close_ int nsfd = -1;
	int fds[4] = { -1, -1, -1, -1 };
	struct w_attached answer = { .cookie = n->info.cookie };
	int r;

	if (req->host > 1 || (req->host == 1) != ((n->info.flags & NETNS_F_HOST) != 0))
		return -EINVAL;
	nsfd = scan_open(w->scan, n);
	if (nsfd < 0) {
		/* Its process has ended: another one may be in it. */
		scan_kick(w->scan, n);
		return nsfd;
	}
	r = attach_sockets(w, n, req, nsfd, &answer, fds);
	if (r < 0) {
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			close_fd(&fds[i]);
		return r;
	}
	drift_watch(w, n);
	foreign_look(w, n);
	answer.holder = n->att->holder;
	answer.aggregates = seen_is_there(w, n);
	memcpy(ret_fds, fds, sizeof(fds));
	*ret = answer;
	return 0;
}

int
netns_close(struct warden *w, struct ns *n, const struct ruleset *rs, uint32_t mark)
{
	_cleanup_(attachment_freep) struct attachment *a = attachment_new(false);
	_cleanup_close_ int nsfd = scan_open(w->scan, n);
	bool kept;
	int r;

	if (a == NULL)
		return -ENOMEM;
	if (nsfd < 0)
		return nsfd;
	a->mark = mark;
	r = open_owner(w, n->info.cookie, nsfd, a);
	kept = a->owned;
	if (r == 0)
		r = new_table(w, a);
	if (r == 0 && !kept)
		r = nft_table_apply(a->table, rs, &a->owned);
	if (r < 0) {
		a->owned = kept;
		undo_owner(w, n->info.cookie, a);
		return r;
	}
	a->ruled = true;
	n->att = steal_ptr(a);
	drift_watch(w, n);
	return 0;
}

void
netns_detach(struct warden *w, struct ns *n)
{
	struct w_cookie body = { n->info.cookie };
	struct kept *k = keep_take(w, n->info.cookie);

	if (k != NULL || (n->att != NULL && !n->att->host))
		keep_drop(w, n->info.cookie);
	keep_free(k);
	guard_remove(n);
	if (n->att != NULL && !n->att->host)
		role_send(&w->loop, ROLE_CAPTURE, MSG_CAP_DROP, 0, &body, sizeof(body));
	attachment_free(steal_ptr(n->att));
}

void
netns_labels(struct warden *w, struct ns *n, bool on)
{
	struct attachment *a = n != NULL ? n->att : NULL;
	int r;

	if (a == NULL || a->host || a->owner < 0)
		return;
	r = on && a->nflog >= 0 ? nft_labels_load(a->owner, w->table, a->owned, a->group)
				: nft_labels_delete(a->owner, w->table);
	if (r == 0)
		return;
	if (!w->labels_failed)
		log_warn("netns %" PRIu64 ": %s: %s", n->info.cookie,
		    on ? "names of servers in packets are not seen here and wherever else this "
			 "fails"
		       : "the table that looks for names of servers is left",
		    strerror(-r));
	w->labels_failed = true;
}

int
netns_release(struct warden *w, struct ns *n)
{
	int r = 0;

	if (n->att == NULL)
		return -ENOENT;
	if (!n->att->host) {
		seen_end(w, n);
		nft_labels_delete(n->att->owner, w->table);
		r = nft_table_delete(n->att->table);
	}
	/* Without the owner's socket nobody could delete it later. */
	if (r < 0 && r != -ENOENT)
		return r;
	netns_detach(w, n);
	return 0;
}

static int
guarded(const struct ns *n)
{
	if (n->info.flags & NETNS_F_HOST)
		return -EPERM;
	return n->att == NULL ? -ENOENT : 0;
}

uint64_t
warden_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int
read_back(struct attachment *a, struct w_applied *ret)
{
	uint8_t expected[RULESET_DIGEST_LEN];
	struct nft_state st;
	int r;

	r = nft_table_read(a->table, &st);
	if (r < 0)
		return r;
	r = nft_table_expected(a->table, expected);
	if (r < 0)
		return r;
	memcpy(ret->kernel, st.digest, sizeof(ret->kernel));
	ret->match = st.present && memcmp(expected, st.digest, sizeof(expected)) == 0;
	return 0;
}

int
netns_apply(
    struct warden *w, struct ns *n, const uint8_t *ruleset, size_t len, struct w_applied *ret)
{
	_cleanup_(ruleset_freep) struct ruleset *rs = NULL;
	uint64_t start = warden_now_us();
	bool changed;
	uint32_t max;
	int r;

	r = guarded(n);
	if (r < 0)
		return r;
	r = ruleset_decode(ruleset, len, &rs);
	if (r < 0)
		return r;
	r = ruleset_digest(rs, ret->ruleset);
	if (r < 0)
		return r;
	close_end(w, n);
	if (n->att->holder != 0 && foreign_stops(w, n, &rs))
		return -EPERM;
	guard_apply(w, n, rs);
	r = nft_table_apply(n->att->table, rs, &n->att->owned);
	ret->owned = n->att->owned;
	n->att->ruled |= r == 0;
	drift_watch(w, n);
	if (r == 0)
		guard_keep(n, &rs);
	else if (r != -EPERM || !foreign_stops(w, n, &rs))
		guard_revert(w, n);
	if (r == 0)
		r = read_back(n->att, ret);
	/* What was not changed may not be what it was left as. */
	if (r == 0 && !ret->match) {
		r = nft_table_repair(n->att->table, &n->att->owned, &changed);
		if (r == 0)
			r = read_back(n->att, ret);
	}
	if (r == 0) {
		/* What is not told now, for it will be asked for again, is told then. */
		ret->narrowed = ret->match && nft_table_take_narrowed(n->att->table);
		/* Not known is any number. */
		if (n->att->request < 0 || ct_stats(n->att->request, &ret->ct_count, &max) < 0)
			ret->ct_count = UINT32_MAX;
	}
	ret->usec = (uint32_t)(warden_now_us() - start);
	return r;
}

int
netns_read(struct ns *n, struct w_nft_state *ret)
{
	struct nft_state st;
	uint8_t expected[RULESET_DIGEST_LEN];
	int r;

	r = guarded(n);
	if (r < 0)
		return r;
	r = nft_table_read(n->att->table, &st);
	if (r < 0)
		return r;
	ret->match = nft_table_expected(n->att->table, expected) == 0 && st.present &&
		     memcmp(expected, st.digest, sizeof(expected)) == 0;
	ret->present = st.present;
	ret->n_rules = st.n_rules;
	ret->n_elems = st.n_elems;
	ret->dropped = st.dropped;
	memcpy(ret->kernel, st.digest, sizeof(ret->kernel));
	return 0;
}

/* A tuple from another role, before it goes into a message to the kernel. */
static bool
tuple_sane(const struct tuple *t)
{
	static const uint8_t zero[16];
	uint8_t f = t->src.family;

	if ((f != 4 && f != 6) || t->dst.family != f || t->proto == 0)
		return false;
	if (f == 4 &&
	    (memcmp(t->src.bytes + 4, zero, 12) != 0 || memcmp(t->dst.bytes + 4, zero, 12) != 0))
		return false;
	return memcmp(t->zero, zero, sizeof(t->zero)) == 0 &&
	       memcmp(t->src.zero, zero, sizeof(t->src.zero)) == 0 &&
	       memcmp(t->dst.zero, zero, sizeof(t->dst.zero)) == 0;
}

int
netns_ct_dump(struct ns *n, uint32_t seq)
{
	if (n->att == NULL)
		return -ENOENT;
	return ct_request_dump(n->att->dump, seq);
}

int
netns_ct_get(struct ns *n, const struct tuple *t, struct w_ct_entry *ret)
{
	struct ct_entry e;
	int r;

	if (n->att == NULL)
		return -ENOENT;
	if (!tuple_sane(t))
		return -EINVAL;
	r = ct_get(n->att->request, t, &e);
	if (r < 0)
		return r;
	ret->status = e.status;
	ret->orig = e.orig;
	ret->reply = e.reply;
	return 0;
}

int
netns_ct_delete(struct ns *n, const struct tuple *t)
{
	int r = guarded(n);

	if (r < 0)
		return r;
	return tuple_sane(t) ? ct_delete(n->att->request, t) : -EINVAL;
}

static int
cut_one(struct attachment *a, bool cut, const struct tuple *t)
{
	if (!tuple_sane(t))
		return -EINVAL;
	if (!cut)
		return ct_mark(a->request, t, 0);
	return t->proto == IPPROTO_UDP ? ct_mark(a->request, t, CT_MARK_CUT)
				       : ct_delete(a->request, t);
}

int
netns_ct_cut(struct ns *n, bool cut, const uint8_t *tuples, size_t len, uint32_t *ret_count)
{
	struct tuple t;
	uint32_t count = 0;
	int r = guarded(n);

	if (r < 0)
		return r;
	for (size_t at = 0; at + sizeof(t) <= len; at += sizeof(t)) {
		memcpy(&t, tuples + at, sizeof(t));
		r = cut_one(n->att, cut, &t);
		if (r < 0 && r != -ENOENT)
			return r;
		count += r == 0;
	}
	*ret_count = count;
	return 0;
}

int
netns_ct_insert(struct ns *n, const struct tuple *t, uint32_t timeout_s)
{
	int r = guarded(n);

	if (r < 0)
		return r;
	if (!tuple_sane(t) || t->proto != IPPROTO_TCP || timeout_s == 0 ||
	    timeout_s > CT_INSERT_MAX_S)
		return -EINVAL;
	return ct_insert_tcp(n->att->request, t, timeout_s);
}

int
netns_ct_stats(struct ns *n, struct w_ct_stats *ret)
{
	if (n->att == NULL)
		return -ENOENT;
	ret->cookie = n->info.cookie;
	/* One that cannot be read now stands where it stood: from 0 it would all be new again. */
	ct_dropped(n->att->request, &n->att->drops);
	ret->dropped = n->att->drops;
	return ct_stats(n->att->request, &ret->count, &ret->max);
}
