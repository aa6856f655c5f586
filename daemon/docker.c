/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "daemon/docker.h"

#include "daemon/docker_text.h"
#include "daemon/grade.h"
#include "rules/util.h"
#include "rules/workload.h"

#include <errno.h>
#include <string.h>

#define MAX_DEPTH 256

static bool
is_hex64(const char *s)
{
	return strlen(s) == DOCKER_ID_LEN && strspn(s, "0123456789abcdef") == DOCKER_ID_LEN;
}

bool
docker_id_valid(const char *id)
{
	return is_hex64(id);
}

bool
docker_image_id_valid(const char *id)
{
	return strncmp(id, "sha256:", 7) == 0 && is_hex64(id + 7);
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t
skip_space(const char *buf, size_t len, size_t at)
{
	while (at < len && is_space(buf[at]))
		at++;
	return at;
}

/* The end of the value that starts at `at`: the ',' or ']' of the array around it. */
static int
value_end(const char *buf, size_t len, size_t at, size_t *ret)
{
	unsigned depth = 0;
	bool string = false;

	for (; at < len; at++) {
		if (string) {
			if (buf[at] == '\\')
				at++;
			else if (buf[at] == '"')
				string = false;
			continue;
		}
		switch (buf[at]) {
		case '"':
			string = true;
			break;
		case '[':
		case '{':
			if (++depth > MAX_DEPTH)
				return -EBADMSG;
			break;
		case '}':
			if (depth == 0)
				return -EBADMSG;
			depth--;
			break;
		case ']':
		case ',':
			if (depth == 0) {
				*ret = at;
				return 0;
			}
			depth -= buf[at] == ']';
			break;
		default:
			break;
		}
	}
	return -EBADMSG;
}

int
docker_list_next(const char *buf, size_t len, size_t *pos, const char **ret_elem, size_t *ret_len)
{
	size_t at = skip_space(buf, len, *pos), end;
	bool first = *pos == 0;
	int r;

	if (at == len)
		return -EBADMSG;
	if (first) {
		if (buf[at++] != '[')
			return -EBADMSG;
		at = skip_space(buf, len, at);
		if (at == len)
			return -EBADMSG;
	} else if (buf[at] == ',') {
		at = skip_space(buf, len, at + 1);
	} else if (buf[at] != ']') {
		return -EBADMSG;
	}
	if (at < len && buf[at] == ']' && (first || buf[*pos] == ']'))
		return skip_space(buf, len, at + 1) == len ? 0 : -EBADMSG;
	r = value_end(buf, len, at, &end);
	if (r < 0 || end == at)
		return -EBADMSG;
	*ret_elem = buf + at;
	*ret_len = end - at;
	*pos = end;
	return 1;
}

struct label_sink {
	json_t *labels;
	bool keys_only;
	size_t bytes;
	json_int_t left_out;
	bool altered;
};

static int
label_add(struct label_sink *s, const char *key, const json_t *value)
{
	const char *text = json_string_value(value);
	_cleanup_json_ json_t *copy = NULL;
	size_t size;

	if (json_object_get(s->labels, key) != NULL)
		return 0;
	if (text == NULL || strlen(key) > DOCKER_MAX_KEY) {
		s->left_out++;
		return 0;
	}
	if (s->keys_only)
		text = "";
	size = strlen(key) + MIN(strlen(text), (size_t)DOCKER_MAX_VALUE);
	if (json_object_size(s->labels) >= DOCKER_MAX_LABELS ||
	    s->bytes + size > DOCKER_MAX_LABEL_BYTES) {
		s->left_out++;
		return 0;
	}
	copy = docker_text_copy(text, DOCKER_MAX_VALUE, &s->altered);
	if (strstr(key, "\xef\xbf\xbd") != NULL)
		s->altered = true;
	if (copy == NULL || json_object_set(s->labels, key, copy) < 0)
		return -ENOMEM;
	s->bytes += size;
	return 0;
}

/*
 * Labels that identity is decided by are taken first, so that no number of others can push one of
 * them, above all an image's, out of the bounds. All of them together fit.
 */
static int
labels_take(json_t *from, struct label_sink *s)
{
	const char *const *first = workload_identity_labels;
	const char *key;
	json_t *value;

	s->labels = json_object();
	if (s->labels == NULL)
		return -ENOMEM;
	for (; *first != NULL; first++) {
		value = json_object_get(from, *first);
		if (value != NULL && label_add(s, *first, value) < 0)
			return -ENOMEM;
	}
	json_object_foreach(from, key, value)
	{
		if (label_add(s, key, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* The container's own name: of several, the one that is no link ("/other/alias"). */
static const char *
name_of(const json_t *o)
{
	const json_t *names = json_object_get(o, "Names");
	const char *best = "", *name;

	for (size_t i = 0; i < json_array_size(names); i++) {
		name = json_string_value(json_array_get(names, i));
		if (name == NULL)
			continue;
		name += *name == '/';
		if (*best == '\0' || (strchr(best, '/') != NULL && strchr(name, '/') == NULL))
			best = name;
	}
	return best;
}

/* Sets a new reference, which may be NULL for lack of memory. */
static void
fact(json_t *facts, const char *key, json_t *value, int *error)
{
	if (value == NULL || json_object_set_new(facts, key, value) < 0)
		*error = -ENOMEM;
}

/* Those it is, or would be, on: not the host's, and not none. */
static json_t *
networks_of(const json_t *o)
{
	const json_t *all = json_object_get(json_object_get(o, "NetworkSettings"), "Networks");
	json_t *list = json_array(), *value;
	const char *name;

	json_object_foreach((json_t *)all, name, value)
	{
		if (strcmp(name, "host") == 0 || strcmp(name, "none") == 0 ||
		    strlen(name) > DOCKER_MAX_NETWORK)
			continue;
		if (json_array_size(list) == DOCKER_MAX_NETWORKS)
			break;
		json_array_append_new(list, json_string(name));
	}
	return list;
}

static int
container_facts(const json_t *o, struct docker_container *c)
{
	const json_t *created = json_object_get(o, "Created");
	const char *name = name_of(o), *state = docker_text_of(o, "State");
	struct label_sink s = { .labels = NULL };
	json_int_t ports_left_out = 0;
	json_t *ports = NULL;
	bool altered = false;
	int r, r2;

	c->facts = json_object();
	if (c->facts == NULL)
		return -ENOMEM;
	r = labels_take(json_object_get(o, "Labels"), &s);
	fact(c->facts, "labels", s.labels, &r);
	r2 = docker_ports(json_object_get(o, "Ports"), &ports, &ports_left_out);
	r = r2 < 0 ? r2 : r;
	fact(c->facts, "ports", ports, &r);
	fact(c->facts, "portsLeftOut", json_integer(ports_left_out), &r);
	fact(c->facts, "id", json_string(c->id), &r);
	fact(c->facts, "name", docker_text_copy(name, DOCKER_MAX_TEXT, &altered), &r);
	fact(c->facts, "nameGenerated", json_boolean(workload_name_is_generated(name)), &r);
	fact(c->facts, "image",
	    docker_text_copy(docker_text_of(o, "Image"), DOCKER_MAX_TEXT, &altered), &r);
	fact(c->facts, "imageId", json_string(c->image_id), &r);
	fact(c->facts, "networkMode",
	    docker_text_copy(docker_text_of(json_object_get(o, "HostConfig"), "NetworkMode"),
		DOCKER_MAX_TEXT, &altered),
	    &r);
	fact(c->facts, "networks", networks_of(o), &r);
	fact(c->facts, "created", json_integer(json_integer_value(created)), &r);
	fact(c->facts, "state", docker_text_copy(state, 64, &altered), &r);
	fact(c->facts, "altered", json_boolean(altered || s.altered), &r);
	fact(c->facts, "labelsLeftOut", json_integer(s.left_out), &r);
	c->running = strcmp(state, "running") == 0 || strcmp(state, "paused") == 0;
	return r;
}

void
docker_container_done(struct docker_container *c)
{
	json_decref(c->facts);
	c->facts = NULL;
}

int
docker_read_container(const json_t *o, struct docker_container *ret)
{
	struct docker_container c = { .running = false };
	const char *id = docker_text_of(o, "Id"), *image_id = docker_text_of(o, "ImageID");
	int r;

	if (!docker_id_valid(id))
		return -EBADMSG;
	memcpy(c.id, id, sizeof(c.id));
	if (docker_image_id_valid(image_id))
		memcpy(c.image_id, image_id, sizeof(c.image_id));
	r = container_facts(o, &c);
	if (r < 0) {
		docker_container_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

int
docker_parse_container(const char *buf, size_t len, struct docker_container *ret)
{
	_cleanup_json_ json_t *o = NULL;
	int r;

	o = docker_text_object(buf, len, DOCKER_MAX_ELEMENT, &r);
	return o != NULL ? docker_read_container(o, ret) : r;
}

int
docker_read_image(const json_t *config, json_t **ret_labels)
{
	json_t *labels = json_object_get(config, "Labels");
	struct label_sink s = { .labels = NULL };
	int r;

	/* Labels in a form we do not know are not the same as no labels. */
	if (!json_is_object(config) ||
	    (labels != NULL && !json_is_null(labels) && !json_is_object(labels)))
		return -EBADMSG;
	r = labels_take(labels, &s);
	/* What matters is which there are. If not even these fit, its containers' labels do not. */
	if (r == 0 && s.left_out > 0) {
		json_decref(s.labels);
		s = (struct label_sink){ .keys_only = true };
		r = labels_take(labels, &s);
	}
	if (r < 0) {
		json_decref(s.labels);
		return r;
	}
	*ret_labels = s.labels;
	return 0;
}

int
docker_parse_image(const char *buf, size_t len, json_t **ret_labels)
{
	_cleanup_json_ json_t *o = NULL;
	int r;

	o = docker_text_object(buf, len, DOCKER_MAX_ELEMENT, &r);
	return o != NULL ? docker_read_image(json_object_get(o, "Config"), ret_labels) : r;
}

void
docker_network_owner(const char *network_mode, char ret[static DOCKER_ID_LEN + 1])
{
	static const char head[] = "container:";
	const char *id = network_mode + sizeof(head) - 1;

	ret[0] = '\0';
	if (strncmp(network_mode, head, sizeof(head) - 1) == 0 && docker_id_valid(id))
		memcpy(ret, id, DOCKER_ID_LEN + 1);
}

/*
 * Podman lists what a container may have; Docker what was added to its default and taken from it,
 * and that default has CAP_NET_RAW.
 */
static unsigned
inspect_caps(const json_t *o, const json_t *host)
{
	const json_t *bounding = json_object_get(o, "BoundingCaps");
	unsigned grade = GRADE_NET_RAW;

	if (json_is_array(bounding))
		return grade_of_caps(bounding);
	if (json_is_true(json_object_get(host, "Privileged")))
		return GRADE_NET_ADMIN | GRADE_NET_RAW;
	grade &= ~grade_of_caps(json_object_get(host, "CapDrop"));
	return grade | grade_of_caps(json_object_get(host, "CapAdd"));
}

static unsigned
inspect_grade(const json_t *o)
{
	const json_t *host = json_object_get(o, "HostConfig");
	const json_t *mounts = json_object_get(o, "Mounts");
	unsigned grade = inspect_caps(o, host);

	if (strcmp(docker_text_of(host, "NetworkMode"), "host") == 0)
		grade |= GRADE_HOST_NETWORK;
	if (strcmp(docker_text_of(host, "PidMode"), "host") == 0)
		grade |= GRADE_HOST_PID;
	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const json_t *m = json_array_get(mounts, i);

		if (grade_is_engine_socket(
			docker_text_of(m, "Source"), docker_text_of(m, "Destination")))
			grade |= GRADE_ENGINE_SOCKET;
	}
	return grade;
}

static int
pod_add(json_t *pods, const char *buf, size_t len)
{
	_cleanup_json_ json_t *o = NULL, *name = NULL;
	const json_t *members;
	bool altered = false;
	int r;

	o = docker_text_object(buf, len, DOCKER_MAX_ELEMENT, &r);
	if (o == NULL)
		return r;
	if (!docker_id_valid(docker_text_of(o, "InfraId")))
		return 0;
	name = docker_text_copy(docker_text_of(o, "Name"), DOCKER_MAX_TEXT, &altered);
	if (name == NULL)
		return -ENOMEM;
	members = json_object_get(o, "Containers");
	for (size_t i = 0; i < json_array_size(members); i++) {
		const char *id = docker_text_of(json_array_get(members, i), "Id");

		if (!docker_id_valid(id))
			return -EBADMSG;
		if (json_object_size(pods) >= DOCKER_MAX_IN_PODS)
			return -E2BIG;
		if (json_object_set(pods, id, name) < 0)
			return -ENOMEM;
	}
	return 0;
}

int
docker_parse_pods(const char *buf, size_t len, json_t **ret)
{
	_cleanup_json_ json_t *pods = json_object();
	const char *elem;
	size_t pos = 0, n;
	int r;

	if (pods == NULL)
		return -ENOMEM;
	while ((r = docker_list_next(buf, len, &pos, &elem, &n)) == 1) {
		r = pod_add(pods, elem, n);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = steal_ptr(pods);
	return 0;
}

static void
inspect_dns(const json_t *o, struct docker_inspect *i)
{
	const json_t *list = json_object_get(json_object_get(o, "HostConfig"), "Dns");
	const char *text;

	for (size_t k = 0; k < json_array_size(list) && i->n_dns < DOCKER_MAX_DNS; k++) {
		text = json_string_value(json_array_get(list, k));
		if (text != NULL && addr_parse(text, &i->dns[i->n_dns]) == 0)
			i->n_dns++;
	}
}

void
docker_read_inspect(const json_t *o, struct docker_inspect *ret)
{
	struct docker_inspect i = { .pid = 0 };
	json_int_t pid = json_integer_value(json_object_get(json_object_get(o, "State"), "Pid"));
	const char *key, *base, *image;

	if (pid > 0 && pid <= INT32_MAX)
		i.pid = (int)pid;
	key = docker_text_of(json_object_get(o, "NetworkSettings"), "SandboxKey");
	base = strrchr(key, '/');
	if (base != NULL && strlen(base + 1) < sizeof(i.sandbox))
		memcpy(i.sandbox, base + 1, strlen(base + 1));
	docker_network_owner(
	    docker_text_of(json_object_get(o, "HostConfig"), "NetworkMode"), i.shares);
	i.grade = inspect_grade(o);
	inspect_dns(o, &i);
	image = docker_text_of(json_object_get(o, "Config"), "Image");
	if (strlen(image) < sizeof(i.image))
		memcpy(i.image, image, strlen(image));
	i.known = true;
	*ret = i;
}

int
docker_parse_inspect(const char *buf, size_t len, struct docker_inspect *ret)
{
	_cleanup_json_ json_t *o = NULL;
	int r;

	o = docker_text_object(buf, len, DOCKER_MAX_ELEMENT, &r);
	if (o == NULL)
		return r;
	docker_read_inspect(o, ret);
	return 0;
}

static const struct {
	const char *type, *action;
	enum docker_event_kind kind;
} actions[] = {
	{ "container", "create", DOCKER_EVENT_CREATED },
	{ "container", "start", DOCKER_EVENT_CHANGED },
	{ "container", "rename", DOCKER_EVENT_CHANGED },
	{ "container", "die", DOCKER_EVENT_GONE },
	{ "container", "destroy", DOCKER_EVENT_GONE },
	/* Podman's words. */
	{ "container", "died", DOCKER_EVENT_GONE },
	{ "container", "remove", DOCKER_EVENT_GONE },
	{ "network", "connect", DOCKER_EVENT_CHANGED },
	{ "network", "disconnect", DOCKER_EVENT_CHANGED },
};

int
docker_parse_event(const char *buf, size_t len, struct docker_event *ret)
{
	_cleanup_json_ json_t *o = NULL;
	struct docker_event e = { .kind = DOCKER_EVENT_OTHER };
	const char *type, *action, *id;
	const json_t *actor;
	int r;

	o = docker_text_object(buf, len, DOCKER_MAX_EVENT, &r);
	if (o == NULL)
		return r;
	type = docker_text_of(o, "Type");
	action = docker_text_of(o, "Action");
	actor = json_object_get(o, "Actor");
	if (*type == '\0' || *action == '\0' || !json_is_object(actor))
		return -EBADMSG;
	id = strcmp(type, "network") == 0
		 ? docker_text_of(json_object_get(actor, "Attributes"), "container")
		 : docker_text_of(actor, "ID");
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (strcmp(type, actions[i].type) != 0 || strcmp(action, actions[i].action) != 0)
			continue;
		if (!docker_id_valid(id))
			return -EBADMSG;
		e.kind = actions[i].kind;
		e.started = strcmp(action, "start") == 0;
		memcpy(e.id, id, sizeof(e.id));
	}
	*ret = e;
	return 0;
}
