/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "daemon/grade.h"

#include "rules/util.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char *word;
	unsigned bit;
} words[] = {
	{ "hostNetwork", GRADE_HOST_NETWORK },
	{ "netAdmin", GRADE_NET_ADMIN },
	{ "netRaw", GRADE_NET_RAW },
	{ "hostPid", GRADE_HOST_PID },
	{ "engineSocket", GRADE_ENGINE_SOCKET },
	{ "userns", GRADE_USERNS },
};

/* An engine's, wherever it has been put. */
static const char *const sockets[] = { "docker.sock", "containerd.sock", "containerd.sock.ttrpc",
	"podman.sock", "crio.sock", "cri-dockerd.sock", "dockershim.sock" };

/*
 * The folders that hold them, in /run or a user's folder there. /var/run is a link to /run on the
 * hosts we know.
 */
static const char *const folders[] = { "docker", "containerd", "docker/containerd", "podman",
	"crio", "k3s", "k3s/containerd", "k0s" };
/* This one has its own, and so has what is above it: all snaps. */
#define SNAPS "/var/snap"
#define MICROK8S "/var/snap/microk8s/common/run"

unsigned
grade_of_caps(const json_t *names)
{
	unsigned grade = 0;
	const char *s;

	for (size_t i = 0; i < json_array_size(names); i++) {
		s = json_string_value(json_array_get(names, i));
		if (s == NULL)
			continue;
		if (strncasecmp(s, "CAP_", 4) == 0)
			s += 4;
		if (strcasecmp(s, "ALL") == 0)
			grade |= GRADE_NET_ADMIN | GRADE_NET_RAW;
		else if (strcasecmp(s, "NET_ADMIN") == 0)
			grade |= GRADE_NET_ADMIN;
		else if (strcasecmp(s, "NET_RAW") == 0)
			grade |= GRADE_NET_RAW;
	}
	return grade;
}

/* What follows a user's folder: "user", "user/1000", "user/1000/podman/podman.sock". */
static bool
skip_user(const char **path, size_t *len)
{
	const char *p = *path, *end = *path + *len;

	if (*len < 4 || memcmp(p, "user", 4) != 0)
		return false;
	p += 4;
	if (p < end && *p == '/')
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			;
	if (p < end && (*p != '/' || p[-1] == 'r'))
		return false;
	p += p < end;
	*path = p;
	*len = (size_t)(end - p);
	return true;
}

static bool
is_socket(const char *path)
{
	const char *slash = strrchr(path, '/');

	for (size_t i = 0; slash != NULL && i < ARRAY_SIZE(sockets); i++)
		if (strcmp(slash + 1, sockets[i]) == 0)
			return true;
	return false;
}

static bool
holds_sockets(const char *source)
{
	size_t len = strlen(source);

	while (len > 1 && source[len - 1] == '/')
		len--;
	if (len >= strlen(SNAPS) && len <= strlen(MICROK8S) && memcmp(source, MICROK8S, len) == 0 &&
	    (MICROK8S[len] == '/' || MICROK8S[len] == '\0'))
		return true;
	if (strncmp(source, "/var/", 5) == 0) {
		source += 4;
		len -= 4;
	}
	if ((len == 1 && *source == '/') || (len == 4 && memcmp(source, "/run", 4) == 0))
		return true;
	if (strncmp(source, "/run/", 5) != 0)
		return false;
	source += 5;
	len -= 5;
	if (skip_user(&source, &len) && len == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (strlen(folders[i]) == len && memcmp(source, folders[i], len) == 0)
			return true;
	return false;
}

bool
grade_is_engine_socket(const char *source, const char *destination)
{
	return is_socket(source) || is_socket(destination) || holds_sockets(source);
}

json_t *
grade_to_json(unsigned grade)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if ((grade & words[i].bit) != 0 && list != NULL &&
		    json_array_append_new(list, json_string(words[i].word)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

unsigned
grade_from_json(const json_t *list)
{
	unsigned grade = 0;
	const char *s;

	for (size_t i = 0; i < json_array_size(list); i++) {
		s = json_string_value(json_array_get(list, i));
		for (size_t k = 0; s != NULL && k < ARRAY_SIZE(words); k++)
			if (strcmp(s, words[k].word) == 0)
				grade |= words[k].bit;
	}
	return grade;
}
