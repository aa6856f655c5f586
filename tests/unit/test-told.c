/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What instances were told of names: by whom it counts, how long it holds, what survives. */
#include "ctl-fixture.h"
#include "daemon/instance.h"
#include "daemon/published.h"
#include "daemon/roster.h"
#include "daemon/segment.h"

#include "daemon/names.h"
#include "rules/names.h"

#define RESOLVER "203.0.113.53"
#define HOST "172.17.0.1"
#define MIN_TTL (10 * NSEC_PER_SEC)
#define YEAR (365 * 86400 * NSEC_PER_SEC)
#define COOKIE 7

static int
set_up(void **state)
{
	struct ctl_fixture *f;

	ctl_setup(state);
	f = *state;
	f->c->config->fqdn_min_ttl_ns = MIN_TTL;
	f->c->config->resolvers[0] = ctl_addr(RESOLVER);
	f->c->config->n_resolvers = 1;
	f->c->caught_up = true;
	ctl_instance(f->c, COOKIE, "app", "10.0.0.7");
	return 0;
}

static int
tear_down(void **state)
{
	struct ctl_fixture *f = *state;
	char path[128];

	on_sent = NULL;
	snprintf(path, sizeof(path), "%s/names.json", f->dir);
	unlink(path);
	return ctl_teardown(state);
}

static void
approve(struct controller *c, const char *to)
{
	struct edge *e = ctl_add_edge(c, "app", to, 443);

	assert_int_equal(edge_decide(c->edges, e, EDGE_APPROVED, NULL), 0);
	policy_free(c->policy);
	assert_int_equal(segment_build_policy(c, false, &c->policy), 0);
	names_on_policy(c);
}

static void
tell_by(struct controller *c, const char *resolver, bool translated, const char *name,
    const char *address, uint32_t ttl_s)
{
	struct {
		struct cap_answer head;
		struct addr addr;
	} body = { .head = { .cookie = COOKIE,
		       .time_ns = fake_now,
		       .resolver = ctl_addr(resolver),
		       .ttl_s = ttl_s,
		       .translated = translated },
		.addr = ctl_addr(address) };
	struct msg m = { .h = { .body_len = sizeof(body) }, .body = (const uint8_t *)&body };

	snprintf(body.head.name, sizeof(body.head.name), "%s", name);
	names_on_answer(c, &m);
}

static const char *
named(struct controller *c, const char *address)
{
	struct addr a = ctl_addr(address);

	return names_find(workload_find(c, "app"), &a);
}

static void
only_the_configured_resolvers_of_an_instance_are_believed(void **state)
{
	static const struct {
		const char *resolver;
		bool translated, want;
	} cases[] = {
		{ RESOLVER, false, true }, { RESOLVER, true, true },
		{ "203.0.113.54", false, false },
		{ "198.51.100.1", false, true },		     /* the host's resolv.conf */
		{ HOST, false, true }, { "10.0.0.7", false, false }, /* itself */
		{ "127.0.0.11", true, false },			     /* no container of Docker */
		{ "127.0.0.53", false, false }, /* not even if the host asks it */
	};
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	char address[ADDR_STRLEN];

	ctl_instance(c, 1, "host", HOST);
	names_read_resolv_conf(c, "# nameserver 203.0.113.54\nnameserver 127.0.0.53\n"
				  "  nameserver\t198.51.100.1 # ours\nsearch 203.0.113.54\n");
	assert_int_equal(c->n_resolvers, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(address, sizeof(address), "203.0.113.%u", 100 + i);
		tell_by(c, cases[i].resolver, cases[i].translated, "a.example", address, 60);
		if ((named(c, address) != NULL) != cases[i].want)
			fail_msg("%s", cases[i].resolver);
	}
	assert_int_equal(c->names.untrusted, 4);
}

static void
what_a_container_answers_in_the_hosts_place_is_not_the_hosts_word(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	json_t *ports;
	struct container k = { .id = "k" };

	ctl_instance(c, 1, "host", HOST);
	ports = json_pack("[{s:s, s:s, s:i, s:i, s:i}]", "address", "", "proto", "udp", "port", 50,
	    "last", 60, "to", 50);
	assert_int_equal(published_read(&k, ports), 0);
	json_decref(ports);
	published_add(c, &k);
	tell_by(c, HOST, false, "a.example", "203.0.113.1", 60);
	assert_null(named(c, "203.0.113.1"));
	published_remove(c, &k);
	free(k.ports);
	tell_by(c, HOST, false, "a.example", "203.0.113.1", 60);
	assert_non_null(named(c, "203.0.113.1"));
}

static void
nonsense_names_nothing(void **state)
{
	static const char *const names[] = { "*.example", "", ".example", "a..b", "a.example.",
		"A.example", "-a.example", "1.2.3.4" };
	struct controller *c = ((struct ctl_fixture *)*state)->c;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		tell_by(c, RESOLVER, false, names[i], "203.0.113.1", 60);
	assert_null(named(c, "203.0.113.1"));
	assert_int_equal(c->names.answers, 0);
}

static uint32_t dumps;

static void
count_dumps(uint16_t type, uint32_t seq, const void *body, size_t len)
{
	dumps += type == MSG_W_CT_DUMP;
}

/* As observe.c does when the last part of a dump has come. */
static void
end_dump(struct controller *c)
{
	struct instance *i = instance_find(c, COOKIE);

	i->dumped_whole_ns = i->dump_began_ns;
	i->dump_running = false;
}

static void
an_address_ends_after_a_dump_that_began_later(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;
	struct instance *i = instance_find(c, COOKIE);
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	i->dump_fd = fds[0];
	approve(c, "fqdn:*.wild.example");
	tell_by(c, RESOLVER, false, "a.wild.example", "203.0.113.1", 1);
	tell_by(c, RESOLVER, false, "b.wild.example", "203.0.113.2", 1);
	on_sent = count_dumps;
	dumps = 0;
	ctl_wait(MIN_TTL - 1);
	names_tick(c);
	assert_int_equal(dumps, 0);
	/* One that began before is no answer. */
	i->dumped_whole_ns = fake_mono;
	ctl_wait(1);
	names_tick(c);
	assert_int_equal(dumps, 1);
	assert_non_null(named(c, "203.0.113.1"));
	ctl_wait(1);
	i->dump_began_ns = fake_mono;
	names_on_use(i, &(struct tuple){ .dst = ctl_addr("203.0.113.2") });
	end_dump(c);
	names_tick(c);
	assert_null(named(c, "203.0.113.1"));
	assert_non_null(named(c, "203.0.113.2"));
	close(fds[1]);
	close(fds[0]);
	i->dump_fd = -1;
}

static void
no_clock_that_is_set_ends_or_keeps_an_address(void **state)
{
	struct controller *c = ((struct ctl_fixture *)*state)->c;

	instance_find(c, COOKIE)->attach = ATTACH_NONE; /* nobody's connections to ask for */
	approve(c, "fqdn:a.example");
	fake_now += 10 * YEAR;
	tell_by(c, RESOLVER, false, "a.example", "203.0.113.1", 1);
	fake_now += 10 * YEAR;
	names_tick(c);
	assert_non_null(named(c, "203.0.113.1"));
	fake_now -= 20 * YEAR;
	fake_mono += MIN_TTL + 1;
	names_tick(c);
	assert_null(named(c, "203.0.113.1"));
}

static void
again(struct ctl_fixture *f)
{
	ctl_restart(f);
	f->c->config->fqdn_min_ttl_ns = MIN_TTL;
	f->c->caught_up = true;
	ctl_instance(f->c, COOKIE, "app", "10.0.0.7");
	instance_find(f->c, COOKIE)->attach = ATTACH_NONE;
	names_load(f->c);
}

static void
the_next_tick_stores_an_address_that_an_edge_speaks_of(void **state)
{
	struct ctl_fixture *f = *state;

	approve(f->c, "fqdn:a.example");
	tell_by(f->c, RESOLVER, false, "a.example", "203.0.113.1", 1);
	tell_by(f->c, RESOLVER, false, "label.example", "203.0.113.2", 1);
	names_tick(f->c);
	again(f);
	assert_non_null(named(f->c, "203.0.113.1"));
	assert_null(named(f->c, "203.0.113.2"));
	/* Nothing speaks of it any more. */
	names_on_policy(f->c);
	ctl_wait(MIN_TTL + 1);
	names_tick(f->c);
	assert_null(named(f->c, "203.0.113.1"));
}

static void
a_time_far_ahead_in_the_file_is_not_believed(void **state)
{
	struct ctl_fixture *f = *state;

	approve(f->c, "fqdn:a.example");
	tell_by(f->c, RESOLVER, false, "a.example", "203.0.113.1", UINT32_MAX);
	fake_now += YEAR;
	f->c->names.unsaved = true;
	names_tick(f->c);
	fake_now -= YEAR;
	again(f);
	assert_non_null(named(f->c, "203.0.113.1"));
	fake_mono += 7 * 86400 * NSEC_PER_SEC + 1;
	names_tick(f->c);
	assert_null(named(f->c, "203.0.113.1"));
}

#define TOLD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TOLD_TEST(only_the_configured_resolvers_of_an_instance_are_believed),
		TOLD_TEST(what_a_container_answers_in_the_hosts_place_is_not_the_hosts_word),
		TOLD_TEST(nonsense_names_nothing),
		TOLD_TEST(an_address_ends_after_a_dump_that_began_later),
		TOLD_TEST(no_clock_that_is_set_ends_or_keeps_an_address),
		TOLD_TEST(the_next_tick_stores_an_address_that_an_edge_speaks_of),
		TOLD_TEST(a_time_far_ahead_in_the_file_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
