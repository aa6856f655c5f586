/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg export: evidence in the forms that others read. The daemon is asked first; the files that
 * the user names are read here and parsed in a confined child, which also writes the format. What
 * it wrote is handed over only once the daemon has recorded the export, with its hash.
 */
#include "cli/audit_source.h"
#include "cli/bundle.h"
#include "cli/client.h"
#include "cli/confine.h"
#include "cli/controls.h"
#include "cli/export.h"
#include "cli/export_access.h"
#include "cli/file.h"
#include "cli/graph_page.h"
#include "cli/show.h"

#include "rules/timefmt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#ifndef PKGDATADIR
#define PKGDATADIR "/usr/share/nanoseg"
#endif

struct blob {
	char *path, *text;
	size_t len;
};

struct job {
	const char *format, *from, *compare, *verification, *project, *labels, *since;
	const char *controls, *data_dir, *out, *manifest, *signature;
	export_fn write; /* NULL: the audit log's */
	struct bundle_selector selector;
	uint64_t since_ns;
	json_t *bundle; /* of the daemon, or NULL */
	json_t *access; /* the audit log's records, or NULL */
	json_t *answer; /* to the record of the export */
	struct blob from_file, compare_file, verification_file, mappings[CONTROLS_MAX_FILES];
	size_t n_mappings;
	FILE *result;
};

static void
blob_done(struct blob *b)
{
	free(b->path);
	free(b->text);
}

static void
job_done(struct job *j)
{
	json_decref(j->bundle);
	json_decref(j->access);
	json_decref(j->answer);
	blob_done(&j->from_file);
	blob_done(&j->compare_file);
	blob_done(&j->verification_file);
	for (size_t i = 0; i < j->n_mappings; i++)
		blob_done(&j->mappings[i]);
	if (j->result != NULL)
		fclose(j->result);
}

static int
read_blob(const char *path, size_t max, struct blob *ret)
{
	if (path == NULL)
		return CLI_OK;
	ret->path = strdup(path);
	if (ret->path == NULL)
		return cli_no_memory();
	return file_read_max(path, max, &ret->text, &ret->len);
}

/* Mappings: a file, or all *.yaml of a folder in their order. */

static int
read_mapping(struct job *j, const char *path)
{
	if (j->n_mappings == CONTROLS_MAX_FILES) {
		cli_error("%s: at most %d mappings are read", path, CONTROLS_MAX_FILES);
		return CLI_USAGE;
	}
	return read_blob(path, CONTROLS_MAX_BYTES, &j->mappings[j->n_mappings++]);
}

static int
is_mapping(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return e->d_name[0] != '.' && len > 5 && strcmp(e->d_name + len - 5, ".yaml") == 0;
}

static int
read_folder(struct job *j, const char *dir)
{
	struct dirent **list = NULL;
	int n = scandir(dir, &list, is_mapping, alphasort), code = CLI_OK;

	if (n < 0) {
		cli_error("%s: %s", dir, strerror(errno));
		return CLI_ERROR;
	}
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;

		if (code == CLI_OK && asprintf(&path, "%s/%s", dir, list[i]->d_name) < 0)
			code = cli_no_memory();
		if (code == CLI_OK)
			code = read_mapping(j, path);
		free(list[i]);
	}
	free(list);
	return code;
}

static int
read_mappings(struct job *j)
{
	_cleanup_free_ char *dir = NULL;
	struct stat st;
	int code = CLI_OK;

	if (asprintf(&dir, "%s/controls", j->data_dir != NULL ? j->data_dir : PKGDATADIR) < 0)
		return cli_no_memory();
	if (j->data_dir != NULL || access(dir, F_OK) == 0)
		code = read_folder(j, dir);
	else
		cli_warn("%s is not there: the installed control mappings are left out", dir);
	if (code != CLI_OK || j->controls == NULL)
		return code;
	if (stat(j->controls, &st) == 0 && S_ISDIR(st.st_mode))
		return read_folder(j, j->controls);
	return read_mapping(j, j->controls);
}

/* In the child */

static int
report(const struct blob *b, const struct diag *d, int r)
{
	if (r == -ENOMEM)
		return cli_no_memory();
	file_report(b->path, d);
	return r == -EBADMSG ? CLI_DIFFERENCES : CLI_USAGE;
}

static int
add_mappings(const struct job *j, json_t *b)
{
	json_t *list = json_array();
	int r = 0, code = CLI_OK;

	for (size_t i = 0; i < j->n_mappings && code == CLI_OK; i++) {
		struct diag d = { 0 };
		json_t *m = NULL;

		r = controls_parse(j->mappings[i].text, j->mappings[i].len, &d, &m);
		if (r < 0)
			code = report(&j->mappings[i], &d, r);
		else
			json_array_append_new(list, m);
	}
	if (code == CLI_OK && controls_judge(b, list) < 0)
		code = cli_no_memory();
	json_decref(list);
	return code;
}

static int
add_verification(const struct job *j, json_t *b)
{
	const struct blob *f = &j->verification_file;
	struct diag d = { 0 };
	json_error_t e;
	json_t *v;

	if (f->text == NULL)
		return CLI_OK;
	v = json_loadb(f->text, f->len, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(v) || !json_is_integer(json_object_get(v, "probes")) ||
	    json_array_size(json_object_get(v, "cases")) > BUNDLE_MAX_EDGES) {
		diag_set(&d, 0, 0, "expected the JSON of nanoseg verify: %.150s",
		    v == NULL ? e.text : "{probes, passed, failed, cases}");
		json_decref(v);
		return report(f, &d, -EINVAL);
	}
	if (!bundle_is_verification(v)) {
		diag_set(&d, 0, 0,
		    "this is a plan, or of another kind: expected what nanoseg verify found");
		json_decref(v);
		return report(f, &d, -EINVAL);
	}
	json_object_set_new(b, "verification", v);
	bundle_narrow_verification(b);
	return CLI_OK;
}

static int
add_comparison(const struct job *j, json_t *b)
{
	struct diag d = { 0 };
	json_t *earlier;
	int r;

	if (j->compare_file.text == NULL)
		return CLI_OK;
	r = bundle_parse(j->compare_file.text, j->compare_file.len, &d, &earlier);
	if (r < 0)
		return report(&j->compare_file, &d, r);
	/* The earlier one may be of the same selection, or whole and is narrowed to it here. */
	if (!json_is_object(json_object_get(earlier, "selector")))
		bundle_select(earlier, &j->selector);
	if (!json_equal(json_object_get(earlier, "selector"), json_object_get(b, "selector"))) {
		json_decref(earlier);
		diag_set(&d, 0, 0, "it is of another selection: the two cannot be compared");
		return report(&j->compare_file, &d, -EINVAL);
	}
	r = bundle_compare(b, earlier);
	json_decref(earlier);
	return r < 0 ? cli_no_memory() : CLI_OK;
}

static int
make_bundle(struct job *j, json_t **ret)
{
	struct diag d = { 0 };
	int r;

	if (j->from_file.text == NULL) {
		*ret = json_incref(j->bundle);
		return CLI_OK;
	}
	r = bundle_parse(j->from_file.text, j->from_file.len, &d, ret);
	if (r < 0)
		return report(&j->from_file, &d, r);
	json_object_del(*ret, "comparison");
	return CLI_OK;
}

static int
build(void *arg)
{
	struct job *j = arg;
	json_t *b = NULL;
	int r, code = make_bundle(j, &b);

	if (code != CLI_OK)
		return code;
	r = bundle_select(b, &j->selector);
	if (r < 0) {
		cli_error(r == -ENOENT ? "no workload is selected"
				       : "the bundle is of a selection already: make it anew of a "
					 "whole one");
		return CLI_USAGE;
	}
	code = add_verification(j, b);
	if (code == CLI_OK)
		code = bundle_judge(b) == 0 ? add_comparison(j, b) : cli_no_memory();
	if (code == CLI_OK)
		code = add_mappings(j, b);
	if (code != CLI_OK)
		return code;
	r = bundle_seal(b);
	if (r == 0)
		r = j->write(b, j->result);
	if (r < 0)
		return cli_no_memory();
	if (fflush(j->result) != 0) {
		cli_error("the export is too large: %s", strerror(errno));
		return CLI_ERROR;
	}
	return CLI_OK;
}

static int
build_access(struct job *j)
{
	const struct access_format *f = access_format_find(j->format);

	if (f->write(j->access, j->result) < 0 || fflush(j->result) != 0)
		return cli_no_memory();
	return CLI_OK;
}

/* Handing it over */

static char *
selector_text(const struct job *j)
{
	char *text = NULL;

	if (j->project == NULL && j->labels == NULL)
		return NULL;
	if (asprintf(&text, "%s%s%s%s", j->project != NULL ? "project=" : "",
		j->project != NULL ? j->project : "",
		j->project != NULL && j->labels != NULL ? "," : "",
		j->labels != NULL ? j->labels : "") < 0)
		return NULL;
	return text;
}

static int
record(const struct cli *cli, struct job *j, const char *hash, size_t len)
{
	_cleanup_free_ char *selector = selector_text(j);
	json_t *body = json_pack("{s:s, s:s, s:I, s:I}", "format", j->format, "sha256", hash,
	    "bytes", (json_int_t)len, "revision", (json_int_t)show_int(j->bundle, "revision", 0));
	int code;

	if (selector != NULL)
		json_object_set_new(body, "selector", json_string(selector));
	code = client_post_json(cli, "/v1/audit/export", body, &j->answer);
	if (code == CLI_OK && j->signature != NULL &&
	    !json_is_object(json_object_get(j->answer, "signature"))) {
		cli_error("the daemon has not signed it: it has no key, or you are a viewer and no "
			  "reviewer; nothing is written");
		return CLI_ERROR;
	}
	return code;
}

/* As sha256sum -c reads it, from the folder of the file. */
static int
write_manifest(const struct job *j, const char *hash)
{
	const char *slash = strrchr(j->out, '/');
	_cleanup_free_ char *text = NULL;
	int n = asprintf(&text, "%s  %s\n", hash, slash != NULL ? slash + 1 : j->out);

	if (n < 0) {
		text = NULL;
		return cli_no_memory();
	}
	return file_write(j->manifest, text, (size_t)n);
}

static int
write_signature(const struct job *j)
{
	_cleanup_free_ char *text = json_dumps(json_object_get(j->answer, "signature"),
	    JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENSURE_ASCII);

	return text != NULL ? file_write(j->signature, text, strlen(text)) : cli_no_memory();
}

static int
hand_over(const struct cli *cli, struct job *j)
{
	int fd = fileno(j->result), code = CLI_OK;
	off_t len = lseek(fd, 0, SEEK_END);
	char hash[AUDIT_HASH_STRLEN];
	char *text;

	text = len > 0 ? mmap(NULL, (size_t)len, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (text == MAP_FAILED) {
		cli_error("the export cannot be read back: %s", strerror(errno));
		return CLI_ERROR;
	}
	audit_digest(text, (size_t)len, hash);
	if (j->from == NULL)
		code = record(cli, j, hash, (size_t)len);
	if (code == CLI_OK && j->out != NULL)
		code = file_write(j->out, text, (size_t)len);
	else if (code == CLI_OK && fwrite(text, (size_t)len, 1, stdout) != 1)
		code = CLI_ERROR;
	if (code == CLI_OK && j->manifest != NULL)
		code = write_manifest(j, hash);
	if (code == CLI_OK && j->signature != NULL)
		code = write_signature(j);
	munmap(text, (size_t)len);
	return code;
}

/* The arguments */

static int
since_arg(const char *text, uint64_t *ret, struct diag *d)
{
	uint64_t now = (uint64_t)time(NULL) * NSEC_PER_SEC, ns;

	if (duration_parse(text, &ns) == 0 && ns < now) {
		*ret = now - ns;
		return 0;
	}
	if (time_parse(text, ret) == 0)
		return 0;
	diag_set(d, 0, 0, "--since: expected a duration (90d) or a time (2027-01-01T00:00:00Z)");
	return -EINVAL;
}

static int
check_access(const struct cli *cli, const struct job *j)
{
	if (j->from != NULL || j->compare != NULL || j->verification != NULL ||
	    j->project != NULL || j->labels != NULL || j->controls != NULL)
		return cli_usage(
		    cli, "%s takes --since, --out, --manifest and --signature only", j->format);
	return CLI_OK;
}

static int
read_args(const struct cli *cli, struct job *j)
{
	const struct export_format *f = export_formats;
	struct diag d = { 0 };

	while (f->name != NULL && strcmp(f->name, j->format) != 0)
		f++;
	j->write = f->write;
	if (f->name == NULL && access_format_find(j->format) == NULL)
		return cli_usage(cli,
		    "expected json, csv, html, html-static, oscal, k8s, cilium, ocsf, syslog, "
		    "graph, "
		    "dot, mermaid, access, access-csv or access-syslog, not '%s'",
		    j->format);
	if (j->write == export_graph && !page_is_there()) {
		cli_error(PAGE_MISSING);
		return CLI_ERROR;
	}
	if (j->manifest != NULL && j->out == NULL)
		return cli_usage(cli, "--manifest goes with --out");
	if (j->from != NULL && j->signature != NULL)
		return cli_usage(cli, "--signature is the daemon's, it does not go with --from");
	if (j->from != NULL && j->since != NULL)
		return cli_usage(cli, "--since goes with a daemon, not with --from");
	j->selector.project = j->project;
	if ((j->labels != NULL && bundle_selector_labels(j->labels, &j->selector, &d) < 0) ||
	    (j->since != NULL && since_arg(j->since, &j->since_ns, &d) < 0))
		return cli_usage(cli, "%s", d.msg);
	return j->write == NULL ? check_access(cli, j) : CLI_OK;
}

static int
read_inputs(const struct cli *cli, struct job *j)
{
	int code = read_blob(j->from, BUNDLE_MAX_BYTES, &j->from_file);

	if (code == CLI_OK)
		code = read_blob(j->compare, BUNDLE_MAX_BYTES, &j->compare_file);
	if (code == CLI_OK)
		code = read_blob(j->verification, 16u << 20, &j->verification_file);
	if (code == CLI_OK)
		code = read_mappings(j);
	if (code == CLI_OK && j->from == NULL)
		code = bundle_collect(cli, j->since_ns, &j->bundle);
	return code;
}

static int
run(struct cli *cli, struct job *j)
{
	int fd, code;

	code = read_args(cli, j);
	if (code == CLI_OK)
		code = j->write != NULL ? read_inputs(cli, j)
					: access_collect(cli, j->since_ns, &j->access);
	if (code != CLI_OK)
		return code;
	fd = memfd_create("nanoseg-export", MFD_CLOEXEC);
	j->result = fd >= 0 ? fdopen(fd, "w+") : NULL;
	if (j->result == NULL) {
		cli_error("no memory for the export: %s", strerror(errno));
		return CLI_ERROR;
	}
	code = j->write != NULL ? confine_run(build, j) : build_access(j);
	if (code != CLI_OK)
		return code < 0 ? CLI_ERROR : code;
	code = hand_over(cli, j);
	if (code != CLI_OK || j->access == NULL || access_is_intact(j->access))
		return code;
	cli_error(
	    "the audit log is NOT intact, and so the export says: see nanoseg audit-log verify");
	return CLI_DIFFERENCES;
}

int
cmd_export(struct cli *cli, int argc, char **argv)
{
	struct job j = { 0 };
	const struct arg_option own[] = {
		{ "out", 0, NULL, &j.out },
		{ "manifest", 0, NULL, &j.manifest },
		{ "signature", 0, NULL, &j.signature },
		{ "from", 0, NULL, &j.from },
		{ "compare", 0, NULL, &j.compare },
		{ "verification", 0, NULL, &j.verification },
		{ "project", 0, NULL, &j.project },
		{ "label", 0, NULL, &j.labels },
		{ "since", 0, NULL, &j.since },
		{ "controls", 0, NULL, &j.controls },
		{ "data-dir", 0, NULL, &j.data_dir },
	};
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	if (n != 1)
		return cli_usage(cli, "expected one format");
	j.format = argv[0];
	code = run(cli, &j);
	job_done(&j);
	return code;
}
