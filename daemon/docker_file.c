/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files are brought into the form of the API's answers, and read by the same functions.
 *
 * dockerd reads an image's configuration with Go's encoding/json: a key counts whatever its case
 * (and with two letters beyond ASCII that fold to s and k), of a key that comes twice both count.
 * An image could so have labels that dockerd gives to its containers and that are not seen here,
 * and those would pass for the container's own. Such a text is refused.
 */
#include "config.h"
#include "daemon/docker_file.h"

#include "daemon/docker_text.h"
#include "rules/util.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

void
docker_file_done(struct docker_file *f)
{
	json_decref(f->config);
	f->config = NULL;
	docker_container_done(&f->c);
}

static int
driver_of(const char *name)
{
	static const char *const names[RELAY_DRIVERS] = {
		[RELAY_DRIVER_OVERLAY2] = "overlay2",
		[RELAY_DRIVER_FUSE_OVERLAYFS] = "fuse-overlayfs",
		[RELAY_DRIVER_BTRFS] = "btrfs",
		[RELAY_DRIVER_ZFS] = "zfs",
		[RELAY_DRIVER_VFS] = "vfs",
	};

	for (int i = 0; i < RELAY_DRIVERS; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

int
docker_file_read_config(const char *id, const char *buf, size_t len, struct docker_file *ret)
{
	_cleanup_json_ json_t *o = NULL;
	int r;

	o = docker_text_object(buf, len, DOCKER_MAX_FILE, &r);
	if (o == NULL)
		return r;
	if (strcmp(docker_text_of(o, "ID"), id) != 0 || *docker_text_of(o, "Name") == '\0' ||
	    !json_is_object(json_object_get(o, "Config")))
		return -EBADMSG;
	*ret = (struct docker_file){ .driver = driver_of(docker_text_of(o, "Driver")) };
	ret->config = steal_ptr(o);
	return 0;
}

/* The sources of its mounts, which the file keeps by destination. */
static json_t *
mounts_of(const json_t *config)
{
	json_t *list = json_array(), *mount;
	const char *key;

	json_object_foreach(json_object_get(config, "MountPoints"), key, mount)
	{
		if (json_array_append(list, mount) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int
docker_file_read_host(struct docker_file *f, const char *buf, size_t len)
{
	_cleanup_json_ json_t *host = NULL, *o = NULL;
	const json_t *config = json_object_get(f->config, "Config");
	int r;

	host = docker_text_object(buf, len, DOCKER_MAX_FILE, &r);
	if (host == NULL)
		return r;
	if (*docker_text_of(host, "NetworkMode") == '\0')
		return -EBADMSG;
	o = json_pack("{s:O, s:[O], s:O?, s:O?, s:O?, s:{s:O?}, s:O, s:o, s:O}", "Id",
	    json_object_get(f->config, "ID"), "Names", json_object_get(f->config, "Name"), "Image",
	    json_object_get(config, "Image"), "ImageID", json_object_get(f->config, "Image"),
	    "Labels", json_object_get(config, "Labels"), "NetworkSettings", "Networks",
	    json_object_get(json_object_get(f->config, "NetworkSettings"), "Networks"),
	    "HostConfig", host, "Mounts", mounts_of(f->config), "Config", config);
	if (o == NULL)
		return -ENOMEM;
	r = docker_read_container(o, &f->c);
	if (r == 0)
		docker_read_inspect(o, &f->inspect);
	return r;
}

/* Does Go take this key for that name, which is in lower case? */
static bool
is_taken_for(const char *key, const char *name)
{
	for (; *name != '\0'; name++) {
		if (*name == 's' && strncmp(key, "\xc5\xbf", 2) == 0)
			key += 2;
		else if (*name == 'k' && strncmp(key, "\xe2\x84\xaa", 3) == 0)
			key += 3;
		else if (strncasecmp(key, name, 1) == 0)
			key++;
		else
			return false;
	}
	return *key == '\0';
}

/* The one member of that name, or NULL; false: some other key would be taken for it. */
static bool
only_member(const json_t *o, const char *name, const char *lower, json_t **ret)
{
	const char *key;
	json_t *value;

	*ret = NULL;
	json_object_foreach((json_t *)o, key, value)
	{
		if (strcmp(key, name) == 0)
			*ret = value;
		else if (is_taken_for(key, lower))
			return false;
	}
	return true;
}

int
docker_file_read_image(const char *buf, size_t len, json_t **ret_labels)
{
	_cleanup_json_ json_t *o = NULL;
	json_t *config, *labels;

	if (len > DOCKER_MAX_FILE)
		return -E2BIG;
	o = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(o) || !only_member(o, "config", "config", &config) ||
	    !only_member(config, "Labels", "labels", &labels))
		return -EBADMSG;
	return docker_read_image(config, ret_labels);
}
