/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanosegd: the command line of the daemon. Makes the places, takes the lock, goes to the
 * background and becomes the supervisor; or, for --check and --cleanup, the program that does it.
 */
#include "config.h"
#include "daemon/log.h"
#include "daemon/msg.h"
#include "daemon/notify.h"
#include "daemon/place.h"
#include "daemon/priv.h"
#include "daemon/supervisor.h"
#include "daemon/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define START_MS 15000
#define MAX_OPEN_FILES 262144

enum action { RUN, CHECK, CLEANUP, SET_ASIDE };

struct options {
	enum action action;
	bool all, foreground, config_given, without_owner;
	const char *config, *state_dir, *socket, *only, *log, *docker_socket, *podman_socket,
	    *docker_root;
};

/* Everything that stays open while the supervisor runs. */
struct held {
	char state_dir[PATH_MAX], socket[PATH_MAX], config[PATH_MAX], role_dir[PATH_MAX];
	char runtime_dir[PATH_MAX], pid_file[PATH_MAX];
	int state_fd, lock_fd, log_fd;
};

static const char help[] =
    "usage: nanosegd [OPTION]...\n"
    "Watches the connections of this host's containers and enforces the reviewed graph.\n"
    "\n"
    "  --config FILE         configuration (/etc/nanoseg/nanosegd.yaml)\n"
    "  --state-dir DIR       state (/var/lib/nanoseg)\n"
    "  --socket PATH         socket of the API (/run/nanoseg/nanosegd.sock)\n"
    "  --docker-socket PATH  socket of Docker (/run/docker.sock)\n"
    "  --docker-root DIR     Docker's data (/var/lib/docker)\n"
    "  --podman-socket PATH  socket of Podman's service (/run/podman/podman.sock)\n"
    "  --only GLOB           touch only workloads whose name matches\n"
    "  --without-owner       do as on a kernel whose tables have no owner\n"
    "  --foreground          stay in the foreground, log to standard error\n"
    "  --log LEVEL           error, warn, info or debug (info)\n"
    "  --check               check the configuration and end\n"
    "  --cleanup             remove what the instance of --state-dir made, and end\n"
    "  --all                 with --cleanup: what any instance made\n"
    "  --set-aside-store     rename a store that cannot be used, and end\n"
    "  --version, --help\n";

static void
usage_error(const char *what, const char *value)
{
	fprintf(stderr, "nanosegd: %s%s\nTry 'nanosegd --help'.\n", what, value);
	exit(2);
}

static enum log_level
level_parse(const char *text)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum log_level)i;
	}
	usage_error("--log takes error, warn, info or debug, not ", text);
	return LOG_LVL_INFO;
}

static void
options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "state-dir", required_argument, NULL, 'd' },
		{ "socket", required_argument, NULL, 's' },
		{ "docker-socket", required_argument, NULL, 'D' },
		{ "docker-root", required_argument, NULL, 'R' },
		{ "podman-socket", required_argument, NULL, 'P' },
		{ "only", required_argument, NULL, 'o' },
		{ "log", required_argument, NULL, 'l' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "check", no_argument, NULL, 'C' },
		{ "cleanup", no_argument, NULL, 'X' },
		{ "all", no_argument, NULL, 'a' },
		{ "without-owner", no_argument, NULL, 'O' },
		{ "set-aside-store", no_argument, NULL, 'S' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			o->config_given = true;
			break;
		case 'd':
			o->state_dir = optarg;
			break;
		case 's':
			o->socket = optarg;
			break;
		case 'D':
			o->docker_socket = optarg;
			break;
		case 'R':
			o->docker_root = optarg;
			break;
		case 'P':
			o->podman_socket = optarg;
			break;
		case 'o':
			o->only = optarg;
			break;
		case 'l':
			o->log = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'C':
			o->action = CHECK;
			break;
		case 'X':
			o->action = CLEANUP;
			break;
		case 'a':
			o->all = true;
			break;
		case 'O':
			o->without_owner = true;
			break;
		case 'S':
			o->action = SET_ASIDE;
			break;
		case 'V':
			printf("nanosegd %s\n", PACKAGE_VERSION);
			exit(0);
		case 'h':
			fputs(help, stdout);
			exit(0);
		default:
			fputs("Try 'nanosegd --help'.\n", stderr);
			exit(2);
		}
	}
	if (optind < argc)
		usage_error("unexpected argument ", argv[optind]);
	if (o->all && o->action != CLEANUP)
		usage_error("--all goes with --cleanup", "");
	if (o->only != NULL && o->only[0] == '\0')
		usage_error("--only takes a pattern, not an empty one", "");
	if (o->docker_root[0] != '/')
		usage_error("--docker-root takes an absolute path, not ", o->docker_root);
}

/* The daemon changes to /, so relative names end here. */
static void
absolute(const char *path, char ret[static PATH_MAX])
{
	char cwd[PATH_MAX];
	int n;

	if (path[0] == '\0')
		usage_error("an empty path", "");
	if (path[0] == '/')
		n = snprintf(ret, PATH_MAX, "%s", path);
	else if (getcwd(cwd, sizeof(cwd)) != NULL)
		n = snprintf(ret, PATH_MAX, "%s/%s", cwd, path);
	else
		n = -1;
	if (n < 0 || n >= PATH_MAX - 16)
		usage_error("path too long: ", path);
}

/* Beside our own executable if the warden is there (a build tree), else where they are installed.
 */
static void
find_role_dir(char ret[static PATH_MAX])
{
	char probe[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	char *slash;

	if (n > 0) {
		ret[n] = '\0';
		slash = strrchr(ret, '/');
		if (slash != NULL)
			*slash = '\0';
		snprintf(probe, sizeof(probe), "%s/nanoseg-warden", ret);
		if (access(probe, X_OK) == 0)
			return;
	}
	snprintf(ret, PATH_MAX, "%s", PKGLIBEXECDIR);
}

static int
check_role_programs(const char *dir)
{
	int r;

	for (r = ROLE_SUPERVISOR + 1; r < ROLE_COUNT_; r++) {
		char path[PATH_MAX + 32];

		snprintf(path, sizeof(path), "%s/nanoseg-%s", dir, role_name((enum role)r));
		if (access(path, X_OK) < 0) {
			log_error("%s: %s; is the installation complete?", path, strerror(errno));
			return -ENOENT;
		}
	}
	return 0;
}

static int
exec_program(const char *dir, const char *name, const char **argv)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	argv[0] = path;
	execv(path, (char *const *)argv);
	log_error("cannot run %s: %s", path, strerror(errno));
	return 1;
}

static int
run_check(const struct held *h)
{
	const char *argv[] = { NULL, "--instance", "00000000", "--uid", "0", "--gid", "0",
		"--check", "--config", h->config, NULL };

	return exec_program(h->role_dir, "nanoseg-controller", argv);
}

/* What the roles would refuse again and again is refused once, before anything is started. */
static int
check_first(const struct held *h)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run_check(h));
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		log_error("cannot check the configuration: %s", strerror(errno));
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* A program of the role records it, so that nothing here has to know how. */
static void
record_cleanup(const struct held *h, struct sup_config *cfg)
{
	char uid[16], gid[16];
	const char *argv[] = { NULL, "--instance", cfg->instance, "--uid", uid, "--gid", gid,
		"--state-dir", h->state_dir, "--record-cleanup", NULL };
	int status = 1;
	pid_t pid;

	if (place_find_ids(&cfg->ids) < 0)
		return;
	snprintf(uid, sizeof(uid), "%u", cfg->ids.uid[ROLE_CONTROLLER]);
	snprintf(gid, sizeof(gid), "%u", cfg->ids.gid[ROLE_CONTROLLER]);
	pid = fork();
	if (pid == 0)
		_exit(exec_program(h->role_dir, "nanoseg-controller", argv));
	/* A full disk must not keep anyone from removing us. */
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		log_warn("the cleanup is not in the audit log of %s", h->state_dir);
}

static void
keeper_path(const struct held *h, struct sup_config *cfg)
{
	int n = snprintf(cfg->keeper_path, sizeof(cfg->keeper_path), "%s/keeper-%s.sock",
	    h->runtime_dir, cfg->instance);

	if (n >= 100) {
		log_error("the folder of --socket is too long: expected at most 76 bytes");
		exit(2);
	}
}

/* The lock stays with the warden, so that no daemon starts in the middle. */
static int
run_cleanup(const struct options *o, struct held *h, struct sup_config *cfg)
{
	const char *argv[] = { NULL, "--cleanup", o->all ? "--all" : "--instance",
		o->all ? NULL : cfg->instance, NULL };
	int r = -ENOENT;

	h->state_fd = open(h->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->state_fd < 0 && errno != ENOENT) {
		log_error("cannot open the state folder %s: %s", h->state_dir, strerror(errno));
		return 1;
	}
	if (h->state_fd >= 0) {
		if (place_lock(h->state_fd, h->state_dir, &h->lock_fd) < 0)
			return 1;
		(void)fcntl(h->lock_fd, F_SETFD, 0);
		r = place_instance(h->state_fd, h->state_dir, false, cfg->instance);
	}
	if (r < 0 && !o->all) {
		if (r == -ENOENT)
			log_error(
			    "%s records no instance; --cleanup --all removes what any instance "
			    "made",
			    h->state_dir);
		return 1;
	}
	if (r < 0) {
		memcpy(cfg->instance, "00000000", 9);
	} else {
		keeper_path(h, cfg);
		if (place_open_keeper_lock(h->state_fd, &cfg->keeper_lock_fd) < 0 ||
		    sup_keeper_stop(cfg) < 0)
			return 1;
	}
	if (r == 0)
		record_cleanup(h, cfg);
	/* Nothing is enforced any more: the start gate must not refuse for a daemon that is gone.
	 */
	if (h->state_fd >= 0 && unlinkat(h->state_fd, "enforced", 0) < 0 && errno != ENOENT)
		log_warn("cannot remove %s/enforced: %s", h->state_dir, strerror(errno));
	if (o->all && sweep_keepers() < 0)
		return 1;
	sweep_runtime(h->runtime_dir, h->socket, h->pid_file, o->all);
	return exec_program(h->role_dir, "nanoseg-warden", argv);
}

static int
make_places(const struct options *o, struct held *h, struct sup_config *cfg)
{
	_cleanup_close_ int runtime_fd = -1;
	int r;

	r = place_find_ids(&cfg->ids);
	if (r < 0)
		return r;
	r = place_make_state(h->state_dir, cfg->ids.uid[ROLE_CONTROLLER],
	    cfg->ids.gid[ROLE_CONTROLLER], &h->state_fd);
	if (r < 0)
		return r;
	r = place_lock(h->state_fd, h->state_dir, &h->lock_fd);
	if (r < 0)
		return r;
	r = place_instance(h->state_fd, h->state_dir, true, cfg->instance);
	if (r < 0)
		return r;
	r = place_make_dir(h->runtime_dir, 0755, &runtime_fd);
	if (r < 0)
		return r;
	keeper_path(h, cfg);
	r = place_open_keeper_lock(h->state_fd, &cfg->keeper_lock_fd);
	if (r < 0)
		return r;
	r = place_open_log(h->state_fd, "keeper.log", &cfg->keeper_log_fd);
	if (r < 0)
		return r;
	if (!o->foreground) {
		r = place_open_log(h->state_fd, "nanosegd.log", &h->log_fd);
		if (r < 0)
			return r;
	}
	return place_listen(h->socket, SOCK_STREAM, cfg->ids.socket_gid, 0660, &cfg->listen_fd);
}

static int
run_set_aside(struct held *h)
{
	h->state_fd = open(h->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->state_fd < 0) {
		log_error("cannot open the state folder %s: %s", h->state_dir, strerror(errno));
		return 1;
	}
	if (place_lock(h->state_fd, h->state_dir, &h->lock_fd) < 0)
		return 1;
	return place_set_aside_store(h->state_fd, h->state_dir) < 0 ? 1 : 0;
}

/* Each watched namespace is several fds in several roles. */
static void
raise_file_limit(void)
{
	struct rlimit want = { MAX_OPEN_FILES, MAX_OPEN_FILES }, lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	want.rlim_max = MAX(lim.rlim_max, want.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &want) == 0)
		return;
	lim.rlim_cur = MIN(lim.rlim_max, MAX_OPEN_FILES);
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		log_warn("cannot raise the limit of open files: %s", strerror(errno));
}

/* In the parent: waits until the daemon says that all its roles run. Does not return. */
static void
wait_for_start(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char byte;

	if (poll(&p, 1, START_MS) == 0) {
		log_error("started, but not every role runs yet; see nanosegd.log in the state "
			  "folder");
		_exit(1);
	}
	if (read(fd, &byte, 1) != 1) {
		log_error("the daemon ended while starting; see nanosegd.log in the state folder");
		_exit(1);
	}
	_exit(0);
}

static int
go_to_background(const struct held *h, int *ret_ready_fd)
{
	_cleanup_close_ int null = -1;
	int fds[2];
	pid_t pid;

	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		close(fds[1]);
		wait_for_start(fds[0]);
	}
	close(fds[0]);
	if (setsid() < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0)
		_exit(0);
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(h->log_fd, STDERR_FILENO) < 0)
		return -errno;
	*ret_ready_fd = fds[1];
	return 0;
}

/* The roles get an environment of their own: nobody else speaks for us. */
static void
find_manager(int *ret_fd)
{
	const char *name = getenv("NOTIFY_SOCKET");
	int r;

	if (name == NULL)
		return;
	r = notify_open(name, ret_fd);
	if (r < 0)
		log_warn("cannot reach the service manager at %s: %s", name, strerror(-r));
	unsetenv("NOTIFY_SOCKET");
}

static int
run(const struct options *o, struct held *h, struct sup_config *cfg)
{
	int r;

	if (check_role_programs(h->role_dir) < 0)
		return 1;
	r = check_first(h);
	if (r != 0)
		return r;
	if (make_places(o, h, cfg) < 0)
		return 1;
	raise_file_limit();
	find_manager(&cfg->notify_fd);
	if (!o->foreground) {
		r = go_to_background(h, &cfg->ready_fd);
		if (r < 0) {
			log_error("cannot go to the background: %s", strerror(-r));
			return 1;
		}
	}
	if (chdir("/") < 0 || place_write_pid(h->pid_file, getpid()) < 0)
		return 1;
	r = supervisor_run(cfg);
	unlink(h->socket);
	unlink(h->pid_file);
	return r;
}

static void
resolve_paths(const struct options *o, struct held *h)
{
	char *slash, *dot;

	absolute(o->config, h->config);
	absolute(o->state_dir, h->state_dir);
	absolute(o->socket, h->socket);
	find_role_dir(h->role_dir);
	memcpy(h->runtime_dir, h->socket, sizeof(h->socket));
	slash = strrchr(h->runtime_dir, '/');
	if (slash[1] == '\0')
		usage_error("--socket takes the path of a socket, not of a folder: ", o->socket);
	slash[slash == h->runtime_dir ? 1 : 0] = '\0';
	memcpy(h->pid_file, h->socket, sizeof(h->socket));
	dot = strrchr(h->pid_file, '.');
	if (dot == NULL || strcmp(dot, ".sock") != 0)
		dot = h->pid_file + strlen(h->pid_file);
	memcpy(dot, ".pid", 5);
}

int
main(int argc, char **argv)
{
	struct options o = {
		.config = SYSCONFDIR "/nanoseg/nanosegd.yaml",
		.state_dir = LOCALSTATEDIR "/lib/nanoseg",
		.socket = RUNSTATEDIR "/nanoseg/nanosegd.sock",
		.docker_socket = RUNSTATEDIR "/docker.sock",
		.docker_root = "/var/lib/docker",
		.podman_socket = RUNSTATEDIR "/podman/podman.sock",
		.log = "info",
	};
	static struct held h = { .state_fd = -1, .lock_fd = -1, .log_fd = -1 };
	struct sup_config cfg = { .listen_fd = -1,
		.keeper_lock_fd = -1,
		.keeper_log_fd = -1,
		.ready_fd = -1,
		.notify_fd = -1 };
	int fd;

	options_parse(argc, argv, &o);
	log_init("supervisor", level_parse(o.log));
	/* Closed standard fds would be taken by sockets. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	umask(022);
	resolve_paths(&o, &h);
	if (o.config_given && (o.action == RUN || o.action == CHECK) &&
	    access(h.config, F_OK) < 0) {
		log_error("%s: %s", h.config, strerror(errno));
		return 2;
	}
	if (o.action == CHECK)
		return run_check(&h);
	if (geteuid() != 0) {
		log_error("nanosegd must be started by root");
		return 1;
	}
	cfg.config = h.config;
	cfg.state_dir = h.state_dir;
	cfg.socket = h.socket;
	cfg.only = o.only;
	cfg.without_owner = o.without_owner;
	cfg.log = o.log;
	cfg.docker_socket = o.docker_socket;
	cfg.docker_root = o.docker_root;
	cfg.podman_socket = o.podman_socket;
	cfg.role_dir = h.role_dir;
	if (o.action == SET_ASIDE)
		return run_set_aside(&h);
	if (o.action == CLEANUP)
		return run_cleanup(&o, &h, &cfg);
	return run(&o, &h, &cfg);
}
