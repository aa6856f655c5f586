/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Identity rules of the configuration: they name workloads where the default (rules/workload.h)
 * is not what an operator means.
 *
 *   identity:
 *     - match: {image: "registry.example/shop-*", name: "web-*"}
 *       workload: shop/web
 *     - match: {label.team: "pay*", compose.project: "*"}
 *       workload: "${label.team}/${compose.service}"
 *
 * The first rule whose every pattern matches names the workload. A pattern is compared with the
 * whole value, * stands for any characters (a slash as well), ? for one byte; a fact that is not
 * there matches nothing. In the name ${FACT} is the fact's value as one part: a slash in it is
 * escaped and it is cut and marked if it is too long; a rule that asks for a fact that is not there
 * does not match. The facts: name, image (the repository as image_repository() gives it), runtime,
 * pod, compose.project, compose.service, swarm.service, kube.namespace, kube.owner and label.KEY.
 *
 * They are believed as workload_identify() believes them: a label only if the image is known not to
 * carry its key, Compose's and Swarm's with their witness, Kubernetes' from CRI. A one-off run of
 * Compose stays apart ("/run" is added).
 */
#ifndef NANOSEG_RULES_IDENTITY_H
#define NANOSEG_RULES_IDENTITY_H

#include "rules/read.h"
#include "rules/workload.h"

#define IDENTITY_MAX_RULES 256
#define IDENTITY_MAX_MATCHES 8
#define IDENTITY_MAX_VALUES 4 /* ${...} in a name */
#define IDENTITY_MAX_NAME 128 /* bytes of a name as it is written */
#define IDENTITY_MAX_PATTERN 256

struct identity_match {
	char *fact, *pattern;
};

struct identity_rule {
	struct identity_match match[IDENTITY_MAX_MATCHES];
	size_t n_match;
	char *workload;
};

struct identity_rules {
	struct identity_rule *list;
	size_t n;
};

/* The list of rules; *ret is replaced. As the functions of rules/read.h. */
int identity_rules_read(const struct reader *r, const struct slot *s, struct identity_rules *ret);
void identity_rules_done(struct identity_rules *rules);
/* Renames what workload_identify() made of the same facts, if a rule matches: true. */
bool identity_rules_apply(
    const struct identity_rules *rules, const struct container_facts *f, struct workload_id *id);
/* * and ?; time is bounded by the product of the lengths. */
bool identity_glob(const char *pattern, const char *text);

#endif
