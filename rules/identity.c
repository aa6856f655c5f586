/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Identity rules: how they are read, and what they make of a container. */
#include "rules/identity.h"

#include "rules/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LABEL "label."
#define LABEL_LEN (sizeof(LABEL) - 1)
#define ONE_OFF "/run"
/* What each ${...} may take, so that a name always fits; more than a mark needs. */
#define VALUE_MAX ((PEER_NAME_MAX - IDENTITY_MAX_NAME - sizeof(ONE_OFF)) / IDENTITY_MAX_VALUES)

static const char *const fact_names[] = { "name", "image", "runtime", "pod", "compose.project",
	"compose.service", "swarm.service", "kube.namespace", "kube.owner", "label.KEY" };

static bool
fact_known(const char *fact)
{
	if (strncmp(fact, LABEL, LABEL_LEN) == 0)
		return fact[LABEL_LEN] != '\0';
	for (size_t i = 0; i < ARRAY_SIZE(fact_names) - 1; i++)
		if (strcmp(fact, fact_names[i]) == 0)
			return true;
	return false;
}

/* The value, or NULL if it is not there, or not believed. */
static const char *
fact_value(const char *fact, const struct container_facts *f, const struct workload_id *id)
{
	const struct {
		const char *name, *value;
		bool there;
	} facts[] = {
		{ "name", f->name, f->name != NULL },
		{ "image", id->image_repo, true },
		{ "runtime", runtime_name(f->runtime), true },
		{ "pod", f->pod, f->runtime == RUNTIME_PODMAN && f->pod != NULL },
		{ "compose.project", id->project, id->kind == IDENTITY_COMPOSE },
		{ "compose.service", id->service, id->kind == IDENTITY_COMPOSE },
		{ "swarm.service", id->service, id->kind == IDENTITY_SWARM },
		{ "kube.namespace", id->project, id->kind == IDENTITY_KUBE },
		{ "kube.owner", id->service, id->kind == IDENTITY_KUBE },
	};

	if (strncmp(fact, LABEL, LABEL_LEN) == 0)
		return workload_own_label(f, fact + LABEL_LEN);
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
		if (strcmp(fact, facts[i].name) == 0)
			return facts[i].there && *facts[i].value != '\0' ? facts[i].value : NULL;
	return NULL;
}

bool
identity_glob(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;

	while (*text != '\0') {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

/* The fact of the next ${...} in a name, and what stands before it; NULL: none. */
static const char *
next_value(const char *from, const char **ret_end)
{
	const char *start = strstr(from, "${");

	*ret_end = start != NULL ? strchr(start, '}') : NULL;
	return start;
}

/* The fact's name out of "${FACT}". */
static void
fact_of(const char *start, const char *end, char ret[static IDENTITY_MAX_NAME + 1])
{
	size_t len = (size_t)(end - start - 2);

	memcpy(ret, start + 2, len);
	ret[len] = '\0';
}

static bool
name_expand(const char *template, const struct container_facts *f, const struct workload_id *id,
    char ret[static PEER_NAME_MAX + 1])
{
	char part[VALUE_MAX + 1], fact[IDENTITY_MAX_NAME + 1], name[PEER_NAME_MAX + 1];
	const char *start, *end, *value;
	size_t len = 0;

	while ((start = next_value(template, &end)) != NULL) {
		fact_of(start, end, fact);
		value = fact_value(fact, f, id);
		if (value == NULL)
			return false;
		workload_escape_part(value, part, VALUE_MAX);
		len += (size_t)snprintf(name + len, sizeof(name) - len, "%.*s%s",
		    (int)(start - template), template, part);
		template = end + 1;
	}
	snprintf(name + len, sizeof(name) - len, "%s%s", template, id->one_off ? ONE_OFF : "");
	memcpy(ret, name, strlen(name) + 1);
	return true;
}

static bool
rule_matches(
    const struct identity_rule *rule, const struct container_facts *f, const struct workload_id *id)
{
	for (size_t i = 0; i < rule->n_match; i++) {
		const char *value = fact_value(rule->match[i].fact, f, id);

		if (value == NULL || !identity_glob(rule->match[i].pattern, value))
			return false;
	}
	return true;
}

bool
identity_rules_apply(
    const struct identity_rules *rules, const struct container_facts *f, struct workload_id *id)
{
	for (size_t i = 0; i < rules->n; i++)
		if (rule_matches(&rules->list[i], f, id) &&
		    name_expand(rules->list[i].workload, f, id, id->name))
			return true;
	return false;
}

void
identity_rules_done(struct identity_rules *rules)
{
	for (size_t i = 0; i < rules->n; i++) {
		struct identity_rule *rule = &rules->list[i];

		for (size_t k = 0; k < rule->n_match; k++) {
			free(rule->match[k].fact);
			free(rule->match[k].pattern);
		}
		free(rule->workload);
	}
	free(rules->list);
	*rules = (struct identity_rules){ 0 };
}

static int
match_read(const struct reader *r, const struct slot *s, struct identity_rule *ret)
{
	char said[SHOWN_LEN];
	const char *key, *near;
	json_t *value;
	int rc;

	if (!json_is_object(s->value))
		return read_fail_type(r, s, "a mapping from facts to patterns");
	if (json_object_size(s->value) == 0)
		return read_fail(r, s, "a rule needs at least one pattern");
	if (json_object_size(s->value) > IDENTITY_MAX_MATCHES)
		return read_fail(r, s, "too many patterns: at most %d", IDENTITY_MAX_MATCHES);
	json_object_foreach(s->value, key, value)
	{
		struct slot item = { .holder = s->value, .key = key, .value = value };
		struct identity_match *m = &ret->match[ret->n_match++];

		if (!fact_known(key)) {
			near = nearest_word(key, fact_names, ARRAY_SIZE(fact_names));
			return read_fail_key(r, &item, "unknown fact '%s'%s%s%s", shown(key, said),
			    near != NULL ? ", did you mean '" : "", near != NULL ? near : "",
			    near != NULL ? "'?" : "");
		}
		m->fact = strdup(key);
		if (m->fact == NULL)
			return -ENOMEM;
		rc = read_text_dup(r, &item, "a pattern", IDENTITY_MAX_PATTERN, &m->pattern);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
name_read(const struct reader *r, const struct slot *s, char **ret)
{
	char fact[IDENTITY_MAX_NAME + 1], said[SHOWN_LEN], safe[4 * IDENTITY_MAX_NAME + 1];
	const char *text, *start, *end;
	size_t n = 0;
	int rc = read_text(r, s, "a workload's name", IDENTITY_MAX_NAME, &text);

	if (rc < 0)
		return rc;
	/* Only escaping writes a '%', so that no two names meet. */
	if (strchr(text, '%') != NULL)
		return read_fail(r, s, "a workload's name cannot have a '%%' here");
	text_escape(text, strlen(text), safe, sizeof(safe));
	if (strcmp(text, safe) != 0)
		return read_fail(
		    r, s, "'%s' has characters that cannot be shown", shown(text, said));
	for (const char *from = text; (start = next_value(from, &end)) != NULL; from = end + 1) {
		if (end == NULL)
			return read_fail(r, s, "'${' without '}'");
		if (++n > IDENTITY_MAX_VALUES)
			return read_fail(r, s, "at most %d facts in a name", IDENTITY_MAX_VALUES);
		fact_of(start, end, fact);
		if (!fact_known(fact))
			return read_fail(r, s, "unknown fact '%s'", shown(fact, said));
	}
	*ret = strdup(text);
	return *ret != NULL ? 0 : -ENOMEM;
}

int
identity_rules_read(const struct reader *r, const struct slot *s, struct identity_rules *ret)
{
	static const struct read_key keys[] = { { "match", true }, { "workload", true } };
	struct slot f[ARRAY_SIZE(keys)];
	size_t n;
	int rc = read_array(r, s, "a list of identity rules", IDENTITY_MAX_RULES, &n);

	if (rc < 0)
		return rc;
	identity_rules_done(ret);
	ret->list = calloc(n + 1, sizeof(*ret->list));
	if (ret->list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		struct slot item = slot_item(s, i);
		struct identity_rule *rule = &ret->list[ret->n++];

		rc = read_object(r, &item, "an identity rule", keys, ARRAY_SIZE(keys), f);
		if (rc >= 0)
			rc = match_read(r, &f[0], rule);
		if (rc >= 0)
			rc = name_read(r, &f[1], &rule->workload);
	}
	return rc;
}
