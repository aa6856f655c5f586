/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/golden/compile: NAME.yaml (a policy) and NAME.json (who has which addresses, and the time)
 * give NAME.txt, the rulesets of all its workloads. `make update-golden` writes them anew: read the
 * difference before committing it.
 */
#include "rules/compile.h"
#include "rules/util.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define MAX_WORKLOADS 16
#define MAX_ADDRS 64
#define MAX_NAMES 8

struct world {
	json_t *json;
	struct inventory inv;
	struct inventory_entry entries[MAX_WORKLOADS];
	struct addr addrs[MAX_ADDRS];
	size_t n_addrs;
	struct inventory_name names[MAX_NAMES];
	uint64_t now_ns;
};

static void
golden_path(char buf[static 4096], const char *name, const char *suffix)
{
	const char *top = getenv("top_srcdir");

	snprintf(buf, 4096, "%s/tests/golden/compile/%s%s", top != NULL ? top : ".", name, suffix);
}

/* The whole file, terminated. */
static char *
read_text(const char *path)
{
	size_t size = 1 << 20, n;
	FILE *f = fopen(path, "r");
	char *text = calloc(1, size);

	assert_non_null(text);
	if (f == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	n = fread(text, 1, size - 1, f);
	assert_true(n < size - 1);
	fclose(f);
	return text;
}

static const struct addr *
read_addrs(struct world *w, const json_t *array, size_t *ret_n)
{
	const struct addr *first = &w->addrs[w->n_addrs];
	size_t i;

	assert_true(w->n_addrs + json_array_size(array) <= MAX_ADDRS);
	for (i = 0; i < json_array_size(array); i++)
		assert_int_equal(addr_parse(json_string_value(json_array_get(array, i)),
				     &w->addrs[w->n_addrs++]),
		    0);
	*ret_n = json_array_size(array);
	return first;
}

static int
entry_cmp(const void *a, const void *b)
{
	const struct inventory_entry *x = a, *y = b;

	return strcmp(x->workload, y->workload);
}

/* In the file in the order that inventories have. */
static void
read_names(struct world *w, const json_t *list)
{
	const char *addr;

	for (size_t i = 0; i < json_array_size(list); i++) {
		struct inventory_name *n = &w->names[i];

		assert_true(i < MAX_NAMES);
		assert_int_equal(json_unpack(json_array_get(list, i), "[s, s, s]", &n->workload,
				     &n->name, &addr),
		    0);
		assert_int_equal(addr_parse(addr, &n->addr), 0);
	}
	w->inv.names = w->names;
	w->inv.n_names = json_array_size(list);
}

static void
read_world(struct world *w, const char *name)
{
	char path[4096];
	json_error_t error;
	const char *key;
	json_t *addrs;
	size_t n = 0;

	golden_path(path, name, ".json");
	w->json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (w->json == NULL)
		fail_msg("%s: %s", path, error.text);
	w->now_ns = (uint64_t)json_integer_value(json_object_get(w->json, "now")) * NSEC_PER_SEC;
	assert_true(w->now_ns > 0);
	w->inv.host = read_addrs(w, json_object_get(w->json, "host"), &w->inv.n_host);
	json_object_foreach(json_object_get(w->json, "workloads"), key, addrs)
	{
		assert_true(n < MAX_WORKLOADS);
		w->entries[n].workload = key;
		w->entries[n].addrs = read_addrs(w, addrs, &w->entries[n].n_addrs);
		n++;
	}
	qsort(w->entries, n, sizeof(w->entries[0]), entry_cmp);
	w->inv.entries = w->entries;
	w->inv.n_entries = n;
	read_names(w, json_object_get(w->json, "names"));
}

static void
compile_all(FILE *out, const struct policy *p, const struct world *w)
{
	const struct policy_edge *unsupported;
	size_t i;

	for (i = 0; i < p->n_workloads; i++) {
		_cleanup_(ruleset_freep) struct ruleset *r = NULL;
		_cleanup_free_ char *text = NULL;

		assert_int_equal(
		    ruleset_compile(p, &w->inv, p->workloads[i].name, w->now_ns, &r), 0);
		assert_int_equal(ruleset_print(r, &text), 0);
		fprintf(out, "== %s\n%s", p->workloads[i].name, text);
		if (compile_unsupported(p, p->workloads[i].name, &unsupported))
			fprintf(out, "unsupported %s\n", unsupported->id);
	}
}

static void
check_golden(const char *name)
{
	_cleanup_(policy_freep) struct policy *p = NULL;
	_cleanup_free_ char *yaml = NULL, *got = NULL, *want = NULL;
	struct world w = { 0 };
	struct diag d = { 0 };
	char path[4096];
	size_t len;
	FILE *out;

	golden_path(path, name, ".yaml");
	yaml = read_text(path);
	if (policy_parse(yaml, strlen(yaml), &d, &p) < 0)
		fail_msg("%s:%u:%u: %s", path, d.line, d.col, d.msg);
	read_world(&w, name);
	out = open_memstream(&got, &len);
	assert_non_null(out);
	compile_all(out, p, &w);
	fclose(out);
	json_decref(w.json);

	golden_path(path, name, ".txt");
	if (getenv("UPDATE_GOLDEN") != NULL) {
		out = fopen(path, "w");
		assert_non_null(out);
		fputs(got, out);
		assert_int_equal(fclose(out), 0);
	}
	want = read_text(path);
	assert_string_equal(got, want);
}

static void
policies_compile_to_what_was_reviewed(void **state)
{
	char path[4096], name[256];
	struct dirent *entry;
	size_t n = 0;
	char *suffix;
	DIR *dir;

	golden_path(path, "", "");
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		snprintf(name, sizeof(name), "%s", entry->d_name);
		suffix = strrchr(name, '.');
		if (suffix == NULL || strcmp(suffix, ".yaml") != 0)
			continue;
		*suffix = '\0';
		check_golden(name);
		n++;
	}
	closedir(dir);
	assert_true(n >= 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies_compile_to_what_was_reviewed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
