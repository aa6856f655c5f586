/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

static struct config *
parsed(const char *text)
{
	struct config *c = NULL;
	struct diag d;

	if (config_parse(text, strlen(text), &d, &c) < 0)
		fail_msg("%s: %u:%u: %s", text, d.line, d.col, d.msg);
	return c;
}

static void
assert_defaults(const struct config *c)
{
	assert_true(c->observation_period_ns == 7 * 86400 * NSEC_PER_SEC);
	assert_true(c->fqdn_min_ttl_ns == 3600 * NSEC_PER_SEC);
	assert_int_equal(c->n_resolvers, 0);
	assert_int_equal(c->promote, PROMOTE_OFF);
	assert_int_equal(c->promote_direction, WL_BOTH);
	assert_int_equal(c->promote_by, PROMOTE_BY_CLOCK);
	assert_int_equal(c->promote_chance, 5);
	assert_true(c->quiet_audit_ns == 86400 * NSEC_PER_SEC);
	assert_true(c->promote_notice_ns == 3600 * NSEC_PER_SEC);
	assert_true(c->promote_confirm_ns == 600 * NSEC_PER_SEC);
	assert_int_equal(c->promote_window.days, 0);
	assert_int_equal(c->on_unknown, ON_UNKNOWN_ALLOW);
	assert_true(c->identify_timeout_ns == 2 * NSEC_PER_SEC);
	assert_false(c->close_named);
	assert_true(c->self_test_ns == 0);
	assert_true(c->activity_period_ns == 60 * NSEC_PER_SEC);
	assert_int_equal(c->n_reviewer_groups, 0);
	assert_int_equal(c->n_admin_groups, 0);
	assert_int_equal(c->identity.n, 0);
	assert_true(c->idle_expiry_ns == 30 * 86400 * NSEC_PER_SEC);
	assert_true(c->recertify_after_ns == 182 * 86400 * NSEC_PER_SEC);
	assert_false(c->separate_duties);
	assert_int_equal(c->max_edges, 50000);
	assert_int_equal(c->history_days, 30);
	assert_int_equal(c->history_entries, 1000000);
	assert_int_equal(c->event_buffer, 32u << 20);
	assert_int_equal(c->aggregation, AGGREGATION_AUTO);
	assert_int_equal(c->conntrack_alert, 80);
	assert_int_equal(c->log_level, LOG_LVL_INFO);
}

static void
nothing_given_is_the_defaults(void **state)
{
	static const char *const texts[] = { "", "# only a comment\n", "{}", "---\n" };
	struct config *c = NULL;

	assert_int_equal(config_new(&c), 0);
	assert_defaults(c);
	config_free(c);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		c = parsed(texts[i]);
		assert_defaults(c);
		config_free(c);
	}
	config_free(NULL);
}

static void
every_setting_arrives(void **state)
{
	_cleanup_(config_freep) struct config *c =
	    parsed("observationPeriod: 1h30m\npromote: enforce\npromoteDirection: ingress\n"
		   "onUnknown: quarantine\nidentifyTimeout: 500ms\ncloseNamed: true\nhostGuard: "
		   "on\nselfTest: 90s\nreviewerGroups: "
		   "[net, ops.x]\n"
		   "adminGroups:\n- wheel\nfqdnMinTtl: 90s\nresolvers: [10.0.0.53, 'fd00::53']\n"
		   "maxEdges: 100\neventBuffer: 262144\naggregation: off\nconntrackAlert: "
		   "100\nlogLevel: debug\n");

	assert_true(c->observation_period_ns == 5400 * NSEC_PER_SEC);
	assert_int_equal(c->promote, PROMOTE_ENFORCE);
	assert_int_equal(c->promote_direction, WL_INGRESS);
	assert_int_equal(c->on_unknown, ON_UNKNOWN_QUARANTINE);
	assert_true(c->identify_timeout_ns == 500 * NSEC_PER_MSEC);
	assert_true(c->self_test_ns == 90 * NSEC_PER_SEC);
	assert_true(c->close_named);
	assert_int_equal(c->host_guard, HOST_GUARD_ON);
	assert_int_equal(c->n_reviewer_groups, 2);
	assert_string_equal(c->reviewer_groups[1], "ops.x");
	assert_int_equal(c->n_admin_groups, 1);
	assert_string_equal(c->admin_groups[0], "wheel");
	assert_true(c->fqdn_min_ttl_ns == 90 * NSEC_PER_SEC);
	assert_int_equal(c->n_resolvers, 2);
	assert_int_equal(c->resolvers[1].family, 6);
	assert_int_equal(c->max_edges, 100);
	assert_int_equal(c->event_buffer, 262144);
	assert_int_equal(c->aggregation, AGGREGATION_OFF);
	assert_int_equal(c->conntrack_alert, 100);
	assert_int_equal(c->log_level, LOG_LVL_DEBUG);
}

static void
the_ways_of_alerts_and_metrics_arrive(void **state)
{
	_cleanup_(config_freep) struct config *c =
	    parsed("alerts: {repeatAfter: 1m, perMinute: 7, journald: true,\n"
		   "  syslog: {address: 'udp:[fd00::1]:514', facility: local7},\n"
		   "  webhook: {url: 'https://x/y', tokenFile: /t, caFile: /c, timeout: 3s}}\n"
		   "metrics: {listen: '[::1]:9477', textfile: /m}\n");
	struct config *none = parsed("");

	assert_int_equal(alerts_config_ways(&c->alerts), 7);
	assert_true(c->alerts.repeat_after_ns == 60 * NSEC_PER_SEC);
	assert_int_equal(c->alerts.per_minute, 7);
	assert_string_equal(c->alerts.journald, "/run/systemd/journal/socket");
	assert_int_equal(c->alerts.syslog.transport, SYSLOG_UDP);
	assert_int_equal(c->alerts.syslog.port, 514);
	assert_int_equal(c->alerts.syslog.addr.family, 6);
	assert_int_equal(c->alerts.syslog.facility, 23);
	assert_string_equal(c->alerts.webhook.url, "https://x/y");
	assert_string_equal(c->alerts.webhook.token_file, "/t");
	assert_string_equal(c->alerts.webhook.ca_file, "/c");
	assert_true(c->alerts.webhook.timeout_ns == 3 * NSEC_PER_SEC);
	assert_int_equal(c->metrics.port, 9477);
	assert_string_equal(c->metrics.textfile, "/m");
	assert_int_equal(alerts_config_ways(&none->alerts), 0);
	assert_true(none->alerts.repeat_after_ns == 300 * NSEC_PER_SEC);
	assert_int_equal(none->metrics.port, 0);
	config_free(none);
}

static void
errors_say_where_and_what(void **state)
{
	static const struct {
		const char *text;
		unsigned line, col;
		const char *msg;
	} cases[] = {
		{ "[]", 1, 1, "expected a mapping for the configuration, found a list" },
		{ "promote: off\nobservationPeriode: 7d\n", 2, 1,
		    "unknown key 'observationPeriode' in the configuration, did you mean "
		    "'observationPeriod'?" },
		{ "observation-period: 7d\n", 1, 1, "did you mean 'observationPeriod'?" },
		{ "resolvers: [127.0.0.11]\n", 1, 13, "'127.0.0.11' is not the address of a name" },
		{ "resolvers: [ns.example]\n", 1, 13, "'ns.example' is not the address of a name" },
		{ "fqdnMinTtl: 0s\n", 1, 13, "0s is out of range" },
		{ "observationPeriod: 7\n", 1, 20, "a duration needs a unit: 7s, 7h or 7d" },
		{ "observationPeriod: 7 days\n", 1, 20, "'7 days' is not a duration" },
		{ "observationPeriod: 0\n", 1, 20, "a duration needs a unit" },
		{ "observationPeriod: 0s\n", 1, 20,
		    "0s is out of range, expected a duration from 1s to 366d" },
		{ "observationPeriod: 367d\n", 1, 20, "367d is out of range" },
		{ "observationPeriod: 99999999999999999999d\n", 1, 20, "is out of range" },
		{ "observationPeriod:\n", 1, 19,
		    "expected a duration such as 30s, 12h or 7d, found nothing" },
		{ "identifyTimeout: 10ms\n", 1, 18, "from 100ms to 1m" },
		{ "promote: on\n", 1, 10, "unknown promote 'on', expected off, audit or enforce" },
		{ "promote: false\n", 1, 10,
		    "expected promote (off, audit or enforce), found false" },
		{ "promote: enforced\n", 1, 10, "did you mean 'enforce'?" },
		{ "promoteDirection: out\n", 1, 19, "expected ingress, egress or both" },
		{ "hostGuard: maybe\n", 1, 12, "expected auto, on or off" },
		{ "closeNamed: yess\n", 1, 13, "expected true or false" },
		{ "onUnknown: deny\n", 1, 12, "expected allow or quarantine" },
		{ "logLevel: warning\n", 1, 11, "did you mean 'warn'?" },
		{ "maxEdges: 99\n", 1, 11,
		    "99 is out of range, expected a number from 100 to 100000" },
		{ "maxEdges: '1000'\n", 1, 11, "expected a number, found a text" },
		{ "eventBuffer: 32M\n", 1, 14, "expected a number, found a text" },
		{ "eventBuffer: 4294967296\n", 1, 14, "is out of range" },
		{ "alerts: {journal: true}\n", 1, 10, "did you mean 'journald'?" },
		{ "alerts: {journald: 7}\n", 1, 20, "expected true, false or the path" },
		{ "alerts: {journald: run/x}\n", 1, 20, "'run/x' is not an absolute path" },
		{ "alerts: {repeatAfter: 0s}\n", 1, 23, "'0s' is no duration from 1s to 1d" },
		{ "alerts: {perMinute: 0}\n", 1, 21, "0 is out of range" },
		{ "alerts: {syslog: {}}\n", 1, 18, "address" },
		{ "alerts: {syslog: {address: 'udp:logs.example:514'}}\n", 1, 28,
		    "with a numeric address" },
		{ "alerts: {syslog: {address: 'udp:10.0.0.1'}}\n", 1, 28,
		    "'udp:10.0.0.1' is not an address of syslog" },
		{ "alerts: {syslog: {address: 'udp:10.0.0.1:0'}}\n", 1, 28,
		    "is not an address of syslog" },
		{ "alerts: {syslog: {address: 'tcp:fd00::1:514'}}\n", 1, 28,
		    "is not an address of syslog" },
		{ "alerts: {syslog: {address: 'unix:log'}}\n", 1, 28,
		    "is not an address of syslog" },
		{ "alerts: {syslog: {address: 'udp:10.0.0.1:514', facility: locla0}}\n", 1, 58,
		    "'locla0' is not a facility" },
		{ "alerts: {webhook: {}}\n", 1, 19, "url" },
		{ "alerts: {webhook: {url: 'ftp://x/'}}\n", 1, 25,
		    "it is not a URL of http or https" },
		{ "alerts: {webhook: {url: 'http:///x'}}\n", 1, 25,
		    "it is not a URL of http or https" },
		{ "alerts: {webhook: {url: 'https://a:b@x/'}}\n", 1, 25, "use tokenFile" },
		{ "alerts: {webhook: {url: 'https://x/a b'}}\n", 1, 25, "it is not a URL: it has" },
		{ "alerts: {webhook: {url: 'https://x/', timeout: 2m}}\n", 1, 48,
		    "'2m' is no duration from 1s to 1m" },
		{ "images: {allow: nginx}\n", 1, 17,
		    "expected a list of digests and repositories" },
		{ "images: {allow: ['sha256:12']}\n", 1, 18, "'sha256:12' is not a digest" },
		{ "images: {allow: ['a@sha256:12']}\n", 1, 18, "without tag and digest" },
		{ "images: {action: kill}\n", 1, 18, "expected flag or quarantine" },
		{ "metrics: {listen: '0.0.0.0:9477'}\n", 1, 19, "is not a loopback address" },
		{ "metrics: {listen: '127.0.0.1'}\n", 1, 19, "is not a loopback address" },
		{ "metrics: {listen: '127.0.0.1:99999'}\n", 1, 19, "is not a loopback address" },
		{ "metrics: {textfile: nanoseg.prom}\n", 1, 21, "is not an absolute path" },
		{ "conntrackAlert: 101\n", 1, 17, "from 1 to 100" },
		{ "reviewerGroups: net\n", 1, 17, "expected a list of groups, found a text" },
		{ "adminGroups: [a, 7]\n", 1, 18, "expected the name of a group, found a number" },
		{ "adminGroups: [-a]\n", 1, 15, "'-a' is not the name of a group" },
		{ "adminGroups: [a b]\n", 1, 15, "'a b' is not the name of a group" },
		{ "identity:\n  - {match: {name: a}, workload: '%'}\n", 2, 34, "'%'" },
		/* The sockets that root's relay opens are for root's command line alone. */
		{ "engines: []\n", 1, 1, "unknown key 'engines'" },
		{ "promote: off\npromote: audit\n", 2, 1,
		    "key 'promote' is given twice, first in line 1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = NULL;
		struct diag d = { 0 };

		if (config_parse(cases[i].text, strlen(cases[i].text), &d, &c) != -EINVAL)
			fail_msg("accepted: %s", cases[i].text);
		assert_null(c);
		if (d.line != cases[i].line || d.col != cases[i].col ||
		    strstr(d.msg, cases[i].msg) == NULL)
			fail_msg("%s got %u:%u: %s", cases[i].text, d.line, d.col, d.msg);
	}
}

static void
file_with(char path[static 64], const char *text, size_t len)
{
	int fd;

	snprintf(path, 64, "/tmp/test-config-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void
a_missing_file_is_the_defaults_and_an_unreadable_one_is_not(void **state)
{
	_cleanup_free_ char *big = malloc(CONFIG_MAX_BYTES + 10);
	struct config *c = NULL;
	struct diag d = { 0 };
	char path[64];

	assert_int_equal(config_load("/nonexistent/nanosegd.yaml", &d, &c), 0);
	assert_defaults(c);
	config_free(c);
	c = NULL;
	assert_int_equal(config_load("/tmp", &d, &c), -EISDIR);
	assert_string_equal(d.msg, "not a regular file");
	assert_int_equal(config_load("/dev/zero", &d, &c), -EISDIR);
	assert_int_equal(config_load("/dev/null/x", &d, &c), -ENOTDIR);
	assert_null(c);

	file_with(path, "maxEdges: 7\n", 12);
	assert_int_equal(config_load(path, &d, &c), -EINVAL);
	assert_int_equal(d.line, 1);
	assert_int_equal(d.col, 11);
	unlink(path);

	assert_non_null(big);
	memset(big, '#', CONFIG_MAX_BYTES + 10);
	file_with(path, big, CONFIG_MAX_BYTES + 10);
	assert_int_equal(config_load(path, &d, &c), -EINVAL);
	assert_non_null(strstr(d.msg, "too large"));
	assert_null(c);
	unlink(path);
}

/* The example must show every key with its default, so that it cannot fall behind the table. */
static void
the_example_is_valid_complete_and_the_defaults(void **state)
{
	static const char *const keys[] = { "observationPeriod", "promote", "promoteDirection",
		"promoteBy", "promoteNewEdgeChance", "quietAudit", "promoteNotice", "promoteWindow",
		"promoteConfirm", "onUnknown", "identifyTimeout", "closeNamed", "hostGuard",
		"selfTest", "activityPeriod", "rollbackDenials", "reviewerGroups", "adminGroups",
		"identity", "idleExpiry", "recertifyAfter", "fqdnMinTtl", "resolvers",
		"serverNames", "separateDuties", "maxEdges", "eventBuffer", "aggregation",
		"conntrackAlert", "images", "alerts", "metrics", "logLevel", "historyDays",
		"historyEntries" };
	const char *top = getenv("top_srcdir");
	_cleanup_(doc_freep) struct doc *doc = NULL;
	struct config *c = NULL;
	struct diag d = { 0 };
	char path[4096], text[16384];
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/contrib/nanosegd.yaml", top != NULL ? top : "..");
	f = fopen(path, "re");
	assert_non_null(f);
	len = fread(text, 1, sizeof(text), f);
	fclose(f);
	assert_true(len > 0 && len < sizeof(text));
	if (config_load(path, &d, &c) < 0)
		fail_msg("%s: %u:%u: %s", path, d.line, d.col, d.msg);
	assert_defaults(c);
	config_free(c);
	assert_int_equal(doc_parse(text, len, &d, &doc), 0);
	assert_int_equal(json_object_size(doc_root(doc)), ARRAY_SIZE(keys));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(json_object_get(doc_root(doc), keys[i]));
}

static void
a_window_of_the_week_is_read_strictly(void **state)
{
	static const struct {
		const char *text;
		uint8_t days;
		uint16_t from, to;
	} good[] = {
		{ "''", 0, 0, 0 },
		{ "Mon-Thu 09:00-16:00", 0x0f, 540, 960 },
		{ "Sun 00:00-24:00", 0x40, 0, 1440 },
		{ "Sat-Sun 23:30-23:59", 0x60, 1410, 1439 },
	};
	static const char *const bad[] = { "Mon", "Mon-", "Mon 9:00-16:00", "Mon 09:00",
		"mon 09:00-16:00", "Thu-Mon 09:00-16:00", "Mon 16:00-09:00", "Mon 09:00-09:00",
		"Mon 09:60-16:00", "Mon 09:00-24:01", "Mon 09:00-16:00 ", "Mon-Thu-Fri 09:00-16:00",
		"Mon +9:00-16:00", "Mon 09:00-16:000", "Mon  9:00-16:00", "Xyz 09:00-16:00",
		"always", "7" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct config *c = NULL;
		struct diag d = { 0 };
		char text[128];

		snprintf(text, sizeof(text), "promoteWindow: %s\n", good[i].text);
		if (config_parse(text, strlen(text), &d, &c) < 0)
			fail_msg("%s: %s", text, d.msg);
		assert_int_equal(c->promote_window.days, good[i].days);
		assert_int_equal(c->promote_window.from_min, good[i].from);
		assert_int_equal(c->promote_window.to_min, good[i].to);
		assert_string_equal(c->promote_window.text, i == 0 ? "" : good[i].text);
		config_free(c);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config *c = NULL;
		struct diag d = { 0 };
		char text[128];

		snprintf(text, sizeof(text), "promoteWindow: '%s'\n", bad[i]);
		if (config_parse(text, strlen(text), &d, &c) != -EINVAL)
			fail_msg("taken: %s", text);
		assert_non_null(strstr(d.msg, "window"));
		assert_null(c);
	}
}

static void
changes_are_named_and_what_needs_a_restart_is_kept(void **state)
{
	struct config *old = parsed("maxEdges: 200\nselfTest: 1m\nidentity: []\n");
	struct config *fresh =
	    parsed("{maxEdges: 300, selfTest: 1m, adminGroups: [x], identity: [{match: "
		   "{name: a}, workload: b}]}");
	json_t *now = config_changes(old, fresh, false), *later = config_changes(old, fresh, true);

	assert_int_equal(json_array_size(now), 1);
	assert_string_equal(json_string_value(json_array_get(now, 0)), "adminGroups");
	assert_int_equal(json_array_size(later), 2);
	assert_string_equal(json_string_value(json_array_get(later, 0)), "identity");
	assert_string_equal(json_string_value(json_array_get(later, 1)), "maxEdges");
	json_decref(now);
	json_decref(later);
	config_keep_old(fresh, old);
	assert_int_equal(fresh->max_edges, 200);
	assert_int_equal(fresh->identity.n, 0);
	assert_int_equal(fresh->n_admin_groups, 1);
	assert_int_equal(old->identity.n, 1);
	config_free(old);
	config_free(fresh);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_given_is_the_defaults),
		cmocka_unit_test(changes_are_named_and_what_needs_a_restart_is_kept),
		cmocka_unit_test(every_setting_arrives),
		cmocka_unit_test(the_ways_of_alerts_and_metrics_arrive),
		cmocka_unit_test(errors_say_where_and_what),
		cmocka_unit_test(a_missing_file_is_the_defaults_and_an_unreadable_one_is_not),
		cmocka_unit_test(a_window_of_the_week_is_read_strictly),
		cmocka_unit_test(the_example_is_valid_complete_and_the_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
