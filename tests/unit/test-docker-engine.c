/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What engines say of one container, of pods and of what happens; the heads of their answers. */
#include "daemon/docker.h"
#include "daemon/grade.h"
#include "daemon/http1.h"
#include "rules/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void
inspection_tells_pid_and_sandbox(void **state)
{
	static const char ok[] = "{\"State\":{\"Pid\":4711},"
				 "\"NetworkSettings\":{\"SandboxKey\":\"/run/docker/netns/ab12\"}}";
	static const char odd[] =
	    "{\"State\":{\"Pid\":-5},\"NetworkSettings\":{\"SandboxKey\":\"none\"}}";
	struct docker_inspect i;

	assert_int_equal(docker_parse_inspect(ok, strlen(ok), &i), 0);
	assert_int_equal(i.pid, 4711);
	assert_string_equal(i.sandbox, "ab12");
	assert_int_equal(docker_parse_inspect(odd, strlen(odd), &i), 0);
	assert_int_equal(i.pid, 0);
	assert_string_equal(i.sandbox, "");
}

static void
inspection_grades(void **state)
{
#define HOST(text) "{\"HostConfig\":{" text "}}"
	static const struct {
		const char *json;
		unsigned grade;
	} cases[] = {
		{ "{}", GRADE_NET_RAW }, /* Docker's default */
		{ HOST("\"NetworkMode\":\"host\""), GRADE_NET_RAW | GRADE_HOST_NETWORK },
		{ HOST("\"PidMode\":\"host\""), GRADE_NET_RAW | GRADE_HOST_PID },
		{ HOST("\"PidMode\":\"container:x\""), GRADE_NET_RAW },
		{ HOST("\"CapDrop\":[\"NET_RAW\"]"), 0 },
		{ HOST("\"CapDrop\":[\"all\"]"), 0 },
		{ HOST("\"CapDrop\":[\"ALL\"],\"CapAdd\":[\"CAP_NET_ADMIN\"]"), GRADE_NET_ADMIN },
		{ HOST("\"CapAdd\":[\"ALL\"]"), GRADE_NET_ADMIN | GRADE_NET_RAW },
		{ HOST("\"CapAdd\":[7,null,\"NET_ADMINS\"]"), GRADE_NET_RAW },
		{ HOST("\"Privileged\":true,\"CapDrop\":[\"ALL\"]"),
		    GRADE_NET_ADMIN | GRADE_NET_RAW },
		{ "{\"BoundingCaps\":[\"CAP_CHOWN\"]}", 0 },
		{ "{\"BoundingCaps\":[\"CAP_NET_ADMIN\"]}", GRADE_NET_ADMIN },
		{ "{\"BoundingCaps\":[],\"Mounts\":[7,{\"Source\":\"/run/docker.sock\"}]}",
		    GRADE_ENGINE_SOCKET },
	};
	struct docker_inspect i;

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		assert_int_equal(docker_parse_inspect(cases[k].json, strlen(cases[k].json), &i), 0);
		if (i.grade != cases[k].grade)
			fail_msg("%s: %x", cases[k].json, i.grade);
	}
}

static void
a_mount_that_brings_an_engine_along_is_known(void **state)
{
	static const char *const yes[] = { "/", "/run", "/run/", "/var/run", "/run/docker.sock",
		"/var/run/docker.sock", "/run/podman", "/run/podman/podman.sock", "/run/docker/",
		"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/user",
		"/run/user/1000", "/run/user/1000/", "/run/user/1000/podman",
		"/var/run/user/0/podman/podman.sock", "/run/user/1000/docker.sock",
		"/tmp/x/docker.sock", "/home/me/podman.sock", "/run/k3s", "/run/k3s/containerd/",
		"/run/k3s/containerd/containerd.sock", "/run/containerd/containerd.sock.ttrpc",
		"/run/cri-dockerd.sock", "/var/snap/microk8s/common/run",
		"/var/snap/microk8s/common/run/", "/var/snap/microk8s/common/run/containerd.sock",
		"/var/snap", "/var/snap/", "/var/snap/microk8s", "/var/snap/microk8s/common//" };
	static const char *const no[] = { "", "/var", "/runs", "/ru", "/run/docker.sock2",
		"/run/dock", "/run/users", "/run/user/1000x", "/run/user/x/docker",
		"/run/user/1000/bus", "/run/user1000/docker", "/home/run/docker", "docker.sock",
		"/srv/docker.sock/data", "/var/snap/microk8s/common/runs", "/var/snap/microk8s/com",
		"/var/sna", "/var/snap/microk8s/current", "/var/snap/microk8s/common/run/x",
		"/var/" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (!grade_is_engine_socket(yes[i], "/x"))
			fail_msg("%s brings one", yes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (grade_is_engine_socket(no[i], "/x"))
			fail_msg("%s brings none", no[i]);
	assert_true(grade_is_engine_socket("/srv/proxy", "/var/run/docker.sock"));
	assert_true(grade_is_engine_socket("", "/run/containerd/containerd.sock"));
	assert_false(grade_is_engine_socket("/srv/proxy", "/run/docker"));
	assert_false(grade_is_engine_socket("", ""));
}

static void
words_of_a_grade_come_back(void **state)
{
	for (unsigned grade = 0; grade < 0x40; grade++) {
		json_t *list = grade_to_json(grade);

		json_array_append_new(list, json_string("unknown"));
		json_array_append_new(list, json_integer(1));
		assert_int_equal(grade_from_json(list), grade);
		json_decref(list);
	}
}

static void
a_network_of_another_container_is_told(void **state)
{
	static const struct {
		const char *json, *owner;
	} cases[] = {
		{ HOST("\"NetworkMode\":\"container:" ID "\""), ID },
		{ HOST("\"NetworkMode\":\"container:web\""), "" },
		{ HOST("\"NetworkMode\":\"" ID "\""), "" },
		{ HOST("\"NetworkMode\":7"), "" },
	};
	struct docker_inspect i;

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		assert_int_equal(docker_parse_inspect(cases[k].json, strlen(cases[k].json), &i), 0);
		assert_string_equal(i.shares, cases[k].owner);
	}
}

static void
pods_name_their_containers(void **state)
{
#define POD(infra, members) \
	"[{\"InfraId\":\"" infra "\",\"Name\":\"shop\",\"Containers\":[" members "]}]"
	static const struct {
		const char *json;
		int r;
		const char *name; /* of ID's pod */
	} cases[] = {
		{ POD(ID, "{\"Id\":\"" ID "\"}"), 0, "shop" },
		{ POD("", "{\"Id\":\"" ID "\"}"), 0, NULL }, /* shares nothing */
		{ "[]", 0, NULL },
		{ POD(ID, "{\"Id\":\"x\"}"), -EBADMSG, NULL },
		{ POD(ID, "7"), -EBADMSG, NULL },
		{ "[{]", -EBADMSG, NULL },
		{ "[7]", -EBADMSG, NULL },
		{ "{}", -EBADMSG, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *pods = NULL;
		int r = docker_parse_pods(cases[i].json, strlen(cases[i].json), &pods);
		const char *name = json_string_value(json_object_get(pods, ID));

		if (r != cases[i].r || (name == NULL) != (cases[i].name == NULL) ||
		    (name != NULL && strcmp(name, cases[i].name) != 0))
			fail_msg("%s: %d %s", cases[i].json, r, name);
		json_decref(pods);
	}
}

static void
events_tell_which_container(void **state)
{
#define EV(type, action, actor) \
	"{\"Type\":\"" type "\",\"Action\":\"" action "\",\"Actor\":" actor "}"
	static const struct {
		const char *json;
		int r;
		enum docker_event_kind kind;
		bool started;
	} cases[] = {
		{ EV("container", "start", "{\"ID\":\"" ID "\"}"), 0, DOCKER_EVENT_CHANGED, true },
		{ EV("container", "create", "{\"ID\":\"" ID "\"}"), 0, DOCKER_EVENT_CREATED,
		    false },
		{ EV("network", "create", "{\"ID\":\"n\"}"), 0, DOCKER_EVENT_OTHER, false },
		{ EV("container", "rename", "{\"ID\":\"" ID "\"}"), 0, DOCKER_EVENT_CHANGED,
		    false },
		{ EV("container", "die", "{\"ID\":\"" ID "\"}"), 0, DOCKER_EVENT_GONE, false },
		{ EV("container", "exec_start: sh", "{\"ID\":\"" ID "\"}"), 0, DOCKER_EVENT_OTHER,
		    false },
		{ EV("network", "connect",
		      "{\"ID\":\"n\",\"Attributes\":{\"container\":\"" ID "\"}}"),
		    0, DOCKER_EVENT_CHANGED, false },
		{ EV("image", "start", "{\"ID\":\"" ID "\"}"), 0, DOCKER_EVENT_OTHER, false },
		{ EV("container", "die", "{\"ID\":\"x\"}"), -EBADMSG, 0, false },
		{ EV("container", "die", "7"), -EBADMSG, 0, false },
		{ "{}", -EBADMSG, 0, false },
		{ "nonsense", -EBADMSG, 0, false },
	};
	struct docker_event e;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = docker_parse_event(cases[i].json, strlen(cases[i].json), &e);

		if (r != cases[i].r ||
		    (r == 0 && (e.kind != cases[i].kind || e.started != cases[i].started)))
			fail_msg("%s: %d", cases[i].json, r);
	}
}

static void
heads_are_read_or_refused(void **state)
{
	static const struct {
		const char *head;
		int r, status;
		int64_t length;
	} cases[] = {
		{ "HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody", 25, 200, -1 },
		{ "HTTP/1.1 404 Not Found\nContent-length:  12 \n\n", 45, 404, 12 },
		{ "HTTP/1.0 200\r\n\r\n", 16, 200, -1 },
		{ "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 57, 200, 1 },
		{ "", 0, 0, 0 },
		{ "HTT", 0, 0, 0 },
		{ "HTTP/1.0 200 OK\r\nA: b\r\n", 0, 0, 0 },
		{ "GARBAGE", -EBADMSG, 0, 0 },
		{ "HTTP/2.0 200 OK\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 099 OK\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 2000\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 200 OK\r\nnocolon\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 200 OK\r\n: x\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 200 OK\r\n folded: x\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", -EBADMSG, 0,
		    0 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", -EPROTONOSUPPORT, 0, 0 },
	};
	struct http1_head h;
	char big[HTTP1_HEAD_MAX + 100];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		r = http1_parse_head(cases[i].head, strlen(cases[i].head), &h);
		if (r != cases[i].r ||
		    (r > 0 && (h.status != cases[i].status || h.content_length != cases[i].length)))
			fail_msg("%s: %d", cases[i].head, r);
	}
	memset(big, 'x', sizeof(big));
	memcpy(big, "HTTP/1.0 200 OK\r\nA: ", 20);
	assert_int_equal(http1_parse_head(big, sizeof(big), &h), -E2BIG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inspection_tells_pid_and_sandbox),
		cmocka_unit_test(inspection_grades),
		cmocka_unit_test(a_mount_that_brings_an_engine_along_is_known),
		cmocka_unit_test(words_of_a_grade_come_back),
		cmocka_unit_test(a_network_of_another_container_is_told),
		cmocka_unit_test(pods_name_their_containers),
		cmocka_unit_test(events_tell_which_container),
		cmocka_unit_test(heads_are_read_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
