/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target over the files and folders given, as libFuzzer's -runs=0 would, with any
 * compiler: the seed corpus is part of every check. Each file is handed over in a heap block of
 * exactly its size. Prints TAP, one line per argument.
 */
#include "rules/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
replay_file(int dir, const char *name)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;
	size_t size, done = 0;
	ssize_t n;

	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)INPUT_MAX)
		return -EINVAL;
	size = (size_t)st.st_size;
	data = malloc(MAX(size, (size_t)1));
	if (data == NULL)
		return -ENOMEM;
	while (done < size) {
		n = read(fd, data + done, size - done);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	LLVMFuzzerTestOneInput(data, size);
	return 1;
}

static void
close_dir(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

/* How many inputs were run, or a negative errno. */
static int
replay_path(const char *path)
{
	_cleanup_(close_dir) DIR *d = NULL;
	struct dirent *e;
	int n = 0, r;

	d = opendir(path);
	if (d == NULL)
		return errno == ENOTDIR ? replay_file(AT_FDCWD, path) : -errno;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		r = replay_file(dirfd(d), e->d_name);
		if (r < 0)
			return r;
		n += r;
	}
	return n > 0 ? n : -ENOENT;
}

int
main(int argc, char **argv)
{
	int failed = 0, r;

	printf("1..%d\n", MAX(argc - 1, 1));
	if (argc < 2) {
		printf("not ok 1 - no file or folder given\n");
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		r = replay_path(argv[i]);
		if (r < 0)
			failed = 1;
		if (r < 0)
			printf("not ok %d - %s: %s\n", i, argv[i], strerror(-r));
		else
			printf("ok %d - %s: %d inputs\n", i, argv[i], r);
		fflush(stdout);
	}
	return failed;
}
