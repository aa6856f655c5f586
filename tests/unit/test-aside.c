/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/aside.h"

#include "rules/util.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* What the loop and the work both change, without a lock. */
struct shared {
	struct event_base *base;
	struct event *tick;
	unsigned steps, turns, ended;
	unsigned seen_apart;
	bool held, inside, went_apart;
};

static void
spend(unsigned ms)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 <
	       (long)ms);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct shared *s = arg;
	const struct timeval soon = { .tv_usec = 500 };

	(void)fd;
	(void)what;
	assert_false(s->inside);
	s->turns++;
	if (s->turns > 3)
		s->held = false;
	if (s->ended == 0)
		evtimer_add(s->tick, &soon);
}

static void
done(void *arg)
{
	struct shared *s = arg;

	s->ended++;
}

static struct shared *
start(void)
{
	static struct shared s;
	const struct timeval now = { 0 };

	s = (struct shared){ .base = event_base_new() };
	assert_non_null(s.base);
	s.tick = evtimer_new(s.base, on_tick, &s);
	evtimer_add(s.tick, &now);
	return &s;
}

static void
stop(struct shared *s)
{
	event_free(s->tick);
	event_base_free(s->base);
}

static void
work_long(void *arg)
{
	struct shared *s = arg;

	for (unsigned i = 0; i < 40; i++) {
		s->inside = true;
		spend(2);
		s->steps++;
		s->inside = false;
		aside_pause();
	}
}

static void
the_loop_has_its_turns_and_never_in_the_middle(void **state)
{
	struct shared *s = start();

	(void)state;
	assert_int_equal(aside_start(s->base, work_long, done, s), 0);
	assert_true(s->steps > 0 && s->steps < 40);
	event_base_dispatch(s->base);
	assert_int_equal(s->steps, 40);
	assert_int_equal(s->ended, 1);
	assert_true(s->turns >= 3);
	stop(s);
}

static void
work_short(void *arg)
{
	struct shared *s = arg;

	assert_true(aside_here());
	s->steps++;
	aside_pause();
}

static void
what_is_short_is_over_at_once(void **state)
{
	struct shared *s = start();

	(void)state;
	assert_int_equal(aside_start(s->base, work_short, done, s), 1);
	assert_int_equal(s->steps, 1);
	assert_int_equal(s->ended, 0);
	stop(s);
}

static void
sleep_apart(void *arg)
{
	bool *went = arg;

	assert_false(aside_here());
	usleep(50000);
	*went = true;
}

static void
work_apart(void *arg)
{
	struct shared *s = arg;
	unsigned before = s->turns;

	aside_apart(sleep_apart, &s->went_apart);
	assert_true(s->went_apart && aside_here());
	s->seen_apart = s->turns - before;
}

static void
the_loop_runs_beside_what_is_done_apart(void **state)
{
	struct shared *s = start();

	(void)state;
	assert_int_equal(aside_start(s->base, work_apart, done, s), 0);
	event_base_dispatch(s->base);
	assert_int_equal(s->ended, 1);
	assert_true(s->seen_apart > 0);
	stop(s);
}

static void
work_waiting(void *arg)
{
	struct shared *s = arg;

	aside_wait(&s->held);
	assert_false(s->held);
	s->steps++;
}

static void
it_waits_for_what_the_loop_does(void **state)
{
	struct shared *s = start();

	(void)state;
	s->held = true;
	assert_int_equal(aside_start(s->base, work_waiting, done, s), 0);
	event_base_dispatch(s->base);
	assert_int_equal(s->steps, 1);
	stop(s);
}

static void
several_take_turns(void **state)
{
	struct shared *s = start();

	(void)state;
	assert_int_equal(aside_start(s->base, work_long, done, s), 0);
	assert_int_equal(aside_start(s->base, work_long, done, s), 0);
	while (s->ended < 2)
		event_base_loop(s->base, EVLOOP_ONCE);
	assert_int_equal(s->steps, 80);
	stop(s);
}

static void
the_end_of_the_loop_waits_for_all(void **state)
{
	struct shared *s = start();

	(void)state;
	assert_int_equal(aside_start(s->base, work_long, done, s), 0);
	assert_int_equal(aside_start(s->base, work_apart, done, s), 0);
	aside_finish();
	assert_int_equal(s->ended, 2);
	assert_int_equal(s->steps, 40);
	assert_true(s->went_apart);
	stop(s);
}

static void
without_a_loop_all_is_done_at_once(void **state)
{
	struct shared s = { 0 };

	(void)state;
	assert_int_equal(aside_start(NULL, work_long, done, &s), 1);
	assert_int_equal(s.steps, 40);
	aside_apart(sleep_apart, &s.went_apart);
	assert_true(s.went_apart);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_loop_has_its_turns_and_never_in_the_middle),
		cmocka_unit_test(what_is_short_is_over_at_once),
		cmocka_unit_test(the_loop_runs_beside_what_is_done_apart),
		cmocka_unit_test(it_waits_for_what_the_loop_does),
		cmocka_unit_test(several_take_turns),
		cmocka_unit_test(the_end_of_the_loop_waits_for_all),
		cmocka_unit_test(without_a_loop_all_is_done_at_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
