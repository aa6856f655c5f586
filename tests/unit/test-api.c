/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The API over its real socket. Callers are children; as root they take other users and groups. */
#include "ctl-fixture.h"
#include "daemon/alert.h"
#include "daemon/api.h"
#include "daemon/history.h"
#include "daemon/learn.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/start.h"
#include "netlink/nft_internal.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NOBODY 65534
#define MAX_ANSWER (1u << 20)

struct fixture {
	char dir[64], path[80];
	struct controller *c;
	int status;
	char *answer;
};

static char *
group_name(gid_t gid)
{
	const struct group *g = getgrgid(gid);

	return g != NULL ? strdup(g->gr_name) : NULL;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct config *k;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	f->c = ctl_new(ctl_tmpdir(f->dir));
	assert_int_equal(history_new(f->c, &f->c->history), 0);
	assert_int_equal(alert_spool_new(1, 0, &f->c->alert_spool), 0);
	k = f->c->config;
	free(k->reviewer_groups);
	free(k->admin_groups);
	k->reviewer_groups = calloc(1, sizeof(char *));
	k->admin_groups = calloc(1, sizeof(char *));
	k->reviewer_groups[0] = group_name(100);
	k->admin_groups[0] = group_name(60);
	k->n_reviewer_groups = k->n_admin_groups = 1;
	assert_non_null(k->reviewer_groups[0]);
	assert_non_null(k->admin_groups[0]);
	f->c->loop.base = event_base_new();
	snprintf(f->c->args.instance, sizeof(f->c->args.instance), "test");
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	memcpy(a.sun_path, f->path, strlen(f->path) + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(chmod(f->path, 0777), 0);
	assert_int_equal(api_new(f->c, &f->c->api), 0);
	assert_int_equal(api_listen(f->c->api, fd), 0);
	f->answer = malloc(MAX_ANSWER);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	api_free(f->c->api);
	event_base_free(f->c->loop.base);
	f->c->api = NULL;
	alert_spool_free(f->c->alert_spool);
	ctl_free(f->c);
	unlink(f->path);
	ctl_rmdir(f->dir);
	free(f->answer);
	free(f);
	return 0;
}

static void
become(enum api_role role)
{
	gid_t group = role == API_REVIEWER ? 100 : 60;

	if (geteuid() != 0)
		return;
	if (setgroups(role == API_VIEWER ? 0 : 1, &group) < 0 || setgid(NOBODY) < 0 ||
	    setuid(NOBODY) < 0)
		_exit(1);
}

/* What the caller writes and then reads, to the end. */
static void
call(const struct fixture *f, enum api_role role, const char *text, size_t len, int out)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char buf[4096];
	ssize_t n;

	alarm(20);
	become(role);
	memcpy(a.sun_path, f->path, strlen(f->path) + 1);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		_exit(1);
	while (len > 0 && (n = send(fd, text, len, MSG_NOSIGNAL)) > 0) {
		text += n;
		len -= (size_t)n;
	}
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			break;
	_exit(0);
}

struct reading {
	struct fixture *f;
	size_t len;
};

static void
on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct reading *r = arg;
	ssize_t n = read(fd, r->f->answer + r->len, MAX_ANSWER - 1 - r->len);

	if (n > 0)
		r->len += (size_t)n;
	else
		event_base_loopbreak(r->f->c->loop.base);
}

static const char *
call_raw(struct fixture *f, enum api_role role, const char *text, size_t len)
{
	struct reading r = { .f = f };
	struct event *ev;
	const char *body;
	int pipes[2];
	pid_t pid;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		call(f, role, text, len, pipes[1]);
	close(pipes[1]);
	ev = event_new(f->c->loop.base, pipes[0], EV_READ | EV_PERSIST, on_answer, &r);
	event_add(ev, NULL);
	event_base_dispatch(f->c->loop.base);
	event_free(ev);
	close(pipes[0]);
	waitpid(pid, NULL, 0);
	f->answer[r.len] = '\0';
	f->status = r.len > 12 ? atoi(f->answer + 9) : 0;
	body = strstr(f->answer, "\r\n\r\n");
	return body != NULL ? body + 4 : "";
}

static const char *
request(
    struct fixture *f, enum api_role role, const char *method, const char *path, const char *body)
{
	size_t size = strlen(path) + strlen(body) + 256;
	char *text = malloc(size);
	const char *answer;
	int n;

	n = snprintf(text, size,
	    "%s %s HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
	    method, path, strlen(body), body);
	answer = call_raw(f, role, text, (size_t)n);
	free(text);
	return answer;
}

static void
each_route_asks_for_its_role(void **state)
{
	static const struct api_route *const tables[] = { api_read_routes, api_write_routes };
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (const struct api_route *r = tables[t]; r->path != NULL; r++) {
			for (int role = API_VIEWER; role <= API_ADMIN; role++) {
				request(f, (enum api_role)role, r->method, r->path, "{}");
				if (f->status == 0 || (f->status == 403) != (role < (int)r->role))
					fail_msg(
					    "%s %s as %d: %d", r->method, r->path, role, f->status);
			}
		}
	}
}

/* The table itself: a slip there is a slip in permission. */
static void
who_may_change_what(void **state)
{
	for (const struct api_route *r = api_read_routes; r->path != NULL; r++)
		assert_string_equal(r->method, "GET");
	for (const struct api_route *r = api_write_routes; r->path != NULL; r++) {
		enum api_role want = API_ADMIN;

		if (strncmp(r->path, "/v1/edges/", 10) == 0 ||
		    strncmp(r->path, "/v1/images/", 11) == 0)
			want = API_REVIEWER;
		else if (strcmp(r->path, "/v1/policy/validate") == 0 ||
			 strcmp(r->path, "/v1/simulate") == 0)
			want = API_VIEWER;
		else if (strcmp(r->path, "/v1/gate") == 0)
			want = API_ROOT;
		assert_int_equal(r->role, want);
	}
}

static void
a_decision_carries_the_callers_uid(void **state)
{
	struct fixture *f = *state;
	struct edge *e = ctl_add_edge(f->c, "web", "api", 80);
	char body[256];

	if (geteuid() != 0)
		skip();
	snprintf(body, sizeof(body), "{\"ids\":[\"%s\"],\"reason\":\"r\"}", e->id);
	request(f, API_REVIEWER, "POST", "/v1/edges/approve", body);
	assert_int_equal(f->status, 200);
	assert_int_equal(e->state, EDGE_APPROVED);
	assert_string_equal(e->decision.approved_by, "uid:65534");
}

static void
bad_requests_change_nothing(void **state)
{
	static const struct {
		const char *method, *path, *body;
		int status;
	} bad[] = {
		{ "GET", "/v1/nothing", "", 404 },
		{ "GET", "/%1b[31m", "", 404 },
		{ "DELETE", "/v1/edges", "", 405 },
		{ "GET", "/v1/edges?state=x", "", 400 },
		{ "GET", "/v1/edges?workload=x", "", 404 },
		{ "POST", "/v1/edges/approve", "", 400 },
		{ "POST", "/v1/edges/approve", "[]", 400 },
		{ "POST", "/v1/edges/approve", "{\"ids\":[\"x\"]}", 400 },
		{ "POST", "/v1/edges/approve", "{\"ids\":[],\"reason\":\"r\"}", 400 },
		{ "POST", "/v1/edges/approve", "{\"ids\":[1],\"reason\":\"r\"}", 400 },
		{ "POST", "/v1/edges/approve", "{\"ids\":[\"x\"],\"reason\":\"r\"}", 404 },
		{ "POST", "/v1/edges/approve", "{\"ids\":[\"x\"],\"reason\":\"r\",\"by\":\"root\"}",
		    400 },
		{ "POST", "/v1/edges/deny",
		    "{\"ids\":[\"x\"],\"reason\":\"r\",\"expiresInSeconds\":-1}", 400 },
		{ "POST", "/v1/mode", "{\"all\":true,\"mode\":\"x\"}", 400 },
		{ "POST", "/v1/mode", "{\"all\":true,\"mode\":\"audit\",\"workloads\":[\"web\"]}",
		    400 },
		{ "POST", "/v1/mode", "{\"all\":1,\"mode\":\"audit\"}", 400 },
		{ "POST", "/v1/mode", "{\"workloads\":[\"nobody\"],\"mode\":\"audit\"}", 404 },
		{ "POST", "/v1/mode",
		    "{\"workloads\":[\"web\"],\"mode\":\"audit\",\"direction\":\"up\"}", 400 },
		{ "POST", "/v1/policy/apply", "nonsense", 422 },
		{ "POST", "/v1/simulate", "nonsense", 422 },
		{ "POST", "/v1/simulate?sinceSeconds=0", "", 400 },
		{ "POST", "/v1/simulate?sinceSeconds=-1", "", 400 },
		{ "POST", "/v1/simulate?sinceSeconds=1d", "", 400 },
		{ "POST", "/v1/simulate?sinceSeconds=99999999999999999999", "", 400 },
		{ "POST", "/v1/simulate?modes=some", "", 400 },
		{ "POST", "/v1/policy/apply?expectedRevision=-1", "", 400 },
		{ "GET", "/v1/explain?src=web", "", 400 },
		{ "GET", "/v1/explain?src=web&dst=nobody&port=80", "", 404 },
		{ "GET", "/v1/explain?src=web&dst=web&port=80x", "", 400 },
		{ "GET", "/v1/explain?src=web&dst=web&port=300&proto=icmp", "", 400 },
	};
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	ctl_instance(f->c, 1, "web", "10.0.0.1");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *answer = request(f, API_ADMIN, bad[i].method, bad[i].path, bad[i].body);

		if (f->status != bad[i].status || strstr(answer, "\"message\"") == NULL)
			fail_msg("%s %s: %d %s", bad[i].path, bad[i].body, f->status, answer);
	}
	assert_int_equal(f->c->revision, 0);
}

static void
a_simulation_tells_what_would_break(void **state)
{
	static const char policy[] =
	    "apiVersion: nanoseg/v1\nkind: SegmentPolicy\nworkloads: [{name: web}, {name: db}]\n"
	    "edges: [{from: web, to: db, proto: tcp, port: 80, state: approved}]\n";
	struct fixture *f = *state;
	struct flow_event ev;
	const char *answer;

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "db", "10.0.0.2");
	for (uint16_t port = 80; port < 82; port++) {
		ev = ctl_event(1, FLOW_ANSWERED, "10.0.0.1", "10.0.0.2", port);
		learn_flow(f->c, &ev);
	}
	answer = request(f, API_VIEWER, "POST", "/v1/simulate", policy);
	assert_int_equal(f->status, 200);
	assert_non_null(strstr(answer, "\"port\":81"));
	assert_null(strstr(answer, "\"port\":80"));
	assert_non_null(strstr(answer, "\"covered\":1"));
	assert_non_null(strstr(answer, "\"unused\":[]"));
	assert_non_null(strstr(answer, "\"live\":null"));
	/* The policy in force, which allows nothing. */
	answer = request(f, API_REVIEWER, "POST", "/v1/simulate", "");
	assert_non_null(strstr(answer, "\"port\":80"));
	assert_non_null(strstr(answer, "\"live\":[]"));
	answer = request(f, API_VIEWER, "POST", "/v1/simulate?modes=asWritten", "");
	assert_non_null(strstr(answer, "\"broken\":[]"));
	assert_null(f->c->whatif);
	assert_int_equal(f->c->revision, 0);
}

static void
a_huge_body_is_refused(void **state)
{
	struct fixture *f = *state;
	size_t len = API_MAX_BODY + 4096;
	size_t size = len + 256;
	char *text = malloc(size);
	int n = snprintf(text, size,
	    "POST /v1/policy/validate HTTP/1.1\r\nHost: n\r\nConnection: close\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    len);

	memset(text + n, ' ', len);
	call_raw(f, API_VIEWER, text, (size_t)n + len);
	assert_int_equal(f->status, 413);
	free(text);
	/* And was forgotten: the next is served. */
	request(f, API_VIEWER, "GET", "/v1/status", "");
	assert_int_equal(f->status, 200);
}

static void
explain_names_the_set_that_decides(void **state)
{
	static const struct {
		const char *query, *has;
	} cases[] = {
		{ "src=web&dst=api&port=80",
		    "\"rule\":\"inet nanoseg_test chain input, set allow_in4\"" },
		{ "src=web&dst=api&port=80", "\"verdict\":\"allow\"" },
		{ "src=web&dst=api&port=81", "chain input, in no set" },
		{ "src=web&dst=api&port=81", "\"verdict\":\"deny\"" },
		{ "src=web&dst=api&port=82", "\"state\":\"pending\"" },
		{ "src=10.0.0.1&dst=api&port=82", "\"state\":\"pending\"" },
		{ "src=web&dst=api&port=83", "\"reason\":\"the approval has expired\"" },
		{ "src=web&dst=api&port=83", "\"verdict\":\"deny\"" },
		{ "src=10.9.1.1&dst=api&port=443", "set allow_in4_range" },
		{ "src=api&dst=web&port=80", "\"rule\":null" },
		{ "src=internet&dst=api&port=1", "\"verdict\":\"deny\"" },
		{ "src=host&dst=multicast&port=1", "\"verdict\":\"allow\"" },
		{ "src=fqdn:a.example&dst=network:n&port=1", "\"verdict\":\"allow\"" },
		{ "src=api&dst=cidr:fd00::/8&port=0&proto=icmpv6", "\"verdict\":\"allow\"" },
	};
	struct fixture *f = *state;
	const struct actor who = { .name = "uid:0" };
	struct edge *e = ctl_add_edge(f->c, "web", "api", 80),
		    *cidr = ctl_add_edge(f->c, "cidr:10.9.0.0/16", "api", 443);
	const struct edge_decision past = { .expires_ns = T0 - 1 };
	struct mode_change m = { .mode = MODE_ENFORCE, .direction = WL_INGRESS };
	struct diag d = { 0 };
	char path[256];

	ctl_add_edge(f->c, "web", "api", 82);
	assert_int_equal(
	    edge_decide(f->c->edges, ctl_add_edge(f->c, "web", "api", 83), EDGE_APPROVED, &past),
	    0);

	ctl_instance(f->c, 1, "web", "10.0.0.1");
	ctl_instance(f->c, 2, "api", "10.0.0.2");
	assert_int_equal(edge_decide(f->c->edges, e, EDGE_APPROVED, NULL), 0);
	assert_int_equal(edge_decide(f->c->edges, cidr, EDGE_APPROVED, NULL), 0);
	m.workload = workload_find(f->c, "api");
	assert_int_equal(segment_set_modes(f->c, &m, 1, 0, "r", &who, &d), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *answer;

		snprintf(path, sizeof(path), "/v1/explain?%s", cases[i].query);
		answer = request(f, API_VIEWER, "GET", path, "");
		if (f->status != 200 || strstr(answer, cases[i].has) == NULL)
			fail_msg("%s: %d %s", cases[i].query, f->status, answer);
	}
}

static void
hostile_names_are_json_all_the_same(void **state)
{
	struct fixture *f = *state;
	json_t *o;

	ctl_instance(f->c, 1, "\xff\x1b[2J\"", "10.0.0.1");
	memset(f->c->engines[0].d.engine, 0xff, 8);
	f->c->n_engines = 1;
	o = json_loads(request(f, API_VIEWER, "GET", "/v1/status", ""), 0, NULL);
	assert_non_null(o);
	assert_int_equal(json_array_size(json_object_get(o, "workloads")), 1);
	assert_non_null(json_object_get(json_object_get(o, "engine"), "name"));
	json_decref(o);
}

static void
set_names_are_those_of_the_table(void **state)
{
	char buf[NFT_SET_NAME_LEN];

	for (unsigned k = 0; k < 16; k++) {
		bool out = k & 1, allow = k & 2, range = k & 4, v6 = k & 8;

		assert_string_equal(nft_set_name(out, allow, range, v6, buf),
		    nft_set_shape(nft_set_id(out, allow, range, v6))->name);
	}
}

/* The family that a sample belongs to, if its suffix suits the type. */
static bool
suits(const char *sample, const char *name, const char *type)
{
	static const struct {
		const char *type, *suffixes[4];
	} types[] = {
		{ "info", { "_info" } },
		{ "gauge", { "" } },
		{ "counter", { "_total" } },
		{ "histogram", { "_bucket", "_count", "_sum" } },
	};
	size_t len = strlen(name);

	for (size_t t = 0; t < ARRAY_SIZE(types); t++)
		for (size_t k = 0; k < 4 && types[t].suffixes[k] != NULL; k++)
			if (strcmp(type, types[t].type) == 0 && strncmp(sample, name, len) == 0 &&
			    strcmp(sample + len, types[t].suffixes[k]) == 0)
				return true;
	return false;
}

static void
metrics_are_openmetrics(void **state)
{
	struct fixture *f = *state;
	char name[128] = "", type[32] = "", seen[8192] = "", sample[128], labels[256];
	char *text, *line, *rest;
	bool ended = false;
	size_t len;
	double value;

	ctl_add_edge(f->c, "web", "api", 80);
	ctl_instance(f->c, 5, "evil\"\n} 1", "10.0.0.5");
	f->c->metrics.starts[START_GATED] = 3;
	histogram_add(&f->c->metrics.apply, 7 * NSEC_PER_MSEC);
	histogram_add(&f->c->metrics.apply, 90 * NSEC_PER_SEC);
	request(f, API_VIEWER, "GET", "/metrics", "");
	assert_int_equal(f->status, 200);
	assert_non_null(strstr(f->answer, "Content-Type: " METRICS_TYPE "\r\n"));
	assert_null(strstr(f->answer, "evil"));
	assert_non_null(strstr(f->answer, "\nnanoseg_edges{state=\"pending\"} 1\n"));
	assert_non_null(strstr(f->answer, "\nnanoseg_starts_total{kind=\"gated\"} 3\n"));
	assert_non_null(strstr(f->answer, "_apply_seconds_bucket{le=\"0.005\"} 0\n"));
	assert_non_null(strstr(f->answer, "_apply_seconds_bucket{le=\"0.01\"} 1\n"));
	assert_non_null(strstr(f->answer, "_apply_seconds_bucket{le=\"5.0\"} 1\n"));
	assert_non_null(strstr(f->answer, "_apply_seconds_bucket{le=\"+Inf\"} 2\n"));
	assert_non_null(strstr(f->answer, "_apply_seconds_sum 90.007000000\n"));
	text = strstr(f->answer, "\r\n\r\n") + 4;
	for (line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		assert_false(ended);
		ended = strcmp(line, "# EOF") == 0;
		if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
			/* A family comes once. */
			snprintf(sample, sizeof(sample), "<%s>", name);
			assert_null(strstr(seen, sample));
			len = strlen(seen);
			snprintf(seen + len, sizeof(seen) - len, "%s", sample);
		}
		if (line[0] == '#')
			continue;
		if (sscanf(line, "%127[a-z_]{%255[^}]} %lf", sample, labels, &value) != 3 &&
		    sscanf(line, "%127[a-z_] %lf", sample, &value) != 2)
			fail_msg("%s", line);
		if (!suits(sample, name, type))
			fail_msg("%s in the family %s %s", line, name, type);
	}
	assert_true(ended);
}

/* As the supervisor hands it over. */
static void
hand(struct fixture *f, uint32_t number, const char *text)
{
	const struct sup_reload head = { .number = number };
	struct msg m = { .h = { .type = MSG_SUP_CONFIG, .body_len = sizeof(head) },
		.body = (const uint8_t *)&head,
		.n_fds = 1 };
	int fd = memfd_create("config", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	m.fds[0] = fd;
	reload_on_file(f->c, &m);
	close(fd);
}

/* What is judged once under a configuration has to see that there is another one. */
static void
a_configuration_counts_as_taken_whoever_asked(void **state)
{
	struct fixture *f = *state;

	hand(f, 0, "images: {allow: [nginx]}\n");
	assert_int_equal(f->c->reload.taken, 1);
	assert_int_equal(f->c->reload.done, 0);
	assert_int_equal(f->c->config->images.n_allow, 1);
	f->c->reload.asked = 1;
	hand(f, 1, "images: {allow: [nginx, redis]}\n");
	assert_int_equal(f->c->reload.taken, 2);
	assert_int_equal(f->c->reload.done, 1);
	hand(f, 0, "images: {allow: 1}\n");
	assert_int_equal(f->c->reload.taken, 2);
	assert_true(f->c->reload.refused);
}

int
main(void)
{
#define API_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		API_TEST(each_route_asks_for_its_role),
		cmocka_unit_test(who_may_change_what),
		API_TEST(a_decision_carries_the_callers_uid),
		API_TEST(bad_requests_change_nothing),
		API_TEST(a_simulation_tells_what_would_break),
		API_TEST(a_huge_body_is_refused),
		API_TEST(explain_names_the_set_that_decides),
		API_TEST(hostile_names_are_json_all_the_same),
		cmocka_unit_test(set_names_are_those_of_the_table),
		API_TEST(metrics_are_openmetrics),
		API_TEST(a_configuration_counts_as_taken_whoever_asked),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
