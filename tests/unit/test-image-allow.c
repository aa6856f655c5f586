/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images that may not run, whatever their workload: flagged, or held. */
#include "ctl-fixture.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/quarantine.h"

#define ID "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee0%u"
#define IMAGE "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde%u"

static const struct actor root = { .name = "uid:0" };

/* A namespace with one container, as an engine tells of it. */
static struct instance *
start(struct controller *c, unsigned n, const char *name, const char *image)
{
	struct w_netns ns = { .cookie = n, .ino = n, .flags = NETNS_F_ENGINE };
	char image_id[80], *text;
	struct instance *i;
	json_t *o;

	snprintf(ns.container_id, sizeof(ns.container_id), ID, n);
	snprintf(image_id, sizeof(image_id), IMAGE, n);
	instance_on_netns(c, &ns);
	i = instance_find(c, n);
	assert_non_null(i);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{}, s:{}}", "id", ns.container_id, "runtime",
	    "docker", "name", name, "image", image, "imageId", image_id, "labels", "imageLabels");
	text = json_dumps(o, 0);
	instance_on_container(c, text, strlen(text));
	free(text);
	json_decref(o);
	assert_non_null(i->workload);
	return i;
}

static void
allow(struct ctl_fixture *f, const char *text)
{
	struct config *c = NULL;

	f->d = (struct diag){ 0 };
	if (config_parse(text, strlen(text), &f->d, &c) < 0)
		fail_msg("%s", f->d.msg);
	config_free(f->c->config);
	f->c->config = c;
	f->c->reload.taken++;
	image_allow_tick(f->c);
}

static bool
is_unapproved(struct ctl_fixture *f, unsigned n)
{
	return instance_find(f->c, n)->container->unapproved;
}

static void
an_image_is_allowed_by_its_id_or_by_its_repository(void **state)
{
	static const struct {
		const char *list;
		bool allowed;
	} cases[] = {
		{ "[]", true },
		{ "[other]", false },
		{ "[registry.example/shop/web]", true },
		{ "['registry.example/*']", true },
		{ "['registry.example']", false },
		{ "['*']", true },
		{ "['registry.example/shop/web:1']", false },
		{ "['sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde1']",
		    true },
		{ "['sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde2']",
		    false },
	};
	struct ctl_fixture *f = *state;
	char text[256];

	start(f->c, 1, "web", "registry.example/shop/web:1");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "images: {allow: %s}\n", cases[i].list);
		allow(f, text);
		if (is_unapproved(f, 1) == cases[i].allowed)
			fail_msg("%s", cases[i].list);
		assert_int_equal(image_count_unapproved(f->c), !cases[i].allowed);
		assert_null(f->c->quarantines);
	}
}

static void
a_hostile_image_name_matches_by_nothing_but_its_text(void **state)
{
	struct ctl_fixture *f = *state;

	start(f->c, 1, "a", "sha256:*");
	start(f->c, 2, "b", "evil/registry.example/x:1");
	start(f->c, 3, "c", "re\x1b[31m\ngistry.example/x");
	allow(f, "images: {allow: ['registry.example/*', "
		 "'sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff']}\n");
	for (unsigned n = 1; n <= 3; n++)
		assert_true(is_unapproved(f, n));
}

static void
what_is_not_allowed_is_held_until_it_is_or_a_person_says_so(void **state)
{
	static const char strict[] = "images: {allow: [nginx], action: quarantine}\n";
	struct ctl_fixture *f = *state;
	struct instance *i;

	start(f->c, 1, "web", "nginx:1");
	i = start(f->c, 2, "miner", "evil:1");
	allow(f, strict);
	assert_null(quarantine_of(instance_find(f->c, 1)));
	assert_non_null(quarantine_of(i));
	assert_string_equal(quarantine_of(i)->by, "nanosegd");
	allow(f, "images: {allow: [nginx, evil], action: quarantine}\n");
	assert_null(quarantine_of(i));
	/* A person's word stands, whatever is read again. */
	i = start(f->c, 3, "other", "worse:1");
	allow(f, strict);
	assert_non_null(quarantine_of(i));
	assert_int_equal(quarantine_release(f->c, i->container->id, "because", &root, &f->d), 0);
	allow(f, strict);
	assert_null(quarantine_of(i));
	assert_true(is_unapproved(f, 3));
	/* And one of a person's own is not ended by an approval. */
	assert_int_equal(quarantine_add(f->c, i->container->id, "mine", NULL, 0, &root, &f->d), 0);
	allow(f, "images: {allow: ['*'], action: quarantine}\n");
	assert_non_null(quarantine_of(i));
}

static void
what_ran_before_is_flagged_alone(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *i;

	f->c->scanned = false;
	i = start(f->c, 1, "old", "evil:1");
	f->c->scanned = true;
	allow(f, "images: {allow: [nginx], action: quarantine}\n");
	assert_true(is_unapproved(f, 1));
	assert_null(quarantine_of(i));
}

static int
teardown(void **state)
{
	static const char *const left[] = { "quarantine.json", "enforced" };
	struct ctl_fixture *f = *state;
	char path[128];

	while (f->c->quarantines != NULL) {
		struct quarantine *q = f->c->quarantines;

		f->c->quarantines = q->next;
		quarantine_free(q);
	}
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, left[i]);
		unlink(path);
	}
	return ctl_teardown(state);
}

#define ALLOW_TEST(name) cmocka_unit_test_setup_teardown(name, ctl_setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ALLOW_TEST(an_image_is_allowed_by_its_id_or_by_its_repository),
		ALLOW_TEST(a_hostile_image_name_matches_by_nothing_but_its_text),
		ALLOW_TEST(what_is_not_allowed_is_held_until_it_is_or_a_person_says_so),
		ALLOW_TEST(what_ran_before_is_flagged_alone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
