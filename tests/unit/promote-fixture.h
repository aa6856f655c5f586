/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two workloads of a project, shop, that are about to be promoted by evidence. */
#include "ctl-fixture.h"
#include "daemon/instance.h"
#include "daemon/learn.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "rules/complete.h"

#define HOUR COMPLETE_HOUR_NS
#define DAY (24 * HOUR)
#define WEEKS 3

static _unused_ const struct actor root = { .name = "uid:0" };

static _unused_ struct workload *
wl(struct ctl_fixture *f, const char *name)
{
	struct workload *w = workload_find(f->c, name);

	assert_non_null(w);
	return w;
}

static _unused_ void
set_log(struct workload *w, const struct complete_log *log)
{
	free(w->log);
	w->log = complete_log_fold(log);
}

/* Watched without a gap for weeks, up to now. */
static _unused_ void
watch_all_along(struct workload *w)
{
	uint32_t now = (uint32_t)(fake_now / HOUR);
	struct complete_log log = { 0 };

	for (uint32_t h = now - WEEKS * WEEK_HOURS; h <= now; h++)
		complete_log_mark(&log, h, COMPLETE_RAN);
	set_log(w, &log);
	w->first_seen_ns = fake_now - WEEKS * 7 * DAY;
	w->observed_ns = WEEKS * 7 * DAY;
}

static _unused_ struct edge *
known_edge(struct controller *c, const char *from, const char *to, uint16_t port)
{
	struct edge *e = ctl_add_edge(c, from, to, port);

	e->evidence.first_seen_ns = fake_now - WEEKS * 7 * DAY;
	e->evidence.last_seen_ns = fake_now;
	e->evidence.windows = 400;
	e->evidence.last_window = (uint32_t)(fake_now / HOUR);
	return e;
}

/* shop/web and shop/api have been watched for three weeks, and all is well. */
static _unused_ int
setup(void **state)
{
	static const char *const names[] = { "web", "api" };
	struct ctl_fixture *f;
	struct config *cfg;

	ctl_setup(state);
	f = *state;
	cfg = f->c->config;
	cfg->promote = PROMOTE_ENFORCE;
	cfg->promote_by = PROMOTE_BY_EVIDENCE;
	ctl_instance(f->c, 9, "host", "10.0.0.254");
	for (unsigned i = 0; i < 2; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "10.0.0.%u", i + 1);
		ctl_instance(f->c, i + 1, names[i], addr);
		workload_set_text(&wl(f, names[i])->project, "shop");
		watch_all_along(wl(f, names[i]));
	}
	known_edge(f->c, "web", "api", 80);
	return 0;
}

static _unused_ int
teardown(void **state)
{
	struct ctl_fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/confirm.json", f->dir);
	unlink(path);
	return ctl_teardown(state);
}

static _unused_ void
pass(struct controller *c, uint64_t ns)
{
	const uint64_t step = ns > HOUR ? 10 * 60 * NSEC_PER_SEC : NSEC_PER_SEC;

	for (uint64_t at = 0; at < ns; at += step) {
		ctl_wait(step);
		c->ticked_ns = 0;
		instance_tick(c);
		confirm_tick(c);
		promote_tick(c);
	}
}

static _unused_ void
audit_denial(struct controller *c, uint16_t port)
{
	struct flow_event ev = ctl_event(1, FLOW_AUDITED, "10.0.0.1", "10.0.0.2", port);

	learn_flow(c, &ev);
}

static _unused_ void
assert_waits(struct ctl_fixture *f, const char *name, enum wl_mode mode, const char *words)
{
	const struct workload *w = wl(f, name);

	assert_int_equal(w->mode, mode);
	if (w->promotion == NULL || strstr(w->promotion, words) == NULL)
		fail_msg("no \"%s\" in: %s", words, w->promotion);
}

#define PROMOTE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
