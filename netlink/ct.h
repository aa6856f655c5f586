/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conntrack over ctnetlink, parsed with libmnl: requests (warden), events and dumps (controller, on
 * handed fds). Source: linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
 *
 * ct_parse() is the hot path: no allocation, no system call, every length checked before the read.
 */
#ifndef NANOSEG_NETLINK_CT_H
#define NANOSEG_NETLINK_CT_H

#include "rules/flow.h"

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

/* ct_entry.status bits we use (linux/netfilter/nf_conntrack_common.h). */
#define CT_SEEN_REPLY (1u << 1)
#define CT_ASSURED (1u << 2)
#define CT_SRC_NAT (1u << 4)
#define CT_DST_NAT (1u << 5)

enum ct_msg {
	CT_MSG_NEW = 1, /* IPCTNL_MSG_CT_NEW with NLM_F_CREATE: a NEW event; or with NLM_F_MULTI: a
			   dump entry */
	CT_MSG_UPDATE,	/* IPCTNL_MSG_CT_NEW without it */
	CT_MSG_DESTROY,
};

struct ct_entry {
	enum ct_msg msg;
	struct tuple orig;  /* dport of ICMP: type << 8 | code */
	struct tuple reply; /* as the kernel has it: src answers */
	uint32_t status;
	uint32_t mark;
	uint32_t timeout_s;
	/*
	 * TCP_CONNTRACK_*, 0 if absent. Events carry it only if that packet changed it: the ASSURED
	 * event of a handshake says ESTABLISHED (3), of a connection met in the middle nothing (0).
	 */
	uint8_t tcp_state;
	uint8_t sctp_state; /* SCTP_CONNTRACK_*, likewise */
	/*
	 * TCP whose windows are not checked: met in its middle, or inserted. Its direction is that
	 * of the first packet seen. Not in every event.
	 */
	bool liberal;
	uint16_t zone;
	uint64_t packets[2], bytes[2]; /* original, reply; UINT64_MAX if accounting is off */
};

/*
 * One netlink message of subsystem CTNETLINK; nlmsg_len bytes are there. 0; -ENOTSUP: another
 * subsystem, message or family than those we follow; -EBADMSG: malformed. Addresses have the family
 * of the packets: IPv4-mapped IPv6 stays IPv6. Behind NAT reply is not orig reversed: what answers
 * is reply.src, whom it answers is reply.dst.
 */
int ct_parse(const struct nlmsghdr *nlh, struct ct_entry *ret);

/*
 * Has the other end taken it? Any answer will do but for what begins with a handshake: to a SYN or
 * an INIT from a forged address an open port answers too, and nobody hears it. TCP: the kernel has
 * seen the source's word after that answer (ASSURED); of a connection met in its middle, one more
 * packet than both ends' first. SCTP: the end of its handshake, or an answered heartbeat; its event
 * is told for every state, and counts for that one alone.
 */
bool ct_is_answered(const struct ct_entry *e);

/*
 * The mark of UDP that is cut, until its entry ends: nothing opens a connection of UDP, so an entry
 * that was deleted would be made anew by the next packet of either end. The rules drop by it.
 */
#define CT_MARK_CUT 0x6e73c0deu
bool ct_is_cut(const struct ct_entry *e);

/* Called per entry; a negative value stops and is returned. */
typedef int (*ct_entry_fn)(void *arg, const struct ct_entry *e);

struct ct_recv_stats {
	uint64_t messages, malformed;
	uint64_t overruns; /* ENOBUFS: the kernel dropped events, and goes on until all is read */
	uint64_t lost;	   /* how many, see ct_count_lost() */
	uint32_t drops;	   /* the kernel's counter as last read; it wraps */
};

/*
 * Reads what is there now, without blocking, at most max_messages datagrams, into the caller's
 * buffer (64 KB is right, aligned like a nlmsghdr), and calls fn for each entry. The number of
 * entries; 0 if there was nothing; -ENOBUFS after an overrun (counted; what was read before it has
 * been passed on; call again). *ret_done, either may be NULL, says whether a NLMSG_DONE or
 * NLMSG_ERROR was read (end of a dump), with the error in *ret_error (0 or negative); both are
 * always assigned, on failure too. Messages that are not from the kernel are ignored.
 */
int ct_recv(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn, void *arg,
    struct ct_recv_stats *stats, bool *ret_done, int *ret_error);

/*
 * The same for events, whose datagrams are one short message each (some 200 bytes; tuples, status
 * and the like of one entry): many a system call. Not for dumps.
 */
#define CT_EVENT_MAX 2048
int ct_recv_events(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn,
    void *arg, struct ct_recv_stats *stats);

/*
 * Adds to stats->lost what the kernel has dropped on the socket since the last time (SO_MEMINFO,
 * net/netlink/af_netlink.c:netlink_overrun()). Done after each overrun by ct_recv_events(); what is
 * dropped between that and the emptying of the queue is only found by asking again.
 */
void ct_count_lost(int sock, struct ct_recv_stats *stats);

/* Opens in a namespace (by fd) and joins the groups; rcvbuf in bytes, forced. */
#define CT_GROUP_NEW 1u
#define CT_GROUP_UPDATE 2u
#define CT_GROUP_DESTROY 4u
int ct_open_events(int nsfd, unsigned groups, int rcvbuf);
/* A socket for dumps: requests are sent by ct_request_dump(), the answer is read elsewhere. */
int ct_open_requests(int nsfd, int rcvbuf);

/* Need CAP_NET_ADMIN in the sender and the opener. */
int ct_request_dump(int sock, uint32_t seq);
/*
 * Synchronous, on a socket with nothing outstanding: 0 or a negative errno from the kernel, -ENOENT
 * if there is no such entry. The kernel finds an entry by either direction's tuple.
 */
int ct_get(int sock, const struct tuple *orig, struct ct_entry *ret);
int ct_delete(int sock, const struct tuple *orig);
/* Sets the mark of an entry that is there. */
int ct_mark(int sock, const struct tuple *orig, uint32_t mark);
/*
 * Inserts an established TCP connection (state ESTABLISHED, SEEN_REPLY|ASSURED, liberal window
 * tracking in both directions, timeout_s). -EEXIST: it is there already.
 */
int ct_insert_tcp(int sock, const struct tuple *orig, uint32_t timeout_s);
/* Entries and limit of the namespace. */
int ct_stats(int sock, uint32_t *ret_count, uint32_t *ret_max);
/*
 * Entries that made room for others before their time, and packets for which there was none, since
 * the namespace began: of all processors, each of whose counters wraps. What the kernel's own
 * sweep takes from a table that is 95% full is not in it.
 */
int ct_dropped(int sock, uint64_t *ret);

#endif
