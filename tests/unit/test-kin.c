/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who belongs together, by projects and networks, and who of them has not run: containers that were
 * never started included. */
#include "ctl-fixture.h"
#include "daemon/kin.h"
#include "daemon/network_list.h"
#include "daemon/promote.h"
#include "rules/complete.h"

static const char *
id_of(unsigned n)
{
	static char id[65];

	snprintf(id, sizeof(id), "%064x", n);
	return id;
}

/* What discovery would say of a container; labels, networks: JSON. */
static const char *
facts(unsigned n, const char *name, const char *labels, const char *networks)
{
	static char json[4096];

	snprintf(json, sizeof(json),
	    "{\"id\":\"%s\",\"name\":\"%s\",\"runtime\":\"docker\",\"image\":\"img\",\"labels\":%s,"
	    "\"imageLabels\":{},\"networkMode\":\"default\",\"networks\":%s,\"grade\":[],"
	    "\"started\":\"new\",\"ports\":[]}",
	    id_of(n), name, labels, networks);
	return json;
}

static void
stop_of(
    struct controller *c, unsigned n, const char *name, const char *labels, const char *networks)
{
	const char *json = facts(n, name, labels, networks);

	stopped_on_told(c, json, strlen(json));
}

static void
stop(struct controller *c, unsigned n, const char *name, const char *networks)
{
	stop_of(c, n, name, "{}", networks);
}

static void
start(struct controller *c, unsigned n, const char *name, const char *networks)
{
	struct w_netns ns = { .cookie = 100 + n, .ino = 4026530100 + n, .flags = NETNS_F_ENGINE };
	const char *json = facts(n, name, "{}", networks);

	memcpy(ns.container_id, id_of(n), 65);
	instance_on_netns(c, &ns);
	instance_on_container(c, json, strlen(json));
}

static void
assert_missing(struct controller *c, const char *of, const char *want)
{
	_cleanup_(kin_freep) struct kin *kin = NULL;
	const char *got[8];
	char text[512] = "";
	size_t n;

	assert_int_equal(kin_new(c, &kin), 0);
	n = kin_missing(kin, workload_find(c, of), SIZE_MAX, got, ARRAY_SIZE(got));
	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 0 ? " " : "",
		    got[i]);
	assert_string_equal(text, want);
}

/* Those of all others that are asked after by their project, their network or both. */
static void
kin_is_of_the_project_or_the_network_and_told_once(void **state)
{
	static const struct {
		const char *name, *project, *network;
		bool recent;
	} others[] = {
		{ "shop/never", "", "", false }, { "shop/old", "shop", "", false },
		{ "shop/both", "shop", "net", false }, { "near", "", "net", false },
		{ "shop/recent", "shop", "net", true }, { "shopping/never", "", "", false },
		{ "far", "other", "other", false }, { "alone", "", "", false },
		{ "shop/elsewhere", "other", "", false }, /* named so by a rule */
	};
	struct ctl_fixture *f = *state;
	_cleanup_(kin_freep) struct kin *kin = NULL;
	struct workload *me = workload_get(f->c, "shop/me");
	struct complete_log log = { 0 };
	const char *got[8];

	workload_set_text(&me->project, "shop");
	workload_set_text(&me->networks, "net");
	complete_log_mark(&log, (uint32_t)(fake_now / COMPLETE_HOUR_NS), COMPLETE_BEGAN);
	me->log = complete_log_fold(&log);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct workload *w = workload_get(f->c, others[i].name);

		workload_set_text(&w->project, others[i].project);
		workload_set_text(&w->networks, others[i].network);
		w->last_seen_ns = others[i].recent ? fake_now : (i + 1) * COMPLETE_HOUR_NS;
	}
	assert_int_equal(kin_new(f->c, &kin), 0);
	assert_int_equal(kin_missing(kin, me, SIZE_MAX, got, ARRAY_SIZE(got)), 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(got[i], others[i].name);
	got[1] = NULL;
	assert_int_equal(kin_missing(kin, me, 2, got, 1), 2);
	assert_null(got[1]);
	assert_int_equal(
	    kin_missing(kin, workload_find(f->c, "alone"), SIZE_MAX, got, ARRAY_SIZE(got)), 0);
	/* What runs is not missing. */
	workload_find(f->c, "shop/old")->n_hosted = 1;
	assert_int_equal(kin_missing(kin, me, SIZE_MAX, got, ARRAY_SIZE(got)), 3);
	workload_find(f->c, "shop/old")->n_hosted = 0;
}

static void
a_container_is_on_all_of_its_networks(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;

	start(c, 1, "web", "[\"front\",\"back\"]");
	assert_string_equal(workload_find(c, "web")->networks, "front\nback");
	start(c, 2, "job", "[\"back\"]");
	start(c, 3, "cdn", "[\"front\",\"back\"]");
	start(c, 4, "far", "[]");
	assert_string_equal(workload_find(c, "far")->networks, "bridge");
	assert_missing(c, "web", "");
	for (unsigned n = 2; n <= 4; n++)
		instance_on_netns_gone(c, 100 + n);
	fake_now += 2 * COMPLETE_HOUR_NS;
	/* They ran since it is observed; for one that comes later they have not. */
	assert_missing(c, "web", "");
	start(c, 5, "late", "[\"front\",\"back\"]");
	assert_missing(c, "late", "cdn job");
	assert_missing(c, "web", "");
	/* It joins another network while it runs, and the store keeps them. */
	start(c, 5, "late", "[\"bridge\",\"back\"]");
	assert_string_equal(workload_find(c, "late")->networks, "bridge\nback");
	assert_missing(c, "late", "far job cdn");
	assert_int_equal(flush_evidence(c), 0);
	ctl_restart(f);
	assert_string_equal(workload_find(f->c, "late")->networks, "bridge\nback");
}

static void
replicas_add_up_and_names_are_bounded(void **state)
{
	struct ctl_fixture *f = *state;
	char many[2048] = "[\"a\\nb\",\"\",7";

	start(f->c, 1, "web", "[\"front\"]");
	start(f->c, 2, "web", "[\"back\"]");
	assert_true(network_list_has(workload_find(f->c, "web")->networks, "front", 5) &&
		    network_list_has(workload_find(f->c, "web")->networks, "back", 4));
	for (unsigned k = 0; k < 40; k++)
		snprintf(many + strlen(many), 16, ",\"n%u\"", k);
	snprintf(many + strlen(many), 2, "]");
	start(f->c, 3, "greedy", many);
	assert_true(network_list_has(workload_find(f->c, "greedy")->networks, "n15", 3));
	assert_false(network_list_has(workload_find(f->c, "greedy")->networks, "n16", 3));
}

static void
what_was_never_started_is_missing_until_it_runs(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct d_id gone = { .id = "" };

	start(c, 1, "web", "[\"front\",\"back\"]");
	stop(c, 2, "backup", "[\"back\"]");
	stop(c, 3, "backup", "[\"back\",\"front\"]");
	stop(c, 4, "other", "[\"elsewhere\"]");
	assert_missing(c, "web", "backup");
	assert_null(workload_find(c, "backup"));
	/* Not of what runs by another container, nor once it has run. */
	stop(c, 5, "web", "[\"front\"]");
	assert_missing(c, "web", "backup");
	start(c, 2, "backup", "[\"back\"]");
	assert_int_equal(c->n_stopped, 3);
	assert_missing(c, "web", "");
	instance_on_netns_gone(c, 102);
	stop(c, 2, "backup", "[\"back\"]");
	assert_missing(c, "web", "");
	/* One that a policy names is the same one. */
	stop(c, 6, "named", "[\"front\"]");
	assert_non_null(workload_get(c, "named"));
	assert_missing(c, "web", "named");
	memcpy(gone.id, id_of(6), 65);
	stopped_on_gone(c, &gone);
	assert_missing(c, "web", "");
	/* One of its project, on no network of its own. */
	workload_set_text(&workload_find(c, "web")->project, "shop");
	stop_of(c, 7, "x",
	    "{\"com.docker.compose.project\":\"shop\",\"com.docker.compose.service\":\"job\","
	    "\"com.docker.compose.config-hash\":\"1\"}",
	    "[\"far\"]");
	assert_missing(c, "web", "shop/job");
	stopped_clear(c);
	assert_missing(c, "web", "");
}

static void
thousands_that_do_not_run_are_bounded_and_nonsense_is_left_out(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "{\"id\":7}", "{\"id\":\"abc\"}" };
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct d_id unended;
	size_t workloads;

	start(c, 1, "web", "[\"net\"]");
	workloads = c->n_workloads;
	for (unsigned k = 0; k < STOPPED_MAX + 100; k++) {
		char name[32];

		snprintf(name, sizeof(name), "old%u", k % 5);
		stop(c, 10 + k, name, "[\"net\"]");
	}
	assert_int_equal(c->n_stopped, STOPPED_MAX);
	assert_int_equal(c->n_workloads, workloads);
	assert_missing(c, "web", "old0 old1 old2 old3 old4");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		stopped_on_told(c, bad[i], strlen(bad[i]));
	memset(&unended, '0', sizeof(unended));
	stopped_on_gone(c, &unended);
	assert_int_equal(c->n_stopped, STOPPED_MAX);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, ctl_setup, ctl_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kin_is_of_the_project_or_the_network_and_told_once),
		TEST(a_container_is_on_all_of_its_networks),
		TEST(replicas_add_up_and_names_are_bounded),
		TEST(what_was_never_started_is_missing_until_it_runs),
		TEST(thousands_that_do_not_run_are_bounded_and_nonsense_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
