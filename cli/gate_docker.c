/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Docker knows no hooks: a runtime entry in daemon.json names the wrapper nanoseg-runc, and
 * default-runtime names the entry. What the file was before is kept byte for byte beside it, and
 * comes back if nothing but our two keys has changed since.
 *
 * Docker remembers the runtime of every container. One that was made with the gate does not start
 * without the entry: while there is such a container, removal leaves an entry that names the real
 * runtime.
 */
#include "cli/gate.h"

#include "rules/oci.h"

#include <ctype.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ENGINE_TIMEOUT_S 5L
#define MAX_INFO (4u << 20)

static const char *const builtin[] = { "runc", "io.containerd.runc.v2", "io.containerd.runc.v1",
	"io.containerd.runtime.v1.linux" };

static int
failed(const char *path, int error)
{
	cli_error("%s: %s", path, strerror(-error));
	return error == -EACCES || error == -EPERM ? CLI_NOT_PERMITTED : CLI_ERROR;
}

/* The file's bytes and value: both NULL if there is none. An exit code. */
static int
read_config(const char *path, char **ret_text, size_t *ret_len, json_t **ret)
{
	json_error_t err;
	struct stat st;
	int r;

	*ret = NULL;
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
		cli_error(
		    "%s: is a symbolic link, and a link is not written through: name the file "
		    "itself with --config",
		    path);
		return CLI_USAGE;
	}
	r = gate_file_read(path, ret_text, ret_len);
	if (r == -ENOENT)
		return CLI_OK;
	if (r < 0)
		return failed(path, r);
	*ret = json_loadb(*ret_text, *ret_len, JSON_REJECT_DUPLICATES, &err);
	if (json_is_object(*ret))
		return CLI_OK;
	if (*ret == NULL)
		cli_error("%s:%d:%d: %s; not changed", path, err.line, err.column, err.text);
	else
		cli_error("%s: expected a JSON object; not changed", path);
	json_decref(*ret);
	*ret = NULL;
	return CLI_USAGE;
}

static int
write_config(const char *path, const json_t *value)
{
	_cleanup_free_ char *text = json_dumps(value, JSON_INDENT(4) | JSON_REAL_PRECISION(17));
	_cleanup_free_ char *lines = NULL;
	json_t *again;
	bool same;
	int n, r;

	if (text == NULL || (n = asprintf(&lines, "%s\n", text)) < 0)
		return cli_no_memory();
	again = json_loadb(lines, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	same = json_equal(again, value);
	json_decref(again);
	if (!same) {
		cli_error(
		    "%s: has a value that cannot be written back as it is; not changed", path);
		return CLI_ERROR;
	}
	r = gate_file_write(path, lines, (size_t)n, 0644);
	return r < 0 ? failed(path, r) : CLI_OK;
}

/* A dockerd that was given by option what we are to write does not start with both. */
static int
check_options(void)
{
	static const char *const clashes[] = { "--default-runtime", "--add-runtime" };
	DIR *d = opendir("/proc");
	const char *clash = NULL;
	struct dirent *e;

	while (d != NULL && clash == NULL && (e = readdir(d)) != NULL) {
		char path[PATH_MAX], text[65536];
		FILE *f;
		size_t n;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
		f = fopen(path, "re");
		n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
		if (f != NULL)
			fclose(f);
		text[n] = '\0';
		if (strcmp(text, "dockerd") != 0 &&
		    (n < 8 || strlen(text) < 8 || strcmp(text + strlen(text) - 8, "/dockerd") != 0))
			continue;
		for (const char *a = text; a < text + n; a += strlen(a) + 1)
			for (size_t i = 0; i < ARRAY_SIZE(clashes); i++)
				if (strncmp(a, clashes[i], strlen(clashes[i])) == 0)
					clash = clashes[i];
	}
	if (d != NULL)
		closedir(d);
	if (clash == NULL)
		return CLI_OK;
	cli_error("a dockerd runs with %s: it would refuse daemon.json with a runtime; move that "
		  "option into the file first",
	    clash);
	return CLI_ERROR;
}

/* The runtime that containers have had so far. */
static int
find_runtime(const struct gate_opts *o, const json_t *config, char *ret, size_t size)
{
	const char *name = json_string_value(json_object_get(config, "default-runtime"));
	const json_t *entry;
	const char *path = o->runtime;

	if (path == NULL && name != NULL && strcmp(name, GATE_RUNTIME) != 0) {
		entry = json_object_get(json_object_get(config, "runtimes"), name);
		path = json_string_value(json_object_get(entry, "path"));
		for (size_t i = 0; path == NULL && i < ARRAY_SIZE(builtin); i++)
			if (strcmp(name, builtin[i]) == 0)
				path = "runc";
		if (path == NULL || json_array_size(json_object_get(entry, "runtimeArgs")) > 0) {
			cli_error("the default runtime '%s' has no path of its own that could be "
				  "run behind the gate; name one with --runtime",
			    name);
			return CLI_ERROR;
		}
	}
	if (path == NULL)
		path = "runc";
	if (!gate_find_program(path, ret, size) || strchr(ret, '\n') != NULL) {
		cli_error("there is no runtime %s; name it with --runtime", path);
		return CLI_ERROR;
	}
	return CLI_OK;
}

static int
write_conf(const struct gate_opts *o, const char *runtime)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	int n, r;

	n = asprintf(&text,
	    "# Made by nanoseg gate install.\n"
	    "runtime %s\nhook %s/%s\nsocket %s\nmarker %s\n%s%s%sfailOpen %s\n",
	    runtime, o->dir, GATE_HOOK, o->socket, o->marker, o->timeout != NULL ? "timeout " : "",
	    o->timeout != NULL ? o->timeout : "", o->timeout != NULL ? "\n" : "",
	    o->fail_open ? "yes" : "no");
	if (n < 0) {
		text = NULL;
		return cli_no_memory();
	}
	snprintf(path, sizeof(path), "%s/gate.conf", o->dir);
	r = gate_file_write(path, text, (size_t)n, 0644);
	return r < 0 ? failed(path, r) : CLI_OK;
}

/* The value of a key of gate.conf. */
static bool
conf_value(const struct gate_opts *o, const char *key, char *ret, size_t size)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], *save = NULL;
	size_t len, n = strlen(key);

	snprintf(path, sizeof(path), "%s/gate.conf", o->dir);
	if (gate_file_read(path, &text, &len) < 0)
		return false;
	for (char *l = strtok_r(text, "\n", &save); l != NULL; l = strtok_r(NULL, "\n", &save))
		if (strncmp(l, key, n) == 0 && l[n] == ' ') {
			snprintf(ret, size, "%s", l + n + 1);
			return true;
		}
	return false;
}

static bool
is_ours(const json_t *config)
{
	const char *name = json_string_value(json_object_get(config, "default-runtime"));

	return name != NULL && strcmp(name, GATE_RUNTIME) == 0 &&
	       json_is_object(json_object_get(json_object_get(config, "runtimes"), GATE_RUNTIME));
}

bool
gate_docker_is_wired(const char *config)
{
	_cleanup_free_ char *text = NULL;
	json_t *value = NULL;
	size_t len;
	bool wired;

	if (gate_file_read(config, &text, &len) == 0)
		value = json_loadb(text, len, 0, NULL);
	wired = is_ours(value);
	json_decref(value);
	return wired;
}

static int
put_entry(json_t *config, const char *path)
{
	json_t *runtimes = json_object_get(config, "runtimes");

	if (runtimes == NULL) {
		runtimes = json_object();
		json_object_set_new(config, "runtimes", runtimes);
	}
	return json_object_set_new(runtimes, GATE_RUNTIME, json_pack("{s:s}", "path", path));
}

static int
backup_config(const struct gate_opts *o, const char *text, size_t len)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s%s", o->config, GATE_BACKUP);
	/* Empty: there was no file. dockerd takes none that is empty. */
	r = gate_file_write(path, text != NULL ? text : "", text != NULL ? len : 0, 0600);
	return r < 0 ? failed(path, r) : CLI_OK;
}

static int
install_config(const struct gate_opts *o, json_t *config, const char *text, size_t len)
{
	const json_t *runtimes = json_object_get(config, "runtimes");
	_cleanup_free_ char *old = NULL;
	char wrapper[PATH_MAX], backup[PATH_MAX];
	size_t old_len;
	bool resumed;
	int code;

	snprintf(wrapper, sizeof(wrapper), "%s/%s", o->dir, GATE_WRAPPER);
	snprintf(backup, sizeof(backup), "%s%s", o->config, GATE_BACKUP);
	/* An entry that a removal had to leave: what was before it is still the backup. */
	resumed = json_object_get(runtimes, GATE_RUNTIME) != NULL &&
		  gate_file_read(backup, &old, &old_len) == 0;
	code = resumed ? CLI_OK : backup_config(o, text, len);
	if (code != CLI_OK)
		return code;
	if (put_entry(config, wrapper) < 0 ||
	    json_object_set_new(config, "default-runtime", json_string(GATE_RUNTIME)) < 0)
		return cli_no_memory();
	return write_config(o->config, config);
}

int
gate_docker_install(const struct gate_opts *o)
{
	_cleanup_free_ char *text = NULL;
	char runtime[PATH_MAX];
	json_t *config = NULL, *runtimes;
	size_t len = 0;
	bool there;
	int code;

	code = read_config(o->config, &text, &len, &config);
	if (code != CLI_OK)
		return code;
	there = is_ours(config);
	runtimes = json_object_get(config, "runtimes");
	if (runtimes != NULL && !json_is_object(runtimes)) {
		json_decref(config);
		cli_error("%s: runtimes: expected an object; not changed", o->config);
		return CLI_USAGE;
	}
	if (config == NULL)
		config = json_object();
	if (!there)
		code = check_options();
	if (code == CLI_OK &&
	    !(there && o->runtime == NULL && conf_value(o, "runtime", runtime, sizeof(runtime))))
		code = find_runtime(o, config, runtime, sizeof(runtime));
	if (code == CLI_OK)
		code = gate_programs_copy(o);
	if (code == CLI_OK)
		code = write_conf(o, runtime);
	if (code == CLI_OK && !there)
		code = install_config(o, config, text, len);
	json_decref(config);
	if (code != CLI_OK)
		return code;
	if (there)
		printf("docker: %s names the gate already; its programs are renewed\n", o->config);
	else
		printf("docker: %s names the gate, what it was is kept in %s%s\n"
		       "docker: tell dockerd to read it: systemctl reload docker\n"
		       "docker: containers made before keep their runtime: make them anew\n",
		    o->config, o->config, GATE_BACKUP);
	return CLI_OK;
}

/* Calls fn with the name and runtime of each container in the engine's data. */
static void
each_container(const struct gate_opts *o,
    void (*fn)(void *arg, const char *id, const char *runtime), void *arg)
{
	char path[PATH_MAX], runtime[128];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/containers", o->data_root);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		_cleanup_free_ char *text = NULL;
		struct oci_value v;
		size_t len;

		if (strlen(e->d_name) != 64)
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/containers/%s/hostconfig.json",
			o->data_root, e->d_name) >= sizeof(path))
			continue;
		if (gate_file_read(path, &text, &len) == 0 &&
		    oci_member(text, len, "Runtime", &v) == 0 &&
		    oci_string(&v, runtime, sizeof(runtime)) == 0)
			fn(arg, e->d_name, runtime);
	}
	if (d != NULL)
		closedir(d);
}

struct tally {
	unsigned with, without;
	bool tell;
};

static void
count_container(void *arg, const char *id, const char *runtime)
{
	struct tally *t = arg;

	if (strcmp(runtime, GATE_RUNTIME) != 0) {
		t->without++;
		return;
	}
	t->with++;
	if (t->tell)
		printf("docker: container %.12s was made with the gate\n", id);
}

/* Our two keys as they were before; the entry stays if keep names a runtime for it. */
static void
strip(json_t *config, const json_t *before, const char *keep)
{
	const char *name = json_string_value(json_object_get(config, "default-runtime"));
	json_t *runtimes = json_object_get(config, "runtimes"), *was;

	if (name != NULL && strcmp(name, GATE_RUNTIME) == 0) {
		was = json_object_get(before, "default-runtime");
		if (was != NULL)
			json_object_set(config, "default-runtime", was);
		else
			json_object_del(config, "default-runtime");
	}
	if (keep != NULL) {
		put_entry(config, keep);
		return;
	}
	json_object_del(runtimes, GATE_RUNTIME);
	if (runtimes != NULL && json_object_size(runtimes) == 0 &&
	    json_object_get(before, "runtimes") == NULL)
		json_object_del(config, "runtimes");
}

static int
remove_config(const struct gate_opts *o, json_t *config, const char *keep)
{
	_cleanup_free_ char *old = NULL;
	char backup[PATH_MAX];
	json_t *before = NULL;
	size_t old_len = 0;
	int r, code;
	bool same;

	snprintf(backup, sizeof(backup), "%s%s", o->config, GATE_BACKUP);
	r = gate_file_read(backup, &old, &old_len);
	if (r < 0 && r != -ENOENT)
		return failed(backup, r);
	if (r == 0 && old_len > 0)
		before = json_loadb(old, old_len, 0, NULL);
	strip(config, before, keep);
	if (keep != NULL) {
		code = write_config(o->config, config);
		json_decref(before);
		return code;
	}
	same = r == 0 && (old_len > 0 ? json_equal(before, config) : json_object_size(config) == 0);
	json_decref(before);
	if (same && old_len == 0)
		r = gate_file_remove(o->config);
	else if (same)
		r = gate_file_write(o->config, old, old_len, 0644);
	else
		return write_config(o->config, config) == CLI_OK && gate_file_remove(backup) == 0
			   ? CLI_OK
			   : CLI_ERROR;
	if (r < 0)
		return failed(o->config, r);
	r = gate_file_remove(backup);
	return r < 0 ? failed(backup, r) : CLI_OK;
}

int
gate_docker_remove(const struct gate_opts *o)
{
	_cleanup_free_ char *text = NULL;
	char runtime[PATH_MAX];
	struct tally t = { .tell = true };
	json_t *config = NULL, *entry;
	const char *keep = NULL;
	size_t len;
	int code;

	code = read_config(o->config, &text, &len, &config);
	if (code != CLI_OK)
		return code;
	entry = json_object_get(json_object_get(config, "runtimes"), GATE_RUNTIME);
	if (entry == NULL) {
		json_decref(config);
		printf("docker: %s does not name the gate\n", o->config);
		return CLI_OK;
	}
	if (!o->force)
		each_container(o, count_container, &t);
	if (t.with > 0 && (conf_value(o, "runtime", runtime, sizeof(runtime)) ||
			      gate_find_program("runc", runtime, sizeof(runtime))))
		keep = runtime;
	code = remove_config(o, config, keep);
	json_decref(config);
	if (code != CLI_OK)
		return code;
	if (keep != NULL)
		printf(
		    "docker: these would not start without the runtime '%s': it stays in %s and "
		    "means %s, without a gate; make them anew and remove again, or use --force\n",
		    GATE_RUNTIME, o->config, keep);
	else
		printf("docker: %s is as it was without the gate\n", o->config);
	/* A key that is gone from the file is not gone from a dockerd that reads it again. */
	printf("docker: dockerd goes on with the gate until it is restarted: systemctl restart "
	       "docker; "
	       "then run this again for the programs\n");
	return CLI_OK;
}

/* What the engine says of itself */

struct answer {
	char *text;
	size_t len;
};

static size_t
on_answer(char *data, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t len = size * n;
	char *grown;

	if (len > MAX_INFO - a->len)
		return 0;
	grown = realloc(a->text, a->len + len + 1);
	if (grown == NULL)
		return 0;
	memcpy(grown + a->len, data, len);
	a->text = grown;
	a->len += len;
	return len;
}

static json_t *
engine_info(const char *socket)
{
	struct answer a = { NULL, 0 };
	CURL *c = curl_easy_init();
	json_t *info = NULL;

	if (c == NULL)
		return NULL;
	curl_easy_setopt(c, CURLOPT_URL, "http://docker/info");
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, ENGINE_TIMEOUT_S);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &a);
	if (curl_easy_perform(c) == CURLE_OK)
		info = json_loadb(a.text != NULL ? a.text : "", a.len, 0, NULL);
	curl_easy_cleanup(c);
	free(a.text);
	return info;
}

void
gate_docker_status(const struct gate_opts *o, struct gate_status *ret)
{
	struct tally t = { 0 };
	char program[PATH_MAX];
	const char *name;
	json_t *info;

	ret->there = gate_find_program("dockerd", program, sizeof(program));
	snprintf(ret->file, sizeof(ret->file), "%s/gate.conf", o->dir);
	ret->installed = gate_docker_is_wired(o->config);
	info = engine_info(o->engine_socket);
	name = json_string_value(json_object_get(info, "DefaultRuntime"));
	ret->loaded = name == NULL ? -1 : strcmp(name, GATE_RUNTIME) == 0;
	json_decref(info);
	ret->broken = ret->installed && !gate_programs_there(o);
	each_container(o, count_container, &t);
	if (ret->broken)
		snprintf(ret->detail, sizeof(ret->detail),
		    "a program is missing in %s: run nanoseg gate install", o->dir);
	else if (ret->installed && ret->loaded == 0)
		snprintf(ret->detail, sizeof(ret->detail),
		    "dockerd has not read %s: systemctl reload docker", o->config);
	else if (ret->installed && t.without > 0)
		snprintf(ret->detail, sizeof(ret->detail),
		    "%u containers have another runtime and no gate: make them anew", t.without);
	else
		snprintf(ret->detail, sizeof(ret->detail), "%s", o->config);
}
