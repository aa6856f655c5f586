/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An address changes hands, and the news of it come in every order.
 *
 * p is the peer of everyone. a has the address X and approved edges to and from p; then X is b's,
 * who has edges of his own. What is told of it comes from several sources: the warden, the sockets
 * of each namespace, the engine. Each source keeps its own order, and no order holds between them.
 * Every interleaving is replayed from the start, with a warden that applies what it is sent; after
 * every step:
 *
 *  - a namespace's rules name X by an edge of a only while a alone is known to have X, and the same
 *    of b; one that two have is in no rule;
 *  - b's own namespace has no rule of a's edges, nor a's of b's;
 *  - no connection or refusal of a's time is b's, and none of b's is a's. The port tells whose it
 * is.
 *
 * At the end b's address is in the rules of b's edges, and its connections are its own.
 *
 * Where the daemon was away, rules of its first life stand when the order begins. They may name X
 * by an edge of a until it can be known that a is gone: with its word of who was where until all
 * that live are announced, without until everybody is known. What they have of l, who lives on, is
 * never lost.
 */
#include "reuse-begin.h"

static unsigned long replayed, orders;
static unsigned long every = 20; /* of the orders one is replayed */

struct event {
	char source;
	const char *name;
	void (*fn)(void);
	const char *after; /* sources that have to be through, as the kernel's order has it */
};

struct scenario {
	void (*begin)(void);
	const char *b_name;
	struct event events[MAX_EVENTS];
};

static size_t
count_events(const struct scenario *s)
{
	size_t n = 0;

	while (n < MAX_EVENTS && s->events[n].fn != NULL)
		n++;
	return n;
}

static void
step(const struct event *e)
{
	size_t len = strlen(order);

	snprintf(order + len, sizeof(order) - len, " %s", e->name);
	e->fn();
	ctl_wait(NSEC_PER_MSEC);
	reconcile();
	check();
}

/* All of it is known, and nothing is under way. */
static void
check_end(void)
{
	const uint64_t netns = b_in_as_namespace ? A : B;
	const struct event later = { 'T', "later", ev_time, NULL };
	struct edge *e;

	step(&later);
	assert_int_equal(c->n_waiting, 0);
	if (b_is_host)
		return;
	flow(P, FLOW_ANSWERED, X, PEER, NEW_FROM_X, 0);
	flow(netns, FLOW_ANSWERED, X, PEER, NEW_FROM_X, 0);
	check();
	e = ctl_edge(c, b_name, "p", NEW_FROM_X);
	if (e == NULL || e->evidence.connections_destination == 0)
		fail_msg("b's connection is not b's,%s", order);
	if (strcmp(b_name, "b") == 0 &&
	    (!rules_have_x(P, number_of[2]) || !rules_have_x(P, number_of[3])))
		fail_msg("b's edges are not in force,%s", order);
}

static void
replay(const struct scenario *s, const uint8_t *seq, size_t n)
{
	b_name = s->b_name;
	order[0] = '\0';
	s->begin();
	on_sent = warden;
	for (size_t k = 0; k < n; k++)
		step(&s->events[seq[k]]);
	check_end();
	end_world();
	replayed++;
}

/* The next of its source, and nothing it waits for is left. */
static bool
may_come(const struct scenario *s, size_t n, unsigned done, size_t k)
{
	if ((done & 1u << k) != 0)
		return false;
	for (size_t other = 0; other < n; other++) {
		const struct event *e = &s->events[other];

		if ((done & 1u << other) != 0 || other == k)
			continue;
		if ((e->source == s->events[k].source && other < k) ||
		    (s->events[k].after != NULL && strchr(s->events[k].after, e->source) != NULL))
			return false;
	}
	return true;
}

static void
replay_from(const struct scenario *s, size_t n, unsigned done, uint8_t *seq, size_t at)
{
	if (at == n) {
		/* By a hash: every prefix and every pair of neighbours is met. */
		if (hash_mix64(++orders) % every == 0)
			replay(s, seq, n);
		return;
	}
	for (size_t k = 0; k < n; k++) {
		if (!may_come(s, n, done, k))
			continue;
		seq[at] = (uint8_t)k;
		replay_from(s, n, done | 1u << k, seq, at + 1);
	}
}

static void
replay_all(const struct scenario *s)
{
	unsigned long before = replayed;
	uint8_t seq[MAX_EVENTS];

	on_sent = warden;
	replay_from(s, count_events(s), 0, seq, 0);
	on_sent = NULL;
	assert_true(replayed > before);
}

static void
the_next_container_has_the_address(void **state)
{
	static const struct scenario s = { begin, "b",
		{
		    { 'a', "a-loses-x", ev_a_loses_x, NULL },
		    { 'w', "a-gone", ev_a_gone, NULL },
		    { 'w', "b-file", ev_b_file, NULL },
		    { 'w', "b-process", ev_b_process, NULL },
		    { 'x', "b-attached", ev_b_attached, "w" },
		    { 'x', "b-has-x", ev_b_has_x, NULL },
		    { 'd', "engine-a-gone", ev_a_gone_from_engine, NULL },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 'p', "old-from-x", ev_old_from_x, NULL },
		} };

	replay_all(&s);
}

static void
its_own_connections_come_at_any_time(void **state)
{
	static const struct scenario s = { begin, "b",
		{
		    { 'a', "a-loses-x", ev_a_loses_x, NULL },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 'p', "new-in-p", ev_new_in_p, "a" },
		    { 'w', "b-known", ev_b_all_known, NULL },
		    { 'w', "a-gone", ev_a_gone, NULL },
		    { 'x', "b-has-x", ev_b_has_x, "w" },
		    { 'y', "new-in-b", ev_new_in_b, "w" },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 'd', "engine-a-gone", ev_a_gone_from_engine, NULL },
		    { 'r', "policy", ev_policy, NULL },
		} };

	replay_all(&s);
}

static void
its_news_come_before_the_end_of_the_other(void **state)
{
	static const struct scenario s = { begin, "b",
		{
		    { 'w', "b-file", ev_b_file, NULL },
		    { 'w', "b-process", ev_b_process, NULL },
		    { 'v', "a-gone", ev_a_gone, NULL },
		    { 'x', "b-attached", ev_b_attached, "w" },
		    { 'x', "b-has-x", ev_b_has_x, NULL },
		    { 'y', "new-in-b", ev_new_in_b, "x" },
		    { 'q', "new-in-p", ev_new_in_p, "x" },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 'p', "old-from-x", ev_old_from_x, NULL },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 't', "time", ev_time, "p" },
		} };

	replay_all(&s);
}

static void
the_next_container_is_of_no_engine(void **state)
{
	static const struct scenario s = { begin, "bbbbbbbbbbbb",
		{
		    { 'a', "a-loses-x", ev_a_loses_x, NULL },
		    { 'w', "a-gone", ev_a_gone, NULL },
		    { 'w', "b-file", ev_b_file, NULL },
		    { 'w', "b-process", ev_b_process, NULL },
		    { 'x', "b-attached", ev_b_attached, "w" },
		    { 'x', "b-has-x", ev_b_has_x, NULL },
		    { 'y', "new-in-b", ev_new_in_b, "x" },
		    { 'q', "new-in-p", ev_new_in_p, "a" },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 't', "time", ev_time, "p" },
		} };

	replay_all(&s);
}

static void
the_host_takes_the_address(void **state)
{
	static const struct scenario s = { begin_with_host, "host",
		{
		    { 'a', "a-loses-x", ev_a_loses_x, NULL },
		    { 'w', "a-gone", ev_a_gone, NULL },
		    { 'h', "host-has-x", ev_host_has_x, NULL },
		    { 'd', "engine-a-gone", ev_a_gone_from_engine, NULL },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 'p', "old-from-x", ev_old_from_x, NULL },
		    { 'q', "new-in-p", ev_new_in_p, "a" },
		    { 'r', "policy", ev_policy, NULL },
		} };

	replay_all(&s);
}

static void
the_first_comes_back_elsewhere(void **state)
{
	static const struct scenario s = { begin, "b",
		{
		    { 'a', "a-loses-x", ev_a_loses_x, NULL },
		    { 'w', "a-gone", ev_a_gone, NULL },
		    { 'w', "b-known", ev_b_all_known, NULL },
		    { 'z', "a-elsewhere", ev_a_elsewhere, NULL },
		    { 'x', "b-has-x", ev_b_has_x, "w" },
		    { 'y', "new-in-b", ev_new_in_b, "w" },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 'p', "old-from-x", ev_old_from_x, NULL },
		    { 'q', "new-in-p", ev_new_in_p, "a" },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		} };

	replay_all(&s);
}

static void
two_that_live_change_networks(void **state)
{
	static const struct scenario s = { begin_both, "b",
		{
		    { 'a', "a-loses-x", ev_a_loses_x, NULL },
		    { 'x', "b-has-x", ev_b_has_x, NULL },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 'p', "old-from-x", ev_old_from_x, NULL },
		    { 'q', "new-in-p", ev_new_in_p, "a" },
		    { 'y', "new-in-b", ev_new_in_b, "x" },
		    { 'd', "engine-a", ev_a_gone_from_engine, NULL },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 'r', "policy", ev_policy, NULL },
		} };

	replay_all(&s);
}

static void
the_next_container_is_in_the_same_namespace(void **state)
{
	static const struct scenario s = { begin_shared, "b",
		{
		    { 'w', "b-in-it", ev_b_in_as_namespace, NULL },
		    { 'y', "new-in-b", ev_new_in_b, "w" },
		    { 'q', "new-in-p", ev_new_in_p, "w" },
		    { 'd', "engine-a-gone", ev_a_gone_from_engine, NULL },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 'p', "old-to-x", ev_old_to_x, NULL },
		    { 'o', "old-in-a", ev_old_in_a, NULL },
		    { 't', "time", ev_time, "po" },
		} };

	replay_all(&s);
}

static void
it_all_happened_while_the_daemon_was_away(void **state)
{
	static const struct scenario s = { begin_stopped, "b",
		{
		    { 'p', "p", ev_p_found, NULL },
		    { 'q', "p-attached", ev_p_attached, "p" },
		    { 'q', "p-dumped", ev_p_dumped, NULL },
		    { 'b', "b-known", ev_b_process, NULL },
		    { 'x', "b-attached", ev_b_attached, "b" },
		    { 'x', "b-has-x", ev_b_has_x, NULL },
		    { 'z', "a-elsewhere", ev_a_elsewhere, NULL },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 's', "scanned", ev_scanned, "pbz" },
		} };

	replay_all(&s);
}

static void
rules_of_before_are_made_anew_without_the_dead(void **state)
{
	static const struct scenario s = { begin_away_with_places, "b",
		{
		    { 'p', "p", ev_p_back, NULL },
		    { 'q', "p-attached", ev_p_attached, "p" },
		    { 'e', "engine-p", ev_p_from_engine, NULL },
		    { 'l', "l", ev_l_back, NULL },
		    { 'f', "engine-l", ev_l_from_engine, NULL },
		    { 'b', "b-known", ev_b_process, NULL },
		    { 'x', "b-has-x", ev_b_back, "b" },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 's', "scanned", ev_scanned, "pl" },
		} };

	replay_all(&s);
}

static void
without_word_of_before_once_everybody_is_known(void **state)
{
	static const struct scenario s = { begin_away_a_dies, "b",
		{
		    { 'p', "p", ev_p_back_and_told, NULL },
		    { 'q', "p-attached", ev_p_attached, "p" },
		    { 'l', "l", ev_l_back, NULL },
		    { 'f', "engine-l", ev_l_from_engine, NULL },
		    { 'b', "b-known", ev_b_process, NULL },
		    { 'x', "b-has-x", ev_b_back, "b" },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 's', "scanned", ev_scanned, "pl" },
		} };

	replay_all(&s);
}

static void
the_next_container_found_in_the_same_namespace(void **state)
{
	static const struct scenario s = { begin_away_shared, "b",
		{
		    { 'p', "p", ev_p_back, NULL },
		    { 'q', "p-attached", ev_p_attached, "p" },
		    { 'e', "engine-p", ev_p_from_engine, NULL },
		    { 'l', "l", ev_l_back, NULL },
		    { 'f', "engine-l", ev_l_from_engine, NULL },
		    { 'b', "b-in-it", ev_b_in_as_namespace, NULL },
		    { 'x', "b-attached", ev_b_attached_in_as_namespace, "b" },
		    { 'd', "engine-b", ev_b_from_engine, NULL },
		    { 's', "scanned", ev_scanned, "plb" },
		} };

	replay_all(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_next_container_has_the_address),
		cmocka_unit_test(its_own_connections_come_at_any_time),
		cmocka_unit_test(its_news_come_before_the_end_of_the_other),
		cmocka_unit_test(the_next_container_is_of_no_engine),
		cmocka_unit_test(the_host_takes_the_address),
		cmocka_unit_test(the_first_comes_back_elsewhere),
		cmocka_unit_test(two_that_live_change_networks),
		cmocka_unit_test(the_next_container_is_in_the_same_namespace),
		cmocka_unit_test(it_all_happened_while_the_daemon_was_away),
		cmocka_unit_test(rules_of_before_are_made_anew_without_the_dead),
		cmocka_unit_test(without_word_of_before_once_everybody_is_known),
		cmocka_unit_test(the_next_container_found_in_the_same_namespace),
	};
	const char *text = getenv("REUSE_EVERY");
	int failed;

	if (text != NULL)
		every = MAX(strtoul(text, NULL, 10), 1ul);
	ctl_tmpdir(state_dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	ctl_rmdir(state_dir);
	printf("# %lu of %lu orders replayed\n", replayed, orders);
	return failed;
}
