/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/args.h"
#include "cli/remote.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define NOW (1800000000ULL * NSEC_PER_SEC)

static struct {
	bool watch, quiet;
	const char *form, *reason;
} got;

static const struct arg_option own[] = {
	{ "watch", 'w', &got.watch, NULL },
	{ "reason", 'r', NULL, &got.reason },
};
static const struct arg_option global[] = {
	{ "output", 'o', NULL, &got.form },
	{ "quiet", 'q', &got.quiet, NULL },
};

/* The words of line, split at spaces ("_" is an empty word), into argv. */
static int
split(char *line, char **argv)
{
	int argc = 0;

	for (char *w = strtok(line, " "); w != NULL; w = strtok(NULL, " "))
		argv[argc++] = strcmp(w, "_") == 0 ? w + 1 : w;
	return argc;
}

static void
options_are_read_in_any_order(void **state)
{
	static const struct {
		const char *line;
		int n; /* other arguments, or -EINVAL */
		const char *first, *form, *reason;
		bool watch, quiet;
		const char *why;
	} cases[] = {
		{ "", 0 },
		{ "a b", 2, "a" },
		{ "a -w b", 2, "a", .watch = true },
		{ "--watch a", 1, "a", .watch = true },
		{ "-o json a", 1, "a", "json" },
		{ "-ojson a", 1, "a", "json" },
		{ "--output=json a", 1, "a", "json" },
		{ "--output json a", 1, "a", "json" },
		{ "--output= a", 1, "a", "" },
		{ "a -wqo json", 1, "a", "json", NULL, true, true },
		{ "a -o json -o yaml", 1, "a", "yaml" },
		{ "--reason --watch a", 1, "a", NULL, "--watch" },
		{ "-r - -", 1, "-", NULL, "-" },
		{ "-- -w --reason", 2, "-w" },
		{ "a -- --", 2, "a" },
		{ "--wtach", -EINVAL, .why = "unknown option --wtach, did you mean --watch?" },
		{ "--nothing-like-it", -EINVAL, .why = "unknown option --nothing-like-it" },
		{ "-x", -EINVAL, .why = "unknown option -x" },
		{ "-wx", -EINVAL, .why = "unknown option -x" },
		{ "--watch=1", -EINVAL, .why = "--watch takes no value" },
		{ "--reason", -EINVAL, .why = "--reason needs a value" },
		{ "-wr", -EINVAL, .why = "-r needs a value" },
		{ "--rea x", -EINVAL },
		{ "-\x1b", -EINVAL, .why = "unknown option -\\x1b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char line[64], *argv[16];
		struct diag d = { 0 };
		int argc, n;

		memset(&got, 0, sizeof(got));
		strncpy(line, cases[i].line, sizeof(line) - 1);
		line[sizeof(line) - 1] = '\0';
		argc = split(line, argv);
		n = args_read(own, ARRAY_SIZE(own), global, ARRAY_SIZE(global), argc, argv, &d);
		if (n != cases[i].n)
			fail_msg("'%s': %d %s", cases[i].line, n, d.msg);
		if (cases[i].why != NULL)
			assert_string_equal(d.msg, cases[i].why);
		if (n < 0)
			continue;
		assert_int_equal(got.watch, cases[i].watch);
		assert_int_equal(got.quiet, cases[i].quiet);
		if (n > 0)
			assert_string_equal(argv[0], cases[i].first);
		assert_int_equal(got.form != NULL, cases[i].form != NULL);
		if (cases[i].form != NULL)
			assert_string_equal(got.form, cases[i].form);
		assert_int_equal(got.reason != NULL, cases[i].reason != NULL);
		if (cases[i].reason != NULL)
			assert_string_equal(got.reason, cases[i].reason);
	}
}

static void
global_options_end_at_the_command(void **state)
{
	char *argv[] = { (char *)"-o", (char *)"json", (char *)"status", (char *)"-w" };
	char *cut[] = { (char *)"-o" };
	struct diag d;
	int next = -1;

	memset(&got, 0, sizeof(got));
	assert_int_equal(args_read_global(global, ARRAY_SIZE(global), 4, argv, &d, &next), 0);
	assert_int_equal(next, 2);
	assert_string_equal(got.form, "json");
	next = -1;
	assert_int_equal(args_read_global(global, ARRAY_SIZE(global), 1, cut, &d, &next), -EINVAL);
	assert_int_equal(next, -1);
	assert_int_equal(args_read_global(global, ARRAY_SIZE(global), 0, cut, &d, &next), 0);
	assert_int_equal(next, 0);
}

static void
targets_split_at_the_last_colon(void **state)
{
	static const struct {
		const char *text, *peer;
		unsigned port;
		const char *proto;
	} cases[] = {
		{ "db:5432", "db", 5432, "tcp" },
		{ "db:5432/tcp", "db", 5432, "tcp" },
		{ "shop/db:53/udp", "shop/db", 53, "udp" },
		{ "a:b/c:1", "a:b/c", 1, "tcp" },
		{ "workload:host:22", "workload:host", 22, "tcp" },
		{ "host:22", "host", 22, "tcp" },
		{ "internet:443", "internet", 443, "tcp" },
		{ "10.0.0.1:65535", "10.0.0.1", 65535, "tcp" },
		{ "10.0.0.0/8:80", "10.0.0.0/8", 80, "tcp" },
		{ "[fd00::1]:53/udp", "fd00::1", 53, "udp" },
		{ "[fd00::/16]:53", "fd00::/16", 53, "tcp" },
		{ "b:8/icmp", "b", 8, "icmp" },
		{ "b:0/icmp", "b", 0, "icmp" },
		{ "b:128/icmpv6", "b", 128, "icmpv6" },
		{ "b:3868/sctp", "b", 3868, "sctp" },
		{ "fqdn:api.example.com:443", "fqdn:api.example.com", 443, "tcp" },
		{ "", NULL },
		{ "db", NULL },
		{ ":80", NULL },
		{ "[]:80", NULL },
		{ "db:", NULL },
		{ "db:0", NULL },
		{ "db:65536", NULL },
		{ "db:99999999999999999999", NULL },
		{ "db:80x", NULL },
		{ "db:-1", NULL },
		{ "db:+1", NULL },
		{ "db: 1", NULL },
		{ "db:/tcp", NULL },
		{ "db:80/", NULL },
		{ "db:80/xyz", NULL },
		{ "db:80/tcp/udp", NULL },
		{ "db:256/icmp", NULL },
		{ "fd00::1", NULL },
		{ "fd00::1:53", NULL },
		{ "::1", NULL },
		{ "10.0.0.1/8:80", NULL }, /* bits behind the prefix */
		{ "\xff:80", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct target t = { .port = 7 };
		struct diag d = { 0 };
		int r = target_parse(cases[i].text, &t, &d);

		if (r != (cases[i].peer != NULL ? 0 : -EINVAL))
			fail_msg("'%s': %d %s", cases[i].text, r, d.msg);
		if (r < 0) {
			assert_int_equal(t.port, 7);
			assert_true(d.msg[0] != '\0');
			continue;
		}
		assert_string_equal(t.peer, cases[i].peer);
		assert_int_equal(t.port, cases[i].port);
		assert_string_equal(t.proto, cases[i].proto);
	}
}

static void
overlong_targets_are_refused(void **state)
{
	char text[2000];
	struct target t;
	struct diag d;

	memset(text, 'x', sizeof(text));
	memcpy(text + sizeof(text) - 4, ":80", 4);
	assert_int_equal(target_parse(text, &t, &d), -EINVAL);
	memset(text, ':', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(target_parse(text, &t, &d), -EINVAL);
}

static void
keywords_are_no_workloads(void **state)
{
	static const struct {
		const char *text, *name;
	} cases[] = {
		{ "web", "web" },
		{ "shop/web", "shop/web" },
		{ "workload:web", "web" },
		{ "workload:host", "host" },
		{ "workload:10.0.0.1", "10.0.0.1" },
		{ "workload:workload:x", "workload:x" },
		{ "host", NULL },
		{ "internet", NULL },
		{ "multicast", NULL },
		{ "10.0.0.1", NULL },
		{ "10.0.0.0/8", NULL },
		{ "10.0.0.1/8", NULL },
		{ "fqdn:x", NULL },
		{ "", NULL },
		{ "workload:", NULL },
		{ "\xff", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *name = NULL;
		struct diag d;
		int r = workload_arg(cases[i].text, &name, &d);

		if (r != (cases[i].name != NULL ? 0 : -EINVAL))
			fail_msg("'%s': %d", cases[i].text, r);
		if (r == 0)
			assert_string_equal(name, cases[i].name);
		else
			assert_null(name);
	}
}

static void
expiries_are_durations_or_times(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t seconds;
	} cases[] = {
		{ "7d", 0, 7 * 86400 },
		{ "1s", 0, 1 },
		{ "1h30m", 0, 5400 },
		{ "3660d", 0, 3660ULL * 86400 },
		{ "3661d", -EINVAL },
		{ "500ms", -EINVAL },
		{ "0", -EINVAL },
		{ "7", -EINVAL },
		{ "", -EINVAL },
		{ "never", -EINVAL },
		{ "2027-01-15T08:00:10Z", 0, 10 },
		{ "2027-01-15T08:00:00Z", -EINVAL },
		{ "2001-01-01", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t s = 42;
		struct diag d;

		if (expiry_arg(cases[i].text, NOW, &s, &d) != cases[i].result)
			fail_msg("'%s': %s", cases[i].text, d.msg);
		assert_true(s == (cases[i].result == 0 ? cases[i].seconds : 42));
	}
}

static void
numbers_have_a_maximum(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "10", 10, 0, 10 },
		{ "11", 10, -EINVAL },
		{ "0010", 10, 0, 10 },
		{ "9223372036854775807", INT64_MAX, 0, INT64_MAX },
		{ "9223372036854775808", INT64_MAX, -EINVAL },
		{ "99999999999999999999999999", INT64_MAX, -EINVAL },
		{ "", 10, -EINVAL },
		{ "-1", 10, -EINVAL },
		{ "1 ", 10, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 42;
		struct diag d;

		if (number_arg("n", cases[i].text, cases[i].max, &v, &d) != cases[i].result)
			fail_msg("'%s'", cases[i].text);
		assert_true(v == (cases[i].result == 0 ? cases[i].value : 42));
	}
}

static void
remote_hosts_are_names_and_nothing_else(void **state)
{
	static const struct {
		const char *text, *user, *host, *port, *path; /* host NULL: refused */
	} cases[] = {
		{ "ssh://h", "", "h", "", "/def" },
		{ "ssh://h/", "", "h", "", "/def" },
		{ "ssh://root@h.example:2222/run/x.sock", "root", "h.example", "2222",
		    "/run/x.sock" },
		{ "ssh://[fd00::1]:22", "", "fd00::1", "22", "/def" },
		{ "ssh://[fe80::1%eth0]", "", "fe80::1%eth0", "", "/def" },
		{ "h" },
		{ "http://h" },
		{ "ssh://" },
		{ "ssh:///x" },
		{ "ssh://-oProxyCommand=touch" },
		{ "ssh://-l@h" },
		{ "ssh://h;id" },
		{ "ssh://h id" },
		{ "ssh://h$(id)" },
		{ "ssh://a@b@c" },
		{ "ssh://h:0" },
		{ "ssh://h:65536" },
		{ "ssh://h:-1" },
		{ "ssh://h:22x" },
		{ "ssh://[::1]x" },
		{ "ssh://h/a:b" },
		{ "ssh://h/a b" },
		{ "ssh://h/%d" },
		{ "ssh://\xff" },
		{ "ssh://h\n" },
	};
	const char *args[REMOTE_ARGS_MAX];
	char longer[400];
	struct remote r;
	struct diag d;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int e = remote_parse(cases[i].text, "/def", &r, &d);

		if (cases[i].host == NULL) {
			assert_int_equal(e, -EINVAL);
			continue;
		}
		assert_int_equal(e, 0);
		assert_string_equal(r.user, cases[i].user);
		assert_string_equal(r.host, cases[i].host);
		assert_string_equal(r.port, cases[i].port);
		assert_string_equal(r.path, cases[i].path);
	}
	memset(longer, 'h', sizeof(longer) - 1);
	memcpy(longer, "ssh://", 6);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(remote_parse(longer, "/def", &r, &d), -EINVAL);
	assert_int_equal(remote_parse("ssh://u@h:22", "/def", &r, &d), 0);
	remote_args(&r, "/l:/def", args);
	while (args[n] != NULL)
		n++;
	assert_true(n < REMOTE_ARGS_MAX);
	assert_string_equal(args[n - 1], "h");
	assert_string_equal(args[n - 2], "--");
	assert_string_equal(args[n - 3], "/l:/def");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_read_in_any_order),
		cmocka_unit_test(global_options_end_at_the_command),
		cmocka_unit_test(targets_split_at_the_last_colon),
		cmocka_unit_test(overlong_targets_are_refused),
		cmocka_unit_test(keywords_are_no_workloads),
		cmocka_unit_test(expiries_are_durations_or_times),
		cmocka_unit_test(numbers_have_a_maximum),
		cmocka_unit_test(remote_hosts_are_names_and_nothing_else),
	};

	return cmocka_run_group_tests_name("cli-args", tests, NULL, NULL);
}
