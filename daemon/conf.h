/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's configuration file, nanosegd.yaml: one flat mapping, every key optional. Keys,
 * bounds and defaults stand in one table (conf.c), which docs and contrib/nanosegd.yaml are
 * tested with.
 */
#ifndef NANOSEG_DAEMON_CONF_H
#define NANOSEG_DAEMON_CONF_H

#include "daemon/conf_alerts.h"
#include "daemon/conf_images.h"
#include "daemon/log.h"
#include "rules/identity.h"
#include "rules/policy.h"

#include <jansson.h>

#define CONFIG_MAX_BYTES (256u << 10)
#define CONFIG_MAX_GROUPS 64
#define CONFIG_MAX_RESOLVERS 16
#define CONFIG_GROUP_MAX 32 /* bytes of a group's name, as useradd(8) has it */

enum config_promote {
	PROMOTE_OFF,
	PROMOTE_AUDIT,
	PROMOTE_ENFORCE,
};

enum config_promote_by {
	PROMOTE_BY_CLOCK,
	PROMOTE_BY_EVIDENCE,
};

/* A time of the week, UTC. */
struct config_window {
	uint8_t days; /* bit 0: Monday; 0: always */
	uint16_t from_min, to_min;
	char text[32];
};

enum config_on_unknown {
	ON_UNKNOWN_ALLOW,
	ON_UNKNOWN_QUARANTINE,
};

enum config_host_guard {
	HOST_GUARD_AUTO,
	HOST_GUARD_ON,
	HOST_GUARD_OFF,
};

enum config_aggregation {
	AGGREGATION_AUTO,
	AGGREGATION_ON,
	AGGREGATION_OFF,
};

struct config {
	uint64_t observation_period_ns;
	enum config_promote promote;
	enum wl_direction promote_direction;
	enum config_promote_by promote_by;
	uint32_t promote_chance; /* percent: of a new edge in a window, at most */
	uint64_t quiet_audit_ns, promote_notice_ns, promote_confirm_ns;
	struct config_window promote_window;
	enum config_on_unknown on_unknown;
	uint64_t identify_timeout_ns;
	enum config_host_guard host_guard;
	uint64_t self_test_ns;			/* between two probes of an instance; 0: none */
	bool close_named;			/* also close new namespaces in /run/netns */
	uint32_t rollback_denials;		/* in the window of a change; 0: never */
	char **reviewer_groups, **admin_groups; /* names; who they are is resolved when asked */
	size_t n_reviewer_groups, n_admin_groups;
	struct identity_rules identity;
	uint64_t activity_period_ns; /* over which rates are looked at */
	uint64_t idle_expiry_ns;     /* 0: never */
	uint64_t recertify_after_ns; /* 0: never */
	uint64_t fqdn_min_ttl_ns;    /* an address holds for a name at least so long */
	struct addr resolvers[CONFIG_MAX_RESOLVERS]; /* whose answers count, besides the usual */
	size_t n_resolvers;
	bool server_names;    /* in packets, as labels of edges */
	bool separate_duties; /* who approves is not who enforces */
	uint32_t max_edges;
	uint32_t history_days;	  /* on which something was recorded; 0: no history */
	uint32_t history_entries; /* flows on a day, of all days */
	uint32_t event_buffer;	  /* bytes of socket buffer, each observed namespace */
	enum config_aggregation aggregation;
	uint32_t conntrack_alert; /* percent of nf_conntrack_max */
	struct images_config images;
	struct alerts_config alerts;
	struct metrics_config metrics;
	enum log_level log_level;

	char *text; /* the file, as it was read; NULL: there is none */
	size_t text_len;
	char **given; /* for each setting of the table its value, as JSON */
};

void config_free(struct config *c);
static inline void
config_freep(struct config **c)
{
	config_free(*c);
}

/* The defaults. 0 or -ENOMEM. */
int config_new(struct config **ret);
/* A whole file; an empty one is the defaults. 0, -EINVAL with *d filled, or -ENOMEM. */
int config_parse(const char *text, size_t len, struct diag *d, struct config **ret);
/*
 * Reads the file; a missing one is the defaults. Another errno if it cannot be read, with *d filled
 * (line 0).
 */
int config_load(const char *path, struct diag *d, struct config **ret);
/* The same of a file that is open, from where it stands. */
int config_read(int fd, struct diag *d, struct config **ret);

/* The keys that differ: of those that need a restart, or of the others. NULL without memory. */
json_t *config_changes(const struct config *a, const struct config *b, bool restart);
/* What needs a restart is in *fresh as it is in force; *old gets what the file says instead. */
void config_keep_old(struct config *fresh, struct config *old);

#endif
