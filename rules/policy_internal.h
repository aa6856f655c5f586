/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files that read and write the policy file; nobody else includes it. */
#ifndef NANOSEG_RULES_POLICY_INTERNAL_H
#define NANOSEG_RULES_POLICY_INTERNAL_H

#include "rules/policy.h"
#include "rules/read.h"

#define POLICY_NETWORK_NAME_MAX 64
#define POLICY_TICKET_MAX 256

/* A workload's name in the file's form: a text, or {escaped: ...}. NULL: no memory. */
json_t *policy_name_to_json(const char *name);
/* The reverse. what: "a workload's name". */
int policy_name_read(const struct reader *r, const struct slot *s, const char *what, char **ret);
/* A peer of an edge; its name is malloc'ed. Networks must be declared in p. */
int policy_peer_read(
    const struct reader *r, const struct slot *s, const struct policy *p, struct peer *ret);
/* One edge of the list. On failure ret is half-built and still policy_free()'s to free. */
int policy_edge_read(
    const struct reader *r, const struct slot *s, const struct policy *p, struct policy_edge *ret);
void policy_index_free(struct policy_index *x);
/* Letters, digits, '.', '_', '-'; begins with a letter or digit. */
bool policy_network_name_valid(const char *name);

#endif
