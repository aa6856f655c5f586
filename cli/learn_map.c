/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The map of a capture: whose addresses these are. */
#include "cli/file.h"
#include "cli/learn.h"

#include "rules/policy.h"
#include "rules/read.h"

#include <errno.h>

enum { NAME, ADDRESSES };
static const struct read_key workload_keys[] = { { "name", true }, { "addresses", true } };

static int
read_address(const struct reader *r, const struct slot *s, const char *name, struct offline *o)
{
	char said[SHOWN_LEN];
	struct prefix p;
	int rc = read_prefix(r, s, &p);

	if (rc < 0)
		return rc;
	rc = offline_map(o, name, &p);
	if (rc == -EEXIST)
		return read_fail(r, s, "%s is another workload's already",
		    shown(json_string_value(s->value), said));
	if (rc == -ENOSPC)
		return read_fail(r, s, "more than %d addresses", OFFLINE_MAX_MAPPED);
	if (rc == -EINVAL)
		return read_fail(r, s, "'%s' is no name of a workload", shown(name, said));
	return rc;
}

static int
read_workload(const struct reader *r, const struct slot *s, struct offline *o)
{
	struct slot f[ARRAY_SIZE(workload_keys)];
	const char *name = NULL;
	size_t n = 0;
	int rc = read_object(r, s, "a workload", workload_keys, ARRAY_SIZE(workload_keys), f);

	if (rc == 0)
		rc = read_text(r, &f[NAME], "the name of a workload", PEER_NAME_MAX, &name);
	if (rc == 0)
		rc = read_array(
		    r, &f[ADDRESSES], "a list of addresses and prefixes", OFFLINE_MAX_MAPPED, &n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct slot item = slot_item(&f[ADDRESSES], i);

		rc = read_address(r, &item, name, o);
	}
	return rc;
}

static int
read_map(struct doc *doc, struct diag *d, struct offline *o)
{
	static const struct read_key keys[] = { { "workloads", true } };
	const struct reader r = { doc, d };
	struct slot root = slot_root(doc_root(doc)), workloads;
	size_t n;
	int rc = read_object(&r, &root, "a map", keys, ARRAY_SIZE(keys), &workloads);

	if (rc == 0)
		rc = read_array(&r, &workloads, "a list of workloads", POLICY_MAX_WORKLOADS, &n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct slot item = slot_item(&workloads, i);

		rc = read_workload(&r, &item, o);
	}
	return rc;
}

int
learn_map(const char *path, struct offline *o)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_(doc_freep) struct doc *doc = NULL;
	struct diag d = { 0 };
	size_t len;
	int r = file_read(path, &text, &len);

	if (r != CLI_OK)
		return r;
	r = doc_parse(text, len, &d, &doc);
	if (r == 0)
		r = read_map(doc, &d, o);
	if (r == -ENOMEM)
		return cli_no_memory();
	if (r < 0) {
		file_report(path, &d);
		return CLI_USAGE;
	}
	return CLI_OK;
}
