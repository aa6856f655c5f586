/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg-runc: stands in for the OCI runtime where an engine knows no hooks (Docker). On create,
 * run and restore it adds nanoseg-oci-hook to the bundle's config.json, then becomes the real
 * runtime; every other command goes straight through.
 *
 * What it needs stands in gate.conf beside the program, "KEY VALUE" a line: runtime, hook, socket,
 * marker, timeout, failOpen (yes or no). It runs from a copy that outlives the package, so that an
 * engine always finds it. If its hook is gone or the configuration cannot be used, containers are
 * refused while the marker says that workloads are enforced, and otherwise start without a gate.
 */
#include "config.h"
#include "rules/oci.h"
#include "rules/util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define DEFAULT_MARKER LOCALSTATEDIR "/lib/nanoseg/enforced"
#define MAX_CONF 65536
#define MAX_CONFIG_JSON (16u << 20)

struct conf {
	char *runtime, *hook, *socket, *marker, *timeout, *fail_open;
};

/* What the command line says, as far as it matters here. */
struct command {
	bool starts;	    /* create, run, restore */
	const char *bundle; /* "." unless given */
	const char *log;    /* --log, or NULL */
	bool log_json;
};

static int
read_file(const char *path, size_t max, char **ret, size_t *ret_len, struct stat *ret_st)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (fd < 0 || fstat(fd, ret_st) < 0)
		return -errno;
	if (!S_ISREG(ret_st->st_mode))
		return -EINVAL;
	if ((uint64_t)ret_st->st_size > max)
		return -E2BIG;
	text = malloc((size_t)ret_st->st_size + 1);
	if (text == NULL)
		return -ENOMEM;
	while (len < (size_t)ret_st->st_size) {
		ssize_t n = read(fd, text + len, (size_t)ret_st->st_size - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret = steal_ptr(text);
	*ret_len = len;
	return 0;
}

static char **
conf_field(struct conf *c, const char *key)
{
	const struct {
		const char *key;
		char **field;
	} fields[] = {
		{ "runtime", &c->runtime },
		{ "hook", &c->hook },
		{ "socket", &c->socket },
		{ "marker", &c->marker },
		{ "timeout", &c->timeout },
		{ "failOpen", &c->fail_open },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (strcmp(fields[i].key, key) == 0)
			return fields[i].field;
	return NULL;
}

/* Values point into text, which is cut into pieces. */
static int
parse_conf(char *text, struct conf *c)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' '), **field;

		if (line[0] == '#')
			continue;
		if (space == NULL || space[1] == '\0')
			return -EINVAL;
		*space = '\0';
		field = conf_field(c, line);
		if (field == NULL || *field != NULL)
			return -EINVAL;
		*field = space + 1;
	}
	if (c->runtime == NULL || c->hook == NULL || c->marker == NULL || c->runtime[0] != '/' ||
	    c->hook[0] != '/' || c->marker[0] != '/')
		return -EINVAL;
	return 0;
}

static int
load_conf(struct conf *c)
{
	char path[PATH_MAX], *text, *slash;
	struct conf fresh = { 0 };
	struct stat st;
	size_t len;
	ssize_t n;
	int r;

	n = readlink("/proc/self/exe", path, sizeof(path) - 16);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		return -EINVAL;
	memcpy(slash, "/gate.conf", sizeof("/gate.conf"));
	r = read_file(path, MAX_CONF, &text, &len, &st);
	if (r < 0)
		return r;
	/* The values live as long as the process. */
	r = strlen(text) == len ? parse_conf(text, &fresh) : -EINVAL;
	if (fresh.marker != NULL && fresh.marker[0] == '/')
		c->marker = fresh.marker;
	if (fresh.runtime != NULL && fresh.runtime[0] == '/')
		c->runtime = fresh.runtime;
	if (r == 0)
		*c = fresh;
	return r;
}

static bool
takes_value(const char *arg)
{
	static const char *const valued[] = { "--log", "--log-format", "--root", "--criu",
		"--rootless", "--cgroup-manager", "--bundle", "-b", "--console-socket",
		"--pid-file", "--preserve-fds", "--image-path", "--work-path", "--parent-path",
		"--manage-cgroups-mode", "--empty-ns", "--lsm-profile", "--lsm-mount-context",
		"--status-fd", "--config", "-f", "--file", "--handler" };

	for (size_t i = 0; i < ARRAY_SIZE(valued); i++)
		if (strcmp(valued[i], arg) == 0)
			return true;
	return false;
}

/* The value of option NAME at argv[i], "--NAME VALUE" or "--NAME=VALUE"; NULL if it is another. */
static const char *
value_of(char **argv, int i, const char *name)
{
	size_t len = strlen(name);

	if (strcmp(argv[i], name) == 0)
		return argv[i + 1];
	return strncmp(argv[i], name, len) == 0 && argv[i][len] == '=' ? argv[i] + len + 1 : NULL;
}

static void
read_command(int argc, char **argv, struct command *ret)
{
	struct command c = { .bundle = "." };
	const char *verb = NULL, *v;

	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-') {
			if (verb == NULL)
				verb = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--") == 0)
			break;
		if (verb == NULL && (v = value_of(argv, i, "--log")) != NULL)
			c.log = v;
		else if (verb == NULL && (v = value_of(argv, i, "--log-format")) != NULL)
			c.log_json = strcmp(v, "json") == 0;
		else if (verb != NULL && ((v = value_of(argv, i, "--bundle")) != NULL ||
					     (v = value_of(argv, i, "-b")) != NULL))
			c.bundle = v;
		if (takes_value(argv[i]))
			i++;
	}
	c.starts = verb != NULL && (strcmp(verb, "create") == 0 || strcmp(verb, "run") == 0 ||
				       strcmp(verb, "restore") == 0);
	*ret = c;
}

/* On standard error, and where an engine looks for the reason: the runtime's own log. */
static void
refuse(const struct command *cmd, const char *why)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *quoted = oci_quote(why);
	struct tm tm;
	char when[64];
	time_t now = time(NULL);

	fprintf(stderr, "%s\n", why);
	if (cmd->log == NULL || quoted == NULL)
		exit(1);
	fd = open(cmd->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (fd >= 0)
		dprintf(fd,
		    cmd->log_json ? "{\"level\":\"error\",\"msg\":%s,\"time\":\"%s\"}\n"
				  : "level=error msg=%s time=\"%s\"\n",
		    quoted, when);
	exit(1);
}

static bool
is_enforced(const struct conf *c)
{
	struct stat st;

	return lstat(c->marker, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* One argument of the hook, as JSON behind a comma. */
static int
add_arg(char **args, const char *text)
{
	_cleanup_free_ char *quoted = text != NULL ? oci_quote(text) : NULL;
	char *grown;

	if (text == NULL)
		return 0;
	if (quoted == NULL || asprintf(&grown, "%s,%s", *args, quoted) < 0)
		return -ENOMEM;
	free(*args);
	*args = grown;
	return 0;
}

/* The hook's entry for config.json, or NULL. */
static char *
hook_entry(const struct conf *c)
{
	_cleanup_free_ char *path = oci_quote(c->hook), *args = strdup("\"nanoseg-oci-hook\"");
	char *entry;

	if (path == NULL || args == NULL)
		return NULL;
	if (add_arg(&args, "--marker") < 0 || add_arg(&args, c->marker) < 0)
		return NULL;
	if (c->socket != NULL && (add_arg(&args, "--socket") < 0 || add_arg(&args, c->socket) < 0))
		return NULL;
	if (c->timeout != NULL &&
	    (add_arg(&args, "--timeout") < 0 || add_arg(&args, c->timeout) < 0))
		return NULL;
	if (c->fail_open != NULL && strcmp(c->fail_open, "yes") == 0 &&
	    add_arg(&args, "--fail-open") < 0)
		return NULL;
	if (asprintf(&entry, "{\"path\":%s,\"args\":[%s]}", path, args) < 0)
		return NULL;
	return entry;
}

static int
write_file(const char *path, const char *text, size_t len, const struct stat *like)
{
	_cleanup_close_ int fd = -1;
	char tmp[PATH_MAX];
	size_t done = 0;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.nanoseg", path) >= sizeof(tmp))
		return -ENAMETOOLONG;
	unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0)
			goto fail;
		done += (size_t)n;
	}
	if (fchown(fd, like->st_uid, like->st_gid) < 0 || fchmod(fd, like->st_mode & 07777) < 0 ||
	    rename(tmp, path) < 0)
		goto fail;
	return 0;
fail:
	done = (size_t)errno;
	unlink(tmp);
	return -(int)done;
}

/* Puts the hook into the bundle. */
static int
edit_bundle(const struct conf *c, const char *bundle)
{
	_cleanup_free_ char *entry = hook_entry(c), *text = NULL, *edited = NULL;
	char path[PATH_MAX];
	size_t len, new_len;
	struct stat st;
	int r;

	if (entry == NULL)
		return -ENOMEM;
	if ((size_t)snprintf(path, sizeof(path), "%s/config.json", bundle) >= sizeof(path) - 16)
		return -ENAMETOOLONG;
	r = read_file(path, MAX_CONFIG_JSON, &text, &len, &st);
	if (r < 0)
		return r;
	r = oci_add_hook(text, len, entry, &edited, &new_len);
	if (r < 0)
		return r;
	return write_file(path, edited, new_len, &st);
}

/* Refuses, or returns: then nothing is enforced. */
static void
without_gate(const struct conf *c, const struct command *cmd, const char *what, int error)
{
	char why[512];

	if (!is_enforced(c))
		return;
	snprintf(why, sizeof(why),
	    "nanoseg: start refused: %s (%s), and workloads are enforced on this host", what,
	    strerror(-error));
	refuse(cmd, why);
}

int
main(int argc, char **argv)
{
	struct conf c = { .marker = (char *)DEFAULT_MARKER, .runtime = (char *)"runc" };
	struct command cmd;
	int r = load_conf(&c);

	read_command(argc, argv, &cmd);
	if (cmd.starts && r < 0) {
		without_gate(&c, &cmd, "the gate's configuration cannot be used", r);
	} else if (cmd.starts && access(c.hook, X_OK) < 0) {
		without_gate(&c, &cmd, "the gate's program is gone", -errno);
	} else if (cmd.starts) {
		r = edit_bundle(&c, cmd.bundle);
		if (r < 0)
			without_gate(&c, &cmd, "the bundle's config.json cannot be used", r);
	}
	argv[0] = c.runtime;
	if (strchr(c.runtime, '/') != NULL)
		execv(c.runtime, argv);
	else
		execvp(c.runtime, argv);
	fprintf(stderr, "nanoseg-runc: cannot run %s: %s\n", c.runtime, strerror(errno));
	return 127;
}
