/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of settings and its reader. A default is text, read by the same setter as the file, so
 * that no default can be out of its own bounds.
 */
#include "daemon/conf.h"
#include "daemon/history.h"

#include "rules/read.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct setting;
typedef int (*setter_fn)(
    const struct reader *r, const struct slot *s, const struct setting *t, struct config *c);

struct setting {
	const char *key;
	setter_fn set;
	size_t offset;
	uint64_t min, max;	  /* numbers and durations */
	const char *const *names; /* choices: index is the value */
	size_t n_names;
	const char *fallback; /* YAML */
	bool restart;	      /* sizes something at the start, or names what is known already */
};

static const char *const promote_names[] = { "off", "audit", "enforce" };
static const char *const promote_by_names[] = { "clock", "evidence" };
static const char *const direction_names[] = { NULL, "ingress", "egress", "both" };
static const char *const unknown_names[] = { "allow", "quarantine" };
static const char *const guard_names[] = { "auto", "on", "off" };
static const char *const aggregation_names[] = { "auto", "on", "off" };
static const char *const level_names[] = { "error", "warn", "info", "debug" };

static void *
field_of(struct config *c, const struct setting *t)
{
	return (char *)c + t->offset;
}

static int
set_number(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	int64_t v;
	int rc = read_int(r, s, "a number", (int64_t)t->min, (int64_t)t->max, &v);

	if (rc < 0)
		return rc;
	*(uint32_t *)field_of(c, t) = (uint32_t)v;
	return 0;
}

static int
set_duration(
    const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	char said[SHOWN_LEN], min[DURATION_STRLEN], max[DURATION_STRLEN];
	const char *text;
	uint64_t ns;
	int rc;

	if (json_is_integer(s->value))
		return read_fail(r, s,
		    "a duration needs a unit: %" JSON_INTEGER_FORMAT "s, %" JSON_INTEGER_FORMAT
		    "h or %" JSON_INTEGER_FORMAT "d",
		    json_integer_value(s->value), json_integer_value(s->value),
		    json_integer_value(s->value));
	rc = read_text(r, s, "a duration such as 30s, 12h or 7d", 64, &text);
	if (rc < 0)
		return rc;
	rc = duration_parse(text, &ns);
	if (rc == -EINVAL)
		return read_fail(r, s,
		    "'%s' is not a duration, expected one such as 30s, 12h or 7d",
		    shown(text, said));
	if (rc < 0 || ns < t->min || ns > t->max)
		return read_fail(r, s, "%s is out of range, expected a duration from %s to %s",
		    shown(text, said), duration_format(t->min, min), duration_format(t->max, max));
	*(uint64_t *)field_of(c, t) = ns;
	return 0;
}

static int
set_choice(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	size_t i;
	int rc = read_choice(r, s, t->key, t->names, t->n_names, &i);

	if (rc < 0)
		return rc;
	/* Every choice is an enumeration without negative values: an unsigned. */
	*(unsigned *)field_of(c, t) = (unsigned)i;
	return 0;
}

static int
set_bool(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	if (!json_is_boolean(s->value))
		return read_fail_type(r, s, "true or false");
	*(bool *)field_of(c, t) = json_is_true(s->value);
	return 0;
}

static bool
time_read(const char *text, uint16_t *ret)
{
	unsigned h, m;
	int n = 0;

	if (strspn(text, "0123456789:") < 5 || sscanf(text, "%2u:%2u%n", &h, &m, &n) != 2 ||
	    n != 5 || m > 59 || h * 60 + m > 24 * 60)
		return false;
	*ret = (uint16_t)(h * 60 + m);
	return true;
}

static int
day_read(const char *text)
{
	static const char *const days[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };

	for (int i = 0; i < 7; i++)
		if (strncmp(text, days[i], 3) == 0)
			return i;
	return -1;
}

/* "Mon-Thu 09:00-16:00", "Sat 00:00-24:00"; "" is always. */
static bool
window_read(const char *text, struct config_window *ret)
{
	struct config_window w = { 0 };
	int first = day_read(text), last = first;

	snprintf(w.text, sizeof(w.text), "%s", text);
	if (*text == '\0') {
		*ret = w;
		return true;
	}
	if (first >= 0 && text[3] == '-') {
		text += 4;
		last = day_read(text);
	}
	if (first < 0 || last < first || text[3] != ' ' || !time_read(text + 4, &w.from_min) ||
	    text[9] != '-' || !time_read(text + 10, &w.to_min) || text[15] != '\0' ||
	    w.from_min >= w.to_min)
		return false;
	for (int i = first; i <= last; i++)
		w.days |= (uint8_t)(1u << i);
	*ret = w;
	return true;
}

static int
set_window(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	char said[SHOWN_LEN];
	const char *text;
	int rc;

	/* Read as text even where it is empty. */
	if (json_is_string(s->value) && json_string_length(s->value) == 0)
		return window_read("", field_of(c, t)) ? 0 : -EINVAL;
	rc = read_text(r, s, "a window such as Mon-Thu 09:00-16:00", 24, &text);
	if (rc < 0)
		return rc;
	if (!window_read(text, field_of(c, t)))
		return read_fail(r, s,
		    "'%s' is not a window of the week, expected one such as Mon-Thu 09:00-16:00",
		    shown(text, said));
	return 0;
}

static void
names_free(char **names, size_t n)
{
	for (size_t i = 0; names != NULL && i < n; i++)
		free(names[i]);
	free(names);
}

static int
group_read(const struct reader *r, const struct slot *s, char **ret)
{
	static const char chars[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	char said[SHOWN_LEN];
	const char *text;
	int rc = read_text(r, s, "the name of a group", CONFIG_GROUP_MAX, &text);

	if (rc < 0)
		return rc;
	if (strspn(text, chars) != strlen(text) || text[0] == '-')
		return read_fail(r, s, "'%s' is not the name of a group", shown(text, said));
	*ret = strdup(text);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
set_groups(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	bool reviewer = t->offset == offsetof(struct config, reviewer_groups);
	size_t *count = reviewer ? &c->n_reviewer_groups : &c->n_admin_groups, n;
	char ***list = field_of(c, t), **names;
	int rc = read_array(r, s, "a list of groups", CONFIG_MAX_GROUPS, &n);

	if (rc < 0)
		return rc;
	names = calloc(n + 1, sizeof(*names));
	if (names == NULL)
		return -ENOMEM;
	names_free(*list, *count);
	*list = names;
	*count = n;
	for (size_t i = 0; i < n; i++) {
		struct slot item = slot_item(s, i);

		rc = group_read(r, &item, &names[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
set_resolvers(
    const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	char said[SHOWN_LEN];
	const char *text;
	size_t n;
	int rc = read_array(r, s, "a list of addresses", CONFIG_MAX_RESOLVERS, &n);

	for (size_t i = 0; rc >= 0 && i < n; i++) {
		struct slot item = slot_item(s, i);

		rc = read_text(r, &item, "the address of a name server", ADDR_STRLEN, &text);
		if (rc >= 0 &&
		    (addr_parse(text, &c->resolvers[i]) < 0 || !addr_is_routed(&c->resolvers[i])))
			rc = read_fail(r, &item,
			    "'%s' is not the address of a name server beyond the container",
			    shown(text, said));
	}
	if (rc >= 0)
		c->n_resolvers = n;
	return rc;
}

static int
set_identity(
    const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	return identity_rules_read(r, s, field_of(c, t));
}

static int
set_images(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	return images_config_read(r, s, field_of(c, t));
}

static int
set_alerts(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	return alerts_config_read(r, s, field_of(c, t));
}

static int
set_metrics(const struct reader *r, const struct slot *s, const struct setting *t, struct config *c)
{
	return metrics_config_read(r, s, field_of(c, t));
}

#define AT(field) offsetof(struct config, field)
#define NAMES(list) .names = (list), .n_names = ARRAY_SIZE(list)
#define SEC NSEC_PER_SEC

static const struct setting settings[] = {
	{ "observationPeriod", set_duration, AT(observation_period_ns), SEC, 366 * 86400 * SEC,
	    .fallback = "7d" },
	{ "promote", set_choice, AT(promote), NAMES(promote_names), .fallback = "off" },
	{ "promoteDirection", set_choice, AT(promote_direction), NAMES(direction_names),
	    .fallback = "both" },
	{ "promoteBy", set_choice, AT(promote_by), NAMES(promote_by_names), .fallback = "clock" },
	{ "promoteNewEdgeChance", set_number, AT(promote_chance), 1, 100, .fallback = "5" },
	{ "quietAudit", set_duration, AT(quiet_audit_ns), SEC, 366 * 86400 * SEC,
	    .fallback = "1d" },
	{ "promoteNotice", set_duration, AT(promote_notice_ns), 0, 30 * 86400 * SEC,
	    .fallback = "1h" },
	{ "promoteWindow", set_window, AT(promote_window), .fallback = "''" },
	{ "promoteConfirm", set_duration, AT(promote_confirm_ns), 5 * SEC, 86400 * SEC,
	    .fallback = "10m" },
	{ "onUnknown", set_choice, AT(on_unknown), NAMES(unknown_names), .fallback = "allow" },
	{ "identifyTimeout", set_duration, AT(identify_timeout_ns), 100 * NSEC_PER_MSEC, 60 * SEC,
	    .fallback = "2s" },
	{ "closeNamed", set_bool, AT(close_named), .fallback = "false" },
	{ "hostGuard", set_choice, AT(host_guard), NAMES(guard_names), .fallback = "auto" },
	{ "selfTest", set_duration, AT(self_test_ns), 0, 86400 * SEC, .fallback = "0s" },
	{ "activityPeriod", set_duration, AT(activity_period_ns), SEC, 3600 * SEC,
	    .fallback = "1m" },
	{ "rollbackDenials", set_number, AT(rollback_denials), 0, 1000000, .fallback = "20" },
	{ "reviewerGroups", set_groups, AT(reviewer_groups), .fallback = "[]" },
	{ "adminGroups", set_groups, AT(admin_groups), .fallback = "[]" },
	{ "identity", set_identity, AT(identity), .fallback = "[]", .restart = true },
	{ "idleExpiry", set_duration, AT(idle_expiry_ns), 0, 3660 * 86400 * SEC,
	    .fallback = "30d" },
	{ "recertifyAfter", set_duration, AT(recertify_after_ns), 0, 3660 * 86400 * SEC,
	    .fallback = "182d" },
	{ "fqdnMinTtl", set_duration, AT(fqdn_min_ttl_ns), SEC, 30 * 86400 * SEC,
	    .fallback = "1h" },
	{ "resolvers", set_resolvers, AT(resolvers), .fallback = "[]" },
	{ "serverNames", set_bool, AT(server_names), .fallback = "true" },
	{ "separateDuties", set_bool, AT(separate_duties), .fallback = "false" },
	{ "maxEdges", set_number, AT(max_edges), 100, POLICY_MAX_EDGES, .fallback = "50000",
	    .restart = true },
	{ "eventBuffer", set_number, AT(event_buffer), 256u << 10, 1u << 30, .fallback = "33554432",
	    .restart = true },
	{ "historyDays", set_number, AT(history_days), 0, HISTORY_MAX_DAYS, .fallback = "30" },
	{ "historyEntries", set_number, AT(history_entries), 1000, 10000000,
	    .fallback = "1000000" },
	{ "aggregation", set_choice, AT(aggregation), NAMES(aggregation_names),
	    .fallback = "auto" },
	{ "conntrackAlert", set_number, AT(conntrack_alert), 1, 100, .fallback = "80" },
	{ "images", set_images, AT(images), .fallback = "{}" },
	{ "alerts", set_alerts, AT(alerts), .fallback = "{}", .restart = true },
	{ "metrics", set_metrics, AT(metrics), .fallback = "{}", .restart = true },
	{ "logLevel", set_choice, AT(log_level), NAMES(level_names), .fallback = "info" },
};

void
config_free(struct config *c)
{
	if (c == NULL)
		return;
	names_free(c->reviewer_groups, c->n_reviewer_groups);
	names_free(c->admin_groups, c->n_admin_groups);
	identity_rules_done(&c->identity);
	names_free(c->given, ARRAY_SIZE(settings));
	free(c->text);
	images_config_done(&c->images);
	alerts_config_done(&c->alerts);
	metrics_config_done(&c->metrics);
	free(c);
}

static int
set(const struct reader *r, const struct slot *s, size_t i, struct config *c)
{
	char *given = json_dumps(s->value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

	if (given == NULL)
		return -ENOMEM;
	free(c->given[i]);
	c->given[i] = given;
	return settings[i].set(r, s, &settings[i], c);
}

static int
set_fallback(size_t i, struct config *c)
{
	const struct setting *t = &settings[i];
	_cleanup_(doc_freep) struct doc *doc = NULL;
	struct diag d;
	struct reader r = { .d = &d };
	struct slot s;
	int rc = doc_parse(t->fallback, strlen(t->fallback), &d, &doc);

	if (rc < 0)
		return rc;
	r.doc = doc;
	s = slot_root(doc_root(doc));
	return set(&r, &s, i, c);
}

int
config_new(struct config **ret)
{
	_cleanup_(config_freep) struct config *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->given = calloc(ARRAY_SIZE(settings), sizeof(char *));
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		int r = c->given != NULL ? set_fallback(i, c) : -ENOMEM;

		if (r < 0)
			return r;
	}
	*ret = steal_ptr(c);
	return 0;
}

static int
root_read(const struct reader *r, const struct slot *root, struct config *c)
{
	struct read_key keys[ARRAY_SIZE(settings)];
	struct slot slots[ARRAY_SIZE(settings)];
	int rc;

	if (json_is_null(root->value))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		keys[i] = (struct read_key){ settings[i].key, false };
	rc = read_object(r, root, "the configuration", keys, ARRAY_SIZE(keys), slots);
	for (size_t i = 0; i < ARRAY_SIZE(settings) && rc >= 0; i++)
		if (slots[i].value != NULL)
			rc = set(r, &slots[i], i, c);
	return rc;
}

int
config_parse(const char *text, size_t len, struct diag *d, struct config **ret)
{
	_cleanup_(config_freep) struct config *c = NULL;
	_cleanup_(doc_freep) struct doc *doc = NULL;
	struct diag unread;
	struct reader r = { .d = d != NULL ? d : &unread };
	struct slot root;
	int rc;

	if (len > CONFIG_MAX_BYTES) {
		diag_set(
		    d, 0, 0, "too large: %zu bytes, at most %u are read", len, CONFIG_MAX_BYTES);
		return -EINVAL;
	}
	rc = config_new(&c);
	if (rc >= 0)
		rc = doc_parse(text, len, r.d, &doc);
	if (rc < 0)
		return rc;
	r.doc = doc;
	root = slot_root(doc_root(doc));
	rc = root_read(&r, &root, c);
	if (rc < 0)
		return rc;
	*ret = steal_ptr(c);
	return 0;
}

/* The whole file, at most one byte more than is allowed, so that the parser says so. */
static int
file_read(int fd, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EISDIR;
	text = malloc(CONFIG_MAX_BYTES + 1);
	if (text == NULL)
		return -ENOMEM;
	while (len < CONFIG_MAX_BYTES + 1) {
		ssize_t n = read(fd, text + len, CONFIG_MAX_BYTES + 1 - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = steal_ptr(text);
	*ret_len = len;
	return 0;
}

int
config_read(int fd, struct diag *d, struct config **ret)
{
	_cleanup_(config_freep) struct config *c = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = file_read(fd, &text, &len);

	if (r < 0) {
		diag_set(d, 0, 0, "%s", r == -EISDIR ? "not a regular file" : strerror(-r));
		return r;
	}
	r = config_parse(text, len, d, &c);
	if (r < 0)
		return r;
	c->text = steal_ptr(text);
	c->text_len = len;
	*ret = steal_ptr(c);
	return 0;
}

int
config_load(const char *path, struct diag *d, struct config **ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = -errno;

	if (fd >= 0)
		return config_read(fd, d, ret);
	if (r == -ENOENT)
		return config_new(ret);
	diag_set(d, 0, 0, "%s", strerror(-r));
	return r;
}

json_t *
config_changes(const struct config *a, const struct config *b, bool restart)
{
	json_t *keys = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (settings[i].restart == restart && strcmp(a->given[i], b->given[i]) != 0)
			json_array_append_new(keys, json_string(settings[i].key));
	return keys;
}

void
config_keep_old(struct config *fresh, struct config *old)
{
	struct identity_rules identity = fresh->identity;
	struct alerts_config alerts = fresh->alerts;
	struct metrics_config metrics = fresh->metrics;

	fresh->identity = old->identity;
	old->identity = identity;
	fresh->alerts = old->alerts;
	old->alerts = alerts;
	fresh->metrics = old->metrics;
	old->metrics = metrics;
	fresh->max_edges = old->max_edges;
	fresh->event_buffer = old->event_buffer;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char *given = fresh->given[i];

		if (!settings[i].restart)
			continue;
		fresh->given[i] = old->given[i];
		old->given[i] = given;
	}
}
