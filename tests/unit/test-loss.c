/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nothing is lost in silence: whatever the source, the hour of whom it hit is marked, and the
 * source named. A source without its case here fails.
 */
#include "promote-fixture.h"

#include "daemon/aggregate.h"
#include "daemon/aggregate_internal.h"
#include "daemon/observe.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define WEB 1
#define STRANGER 77

int __wrap_ct_recv_events(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn,
    void *arg, struct ct_recv_stats *stats);
int __wrap_ct_recv(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn,
    void *arg, struct ct_recv_stats *stats, bool *ret_done, int *ret_error);
int __wrap_rtnl_watch_new(int sock, struct rtnl_watch **ret);
int __wrap_rtnl_watch_fd(const struct rtnl_watch *w);
int __wrap_rtnl_watch_read(struct rtnl_watch *w);

static unsigned overruns, dumps;
static int events_end;		   /* of the socket that open_dump() gives for events */
static int dump_result;		   /* of the next part: 0: it is the last */
static struct rtnl_watch *watched; /* the fixture's addresses */
static int watched_fd;

int
__wrap_ct_recv_events(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn,
    void *arg, struct ct_recv_stats *stats)
{
	if (overruns == 0)
		return 0;
	overruns--;
	stats->overruns++;
	return -ENOBUFS;
}

int
__wrap_ct_recv(int sock, void *buf, size_t size, unsigned max_messages, ct_entry_fn fn, void *arg,
    struct ct_recv_stats *stats, bool *ret_done, int *ret_error)
{
	*ret_done = recv(sock, buf, size, MSG_DONTWAIT) > 0;
	*ret_error = dump_result;
	return 0;
}

int
__wrap_rtnl_watch_new(int sock, struct rtnl_watch **ret)
{
	watched_fd = sock;
	*ret = watched;
	return 0;
}

int
__wrap_rtnl_watch_fd(const struct rtnl_watch *w)
{
	return watched_fd;
}

int
__wrap_rtnl_watch_read(struct rtnl_watch *w)
{
	return 0;
}

static struct instance *
web_of(struct controller *c)
{
	return instance_find(c, WEB);
}

static void
lose_events(struct controller *c)
{
	overruns = 1;
	observe_drain(web_of(c));
}

static void
lose_counters(struct controller *c)
{
	struct instance *web = web_of(c);

	aggregate_start(web);
	aggregate_table_lost(web->aggregate, -ENOENT);
	aggregate_stop(web);
	aggregate_forget(c, WEB);
}

static void
lose_end(struct controller *c)
{
	struct instance *web = web_of(c);

	aggregate_start(web);
	web->aggregate->state = STATE_ON;
	aggregate_stop(web);
	aggregate_forget(c, WEB);
}

static void
lose_in_table(struct controller *c)
{
	const struct w_ct_stats s = { .cookie = WEB, .count = 1, .max = 100, .dropped = 3 };

	instance_on_ct_stats(web_of(c), &s);
}

/* No room for who it talks to. */
static void
lose_unidentified(struct controller *c)
{
	struct flow_event ev = ctl_event(WEB, FLOW_ANSWERED, "10.0.0.1", "10.99.0.1", 80);

	c->config->max_edges = 1;
	learn_flow(c, &ev);
}

static void
lose_edges(struct controller *c)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

	for (unsigned i = 0; i < 6 * 1000; i++) {
		const char *src = i % 2 == 0 ? "10.0.0.1" : "10.0.0.2";
		const char *dst = i % 2 == 0 ? "10.0.0.2" : "10.0.0.1";
		struct flow_event ev =
		    ctl_event(1 + i % 2, FLOW_ANSWERED, src, dst, (uint16_t)(1 + i / 6));

		ev.tuple.proto = protos[i / 2 % 3];
		learn_flow(c, &ev);
	}
}

static void
tell_lost(struct controller *c, uint64_t cookie, uint64_t reports, uint64_t answers)
{
	const struct cap_lost l[] = { { STRANGER, 5, 5 }, { cookie, reports, answers } };
	struct msg m = { .h = { .body_len = sizeof(l) }, .body = (const uint8_t *)l };

	complete_on_reports_lost(c, &m);
}

static void
lose_reports(struct controller *c)
{
	tell_lost(c, WEB, 3, 0);
}

static void
lose_names(struct controller *c)
{
	tell_lost(c, WEB, 0, 1);
}

static void
lose_dump(struct controller *c)
{
	const struct w_done refused = { .cookie = WEB, .error = -EPERM };
	struct instance *web = web_of(c);

	web->dump_fd = dup(STDIN_FILENO);
	assert_int_equal(observe_dump(web), 0);
	observe_on_dump_asked(c, &refused);
}

static void
lose_start(struct controller *c)
{
	struct instance *i;

	i = ctl_instance(c, 4, "web", "10.0.0.4");
	i->ns.began_ns = fake_mono;
	ctl_wait(NSEC_PER_SEC);
	i->attached_ns = fake_mono;
	i->start_counted = true;
	instance_tick(c);
}

static void
lose_attach(struct controller *c)
{
	web_of(c)->attach = ATTACH_FAILED;
	web_of(c)->attach_retry_ns = UINT64_MAX;
	instance_tick(c);
}

static const struct {
	void (*lose)(struct controller *c);
	const char *name;
	bool both_ends;
} sources[LOSS_SOURCES] = {
	[LOSS_EVENTS] = { lose_events, "events", false },
	[LOSS_COUNTERS] = { lose_counters, "counters", false },
	[LOSS_TABLE] = { lose_in_table, "conntrackTable", false },
	[LOSS_UNIDENTIFIED] = { lose_unidentified, "unidentified", false },
	[LOSS_EDGES] = { lose_edges, "edgeTable", true },
	[LOSS_END] = { lose_end, "end", false },
	[LOSS_REPORTS] = { lose_reports, "reports", false },
	[LOSS_NAMES] = { lose_names, "names", false },
	[LOSS_DUMP] = { lose_dump, "dump", false },
	[LOSS_START] = { lose_start, "lateStart", false },
	[LOSS_ATTACH] = { lose_attach, "notAttached", false },
};

static unsigned
broken(struct ctl_fixture *f, const char *name)
{
	assert_int_equal(complete_update(f->c, 0), 0);
	return wl(f, name)->complete.incomplete_windows;
}

static void
each_source_marks_the_hour_of_whom_it_hit_and_is_named(void **state)
{
	for (unsigned k = 0; k < LOSS_SOURCES; k++) {
		struct ctl_fixture *f;
		struct workload *web, *api;
		json_t *names;

		setup(state);
		f = *state;
		web = wl(f, "web");
		api = wl(f, "api");
		assert_non_null(sources[k].lose);
		assert_int_equal(broken(f, "web"), 0);
		sources[k].lose(f->c);
		if (web->loss_sources != 1u << k)
			fail_msg("%s: sources %x", sources[k].name, web->loss_sources);
		assert_int_equal(api->loss_sources, sources[k].both_ends ? 1u << k : 0);
		names = complete_losses(web);
		assert_string_equal(json_string_value(json_array_get(names, 0)), sources[k].name);
		json_decref(names);
		ctl_wait(HOUR);
		assert_int_equal(broken(f, "web"), 1);
		assert_int_equal(broken(f, "api"), sources[k].both_ends);
		teardown(state);
	}
}

/* Counters are read every ten seconds: what they say may be of the hour before. */
static void
what_is_noticed_late_marks_the_hour_before_too(void **state)
{
	static const struct {
		enum loss_source source;
		unsigned after_s, hours;
	} cases[] = {
		{ LOSS_TABLE, 10, 2 },
		{ LOSS_TABLE, 20, 1 },
		{ LOSS_REPORTS, 1, 2 },
		{ LOSS_REPORTS, 5, 1 },
		{ LOSS_UNIDENTIFIED, 14, 2 },
		{ LOSS_COUNTERS, 11, 2 },
		{ LOSS_EDGES, 0, 1 },
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct ctl_fixture *f;

		setup(state);
		f = *state;
		ctl_wait(HOUR - fake_now % HOUR + cases[k].after_s * NSEC_PER_SEC);
		sources[cases[k].source].lose(f->c);
		ctl_wait(HOUR);
		assert_int_equal(broken(f, "web"), cases[k].hours);
		assert_int_equal(broken(f, "api"), cases[k].source == LOSS_EDGES);
		teardown(state);
	}
}

/* Before it was there it has lost nothing. */
static void
but_no_hour_before_its_first(void **state)
{
	struct ctl_fixture *f = *state;
	const struct w_ct_stats s = { .cookie = 4, .count = 1, .max = 100, .dropped = 3 };

	ctl_wait(HOUR - fake_now % HOUR + 2 * NSEC_PER_SEC);
	ctl_instance(f->c, 4, "young", "10.0.0.4");
	ctl_wait(3 * NSEC_PER_SEC);
	instance_on_ct_stats(instance_find(f->c, 4), &s);
	ctl_wait(HOUR);
	assert_int_equal(broken(f, "young"), 1);
	assert_int_equal(wl(f, "young")->complete.windows, 0);
}

static void
lost_reports_are_counted_for_whom_they_hit(void **state)
{
	struct ctl_fixture *f = *state;
	struct instance *web = web_of(f->c);

	tell_lost(f->c, WEB, 3, 4);
	tell_lost(f->c, WEB, 0, 0);
	assert_int_equal(web->lost_packets, 7);
	assert_int_equal(instance_find(f->c, 2)->lost_packets, 0);
	/* Whoever parses packets may say anything. */
	tell_lost(f->c, WEB, UINT64_MAX, UINT64_MAX);
	assert_int_equal(web->lost_packets, 7 + 2ULL * UINT32_MAX);
	/* They stay with the workload. */
	instance_on_netns_gone(f->c, WEB);
	assert_int_equal(wl(f, "web")->lost_packets, 7 + 2ULL * UINT32_MAX);
}

static void
count_dumps(uint16_t type, uint32_t seq, const void *body, size_t len)
{
	dumps += type == MSG_W_CT_DUMP;
}

/* The instance with sockets, and one end of that of its dumps. */
static int
open_dump(struct controller *c, struct instance *i)
{
	struct msg m = { .n_fds = 4 };
	int ends[3][2];

	c->loop.base = event_base_new();
	assert_non_null(c->loop.base);
	assert_int_equal(observe_new(c), 0);
	for (unsigned k = 0; k < 3; k++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends[k]), 0);
		m.fds[k] = ends[k][0];
	}
	m.fds[3] = -1;
	events_end = ends[0][1];
	watched = i->addrs;
	on_sent = count_dumps;
	dumps = 0;
	assert_int_equal(observe_start(i, &m), 0);
	close(ends[2][0]);
	close(ends[2][1]);
	return ends[1][1];
}

/* What is left of that once it is stopped. */
static void
close_dump(struct controller *c, int fd)
{
	close(events_end);
	event_free(c->ev_told);
	event_free(c->ev_drain);
	close(c->told_fd);
	event_base_free(c->loop.base);
	close(fd);
}

/* The part that ends it. */
static void
end_dump(struct controller *c, int fd, int error)
{
	dump_result = error;
	assert_int_equal(send(fd, "x", 1, 0), 1);
	event_base_loop(c->loop.base, EVLOOP_NONBLOCK);
}

static unsigned
seconds_until_a_dump(struct controller *c)
{
	unsigned before = dumps, s = 0;

	for (; dumps == before && s < 200; s++) {
		ctl_wait(NSEC_PER_SEC);
		instance_tick(c);
	}
	return s;
}

static void
a_dump_that_fails_is_repeated_and_until_one_comes_through_nothing_is_known(void **state)
{
	static const unsigned waits[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct instance *web = web_of(c);
	struct epoll_event told;
	int fd = open_dump(c, web), other;

	/* At the attach. */
	assert_int_equal(dumps, 1);
	for (unsigned k = 0; k < ARRAY_SIZE(waits); k++) {
		end_dump(c, fd, k % 2 == 0 ? -EBUSY : -ENOMEM);
		assert_int_equal(wl(f, "web")->loss_sources, 1u << LOSS_DUMP);
		assert_int_equal(web->dumped_whole_ns, 0);
		assert_int_equal(seconds_until_a_dump(c), MAX(waits[k], k == 0 ? 1u : 5u));
	}
	/* Hours later it is still not known. */
	end_dump(c, fd, -EBUSY);
	ctl_wait(HOUR);
	send_error = -ENOTCONN;
	instance_tick(c);
	ctl_wait(HOUR);
	assert_int_equal(broken(f, "web"), 2);
	assert_int_equal(broken(f, "api"), 0);
	send_error = 0;
	assert_true(seconds_until_a_dump(c) <= 60);
	end_dump(c, fd, 0);
	assert_true(web->dumped_whole_ns != 0);
	ctl_wait(HOUR);
	instance_tick(c);
	ctl_wait(HOUR);
	instance_tick(c);
	assert_int_equal(broken(f, "web"), 3);
	assert_int_equal(seconds_until_a_dump(c), 200);
	on_sent = NULL;
	/* Whoever else has its socket does not keep it in the watch. */
	other = dup(web->ct_fd);
	assert_int_equal(send(events_end, "x", 1, 0), 1);
	assert_int_equal(epoll_wait(c->told_fd, &told, 1, 0), 1);
	observe_stop(web);
	assert_int_equal(send(events_end, "x", 1, 0), 1);
	assert_int_equal(epoll_wait(c->told_fd, &told, 1, 0), 0);
	close(other);
	aggregate_forget(c, WEB);
	close_dump(c, fd);
}

static void
learn_from(struct controller *c, const char *src, const char *dst)
{
	struct flow_event ev = ctl_event(WEB, FLOW_ANSWERED, src, dst, 80);

	learn_flow(c, &ev);
}

/* Whose connection it is, is not known then: it may be a translation that was lost. */
static void
a_translation_that_the_host_may_have_lost_is_a_loss_of_whom_it_was_for(void **state)
{
	struct ctl_fixture *f = *state;
	struct controller *c = f->c;
	struct instance *host = ctl_instance(c, 19, "gateway", "10.0.0.253");
	int fd;

	host->is_host = true;
	c->host = host;
	fd = open_dump(c, host);
	end_dump(c, fd, 0);
	learn_from(c, "10.0.0.253", "10.0.0.1");
	learn_from(c, "10.0.0.1", "192.0.2.1");
	assert_int_equal(wl(f, "web")->loss_sources, 0);

	ctl_wait(10 * NSEC_PER_SEC);
	overruns = 1;
	observe_drain(host);
	/* Two workloads that know each other need none. */
	learn_from(c, "10.0.0.1", "10.0.0.2");
	assert_int_equal(wl(f, "web")->loss_sources, 0);
	learn_from(c, "10.0.0.1", "192.0.2.1");
	assert_int_equal(wl(f, "web")->loss_sources, 1u << LOSS_EVENTS);
	assert_int_equal(wl(f, "api")->loss_sources, 0);
	wl(f, "web")->loss_sources = 0;
	learn_from(c, "10.0.0.253", "10.0.0.1");
	assert_int_equal(wl(f, "web")->loss_sources, 1u << LOSS_EVENTS);

	/* With its table read again it is known. */
	wl(f, "web")->loss_sources = 0;
	end_dump(c, fd, 0);
	learn_from(c, "10.0.0.1", "192.0.2.1");
	assert_int_equal(wl(f, "web")->loss_sources, 0);

	on_sent = NULL;
	observe_stop(host);
	host->is_host = false;
	c->host = NULL;
	aggregate_forget(c, host->ns.cookie);
	close_dump(c, fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_source_marks_the_hour_of_whom_it_hit_and_is_named),
		cmocka_unit_test(what_is_noticed_late_marks_the_hour_before_too),
		PROMOTE_TEST(but_no_hour_before_its_first),
		PROMOTE_TEST(lost_reports_are_counted_for_whom_they_hit),
		PROMOTE_TEST(
		    a_dump_that_fails_is_repeated_and_until_one_comes_through_nothing_is_known),
		PROMOTE_TEST(
		    a_translation_that_the_host_may_have_lost_is_a_loss_of_whom_it_was_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
