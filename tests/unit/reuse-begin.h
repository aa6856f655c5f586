/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where each order of test-reuse.c begins: worlds before the first event, and their end. */
#ifndef NANOSEG_TESTS_REUSE_BEGIN_H
#define NANOSEG_TESTS_REUSE_BEGIN_H

#include "reuse-world.h"

static _unused_ void
make_policy(void)
{
	static const char *const ends[][2] = { { "p", "a" }, { "a", "p" }, { "p", "b" },
		{ "b", "p" }, { "p", "l" }, { "l", "p" } };
	static const char *const names[] = { "p", "a", "b", "l" };

	for (size_t k = 0; k < ARRAY_SIZE(ends); k++) {
		struct edge *e = ctl_add_edge(c, ends[k][0], ends[k][1], (uint16_t)(80 + k));

		e->state = EDGE_APPROVED;
		number_of[k] = edge_id_number(e);
	}
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		struct workload *w = workload_get(c, names[k]);

		w->mode = MODE_ENFORCE;
		w->direction = WL_BOTH;
	}
	policy_free(c->policy);
	assert_int_equal(segment_build_policy(c, false, &c->policy), 0);
}

static _unused_ void
begin_stopped(void)
{
	c = ctl_new(NULL);
	make_policy();
	c->scanned = false;
}

static _unused_ void
begin_with_p(void)
{
	c = ctl_new(NULL);
	make_policy();
	ev_p_found();
	ev_p_attached();
}

static _unused_ void
begin(void)
{
	begin_with_p();
	announce(A, NETNS_F_ENGINE, "ba0987654321", 'a');
	tell('a', "a");
	attach(A, false);
	give(A, X);
	a_has_x = true;
	ctl_wait(10 * NSEC_PER_SEC);
	reconcile();
	assert_true(rules_have_x(P, number_of[0]) && rules_have_x(P, number_of[1]));
}

static _unused_ void
begin_shared(void)
{
	begin_with_p();
	announce(A, NETNS_F_NAMED, "shared", 'a');
	tell('a', "a");
	attach(A, false);
	give(A, X);
	a_has_x = true;
	ctl_wait(10 * NSEC_PER_SEC);
	reconcile();
	assert_true(rules_have_x(P, number_of[0]));
}

static _unused_ void
begin_both(void)
{
	begin();
	ev_b_process();
	ev_b_from_engine();
	ev_b_attached();
	ctl_wait(10 * NSEC_PER_SEC);
	reconcile();
}

static _unused_ void
begin_with_host(void)
{
	begin();
	announce(HOST, NETNS_F_HOST, "", 0);
	attach(HOST, false);
	b_is_host = true;
}

/* The daemon ends and begins again; what it has loaded stays. */
static void
go_away(void)
{
	uint64_t before[ARRAY_SIZE(number_of)];

	memcpy(before, number_of, sizeof(before));
	on_sent = NULL;
	ctl_free(c);
	on_sent = warden;
	c = ctl_new(NULL);
	c->state_dir = state_dir;
	make_policy();
	assert_memory_equal(before, number_of, sizeof(before));
	c->scanned = c->caught_up = false;
	c->warden_since_ns = now_mono();
	former_load(c);
	assert_true(has_places == (c->former != NULL));
	was_away = true;
	for (size_t k = 0; k < N_COOKIES; k++)
		of_before[k] = kernel[k] != NULL;
}

/* p, a and l have rules that name each other; then nobody looks. */
static void
begin_away(uint32_t flags_of_a, const char *name_of_a)
{
	char path[128];

	c = ctl_new(NULL);
	c->state_dir = state_dir;
	make_policy();
	ev_p_back();
	ev_p_from_engine();
	ev_p_attached();
	announce(A, flags_of_a, name_of_a, 'a');
	tell('a', "a");
	attach(A, false);
	give(A, X);
	ev_l_back();
	ev_l_from_engine();
	ctl_wait(10 * NSEC_PER_SEC);
	a_has_x = true;
	reconcile();
	assert_true(rules_have_x(P, number_of[0]) && rules_have_x(P, number_of[1]));
	a_has_x = false;
	snprintf(path, sizeof(path), "%s/places", state_dir);
	if (!has_places)
		assert_int_equal(unlink(path), 0);
	go_away();
}

static _unused_ void
begin_away_a_dies(void)
{
	begin_away(NETNS_F_ENGINE, "ba0987654321");
	ruleset_free(kernel[A]);
	kernel[A] = NULL;
}

static _unused_ void
begin_away_with_places(void)
{
	has_places = true;
	begin_away_a_dies();
}

static _unused_ void
begin_away_shared(void)
{
	has_places = true;
	begin_away(NETNS_F_NAMED, "shared");
}

static _unused_ void
end_world(void)
{
	tell_gone('a');
	tell_gone('b');
	tell_gone('c');
	former_forget(c);
	ctl_free(c);
	for (size_t k = 0; k < N_COOKIES; k++) {
		ruleset_free(kernel[k]);
		kernel[k] = NULL;
	}
	a_has_x = b_has_x = b_in_as_namespace = b_is_host = was_away = has_places = false;
	memset(of_before, 0, sizeof(of_before));
}

#endif
