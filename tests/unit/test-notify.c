/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/notify.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

/* A manager's socket under the name as NOTIFY_SOCKET has it. */
static int
manager(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sun.sun_path, name, len);
	if (name[0] == '@')
		sun.sun_path[0] = '\0';
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
	    0);
	return fd;
}

static void
tells(const char *name)
{
	int there = manager(name), fd = -1;
	char got[64] = { 0 };

	assert_int_equal(notify_open(name, &fd), 0);
	assert_int_equal(notify_send(fd, "READY=1\nSTATUS=watching"), 0);
	assert_int_equal(recv(there, got, sizeof(got), 0), 23);
	assert_string_equal(got, "READY=1\nSTATUS=watching");
	close(there);
	assert_true(notify_send(fd, "STOPPING=1") < 0);
	close(fd);
}

static void
reaches_a_socket_with_a_path(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "/tmp/nanoseg-notify-%d", (int)getpid());
	unlink(path);
	tells(path);
	unlink(path);
}

static void
reaches_an_abstract_socket(void **state)
{
	char name[64];

	snprintf(name, sizeof(name), "@nanoseg/notify/%d", (int)getpid());
	tells(name);
}

static void
does_not_wait_for_a_manager_that_does_not_read(void **state)
{
	char name[64];
	int there, fd = -1, i, r = 0;

	snprintf(name, sizeof(name), "@nanoseg/full/%d", (int)getpid());
	there = manager(name);
	assert_int_equal(notify_open(name, &fd), 0);
	for (i = 0; i < 100000 && r == 0; i++)
		r = notify_send(fd, "STATUS=x");
	assert_int_equal(r, -EAGAIN);
	close(fd);
	close(there);
}

static void
refuses_other_names(void **state)
{
	char longer[200];
	int fd = -1;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(notify_open("", &fd), -EINVAL);
	assert_int_equal(notify_open("@", &fd), -EINVAL);
	assert_int_equal(notify_open("vsock:2:1", &fd), -EINVAL);
	assert_int_equal(notify_open("run/notify", &fd), -EINVAL);
	assert_int_equal(notify_open(longer, &fd), -ENAMETOOLONG);
	assert_int_equal(notify_open("/nowhere/notify", &fd), -ENOENT);
	assert_int_equal(fd, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reaches_a_socket_with_a_path),
		cmocka_unit_test(reaches_an_abstract_socket),
		cmocka_unit_test(does_not_wait_for_a_manager_that_does_not_read),
		cmocka_unit_test(refuses_other_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
