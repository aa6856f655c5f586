/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanoseg gate: wires the start gate into the engines of this machine, and out again. */
#include "cli/client.h"
#include "cli/gate.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_CONFIG "/etc/docker/daemon.json"
#define DEFAULT_HOOKS_DIR "/usr/share/containers/oci/hooks.d"
#define DEFAULT_BASE_SPEC "/etc/containerd/nanoseg-base.json"
#define DEFAULT_MARKER LOCALSTATEDIR "/lib/nanoseg/enforced"

static const struct engine {
	const char *name;
	int (*install)(const struct gate_opts *o);
	int (*remove)(const struct gate_opts *o);
	void (*status)(const struct gate_opts *o, struct gate_status *ret);
} engines[] = {
	{ "docker", gate_docker_install, gate_docker_remove, gate_docker_status },
	{ "podman", gate_podman_install, gate_podman_remove, gate_podman_status },
	{ "containerd", gate_containerd_install, gate_containerd_remove, gate_containerd_status },
};

bool
gate_is_wired(const char *engine)
{
	if (engine == NULL)
		return gate_is_wired("docker") || gate_is_wired("podman") ||
		       gate_is_wired("containerd");
	if (strcmp(engine, "docker") == 0)
		return gate_docker_is_wired(DEFAULT_CONFIG);
	if (strcmp(engine, "podman") == 0)
		return access(DEFAULT_HOOKS_DIR "/nanoseg-gate.json", F_OK) == 0;
	if (strcmp(engine, "containerd") == 0)
		return gate_containerd_is_wired(DEFAULT_BASE_SPEC);
	return true;
}

static bool
chosen(const struct gate_opts *o, const struct engine *e)
{
	return o->engine == NULL || strcmp(o->engine, e->name) == 0;
}

/* A path that can stand in gate.conf and in a program's arguments. */
static int
check_paths(const struct cli *cli, const struct gate_opts *o)
{
	const struct {
		const char *option, *path;
	} paths[] = {
		{ "dir", o->dir },
		{ "programs", o->programs },
		{ "config", o->config },
		{ "data-root", o->data_root },
		{ "hooks-dir", o->hooks_dir },
		{ "base-spec", o->base_spec },
		{ "marker", o->marker },
		{ "socket", o->socket },
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (paths[i].path != NULL &&
		    (paths[i].path[0] != '/' || strchr(paths[i].path, '\n') != NULL ||
			strlen(paths[i].path) > 1024))
			return cli_usage(cli, "--%s: expected an absolute path", paths[i].option);
	if (o->timeout != NULL && strspn(o->timeout, "0123456789ms") != strlen(o->timeout))
		return cli_usage(cli, "--wait: expected a time such as 2s or 500ms");
	for (size_t i = 0; o->engine != NULL && i < ARRAY_SIZE(engines); i++)
		if (chosen(o, &engines[i]))
			return CLI_OK;
	return o->engine == NULL ? CLI_OK
				 : cli_usage(cli,
				       "--engine: expected docker, podman or "
				       "containerd, not '%s'",
				       o->engine);
}

static int
install(const struct gate_opts *o)
{
	unsigned n = 0;
	int code = CLI_OK;

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		struct gate_status st = { 0 };
		int r;

		if (!chosen(o, &engines[i]))
			continue;
		if (o->engine == NULL) {
			engines[i].status(o, &st);
			if (!st.there)
				continue;
		}
		n++;
		r = engines[i].install(o);
		code = code == CLI_OK ? r : code;
	}
	if (n > 0)
		return code;
	cli_error("no engine is found on this machine: name it with --engine docker, podman or "
		  "containerd");
	return CLI_ERROR;
}

/* Where the daemon keeps its marker, or NULL: it does not say. */
static char *
daemons_marker(const struct cli *cli)
{
	json_t *status = NULL;
	const char *path;
	char *marker = NULL;

	if (access(cli->socket, F_OK) == 0 && client_get(cli, "/v1/status", &status) == CLI_OK &&
	    (path = json_string_value(json_object_get(status, "gateMarker"))) != NULL)
		marker = strdup(path);
	json_decref(status);
	return marker;
}

/* A gate that looks for another file than the daemon writes lets everything start without it. */
static int
find_marker(const struct cli *cli, struct gate_opts *o, const char *of_daemon)
{
	if (o->marker != NULL)
		return CLI_OK;
	if (of_daemon == NULL &&
	    (access(cli->socket, F_OK) == 0 || strcmp(cli->socket, DEFAULT_SOCKET) != 0)) {
		cli_error("nobody at %s says where its state is: start that daemon first, or name "
			  "its STATE-DIR/enforced with --marker",
		    cli->socket);
		return CLI_ERROR;
	}
	o->marker = of_daemon != NULL ? of_daemon : DEFAULT_MARKER;
	return CLI_OK;
}

/* In gate.conf a path ends with its line, in JSON with a quote. */
static bool
names_path(const char *text, const char *path)
{
	size_t len = strlen(path);

	for (const char *at = text; (at = strstr(at, path)) != NULL; at++)
		if (at > text && strchr(" \"", at[-1]) != NULL && strchr("\n\"", at[len]) != NULL)
			return true;
	return false;
}

static void
check_marker(struct gate_status *st, const char *of_daemon)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (!st->installed || st->broken || of_daemon == NULL ||
	    gate_file_read(st->file, &text, &len) < 0 || names_path(text, of_daemon))
		return;
	st->broken = true;
	snprintf(st->detail, sizeof(st->detail),
	    "%s does not name %s, where the daemon writes whether anything is enforced: "
	    "run nanoseg gate install",
	    st->file, of_daemon);
}

static int
remove_all(const struct gate_opts *o)
{
	bool used = false;
	int code = CLI_OK;

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		int r = chosen(o, &engines[i]) ? engines[i].remove(o) : CLI_OK;

		code = code == CLI_OK ? r : code;
	}
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		struct gate_status st = { 0 };

		engines[i].status(o, &st);
		used |= st.installed || (st.loaded == 1 && !o->force);
	}
	/* An engine that has not read its configuration again still runs them. */
	if (!used)
		gate_programs_remove(o);
	else
		printf(
		    "the programs stay in %s while an engine uses them; run this again\n", o->dir);
	return code;
}

static const char *
loaded_word(const struct gate_status *st)
{
	return st->loaded < 0 ? "unknown" : st->loaded != 0 ? "yes" : "no";
}

static int
print_status(const struct cli *cli, const struct gate_opts *o, const char *of_daemon, bool *ret_bad)
{
	static const struct table_col cols[] = { { "ENGINE", 0, 0, 0 }, { "INSTALLED", 0, 0, 0 },
		{ "LOADED", 0, 0, 0 }, { "DETAIL", COL_CUT, 20, 0 } };
	_cleanup_(table_freep) struct table *t = NULL;
	json_t *list = json_array();
	int r = table_new(cols, ARRAY_SIZE(cols), &t);

	*ret_bad = false;
	for (size_t i = 0; i < ARRAY_SIZE(engines) && r == 0; i++) {
		struct gate_status st = { 0 };

		if (!chosen(o, &engines[i]))
			continue;
		engines[i].status(o, &st);
		check_marker(&st, of_daemon);
		*ret_bad |= st.broken || (st.installed && st.loaded == 0);
		json_array_append_new(
		    list, json_pack("{s:s, s:b, s:b, s:o, s:b, s:s}", "engine", engines[i].name,
			      "present", st.there, "installed", st.installed, "loaded",
			      st.loaded < 0 ? json_null() : json_boolean(st.loaded), "broken",
			      st.broken, "detail", st.detail));
		table_cell(t, engines[i].name, COLOUR_NONE);
		table_cell(t, st.installed ? "yes" : "no",
		    st.broken	   ? COLOUR_RED
		    : st.installed ? COLOUR_GREEN
				   : COLOUR_NONE);
		table_cell(t, loaded_word(&st),
		    st.installed && st.loaded == 0 ? COLOUR_YELLOW : COLOUR_NONE);
		table_cell(t, st.detail, COLOUR_NONE);
	}
	if (r == 0)
		r = out_is_table(&cli->out) ? out_table(&cli->out, t, stdout)
					    : out_document(&cli->out, list);
	json_decref(list);
	return r;
}

/* The daemon, if there is one, keeps it in its audit log. */
static int
record(const struct cli *cli, const char *action, const struct gate_opts *o, int code)
{
	json_t *body, *answer = NULL;

	if (access(cli->socket, F_OK) < 0)
		return code;
	body =
	    json_pack("{s:s, s:s}", "action", action, "result", code == CLI_OK ? "ok" : "failed");
	if (o->engine != NULL)
		json_object_set_new(body, "engine", json_string(o->engine));
	if (client_post_json(cli, "/v1/audit/gate", body, &answer) != CLI_OK)
		cli_warn("the change of the gate is not in the daemon's audit log");
	json_decref(answer);
	return code;
}

int
cmd_gate(struct cli *cli, int argc, char **argv)
{
	struct gate_opts o = { .dir = "/usr/local/lib/nanoseg",
		.programs = PKGLIBEXECDIR,
		.config = DEFAULT_CONFIG,
		.data_root = "/var/lib/docker",
		.engine_socket = "/run/docker.sock",
		.hooks_dir = DEFAULT_HOOKS_DIR,
		.base_spec = DEFAULT_BASE_SPEC };
	const struct arg_option own[] = {
		{ "engine", 0, NULL, &o.engine },
		{ "dir", 0, NULL, &o.dir },
		{ "programs", 0, NULL, &o.programs },
		{ "config", 0, NULL, &o.config },
		{ "data-root", 0, NULL, &o.data_root },
		{ "engine-socket", 0, NULL, &o.engine_socket },
		{ "runtime", 0, NULL, &o.runtime },
		{ "hooks-dir", 0, NULL, &o.hooks_dir },
		{ "base-spec", 0, NULL, &o.base_spec },
		{ "marker", 0, NULL, &o.marker },
		{ "wait", 0, NULL, &o.timeout },
		{ "fail-open", 0, &o.fail_open, NULL },
		{ "force", 0, &o.force, NULL },
	};
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);
	_cleanup_free_ char *of_daemon = NULL;
	bool bad;

	if (n < 0)
		return code;
	if (cli->is_remote) {
		cli_error(
		    "gate changes and looks at the files of this machine, -H names another: run "
		    "it over there");
		return CLI_USAGE;
	}
	o.socket = cli->socket;
	if (n != 1)
		return cli_usage(cli, "expected install, remove or status");
	code = check_paths(cli, &o);
	if (code != CLI_OK)
		return code;
	if (strcmp(argv[0], "remove") != 0)
		of_daemon = daemons_marker(cli);
	if (strcmp(argv[0], "install") == 0) {
		code = find_marker(cli, &o, of_daemon);
		return code == CLI_OK ? record(cli, "install", &o, install(&o)) : code;
	}
	if (strcmp(argv[0], "remove") == 0)
		return record(cli, "remove", &o, remove_all(&o));
	if (strcmp(argv[0], "status") != 0)
		return cli_usage(cli, "expected install, remove or status, not '%s'", argv[0]);
	code = cli_printed(print_status(cli, &o, of_daemon, &bad));
	return code == CLI_OK && bad ? CLI_DIFFERENCES : code;
}
