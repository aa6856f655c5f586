/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Identity. Whoever decides the name of a workload decides which rules it gets, so every rule here
 * asks who could have written the fact:
 *
 * - A container's labels have the image's merged in by the engine, and an image is written by
 *   strangers. A label set counts only if its witness (a label that Compose or Swarm puts on the
 *   containers it starts, never on images it builds) is on the container and known to be absent
 *   from the image.
 * - Two different facts must not meet in one name: parts are escaped before they are joined, and a
 *   cut part carries a hash behind a mark that escaping never produces.
 */
#include "rules/workload.h"

#include "rules/util.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Two parts, a slash and a suffix always fit in a name. */
#define PART_MAX 250
#define MARK_LEN 34 /* "%~" and 32 hex digits */
#define SHORT_ID 12

#define USER "user-"
#define COMPOSE_PROJECT "com.docker.compose.project"
#define COMPOSE_SERVICE "com.docker.compose.service"
#define COMPOSE_WITNESS "com.docker.compose.config-hash"
#define COMPOSE_ONEOFF "com.docker.compose.oneoff"
#define PODMAN_COMPOSE_WITNESS "io.podman.compose.config-hash"
#define SWARM_SERVICE "com.docker.swarm.service.name"
#define SWARM_WITNESS "com.docker.swarm.task.id"
#define KUBE_NAMESPACE "io.kubernetes.pod.namespace"
#define KUBE_POD "io.kubernetes.pod.name"

const char *const workload_identity_labels[] = {
	COMPOSE_PROJECT,
	COMPOSE_SERVICE,
	COMPOSE_WITNESS,
	COMPOSE_ONEOFF,
	PODMAN_COMPOSE_WITNESS,
	SWARM_SERVICE,
	SWARM_WITNESS,
	KUBE_NAMESPACE,
	KUBE_POD,
	"io.kubernetes.container.name",
	"pod-template-hash",
	"job-name",
	"statefulset.kubernetes.io/pod-name",
	"controller-revision-hash",
	NULL,
};

/* Part of a string, so that nothing is copied or cut before it is escaped. */
struct slice {
	const char *p;
	size_t len;
};

static struct slice
slice_of(const char *text)
{
	return (struct slice){ text, strlen(text) };
}

static const char *
label_find(const struct label *labels, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (labels[i].key != NULL && strcmp(labels[i].key, key) == 0)
			return labels[i].value != NULL ? labels[i].value : "";
	return NULL;
}

/* A label of the container; NULL also if it is empty. */
static const char *
fact_label(const struct container_facts *f, const char *key)
{
	const char *value = label_find(f->labels, f->n_labels, key);

	return value != NULL && *value != '\0' ? value : NULL;
}

static bool
decides_identity(const char *key)
{
	for (size_t i = 0; workload_identity_labels[i] != NULL; i++)
		if (strcmp(workload_identity_labels[i], key) == 0)
			return true;
	return false;
}

const char *
workload_own_label(const struct container_facts *f, const char *key)
{
	if (f->labels_cut && !decides_identity(key))
		return NULL;
	if (!f->image_labels_known || label_find(f->image_labels, f->n_image_labels, key) != NULL)
		return NULL;
	return fact_label(f, key);
}

/* Was the witness put there by whoever started the container, and not by the image? */
static bool
fact_witnessed(const struct container_facts *f, const char *witness)
{
	return workload_own_label(f, witness) != NULL;
}

/* Length of the well-formed UTF-8 character at s, 0 if there is none. */
static size_t
utf8_sequence(const char *s, size_t left)
{
	for (size_t n = 1; n <= MIN(left, (size_t)4); n++)
		if (text_is_utf8(s, n))
			return n;
	return 0;
}

static void
mark_format(struct slice whole, char buf[static MARK_LEN + 1])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, whole.len, (const uint8_t *)whole.p);
	sha256_digest(&ctx, sizeof(digest), digest);
	memcpy(buf, "%~", 3);
	for (size_t i = 0; i < 16; i++)
		snprintf(buf + 2 + i * 2, 3, "%02x", digest[i]);
}

/* Escapes `in` and cuts it to max bytes if need be; out has max + 1. */
static void
part_format(struct slice in, bool escape_slash, char *out, size_t max)
{
	size_t len = 0, cut = 0, n, width;
	char escaped[4];

	for (size_t i = 0; i < in.len; i += n) {
		n = utf8_sequence(in.p + i, in.len - i);
		width = n;
		if (n == 0 || in.p[i] == '%' || (escape_slash && in.p[i] == '/')) {
			snprintf(escaped, sizeof(escaped), "%%%02X", (unsigned char)in.p[i]);
			n = 1;
			width = 3;
		}
		if (len + width > max) {
			mark_format(in, out + cut);
			return;
		}
		memcpy(out + len, width == n ? in.p + i : escaped, width);
		len += width;
		if (len <= max - MARK_LEN)
			cut = len;
	}
	out[len] = '\0';
}

void
workload_escape_part(const char *text, char *out, size_t max)
{
	part_format(slice_of(text), true, out, max);
}

static void
name_single(struct workload_id *id, struct slice name)
{
	part_format(name, true, id->name, PART_MAX);
}

/* The first part of the name of users' containers. */
static bool
is_users(const char *part)
{
	size_t digits =
	    strncmp(part, USER, strlen(USER)) == 0 ? strspn(part + strlen(USER), "0123456789") : 0;

	return digits > 0 && part[strlen(USER) + digits] == '\0';
}

static void
name_pair(struct workload_id *id, struct slice first, struct slice second, const char *suffix)
{
	char a[PART_MAX + 1], b[PART_MAX + 1];

	part_format(first, true, a, PART_MAX);
	part_format(second, true, b, PART_MAX);
	snprintf(id->name, sizeof(id->name), "%s%s/%s%s", is_users(a) ? "%75" : "",
	    is_users(a) ? a + 1 : a, b, suffix);
	part_format(first, false, id->project, sizeof(id->project) - 1);
	part_format(second, false, id->service, sizeof(id->service) - 1);
}

static bool
identify_compose(const struct container_facts *f, struct workload_id *id)
{
	const char *project = fact_label(f, COMPOSE_PROJECT);
	const char *service = fact_label(f, COMPOSE_SERVICE);
	const char *oneoff = fact_label(f, COMPOSE_ONEOFF);

	if (project == NULL || service == NULL)
		return false;
	if (!fact_witnessed(f, COMPOSE_WITNESS) &&
	    !(f->runtime == RUNTIME_PODMAN && fact_witnessed(f, PODMAN_COMPOSE_WITNESS))) {
		id->labels_refused = true;
		return false;
	}
	id->kind = IDENTITY_COMPOSE;
	id->one_off = oneoff != NULL && strcasecmp(oneoff, "true") == 0;
	name_pair(id, slice_of(project), slice_of(service), id->one_off ? "/run" : "");
	return true;
}

static bool
identify_swarm(const struct container_facts *f, struct workload_id *id)
{
	const char *service = fact_label(f, SWARM_SERVICE);

	if (service == NULL)
		return false;
	if (!fact_witnessed(f, SWARM_WITNESS)) {
		id->labels_refused = true;
		return false;
	}
	id->kind = IDENTITY_SWARM;
	name_single(id, slice_of(service));
	part_format(slice_of(service), false, id->service, sizeof(id->service) - 1);
	return true;
}

/* Is the text after the last '-' made of n characters (any number if 0) out of accept? */
static bool
ends_in(struct slice name, size_t dash, const char *accept, size_t n)
{
	size_t len = name.len - dash - 1;

	return len > 0 && (n == 0 || len == n) && strspn(name.p + dash + 1, accept) >= len;
}

/* The length of name less a last part "-" and min to max characters out of accept; else its own. */
static size_t
without_part(struct slice name, const char *accept, size_t min, size_t max)
{
	size_t n = 0;

	while (n < name.len && strchr(accept, name.p[name.len - n - 1]) != NULL)
		n++;
	if (n < min || n > max || n + 2 > name.len || name.p[name.len - n - 1] != '-')
		return name.len;
	return name.len - n - 1;
}

/* The same without any label: see workload_identify(). */
static struct slice
kube_owner_by_name(const char *pod)
{
	static const char generated[] = "bcdfghjklmnpqrstvwxz2456789", digits[] = "0123456789";
	struct slice owner = slice_of(pod);
	size_t len = without_part(owner, generated, 5, 5);

	if (len == owner.len) {
		owner.len = without_part(owner, digits, 1, 4);
		return owner;
	}
	owner.len = len;
	owner.len = without_part(owner, digits, 8, 8);
	if (owner.len == len)
		owner.len = without_part(owner, generated, 6, 10);
	return owner;
}

/* What the pod's controller is called: the pod's name less what its labels say was appended. */
static struct slice
kube_owner(const struct container_facts *f, const char *pod)
{
	static const char alphanumeric[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	const char *hash = fact_label(f, "pod-template-hash");
	const char *job = fact_label(f, "job-name");
	const char *dash = strrchr(pod, '-');
	struct slice owner = slice_of(pod);
	size_t at, hash_len;

	if (job != NULL)
		return slice_of(job);
	if (dash == NULL || dash == pod)
		return owner;
	at = (size_t)(dash - pod);
	if (fact_label(f, "statefulset.kubernetes.io/pod-name") != NULL) {
		if (ends_in(owner, at, "0123456789", 0))
			owner.len = at;
	} else if (hash != NULL) {
		hash_len = strlen(hash);
		if (ends_in(owner, at, alphanumeric, 5) && at > hash_len + 1 &&
		    pod[at - hash_len - 1] == '-' &&
		    memcmp(pod + at - hash_len, hash, hash_len) == 0)
			owner.len = at - hash_len - 1;
	} else if (fact_label(f, "controller-revision-hash") != NULL) {
		if (ends_in(owner, at, alphanumeric, 5))
			owner.len = at;
	}
	return owner;
}

static bool
identify_kube(const struct container_facts *f, struct workload_id *id)
{
	const char *namespace = fact_label(f, KUBE_NAMESPACE);
	const char *pod = fact_label(f, KUBE_POD);

	if (namespace == NULL || pod == NULL)
		return false;
	if (f->runtime != RUNTIME_CRI) {
		id->labels_refused = true;
		return false;
	}
	id->kind = IDENTITY_KUBE;
	name_pair(id, slice_of(namespace),
	    f->pod_labels_unknown ? kube_owner_by_name(pod) : kube_owner(f, pod), "");
	return true;
}

static bool
identify_pod(const struct container_facts *f, struct workload_id *id)
{
	if (f->runtime != RUNTIME_PODMAN || f->pod == NULL || *f->pod == '\0')
		return false;
	id->kind = IDENTITY_POD;
	name_single(id, slice_of(f->pod));
	return true;
}

static bool
is_image_id(struct slice s)
{
	return (s.len == SHORT_ID || s.len == 64) && strspn(s.p, "0123456789abcdef") >= s.len;
}

/* Cuts a first part "HEAD" off, if something is left. */
static bool
cut_head(struct slice *s, const char *head)
{
	size_t n = strlen(head);

	if (s->len <= n || memcmp(s->p, head, n) != 0)
		return false;
	s->p += n;
	s->len -= n;
	return true;
}

/* The repository in a reference, as Docker would show it; of length 0 if it has none. */
static struct slice
repository_slice(const char *image)
{
	struct slice s = { image, strcspn(image, "@") }, rest;
	size_t last = 0;

	for (size_t i = 0; i < s.len; i++)
		if (image[i] == '/')
			last = i;
	s.len = MIN(s.len, last + strcspn(image + last, ":"));
	if (strncmp(image, "sha256:", 7) == 0 || is_image_id(s))
		return (struct slice){ image, 0 };
	if (cut_head(&s, "localhost/"))
		return s;
	if (!cut_head(&s, "docker.io/"))
		cut_head(&s, "index.docker.io/");
	rest = s;
	if (cut_head(&rest, "library/") && memchr(rest.p, '/', rest.len) == NULL)
		return rest;
	return s;
}

void
image_repository(const char *image, char *ret, size_t size)
{
	part_format(repository_slice(image), false, ret, size - 1);
}

int
image_acceptable(const char *text, char ret[static 256])
{
	static const char head[] = "sha256:";
	const size_t n = sizeof(head) - 1;
	struct slice repository = repository_slice(text);

	if (strncmp(text, head, n) == 0) {
		if (strlen(text) != n + 64 || !is_image_id(slice_of(text + n)))
			return -EINVAL;
		memcpy(ret, text, n + 64 + 1);
		return 0;
	}
	/* What image_repository() wrote has no byte that it would write otherwise but these. */
	if (repository.len == 0 || repository.len > 255 || strpbrk(text, " \t\n=") != NULL ||
	    !text_is_utf8(text, strlen(text)))
		return -EINVAL;
	memcpy(ret, repository.p, repository.len);
	ret[repository.len] = '\0';
	return 0;
}

static void
identify_name(const struct container_facts *f, struct workload_id *id)
{
	struct slice name = slice_of(f->name != NULL ? f->name : "");
	struct slice own_id = slice_of(f->id != NULL && *f->id != '\0' ? f->id : "unknown");
	struct slice repo = repository_slice(f->image != NULL ? f->image : "");

	if (f->runtime == RUNTIME_NETNS)
		name_single(id, name.len > 0 ? name : own_id);
	else if (name.len > 0 && !f->name_generated)
		name_single(id, name);
	else if (repo.len > 0)
		name_single(id, repo);
	else
		name_single(id, (struct slice){ own_id.p, MIN(own_id.len, (size_t)SHORT_ID) });
}

static void
identify_users(const struct container_facts *f, struct workload_id *id)
{
	char name[PART_MAX + 1];

	part_format(slice_of(f->name != NULL ? f->name : ""), true, name, PART_MAX);
	snprintf(id->project, sizeof(id->project), USER "%u", f->user);
	snprintf(id->name, sizeof(id->name), "%.32s/%s", id->project, name);
	snprintf(id->service, sizeof(id->service), "%s", name);
}

void
workload_identify(const struct container_facts *f, struct workload_id *ret)
{
	struct workload_id id = { .one_off = false };

	if (f->image != NULL)
		image_repository(f->image, id.image_repo, sizeof(id.image_repo));
	if (f->user != 0)
		identify_users(f, &id);
	else if (f->runtime == RUNTIME_NETNS ||
		 (!identify_kube(f, &id) && !identify_compose(f, &id) && !identify_swarm(f, &id) &&
		     !identify_pod(f, &id)))
		identify_name(f, &id);
	*ret = id;
}

const char *
runtime_name(enum runtime r)
{
	static const char *const names[] = {
		[RUNTIME_UNKNOWN] = "unknown",
		[RUNTIME_NETNS] = "netns",
		[RUNTIME_DOCKER] = "docker",
		[RUNTIME_PODMAN] = "podman",
		[RUNTIME_CONTAINERD] = "containerd",
		[RUNTIME_CRI] = "cri",
	};

	return (size_t)r < ARRAY_SIZE(names) ? names[r] : names[RUNTIME_UNKNOWN];
}
