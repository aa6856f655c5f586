/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "daemon/denial.h"
#include "daemon/flows.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/observe.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "netlink/ct.h"
#include "rules/compile.h"
#include "rules/names.h"

static int
setup(void **state)
{
	*state = ctl_new(NULL);
	return 0;
}

static int
teardown(void **state)
{
	ctl_free(*state);
	return 0;
}

static void
see(struct controller *c, uint64_t netns, const char *src, const char *dst, uint16_t port,
    uint8_t flags)
{
	struct flow_event ev = ctl_event(netns, FLOW_ANSWERED, src, dst, port);

	ev.flags = flags;
	learn_flow(c, &ev);
}

static void
both_ends_are_one_connection_and_one_line(void **state)
{
	struct controller *c = *state;
	struct edge *e;

	ctl_instance(c, 1, "web", "10.0.0.1");
	ctl_instance(c, 2, "api", "10.0.0.2");
	see(c, 1, "10.0.0.1", "10.0.0.2", 80, 0);
	see(c, 2, "10.0.0.1", "10.0.0.2", 80, 0);
	assert_int_equal(edge_table_count(c->edges), 1);
	e = ctl_edge(c, "web", "api", 80);
	assert_non_null(e);
	assert_int_equal(edge_connections(e), 1);
	assert_int_equal(e->evidence.ends, EDGE_END_SOURCE | EDGE_END_DESTINATION);
	assert_int_equal(e->flags, 0);
	assert_int_equal(flow_ring_head(c->flows), 2);
}

static void
a_destination_alone_is_listed(void **state)
{
	struct controller *c = *state;

	ctl_instance(c, 2, "api", "10.0.0.2");
	see(c, 2, "192.168.7.7", "10.0.0.2", 80, 0);
	assert_int_equal(edge_connections(ctl_edge(c, "addr:192.168.7.7", "api", 80)), 1);
	assert_int_equal(flow_ring_head(c->flows), 2);
}

static void
three_hundred_replicas_are_one_edge(void **state)
{
	struct controller *c = *state;
	const struct edge *e;
	size_t pos = 0, n = 0;
	char addr[32];

	ctl_instance(c, 1, "api", "10.0.0.2");
	for (unsigned i = 0; i < 300; i++) {
		snprintf(addr, sizeof(addr), "10.1.%u.%u", i / 200, 1 + i % 200);
		ctl_instance(c, 2 + i, "web", addr);
		see(c, 2 + i, addr, "10.0.0.2", 80, 0);
		see(c, 1, addr, "10.0.0.2", 80, 0);
		see(c, 1, "10.0.0.2", addr, 8080, 0);
		see(c, 2 + i, "10.0.0.2", addr, 8080, 0);
	}
	while ((e = edge_table_next(c->edges, &pos)) != NULL)
		n++;
	assert_int_equal(n, 2);
	e = ctl_edge(c, "web", "api", 80);
	assert_int_equal(edge_connections(e), 300);
	assert_int_equal(e->flags, 0);
	assert_in_range(edge_instances_estimate(&e->evidence), 200, 420);
}

static void
a_crawlers_names_are_few_edges(void **state)
{
	struct controller *c = *state;
	struct workload *w = ctl_instance(c, 1, "web", "10.0.0.1")->workload;
	char name[32], text[32];

	assert_int_equal(name_table_new(1, &w->names), 0);
	for (unsigned i = 0; i < 1000; i++) {
		struct addr a;

		snprintf(name, sizeof(name), "s%u.cdn.example", i);
		snprintf(text, sizeof(text), "198.18.%u.%u", i / 200, 1 + i % 200);
		a = ctl_addr(text);
		assert_int_equal(name_table_tell(w->names, name, &a, false, 1, UINT64_MAX), 1);
		see(c, 1, "10.0.0.1", text, 443, 0);
		see(c, 1, "10.0.0.1", text, 443, 0);
	}
	assert_int_equal(edge_table_count(c->edges), 513);
	assert_int_equal(edge_connections(ctl_edge(c, "web", "fqdn:s7.cdn.example", 443)), 2);
	assert_int_equal(edge_connections(ctl_edge(c, "web", "internet", 443)), 2 * 488);
}

static void
replicas_are_one_workload(void **state)
{
	struct controller *c = *state;
	struct instance *i;

	ctl_instance(c, 1, "web", "10.0.0.1");
	i = ctl_instance(c, 2, "web", "10.0.0.2");
	assert_int_equal(c->n_workloads, 1);
	assert_ptr_equal(i->workload, workload_find(c, "web"));
	see(c, 1, "10.0.0.1", "10.0.0.9", 80, 0);
	see(c, 2, "10.0.0.2", "10.0.0.9", 80, 0);
	assert_int_equal(edge_table_count(c->edges), 1);
	assert_int_equal(
	    edge_instances_estimate(&ctl_edge(c, "web", "addr:10.0.0.9", 80)->evidence), 2);
}

static void
the_hosts_connections_are_flagged(void **state)
{
	struct controller *c = *state;

	ctl_instance(c, 9, "host", "10.0.0.254");
	ctl_instance(c, 2, "api", "10.0.0.2");
	see(c, 2, "10.0.0.254", "10.0.0.2", 80, 0);
	assert_int_equal(ctl_edge(c, "host", "api", 80)->flags, EDGE_FLAG_VIA_HOST);
}

static void
a_container_called_host_is_not_the_host(void **state)
{
	struct controller *c = *state;
	struct w_netns n = { .cookie = 5, .flags = NETNS_F_NAMED, .basename = "internet" };

	instance_on_netns(c, &n);
	assert_non_null(workload_find(c, "internet"));
	assert_int_not_equal(workload_find(c, "internet")->peer, c->peer_internet);
}

static void
an_unproven_direction_is_flagged_until_proven(void **state)
{
	struct controller *c = *state;

	ctl_instance(c, 1, "web", "10.0.0.1");
	see(c, 1, "10.0.0.1", "10.0.0.2", 80, FLOW_F_MIDSTREAM);
	assert_int_equal(ctl_edge(c, "web", "addr:10.0.0.2", 80)->flags, EDGE_FLAG_MIDSTREAM);
	see(c, 1, "10.0.0.1", "10.0.0.2", 81, FLOW_F_MIDSTREAM | FLOW_F_ORIENTED);
	assert_int_equal(ctl_edge(c, "web", "addr:10.0.0.2", 81)->flags, 0);
	see(c, 1, "10.0.0.1", "10.0.0.2", 80, 0);
	assert_int_equal(ctl_edge(c, "web", "addr:10.0.0.2", 80)->flags, 0);
}

static void
a_dump_counts_nothing_twice(void **state)
{
	struct controller *c = *state;
	struct edge *e;

	ctl_instance(c, 1, "web", "10.0.0.1");
	see(c, 1, "10.0.0.1", "10.0.0.2", 80, 0);
	see(c, 1, "10.0.0.1", "10.0.0.2", 80, FLOW_F_FROM_DUMP | FLOW_F_MIDSTREAM);
	see(c, 1, "10.0.0.1", "10.0.0.2", 80, FLOW_F_FROM_SOCKET | FLOW_F_MIDSTREAM);
	e = ctl_edge(c, "web", "addr:10.0.0.2", 80);
	assert_int_equal(edge_connections(e), 1);
	assert_int_equal(e->flags, 0);
	/* What only the dump has seen is there all the same. */
	see(c, 1, "10.0.0.1", "10.0.0.2", 81, FLOW_F_FROM_DUMP);
	assert_int_equal(edge_connections(ctl_edge(c, "web", "addr:10.0.0.2", 81)), 1);
}

static void
refusals_and_attempts_are_never_learned(void **state)
{
	struct controller *c = *state;
	static const uint8_t kinds[] = { FLOW_DENIED, FLOW_AUDITED, FLOW_ATTEMPT };

	ctl_instance(c, 1, "web", "10.0.0.1");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct flow_event ev =
		    ctl_event(1, kinds[i], "10.0.0.1", "10.0.0.2", (uint16_t)(80 + i));

		learn_flow(c, &ev);
	}
	ctl_wait(10 * NSEC_PER_SEC);
	attempt_tick(c);
	assert_int_equal(edge_table_count(c->edges), 0);
	assert_int_equal(denial_head(c->denials), 3);
}

static void
events_wait_for_a_name_and_keep_their_number(void **state)
{
	struct controller *c = *state;
	struct w_netns n = { .cookie = 7, .flags = NETNS_F_ENGINE };
	struct instance *i;
	struct addr a = ctl_addr("10.0.0.7");
	char json[256];

	memset(n.container_id, 'a', 64);
	ctl_instance(c, 1, "web", "10.0.0.1");
	instance_on_netns(c, &n);
	i = instance_find(c, 7);
	assert_int_equal(sent[MSG_D_LOOKUP], 1);
	assert_int_equal(addr_map_claim(c->addr_map, &a, i), 0);
	for (unsigned k = 0; k < 3; k++)
		see(c, 1, "10.0.0.1", "10.0.0.7", 80, 0);
	assert_int_equal(edge_table_count(c->edges), 0);
	assert_int_equal(c->n_waiting, 3);
	snprintf(json, sizeof(json), "{\"id\":\"%s\",\"name\":\"db\",\"image\":\"postgres\"}",
	    n.container_id);
	instance_on_container(c, json, strlen(json));
	assert_int_equal(c->n_waiting, 0);
	assert_non_null(ctl_edge(c, "web", "db", 80));
	assert_int_equal(edge_connections(ctl_edge(c, "web", "db", 80)), 3);
	addr_map_retract(c->addr_map, &a, i);
	{
		struct d_id gone = { 0 };

		memcpy(gone.id, n.container_id, 65);
		instance_on_container_gone(c, &gone);
	}
}

static void
waiting_is_bounded_in_number_and_time(void **state)
{
	struct controller *c = *state;
	struct w_netns n = { .cookie = 7, .flags = NETNS_F_ENGINE };

	instance_on_netns(c, &n);
	for (unsigned k = 0; k < CTL_MAX_WAITING + 10; k++)
		see(c, 7, "10.0.0.1", "10.0.0.7", 80, 0);
	assert_int_equal(c->n_waiting, CTL_MAX_WAITING);
	assert_int_equal(c->waiting_lost, 10);
	ctl_wait(c->config->identify_timeout_ns + 2 * NSEC_PER_SEC);
	learn_retry_waiting(c, true);
	assert_int_equal(c->n_waiting, 0);
	assert_int_equal(c->waiting_lost, CTL_MAX_WAITING + 10);
}

static void
an_unknown_address_is_taken_as_it_is_once_nobody_is_expected(void **state)
{
	struct controller *c = *state;
	struct w_netns n = { .cookie = 7, .flags = NETNS_F_ENGINE };

	ctl_instance(c, 1, "web", "10.0.0.1");
	instance_on_netns(c, &n);
	see(c, 1, "10.0.0.1", "10.0.0.9", 80, 0);
	assert_int_equal(c->n_waiting, 1);
	ctl_wait(c->config->identify_timeout_ns + 2 * NSEC_PER_SEC);
	instance_tick(c);
	assert_int_equal(c->n_waiting, 0);
	assert_int_equal(c->waiting_lost, 0);
	assert_non_null(ctl_edge(c, "web", "addr:10.0.0.9", 80));
}

static void
an_event_waits_for_its_own_namespaces_addresses(void **state)
{
	struct controller *c = *state;
	struct instance *i = ctl_instance(c, 1, "web", "10.0.0.1");

	i->addrs->ready = false;
	i->addrs->n = 0;
	see(c, 1, "10.0.0.3", "10.0.0.2", 80, 0);
	assert_int_equal(c->n_waiting, 1);
	i->addrs->ready = true;
	i->addrs->list[i->addrs->n++].addr = ctl_addr("10.0.0.3");
	learn_retry_waiting(c, false);
	assert_int_equal(c->n_waiting, 0);
	assert_non_null(ctl_edge(c, "web", "addr:10.0.0.2", 80));
}

static void
an_address_of_two_workloads_is_nobodys(void **state)
{
	struct controller *c = *state;
	struct addr a = ctl_addr("10.0.0.1");
	struct instance *i;
	bool ambiguous;

	ctl_instance(c, 3, "other", "10.0.0.3");
	ctl_instance(c, 1, "web", "10.0.0.1");
	i = ctl_instance(c, 2, "evil", "10.0.0.1");
	assert_null(addr_map_find(c->addr_map, &a, &ambiguous));
	assert_true(ambiguous);
	see(c, 3, "10.0.0.3", "10.0.0.1", 80, 0);
	assert_non_null(ctl_edge(c, "other", "addr:10.0.0.1", 80));
	/* In its own namespace an address is its own. */
	see(c, 2, "10.0.0.1", "10.0.0.3", 81, 0);
	assert_non_null(ctl_edge(c, "evil", "other", 81));
	instance_on_netns_gone(c, 2);
	assert_non_null(addr_map_find(c->addr_map, &a, &ambiguous));
	assert_false(ambiguous);
	(void)i;
}

/* Its owners were web, then evil, and now web again: whose an event is cannot be told. */
static void
an_event_around_two_changes_of_hands_is_nobodys(void **state)
{
	struct controller *c = *state;
	struct addr a = ctl_addr("10.0.0.1");

	ctl_instance(c, 3, "other", "10.0.0.3");
	ctl_instance(c, 1, "web", "10.0.0.1");
	instance_on_netns_gone(c, 1);
	ctl_instance(c, 2, "evil", "10.0.0.1");
	instance_on_netns_gone(c, 2);
	ctl_instance(c, 4, "web", "10.0.0.1");
	see(c, 3, "10.0.0.1", "10.0.0.3", 80, 0);
	assert_int_equal(edge_table_count(c->edges), 0);
	assert_int_equal(c->unresolved, 1);
	/* Its own namespace knows. */
	see(c, 4, "10.0.0.1", "10.0.0.3", 80, 0);
	assert_non_null(ctl_edge(c, "web", "other", 80));
	instance_on_netns_gone(c, 4);
	ctl_instance(c, 5, "evil", "10.0.0.1");
	assert_true(addr_map_was_anothers(c->addr_map, &a, instance_find(c, 5), fake_now));
	ctl_wait(LATE_NS);
	assert_false(addr_map_was_anothers(c->addr_map, &a, instance_find(c, 5), fake_now));
	see(c, 3, "10.0.0.1", "10.0.0.3", 81, 0);
	see(c, 5, "10.0.0.1", "10.0.0.3", 81, 0);
	assert_int_equal(ctl_edge(c, "evil", "other", 81)->evidence.connections_destination, 1);
}

/* By its engine, at its end. Others cannot know whether the next one has it already. */
static void
an_address_that_was_taken_away_is_still_of_what_its_own_namespace_tells(void **state)
{
	struct controller *c = *state;
	struct instance *web = ctl_instance(c, 1, "web", "10.0.0.1");
	struct addr a = ctl_addr("10.0.0.1");

	ctl_instance(c, 2, "web", "10.0.0.2");
	ctl_instance(c, 3, "other", "10.0.0.3");
	web->addrs->n = 0;
	observe_addrs_changed(web, &a, 1);
	/* Another one has had it since, for a moment. */
	ctl_instance(c, 4, "next", "10.0.0.1");
	instance_on_netns_gone(c, 4);
	see(c, 1, "10.0.0.1", "10.0.0.3", 80, 0);
	see(c, 1, "10.0.9.9", "10.0.0.1", 81, 0);
	assert_int_equal(ctl_edge(c, "web", "other", 80)->evidence.connections_source, 1);
	assert_int_equal(
	    ctl_edge(c, "addr:10.0.9.9", "web", 81)->evidence.connections_destination, 1);
	assert_int_equal(c->unresolved, 0);
	/* Its server tells of it as well, and may do so first. */
	see(c, 3, "10.0.0.1", "10.0.0.3", 80, 0);
	assert_int_equal(c->unresolved, 1);
	see(c, 3, "10.0.0.1", "10.0.0.3", 82, 0);
	see(c, 2, "10.0.0.1", "10.0.0.2", 83, 0);
	assert_int_equal(c->n_waiting, 2);
	see(c, 1, "10.0.0.1", "10.0.0.3", 82, 0);
	assert_int_equal(edge_table_count(c->edges), 3);
	learn_retry_waiting(c, true);
	assert_int_equal(c->unresolved, 2);
	assert_int_equal(c->n_waiting, 1);
	/* What it has not told is of somebody else, who is not watched: nor is what both have told.
	 */
	ctl_edge(c, "web", "other", 80)->evidence.connections_destination = 1;
	see(c, 3, "10.0.0.1", "10.0.0.3", 80, 0);
	assert_int_equal(c->n_waiting, 2);
	ctl_wait(LATE_NS);
	learn_retry_waiting(c, true);
	assert_int_equal(c->n_waiting, 0);
	assert_non_null(ctl_edge(c, "addr:10.0.0.1", "web", 83));
	assert_non_null(ctl_edge(c, "addr:10.0.0.1", "other", 80));
	see(c, 3, "10.0.0.1", "10.0.0.3", 84, 0);
	assert_non_null(ctl_edge(c, "addr:10.0.0.1", "other", 84));
	see(c, 1, "10.0.0.1", "10.0.0.3", 85, 0);
	assert_null(ctl_edge(c, "web", "other", 85));
	assert_int_equal(edge_table_count(c->edges), 6);
}

/* While others are not known yet: it is its own that tells, and nobody else will. */
static void
a_namespace_that_goes_has_told_what_it_did(void **state)
{
	struct controller *c = *state;
	struct w_netns n = { .cookie = 7, .flags = NETNS_F_ENGINE };
	struct instance *job = ctl_instance(c, 1, "job", "10.0.0.1");
	struct addr a = ctl_addr("10.0.0.1");

	ctl_instance(c, 3, "db", "10.0.0.3");
	instance_on_netns(c, &n);
	job->addrs->n = 0;
	observe_addrs_changed(job, &a, 1);
	see(c, 1, "10.0.0.1", "10.0.0.3", 80, 0);
	assert_int_equal(c->n_waiting, 0);
	assert_int_equal(ctl_edge(c, "job", "db", 80)->evidence.connections_source, 1);
	see(c, 1, "10.0.0.1", "198.51.100.1", 443, 0);
	see(c, 3, "10.0.0.3", "198.51.100.1", 443, 0);
	see(c, 7, "10.0.0.7", "10.0.0.3", 80, 0);
	assert_int_equal(c->n_waiting, 3);
	instance_on_netns_gone(c, 1);
	assert_int_equal(c->n_waiting, 2);
	assert_non_null(ctl_edge(c, "job", "internet", 443));
	assert_null(ctl_edge(c, "db", "internet", 443));
	/* And who has no name by then has lost it. */
	instance_on_netns_gone(c, 7);
	assert_int_equal(c->waiting_lost, 1);
	assert_int_equal(c->unresolved, 0);
}

static void
a_restart_of_the_same_workload_loses_nothing(void **state)
{
	struct controller *c = *state;

	ctl_instance(c, 3, "other", "10.0.0.3");
	ctl_instance(c, 1, "web", "10.0.0.1");
	instance_on_netns_gone(c, 1);
	ctl_instance(c, 2, "web", "10.0.0.1");
	see(c, 3, "10.0.0.1", "10.0.0.3", 80, 0);
	see(c, 2, "10.0.0.1", "10.0.0.3", 80, 0);
	assert_int_equal(ctl_edge(c, "web", "other", 80)->evidence.connections_destination, 1);
}

static void
a_refused_sender_with_anothers_address_is_not_the_other(void **state)
{
	struct controller *c = *state;
	struct flow_event ev = ctl_event(2, FLOW_DENIED, "10.0.0.1", "10.0.0.3", 80);
	size_t pos = 0;

	ctl_instance(c, 3, "other", "10.0.0.3");
	ctl_instance(c, 1, "web", "10.0.0.1");
	ctl_instance(c, 2, "evil", "10.0.0.2");
	learn_flow(c, &ev);
	assert_null(denial_next(c->denials, &pos));
	assert_int_equal(c->unresolved, 1);
}

static void
an_address_of_the_host_is_not_taken_by_a_nameless_container(void **state)
{
	struct controller *c = *state;
	struct w_netns n = { .cookie = 7, .flags = NETNS_F_ENGINE };
	struct addr a = ctl_addr("10.0.0.254");
	bool ambiguous;

	ctl_instance(c, 9, "host", "10.0.0.254");
	instance_on_netns(c, &n);
	assert_int_equal(addr_map_claim(c->addr_map, &a, instance_find(c, 7)), 0);
	assert_null(addr_map_find(c->addr_map, &a, &ambiguous));
	assert_true(ambiguous);
	addr_map_retract(c->addr_map, &a, instance_find(c, 7));
}

static void
all_of_the_hosts_addresses_count_and_a_bounded_number_of_a_containers(void **state)
{
	struct controller *c = *state;
	struct instance *host = ctl_instance(c, 9, "host", "10.0.0.254"),
			*web = ctl_instance(c, 1, "web", "10.0.0.1");
	struct inventory *inv;

	for (uint8_t k = 1; k < MAX_FAKE_ADDRS; k++) {
		struct addr a = ctl_addr("10.1.0.0"), b = ctl_addr("10.2.0.0");

		a.bytes[3] = b.bytes[3] = k;
		host->addrs->list[host->addrs->n++].addr = a;
		web->addrs->list[web->addrs->n++].addr = b;
	}
	inv = inventory_build(c, false);
	assert_non_null(inv);
	assert_int_equal(inv->n_host, MAX_FAKE_ADDRS);
	assert_int_equal(inv->n_entries, 1);
	assert_int_equal(inv->entries[0].n_addrs, CTL_MAX_ADDRS);
	inventory_free(inv);
}

static void
scans_leave_room_for_names(void **state)
{
	struct controller *c = *state;
	size_t max = c->config->max_edges = 1000;

	ctl_instance(c, 1, "web", "10.0.0.1");
	for (unsigned k = 0; k < 3 * max; k++) {
		struct flow_event ev = ctl_event(1, FLOW_DENIED, "10.0.0.1", "10.9.0.0", 80);

		ev.tuple.dst.bytes[2] = (uint8_t)(k >> 8);
		ev.tuple.dst.bytes[3] = (uint8_t)k;
		learn_flow(c, &ev);
	}
	assert_true(peer_table_count(c->peers) <= max);
	assert_true(c->waiting_lost > 0);
	see(c, 1, "10.0.0.1", "10.8.0.1", 80, 0);
	assert_non_null(ctl_edge(c, "web", "addr:10.8.0.1", 80));
	assert_non_null(workload_get(c, "new"));
}

static void
the_internet_does_not_cover_a_workload_with_a_public_address(void **state)
{
	struct controller *c = *state;
	struct edge *e = ctl_add_edge(c, "web", "internet", 443);

	assert_int_equal(edge_decide(c->edges, e, EDGE_APPROVED, NULL), 0);
	ctl_instance(c, 1, "web", "10.0.0.1");
	ctl_instance(c, 2, "api", "203.0.113.9");
	see(c, 1, "10.0.0.1", "203.0.113.9", 443, 0);
	assert_non_null(ctl_edge(c, "web", "api", 443));
	assert_int_equal(edge_connections(e), 0);
	see(c, 1, "10.0.0.1", "203.0.113.10", 443, 0);
	assert_int_equal(edge_connections(e), 1);
}

static struct ct_entry
translated(const char *client, const char *published, const char *server, const char *seen_as)
{
	struct tuple behind = ctl_event(0, FLOW_ANSWERED, seen_as, server, 80).tuple;

	return (
	    struct ct_entry){ .orig = ctl_event(0, FLOW_ANSWERED, client, published, 8080).tuple,
		.reply = tuple_reverse(&behind) };
}

static void
nat_is_known_in_both_directions(void **state)
{
	struct controller *c = *state;
	struct ct_entry e = translated("10.0.0.1", "10.0.0.254", "10.0.0.2", "10.0.0.254"), plain;
	struct tuple behind = tuple_reverse(&e.reply);

	assert_null(nat_cache_find(c->nat, &e.orig));
	nat_cache_add(c->nat, &e);
	assert_true(tuple_eq(nat_cache_find(c->nat, &e.orig), &behind));
	assert_true(tuple_eq(nat_cache_find(c->nat, &behind), &e.orig));
	plain = e;
	plain.orig.sport = 1;
	plain.reply = tuple_reverse(&plain.orig);
	nat_cache_add(c->nat, &plain);
	assert_null(nat_cache_find(c->nat, &plain.orig));
}

static void
what_a_namespace_translates_itself_is_its_own(void **state)
{
	/* {client, dialled}, as the namespace has them, {client, server} as others see it. */
	static const struct {
		uint8_t proto;
		uint32_t status;
		const char *src, *dst, *want_src, *want_dst;
	} cases[] = {
		{ IPPROTO_TCP, 0, "10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2" },
		{ IPPROTO_TCP, CT_DST_NAT, "10.0.0.1", "10.96.0.1", "10.0.0.1", "10.0.0.2" },
		{ IPPROTO_TCP, CT_SRC_NAT, "172.18.0.2", "10.0.0.2", "10.0.0.1", "10.0.0.2" },
		{ IPPROTO_UDP, CT_SRC_NAT, "fd00:18::2", "fd00::2", "fd00::1", "fd00::2" },
		{ IPPROTO_TCP, CT_SRC_NAT | CT_DST_NAT, "172.18.0.2", "10.96.0.1", "10.0.0.1",
		    "10.0.0.2" },
		{ IPPROTO_ICMP, CT_SRC_NAT, "172.18.0.2", "10.0.0.2", "10.0.0.1", "10.0.0.2" },
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct tuple in =
		    ctl_event(0, FLOW_ANSWERED, cases[k].src, cases[k].dst, 8080).tuple;
		struct tuple out =
		    ctl_event(0, FLOW_ANSWERED, cases[k].want_src, cases[k].want_dst, 80).tuple;
		struct ct_entry e = { .orig = in, .status = cases[k].status };
		struct tuple got;

		out.sport = 61000;
		e.orig.proto = out.proto = cases[k].proto;
		e.reply = tuple_reverse(&out);
		got = observe_tuple_of(&e);
		if (!addr_eq(&got.src, &out.src) || !addr_eq(&got.dst, &out.dst))
			fail_msg("case %zu: its addresses", k);
		if (got.dport != ((cases[k].status & CT_DST_NAT) != 0 ? 80 : 8080) ||
		    (got.sport == 61000) !=
			((cases[k].status & CT_SRC_NAT) != 0 && cases[k].proto != IPPROTO_ICMP))
			fail_msg("case %zu: its ports", k);
	}
}

static void
a_published_port_names_who_is_behind_it_and_is_listed_once(void **state)
{
	struct controller *c = *state;
	struct ct_entry e = translated("10.0.0.1", "10.0.0.254", "10.0.0.2", "10.0.0.254");
	const struct flow_record *rec;
	uint64_t seq = 0;

	ctl_instance(c, 9, "host", "10.0.0.254");
	ctl_instance(c, 1, "web", "10.0.0.1");
	ctl_instance(c, 2, "api", "10.0.0.2");
	nat_cache_add(c->nat, &e);
	see(c, 1, "10.0.0.1", "10.0.0.254", 8080, 0);
	see(c, 2, "10.0.0.254", "10.0.0.2", 80, 0);
	rec = flow_ring_next(c->flows, &seq);
	assert_non_null(rec);
	assert_int_equal(rec->to, c->peer_host);
	assert_int_equal(rec->behind, workload_find(c, "api")->peer);
	assert_null(flow_ring_next(c->flows, &seq));
	assert_int_equal(ctl_edge(c, "host", "api", 80)->flags, EDGE_FLAG_VIA_HOST);
}

static void
an_audited_connection_is_one_line_in_any_order(void **state)
{
	struct controller *c = *state;
	struct flow_event report = ctl_event(1, FLOW_AUDITED, "10.0.0.1", "10.0.0.2", 81);
	const struct flow_record *rec;
	uint64_t seq = 0;

	ctl_instance(c, 1, "web", "10.0.0.1");
	ctl_instance(c, 2, "api", "10.0.0.2");
	workload_find(c, "web")->mode = MODE_AUDIT;
	workload_find(c, "web")->direction = WL_BOTH;
	see(c, 1, "10.0.0.1", "10.0.0.2", 81, 0);
	rec = flow_ring_next(c->flows, &seq);
	assert_int_equal(rec->kind, FLOW_AUDITED);
	learn_flow(c, &report);
	see(c, 2, "10.0.0.1", "10.0.0.2", 81, 0);
	assert_null(flow_ring_next(c->flows, &seq));
	report.tuple.dport = 82;
	learn_flow(c, &report);
	see(c, 1, "10.0.0.1", "10.0.0.2", 82, 0);
	rec = flow_ring_next(c->flows, &seq);
	assert_int_equal(rec->kind, FLOW_AUDITED);
	assert_int_equal(rec->edge, edge_id_number(ctl_edge(c, "web", "api", 82)));
	assert_null(flow_ring_next(c->flows, &seq));
	/* What is approved is not reported, and the same ports later are another connection. */
	assert_int_equal(
	    edge_decide(c->edges, ctl_edge(c, "web", "api", 82), EDGE_APPROVED, NULL), 0);
	ctl_wait(10 * NSEC_PER_SEC);
	see(c, 1, "10.0.0.1", "10.0.0.2", 82, 0);
	rec = flow_ring_next(c->flows, &seq);
	assert_int_equal(rec->kind, FLOW_ANSWERED);
	see(c, 1, "10.0.0.1", "10.0.0.2", 81, 0);
	rec = flow_ring_next(c->flows, &seq);
	assert_int_equal(rec->kind, FLOW_AUDITED);
}

static void
the_ring_keeps_the_newest(void **state)
{
	struct controller *c = *state;
	struct flow_record rec = { 0 };
	const struct flow_record *r;
	uint64_t seq = 0, n = 0;

	assert_null(flow_ring_next(c->flows, &seq));
	for (unsigned k = 1; k <= 40; k++) {
		rec.edge = k;
		flow_ring_add(c->flows, &rec);
	}
	while ((r = flow_ring_next(c->flows, &seq)) != NULL) {
		assert_int_equal(r->edge, 25 + n);
		assert_int_equal(r->seq, r->edge);
		n++;
	}
	assert_int_equal(n, 16);
	assert_int_equal(seq, flow_ring_head(c->flows));
	seq = UINT64_MAX;
	assert_null(flow_ring_next(c->flows, &seq));
}

int
main(void)
{
#define LEARN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		LEARN_TEST(both_ends_are_one_connection_and_one_line),
		LEARN_TEST(a_destination_alone_is_listed),
		LEARN_TEST(a_crawlers_names_are_few_edges),
		LEARN_TEST(replicas_are_one_workload),
		LEARN_TEST(three_hundred_replicas_are_one_edge),
		LEARN_TEST(the_hosts_connections_are_flagged),
		LEARN_TEST(a_container_called_host_is_not_the_host),
		LEARN_TEST(an_unproven_direction_is_flagged_until_proven),
		LEARN_TEST(a_dump_counts_nothing_twice),
		LEARN_TEST(refusals_and_attempts_are_never_learned),
		LEARN_TEST(events_wait_for_a_name_and_keep_their_number),
		LEARN_TEST(waiting_is_bounded_in_number_and_time),
		LEARN_TEST(an_unknown_address_is_taken_as_it_is_once_nobody_is_expected),
		LEARN_TEST(an_event_waits_for_its_own_namespaces_addresses),
		LEARN_TEST(an_address_of_two_workloads_is_nobodys),
		LEARN_TEST(an_address_that_was_taken_away_is_still_of_what_its_own_namespace_tells),
		LEARN_TEST(a_namespace_that_goes_has_told_what_it_did),
		LEARN_TEST(an_event_around_two_changes_of_hands_is_nobodys),
		LEARN_TEST(a_restart_of_the_same_workload_loses_nothing),
		LEARN_TEST(a_refused_sender_with_anothers_address_is_not_the_other),
		LEARN_TEST(an_address_of_the_host_is_not_taken_by_a_nameless_container),
		LEARN_TEST(all_of_the_hosts_addresses_count_and_a_bounded_number_of_a_containers),
		LEARN_TEST(scans_leave_room_for_names),
		LEARN_TEST(the_internet_does_not_cover_a_workload_with_a_public_address),
		LEARN_TEST(nat_is_known_in_both_directions),
		LEARN_TEST(what_a_namespace_translates_itself_is_its_own),
		LEARN_TEST(a_published_port_names_who_is_behind_it_and_is_listed_once),
		LEARN_TEST(an_audited_connection_is_one_line_in_any_order),
		LEARN_TEST(the_ring_keeps_the_newest),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
