/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a policy file. What is accepted must survive its own emission, in YAML and in JSON;
 * what is refused must say why. And the fast reader of JSON reads nothing otherwise than the other.
 */
#include "rules/doc.h"
#include "rules/policy.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The YAML of what the text parses to. */
static char *
again(const char *text)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	struct diag d;
	char *yaml = NULL;

	assert(policy_parse(text, strlen(text), &d, &p) == 0);
	assert(policy_to_yaml(p, &yaml) == 0);
	return yaml;
}

static void
compare_readers(const char *text, size_t len)
{
	_cleanup_(doc_freep) struct doc *fast = NULL, *slow = NULL;
	struct diag d;

	if (doc_parse_json(text, len, &fast) < 0 || doc_parse(text, len, &d, &slow) < 0)
		return;
	assert(json_equal(doc_root(fast), doc_root(slow)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	_cleanup_free_ char *once = NULL, *twice = NULL, *json = NULL, *from_json = NULL;
	struct diag d = { 0 };
	json_t *tree;

	compare_readers((const char *)data, size);
	if (policy_parse((const char *)data, size, &d, &p) < 0) {
		assert(p == NULL && d.msg[0] != '\0');
		return 0;
	}
	assert(policy_to_yaml(p, &once) == 0);
	twice = again(once);
	assert(strcmp(once, twice) == 0);
	tree = policy_to_json(p);
	assert(tree != NULL);
	json = json_dumps(tree, size % 2 == 0 ? JSON_COMPACT : JSON_ENSURE_ASCII | JSON_INDENT(1));
	json_decref(tree);
	assert(json != NULL);
	from_json = again(json);
	assert(strcmp(once, from_json) == 0);
	return 0;
}
