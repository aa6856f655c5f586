/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who writes which annotation:
 * - containerd's CRI plugin sets io.kubernetes.cri.* last, over anything a pod passes on. Only
 *   bundles of its own namespace (k8s.io) are read that way.
 * - CRI-O passes a pod's annotations and labels on, and its own names could be among them. The
 * labels as the kubelet gave them are one JSON text, which no label can spell, for it would need a
 * brace; a sandbox's id is longer than a label's value may be.
 * - Podman copies the annotations of an image: none of them is believed.
 * - nerdctl sets nerdctl/ itself, over the labels of the image. Other labels are merged with the
 *   image's, so they give no identity.
 */
#include "config.h"
#include "daemon/bundle.h"

#include "daemon/docker_text.h"
#include "daemon/grade.h"
#include "rules/util.h"
#include "rules/workload.h"

#include <errno.h>
#include <string.h>

#define CRI "io.kubernetes.cri."
#define CRIO "io.kubernetes.cri-o."
#define POD_NAMESPACE "io.kubernetes.pod.namespace"
#define POD_NAME "io.kubernetes.pod.name"

void
bundle_done(struct bundle *b)
{
	json_decref(b->facts);
	b->facts = NULL;
}

/* What a place says about the facts found there. */
struct source {
	const char *runtime;
	const json_t *annotations;
	json_t *labels;
	const char *name, *image, *image_id, *sandbox;
	bool pod_labels, generated;
};

static const char *
runtime_at(enum relay_place place)
{
	static const enum runtime runtimes[RELAY_PLACES] = {
		[RELAY_PLACE_DOCKER] = RUNTIME_DOCKER,
		[RELAY_PLACE_MOBY] = RUNTIME_DOCKER,
		[RELAY_PLACE_CONTAINERD] = RUNTIME_CONTAINERD,
		[RELAY_PLACE_CRI] = RUNTIME_CRI,
		[RELAY_PLACE_CRIO] = RUNTIME_CRI,
		[RELAY_PLACE_PODMAN] = RUNTIME_PODMAN,
	};

	return runtime_name(runtimes[place]);
}

static int
set_text(json_t *o, const char *key, const char *text, bool *altered)
{
	json_t *copy = docker_text_copy(text, DOCKER_MAX_TEXT, altered);

	return copy == NULL || json_object_set_new(o, key, copy) < 0 ? -ENOMEM : 0;
}

static void
read_nerdctl(struct source *s, const char *id)
{
	const char *dash;

	s->name = docker_text_of(s->annotations, "nerdctl/name");
	/* Made up from the image's name: "alpine-01234" with the first digits of the id. */
	dash = strrchr(s->name, '-');
	s->generated = dash != NULL && strlen(dash + 1) == 5 && strncmp(dash + 1, id, 5) == 0;
}

static int
read_cri(struct source *s, bool *altered)
{
	const char *namespace = docker_text_of(s->annotations, CRI "sandbox-namespace");
	const char *pod = docker_text_of(s->annotations, CRI "sandbox-name");
	bool sandbox = strcmp(docker_text_of(s->annotations, CRI "container-type"), "sandbox") == 0;

	if (*namespace == '\0' || *pod == '\0')
		return -EBADMSG;
	s->name = sandbox ? pod : docker_text_of(s->annotations, CRI "container-name");
	s->image = docker_text_of(s->annotations, CRI "image-name");
	s->sandbox = docker_text_of(s->annotations, CRI "sandbox-id");
	if (set_text(s->labels, POD_NAMESPACE, namespace, altered) < 0)
		return -ENOMEM;
	return set_text(s->labels, POD_NAME, pod, altered);
}

/* The labels that say who a pod belongs to, by rules/workload.h. */
static int
read_crio(struct source *s, bool *altered)
{
	static const char *const keys[] = { POD_NAMESPACE, POD_NAME, "io.kubernetes.container.name",
		"pod-template-hash", "job-name", "statefulset.kubernetes.io/pod-name",
		"controller-revision-hash" };
	const char *text = docker_text_of(s->annotations, CRIO "Labels");
	_cleanup_json_ json_t *labels = NULL;
	const char *value;
	int r;

	labels = docker_text_object(text, strlen(text), BUNDLE_MAX, &r);
	if (labels == NULL)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		value = docker_text_of(labels, keys[i]);
		if (*value != '\0' && set_text(s->labels, keys[i], value, altered) < 0)
			return -ENOMEM;
	}
	if (json_object_get(s->labels, POD_NAMESPACE) == NULL ||
	    json_object_get(s->labels, POD_NAME) == NULL)
		return -EBADMSG;
	s->name = docker_text_of(s->labels, "io.kubernetes.container.name");
	if (strcmp(docker_text_of(s->annotations, CRIO "ContainerType"), "sandbox") == 0)
		s->name = docker_text_of(s->labels, POD_NAME);
	s->image = docker_text_of(s->annotations, CRIO "ImageName");
	s->sandbox = docker_text_of(s->annotations, CRIO "SandboxID");
	s->pod_labels = true;
	return 0;
}

static bool
has_namespace(const json_t *o, const char *type)
{
	const json_t *list = json_object_get(json_object_get(o, "linux"), "namespaces");

	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(docker_text_of(json_array_get(list, i), "type"), type) == 0)
			return true;
	return false;
}

static unsigned
bundle_grade(const json_t *o)
{
	const json_t *caps = json_object_get(json_object_get(o, "process"), "capabilities");
	const json_t *mounts = json_object_get(o, "mounts");
	unsigned grade = grade_of_caps(json_object_get(caps, "bounding"));

	if (!has_namespace(o, "network"))
		grade |= GRADE_HOST_NETWORK;
	if (!has_namespace(o, "pid"))
		grade |= GRADE_HOST_PID;
	if (has_namespace(o, "user"))
		grade |= GRADE_USERNS;
	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const json_t *m = json_array_get(mounts, i);

		if (grade_is_engine_socket(
			docker_text_of(m, "source"), docker_text_of(m, "destination")))
			grade |= GRADE_ENGINE_SOCKET;
	}
	return grade;
}

static int
fact(json_t *facts, const char *key, json_t *value)
{
	return value == NULL || json_object_set_new(facts, key, value) < 0 ? -ENOMEM : 0;
}

/* The fields that every source gives in the same way. */
static int
fill(json_t *facts, const char *id, const json_t *o, const struct source *s, bool altered)
{
	unsigned grade = bundle_grade(o);
	bool host = (grade & GRADE_HOST_NETWORK) != 0;

	if (set_text(facts, "name", s->name, &altered) < 0 ||
	    set_text(facts, "image", s->image, &altered) < 0 ||
	    fact(facts, "engine", json_string("files")) < 0 ||
	    fact(facts, "runtime", json_string(s->runtime)) < 0 ||
	    fact(facts, "id", json_string(id)) < 0 ||
	    fact(facts, "nameGenerated",
		json_boolean(s->generated || workload_name_is_generated(s->name))) < 0 ||
	    fact(facts, "imageId", json_string(s->image_id)) < 0 ||
	    fact(facts, "labels", json_incref(s->labels)) < 0 ||
	    fact(facts, "imageLabels", json_null()) < 0 ||
	    fact(facts, "networkMode", json_string(host ? "host" : "default")) < 0 ||
	    fact(facts, "networks", json_array()) < 0 ||
	    fact(facts, "created", json_integer(0)) < 0 ||
	    fact(facts, "state", json_string("running")) < 0 ||
	    fact(facts, "pid", json_integer(0)) < 0 ||
	    fact(facts, "sandbox", json_string("")) < 0 ||
	    fact(facts, "shares", json_string(s->sandbox)) < 0 ||
	    fact(facts, "pod", json_string("")) < 0 || fact(facts, "ports", json_array()) < 0 ||
	    fact(facts, "portsLeftOut", json_integer(0)) < 0 ||
	    fact(facts, "podLabels", json_boolean(s->pod_labels)) < 0 ||
	    fact(facts, "grade", grade_to_json(grade)) < 0 ||
	    fact(facts, "started", json_string("new")) < 0 ||
	    fact(facts, "altered", json_boolean(altered)) < 0)
		return -ENOMEM;
	return fact(facts, "labelsLeftOut", json_integer(0));
}

int
bundle_parse(
    enum relay_place place, const char *id, const char *buf, size_t len, struct bundle *ret)
{
	_cleanup_json_ json_t *o = NULL, *labels = NULL, *facts = NULL;
	struct source s = { .name = "", .image = "", .image_id = "", .sandbox = "" };
	struct bundle b = { .facts = NULL };
	bool altered = false;
	int r;

	o = docker_text_object(buf, len, BUNDLE_MAX, &r);
	if (o == NULL)
		return r;
	r = 0;
	if (!json_is_object(json_object_get(o, "linux")))
		return -EBADMSG;
	s.labels = labels = json_object();
	facts = json_object();
	if (labels == NULL || facts == NULL)
		return -ENOMEM;
	s.runtime = runtime_at(place);
	s.annotations = json_object_get(o, "annotations");
	if (place == RELAY_PLACE_CONTAINERD)
		read_nerdctl(&s, id);
	else if (place == RELAY_PLACE_CRI)
		r = read_cri(&s, &altered);
	else if (place == RELAY_PLACE_CRIO)
		r = read_crio(&s, &altered);
	if (r < 0)
		return r;
	if (!docker_id_valid(s.sandbox) || strcmp(s.sandbox, id) == 0)
		s.sandbox = "";
	r = fill(facts, id, o, &s, altered);
	if (r < 0)
		return r;
	memcpy(b.shares, s.sandbox, strlen(s.sandbox) + 1);
	b.facts = steal_ptr(facts);
	*ret = b;
	return 0;
}

/* One entry of containers.json; its own details are a JSON text inside. */
static int
take_names(const json_t *entry, json_t *facts)
{
	const char *text = docker_text_of(entry, "metadata");
	_cleanup_json_ json_t *meta = NULL;
	char image_id[DOCKER_IMAGE_ID_LEN + 1] = "sha256:";
	const char *name, *hex;
	bool altered = false;
	int r;

	meta = docker_text_object(text, strlen(text), BUNDLE_MAX, &r);
	if (meta == NULL)
		return r;
	name = docker_text_of(meta, "name");
	hex = docker_text_of(meta, "image-id");
	if (set_text(facts, "name", name, &altered) < 0 ||
	    set_text(facts, "image", docker_text_of(meta, "image-name"), &altered) < 0 ||
	    fact(facts, "nameGenerated", json_boolean(workload_name_is_generated(name))) < 0)
		return -ENOMEM;
	if (docker_id_valid(hex)) {
		memcpy(image_id + 7, hex, DOCKER_ID_LEN + 1);
		r = fact(facts, "imageId", json_string(image_id));
		if (r < 0)
			return r;
	}
	return altered ? fact(facts, "altered", json_true()) : 0;
}

int
bundle_add_names(const char *buf, size_t len, const char *id, struct bundle *b)
{
	const char *elem;
	size_t pos = 0, n;
	int r, error = 0;

	if (len > BUNDLE_MAX_NAMES)
		return -E2BIG;
	while ((r = docker_list_next(buf, len, &pos, &elem, &n)) == 1) {
		_cleanup_json_ json_t *o = docker_text_object(elem, n, BUNDLE_MAX, &error);

		if (o == NULL)
			return error;
		if (strcmp(docker_text_of(o, "id"), id) == 0)
			return take_names(o, b->facts);
	}
	return r < 0 ? r : -ENOENT;
}
