/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host guards: for each veth that leads from a guarded namespace to the host's own, a table at its
 * end in the host's namespace, named by the daemon's instance and the device's ifindex. One socket
 * owns them all; it is with the keeper like the others, under the host's cookie.
 *
 * A guard holds what the namespace's rules allow, so it comes before them when rules change: what
 * the new ones allow never meets an old guard. If the new rules are refused, the guard goes back.
 *
 * Which devices: the host's own view of its links, so nobody inside has a say. A device once
 * guarded stays so until it is gone, wherever its other end is moved to. The kernel (6.16 and
 * newer) keeps a table whose device is gone, and hooks it to the next device of that name: so it is
 * deleted with the device, and before a new one is guarded.
 */
#include "daemon/log.h"
#include "daemon/warden.h"
#include "daemon/warden_links.h"
#include "netlink/link.h"
#include "netlink/netns.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define GUARD_OWN_ADDRS 16
/* How long after its first sight a link's addresses are still being given to it. */
#define GRACE_NS NSEC_PER_SEC
#define LINKS_PAUSE_NS (5 * NSEC_PER_MSEC)
/* Beyond that many, one dump of the host's links costs less than asking for each. */
#define LINKS_ASK_MAX 32

struct guard {
	struct guard *next;
	uint32_t ifindex, inner; /* of the host's end, of the other */
	char name[LINK_NAME_MAX];
	uint8_t mac[LINK_MAC_LEN];
	bool changed; /* the interface has another one by now */
	bool in_force;
	bool stale;	/* it was found changed */
	uint32_t flags; /* of the link */
	uint64_t seen_ns, dropped;
	struct addr addrs[GUARD_OWN_ADDRS]; /* as first seen */
	size_t n_addrs;
	struct nft_table *table;
};

struct guards {
	bool want, follow;
	bool closing; /* nobody has asked for it: its namespace is closed */
	struct w_guard_addr addrs[GUARD_MAX_ADDRS]; /* as the controller says */
	size_t n_addrs;
	struct rtnl_addr found[GUARD_MAX_ADDRS]; /* as it was when we looked */
	size_t n_found;
	struct ruleset *rules; /* in force, as far as we know */
	struct guard *list;
	int32_t nsid;
	uint32_t open;
	int error;
	bool told;
	struct w_guarded last;
};

static int
addrs_read(struct warden *w, int32_t nsid, struct rtnl_addr *ret, size_t *ret_n)
{
	int r = -EINTR;

	for (unsigned i = 0; i < 8 && r == -EINTR; i++)
		r = link_addrs(w->link_sock, nsid, ret, GUARD_MAX_ADDRS, ret_n);
	return r;
}

static uint64_t
mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
table_name(const struct warden *w, uint32_t ifindex, char ret[static NFT_TABLE_NAME_MAX])
{
	snprintf(ret, NFT_TABLE_NAME_MAX, "%.21s_%" PRIx32, w->table, ifindex);
}

static void
table_prefix(const struct warden *w, char ret[static NFT_TABLE_NAME_MAX])
{
	snprintf(ret, NFT_TABLE_NAME_MAX, "%.21s_", w->table);
}

/* The sockets */

static int
open_owner(struct warden *w)
{
	_cleanup_close_ int self = -1, sock = -1;
	struct netns_id id;
	struct kept *k;
	int r;

	if (w->guard_sock >= 0)
		return 0;
	self = netns_open_self();
	r = self < 0 ? self : netns_identify(self, &id);
	if (r < 0)
		return r;
	k = keep_take(w, id.cookie);
	if (k != NULL) {
		w->guard_sock = steal_fd(&k->owner);
		keep_free(k);
	}
	if (w->guard_sock >= 0)
		return 0;
	sock = netns_socket(self, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	if (sock < 0)
		return sock;
	r = keep_put(w, id.cookie, KEEP_OWNER, 0, sock);
	if (r < 0)
		log_warn("no keeper holds the socket of the host guards: %s", strerror(-r));
	w->guard_sock = steal_fd(&sock);
	return 0;
}

void
guard_put_again(struct warden *w)
{
	uint64_t cookie;

	if (w->guard_sock >= 0 && netns_socket_cookie(w->guard_sock, &cookie) == 0)
		keep_put(w, cookie, KEEP_OWNER, 0, w->guard_sock);
}

static void look_at_links(struct warden *w);

static void
on_links(evutil_socket_t fd, short what, void *arg)
{
	look_at_links(arg);
}

/* The first of a burst at once: a new link may be one of a closed namespace. */
static void
on_link_event(evutil_socket_t fd, short what, void *arg)
{
	struct warden *w = arg;
	uint64_t wait_us;
	struct timeval tv = { 0 };

	if (link_events_read(fd, &w->link_changes) <= 0 || evtimer_pending(w->link_timer, NULL))
		return;
	wait_us = w->links_again_ns - MIN(mono_ns(), w->links_again_ns);
	wait_us /= 1000;
	if (wait_us == 0) {
		look_at_links(w);
		return;
	}
	tv.tv_usec = (suseconds_t)wait_us;
	evtimer_add(w->link_timer, &tv);
}

/* Tables of an earlier life whose device is gone. */
static void
sweep_one(void *arg, const char *name)
{
	struct warden *w = arg;
	size_t prefix = strlen(w->table) + 1;
	char again[NFT_TABLE_NAME_MAX];
	struct nft_table *t = NULL;
	uint32_t ifindex;

	if (strlen(name) <= prefix)
		return;
	ifindex = (uint32_t)strtoul(name + prefix, NULL, 16);
	table_name(w, ifindex, again);
	if (strcmp(name, again) != 0)
		return;
	if (links_find(w->sweep_links, ifindex) != NULL)
		w->guards_left = true;
	else if (nft_guard_new(w->guard_sock, name, "-", &t) == 0)
		nft_table_delete(t);
	nft_table_free(t);
}

static int
open_all(struct warden *w)
{
	_cleanup_(links_done) struct links links = { 0 };
	char prefix[NFT_TABLE_NAME_MAX];
	int r;

	if (w->link_event != NULL)
		return 0;
	if (!(w->features & NFT_CAN_INGRESS))
		return -EOPNOTSUPP;
	r = open_owner(w);
	if (r < 0)
		return r;
	if (w->link_sock < 0)
		w->link_sock = link_open();
	if (w->link_sock < 0)
		return w->link_sock;
	if (w->link_events < 0)
		w->link_events = link_open_events();
	if (w->link_events < 0)
		return w->link_events;
	r = links_read(w, -1, &links);
	if (r < 0)
		return r;
	w->sweep_links = &links;
	table_prefix(w, prefix);
	nft_each_table(w->guard_sock, prefix, sweep_one, w);
	w->sweep_links = NULL;
	w->link_event =
	    event_new(w->loop.base, w->link_events, EV_READ | EV_PERSIST, on_link_event, w);
	if (w->link_event == NULL || event_add(w->link_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int
guard_init(struct warden *w)
{
	w->guard_sock = w->link_sock = w->link_events = -1;
	w->link_timer = evtimer_new(w->loop.base, on_links, w);
	return w->link_timer != NULL ? 0 : -ENOMEM;
}

void
guard_done(struct warden *w)
{
	if (w->link_event != NULL)
		event_free(w->link_event);
	if (w->link_timer != NULL)
		event_free(w->link_timer);
	drift_free(w->guard_drift);
	close_fd(&w->guard_sock);
	close_fd(&w->link_sock);
	close_fd(&w->link_events);
}

/* Guards of one namespace */

static void
guard_free(struct guard *g)
{
	nft_table_free(g->table);
	free(g);
}

void
guards_free(struct guards *s)
{
	if (s == NULL)
		return;
	while (s->list != NULL) {
		struct guard *g = s->list;

		s->list = g->next;
		guard_free(g);
	}
	ruleset_free(s->rules);
	free(s);
}

static int
guard_handle(struct warden *w, struct guard *g)
{
	char name[NFT_TABLE_NAME_MAX];
	int r;

	nft_table_free(g->table);
	g->table = NULL;
	table_name(w, g->ifindex, name);
	r = nft_guard_new(w->guard_sock, name, g->name, &g->table);
	if (r == 0 && w->without_owner)
		nft_table_forgo_owner(g->table);
	return r;
}

static void
guard_delete(struct guard *g)
{
	int r = g->table != NULL ? nft_table_delete(g->table) : 0;

	if (r < 0)
		log_error("the guard of %s cannot be removed: %s", g->name, strerror(-r));
	guard_free(g);
}

/* Removes the tables; what was seen of the links stays. */
static void
guards_unload(struct guards *s)
{
	for (struct guard *g = s->list; g != NULL; g = g->next) {
		if (g->table != NULL && nft_table_delete(g->table) < 0)
			log_error("the guard of %s cannot be removed", g->name);
		nft_table_free(g->table);
		g->table = NULL;
		g->in_force = false;
		g->dropped = 0;
	}
}

static void
guards_clear(struct guards *s)
{
	while (s->list != NULL) {
		struct guard *g = s->list;

		s->list = g->next;
		guard_delete(g);
	}
	s->open = 0;
	s->error = 0;
}

/* An end of the namespace in the host's own. */
static bool
leads_to(const struct guards *s, const struct link_info *host)
{
	return host->veth && host->peer != 0 && s->nsid >= 0 && host->nsid == s->nsid;
}

static struct guard *
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

/* Ways out that no guard stands at. */
static void
count_open(struct guards *s, const struct links *inner)
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

static int
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
	count_open(s, &inner);
	return r;
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
			g->addrs[g->n_addrs++] = s->addrs[i].addr;
	for (size_t i = 0; i < s->n_found && g->n_addrs < GUARD_OWN_ADDRS; i++)
		if (s->found[i].ifindex == g->inner)
			g->addrs[g->n_addrs++] = s->found[i].addr;
}

static size_t
own_addrs(const struct guards *s, struct addr ret[static GUARD_MAX_ADDRS])
{
	size_t n = 0;

	if (s->follow) {
		for (; n < s->n_addrs; n++)
			ret[n] = s->addrs[n].addr;
		for (size_t i = 0; i < s->n_found && n < GUARD_MAX_ADDRS; i++)
			ret[n++] = s->found[i].addr;
		return n;
	}
	for (struct guard *g = s->list; g != NULL; g = g->next) {
		guard_freeze(s, g);
		for (size_t i = 0; i < g->n_addrs && n < GUARD_MAX_ADDRS; i++)
			ret[n++] = g->addrs[i];
	}
	return n;
}

static int
guard_read_back(struct guard *g)
{
	uint8_t expected[RULESET_DIGEST_LEN];
	struct nft_state st;
	int r;

	g->in_force = false;
	r = nft_table_read(g->table, &st);
	if (r < 0)
		return r;
	r = nft_table_expected(g->table, expected);
	if (r < 0)
		return r;
	g->dropped = st.dropped;
	g->in_force = st.present && memcmp(expected, st.digest, sizeof(expected)) == 0;
	return g->in_force ? 0 : -ESTALE;
}

/* Nothing was sent, and what was before has been read back. */
static bool
guard_stands(const struct guard *g)
{
	return g->in_force && nft_table_unchanged(g->table);
}

static int
guard_load(struct warden *w, struct guard *g, const struct ruleset *rs, struct nft_pin *pin)
{
	bool owned = true;
	int r = -ESTALE;

	memcpy(pin->mac, g->mac, sizeof(pin->mac));
	/* A second time from nothing: somebody has changed it. */
	for (unsigned i = 0; i < 2 && r == -ESTALE; i++) {
		r = g->table == NULL || i > 0 ? guard_handle(w, g) : 0;
		if (r == 0)
			r = nft_guard_apply(g->table, rs, pin, &owned);
		if (r == 0 && !guard_stands(g))
			r = guard_read_back(g);
	}
	if (r < 0)
		g->in_force = false;
	else if (!owned)
		drift_watch_guards(w);
	return r;
}

static bool
observes(const struct ruleset *rs)
{
	return rs->in_mode == MODE_OBSERVE && rs->out_mode == MODE_OBSERVE;
}

static void
tell(struct warden *w, struct ns *n, struct guards *s)
{
	struct w_guarded now = { .cookie = n->info.cookie, .error = s->error, .open = s->open };

	for (const struct guard *g = s->list; g != NULL; g = g->next) {
		now.devices += g->in_force;
		now.changed += g->changed;
		now.dropped += g->dropped;
	}
	if (s->told && memcmp(&now, &s->last, sizeof(now)) == 0)
		return;
	s->told = role_send(&w->loop, ROLE_CONTROLLER, MSG_W_GUARDED, 0, &now, sizeof(now)) == 0;
	s->last = now;
}

static void
guards_load(struct warden *w, struct ns *n, struct guards *s, const struct ruleset *rs)
{
	struct addr own[GUARD_MAX_ADDRS];
	struct nft_pin pin = { .addrs = own };
	bool load = s->want && rs != NULL && !observes(rs);
	int r, first = 0;

	if (!s->want)
		guards_clear(s);
	else if (!load)
		guards_unload(s);
	/* First sight is what counts where changes are not followed. */
	if (load || (s->want && !s->follow)) {
		first = open_all(w);
		if (first == 0)
			first = guards_discover(w, n, s);
		pin.n_addrs = own_addrs(s, own);
	}
	for (struct guard *g = s->list; load && g != NULL && w->guard_sock >= 0; g = g->next) {
		r = guard_load(w, g, rs, &pin);
		if (r < 0 && first == 0)
			first = r;
	}
	if (first < 0 && s->error != first)
		log_error("netns %" PRIu64 ": its host guard is not as it should be: %s",
		    n->info.cookie, strerror(-first));
	s->error = first;
	tell(w, n, s);
}

/* What is called from outside */

int
guard_configure(struct warden *w, struct ns *n, const struct w_guard *req,
    const struct w_guard_addr *addrs, size_t n_addrs)
{
	struct guards *s;

	if (n->att == NULL)
		return -ENOENT;
	if (n->att->host || req->want > 1 || req->follow > 1 || n_addrs > GUARD_MAX_ADDRS)
		return -EINVAL;
	for (size_t i = 0; i < n_addrs; i++)
		if (addrs[i].addr.family != 4 && addrs[i].addr.family != 6)
			return -EINVAL;
	s = n->att->guards;
	if (s == NULL && !req->want && !guard_has_left(w))
		return 0;
	if (s == NULL) {
		s = n->att->guards = calloc(1, sizeof(*s));
		if (s == NULL)
			return -ENOMEM;
		s->nsid = -1;
	}
	s->closing = false;
	s->want = req->want;
	s->follow = req->follow;
	memcpy(s->addrs, addrs, n_addrs * sizeof(*addrs));
	s->n_addrs = n_addrs;
	s->told = false;
	/* One of an earlier life, which nobody wants any more. */
	if (!s->want && guard_has_left(w) && guards_discover(w, n, s) == 0)
		for (struct guard *g = s->list; g != NULL; g = g->next)
			guard_handle(w, g);
	guards_load(w, n, s, s->rules);
	return 0;
}

void
guard_apply(struct warden *w, struct ns *n, const struct ruleset *rs)
{
	struct guards *s = n->att->guards;

	if (s == NULL)
		return;
	s->want &= !s->closing;
	guards_load(w, n, s, rs);
}

void
guard_close(struct warden *w, struct ns *n, const struct ruleset *rs)
{
	struct guards *s;

	if (!(w->features & NFT_CAN_INGRESS) || n->att->guards != NULL)
		return;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return;
	s->nsid = -1;
	s->want = s->follow = s->closing = true;
	s->rules = calloc(1, sizeof(*s->rules));
	if (s->rules != NULL)
		*s->rules = *rs;
	n->att->guards = s;
	guards_load(w, n, s, s->rules);
}

/* Asked once, and of the tables: who has none follows no links for it. */
bool
guard_has_left(struct warden *w)
{
	_cleanup_close_ int self = -1, sock = -1;
	char prefix[NFT_TABLE_NAME_MAX];

	if (!w->guards_asked && (w->features & NFT_CAN_INGRESS)) {
		self = netns_open_self();
		if (self >= 0)
			sock = netns_socket(self, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
		table_prefix(w, prefix);
		w->guards_asked = sock >= 0;
		w->guards_left |= sock >= 0 && nft_count_tables(sock, prefix) > 0;
	}
	return w->guards_left && open_all(w) == 0;
}

void
guard_open(struct ns *n)
{
	struct guards *s = n->att->guards;

	if (s == NULL)
		return;
	guards_unload(s);
	ruleset_free(s->rules);
	s->rules = NULL;
	s->want &= !s->closing;
}

void
guard_keep(struct ns *n, struct ruleset **rs)
{
	struct guards *s = n->att->guards;

	if (s == NULL)
		return;
	ruleset_free(s->rules);
	s->rules = s->want ? steal_ptr(*rs) : NULL;
}

void
guard_revert(struct warden *w, struct ns *n)
{
	struct guards *s = n->att->guards;

	if (s != NULL && s->rules != NULL)
		guards_load(w, n, s, s->rules);
}

void
guard_look(struct warden *w, struct ns *n)
{
	struct guards *s = n->att != NULL ? n->att->guards : NULL;

	if (s != NULL && s->rules != NULL)
		guards_load(w, n, s, s->rules);
}

/* A device may be gone by now, and its guard with it: that is no change by anybody. */
static void
guards_restore(struct warden *w, struct ns *n, struct guards *s, const struct nft_change *who)
{
	bool changed = false;

	guards_load(w, n, s, s->rules);
	for (struct guard *g = s->list; g != NULL; g = g->next) {
		changed |= g->stale;
		g->stale = false;
	}
	if (changed)
		drift_of_guard(w, n, s->error, who);
}

void
guard_check(struct warden *w, struct ns *n, const struct nft_change *who)
{
	_cleanup_(links_done) struct links inner = { 0 };
	struct guards *s = n->att->guards;
	bool stale = false;

	if (s == NULL)
		return;
	for (struct guard *g = s->list; g != NULL; g = g->next) {
		g->stale = g->table != NULL && guard_read_back(g) == -ESTALE;
		stale |= g->table != NULL && !g->in_force;
	}
	if (stale || s->error < 0) {
		guards_restore(w, n, s, who);
		return;
	}
	/* A macvlan that has come in shows at no device of the host's. */
	if (s->nsid >= 0 && links_read(w, s->nsid, &inner) == 0)
		count_open(s, &inner);
	tell(w, n, s);
}

void
guard_remove(struct ns *n)
{
	if (n->att == NULL || n->att->guards == NULL)
		return;
	guards_clear(n->att->guards);
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

	if (s == NULL || !s->want || s->rules == NULL || observes(s->rules))
		return;
	if (guards_number(l->w, n, s) == 0 && is_concerned(l, s))
		guards_load(l->w, n, s, s->rules);
}

static void
look_at_links(struct warden *w)
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
