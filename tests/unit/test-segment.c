/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-fixture.h"
#include "daemon/denial.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/store.h"

static const struct actor root = { .name = "uid:0" }, alice = { .name = "uid:1000" };

/* From here on the store takes nothing: it is in a transaction already. */
static void
break_store(struct ctl_fixture *f)
{
	assert_int_equal(store_begin(f->c->store), 0);
}

static void
mend_store(struct ctl_fixture *f)
{
	store_rollback(f->c->store);
}

static int
decide(struct ctl_fixture *f, enum edge_state s, const char *const *ids, size_t n)
{
	const struct edge_decision given = { .reason = (char *)"because" };
	size_t changed = 0;
	int r = segment_decide(f->c, ids, n, s, &given, &alice, &f->d, &changed);

	return r < 0 ? r : (int)changed;
}

static void
see(struct controller *c, uint64_t netns, const char *src, const char *dst, uint16_t port)
{
	struct flow_event ev = ctl_event(netns, FLOW_ANSWERED, src, dst, port);

	learn_flow(c, &ev);
}

static void
refuse(struct controller *c, const char *src, const char *dst, uint16_t port)
{
	struct flow_event ev = ctl_event(1, FLOW_DENIED, src, dst, port);

	learn_flow(c, &ev);
}

static void
approves_and_denies_by_the_edges_id(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "api", 80);
	char id[EDGE_ID_STRLEN];
	const char *ids[] = { id, id };

	memcpy(id, e->id, sizeof(id));
	e->flags = EDGE_FLAG_AUTO;
	assert_int_equal(decide(f, EDGE_APPROVED, ids, 2), 1);
	assert_int_equal(f->c->revision, 1);
	assert_int_equal(f->c->policy->n_edges, 1);
	ctl_restart(f);
	e = ctl_edge(f->c, "web", "api", 80);
	assert_int_equal(e->state, EDGE_APPROVED);
	assert_int_equal(e->flags, 0);
	assert_string_equal(e->decision.approved_by, alice.name);
	assert_int_equal(decide(f, EDGE_DENIED, ids, 1), 1);
	ctl_restart(f);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_DENIED);
	assert_int_equal(f->c->revision, 2);
}

static void
approves_by_a_denials_id_and_by_the_edge_it_would_need(void **state)
{
	struct ctl_fixture *f = *state;
	const struct denial *d;
	char need[EDGE_ID_STRLEN];
	const char *ids[1];
	size_t pos = 0;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	refuse(f->c, "10.0.0.1", "10.0.0.2", 5432);
	refuse(f->c, "10.0.0.1", "10.0.0.2", 9100);
	assert_int_equal(edge_table_count(f->c->edges), 0);
	d = denial_next(f->c->denials, &pos);
	ids[0] = d->id;
	assert_int_equal(decide(f, EDGE_APPROVED, ids, 1), 1);
	assert_int_equal(ctl_edge(f->c, "web", "db", 5432)->state, EDGE_APPROVED);
	d = denial_next(f->c->denials, &pos);
	edge_id_format(d->edge, need);
	ids[0] = need;
	assert_int_equal(decide(f, EDGE_DENIED, ids, 1), 1);
	assert_int_equal(ctl_edge(f->c, "web", "db", 9100)->state, EDGE_DENIED);
	assert_string_equal(ctl_edge(f->c, "web", "db", 9100)->id, need);
}

static void
an_unknown_id_changes_nothing(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "api", 80);
	const struct denial *d;
	const char *ids[4] = { e->id, NULL, e->id, "e-\x1b[31mnonsense" };
	size_t pos = 0;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	refuse(f->c, "10.0.0.1", "10.0.0.2", 5432);
	d = denial_next(f->c->denials, &pos);
	ids[1] = d->id;
	assert_int_equal(decide(f, EDGE_APPROVED, ids, 4), -ENOENT);
	assert_non_null(strstr(f->d.msg, "\\x1b"));
	assert_int_equal(e->state, EDGE_PENDING);
	assert_null(e->decision.approved_by);
	assert_int_equal(edge_table_count(f->c->edges), 1);
	assert_int_equal(f->c->revision, 0);
}

static void
a_decision_that_is_not_stored_leaves_no_trace(void **state)
{
	struct ctl_fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "api", 80);
	const char *ids[3] = { e->id, e->id, NULL };
	const struct denial *d;
	size_t pos = 0;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	refuse(f->c, "10.0.0.1", "10.0.0.2", 5432);
	d = denial_next(f->c->denials, &pos);
	ids[2] = d->id;
	assert_int_equal(decide(f, EDGE_APPROVED, ids, 1), 1);
	break_store(f);
	assert_true(decide(f, EDGE_DENIED, ids, 3) < 0);
	assert_non_null(strstr(f->d.msg, "nothing is changed"));
	mend_store(f);
	assert_int_equal(e->state, EDGE_APPROVED);
	assert_string_equal(e->decision.reason, "because");
	assert_int_equal(edge_table_count(f->c->edges), 1);
	assert_int_equal(f->c->revision, 1);
	assert_int_equal(f->c->policy->edges[0].state, EDGE_APPROVED);
}

static void
a_mode_that_is_not_stored_is_not_set_and_its_reason_stands(void **state)
{
	struct ctl_fixture *f = *state;
	struct workload *w = workload_get(f->c, "web");
	struct mode_change m[2] = { { w, MODE_AUDIT, WL_INGRESS }, { w, MODE_ENFORCE, WL_BOTH } };
	uint64_t since;

	assert_int_equal(segment_set_modes(f->c, m, 1, 0, "a person", &root, &f->d), 0);
	since = w->mode_since_ns;
	w->auto_promoted = true;
	ctl_wait(NSEC_PER_SEC);
	break_store(f);
	assert_true(segment_set_modes(f->c, m, 2, 0, "other", &root, &f->d) < 0);
	mend_store(f);
	assert_int_equal(w->mode, MODE_AUDIT);
	assert_int_equal(w->direction, WL_INGRESS);
	assert_string_equal(w->mode_reason, "a person");
	assert_true(w->auto_promoted);
	assert_true(w->mode_since_ns == since);
	assert_int_equal(f->c->revision, 1);
}

static struct policy *
parse(const char *text)
{
	struct policy *p;
	struct diag d = { 0 };

	if (policy_parse(text, strlen(text), &d, &p) < 0)
		fail_msg("%u:%u: %s", d.line, d.col, d.msg);
	return p;
}

static int
apply(struct ctl_fixture *f, const char *text, uint64_t expected, const struct actor *who)
{
	struct policy *p = parse(text);
	int r = segment_apply_policy(f->c, p, expected, 0, "apply", who, &f->d);

	policy_free(p);
	return r;
}

#define HEAD "apiVersion: nanoseg/v1\nkind: SegmentPolicy\nmetadata: {name: shop}\n"
#define WORKLOADS                                                                              \
	"networks: {office: [10.20.0.0/16]}\n"                                                 \
	"workloads:\n"                                                                         \
	"  - {name: web, mode: audit, labels: {scope: pci}, selector: {compose.project: s}}\n" \
	"  - {name: api, mode: enforce, direction: ingress}\n"
#define EDGE80 "  - {from: web, to: api, proto: tcp, port: 80, state: approved, reason: r1}\n"
#define EDGE81 "  - {from: web, to: api, proto: tcp, port: 81, state: denied}\n"
#define EDGE82 "  - {from: {network: office}, to: web, proto: tcp, port: 82, state: pending}\n"
static const char first[] = HEAD WORKLOADS "edges:\n" EDGE80 EDGE81 EDGE82;
static const char second[] =
    HEAD "workloads:\n  - {name: web, mode: audit}\nedges:\n" EDGE80
	 "  - {from: new, to: api, proto: tcp, port: 1, state: approved}\n";

static void
apply_replaces_what_was_decided(void **state)
{
	struct ctl_fixture *f = *state;

	assert_int_equal(apply(f, first, 0, &root), 0);
	assert_int_equal(workload_find(f->c, "api")->mode, MODE_ENFORCE);
	assert_int_equal(f->c->n_networks, 1);
	assert_int_equal(ctl_edge(f->c, "web", "api", 81)->state, EDGE_DENIED);
	assert_int_equal(apply(f, second, 1, &alice), 0);
	ctl_restart(f);
	assert_int_equal(f->c->revision, 2);
	assert_int_equal(workload_find(f->c, "api")->mode, MODE_OBSERVE);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_AUDIT);
	assert_int_equal(f->c->n_networks, 0);
	assert_int_equal(ctl_edge(f->c, "web", "api", 81)->state, EDGE_PENDING);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_APPROVED);
	/* Who approved stays; who applied approves what is new. */
	assert_string_equal(ctl_edge(f->c, "web", "api", 80)->decision.approved_by, root.name);
	assert_string_equal(ctl_edge(f->c, "new", "api", 1)->decision.approved_by, alice.name);
}

static void
apply_takes_a_changed_reason_and_end(void **state)
{
	struct ctl_fixture *f = *state;
	const struct edge *e;

	assert_int_equal(apply(f, first, 0, &root), 0);
	assert_int_equal(apply(f,
			     HEAD "edges:\n"
				  "  - {from: web, to: api, proto: tcp, port: 80, state: approved, "
				  "reason: r1, expires: \"2030-01-01T00:00:00Z\"}\n",
			     0, &alice),
	    0);
	e = ctl_edge(f->c, "web", "api", 80);
	assert_true(e->decision.expires_ns != 0);
	assert_string_equal(e->decision.approved_by, alice.name);
}

static void
apply_expects_the_revision_it_was_made_from(void **state)
{
	struct ctl_fixture *f = *state;

	assert_int_equal(apply(f, first, 0, &root), 0);
	assert_int_equal(apply(f, second, 2, &root), -ESTALE);
	assert_non_null(strstr(f->d.msg, "revision 2"));
	assert_int_equal(f->c->revision, 1);
	assert_int_equal(ctl_edge(f->c, "web", "api", 81)->state, EDGE_DENIED);
	assert_int_equal(apply(f, second, 1, &root), 0);
}

static char *
show(struct controller *c)
{
	struct policy *p;
	char *text;

	assert_int_equal(segment_show_policy(c, true, &p), 0);
	assert_int_equal(policy_to_yaml(p, &text), 0);
	policy_free(p);
	return text;
}

static void
an_apply_that_is_not_stored_leaves_no_trace(void **state)
{
	struct ctl_fixture *f = *state;
	char *before, *after;
	size_t n;

	assert_int_equal(apply(f, first, 0, &root), 0);
	before = show(f->c);
	n = edge_table_count(f->c->edges);
	break_store(f);
	assert_true(apply(f, second, 0, &root) < 0);
	mend_store(f);
	after = show(f->c);
	assert_string_equal(before, after);
	assert_int_equal(edge_table_count(f->c->edges), n);
	assert_int_equal(f->c->n_workloads, 2);
	assert_null(workload_find(f->c, "new"));
	assert_string_equal(workload_find(f->c, "web")->mode_reason, "apply");
	/* The list of workloads is whole. */
	assert_non_null(workload_get(f->c, "later"));
	assert_non_null(workload_find(f->c, "later"));
	free(before);
	free(after);
	ctl_restart(f);
	assert_int_equal(f->c->revision, 1);
}

static void
an_apply_that_does_not_fit_leaves_no_trace(void **state)
{
	struct ctl_fixture *f = *state;
	char *before, *after;

	assert_int_equal(apply(f, first, 0, &root), 0);
	before = show(f->c);
	for (uint16_t port = 1000; edge_table_count(f->c->edges) < 5000; port++)
		ctl_add_edge(f->c, "x", "y", port);
	assert_int_equal(apply(f, second, 0, &root), -ENOSPC);
	for (uint16_t port = 1000; ctl_edge(f->c, "x", "y", port) != NULL; port++)
		edge_table_remove(f->c->edges, ctl_edge(f->c, "x", "y", port));
	after = show(f->c);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void
what_is_shown_can_be_applied_again(void **state)
{
	struct ctl_fixture *f = *state;
	char *before, *after;

	assert_int_equal(apply(f, first, 0, &root), 0);
	ctl_restart(f);
	before = show(f->c);
	assert_non_null(strstr(before, "compose.project"));
	assert_non_null(strstr(before, "pci"));
	assert_int_equal(apply(f, before, 1, &alice), 0);
	assert_string_equal(ctl_edge(f->c, "web", "api", 80)->decision.approved_by, root.name);
	after = show(f->c);
	*strstr(before, "revision: 1") = 0;
	*strstr(after, "revision: 2") = 0;
	assert_string_equal(before, after);
	assert_string_equal(before + strlen(before) + 11, after + strlen(after) + 11);
	free(before);
	free(after);
}

static void
a_large_policy_is_applied_in_reasonable_time(void **state)
{
	struct ctl_fixture *f = *state;
	const size_t size = 1 << 20;
	char *text = malloc(size), *at = text, *end = text + size;

	at += snprintf(at, size, "%s", HEAD "edges:\n");
	for (unsigned port = 1; port <= 4900; port++)
		at += snprintf(at, (size_t)(end - at),
		    "  - {from: a, to: b, proto: tcp, port: %u, state: approved}\n", port);
	assert_int_equal(apply(f, text, 0, &root), 0);
	assert_int_equal(apply(f, text, 0, &root), 0);
	assert_int_equal(f->c->policy->n_edges, 4900);
	free(text);
}

static void
observe_for(struct controller *c, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		ctl_wait(NSEC_PER_SEC);
		instance_tick(c);
		promote_tick(c);
	}
}

static void
promote_setup(struct ctl_fixture *f, enum config_promote p)
{
	f->c->config->promote = p;
	f->c->config->observation_period_ns = 100 * NSEC_PER_SEC;
	ctl_instance(f->c, 9, "host", "10.0.0.254");
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "api", "10.0.0.2");
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 80);
	see(f->c, 2, "10.0.0.254", "10.0.0.2", 22);
	refuse(f->c, "10.0.0.1", "10.0.0.2", 81);
	instance_tick(f->c);
}

static void
promotes_what_was_seen_after_the_period_and_leaves_flagged_edges(void **state)
{
	struct ctl_fixture *f = *state;
	const struct edge *e;

	promote_setup(f, PROMOTE_ENFORCE);
	observe_for(f->c, 99);
	assert_int_equal(f->c->revision, 0);
	observe_for(f->c, 2);
	assert_int_equal(flush_evidence(f->c), 0);
	ctl_restart(f);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_ENFORCE);
	assert_int_equal(workload_find(f->c, "api")->mode, MODE_ENFORCE);
	e = ctl_edge(f->c, "web", "api", 80);
	assert_int_equal(e->state, EDGE_APPROVED);
	assert_int_equal(e->flags, EDGE_FLAG_AUTO);
	assert_string_equal(e->decision.approved_by, "promotion");
	assert_int_equal(ctl_edge(f->c, "host", "api", 22)->state, EDGE_PENDING);
	assert_null(ctl_edge(f->c, "web", "api", 81));
}

static void
promotion_is_off_by_default_and_leaves_persons_choices(void **state)
{
	struct ctl_fixture *f = *state;
	struct config *fresh;
	struct mode_change m = { .mode = MODE_OBSERVE, .direction = WL_BOTH };

	assert_int_equal(config_new(&fresh), 0);
	assert_int_equal(fresh->promote, PROMOTE_OFF);
	config_free(fresh);
	promote_setup(f, PROMOTE_OFF);
	observe_for(f->c, 200);
	assert_int_equal(f->c->revision, 0);
	f->c->config->promote = PROMOTE_AUDIT;
	m.workload = workload_find(f->c, "web");
	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "leave it", &root, &f->d), 0);
	observe_for(f->c, 2);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_OBSERVE);
	assert_int_equal(workload_find(f->c, "api")->mode, MODE_AUDIT);
	/* And once back from it, it is not promoted again. */
	m.workload = workload_find(f->c, "api");
	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "roll back", &root, &f->d), 0);
	observe_for(f->c, 200);
	assert_int_equal(workload_find(f->c, "api")->mode, MODE_OBSERVE);
}

static void
time_away_is_not_observation(void **state)
{
	struct ctl_fixture *f = *state;

	promote_setup(f, PROMOTE_ENFORCE);
	observe_for(f->c, 61);
	assert_int_equal(flush_evidence(f->c), 0);
	ctl_restart(f);
	f->c->config->promote = PROMOTE_ENFORCE;
	f->c->config->observation_period_ns = 100 * NSEC_PER_SEC;
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	instance_tick(f->c);
	fake_now += 86400 * NSEC_PER_SEC; /* the clock is set */
	observe_for(f->c, 30);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_OBSERVE);
	instance_find(f->c, 1)->attach = ATTACH_FAILED;
	observe_for(f->c, 200);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_OBSERVE);
	instance_find(f->c, 1)->attach = ATTACH_DONE;
	observe_for(f->c, 12);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_ENFORCE);
}

static void
a_promotion_that_is_not_stored_is_undone_and_tried_later(void **state)
{
	struct ctl_fixture *f = *state;

	promote_setup(f, PROMOTE_ENFORCE);
	log_init("test", LOG_LVL_ERROR);
	break_store(f);
	observe_for(f->c, 110);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_OBSERVE);
	assert_null(workload_find(f->c, "web")->mode_reason);
	assert_false(workload_find(f->c, "web")->auto_promoted);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_PENDING);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->flags, 0);
	mend_store(f);
	observe_for(f->c, 61);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_ENFORCE);
}

static void
an_apply_under_only_leaves_others_alone(void **state)
{
	static const char text[] =
	    HEAD "workloads:\n  - {name: my-web, mode: enforce}\n  - {name: far, mode: enforce}\n"
		 "edges:\n  - {from: my-web, to: api, proto: tcp, port: 80, state: denied}\n"
		 "  - {from: far, to: api, proto: tcp, port: 1, state: approved}\n";
	struct ctl_fixture *f = *state;
	_cleanup_(policy_freep) struct policy *p = parse(text);
	_cleanup_free_ char *shown = NULL;

	assert_int_equal(apply(f, first, 0, &root), 0);
	f->c->only = "my-*";
	assert_int_equal(segment_count_foreign(f->c, p), 2);
	assert_int_equal(apply(f, text, 0, &alice), 0);
	assert_int_equal(workload_find(f->c, "my-web")->mode, MODE_ENFORCE);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_AUDIT);
	assert_int_equal(workload_find(f->c, "api")->mode, MODE_ENFORCE);
	assert_null(workload_find(f->c, "far"));
	assert_int_equal(ctl_edge(f->c, "my-web", "api", 80)->state, EDGE_DENIED);
	assert_int_equal(ctl_edge(f->c, "web", "api", 80)->state, EDGE_APPROVED);
	assert_int_equal(ctl_edge(f->c, "web", "api", 81)->state, EDGE_DENIED);
	assert_null(ctl_edge(f->c, "far", "api", 1));
	shown = show(f->c);
	assert_non_null(strstr(shown, "my-web"));
	assert_null(strstr(shown, "from: web"));
	assert_null(strstr(shown, "name: web"));
}

static void
what_a_person_withdrew_is_not_promoted(void **state)
{
	static const char withdrawn[] = HEAD "edges: []\n";
	struct ctl_fixture *f = *state;
	const char *ids[1];
	struct edge *e;

	promote_setup(f, PROMOTE_OFF);
	e = ctl_edge(f->c, "web", "api", 80);
	ids[0] = e->id;
	assert_int_equal(decide(f, EDGE_APPROVED, ids, 1), 1);
	assert_int_equal(apply(f, withdrawn, 0, &root), 0);
	assert_int_equal(e->state, EDGE_PENDING);
	ctl_restart(f);
	promote_setup(f, PROMOTE_ENFORCE);
	observe_for(f->c, 110);
	/* Nothing else is known of it: that would leave it with nothing. */
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_OBSERVE);
	see(f->c, 1, "10.0.0.1", "10.0.0.2", 82);
	observe_for(f->c, 1);
	assert_int_equal(workload_find(f->c, "web")->mode, MODE_ENFORCE);
	assert_int_equal(ctl_edge(f->c, "web", "api", 82)->state, EDGE_APPROVED);
	e = ctl_edge(f->c, "web", "api", 80);
	assert_int_equal(e->state, EDGE_PENDING);
	assert_int_equal(e->flags, EDGE_FLAG_WITHDRAWN);
	/* A person may think again. */
	ids[0] = e->id;
	assert_int_equal(decide(f, EDGE_APPROVED, ids, 1), 1);
	assert_int_equal(e->flags, 0);
}

int
main(void)
{
#define SEGMENT_TEST(f) cmocka_unit_test_setup_teardown(f, ctl_setup, ctl_teardown)
	const struct CMUnitTest tests[] = {
		SEGMENT_TEST(approves_and_denies_by_the_edges_id),
		SEGMENT_TEST(approves_by_a_denials_id_and_by_the_edge_it_would_need),
		SEGMENT_TEST(an_unknown_id_changes_nothing),
		SEGMENT_TEST(a_decision_that_is_not_stored_leaves_no_trace),
		SEGMENT_TEST(a_mode_that_is_not_stored_is_not_set_and_its_reason_stands),
		SEGMENT_TEST(apply_replaces_what_was_decided),
		SEGMENT_TEST(apply_takes_a_changed_reason_and_end),
		SEGMENT_TEST(apply_expects_the_revision_it_was_made_from),
		SEGMENT_TEST(an_apply_that_is_not_stored_leaves_no_trace),
		SEGMENT_TEST(an_apply_that_does_not_fit_leaves_no_trace),
		SEGMENT_TEST(what_is_shown_can_be_applied_again),
		SEGMENT_TEST(a_large_policy_is_applied_in_reasonable_time),
		SEGMENT_TEST(promotes_what_was_seen_after_the_period_and_leaves_flagged_edges),
		SEGMENT_TEST(promotion_is_off_by_default_and_leaves_persons_choices),
		SEGMENT_TEST(time_away_is_not_observation),
		SEGMENT_TEST(an_apply_under_only_leaves_others_alone),
		SEGMENT_TEST(what_a_person_withdrew_is_not_promoted),
		SEGMENT_TEST(a_promotion_that_is_not_stored_is_undone_and_tried_later),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
