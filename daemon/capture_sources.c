/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/capture_sources.h"

#include "rules/util.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct report_source **
source_slot(struct report_sources *s, uint64_t cookie)
{
	struct report_source **p = &s->buckets[hash_mix64(cookie) % SOURCES_BUCKETS];

	while (*p != NULL && (*p)->cookie != cookie)
		p = &(*p)->next;
	return p;
}

static void
source_free(struct report_source *p)
{
	if (p->readable != NULL)
		event_free(p->readable);
	close_fd(&p->fd);
	free(p);
}

void
sources_drop(struct report_sources *s, uint64_t cookie)
{
	struct report_source **slot = source_slot(s, cookie), *p = *slot;

	if (p == NULL)
		return;
	*slot = p->next;
	s->n--;
	source_free(p);
}

void
sources_drop_all(struct report_sources *s)
{
	for (unsigned b = 0; b < SOURCES_BUCKETS; b++)
		while (s->buckets[b] != NULL)
			sources_drop(s, s->buckets[b]->cookie);
}

static bool
is_nflog_socket(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &len) < 0 || value != NETLINK_NETFILTER)
		return false;
	len = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len) == 0 && value == AF_NETLINK;
}

int
sources_add(struct report_sources *s, struct event_base *base, uint64_t cookie, int *fd,
    event_callback_fn on_readable, void *owner)
{
	struct report_source *p, **slot;

	if (!is_nflog_socket(*fd))
		return -EINVAL;
	sources_drop(s, cookie);
	if (s->n >= SOURCES_MAX)
		return -ENOSPC;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->owner = owner;
	p->cookie = p->lost.cookie = cookie;
	p->fd = steal_fd(fd);
	p->readable = event_new(base, p->fd, EV_READ | EV_PERSIST, on_readable, p);
	if (p->readable == NULL || event_add(p->readable, NULL) < 0) {
		source_free(p);
		return -ENOMEM;
	}
	slot = source_slot(s, cookie);
	*slot = p;
	s->n++;
	return 0;
}

void
sources_note_lost(struct report_sources *s, uint64_t cookie, uint64_t reports, uint64_t answers)
{
	struct report_source *p = *source_slot(s, cookie);

	if (p == NULL || (reports == 0 && answers == 0))
		return;
	p->lost.reports += reports;
	p->lost.answers += answers;
	s->lossy = true;
}

static bool
is_lossy(const struct report_source *p)
{
	return p->lost.reports != 0 || p->lost.answers != 0;
}

bool
sources_tell_lost(struct report_sources *s,
    int (*tell)(void *arg, const struct cap_lost *list, size_t n), void *arg)
{
	struct report_source *of[CAP_LOST_MAX];
	struct cap_lost list[CAP_LOST_MAX];
	size_t n = 0;

	if (!s->lossy)
		return true;
	s->lossy = false;
	for (unsigned b = 0; b < SOURCES_BUCKETS; b++)
		for (struct report_source *p = s->buckets[b]; p != NULL; p = p->next) {
			if (!is_lossy(p))
				continue;
			if (n == CAP_LOST_MAX) {
				s->lossy = true;
				continue;
			}
			of[n] = p;
			list[n++] = p->lost;
		}
	if (n > 0 && tell(arg, list, n) < 0) {
		s->lossy = true;
		return false;
	}
	for (size_t k = 0; k < n; k++)
		of[k]->lost.reports = of[k]->lost.answers = 0;
	return !s->lossy;
}
