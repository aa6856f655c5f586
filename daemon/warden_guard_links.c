/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which devices have a guard: the ends of a namespace's veths in the host's own, and the addresses
 * that are the namespace's.
 */
#include "daemon/warden_guard_priv.h"

#include <errno.h>
#include <string.h>

/* How long after its first sight a link's addresses are still being given to it. */
#define GRACE_NS NSEC_PER_SEC
#define LINKS_PAUSE_NS (5 * NSEC_PER_MSEC)
/* Beyond that many, one dump of the host's links costs less than asking for each. */
#define LINKS_ASK_MAX 32

static int
addrs_read(struct warden *w, int32_t nsid, struct rtnl_addr *ret, size_t *ret_n)
{
	int r = -EINTR;

	for (unsigned i = 0; i < 8 && r == -EINTR; i++)
		r = link_addrs(w->link_sock, nsid, ret, GUARD_MAX_ADDRS, ret_n);
	return r;
}

/* An end of the namespace in the host's own. */
static bool
leads_to(const struct guards *s, const struct link_info *host)
{
	return host->veth && host->peer != 0 && s->nsid >= 0 && host->nsid == s->nsid;
}

struct guard *
guard_of(const struct guards *s, uint32_t ifindex)
{
	struct guard *g = s->list;

	while (g != NULL && g->ifindex != ifindex)
		g = g->next;
	return g;
}

static bool
is_set_up(const struct guard *g)
{
	return mono_ns() - g->seen_ns > GRACE_NS;
}

static int
guard_see(
    struct warden *w, struct guards *s, const struct link_info *host, const struct link_info *inner)
{
	struct guard *g = guard_of(s, host->ifindex);

	if (g == NULL) {
		g = calloc(1, sizeof(*g));
		if (g == NULL)
			return -ENOMEM;
		g->ifindex = host->ifindex;
		g->seen_ns = mono_ns();
		memcpy(g->mac, inner->mac, sizeof(g->mac));
		g->next = s->list;
		s->list = g;
	}
	g->inner = inner->ifindex;
	g->flags = host->flags;
	g->changed = memcmp(g->mac, inner->mac, sizeof(g->mac)) != 0;
	/* An engine may still be setting it up. */
	if (g->changed && (s->follow || !is_set_up(g))) {
		memcpy(g->mac, inner->mac, sizeof(g->mac));
		g->changed = false;
	}
	return 0;
}

/* Host devices that are gone or have another name by now. */
static void
guards_prune(struct warden *w, struct guards *s, const struct links *host)
{
	struct guard **p = &s->list, *g;

	while ((g = *p) != NULL) {
		const struct link_info *l = links_find(host, g->ifindex);

		if (l != NULL && (g->table == NULL || strcmp(l->name, g->name) == 0)) {
			memcpy(g->name, l->name, sizeof(g->name));
			p = &g->next;
			continue;
		}
		if (l != NULL) {
			nft_table_delete(g->table);
			memcpy(g->name, l->name, sizeof(g->name));
			nft_table_free(g->table);
			g->table = NULL;
			p = &g->next;
			continue;
		}
		*p = g->next;
		guard_delete(g);
	}
}

static int
guards_number(struct warden *w, struct ns *n, struct guards *s)
{
	_cleanup_close_ int nsfd = -1;

	if (s->nsid >= 0)
		return 0;
	nsfd = scan_open(w->scan, n);
	if (nsfd < 0)
		return nsfd;
	return link_nsid(w->link_sock, nsfd, &s->nsid);
}

void
guards_count_open(struct guards *s, const struct links *inner)
{
	s->open = 0;
	for (size_t i = 0; i < inner->n; i++) {
		struct guard *g = s->list;

		while (g != NULL && g->inner != inner->v[i].ifindex)
			g = g->next;
		s->open += inner->v[i].leaves && g == NULL;
	}
}

/* Those of the host's links that the namespace's lead to, and those that have been guarded. */
static int
links_of(struct warden *w, const struct guards *s, const struct links *inner, struct links *ret)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < inner->n; i++)
		n += inner->v[i].veth && inner->v[i].peer != 0;
	for (const struct guard *g = s->list; g != NULL; g = g->next)
		n++;
	if (n > LINKS_ASK_MAX)
		return links_read(w, -1, ret);
	ret->v = calloc(n + 1, sizeof(*ret->v));
	if (ret->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < inner->n; i++)
		if (inner->v[i].veth && inner->v[i].peer != 0)
			r = links_ask(w, inner->v[i].peer, ret);
	for (const struct guard *g = s->list; r == 0 && g != NULL; g = g->next)
		r = links_ask(w, g->ifindex, ret);
	return r;
}

int
guards_discover(struct warden *w, struct ns *n, struct guards *s)
{
	_cleanup_(links_done) struct links host = { 0 }, inner = { 0 };
	int r;

	r = guards_number(w, n, s);
	if (r == 0)
		r = links_read(w, s->nsid, &inner);
	if (r == 0)
		r = links_of(w, s, &inner, &host);
	if (r == 0 && s->nsid >= 0)
		r = addrs_read(w, s->nsid, s->found, &s->n_found);
	if (r < 0)
		return r;
	for (size_t i = 0; i < host.n && r == 0; i++) {
		const struct link_info *other;

		if (!leads_to(s, &host.v[i]))
			continue;
		other = links_find(&inner, host.v[i].peer);
		if (other != NULL && other->has_mac)
			r = guard_see(w, s, &host.v[i], other);
	}
	guards_prune(w, s, &host);
	guards_count_open(s, &inner);
	return r;
}

static struct rtnl_addr
told(const struct w_guard_addr *a)
{
	return (struct rtnl_addr){
		.addr = a->addr, .prefix_len = (uint8_t)a->prefix_len, .ifindex = a->ifindex
	};
}

/* The addresses of a link that does not follow changes: those it had at first. */
static void
guard_freeze(const struct guards *s, struct guard *g)
{
	if (is_set_up(g) && g->n_addrs > 0)
		return;
	g->n_addrs = 0;
	for (size_t i = 0; i < s->n_addrs && g->n_addrs < GUARD_OWN_ADDRS; i++)
		if (s->addrs[i].ifindex == g->inner)
			g->addrs[g->n_addrs++] = told(&s->addrs[i]);
	for (size_t i = 0; i < s->n_found && g->n_addrs < GUARD_OWN_ADDRS; i++)
		if (s->found[i].ifindex == g->inner)
			g->addrs[g->n_addrs++] = s->found[i];
}

size_t
guards_own_addrs(const struct guards *s, struct rtnl_addr ret[static GUARD_MAX_ADDRS])
{
	size_t n = 0;

	if (s->follow) {
		for (; n < s->n_addrs; n++)
			ret[n] = told(&s->addrs[n]);
		for (size_t i = 0; i < s->n_found && n < GUARD_MAX_ADDRS; i++)
			ret[n++] = s->found[i];
		return n;
	}
	for (struct guard *g = s->list; g != NULL; g = g->next) {
		guard_freeze(s, g);
		for (size_t i = 0; i < g->n_addrs && n < GUARD_MAX_ADDRS; i++)
			ret[n++] = g->addrs[i];
	}
	return n;
}

/* Links have changed: only namespaces that are concerned are looked at closely. */

struct look {
	struct warden *w;
	struct links host; /* of those that have changed */
	const struct link_changes *changes;
};

static bool
has_changed(const struct look *l, uint32_t ifindex)
{
	for (size_t i = 0; i < l->changes->n; i++)
		if (l->changes->ifindex[i] == ifindex)
			return true;
	return l->changes->all;
}

static bool
is_concerned(const struct look *look, const struct guards *s)
{
	for (size_t i = 0; i < look->host.n; i++)
		if (leads_to(s, &look->host.v[i]) && guard_of(s, look->host.v[i].ifindex) == NULL)
			return true;
	for (const struct guard *g = s->list; g != NULL; g = g->next) {
		const struct link_info *l = links_find(&look->host, g->ifindex);

		if (has_changed(look, g->ifindex) &&
		    (l == NULL || l->flags != g->flags || strcmp(l->name, g->name) != 0))
			return true;
	}
	return false;
}

static void
look_at(void *arg, struct ns *n)
{
	struct look *l = arg;
	struct guards *s = n->att != NULL ? n->att->guards : NULL;

	if (s == NULL || !s->want || s->rules == NULL || guards_observe(s->rules))
		return;
	if (guards_number(l->w, n, s) == 0 && is_concerned(l, s))
		guards_load(l->w, n, s, s->rules);
}

void
guards_look_at_links(struct warden *w)
{
	struct link_changes changes = w->link_changes;
	struct look l = { .w = w, .changes = &changes };
	const struct timeval again = { .tv_usec = LINKS_PAUSE_NS / 1000 };

	w->link_changes = (struct link_changes){ 0 };
	if (links_changed(w, &changes, &l.host) == 0)
		scan_each(w->scan, look_at, &l);
	else {
		w->link_changes.all = true;
		evtimer_add(w->link_timer, &again);
	}
	links_done(&l.host);
	w->links_again_ns = mono_ns() + LINKS_PAUSE_NS;
}
