/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another image under an enforced name has no part in it until a person agrees. */
#include "ctl-fixture.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/promote.h"
#include "daemon/resolve.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/store.h"
#include "rules/compile.h"

#include "daemon/api.h"

#define ID "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee0%u"
#define IMAGE "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde%u"

static const struct actor root = { .name = "uid:0" };

static void
tell(struct controller *c, unsigned n, json_t *o)
{
	char id[80], image_id[80];
	char *text;

	snprintf(id, sizeof(id), ID, n);
	snprintf(image_id, sizeof(image_id), IMAGE, n);
	json_object_set_new(o, "id", json_string(id));
	json_object_set_new(o, "imageId", json_string(image_id));
	text = json_dumps(o, 0);
	instance_on_container(c, text, strlen(text));
	free(text);
	json_decref(o);
}

/* Container n of a name, as an engine tells of it. */
static void
facts(struct controller *c, unsigned n, const char *name, const char *image)
{
	tell(c, n,
	    json_pack("{s:s, s:s, s:s, s:{}, s:{}}", "runtime", "docker", "name", name, "image",
		image, "labels", "imageLabels"));
}

/* Container n in the namespace of container `owner`; of the same pod, or a guest (pod ""). */
static void
join(struct controller *c, unsigned n, unsigned owner, const char *pod, const char *image)
{
	char id[80];

	snprintf(id, sizeof(id), ID, owner);
	tell(c, n,
	    json_pack("{s:s, s:s, s:s, s:s, s:s, s:{}, s:{}}", "runtime",
		*pod != '\0' ? "podman" : "docker", "name", "member", "image", image, "pod", pod,
		"shares", id, "labels", "imageLabels"));
}

static void
leave(struct controller *c, unsigned n)
{
	struct d_id gone = { 0 };

	snprintf(gone.id, sizeof(gone.id), ID, n);
	instance_on_container_gone(c, &gone);
}

static struct instance *
start(struct controller *c, unsigned n, const char *name, const char *image, const char *address)
{
	struct w_netns ns = { .cookie = n, .ino = n, .flags = NETNS_F_ENGINE };
	struct instance *i;

	snprintf(ns.container_id, sizeof(ns.container_id), ID, n);
	instance_on_netns(c, &ns);
	i = instance_find(c, n);
	assert_non_null(i);
	i->attach = ATTACH_DONE;
	i->addrs = calloc(1, sizeof(*i->addrs));
	i->addrs->ready = true;
	i->addrs->list[i->addrs->n++].addr = ctl_addr(address);
	assert_int_equal(addr_map_claim(c->addr_map, &i->addrs->list[0].addr, i), 0);
	facts(c, n, name, image);
	assert_non_null(i->workload);
	return i;
}

static void
set_mode(struct ctl_fixture *f, const char *name, enum wl_mode mode)
{
	const struct mode_change change = { workload_find(f->c, name), mode, WL_BOTH };

	assert_int_equal(segment_set_modes(f->c, &change, 1, 0, "because", &root, &f->d), 0);
}

static int
set_image(struct ctl_fixture *f, const char *name, const char *image, bool accepted)
{
	return segment_set_image(
	    f->c, workload_find(f->c, name), image, accepted, "because", &root, &f->d);
}

static peer_id
who_has(struct controller *c, const char *address)
{
	const struct addr a = ctl_addr(address);
	struct instance *i;
	peer_id id;

	assert_int_equal(resolve_addr(c, &a, RESOLVE_FINAL, &id, &i), 0);
	return id;
}

static size_t
addresses_of(struct controller *c, const char *name)
{
	struct inventory *inv = inventory_build(c, false);
	size_t n = 0;

	assert_non_null(inv);
	for (size_t i = 0; i < inv->n_entries; i++)
		if (strcmp(inv->entries[i].workload, name) == 0)
			n = inv->entries[i].n_addrs;
	inventory_free(inv);
	return n;
}

static void
another_repository_is_nobody_under_an_enforced_name(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct instance *good = start(c, 1, "web", "nginx:1.25", "10.0.0.1"), *bad;
	peer_id web = good->workload->peer;

	set_mode(f, "web", MODE_ENFORCE);
	bad = start(c, 2, "web", "evil/nginx:1.25", "10.0.0.2");
	assert_true(instance_is_refused(bad));
	assert_false(instance_is_refused(good));
	assert_true(who_has(c, "10.0.0.1") == web);
	assert_true(who_has(c, "10.0.0.2") != web);
	assert_int_equal(peer_get(c->peers, who_has(c, "10.0.0.2"))->kind, PEER_ADDR);
	assert_int_equal(addresses_of(c, "web"), 1);
}

/* An engine that says so, or another container that keeps the namespace: it is what it was. */
static void
it_stays_refused_when_its_container_is_forgotten(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct instance *bad;

	start(c, 1, "web", "nginx", "10.0.0.1");
	set_mode(f, "web", MODE_ENFORCE);
	bad = start(c, 2, "web", "evil", "10.0.0.2");
	assert_true(instance_is_refused(bad));
	leave(c, 2);
	assert_null(bad->container);
	assert_true(instance_is_refused(bad));
	assert_int_equal(addresses_of(c, "web"), 1);
}

static void
its_connections_are_not_the_workloads(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct flow_event ev;

	start(c, 1, "web", "nginx", "10.0.0.1");
	ctl_instance(c, 9, "db", "10.0.0.9");
	set_mode(f, "web", MODE_ENFORCE);
	start(c, 2, "web", "evil", "10.0.0.2");
	ev = ctl_event(9, FLOW_ANSWERED, "10.0.0.2", "10.0.0.9", 5432);
	learn_flow(c, &ev);
	ev.netns = 2;
	learn_flow(c, &ev);
	assert_null(ctl_edge(c, "web", "db", 5432));
	assert_non_null(ctl_edge(c, "10.0.0.2", "db", 5432));
	/* Nor what is asked of it. */
	ev = ctl_event(2, FLOW_ANSWERED, "10.0.0.9", "10.0.0.2", 80);
	learn_flow(c, &ev);
	assert_null(ctl_edge(c, "db", "web", 80));
}

static void
a_person_agrees_and_it_lasts(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *bad;

	start(f->c, 1, "web", "nginx", "10.0.0.1");
	set_mode(f, "web", MODE_ENFORCE);
	bad = start(f->c, 2, "web", "docker.io/team/web:2", "10.0.0.2");
	assert_true(instance_is_refused(bad));
	assert_int_equal(set_image(f, "web", "team/web", true), 0);
	assert_false(instance_is_refused(bad));
	assert_int_equal(addresses_of(f->c, "web"), 2);
	ctl_restart(f);
	bad = start(f->c, 2, "web", "team/web:3", "10.0.0.2");
	assert_false(instance_is_refused(bad));
	assert_true(instance_is_refused(start(f->c, 3, "web", "evil", "10.0.0.3")));
	/* And back. */
	assert_int_equal(set_image(f, "web", "team/web", false), 0);
	assert_true(instance_is_refused(bad));
	assert_int_equal(set_image(f, "web", "team/web", false), -EINVAL);
	assert_int_equal(set_image(f, "web", "nginx", false), -EINVAL);
	assert_non_null(strstr(f->d.msg, "only image"));
}

static void
a_change_that_is_not_stored_accepts_nothing(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *bad;

	start(f->c, 1, "web", "nginx", "10.0.0.1");
	set_mode(f, "web", MODE_ENFORCE);
	bad = start(f->c, 2, "web", "evil", "10.0.0.2");
	assert_int_equal(store_begin(f->c->store), 0);
	assert_true(set_image(f, "web", "evil", true) < 0);
	store_rollback(f->c->store);
	assert_true(instance_is_refused(bad));
	assert_int_equal(bad->workload->n_images, 1);
}

static void
a_new_tag_needs_nobody(void **state)
{
	struct ctl_fixture *f = *state;

	start(f->c, 1, "web", "nginx:1.25", "10.0.0.1");
	set_mode(f, "web", MODE_ENFORCE);
	assert_false(
	    instance_is_refused(start(f->c, 2, "web", "docker.io/library/nginx:1.26", "10.0.0.2")));
}

static void
before_enforcement_all_take_part_and_enforcing_agrees_to_what_runs(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *second;
	struct flow_event ev;

	start(f->c, 1, "web", "nginx", "10.0.0.1");
	second = start(f->c, 2, "web", "caddy", "10.0.0.2");
	ctl_instance(f->c, 9, "db", "10.0.0.9");
	set_mode(f, "web", MODE_AUDIT);
	assert_false(instance_is_refused(second));
	assert_true(instance_has_other_image(second));
	ev = ctl_event(2, FLOW_ANSWERED, "10.0.0.2", "10.0.0.9", 5432);
	learn_flow(f->c, &ev);
	assert_true((ctl_edge(f->c, "web", "db", 5432)->flags & EDGE_FLAG_IMAGE_CHANGED) != 0);
	ev = ctl_event(1, FLOW_ANSWERED, "10.0.0.1", "10.0.0.9", 5433);
	learn_flow(f->c, &ev);
	assert_true((ctl_edge(f->c, "web", "db", 5433)->flags & EDGE_FLAG_IMAGE_CHANGED) == 0);
	assert_true(ctl_edge(f->c, "web", "db", 5433)->evidence.images[0][0] == 0x0123456789abcdef);
	set_mode(f, "web", MODE_ENFORCE);
	assert_false(instance_is_refused(second));
	assert_int_equal(second->workload->n_images, 2);
}

static void
promotion_waits_for_a_person(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *i = start(f->c, 1, "web", "nginx", "10.0.0.1");

	f->c->config->promote = PROMOTE_ENFORCE;
	start(f->c, 2, "web", "caddy", "10.0.0.2");
	i->workload->observed_ns = f->c->config->observation_period_ns;
	ctl_add_edge(f->c, "web", "internet", 443)->evidence.first_seen_ns = fake_now;
	promote_tick(f->c);
	assert_int_equal(i->workload->mode, MODE_OBSERVE);
	assert_int_equal(set_image(f, "web", "caddy", true), 0);
	promote_tick(f->c);
	assert_int_equal(i->workload->mode, MODE_ENFORCE);
}

static void
the_first_of_a_name_enforced_in_advance_is_accepted(void **state)
{
	struct ctl_fixture *f = *state;

	assert_non_null(workload_get(f->c, "web"));
	set_mode(f, "web", MODE_ENFORCE);
	assert_false(instance_is_refused(start(f->c, 1, "web", "nginx", "10.0.0.1")));
	assert_true(instance_is_refused(start(f->c, 2, "web", "evil", "10.0.0.2")));
}

static void
an_image_without_a_name_goes_by_its_id(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *i;
	char image_id[80];

	start(f->c, 1, "web", "nginx", "10.0.0.1");
	set_mode(f, "web", MODE_ENFORCE);
	snprintf(image_id, sizeof(image_id), IMAGE, 2u);
	i = start(f->c, 2, "web", image_id, "10.0.0.2");
	assert_true(instance_is_refused(i));
	assert_int_equal(set_image(f, "web", image_id, true), 0);
	assert_false(instance_is_refused(i));
	assert_true(instance_is_refused(start(f->c, 3, "web", "0123456789ab", "10.0.0.3")));
}

/* Its tag means another image now, and the engine shows an id in its place. */
static void
one_that_lost_its_tag_stays_what_it_was(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *i = start(f->c, 1, "web", "nginx", "10.0.0.1");
	char image_id[80];

	set_mode(f, "web", MODE_ENFORCE);
	snprintf(image_id, sizeof(image_id), IMAGE, 1u);
	facts(f->c, 1, "web", image_id);
	assert_false(instance_is_refused(i));
	assert_string_equal(i->container->image, "nginx");
}

static void
a_policy_file_may_say_which_images(void **state)
{
	static const char text[] =
	    "apiVersion: nanoseg/v1\nkind: SegmentPolicy\nworkloads:\n"
	    "  - {name: web, mode: enforce, images: [team/web, docker.io/library/nginx]}\n";
	struct ctl_fixture *f = *state;
	struct policy *p;
	struct instance *i;

	start(f->c, 1, "web", "nginx", "10.0.0.1");
	i = start(f->c, 2, "web", "caddy", "10.0.0.2");
	assert_int_equal(policy_parse(text, strlen(text), &f->d, &p), 0);
	assert_int_equal(segment_apply_policy(f->c, p, 0, 0, "because", &root, &f->d), 0);
	policy_free(p);
	assert_true(instance_is_refused(i));
	assert_int_equal(i->workload->n_images, 2);
	/* What is shown can be applied, and changes nothing. */
	assert_int_equal(segment_show_policy(f->c, false, &p), 0);
	assert_int_equal(segment_apply_policy(f->c, p, 0, 0, "because", &root, &f->d), 0);
	policy_free(p);
	assert_int_equal(i->workload->n_images, 2);
	assert_string_equal(i->workload->images[1], "nginx");
	assert_true(instance_is_refused(i));
}

static void
status_says_which_images_run_and_why_one_is_closed(void **state)
{
	struct ctl_fixture *f = *state;
	const json_t *w;
	json_t *status;

	start(f->c, 1, "web", "nginx:1", "10.0.0.1");
	set_mode(f, "web", MODE_ENFORCE);
	start(f->c, 2, "web", "evil:1", "10.0.0.2");
	status = json_status(f->c);
	w = json_array_get(json_object_get(status, "workloads"), 0);
	assert_non_null(strstr(json_string_value(json_object_get(w, "why")), "evil"));
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(w, "images"), 0)), "nginx");
	for (size_t i = 0; i < 2; i++) {
		const json_t *one = json_array_get(json_object_get(w, "instances"), i);
		bool good =
		    strcmp(json_string_value(json_object_get(one, "image")), "nginx:1") == 0;

		assert_int_equal(json_is_true(json_object_get(one, "imageAccepted")), good);
	}
	json_decref(status);
}

/* The instance of a pod "web", with its sandbox alone. */
static struct instance *
start_pod(struct controller *c, unsigned n, const char *address)
{
	struct instance *i = start(c, n, "infra", "pause", address);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:{}, s:{}}", "runtime", "podman", "name",
	    "infra", "image", "pause", "pod", "web", "labels", "imageLabels");

	tell(c, n, o);
	assert_string_equal(i->workload->name, "web");
	return i;
}

static void
of_a_pod_every_members_image_has_to_be_accepted(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct instance *one = start_pod(c, 1, "10.0.0.1"), *two;

	join(c, 2, 1, "web", "nginx:1");
	assert_false(instance_is_refused(one));
	set_mode(f, "web", MODE_ENFORCE);
	/* What ran then is what is meant. */
	assert_false(instance_is_refused(one));
	assert_int_equal(one->workload->n_images, 2);
	two = start_pod(c, 3, "10.0.0.2");
	assert_false(instance_is_refused(two));
	join(c, 4, 3, "web", "nginx:2");
	assert_false(instance_is_refused(two));
	join(c, 5, 3, "web", "evil");
	assert_true(instance_is_refused(two));
	assert_null(instance_counts_as(two));
	assert_false(instance_is_refused(one));
	assert_int_equal(addresses_of(c, "web"), 1);
	assert_true(who_has(c, "10.0.0.2") != one->workload->peer);
}

static void
one_that_joins_a_running_pod_closes_it_until_it_goes_or_a_person_agrees(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct instance *pod = start_pod(c, 1, "10.0.0.1");

	join(c, 2, 1, "web", "nginx");
	set_mode(f, "web", MODE_ENFORCE);
	join(c, 3, 1, "web", "evil");
	assert_true(instance_is_refused(pod));
	leave(c, 3);
	assert_false(instance_is_refused(pod));
	join(c, 3, 1, "web", "evil");
	assert_true(instance_is_refused(pod));
	assert_int_equal(set_image(f, "web", "evil", true), 0);
	assert_false(instance_is_refused(pod));
	assert_int_equal(set_image(f, "web", "evil", false), 0);
	assert_true(instance_is_refused(pod));
}

/* The engine tells of members in any order. */
static void
a_member_that_is_known_before_its_pod_counts(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *pod = start_pod(f->c, 1, "10.0.0.1");

	join(f->c, 2, 1, "web", "nginx");
	set_mode(f, "web", MODE_ENFORCE);
	join(f->c, 4, 3, "web", "evil");
	assert_false(instance_is_refused(pod));
	assert_true(instance_is_refused(start_pod(f->c, 3, "10.0.0.2")));
}

static void
a_pod_stays_refused_when_its_sandbox_is_forgotten(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *pod = start_pod(f->c, 1, "10.0.0.1");

	join(f->c, 2, 1, "web", "nginx");
	set_mode(f, "web", MODE_ENFORCE);
	join(f->c, 3, 1, "web", "evil");
	leave(f->c, 1);
	assert_null(pod->container);
	assert_true(instance_is_refused(pod));
}

/* Whoever looks into a running service would cut it off. */
static void
a_guest_takes_no_rules_away_and_is_said(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *web = start(f->c, 1, "web", "nginx", "10.0.0.1");
	const char *why;

	web->attached.owned = true;
	join(f->c, 2, 1, "", "netshoot");
	assert_false(instance_has_other_guest(web));
	set_mode(f, "web", MODE_ENFORCE);
	/* Enforcing does not agree to it. */
	assert_int_equal(web->workload->n_images, 1);
	assert_true(instance_has_other_guest(web));
	assert_false(instance_is_refused(web));
	assert_string_equal(instance_grade(web, &why), "partial");
	assert_non_null(strstr(why, "shares its namespace"));
	leave(f->c, 2);
	assert_false(instance_has_other_guest(web));
}

static void
an_image_of_a_pod_that_is_not_known_closes_nothing(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *pod = start(f->c, 1, "infra", "pause", "10.0.0.1");

	tell(f->c, 1,
	    json_pack("{s:s, s:s, s:s, s:s, s:{}, s:{}}", "runtime", "podman", "name", "infra",
		"image", "", "pod", "web", "labels", "imageLabels"));
	free(pod->container->image_id);
	pod->container->image_id = NULL;
	join(f->c, 2, 1, "web", "nginx");
	set_mode(f, pod->workload->name, MODE_ENFORCE);
	assert_int_equal(pod->workload->n_images, 2);
	assert_false(instance_is_refused(pod));
	join(f->c, 3, 1, "web", "evil");
	assert_true(instance_is_refused(pod));
}

static void
status_names_the_member(void **state)
{
	struct ctl_fixture *f = *state;
	const json_t *w;
	json_t *status;

	start_pod(f->c, 1, "10.0.0.1");
	join(f->c, 2, 1, "web", "nginx");
	set_mode(f, "web", MODE_ENFORCE);
	join(f->c, 3, 1, "web", "evil:1");
	status = json_status(f->c);
	/* The first is what the sandbox was called before its pod was known. */
	w = json_array_get(json_object_get(status, "workloads"), 1);
	assert_non_null(
	    strstr(json_string_value(json_object_get(w, "why")), "a member's image evil"));
	w = json_array_get(json_object_get(w, "instances"), 0);
	assert_true(json_is_false(json_object_get(w, "imageAccepted")));
	assert_int_equal(json_array_size(json_object_get(w, "members")), 3);
	json_decref(status);
}

#define IMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, ctl_setup, ctl_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(another_repository_is_nobody_under_an_enforced_name),
		IMAGE_TEST(its_connections_are_not_the_workloads),
		IMAGE_TEST(it_stays_refused_when_its_container_is_forgotten),
		IMAGE_TEST(a_person_agrees_and_it_lasts),
		IMAGE_TEST(a_change_that_is_not_stored_accepts_nothing),
		IMAGE_TEST(a_new_tag_needs_nobody),
		IMAGE_TEST(before_enforcement_all_take_part_and_enforcing_agrees_to_what_runs),
		IMAGE_TEST(promotion_waits_for_a_person),
		IMAGE_TEST(the_first_of_a_name_enforced_in_advance_is_accepted),
		IMAGE_TEST(an_image_without_a_name_goes_by_its_id),
		IMAGE_TEST(one_that_lost_its_tag_stays_what_it_was),
		IMAGE_TEST(a_policy_file_may_say_which_images),
		IMAGE_TEST(status_says_which_images_run_and_why_one_is_closed),
		IMAGE_TEST(of_a_pod_every_members_image_has_to_be_accepted),
		IMAGE_TEST(one_that_joins_a_running_pod_closes_it_until_it_goes_or_a_person_agrees),
		IMAGE_TEST(a_member_that_is_known_before_its_pod_counts),
		IMAGE_TEST(a_pod_stays_refused_when_its_sandbox_is_forgotten),
		IMAGE_TEST(a_guest_takes_no_rules_away_and_is_said),
		IMAGE_TEST(an_image_of_a_pod_that_is_not_known_closes_nothing),
		IMAGE_TEST(status_names_the_member),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
