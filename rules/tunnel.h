/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tunnels, by their protocol or their port: told of, and not looked into. */
#ifndef NANOSEG_RULES_TUNNEL_H
#define NANOSEG_RULES_TUNNEL_H

#include "rules/flow.h"

/* "gre" "ipip" "vxlan" ..., or NULL. The port may be that of either end: a server may speak first.
 */
const char *tunnel_kind(const struct tuple *t);

#endif
