/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Podman and CRI-O read hooks from a folder, at every start. containerd takes a base runtime
 * specification: the file is written, its configuration is the operator's to change.
 */
#include "cli/gate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "rules/oci.h"

#define HOOK_FILE "nanoseg-gate.json"
#define CONTAINERD_CONFIG "/etc/containerd/config.toml"

static int
failed(const char *path, int error)
{
	cli_error("%s: %s", path, strerror(-error));
	return error == -EACCES || error == -EPERM ? CLI_NOT_PERMITTED : CLI_ERROR;
}

static int
write_json(const char *path, json_t *value)
{
	_cleanup_free_ char *text = value != NULL ? json_dumps(value, JSON_INDENT(4)) : NULL;
	_cleanup_free_ char *lines = NULL;
	int n, r;

	json_decref(value);
	if (text == NULL || (n = asprintf(&lines, "%s\n", text)) < 0)
		return cli_no_memory();
	r = gate_file_write(path, lines, (size_t)n, 0644);
	return r < 0 ? failed(path, r) : CLI_OK;
}

int
gate_podman_install(const struct gate_opts *o)
{
	char path[PATH_MAX];
	int code = gate_programs_copy(o);

	if (code != CLI_OK)
		return code;
	snprintf(path, sizeof(path), "%s/%s", o->hooks_dir, HOOK_FILE);
	code = write_json(
	    path, json_pack("{s:s, s:o, s:{s:b}, s:[s]}", "version", "1.0.0", "hook",
		      gate_hook_entry(o), "when", "always", 1, "stages", "createRuntime"));
	if (code == CLI_OK)
		printf(
		    "podman: %s names the gate; Podman and CRI-O read it at every start\n", path);
	return code;
}

int
gate_podman_remove(const struct gate_opts *o)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", o->hooks_dir, HOOK_FILE);
	if (access(path, F_OK) < 0) {
		printf("podman: there is no %s\n", path);
		return CLI_OK;
	}
	r = gate_file_remove(path);
	if (r < 0)
		return failed(path, r);
	printf("podman: %s is removed\n", path);
	return CLI_OK;
}

void
gate_podman_status(const struct gate_opts *o, struct gate_status *ret)
{
	char path[PATH_MAX], program[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", o->hooks_dir, HOOK_FILE);
	snprintf(ret->file, sizeof(ret->file), "%s", path);
	ret->there = gate_find_program("podman", program, sizeof(program)) ||
		     gate_find_program("crio", program, sizeof(program));
	ret->installed = access(path, F_OK) == 0;
	ret->loaded = ret->installed;
	ret->broken = ret->installed && !gate_programs_there(o);
	if (ret->broken)
		snprintf(ret->detail, sizeof(ret->detail),
		    "a program is missing in %s: run nanoseg gate install", o->dir);
	else
		snprintf(ret->detail, sizeof(ret->detail), "%s", path);
}

/* The specification that containerd itself would use, from its own client. */
static int
default_spec(char **ret, size_t *ret_len)
{
	char program[PATH_MAX], *text = malloc(GATE_MAX_FILE);
	int fds[2], status = 0;
	size_t len = 0;
	ssize_t n = -1;
	pid_t pid;

	if (text == NULL)
		return cli_no_memory();
	if (!gate_find_program("ctr", program, sizeof(program))) {
		cli_error("containerd's client ctr is needed for its default specification");
		free(text);
		return CLI_ERROR;
	}
	if (pipe(fds) < 0 || (pid = fork()) < 0) {
		cli_error("%s: %s", program, strerror(errno));
		free(text);
		return CLI_ERROR;
	}
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execl(program, "ctr", "oci", "spec", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while (len < GATE_MAX_FILE && (n = read(fds[0], text + len, GATE_MAX_FILE - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (n != 0 || status != 0 || oci_check(text, len) < 0) {
		cli_error("'ctr oci spec' does not print a specification");
		free(text);
		return CLI_ERROR;
	}
	*ret = text;
	*ret_len = len;
	return CLI_OK;
}

int
gate_containerd_install(const struct gate_opts *o)
{
	_cleanup_free_ char *spec = NULL, *edited = NULL, *entry = NULL;
	size_t len, new_len;
	json_t *hook;
	int r, code = gate_programs_copy(o);

	if (code == CLI_OK)
		code = default_spec(&spec, &len);
	if (code != CLI_OK)
		return code;
	hook = gate_hook_entry(o);
	entry = hook != NULL ? json_dumps(hook, JSON_COMPACT) : NULL;
	json_decref(hook);
	if (entry == NULL)
		return cli_no_memory();
	r = oci_add_hook(spec, len, entry, &edited, &new_len);
	if (r == 0)
		r = gate_file_write(o->base_spec, edited, new_len, 0644);
	if (r < 0)
		return failed(o->base_spec, r);
	printf("containerd: %s is written. Its configuration is not touched: put this into\n"
	       "%s for each runtime, and restart containerd:\n\n"
	       "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
	       "  base_runtime_spec = \"%s\"\n\n"
	       "It counts for containers of Kubernetes; 'ctr run' takes --config or no "
	       "specification at all.\n",
	    o->base_spec, CONTAINERD_CONFIG, o->base_spec);
	return CLI_OK;
}

static bool
config_names(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return gate_file_read(CONTAINERD_CONFIG, &text, &len) == 0 && strstr(text, path) != NULL;
}

bool
gate_containerd_is_wired(const char *base_spec)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return gate_file_read(base_spec, &text, &len) == 0 && strstr(text, GATE_HOOK) != NULL &&
	       config_names(base_spec);
}

/* Takes our hook out of the specification, and the lists that it leaves empty. */
static void
strip_hook(json_t *spec)
{
	json_t *hooks = json_object_get(spec, "hooks"), *list;
	const char *stage, *path, *name;
	void *tmp;

	json_object_foreach_safe(hooks, tmp, stage, list)
	{
		for (size_t i = json_array_size(list); i-- > 0;) {
			path = json_string_value(json_object_get(json_array_get(list, i), "path"));
			name = path != NULL ? strrchr(path, '/') : NULL;
			if (name != NULL && strcmp(name + 1, GATE_HOOK) == 0)
				json_array_remove(list, i);
		}
		if (json_is_array(list) && json_array_size(list) == 0)
			json_object_del(hooks, stage);
	}
	if (hooks != NULL && json_object_size(hooks) == 0)
		json_object_del(spec, "hooks");
}

/* Without the file that its configuration names, containerd would start nothing. */
static int
disarm_spec(const struct gate_opts *o)
{
	_cleanup_free_ char *text = NULL;
	json_t *spec = NULL;
	size_t len;
	int code, r = gate_file_read(o->base_spec, &text, &len);

	if (r == 0)
		spec = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(spec)) {
		json_decref(spec);
		return failed(o->base_spec, r < 0 ? r : -EINVAL);
	}
	strip_hook(spec);
	code = write_json(o->base_spec, spec);
	if (code == CLI_OK)
		printf("containerd: %s stays, without the gate, for %s names it; take it out there "
		       "and restart containerd, then the file can go\n",
		    o->base_spec, CONTAINERD_CONFIG);
	return code;
}

int
gate_containerd_remove(const struct gate_opts *o)
{
	int r;

	if (access(o->base_spec, F_OK) < 0) {
		printf("containerd: there is no %s\n", o->base_spec);
		return CLI_OK;
	}
	if (config_names(o->base_spec) && !o->force)
		return disarm_spec(o);
	r = gate_file_remove(o->base_spec);
	if (r < 0)
		return failed(o->base_spec, r);
	printf("containerd: %s is removed\n", o->base_spec);
	return CLI_OK;
}

void
gate_containerd_status(const struct gate_opts *o, struct gate_status *ret)
{
	char program[PATH_MAX];
	bool written = access(o->base_spec, F_OK) == 0;

	ret->there = gate_find_program("containerd", program, sizeof(program));
	snprintf(ret->file, sizeof(ret->file), "%s", o->base_spec);
	ret->installed = gate_containerd_is_wired(o->base_spec);
	ret->loaded = ret->installed ? -1 : 0;
	ret->broken =
	    (ret->installed && !gate_programs_there(o)) || (!written && config_names(o->base_spec));
	if (ret->broken)
		snprintf(ret->detail, sizeof(ret->detail),
		    "the specification or a program is missing: run nanoseg gate install");
	else if (written && !ret->installed)
		snprintf(ret->detail, sizeof(ret->detail), "%s does not name %s", CONTAINERD_CONFIG,
		    o->base_spec);
	else
		snprintf(ret->detail, sizeof(ret->detail), "%s", o->base_spec);
}
