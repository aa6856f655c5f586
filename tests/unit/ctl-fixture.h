/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A controller with no other role: its clock, its warden and its addresses are the test's. */
#ifndef NANOSEG_TESTS_CTL_FIXTURE_H
#define NANOSEG_TESTS_CTL_FIXTURE_H

#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/flows.h"
#include "daemon/history.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/one_way.h"
#include "daemon/quarantine.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/start.h"
#include "daemon/stopped.h"
#include "daemon/store.h"
#include "daemon/witness.h"
#include "netlink/rtnl.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define T0 (1800000000ULL * NSEC_PER_SEC)
#define MAX_FAKE_ADDRS 128

static uint64_t fake_now = T0, fake_mono = 1000 * NSEC_PER_SEC;
static unsigned sent[MSG_TYPE_MAX_];
static int send_error; /* what every send ends in */
static void (*on_sent)(uint16_t type, uint32_t seq, const void *body, size_t len);

uint64_t __wrap_now_real(void);
uint64_t __wrap_now_mono(void);
uint64_t __wrap_now_coarse(void);
int __wrap_role_send(
    struct role_loop *l, enum role peer, uint16_t type, uint32_t seq, const void *body, size_t len);
const struct rtnl_addr *__wrap_rtnl_watch_addrs(const struct rtnl_watch *w, size_t *ret_n);
bool __wrap_rtnl_watch_ready(const struct rtnl_watch *w);
void __wrap_rtnl_watch_free(struct rtnl_watch *w);

struct rtnl_watch {
	struct rtnl_addr list[MAX_FAKE_ADDRS];
	size_t n;
	bool ready;
};

uint64_t
__wrap_now_real(void)
{
	return fake_now;
}

uint64_t
__wrap_now_mono(void)
{
	return fake_mono;
}

uint64_t
__wrap_now_coarse(void)
{
	return fake_mono;
}

int
__wrap_role_send(
    struct role_loop *l, enum role peer, uint16_t type, uint32_t seq, const void *body, size_t len)
{
	if (send_error < 0)
		return send_error;
	sent[type]++;
	if (on_sent != NULL)
		on_sent(type, seq, body, len);
	return 0;
}

const struct rtnl_addr *
__wrap_rtnl_watch_addrs(const struct rtnl_watch *w, size_t *ret_n)
{
	*ret_n = w->n;
	return w->list;
}

bool
__wrap_rtnl_watch_ready(const struct rtnl_watch *w)
{
	return w->ready;
}

void
__wrap_rtnl_watch_free(struct rtnl_watch *w)
{
	free(w);
}

static _unused_ void
ctl_wait(uint64_t ns)
{
	fake_now += ns;
	fake_mono += ns;
}

static struct addr
ctl_addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static _unused_ void
ctl_rmdir(const char *dir)
{
	static const char *const names[] = { "", "-wal", "-shm", "-journal", ".new", ".new-wal",
		".v1" };
	static const char *const files[] = { "places", "policy.json", "enforced",
		"nanosegd.yaml.last" };
	char path[512];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/nanoseg.db%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static _unused_ const char *
ctl_tmpdir(char buf[static 64])
{
	snprintf(buf, 64, "/tmp/nanoseg-test-XXXXXX");
	assert_non_null(mkdtemp(buf));
	return buf;
}

/* dir NULL: without a store. */
static _unused_ struct controller *
ctl_new(const char *dir)
{
	const struct peer host = { .kind = PEER_HOST }, internet = { .kind = PEER_INTERNET },
			  multicast = { .kind = PEER_MULTICAST };
	struct controller *c = calloc(1, sizeof(*c));
	struct diag d = { 0 };

	assert_non_null(c);
	c->workloads_tail = &c->workloads;
	c->seed = 42;
	c->state_dir = dir;
	c->scanned = c->warden_ready = c->caught_up = true;
	log_init("test", LOG_LVL_ERROR);
	assert_int_equal(config_new(&c->config), 0);
	c->waiting = calloc(CTL_MAX_WAITING, sizeof(*c->waiting));
	assert_non_null(c->waiting);
	assert_int_equal(peer_table_new_seeded(40000, c->seed, &c->peers), 0);
	assert_int_equal(edge_table_new(c->peers, 5000, c->seed, learn_covers, c, &c->edges), 0);
	assert_int_equal(edge_table_generalise(c->edges, c->peers, flush_folded, c), 0);
	assert_int_equal(addr_map_new(c->seed, &c->addr_map), 0);
	assert_int_equal(nat_cache_new(c->seed, &c->nat), 0);
	assert_int_equal(witness_new(c->seed, &c->witness), 0);
	assert_int_equal(one_way_new(c->seed, &c->one_way), 0);
	assert_int_equal(denial_table_new(64, c->seed, &c->denials), 0);
	assert_int_equal(attempt_table_new(64, c->seed, &c->attempts), 0);
	assert_int_equal(flow_ring_new(16, &c->flows), 0);
	assert_int_equal(peer_intern(c->peers, &host, &c->peer_host), 0);
	assert_int_equal(peer_intern(c->peers, &internet, &c->peer_internet), 0);
	assert_int_equal(peer_intern(c->peers, &multicast, &c->peer_multicast), 0);
	if (dir != NULL) {
		if (store_open(dir, &d, &c->store) < 0 || segment_load(c, &d) < 0)
			fail_msg("%s", d.msg);
	} else {
		assert_int_equal(segment_build_policy(c, false, &c->policy), 0);
	}
	return c;
}

static _unused_ void
ctl_free_quarantines(struct quarantine **list)
{
	while (*list != NULL) {
		struct quarantine *q = *list;

		*list = q->next;
		quarantine_free(q);
	}
}

static _unused_ void
ctl_free(struct controller *c)
{
	instance_reset(c);
	for (size_t i = 0; i < ARRAY_SIZE(c->containers); i++)
		while (c->containers[i] != NULL) {
			struct d_id id = { 0 };

			memcpy(id.id, c->containers[i]->id, sizeof(id.id));
			instance_on_container_gone(c, &id);
		}
	stopped_clear(c);
	while (c->workloads != NULL) {
		struct workload *w = c->workloads;

		c->workloads = w->next;
		workload_free(w);
	}
	ctl_free_quarantines(&c->quarantines);
	ctl_free_quarantines(&c->released);
	for (size_t i = 0; i < c->n_networks; i++) {
		free(c->networks[i].name);
		free(c->networks[i].prefixes);
	}
	free(c->networks);
	exposure_free_all(c);
	history_free(c->history);
	inventory_free(c->inventory);
	store_close(c->store);
	policy_free(c->policy);
	edge_table_free(c->edges);
	peer_table_free(c->peers);
	addr_map_free(c->addr_map);
	nat_cache_free(c->nat);
	witness_free(c->witness);
	one_way_free(c->one_way);
	denial_table_free(c->denials);
	attempt_table_free(c->attempts);
	flow_ring_free(c->flows);
	config_free(c->config);
	json_decref(c->reload.changed);
	json_decref(c->reload.restart);
	json_decref(c->reload.groups);
	free(c->folded);
	free(c->waiting);
	free(c);
}

/* One with a store, for cmocka. */
struct ctl_fixture {
	char dir[64];
	struct controller *c;
	struct diag d;
};

static _unused_ int
ctl_setup(void **state)
{
	struct ctl_fixture *f = calloc(1, sizeof(*f));

	fake_now = T0;
	ctl_tmpdir(f->dir);
	f->c = ctl_new(f->dir);
	*state = f;
	return 0;
}

static _unused_ int
ctl_teardown(void **state)
{
	struct ctl_fixture *f = *state;

	ctl_free(f->c);
	ctl_rmdir(f->dir);
	free(f);
	return 0;
}

/* With an event loop, which nobody runs. */
static _unused_ int
ctl_setup_loop(void **state)
{
	struct ctl_fixture *f;

	ctl_setup(state);
	f = *state;
	f->c->loop.base = event_base_new();
	assert_non_null(f->c->loop.base);
	return 0;
}

static _unused_ int
ctl_teardown_loop(void **state)
{
	struct ctl_fixture *f = *state;
	struct event_base *base = f->c->loop.base;

	on_sent = NULL;
	ctl_teardown(state);
	event_base_free(base);
	return 0;
}

static _unused_ void
ctl_restart(struct ctl_fixture *f)
{
	ctl_free(f->c);
	f->c = ctl_new(f->dir);
}

/* A plain namespace, attached, with one address; it is a workload of its name. */
static _unused_ struct instance *
ctl_instance(struct controller *c, uint64_t cookie, const char *name, const char *address)
{
	struct w_netns n = { .cookie = cookie, .ino = cookie + 4026530000, .flags = NETNS_F_NAMED };
	struct instance *i;

	if (strcmp(name, "host") == 0)
		n.flags = NETNS_F_HOST;
	snprintf(n.basename, sizeof(n.basename), "%s", name);
	instance_on_netns(c, &n);
	i = instance_find(c, cookie);
	assert_non_null(i);
	i->attach = ATTACH_DONE;
	if (i->settling)
		c->n_settling--;
	i->settling = false;
	i->addrs = calloc(1, sizeof(*i->addrs));
	assert_non_null(i->addrs);
	i->addrs->ready = true;
	i->addrs->list[i->addrs->n++].addr = ctl_addr(address);
	assert_int_equal(addr_map_claim(c->addr_map, &i->addrs->list[0].addr, i), 0);
	return i;
}

static _unused_ struct flow_event
ctl_event(uint64_t netns, uint8_t kind, const char *src, const char *dst, uint16_t port)
{
	return (struct flow_event){ .netns = netns,
		.time_ns = fake_now,
		.tuple = { .src = ctl_addr(src),
		    .dst = ctl_addr(dst),
		    .sport = 40000,
		    .dport = port,
		    .proto = IPPROTO_TCP },
		.kind = kind,
		.dir = kind == FLOW_DENIED || kind == FLOW_AUDITED ? DIR_EGRESS : 0,
		.count = 1 };
}

/* The edge between two peers as peer_parse() reads them, or NULL. */
static _unused_ struct edge *
ctl_range(struct controller *c, const char *from, const char *to, uint16_t lo, uint16_t hi)
{
	struct edge_key key = { .proto = IPPROTO_TCP, .port_lo = lo, .port_hi = hi };
	char name[PEER_STRLEN];
	struct peer p;

	assert_int_equal(peer_parse(from, name, &p), 0);
	key.from = peer_lookup(c->peers, &p);
	assert_int_equal(peer_parse(to, name, &p), 0);
	key.to = peer_lookup(c->peers, &p);
	return key.from == 0 || key.to == 0 ? NULL : edge_table_find(c->edges, &key);
}

static _unused_ struct edge *
ctl_edge(struct controller *c, const char *from, const char *to, uint16_t port)
{
	return ctl_range(c, from, to, port, port);
}

static _unused_ struct edge *
ctl_add_range(struct controller *c, const char *from, const char *to, uint16_t lo, uint16_t hi)
{
	struct edge_key key = { .proto = IPPROTO_TCP, .port_lo = lo, .port_hi = hi };
	char name[PEER_STRLEN];
	struct edge *e;
	struct peer p;

	assert_int_equal(peer_parse(from, name, &p), 0);
	assert_int_equal(peer_intern(c->peers, &p, &key.from), 0);
	assert_int_equal(peer_parse(to, name, &p), 0);
	assert_int_equal(peer_intern(c->peers, &p, &key.to), 0);
	assert_int_equal(edge_table_add(c->edges, &key, &e), 0);
	return e;
}

static _unused_ struct edge *
ctl_add_edge(struct controller *c, const char *from, const char *to, uint16_t port)
{
	return ctl_add_range(c, from, to, port, port);
}

#endif
