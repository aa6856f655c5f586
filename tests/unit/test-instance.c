/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "daemon/grade.h"
#include "daemon/instance.h"
#include "daemon/roster.h"
#include "rules/compile.h"

#define ID "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"

static int
setup(void **state)
{
	*state = ctl_new(NULL);
	memset(sent, 0, sizeof(sent));
	return 0;
}

static int
teardown(void **state)
{
	ctl_free(*state);
	return 0;
}

static void
announce(struct controller *c, uint64_t cookie, uint32_t flags, const char *id)
{
	struct w_netns n = { .cookie = cookie, .ino = cookie + 4026530000, .flags = flags };

	snprintf(n.container_id, sizeof(n.container_id), "%s", id);
	instance_on_netns(c, &n);
}

static void
a_namespace_made_inside_a_container_is_not_the_container(void **state)
{
	struct controller *c = *state;

	announce(c, 1, NETNS_F_ENGINE, ID);
	announce(c, 2, NETNS_F_PROC, ID);
	assert_non_null(instance_find(c, 1));
	assert_null(instance_find(c, 2));
	assert_int_equal(sent[MSG_W_ATTACH], 1);
}

static void
nor_if_it_is_announced_first(void **state)
{
	struct controller *c = *state;

	announce(c, 2, NETNS_F_PROC, ID);
	announce(c, 3, NETNS_F_PROC, ID);
	announce(c, 1, NETNS_F_ENGINE, ID);
	assert_non_null(instance_find(c, 1));
	assert_null(instance_find(c, 2));
	assert_null(instance_find(c, 3));
	assert_int_equal(sent[MSG_W_RELEASE], 2);
}

static void
one_whose_file_shows_later_stays(void **state)
{
	struct controller *c = *state;

	announce(c, 1, NETNS_F_PROC, ID);
	announce(c, 1, NETNS_F_ENGINE, ID);
	assert_non_null(instance_find(c, 1));
	assert_int_equal(sent[MSG_W_RELEASE], 0);
}

static void
an_engine_without_files_is_watched_by_its_processes(void **state)
{
	struct controller *c = *state;

	announce(c, 1, NETNS_F_PROC, ID);
	assert_non_null(instance_find(c, 1));
	announce(c, 2, NETNS_F_PROC, "");
	assert_null(instance_find(c, 2));
}

static void
attach_fails(struct controller *c, uint64_t cookie, int error)
{
	struct w_attached a = { .cookie = cookie, .error = error };
	struct msg m = { .h = { .type = MSG_W_ATTACHED, .body_len = sizeof(a) },
		.body = (uint8_t *)&a };

	instance_on_attached(c, &m);
}

static void
one_that_could_not_be_entered_is_tried_when_it_is_known_by_another_process(void **state)
{
	struct controller *c = *state;
	struct w_netns n = { .cookie = 1, .ino = 2, .flags = NETNS_F_PROC, .pid = 10 };

	memcpy(n.container_id, ID, sizeof(n.container_id));
	instance_on_netns(c, &n);
	assert_int_equal(sent[MSG_W_ATTACH], 1);
	attach_fails(c, 1, -ENOENT);
	instance_on_netns(c, &n);
	assert_int_equal(sent[MSG_W_ATTACH], 1);
	n.pid = 11;
	instance_on_netns(c, &n);
	assert_int_equal(sent[MSG_W_ATTACH], 2);
	attach_fails(c, 1, -ENOENT);
	n.flags = NETNS_F_ENGINE;
	instance_on_netns(c, &n);
	assert_int_equal(sent[MSG_W_ATTACH], 3);
}

static void
and_now_and_then(void **state)
{
	struct controller *c = *state;

	announce(c, 1, NETNS_F_PROC, ID);
	for (unsigned k = 1; k < 10; k++) {
		attach_fails(c, 1, -ENOMEM);
		instance_tick(c);
		assert_int_equal(sent[MSG_W_ATTACH], k);
		fake_mono += 61 * NSEC_PER_SEC;
		instance_tick(c);
		assert_int_equal(sent[MSG_W_ATTACH], k + 1);
	}
}

static void
tell(struct controller *c, const char *id, const char *name, const char *mode, const char *grade)
{
	char json[1024];

	snprintf(json, sizeof(json),
	    "{\"id\":\"%s\",\"name\":\"%s\",\"runtime\":\"docker\",\"image\":\"img\",\"labels\":{},"
	    "\"imageLabels\":{},\"networkMode\":\"%s\",\"grade\":%s,\"started\":\"new\",\"ports\":["
	    "]}",
	    id, name, mode, grade);
	instance_on_container(c, json, strlen(json));
}

static void
count_hosted(void *arg, const struct container *k)
{
	(*(unsigned *)arg)++;
}

static void
a_container_in_the_hosts_network_is_listed_and_not_forgotten(void **state)
{
	struct controller *c = *state;
	struct d_id gone = { .id = ID };
	struct workload *w;
	unsigned n = 0;

	tell(c, ID, "proxy", "host", "[\"netRaw\"]");
	hosted_tick(c);
	w = workload_find(c, "proxy");
	assert_non_null(w);
	hosted_each(c, w, count_hosted, &n);
	assert_int_equal(n, 1);
	assert_int_equal(c->n_hosted, 1);
	workload_expire_tick(c);
	ctl_wait(60 * 86400 * NSEC_PER_SEC);
	workload_expire_tick(c);
	assert_ptr_equal(workload_find(c, "proxy"), w);
	instance_on_container_gone(c, &gone);
	hosted_tick(c);
	assert_int_equal(w->n_hosted, 0);
	assert_int_equal(c->n_hosted, 0);
	workload_expire_tick(c);
	ctl_wait(60 * 86400 * NSEC_PER_SEC);
	workload_expire_tick(c);
	assert_null(workload_find(c, "proxy"));
}

static void
one_on_a_bridge_is_not(void **state)
{
	struct controller *c = *state;

	tell(c, ID, "web", "bridge", "[]");
	hosted_tick(c);
	assert_int_equal(c->n_hosted, 0);
	assert_null(workload_find(c, "web"));
}

static struct instance *
contained(struct controller *c, uint8_t facts)
{
	struct w_netns n = { .cookie = 1, .ino = 2, .flags = NETNS_F_ENGINE, .facts = facts };
	struct instance *i;

	memcpy(n.container_id, ID, sizeof(n.container_id));
	instance_on_netns(c, &n);
	i = instance_find(c, 1);
	assert_non_null(i);
	i->attach = ATTACH_DONE;
	i->attached.owned = 1;
	return i;
}

static void
what_is_read_in_proc_adds_to_the_engines_word_and_takes_nothing_from_it(void **state)
{
	struct controller *c = *state;
	struct instance *i;

	tell(c, ID, "web", "bridge", "[\"netAdmin\"]");
	i = contained(c, 0);
	assert_int_equal(instance_grade_bits(i), GRADE_NET_ADMIN);
	i = contained(c, TASK_F_HOST_PID);
	assert_int_equal(instance_grade_bits(i), GRADE_NET_ADMIN | GRADE_HOST_PID);
	tell(c, ID, "web", "bridge", "null");
	assert_int_equal(instance_grade_bits(i), GRADE_HOST_PID | GRADE_UNKNOWN);
}

static void
a_table_that_the_kernel_does_not_protect_lowers_the_grade(void **state)
{
	struct controller *c = *state;
	struct instance *i;
	const char *why;

	tell(c, ID, "web", "bridge", "[]");
	i = contained(c, 0);
	assert_string_equal(instance_grade(i, &why), "full");
	i->attached.owned = 0;
	assert_string_equal(instance_grade(i, &why), "partial");
	assert_non_null(strstr(why, "no owner on this kernel"));
}

/* To it nothing is rejected: it may be one that is allowed in a moment. */
static void
who_is_not_known_yet_has_an_address_of_nobodys(void **state)
{
	static const char facts[] = "{\"id\":\"" ID "\",\"name\":\"web\",\"image\":\"i\"}";
	struct controller *c = *state;
	struct addr address = ctl_addr("10.0.0.7");
	struct inventory *inv;
	struct instance *i;

	announce(c, 1, NETNS_F_ENGINE, ID);
	i = instance_find(c, 1);
	i->addrs = calloc(1, sizeof(*i->addrs));
	assert_non_null(i->addrs);
	i->addrs->ready = true;
	i->addrs->list[i->addrs->n++].addr = address;
	inv = inventory_build(c, true);
	assert_non_null(inv);
	assert_int_equal(inv->n_nobodys, 1);
	assert_true(addr_eq(&inv->nobodys[0], &address));
	inventory_free(inv);
	instance_on_container(c, facts, strlen(facts));
	inv = inventory_build(c, true);
	assert_non_null(inv);
	assert_int_equal(inv->n_nobodys, 0);
	assert_int_equal(inv->n_entries, 1);
	inventory_free(inv);
}

#define HOST "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee01"

static void
engine_says(struct controller *c, const char *id, const char *name, const char *shares)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:{}, s:{}}", "id", id, "runtime", "docker",
	    "name", name, "shares", shares, "labels", "imageLabels");
	char *text = json_dumps(o, 0);

	instance_on_container(c, text, strlen(text));
	free(text);
	json_decref(o);
}

static const char *
name_of(struct controller *c, uint64_t cookie)
{
	const struct instance *i = instance_find(c, cookie);

	return i != NULL && i->workload != NULL ? i->workload->name : "";
}

/* Whatever an engine says, and whichever namespace is seen first. */
static void
who_has_a_namespace_with_a_file_is_no_guest_of_who_has_another(void **state)
{
	struct controller *c = *state;
	size_t pos = 0;

	engine_says(c, HOST, "host", "");
	engine_says(c, ID, "guest", HOST);
	announce(c, 1, NETNS_F_ENGINE, ID);
	assert_string_equal(name_of(c, 1), "host");
	/* What is made inside of that one has no file, and takes no guest out of it. */
	announce(c, 2, NETNS_F_PROC, HOST);
	assert_string_equal(name_of(c, 1), "host");
	announce(c, 3, NETNS_F_ENGINE, HOST);
	assert_string_equal(name_of(c, 1), "guest");
	assert_string_equal(name_of(c, 3), "host");
	engine_says(c, ID, "guest", HOST);
	assert_string_equal(name_of(c, 1), "guest");
	assert_non_null(instance_next_member(instance_find(c, 3), &pos));
	assert_null(instance_next_member(instance_find(c, 3), &pos));
}

/* Then the other one may be what somebody made inside. */
static void
without_files_who_is_said_to_be_a_guest_is_one(void **state)
{
	struct controller *c = *state;

	engine_says(c, HOST, "host", "");
	engine_says(c, ID, "guest", HOST);
	announce(c, 1, NETNS_F_PROC, ID);
	announce(c, 2, NETNS_F_PROC, HOST);
	assert_string_equal(name_of(c, 1), "host");
	assert_string_equal(name_of(c, 2), "host");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_namespace_made_inside_a_container_is_not_the_container, setup, teardown),
		cmocka_unit_test_setup_teardown(nor_if_it_is_announced_first, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    who_is_not_known_yet_has_an_address_of_nobodys, setup, teardown),
		cmocka_unit_test_setup_teardown(one_whose_file_shows_later_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_engine_without_files_is_watched_by_its_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    one_that_could_not_be_entered_is_tried_when_it_is_known_by_another_process,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(and_now_and_then, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_container_in_the_hosts_network_is_listed_and_not_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(one_on_a_bridge_is_not, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    who_has_a_namespace_with_a_file_is_no_guest_of_who_has_another, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(
		    without_files_who_is_said_to_be_a_guest_is_one, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_read_in_proc_adds_to_the_engines_word_and_takes_nothing_from_it, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(
		    a_table_that_the_kernel_does_not_protect_lowers_the_grade, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
