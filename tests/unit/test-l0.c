/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/l0.h"
#include "rules/util.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static const struct {
	const char *name, *text, *id; /* id NULL: none */
} cases[] = {
	{ "v2, docker with systemd", "0::/system.slice/docker-" ID ".scope\n", ID },
	{ "v2, docker with cgroupfs", "0::/docker/" ID "\n", ID },
	{ "v2, no newline at the end", "0::/docker/" ID, ID },
	{ "v1, docker", "12:pids:/docker/" ID "\n11:memory:/docker/" ID "\n0::/\n", ID },
	{ "v1, only a later controller knows", "12:pids:/\n1:name=systemd:/docker/" ID "\n", ID },
	{ "containerd under kubernetes",
	    "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID ".scope\n", ID },
	{ "kubernetes with cgroupfs", "4:cpu:/kubepods/burstable/pod12-34/" ID "\n", ID },
	{ "cri-o", "0::/kubepods.slice/crio-" ID ".scope\n", ID },
	{ "podman", "0::/machine.slice/libpod-" ID ".scope/container\n", ID },
	{ "podman's monitor is not the container", "0::/machine.slice/libpod-conmon-" ID ".scope\n",
	    NULL },
	{ "podman without systemd", "9:name=systemd:/libpod_parent/libpod-" ID "\n", ID },
	{ "podman's pod is not the container", "0::/libpod_parent/" ID2 "/libpod-" ID "\n", ID },
	{ "podman's pod alone", "0::/libpod_parent/" ID2 "\n", NULL },
	{ "a pod of podman under systemd",
	    "0::/machine.slice/machine-libpod_pod_" ID2 ".slice/libpod-" ID ".scope/container\n",
	    ID },
	{ "cri-o without systemd", "0::/kubepods/besteffort/podx/crio-" ID "\n", ID },
	{ "docker has no such folder", "0::/docker-" ID "\n", NULL },
	{ "a container cannot become another by a folder of podman's name",
	    "0::/docker/" ID "/libpod_parent/libpod-" ID2 "\n", ID },
	{ "a container inside a container is the outer one's", "0::/docker/" ID "/docker/" ID2 "\n",
	    ID },
	{ "a container cannot take another id by naming a cgroup",
	    "0::/system.slice/docker-" ID ".scope/docker-" ID2 ".scope\n", ID },
	{ "a service", "0::/system.slice/ssh.service\n", NULL },
	{ "the root", "0::/\n", NULL },
	{ "nothing", "", NULL },
	{ "too short", "0::/docker/0123456789abcdef\n", NULL },
	{ "too long", "0::/docker/" ID "0\n", NULL },
	{ "capital letters are no id",
	    "0::/docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF\n", NULL },
	{ "an unknown prefix", "0::/x-" ID ".scope\n", NULL },
	{ "a suffix that only ends alike", "0::/docker-" ID ".scopes\n", NULL },
	{ "an id outside the path", ID ":" ID ":/\n", NULL },
	{ "no colons", "/docker/" ID "\n", NULL },
	{ "one colon", "0:/docker/" ID "\n", NULL },
	{ "only a suffix", "0::/.scope\n", NULL },
	{ "slashes", "0:://///\n", NULL },
};

static void
finds_the_container_of_a_cgroup(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct l0_claim c = { .id = "untouched" };
		bool found = l0_claim_parse(cases[i].text, strlen(cases[i].text), &c);
		const char *want = cases[i].id != NULL ? cases[i].id : "untouched";

		if (found != (cases[i].id != NULL) || strcmp(c.id, want) != 0 ||
		    c.machine[0] != '\0' || (c.place != 0) != found)
			fail_msg("%s: %s", cases[i].name, c.id);
	}
}

static void
finds_the_machine_of_a_cgroup(void **state)
{
	static const struct {
		const char *text, *machine; /* machine NULL: none */
	} machines[] = {
		{ "0::/machine.slice/machine-web.scope/payload\n", "web" },
		{ "0::/machine.slice/machine-db\\x2done.scope\n", "db-one" },
		{ "0::/machine.slice/systemd-nspawn@web.service/payload\n", "web" },
		{ "0::/lxc.payload.web/system.slice\n", "web" },
		{ "4:cpu:/lxc/web\n", "web" },
		{ "0::/lxc.monitor.web\n", NULL },
		{ "4:cpu:/docker/buildkit/g4ly9g73cj0trdjygnv0vpizt\n", "buildkit" },
		{ "0::/docker/buildkit\n", NULL },
		{ "0::/lxc.payload.\n", NULL },
		{ "0::/machine.slice/machine-a\\x2fb.scope\n", NULL },
		{ "0::/machine.slice/machine-a\\x00.scope\n", NULL },
		{ "0::/machine.slice/machine-a b.scope\n", NULL },
		{ "0::/machine.slice/machine-web.slice\n", NULL },
		{ "0::/system.slice/machine-web.scope\n", NULL },
		{ "0::/lxc.payload.web/docker/" ID "\n", "web" }, /* the outer one's */
		{ "0::/lxc.payload."
		  "0123456789012345678901234567890123456789012345678901234567890123456789\n",
		    NULL },
	};

	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		struct l0_claim c = { .id = "untouched" };
		const char *text = machines[i].text, *want = machines[i].machine;
		bool found = l0_claim_parse(text, strlen(text), &c);

		if (found != (want != NULL) || (found && strcmp(c.machine, want) != 0) ||
		    (found && c.id[0] != '\0'))
			fail_msg("%s: %s", text, c.machine);
	}
}

static void
a_cgroup_elsewhere_of_the_same_name_is_another_place(void **state)
{
	static const char *const same[] = { "0::/docker/" ID "\n", "0::/docker/" ID "/init\n",
		"0::/docker/" ID "/docker/" ID "\n" };
	static const char *const other[] = { "0::/user.slice/docker/" ID "\n",
		"0::/docker/" ID2 "\n", "0::/docker-" ID ".scope\n" };
	struct l0_claim a, b;

	assert_true(l0_claim_parse(same[0], strlen(same[0]), &a));
	for (size_t i = 1; i < 3; i++) {
		assert_true(l0_claim_parse(same[i], strlen(same[i]), &b));
		assert_true(a.place == b.place);
	}
	for (size_t i = 0; i < 3; i++) {
		b.place = 0;
		l0_claim_parse(other[i], strlen(other[i]), &b);
		assert_true(a.place != b.place);
	}
}

static void
reads_what_a_process_may_do(void **state)
{
	static const struct {
		const char *text;
		bool found;
		uint64_t caps;
	} texts[] = {
		{ "Name:\tx\nCapBnd:\t00000000a80425fb\nCapAmb:\t0\n", true, 0xa80425fb },
		{ "CapBnd:\t000001ffffffffff", true, 0x1ffffffffff },
		{ "Name:\tCapBnd:\t1\n", false, 0 },
		{ "CapBnd:\t\n", false, 0 },
		{ "CapBnd:\t12 34\n", false, 0 },
		{ "CapBnd:\t123456789012345678901234567890\n", false, 0 },
		{ "", false, 0 },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint64_t caps = 0;

		if (l0_status_caps(texts[i].text, strlen(texts[i].text), &caps) != texts[i].found ||
		    (texts[i].found && caps != texts[i].caps))
			fail_msg("%s", texts[i].text);
	}
}

static void
reads_the_name_that_podman_gave(void **state)
{
#define ARGS(text, want)                 \
	{                                \
		text, sizeof(text), want \
	}
	static const struct {
		const char *text;
		size_t len;
		const char *name;
	} args[] = {
		ARGS("conmon\0-c\0" ID "\0-n\0web\0-b\0/x", "web"),
		ARGS("conmon\0-n\0a/b", NULL),
		ARGS("conmon\0-n\0", NULL),
		ARGS("conmon\0-n", NULL),
		ARGS("conmon\0-b\0-n x", NULL),
		ARGS("-n\0"
		     "0123456789012345678901234567890123456789012345678901234567890123",
		    NULL),
		{ "conmon\0-n\0web", 13, NULL }, /* cut short */
		{ "", 0, NULL },
	};
	char name[L0_NAME_LEN + 1];

	for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
		bool found = l0_conmon_name(args[i].text, args[i].len, name);

		if (found != (args[i].name != NULL) || (found && strcmp(name, args[i].name) != 0))
			fail_msg("case %zu: %d", i, found);
	}
}

static void
reads_the_name_that_a_shim_was_given(void **state)
{
#define LONG "a0123456789012345678901234567890123456789012345678901234567890123456789"
	static const struct {
		const char *text;
		size_t len;
		const char *name;
	} args[] = {
		ARGS("shim\0-namespace\0default\0-id\0web\0-address\0/x", "web@default"),
		ARGS("shim\0-id\0web\0-namespace\0dev", "web@dev"),
		ARGS("shim\0-id\0" LONG "\0-namespace\0dev", "a01234567890~2cb13d5e493035f4@dev"),
		ARGS("shim\0-id\0w@b\0-namespace\0dev", NULL),
		ARGS("shim\0-id\0\0-namespace\0dev", NULL), ARGS("shim\0-id\0web", NULL),
		ARGS("shim\0-namespace\0-id\0web", NULL),
		{ "shim\0-namespace\0dev\0-id\0web", 27, NULL }, /* cut short */
	};
	char name[L0_NAME_LEN + 1];

	for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
		bool found = l0_shim_name(args[i].text, args[i].len, name);

		if (found != (args[i].name != NULL) || (found && strcmp(name, args[i].name) != 0))
			fail_msg("case %zu: %s", i, found ? name : "none");
	}
}

static void
reads_the_last_part_of_a_cgroup(void **state)
{
	static const struct {
		const char *text, *name;
	} texts[] = {
		{ "12:pids:/default/web\n11:cpu:/x\n", "web" },
		{ "12:pids:/\n0::/user.slice/box\n", "box" },
		{ "0::/a/b c\n", NULL },
		{ "0::/a/\n", NULL },
		{ "0::/" LONG "\n", NULL },
		{ "", NULL },
		{ "nothing", NULL },
	};
	char name[L0_NAME_LEN + 1];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		bool found = l0_cgroup_name(texts[i].text, strlen(texts[i].text), name);

		if (found != (texts[i].name != NULL) || (found && strcmp(name, texts[i].name) != 0))
			fail_msg("%s: %s", texts[i].text, found ? name : "none");
	}
}

/* Every prefix of a text is read without looking past it. */
static void
reads_no_byte_past_the_end(void **state)
{
	static const char text[] = "12:pids:/x\n0::/system.slice/docker-" ID ".scope/y\n";
	struct l0_claim c;

	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy = malloc(n > 0 ? n : 1);

		assert_non_null(copy);
		memcpy(copy, text, n);
		l0_claim_parse(copy, n, &c);
		free(copy);
	}
}

static void
tells_a_runtimes_process_and_its_age(void **state)
{
	static const char rest[] = " S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 6 7";
	static const struct {
		const char *text;
		bool good, runtime;
	} stats[] = {
		{ "7 (runc:[2:INIT])", true, true },
		{ "7 (runc:[1:CHILD])", true, true },
		{ "7 (crun)", true, true },
		{ "7 (runc)", true, false },
		{ "7 (first)", true, false },
		{ "7 (a) R (runc:[2:INIT])", true, false },
		{ "7 (x) 1 2)", true, false },
		{ "7 ()", true, false },
		{ "7 first", false, false },
		{ "", false, false },
		{ ")(", false, false },
	};
	char text[256];

	for (size_t i = 0; i < sizeof(stats) / sizeof(stats[0]); i++) {
		uint64_t ticks = 0;
		bool runtime = false;

		snprintf(text, sizeof(text), "%s%s", stats[i].text, rest);
		if (l0_parse_stat(text, &runtime, &ticks) != stats[i].good ||
		    runtime != stats[i].runtime || ticks != (stats[i].good ? 12345 : 0))
			fail_msg("%s", text);
	}
	for (size_t n = 0; n < strlen(text); n++) {
		uint64_t ticks;
		bool runtime;

		snprintf(text, sizeof(text), "7 (first)%s", rest);
		text[n] = '\0';
		l0_parse_stat(text, &runtime, &ticks);
	}
}

#define ENGINES_NS 100
#define OWN_NS 200

struct proc {
	int pid, ppid;
	const char *cgroup; /* NULL: it is over, and what is left is its number */
	int ino;
};

static void
write_at(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_CREAT | O_WRONLY | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void
make_process(int procfd, const struct proc *p)
{
	char name[16], text[128];
	int fd;

	snprintf(name, sizeof(name), "%d", p->pid);
	assert_int_equal(mkdirat(procfd, name, 0700), 0);
	if (p->cgroup == NULL)
		return;
	fd = openat(procfd, name, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	snprintf(text, sizeof(text), "Name:\tx\nPPid:\t%d\n", p->ppid);
	write_at(fd, "status", text);
	snprintf(text, sizeof(text), "0::%s\n", p->cgroup);
	write_at(fd, "cgroup", text);
	assert_int_equal(mkdirat(fd, "ns", 0700), 0);
	snprintf(text, sizeof(text), "net:[%d]", p->ino);
	assert_int_equal(symlinkat(text, fd, "ns/net"), 0);
	close(fd);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
	return remove(path);
}

/* Does the first of them inherit its namespace? */
static int
inherits(const struct proc *list, size_t n)
{
	char dir[] = "/tmp/nanoseg-test-XXXXXX";
	struct l0_claim c = { .place = 0 };
	int procfd, task, r;

	assert_non_null(mkdtemp(dir));
	procfd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_true(procfd >= 0);
	for (size_t i = 0; i < n; i++)
		make_process(procfd, &list[i]);
	task = l0_open_task(procfd, list[0].pid);
	assert_true(task >= 0);
	l0_claim_parse("0::/docker/" ID, sizeof("0::/docker/" ID) - 1, &c);
	r = l0_task_inherits(procfd, task, c.place, (uint64_t)list[0].ino);
	close(task);
	close(procfd);
	assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	return r;
}

/* What has ended says nothing: an engine's namespace is not its container's for that. */
static void
tells_who_is_there_because_of_another(void **state)
{
	const char *own = "/docker/" ID, *other = "/docker/" ID2, *engine = "/engine";
	const struct {
		struct proc list[3];
		int want; /* -1: any negative */
	} c[] = {
		{ { { 30, 20, own, ENGINES_NS }, { 20, 10, engine, ENGINES_NS },
		      { 10, 0, engine, 1 } },
		    1 },
		{ { { 30, 20, own, OWN_NS }, { 20, 10, engine, ENGINES_NS }, { 10, 0, engine, 1 } },
		    0 },
		{ { { 30, 20, own, ENGINES_NS }, { 20, 10, own, ENGINES_NS },
		      { 10, 0, engine, ENGINES_NS } },
		    1 },
		{ { { 30, 20, own, OWN_NS }, { 20, 10, own, OWN_NS },
		      { 10, 0, engine, ENGINES_NS } },
		    0 },
		{ { { 30, 20, own, OWN_NS }, { 20, 10, other, OWN_NS }, { 10, 0, engine, 1 } }, 1 },
		/* Nobody above it is seen from here. */
		{ { { 30, 0, own, OWN_NS }, { 20, 10, engine, 1 }, { 10, 0, engine, 1 } }, 0 },
		/* It, who started it, or who is above that. */
		{ { { 30, 20, NULL, ENGINES_NS }, { 20, 10, engine, 1 }, { 10, 0, engine, 1 } },
		    -1 },
		{ { { 30, 20, own, ENGINES_NS }, { 20, 10, NULL, 0 }, { 10, 0, engine, 1 } }, -1 },
		{ { { 30, 20, own, ENGINES_NS }, { 21, 10, engine, ENGINES_NS },
		      { 10, 0, engine, 1 } },
		    -1 },
		{ { { 30, 20, own, ENGINES_NS }, { 20, 9, own, ENGINES_NS }, { 10, 0, engine, 1 } },
		    -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		int r = inherits(c[i].list, ARRAY_SIZE(c[i].list));

		if (MAX(r, -1) != c[i].want)
			fail_msg("case %zu: %d", i, r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_container_of_a_cgroup),
		cmocka_unit_test(finds_the_machine_of_a_cgroup),
		cmocka_unit_test(a_cgroup_elsewhere_of_the_same_name_is_another_place),
		cmocka_unit_test(reads_what_a_process_may_do),
		cmocka_unit_test(reads_the_name_that_podman_gave),
		cmocka_unit_test(reads_the_name_that_a_shim_was_given),
		cmocka_unit_test(reads_the_last_part_of_a_cgroup),
		cmocka_unit_test(reads_no_byte_past_the_end),
		cmocka_unit_test(tells_a_runtimes_process_and_its_age),
		cmocka_unit_test(tells_who_is_there_because_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
