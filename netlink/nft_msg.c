/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Talking to nf_tables: transactions and queries over a socket that others may have used before
 * (a kept owner socket after a restart), so every exchange first reads away what is left on it.
 *
 * A transaction goes out in one sendmsg(), and the kernel has committed or refused it when that
 * returns: the answers are then in the queue already. Only the last message asks for an
 * acknowledgement; errors come unasked, one per refused message.
 */
#include "netlink/drain.h"
#include "netlink/netns.h"
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Elements of one message share a netlink attribute, whose length has 16 bits. */
#define ELEMS_PER_MSG 1500
#define ELEMS_BYTES_PER_MSG 60000
#define MSG_ROOM (80u << 10)
#define BATCH_MAX (128u << 20)

#define RECV_SIZE (64u << 10)
#define RECV_TIMEOUT_MS 5000
/* Of a whole dump, however many parts it has. */
#define QUERY_MS 5000
#define DRAIN_MAX 10000
#define TRIES 8
#define PAUSE_MAX_MS 8

#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif

uint32_t
nft_seq_start(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint32_t)((uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec) | 1;
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int
batch_room(struct nft_batch *b)
{
	uint8_t *grown;
	size_t cap;

	if (b->err < 0)
		return b->err;
	if (b->cap - b->len >= MSG_ROOM)
		return 0;
	cap = MAX(b->cap * 2, 2 * MSG_ROOM);
	if (cap > BATCH_MAX)
		return b->err = -E2BIG;
	grown = realloc(b->buf, cap);
	if (grown == NULL)
		return b->err = -ENOMEM;
	b->buf = grown;
	b->cap = cap;
	return 0;
}

int
nft_batch_start(struct nft_batch *b, uint32_t seq)
{
	*b = (struct nft_batch){ .first_seq = seq, .seq = seq };
	if (batch_room(b) < 0)
		return b->err;
	nft_batch_commit_msg(b, nftnl_batch_begin((char *)b->buf, b->seq++));
	return 0;
}

void
nft_batch_done(struct nft_batch *b)
{
	free(b->buf);
	*b = (struct nft_batch){ 0 };
}

struct nlmsghdr *
nft_batch_msg(struct nft_batch *b, uint16_t type, uint16_t family, uint16_t flags)
{
	if (batch_room(b) < 0)
		return NULL;
	b->last = b->len;
	return nftnl_nlmsg_build_hdr((char *)b->buf + b->len, type, family, flags, b->seq++);
}

void
nft_batch_commit_msg(struct nft_batch *b, const struct nlmsghdr *nlh)
{
	b->len += NLMSG_ALIGN(nlh->nlmsg_len);
}

void
nft_batch_del(struct nft_batch *b, uint16_t type, uint16_t family, uint16_t table_attr,
    const char *table, uint16_t name_attr, const char *name)
{
	struct nlmsghdr *nlh = nft_batch_msg(b, type, family, 0);

	if (nlh == NULL)
		return;
	mnl_attr_put_strz(nlh, table_attr, table);
	if (name != NULL)
		mnl_attr_put_strz(nlh, name_attr, name);
	nft_batch_commit_msg(b, nlh);
}

void
nft_batch_del_table(struct nft_batch *b, const struct nft_target *t)
{
	nft_batch_del(b, NFT_MSG_DELTABLE, t->kind->family, NFTA_TABLE_NAME, t->name, 0, NULL);
}

void
nft_batch_table(struct nft_batch *b, const struct nft_target *t, uint32_t flags)
{
	struct nlmsghdr *nlh = nft_batch_msg(b, NFT_MSG_NEWTABLE, t->kind->family, NLM_F_CREATE);

	if (nlh == NULL)
		return;
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, t->name);
	mnl_attr_put_u32(nlh, NFTA_TABLE_FLAGS, htonl(flags));
	nft_batch_commit_msg(b, nlh);
}

void
nft_batch_counter(struct nft_batch *b, const struct nft_target *t, const char *name)
{
	struct nlmsghdr *nlh = nft_batch_msg(b, NFT_MSG_NEWOBJ, t->kind->family, NLM_F_CREATE);
	struct nlattr *nest;

	if (nlh == NULL)
		return;
	mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, t->name);
	mnl_attr_put_strz(nlh, NFTA_OBJ_NAME, name);
	mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	nest = mnl_attr_nest_start(nlh, NFTA_OBJ_DATA);
	mnl_attr_nest_end(nlh, nest);
	nft_batch_commit_msg(b, nlh);
}

static void
put_key(struct nlmsghdr *nlh, uint16_t type, const uint8_t *key, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, type);

	mnl_attr_put(nlh, NFTA_DATA_VALUE, len, key);
	mnl_attr_nest_end(nlh, nest);
}

static void
put_elem(struct nlmsghdr *nlh, const struct nft_elem *e, const struct nft_set_shape *shape)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);

	put_key(nlh, NFTA_SET_ELEM_KEY, e->key, shape->key_len);
	if (shape->range)
		put_key(nlh, NFTA_SET_ELEM_KEY_END, e->end, shape->key_len);
	mnl_attr_nest_end(nlh, nest);
}

void
nft_batch_elems(
    struct nft_batch *b, const struct nft_target *t, bool add, const struct nft_elem *v, size_t n)
{
	char name[NFT_SET_NAME_MAX];
	size_t i = 0, in_msg;

	while (i < n) {
		const struct nft_set_shape *shape = nft_set_shape(v[i].set);
		size_t first = i, bytes = 4 + 8 + shape->key_len;
		struct nlmsghdr *nlh;
		struct nlattr *list;

		if (shape->range)
			bytes += 8 + shape->key_len;
		in_msg = MIN(ELEMS_PER_MSG, ELEMS_BYTES_PER_MSG / bytes);
		nlh = nft_batch_msg(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
		    t->kind->family, add ? NLM_F_CREATE : 0);
		if (nlh == NULL)
			return;
		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, t->name);
		mnl_attr_put_strz(
		    nlh, NFTA_SET_ELEM_LIST_SET, nft_target_set(t, v[first].set, name));
		list = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
		while (i < n && i - first < in_msg && v[i].set == v[first].set)
			put_elem(nlh, &v[i++], shape);
		mnl_attr_nest_end(nlh, list);
		nft_batch_commit_msg(b, nlh);
	}
}

/* Leftovers of an earlier user; a dump that was given up goes on until it has been read. */
static int
sock_drain(int sock, void *buf)
{
	unsigned i;
	int r;

	/* First: nobody but the kernel can then keep us reading. */
	r = sock_kernel_only(sock);
	if (r < 0)
		return r;
	for (i = 0; i < DRAIN_MAX; i++)
		if (recv(sock, buf, RECV_SIZE, MSG_DONTWAIT) < 0 && errno != ENOBUFS &&
		    errno != EINTR)
			return 0;
	return -EBUSY;
}

static int
sock_send(int sock, const void *buf, size_t len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	unsigned i;

	for (i = 0; i < TRIES; i++) {
		if (sendto(sock, buf, len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) >= 0)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
	return -EINTR;
}

/* Buffers that hold a transaction of len bytes and an error for each of its messages. */
static void
sock_size(int sock, size_t len)
{
	int on = 1, have = 0, want = (int)MIN(MAX(len + 4096, 256u << 10), BATCH_MAX);
	socklen_t have_len = sizeof(have);

	setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (getsockopt(sock, SOL_SOCKET, SO_SNDBUF, &have, &have_len) < 0 || have < want)
		setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof(want));
	want = 1 << 20;
	have_len = sizeof(have);
	if (getsockopt(sock, SOL_SOCKET, SO_RCVBUF, &have, &have_len) < 0 || have < want)
		setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof(want));
}

/* The verdict on the sequence numbers [first, last]; 1 as long as the acknowledgement is missing.
 */
static int
batch_verdict(const void *buf, ssize_t len, uint32_t first, uint32_t last, int err)
{
	const struct nlmsghdr *nlh = buf;
	size_t left = (size_t)len;

	for (; nl_message_ok(nlh, left); nlh = nl_message_next(nlh, &left)) {
		const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

		if (nlh->nlmsg_type != NLMSG_ERROR ||
		    mnl_nlmsg_get_payload_len(nlh) < sizeof(e->error) ||
		    nlh->nlmsg_seq - first > last - first)
			continue;
		if (err == 1 || err == 0)
			err = e->error;
	}
	return err;
}

static int
batch_answer(int sock, void *buf, uint32_t first, uint32_t last)
{
	bool overrun = false;
	int err = 1;
	ssize_t n;

	for (;;) {
		n = recv(sock, buf, RECV_SIZE, MSG_DONTWAIT);
		if (n >= 0) {
			err = batch_verdict(buf, n, first, last, err);
			continue;
		}
		if (errno == ENOBUFS)
			overrun = true;
		else if (errno != EINTR)
			break;
	}
	if (errno != EAGAIN)
		return -errno;
	if (err == 1)
		return overrun ? -ENOBUFS : -EPROTO;
	return err;
}

bool
nft_is_passing(int r)
{
	return r == -EINTR || r == -ERESTART || r == -EAGAIN || r == -EBUSY;
}

int
nft_batch_send(struct nft_batch *b, int sock)
{
	_cleanup_free_ uint8_t *buf = NULL;
	unsigned i;
	int r = -EBUSY;

	if (batch_room(b) < 0)
		return b->err;
	((struct nlmsghdr *)(void *)(b->buf + b->last))->nlmsg_flags |= NLM_F_ACK;
	nft_batch_commit_msg(b, nftnl_batch_end((char *)b->buf + b->len, b->seq++));
	buf = malloc(RECV_SIZE);
	if (buf == NULL)
		return -ENOMEM;
	sock_size(sock, b->len);
	/* Nothing was committed, and a new attempt may do. */
	for (i = 0; i < TRIES && nft_is_passing(r); i++) {
		if (i > 0)
			poll(NULL, 0, (int)MIN(1u << i, (unsigned)PAUSE_MAX_MS));
		r = sock_drain(sock, buf);
		if (r == 0)
			r = sock_send(sock, b->buf, b->len);
		if (r == 0)
			r = batch_answer(sock, buf, b->first_seq, b->seq - 1);
	}
	return r;
}

int
nft_target_delete(int sock, const struct nft_target *t)
{
	_cleanup_(nft_batch_done) struct nft_batch b = { 0 };
	int r = nft_batch_start(&b, nft_seq_start());

	if (r < 0)
		return r;
	nft_batch_del_table(&b, t);
	r = nft_batch_send(&b, sock);
	return r == -ENOENT ? 0 : r;
}

/* One datagram of an answer: 1 when it is complete. */
static int
query_part(const void *buf, ssize_t len, uint32_t seq, bool dump, nft_msg_fn fn, void *arg,
    bool *ret_changed)
{
	const struct nlmsghdr *nlh = buf;
	size_t left = (size_t)len;
	int r;

	for (; nl_message_ok(nlh, left); nlh = nl_message_next(nlh, &left)) {
		const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

		if (nlh->nlmsg_seq != seq)
			continue;
		if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
			*ret_changed = true;
		if (nlh->nlmsg_type == NLMSG_DONE)
			return 1;
		if (nlh->nlmsg_type == NLMSG_ERROR) {
			if (mnl_nlmsg_get_payload_len(nlh) < sizeof(e->error))
				return -EBADMSG;
			return e->error < 0 ? e->error : 1;
		}
		if (nlh->nlmsg_type < NLMSG_MIN_TYPE)
			continue;
		if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct nfgenmsg))
			return -EBADMSG;
		r = fn(arg, nlh);
		if (r < 0)
			return r;
		if (!dump)
			return 1;
	}
	return 0;
}

static int
query_answer(int sock, void *buf, uint32_t seq, bool dump, nft_msg_fn fn, void *arg)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	const uint64_t end = now_ms() + QUERY_MS;
	bool changed = false;
	ssize_t n;
	int r;

	for (;;) {
		if (now_ms() >= end)
			return -ETIMEDOUT;
		n = recv(sock, buf, RECV_SIZE, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			r = poll(&p, 1, RECV_TIMEOUT_MS);
			if (r == 0)
				return -ETIMEDOUT;
			if (r < 0 && errno != EINTR)
				return -errno;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = query_part(buf, n, seq, dump, fn, arg, &changed);
		if (r != 0)
			break;
	}
	if (r < 0)
		return r;
	return changed ? -EINTR : 0;
}

int
nft_query(int sock, const struct nft_query *q, nft_msg_fn fn, void *arg)
{
	_cleanup_free_ uint8_t *buf = malloc(RECV_SIZE);
	bool dump = (q->flags & NLM_F_DUMP) == NLM_F_DUMP;
	uint32_t seq = nft_seq_start();
	uint8_t req[512];
	struct nlmsghdr *nlh;
	unsigned i;
	int r;

	if (buf == NULL)
		return -ENOMEM;
	nlh = nftnl_nlmsg_build_hdr((char *)req, q->type, q->family, q->flags, seq);
	for (i = 0; i < ARRAY_SIZE(q->attr); i++)
		if (q->attr[i] != 0 &&
		    !mnl_attr_put_strz_check(nlh, sizeof(req), q->attr[i], q->value[i]))
			return -EINVAL;
	sock_size(sock, sizeof(req));
	r = sock_drain(sock, buf);
	if (r == 0)
		r = sock_send(sock, req, nlh->nlmsg_len);
	if (r < 0)
		return r;
	return query_answer(sock, buf, seq, dump, fn, arg);
}
