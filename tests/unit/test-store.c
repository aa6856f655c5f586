/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "store-fixture.h"
#include "daemon/denial.h"
#include "daemon/image.h"
#include "daemon/learn.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "rules/complete.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define HOSTILE "a/\x1b[31m\n../\xff\xfe'\";DROP TABLE edge;--"

static void
put_revision(struct store *s, uint64_t number, const char *text)
{
	struct store_revision rev = { .number = number,
		.time_ns = T0,
		.actor = "uid:0",
		.action = "mode",
		.reason = "\xff",
		.policy_json = text };

	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_put_revision(s, &rev), 0);
	assert_int_equal(store_commit(s), 0);
}

static void
every_field_comes_back(void **state)
{
	const struct edge_decision given = { .reason = (char *)HOSTILE,
		.ticket = (char *)"T-1",
		.approved_by = (char *)"uid:1",
		.decided_ns = T0 + 1,
		.expires_ns = T0 + 2 };
	struct controller *c = ctl_new(*state);
	char id[EDGE_ID_STRLEN], name[PEER_NAME_MAX + 1];
	struct complete_log log = { 0 }, back;
	struct edge_evidence ev;
	struct policy_network net = { .name = strdup("office"), .n_prefixes = 1 };
	struct workload *w;
	struct edge *e;

	memset(name, 0xff, PEER_NAME_MAX);
	name[PEER_NAME_MAX] = '\0';
	w = workload_get(c, HOSTILE);
	assert_non_null(workload_get(c, name));
	assert_non_null(workload_get(c, "host"));
	workload_set_text(&w->project, "a");
	w->mode = MODE_ENFORCE;
	w->direction = WL_INGRESS;
	w->mode_reason = strdup(HOSTILE);
	w->first_seen_ns = 1;
	w->last_seen_ns = UINT64_MAX;
	w->mode_since_ns = 3;
	w->observed_ns = 4;
	w->auto_promoted = w->rolled_back = true;
	w->missed_ns = 5;
	workload_set_text(&w->networks, "shop_default");
	complete_log_mark(&log, 480000, COMPLETE_BEGAN);
	complete_log_mark(&log, 480100, COMPLETE_BROKEN);
	w->log = complete_log_fold(&log);
	w->labels = calloc(1, sizeof(*w->labels));
	w->labels[0] = (struct policy_label){ strdup("scope"), strdup("pci") };
	w->selector = calloc(1, sizeof(*w->selector));
	w->selector[0] = (struct policy_label){ strdup("compose.project"), strdup("a") };
	assert_int_equal(workload_accept(w, "quay.io/a/b"), 0);
	assert_int_equal(workload_accept(w, "sha256:00"), 0);
	w->n_labels = w->n_selector = 1;
	e = ctl_add_edge(c, "workload:" HOSTILE, "workload:host", 443);
	assert_int_equal(edge_decide(c->edges, e, EDGE_DENIED, &given), 0);
	e->flags = EDGE_FLAG_VIA_HOST | EDGE_FLAG_AUTO;
	for (uint32_t i = 0; i < 40; i++) {
		struct edge_observation o = { .key = e->key,
			.tuple = ctl_event(0, FLOW_ANSWERED, "10.0.0.1", "10.0.0.2", 443).tuple,
			.end = i % 2 ? EDGE_END_SOURCE : EDGE_END_DESTINATION,
			.instance = i * 7,
			.time_ns = T0 + i * 3600 * NSEC_PER_SEC,
			.count = 2 };

		o.tuple.src.bytes[3] = (uint8_t)i;
		edge_evidence_add(&e->evidence, &o);
	}
	e->evidence.bytes = EDGE_BYTES_UNKNOWN;
	e->evidence.images[1][0] = 0x0123456789abcdef;
	e->evidence.windows = 7;
	e->evidence.last_window = (uint32_t)(e->evidence.last_seen_ns / COMPLETE_HOUR_NS);
	ev = e->evidence;
	memcpy(id, e->id, sizeof(id));
	net.prefixes = calloc(1, sizeof(struct prefix));
	assert_int_equal(prefix_parse("10.20.0.0/16", &net.prefixes[0]), 0);
	c->networks = malloc(sizeof(net));
	c->networks[0] = net;
	c->n_networks = 1;
	assert_int_equal(flush_evidence(c), 0);
	assert_int_equal(store_begin(c->store), 0);
	assert_int_equal(store_put_networks(c->store, c->networks, 1), 0);
	assert_int_equal(store_commit(c->store), 0);
	put_revision(c->store, 17, "{}");
	ctl_free(c);

	c = ctl_new(*state);
	assert_int_equal(c->n_workloads, 3);
	assert_non_null(workload_find(c, name));
	assert_non_null(workload_find(c, "host"));
	w = workload_find(c, HOSTILE);
	assert_non_null(w);
	assert_string_equal(w->project, "a");
	assert_int_equal(w->mode, MODE_ENFORCE);
	assert_int_equal(w->direction, WL_INGRESS);
	assert_string_equal(w->mode_reason, HOSTILE);
	assert_true(w->first_seen_ns == 1 && w->last_seen_ns == UINT64_MAX);
	assert_true(w->mode_since_ns == 3 && w->observed_ns == 4 && w->auto_promoted);
	assert_true(w->rolled_back && w->missed_ns == 5);
	assert_string_equal(w->networks, "shop_default");
	complete_log_unfold(w->log, &back);
	assert_memory_equal(&back, &log, sizeof(log));
	assert_string_equal(w->labels[0].value, "pci");
	assert_string_equal(w->selector[0].key, "compose.project");
	assert_int_equal(w->n_images, 2);
	assert_string_equal(w->images[0], "quay.io/a/b");
	assert_string_equal(w->images[1], "sha256:00");
	e = edge_table_find_id(c->edges, id);
	assert_non_null(e);
	assert_string_equal(peer_get(c->peers, e->key.from)->name, HOSTILE);
	assert_int_equal(peer_get(c->peers, e->key.to)->kind, PEER_WORKLOAD);
	assert_int_equal(e->state, EDGE_DENIED);
	assert_int_equal(e->flags, EDGE_FLAG_VIA_HOST | EDGE_FLAG_AUTO);
	assert_memory_equal(&e->evidence, &ev, sizeof(ev));
	assert_string_equal(e->decision.reason, HOSTILE);
	assert_string_equal(e->decision.ticket, "T-1");
	assert_string_equal(e->decision.approved_by, "uid:1");
	assert_true(e->decision.decided_ns == T0 + 1 && e->decision.expires_ns == T0 + 2);
	assert_int_equal(c->n_networks, 1);
	assert_string_equal(c->networks[0].name, "office");
	assert_int_equal(c->revision, 17);
	ctl_free(c);
}

static void
any_protocol_number_comes_back(void **state)
{
	struct controller *c = ctl_new(*state);

	for (unsigned p = 0; p < 256; p++) {
		struct edge_key key = {
			.from = c->peer_host, .to = c->peer_internet, .proto = (uint8_t)p
		};
		struct edge *e;

		assert_int_equal(edge_table_add(c->edges, &key, &e), 0);
	}
	assert_int_equal(flush_evidence(c), 0);
	ctl_free(c);
	c = ctl_new(*state);
	assert_int_equal(edge_table_count(c->edges), 256);
	ctl_free(c);
}

static void
denials_come_back_and_evicted_ones_do_not(void **state)
{
	struct controller *c = ctl_new(*state);
	const struct denial *d;
	size_t pos = 0, n = 0;
	char id[EDGE_ID_STRLEN];

	ctl_instance(c, 1, "web", "10.0.0.1");
	for (uint16_t port = 1; port <= 64; port++) {
		struct flow_event ev = ctl_event(1, FLOW_DENIED, "10.0.0.1", "10.9.9.9", port);

		learn_flow(c, &ev);
		ctl_wait(NSEC_PER_SEC);
	}
	assert_int_equal(flush_evidence(c), 0);
	assert_false(denial_unsaved(c->denials));
	for (uint16_t port = 100; port < 110; port++) {
		struct flow_event ev = ctl_event(1, FLOW_AUDITED, "10.0.0.1", "10.9.9.9", port);

		learn_flow(c, &ev);
	}
	assert_true(denial_evicted(c->denials) > 0);
	assert_int_equal(flush_evidence(c), 0);
	while ((d = denial_next(c->denials, &pos)) != NULL)
		n++;
	pos = n - 1;
	d = denial_next(c->denials, &pos);
	memcpy(id, d->id, sizeof(id));
	ctl_free(c);

	c = ctl_new(*state);
	pos = 0;
	while ((d = denial_next(c->denials, &pos)) != NULL)
		n--;
	assert_int_equal(n, 0);
	d = denial_find(c->denials, id);
	assert_non_null(d);
	assert_int_equal(d->kind, FLOW_AUDITED);
	assert_int_equal(d->dir, DIR_EGRESS);
	assert_int_equal(d->count, 1);
	assert_int_equal(d->last.dport, 109);
	assert_int_equal(d->last.sport, 40000);
	assert_false(denial_unsaved(c->denials));
	ctl_free(c);
}

static void
a_state_folder_behind_a_symlink_is_fine(void **state)
{
	char link[128];
	struct store *s;

	snprintf(link, sizeof(link), "%s-link", (char *)*state);
	assert_int_equal(symlink(*state, link), 0);
	s = open_store(link);
	store_close(s);
	unlink(link);
}

static void
a_second_owner_is_refused(void **state)
{
	struct store *s = open_store(*state), *other = NULL;
	struct diag d = { 0 };

	assert_true(store_open(*state, &d, &other) < 0);
	assert_non_null(strstr(d.msg, "locked"));
	put_revision(s, 1, "{}");
	store_close(s);
}

static int
count_revisions(const char *dir, const char *what)
{
	char path[128], sql[128];
	sqlite3_stmt *st;
	sqlite3 *db;
	int n;

	snprintf(path, sizeof(path), "%s/nanoseg.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	snprintf(sql, sizeof(sql), "SELECT count(%s) FROM revision", what);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

static void
old_revisions_do_not_pile_up(void **state)
{
	struct store *s = open_store(*state);
	struct store_revision rev = {
		.time_ns = T0, .actor = "uid:0", .action = "mode", .policy_json = "{}"
	};
	int texts, all;

	assert_int_equal(store_begin(s), 0);
	for (rev.number = 1; rev.number <= 12000; rev.number++)
		assert_int_equal(store_put_revision(s, &rev), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	texts = count_revisions(*state, "policy");
	all = count_revisions(*state, "*");
	assert_true(texts >= 1000 && texts < 1016);
	assert_true(all >= 10000 && all < 10016);
}

static void
revisions_are_listed_newest_first_whatever_their_reason(void **state)
{
	struct store *s = open_store(*state);
	json_t *list;

	put_revision(s, 1, "{}");
	put_revision(s, 2, "{}");
	list = store_revisions(s, 100);
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(
	    json_integer_value(json_object_get(json_array_get(list, 0), "revision")), 2);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(list, 0), "reason")), "\\xff");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "time")),
	    "2027-01-15T08:00:00Z");
	json_decref(list);
	store_close(s);
}

static void
a_change_that_finds_the_disk_full_leaves_all_as_it_was(void **state)
{
	const struct actor who = { .name = "uid:0" };
	struct rlimit limit, old;
	struct controller *c;
	struct mode_change change = { .mode = MODE_ENFORCE, .direction = WL_BOTH };
	struct diag d = { 0 };
	struct stat st;
	char path[128], id[EDGE_ID_STRLEN], big[500];
	const char *ids[] = { id };
	struct edge_decision given = { .reason = big };
	size_t changed = 99;
	struct edge *e;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	fill(*state);
	c = ctl_new(*state);
	change.workload = workload_get(c, "web");
	assert_int_equal(flush_evidence(c), 0);
	e = ctl_edge(c, "web", "api", 7);
	memcpy(id, e->id, sizeof(id));
	snprintf(path, sizeof(path), "%s/nanoseg.db-wal", (char *)*state);
	assert_int_equal(stat(path, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = (rlim_t)st.st_size + 512;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_true(segment_decide(c, ids, 1, EDGE_APPROVED, &given, &who, &d, &changed) < 0);
	assert_non_null(strstr(d.msg, "nothing is changed"));
	assert_true(segment_set_modes(c, &change, 1, 0, "r", &who, &d) < 0);
	e->dirty = true;
	assert_true(flush_evidence(c) < 0);
	assert_true(e->dirty);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(e->state, EDGE_PENDING);
	assert_null(e->decision.reason);
	assert_int_equal(changed, 99);
	assert_int_equal(c->revision, 0);
	assert_int_equal(c->policy->n_edges, 0);
	assert_int_equal(change.workload->mode, MODE_OBSERVE);
	assert_null(change.workload->mode_reason);
	/* With room again, the next change goes through, and is alone in the store. */
	assert_int_equal(segment_set_modes(c, &change, 1, 0, "r", &who, &d), 0);
	ctl_free(c);
	c = ctl_new(*state);
	assert_int_equal(c->revision, 1);
	assert_int_equal(ctl_edge(c, "web", "api", 7)->state, EDGE_PENDING);
	assert_int_equal(workload_find(c, "web")->mode, MODE_ENFORCE);
	ctl_free(c);
}

static void
what_was_acknowledged_survives_a_kill(void **state)
{
	for (unsigned round = 0; round < 5; round++) {
		uint64_t acked = 0, n;
		struct controller *c;
		int pipes[2];
		pid_t pid;

		assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			const struct actor who = { .name = "uid:0" };
			struct diag d;

			c = ctl_new(*state);
			for (;;) {
				struct mode_change m = { workload_get(c, "web"),
					(enum wl_mode)((c->revision + 1) % 3), WL_BOTH };

				if (segment_set_modes(c, &m, 1, 0, "r", &who, &d) < 0 ||
				    write(pipes[1], &c->revision, 8) != 8)
					_exit(1);
			}
		}
		close(pipes[1]);
		for (unsigned i = 0; i < 20 + round * 3 && read(pipes[0], &n, 8) == 8; i++)
			acked = n;
		kill(pid, SIGKILL);
		while (read(pipes[0], &n, 8) == 8)
			acked = n;
		close(pipes[0]);
		waitpid(pid, NULL, 0);
		assert_true(acked >= 20);
		c = ctl_new(*state);
		assert_true(c->revision >= acked);
		assert_int_equal(workload_find(c, "web")->mode, c->revision % 3);
		ctl_free(c);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(every_field_comes_back),
		STORE_TEST(any_protocol_number_comes_back),
		STORE_TEST(denials_come_back_and_evicted_ones_do_not),
		STORE_TEST(a_state_folder_behind_a_symlink_is_fine),
		STORE_TEST(a_second_owner_is_refused),
		STORE_TEST(old_revisions_do_not_pile_up),
		STORE_TEST(revisions_are_listed_newest_first_whatever_their_reason),
		STORE_TEST(a_change_that_finds_the_disk_full_leaves_all_as_it_was),
		STORE_TEST(what_was_acknowledged_survives_a_kill),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
