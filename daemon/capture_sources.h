/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture role's NFLOG sockets, one of each namespace, by cookie; and what is lost of each
 * namespace's reports until the controller has been told.
 */
#ifndef NANOSEG_DAEMON_CAPTURE_SOURCES_H
#define NANOSEG_DAEMON_CAPTURE_SOURCES_H

#include "daemon/proto.h"
#include "netlink/nflog.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#define SOURCES_MAX 16384u
#define SOURCES_BUCKETS 1024u

struct report_source {
	struct report_source *next;
	void *owner;
	uint64_t cookie;
	int fd;
	struct event *readable;
	struct nflog_stats stats;
	struct cap_lost lost; /* and not told yet */
	uint64_t labels_second;
	unsigned n_labels; /* in that second */
};

struct report_sources {
	struct report_source *buckets[SOURCES_BUCKETS];
	size_t n;
	bool lossy; /* some have lost what was not told */
};

/*
 * Takes the socket; one of the same cookie is closed. on_readable gets the source as its argument.
 * 0, -EINVAL if this is no NFLOG socket, -ENOSPC or -ENOMEM.
 */
int sources_add(struct report_sources *s, struct event_base *base, uint64_t cookie, int *fd,
    event_callback_fn on_readable, void *owner);
void sources_drop(struct report_sources *s, uint64_t cookie);
void sources_drop_all(struct report_sources *s);
/* Of a namespace without a source nothing is noted: it is gone. */
void sources_note_lost(
    struct report_sources *s, uint64_t cookie, uint64_t reports, uint64_t answers);
/*
 * Hands what was lost to tell(), at most CAP_LOST_MAX at a time; below 0 from it: what it got
 * stays to be told. True if nothing is left.
 */
bool sources_tell_lost(struct report_sources *s,
    int (*tell)(void *arg, const struct cap_lost *list, size_t n), void *arg);

#endif
