/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a container may do that rules in its network namespace cannot fully hold, from facts that an
 * engine or an OCI bundle tells. Pure. What it means for enforcement is decided by the controller.
 */
#ifndef NANOSEG_DAEMON_GRADE_H
#define NANOSEG_DAEMON_GRADE_H

#include <jansson.h>
#include <stdbool.h>

#define GRADE_HOST_NETWORK 0x01
#define GRADE_NET_ADMIN 0x02
#define GRADE_NET_RAW 0x04
#define GRADE_HOST_PID 0x08
#define GRADE_ENGINE_SOCKET 0x10
#define GRADE_USERNS 0x20
#define GRADE_NESTED 0x40     /* it has made network namespaces of its own */
#define GRADE_USER_OWNED 0x80 /* its namespace belongs to a user, who is root in it */
#define GRADE_MANY 0x100      /* more namespaces than are looked at */
#define GRADE_UNKNOWN 0x200   /* its engine has not told yet */
#define GRADE_ROOT 0x400      /* what runs in a plain namespace has CAP_NET_ADMIN */

/* The bits of a list of capability names, with or without "CAP_"; "ALL" is every one. */
unsigned grade_of_caps(const json_t *names);
/*
 * Would this path of the host, mounted there, bring an engine's socket along? By their names: a
 * socket that has another one at both ends is not known.
 */
bool grade_is_engine_socket(const char *source, const char *destination);

/* ["netAdmin", ...]; NULL without memory. */
json_t *grade_to_json(unsigned grade);
/* Unknown words are left out. */
unsigned grade_from_json(const json_t *words);

#endif
