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
#include "daemon/warden_guard_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

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
	guard_table_name(w, g->ifindex, name);
	r = nft_guard_new(w->guard_sock, name, g->name, &g->table);
	if (r == 0 && w->without_owner)
		nft_table_forgo_owner(g->table);
	return r;
}

void
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

/* Those of an earlier life are found, to be removed: nobody wants them now. */
static void
guards_take_left(struct warden *w, struct ns *n, struct guards *s)
{
	if (!guard_has_left(w) || (s->list == NULL && guards_discover(w, n, s) < 0))
		return;
	for (struct guard *g = s->list; g != NULL; g = g->next)
		if (g->table == NULL)
			guard_handle(w, g);
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
	/* From nothing if somebody has changed it, which may show only now. */
	for (unsigned i = 0; i < 2 && r == -ESTALE; i++) {
		r = g->table == NULL || g->stale || i > 0 ? guard_handle(w, g) : 0;
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

bool
guards_observe(const struct ruleset *rs)
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

void
guards_load(struct warden *w, struct ns *n, struct guards *s, const struct ruleset *rs)
{
	struct rtnl_addr own[GUARD_MAX_ADDRS];
	struct nft_pin pin = { .addrs = own };
	bool load = s->want && rs != NULL && !guards_observe(rs);
	int r, first = 0;

	if (!s->want)
		guards_clear(s);
	else if (!load) {
		if (rs != NULL)
			guards_take_left(w, n, s);
		guards_unload(s);
	}
	/* First sight is what counts where changes are not followed. */
	if (load || (s->want && !s->follow)) {
		first = guards_open_host(w);
		if (first == 0)
			first = guards_discover(w, n, s);
		pin.n_addrs = guards_own_addrs(s, own);
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
		if ((addrs[i].addr.family != 4 && addrs[i].addr.family != 6) ||
		    addrs[i].prefix_len > 8 * addr_len(&addrs[i].addr))
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
	if (!s->want)
		guards_take_left(w, n, s);
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
	s->suspicion = SUSPECT_NONE;
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
		guards_count_open(s, &inner);
	tell(w, n, s);
}

void
guard_remove(struct ns *n)
{
	if (n->att == NULL || n->att->guards == NULL)
		return;
	guards_clear(n->att->guards);
}
