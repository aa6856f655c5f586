/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See place.h. The state folder belongs to the controller, which is not trusted: nothing in it is
 * followed, and the instance id counts only if root wrote it.
 */
#include "config.h"
#include "daemon/place.h"

#include "daemon/log.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define LOG_FILE_MAX (8 << 20)
#define STALE_MS 5000
#define STALE_STEP_MS 50

/* Numbers that no distribution and no systemd range gives out. */
static const struct {
	enum role role;
	const char *user;
	uid_t fallback;
} users[] = {
	{ ROLE_CONTROLLER, "_nanoseg", 2000000101 },
	{ ROLE_CAPTURE, "_nanoseg-capture", 2000000102 },
	{ ROLE_DISCOVERY, "_nanoseg-discovery", 2000000103 },
	{ ROLE_KEEPER, "_nanoseg-keeper", 2000000104 },
	{ ROLE_PROBE, "_nanoseg-probe", 2000000105 },
	{ ROLE_HERALD, "_nanoseg-herald", 2000000106 },
};

static void
look_up_ids(struct place_ids *ids)
{
	const struct group *gr;
	size_t i;

	memset(ids, 0, sizeof(*ids));
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		const struct passwd *pw = getpwnam(users[i].user);
		enum role r = users[i].role;

		if (pw != NULL && pw->pw_uid != 0 && pw->pw_gid != 0) {
			ids->uid[r] = pw->pw_uid;
			ids->gid[r] = pw->pw_gid;
		}
	}
	gr = getgrnam("nanoseg");
	if (gr != NULL)
		ids->socket_gid = gr->gr_gid;
}

int
place_find_ids(struct place_ids *ret)
{
	struct place_ids ids = { 0 };
	int fds[2], status;
	size_t i;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		log_error("cannot look up users: %s", strerror(errno));
		return -errno;
	}
	if (pid == 0) {
		look_up_ids(&ids);
		_exit(write(fds[1], &ids, sizeof(ids)) == sizeof(ids) ? 0 : 1);
	}
	close(fds[1]);
	n = read(fds[0], &ids, sizeof(ids));
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (n != sizeof(ids)) {
		log_error("cannot look up users");
		return -EIO;
	}
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		enum role r = users[i].role;

		if (ids.uid[r] != 0)
			continue;
		ids.uid[r] = users[i].fallback;
		ids.gid[r] = users[i].fallback;
		log_info("no user %s: the %s runs with the number %u", users[i].user, role_name(r),
		    ids.uid[r]);
	}
	*ret = ids;
	return 0;
}

int
place_make_dir(const char *path, mode_t mode, int *ret_fd)
{
	char part[PATH_MAX];
	size_t len = strlen(path), i;
	int fd;

	if (len == 0 || len >= sizeof(part)) {
		log_error("folder name of %zu bytes: expected 1 to %d", len, PATH_MAX - 1);
		return -ENAMETOOLONG;
	}
	memcpy(part, path, len + 1);
	for (i = 1; i <= len; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, path[i] == '\0' ? mode : 0755) < 0 && errno != EEXIST) {
			int r = -errno;

			log_error("cannot make the folder %s: %s", part, strerror(-r));
			return r;
		}
		part[i] = path[i];
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int r = -errno;

		log_error("cannot open the folder %s: %s", path, strerror(-r));
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int
place_make_state(const char *path, uid_t uid, gid_t gid, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	int r;

	r = place_make_dir(path, 0700, &fd);
	if (r < 0)
		return r;
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, 0700) < 0) {
		r = -errno;
		log_error("cannot give the state folder %s to uid %u: %s", path, uid, strerror(-r));
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int
open_own(int state_fd, const char *name, int flags)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(state_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != 0)
		return -EPERM;
	return steal_fd(&fd);
}

/* A supervisor that was killed as it forked: the child holds the lock until it runs its program. */
int
place_lock(int state_fd, const char *state_dir, int *ret_fd)
{
	const struct timespec pause = { 0, STALE_STEP_MS * 1000000L };
	_cleanup_close_ int fd = open_own(state_fd, "lock", O_RDWR | O_CREAT);

	if (fd < 0) {
		log_error("cannot open %s/lock: %s", state_dir, strerror(-fd));
		return fd;
	}
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += STALE_STEP_MS) {
		if (waited >= STALE_MS) {
			log_error("another nanosegd runs with the state folder %s; stop it first",
			    state_dir);
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int
place_open_keeper_lock(int state_fd, int *ret_base_fd)
{
	int fd = open_own(state_fd, "keeper.lock", O_RDWR | O_CREAT);

	if (fd < 0) {
		log_error("cannot open keeper.lock in the state folder: %s", strerror(-fd));
		return fd;
	}
	*ret_base_fd = fd;
	return 0;
}

int
place_lock_keeper(int base_fd, int *ret_fd, pid_t *ret_pid)
{
	_cleanup_close_ int fd = -1;
	char text[32] = { 0 };

	snprintf(text, sizeof(text), "/proc/self/fd/%d", base_fd);
	fd = open(text, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		memset(text, 0, sizeof(text));
		if (pread(fd, text, sizeof(text) - 1, 0) < 0)
			text[0] = '\0';
		*ret_pid = (pid_t)strtol(text, NULL, 10);
		return -EBUSY;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int
instance_make(int state_fd, char ret[static 16])
{
	_cleanup_close_ int fd = -1;
	uint32_t number;
	char text[16] = { 0 };

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	snprintf(text, sizeof(text), "%08x", number);
	if (unlinkat(state_fd, "instance.new", 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(state_fd, "instance.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (dprintf(fd, "%s\n", text) != 9 || fsync(fd) < 0)
		return -EIO;
	if (renameat(state_fd, "instance.new", state_fd, "instance") < 0 || fsync(state_fd) < 0)
		return -errno;
	memcpy(ret, text, sizeof(text));
	return 0;
}

int
place_instance(int state_fd, const char *state_dir, bool make, char ret[static 16])
{
	_cleanup_close_ int fd = -1;
	char text[16] = { 0 };
	ssize_t n;
	int r;

	fd = open_own(state_fd, "instance", O_RDONLY);
	if (fd == -ENOENT && !make)
		return -ENOENT;
	if (fd == -ENOENT) {
		r = instance_make(state_fd, ret);
		if (r < 0)
			log_error("cannot write %s/instance: %s", state_dir, strerror(-r));
		return r;
	}
	if (fd < 0) {
		log_error("cannot read %s/instance: %s%s", state_dir, strerror(-fd),
		    fd == -EPERM ? " (expected a regular file that belongs to root)" : "");
		return fd;
	}
	n = read(fd, text, sizeof(text) - 1);
	if (n == 9 && text[8] == '\n')
		text[8] = '\0';
	if (n != 9 || !role_instance_valid(text)) {
		log_error("%s/instance: expected 8 hexadecimal digits and a newline; restore the "
			  "file, or remove every trace with --cleanup --all and delete it",
		    state_dir);
		return -EINVAL;
	}
	memset(ret, 0, 16);
	memcpy(ret, text, 8);
	return 0;
}

int
place_open_log(int state_fd, const char *name, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	char old[64];
	struct stat st;

	snprintf(old, sizeof(old), "%s.1", name);
	if (fstatat(state_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (st.st_size > LOG_FILE_MAX || !S_ISREG(st.st_mode)) &&
	    renameat(state_fd, name, state_fd, old) < 0) {
		log_error("cannot set %s aside: %s", name, strerror(errno));
		return -errno;
	}
	fd = open_own(state_fd, name, O_WRONLY | O_APPEND | O_CREAT);
	if (fd < 0) {
		log_error("cannot open %s: %s", name, strerror(-fd));
		return fd;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int
address_of(const char *path, struct sockaddr_un *ret)
{
	size_t len = strlen(path);

	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	if (len == 0 || len >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, len);
	return 0;
}

int
place_connect(const char *path, int type, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sun;
	int r;

	r = address_of(path, &sun);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/*
 * Nobody answers at path, and what lies there may be replaced. A controller whose supervisor was
 * killed still has the socket for a moment, so an answer counts only if it lasts.
 */
static int
check_stale(const char *path, int type)
{
	const struct timespec pause = { 0, STALE_STEP_MS * 1000000L };
	struct stat st;
	int r, waited;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		log_error("%s exists and is no socket; not replacing it", path);
		return -EEXIST;
	}
	for (waited = 0; waited <= STALE_MS; waited += STALE_STEP_MS) {
		_cleanup_close_ int fd = -1;

		r = place_connect(path, type, &fd);
		if (r == -ECONNREFUSED || r == -ENOENT)
			return 0;
		close_fd(&fd);
		nanosleep(&pause, NULL);
	}
	log_error("%s is in use: %s", path, r < 0 ? strerror(-r) : "somebody answers there");
	return -EADDRINUSE;
}

int
place_listen(const char *path, int type, gid_t gid, mode_t mode, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sun;
	char temp[PATH_MAX];
	mode_t mask;
	int r;

	snprintf(temp, sizeof(temp), "%s.new", path);
	r = address_of(temp, &sun);
	if (r < 0) {
		log_error("socket path %s is too long: expected at most %zu bytes", path,
		    sizeof(sun.sun_path) - 5);
		return r;
	}
	r = check_stale(path, type);
	if (r < 0)
		return r;
	unlink(temp);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && (lchown(temp, 0, gid) < 0 || chmod(temp, mode) < 0 ||
			  listen(fd, SOMAXCONN) < 0 || rename(temp, path) < 0))
		r = -errno;
	if (r < 0) {
		log_error("cannot listen at %s: %s", path, strerror(-r));
		unlink(temp);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int
place_set_aside_store(int state_fd, const char *state_dir)
{
	/* The file last: without it, but with its log, a start would refuse again. */
	static const char *const names[] = { "nanoseg.db-wal", "nanoseg.db-journal", "nanoseg.db" };
	char stamp[32], to[96];
	struct timespec now;
	struct tm tm;
	bool any = false;

	clock_gettime(CLOCK_REALTIME, &now);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", gmtime_r(&now.tv_sec, &tm));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(
		    to, sizeof(to), "%s.aside-%s.%03ldZ", names[i], stamp, now.tv_nsec / 1000000);
		if (renameat2(state_fd, names[i], state_fd, to, RENAME_NOREPLACE) == 0) {
			log_info("%s/%s is now %s", state_dir, names[i], to);
			any = true;
		} else if (errno != ENOENT) {
			log_error(
			    "cannot set %s/%s aside: %s", state_dir, names[i], strerror(errno));
			return -errno;
		}
	}
	if (!any) {
		log_error("%s has no store", state_dir);
		return -ENOENT;
	}
	log_info(
	    "the next start begins with an empty store; rules of enforced workloads stand in "
	    "the kernel until 'nanoseg policy apply %s/policy.json', another policy, or a mode",
	    state_dir);
	return fsync(state_fd) < 0 ? -errno : 0;
}

int
place_write_pid(const char *path, pid_t pid)
{
	_cleanup_close_ int fd = -1;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || dprintf(fd, "%d\n", (int)pid) < 0) {
		log_error("cannot write %s: %s", path, strerror(errno));
		return -EIO;
	}
	return 0;
}
