/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the facts about a container to the workload that it is an instance of. Pure: the same facts
 * give the same name, always. Labels are claims: see workload_identify().
 */
#ifndef NANOSEG_RULES_WORKLOAD_H
#define NANOSEG_RULES_WORKLOAD_H

#include "rules/peer.h"

#include <stdbool.h>

enum runtime {
	RUNTIME_UNKNOWN,
	RUNTIME_NETNS, /* a plain namespace of "ip netns" */
	RUNTIME_DOCKER,
	RUNTIME_PODMAN,
	RUNTIME_CONTAINERD,
	RUNTIME_CRI,
};

struct label {
	const char *key, *value;
};

/* What a provider knows about one container. Strings are borrowed and may be NULL. */
struct container_facts {
	enum runtime runtime;
	const char *id;	      /* engine's id: 64 hex digits; the basename for a plain namespace */
	const char *name;     /* without Docker's leading slash */
	const char *image;    /* reference as the user gave it: repository[:tag][@digest] */
	const char *image_id; /* digest of the image, "sha256:..." */
	const struct label *labels; /* the container's, image labels merged in, as engines report */
	size_t n_labels;
	const struct label *image_labels; /* the image's own */
	size_t n_image_labels;
	bool labels_cut; /* the container has more, and its image may: of those that it lacks
			  * here only workload_identity_labels are known to be none of it */
	bool image_labels_known; /* false: image could not be asked; label identity is then refused
				  */
	const char *pod;	 /* of Podman, if its containers share namespaces; NULL or "" */
	bool pod_labels_unknown; /* Kubernetes: the pod's name and namespace are all there is */
	/* A container of this user, who is not root, and whose word all the rest is. 0: root's. */
	uint32_t user;
	bool name_generated; /* the engine made the name up (see workload_name_is_generated) */
};

/* Labels that workload_identify() asks for; NULL follows the last. */
extern const char *const workload_identity_labels[];

enum identity_kind {
	IDENTITY_NAME, /* of the container or the namespace, the image or the id */
	IDENTITY_COMPOSE,
	IDENTITY_SWARM,
	IDENTITY_KUBE,
	IDENTITY_POD,
};

struct workload_id {
	enum identity_kind kind;      /* what the name was made from */
	char name[PEER_NAME_MAX + 1]; /* "project/service", "namespace/owner", "name" */
	char project[256]; /* as the label, escaped as the name is but for '/'; "" if none */
	char service[256];
	char image_repo[256]; /* image_repository(), likewise */
	bool one_off;	      /* compose run: a workload of its own */
	bool labels_refused;  /* labels claimed an identity that the rule refused */
};

/*
 * Compose: com.docker.compose.project + .service give "project/service" only if the container
 * carries com.docker.compose.config-hash and the image does not; com.docker.compose.oneoff=True
 * gives "project/service/run". Swarm: com.docker.swarm.service.name under the same kind of rule
 * (label com.docker.swarm.task.id present, absent from the image). io.kubernetes.* counts only for
 * RUNTIME_CRI. Podman: the pod's name; podman-compose's own witness counts there as well. Then the
 * container's name; a generated name gives the image repository, and without
 * one the short id. Kubernetes: "namespace/owner", the owner read from the pod's labels. Where the
 * pod's labels are not known its name alone decides, by the forms that Kubernetes' own controllers
 * give (a generated part never has a vowel): NAME-hash-xxxxx and NAME-xxxxx lose what was
 * generated, NAME-minute-xxxxx of a CronJob the minute too, and NAME-N of a StatefulSet the number.
 *
 * A container of a user goes by "user-UID/name" and by nothing else; what another one's project or
 * namespace is called never reads like that ("%75ser-1000").
 *
 * Different facts never meet in one name: inside a part '/' becomes "%2F", '%' becomes "%25" and a
 * byte that is not UTF-8 "%XX" (so a name always is UTF-8); a part that is too long is cut and ends
 * in "%~" and 32 hex digits of its SHA-256, a mark that no part can spell. That holds for an image
 * repository as well: an image called shop/api is not the service shop/api.
 */
void workload_identify(const struct container_facts *f, struct workload_id *ret);

/* A label that is known not to be the image's; NULL if there is none, or it is empty. */
const char *workload_own_label(const struct container_facts *f, const char *key);
/* One part of a name, as said above; out has max + 1 bytes, max is at least 34. */
void workload_escape_part(const char *text, char *out, size_t max);

/* Docker's and Podman's adjective_surname form, e.g. "quirky_turing" or "quirky_turing3". */
bool workload_name_is_generated(const char *name);
/*
 * "repo/name" of an image reference; tag and digest removed; "" if there is none (an image id of
 * 12 or 64 hex digits has none). In the form that Docker shows, whatever the engine:
 * docker.io/library/nginx is nginx, docker.io/team/app is team/app, and so is Podman's name of an
 * image made here, localhost/team/app. Cut and marked if it does not fit; size is at least 64.
 */
void image_repository(const char *image, char *ret, size_t size);
/*
 * What a person names to accept an image: a reference, of which the repository counts, or an
 * image's whole id (sha256:...). A repository already in the form above stays as it is. -EINVAL.
 */
int image_acceptable(const char *text, char ret[static 256]);
const char *runtime_name(enum runtime r); /* "docker", "netns", ... */

#endif
