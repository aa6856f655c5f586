/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of message shapes: for every type its body length, its fds, and who may send it to
 * whom. A type that is not here does not exist. Names of the roles, too.
 */
#include "config.h"
#include "daemon/msg.h"
#include "daemon/priv.h"
#include "daemon/proto.h"

#define R(x) (1u << ROLE_##x)
#define ROLES_LOOP (R(WARDEN) | R(CONTROLLER) | R(CAPTURE) | R(RELAY) | R(DISCOVERY) | R(HERALD))

#define MAX_EVENTS 16384
#define MAX_STATS 65536
#define MAX_CONTAINER_JSON (1u << 20)

/* A body that is exactly one struct, or empty. */
#define ONE(t) sizeof(struct t), sizeof(struct t), 0
#define EMPTY 0, 0, 0
#define TUPLES(max)                                     \
	sizeof(struct w_cookie) + sizeof(struct tuple), \
	    sizeof(struct w_cookie) + (max) * sizeof(struct tuple), sizeof(struct tuple)

static const struct msg_shape shapes[MSG_TYPE_MAX_] = {
	[MSG_SUP_CHANNEL] = { "SUP_CHANNEL", ONE(sup_channel), 1, 1, R(SUPERVISOR),
	    ROLES_LOOP | R(KEEPER) },
	[MSG_SUP_LISTEN] = { "SUP_LISTEN", EMPTY, 1, 1, R(SUPERVISOR), R(CONTROLLER) },
	[MSG_SUP_STOP] = { "SUP_STOP", EMPTY, 0, 0, R(SUPERVISOR), ROLES_LOOP },
	[MSG_SUP_READY] = { "SUP_READY", EMPTY, 0, 0, ROLES_LOOP, R(SUPERVISOR) },
	[MSG_SUP_WATCHING] = { "SUP_WATCHING", EMPTY, 0, 0, R(CONTROLLER), R(SUPERVISOR) },
	[MSG_SUP_RELOAD] = { "SUP_RELOAD", ONE(sup_reload), 0, 0, R(CONTROLLER), R(SUPERVISOR) },
	[MSG_SUP_CONFIG] = { "SUP_CONFIG", ONE(sup_reload), 0, 1, R(SUPERVISOR), R(CONTROLLER) },
	[MSG_SUP_HERALD] = { "SUP_HERALD", EMPTY, 0, 0, R(CONTROLLER), R(SUPERVISOR) },
	[MSG_SUP_LOST] = { "SUP_LOST", ONE(sup_channel), 0, 0, ROLES_LOOP, R(SUPERVISOR) },

	[MSG_KEEP_HELLO] = { "KEEP_HELLO", ONE(keep_hello), 0, 0,
	    R(WARDEN) | R(SUPERVISOR) | R(KEEPER), R(WARDEN) | R(SUPERVISOR) | R(KEEPER) },
	[MSG_KEEP_PUT] = { "KEEP_PUT", ONE(keep_item), 1, 1, R(WARDEN), R(KEEPER) },
	[MSG_KEEP_DROP] = { "KEEP_DROP", ONE(keep_item), 0, 0, R(WARDEN) | R(KEEPER),
	    R(WARDEN) | R(KEEPER) },
	[MSG_KEEP_LIST] = { "KEEP_LIST", EMPTY, 0, 0, R(WARDEN), R(KEEPER) },
	[MSG_KEEP_ITEM] = { "KEEP_ITEM", ONE(keep_item), 1, 1, R(KEEPER), R(WARDEN) },
	[MSG_KEEP_END] = { "KEEP_END", EMPTY, 0, 0, R(KEEPER), R(WARDEN) },
	[MSG_KEEP_STOP] = { "KEEP_STOP", EMPTY, 0, 0, R(SUPERVISOR), R(KEEPER) },

	[MSG_W_HELLO] = { "W_HELLO", ONE(w_hello), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_NETNS] = { "W_NETNS", ONE(w_netns), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_NETNS_GONE] = { "W_NETNS_GONE", ONE(w_cookie), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_ATTACHED] = { "W_ATTACHED", ONE(w_attached), 0, 4, R(WARDEN), R(CONTROLLER) },
	[MSG_W_APPLIED] = { "W_APPLIED", ONE(w_applied), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_DONE] = { "W_DONE", ONE(w_done), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_CT_ENTRY] = { "W_CT_ENTRY", ONE(w_ct_entry), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_CT_STATS] = { "W_CT_STATS", 0, MAX_STATS * sizeof(struct w_ct_stats),
	    sizeof(struct w_ct_stats), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_NFT_STATE] = { "W_NFT_STATE", ONE(w_nft_state), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_SCANNED] = { "W_SCANNED", EMPTY, 0, 0, R(WARDEN), R(CONTROLLER) },

	[MSG_W_DRIFT] = { "W_DRIFT", ONE(w_drift), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_GUARDED] = { "W_GUARDED", ONE(w_guarded), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_FOREIGN] = { "W_FOREIGN", ONE(w_foreign), 0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_PROBED] = { "W_PROBED", sizeof(struct w_probed),
	    sizeof(struct w_probed) + PROBES_MAX * sizeof(struct p_result), sizeof(struct p_result),
	    0, 0, R(WARDEN), R(CONTROLLER) },
	[MSG_W_AGGREGATED] = { "W_AGGREGATED", ONE(w_aggregated), 0, AGG_LAST_FDS, R(WARDEN),
	    R(CONTROLLER) },
	[MSG_W_LOOKED] = { "W_LOOKED", ONE(w_looked), 0, 0, R(WARDEN), R(CONTROLLER) },

	[MSG_W_ATTACH] = { "W_ATTACH", ONE(w_attach), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_RELEASE] = { "W_RELEASE", ONE(w_cookie), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_CT_DUMP] = { "W_CT_DUMP", ONE(w_cookie), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_CT_GET] = { "W_CT_GET", ONE(w_ct_tuple), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_CT_DELETE] = { "W_CT_DELETE", ONE(w_ct_tuple), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_CT_CUT] = { "W_CT_CUT", TUPLES(CT_CUT_MAX), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_CT_UNCUT] = { "W_CT_UNCUT", TUPLES(CT_CUT_MAX), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_CT_INSERT] = { "W_CT_INSERT", ONE(w_ct_tuple), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_GET_CT_STATS] = { "W_GET_CT_STATS", EMPTY, 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_NFT_APPLY] = { "W_NFT_APPLY", sizeof(struct w_cookie) + 1, MSG_MAX_BODY, 0, 0, 0,
	    R(CONTROLLER), R(WARDEN) },
	[MSG_W_NFT_READ] = { "W_NFT_READ", ONE(w_cookie), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_GUARD] = { "W_GUARD", sizeof(struct w_guard),
	    sizeof(struct w_guard) + GUARD_MAX_ADDRS * sizeof(struct w_guard_addr),
	    sizeof(struct w_guard_addr), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_POSTURE] = { "W_POSTURE", ONE(w_posture), 0, 0, R(CONTROLLER), R(WARDEN) },

	[MSG_W_PROBE] = { "W_PROBE", sizeof(struct w_probe) + sizeof(struct w_probe_to),
	    sizeof(struct w_probe) + PROBES_MAX * sizeof(struct w_probe_to),
	    sizeof(struct w_probe_to), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_AGGREGATE] = { "W_AGGREGATE", ONE(w_aggregate), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_LABELS] = { "W_LABELS", ONE(w_labels), 0, 0, R(CONTROLLER), R(WARDEN) },
	[MSG_W_LOOK] = { "W_LOOK", ONE(w_look), 0, 0, R(CONTROLLER), R(WARDEN) },

	[MSG_CAP_NFLOG] = { "CAP_NFLOG", ONE(cap_nflog), 1, 1, R(WARDEN), R(CAPTURE) },
	[MSG_CAP_DROP] = { "CAP_DROP", ONE(w_cookie), 0, 0, R(WARDEN), R(CAPTURE) },
	[MSG_CAP_EVENTS] = { "CAP_EVENTS", sizeof(struct flow_event),
	    MAX_EVENTS * sizeof(struct flow_event), sizeof(struct flow_event), 0, 0, R(CAPTURE),
	    R(CONTROLLER) },
	[MSG_CAP_ANSWER] = { "CAP_ANSWER", sizeof(struct cap_answer) + sizeof(struct addr),
	    sizeof(struct cap_answer) + DNS_MAX_ADDRS * sizeof(struct addr), sizeof(struct addr), 0,
	    0, R(CAPTURE), R(CONTROLLER) },
	[MSG_CAP_LABEL] = { "CAP_LABEL", ONE(cap_label), 0, 0, R(CAPTURE), R(CONTROLLER) },
	[MSG_CAP_LOST] = { "CAP_LOST", sizeof(struct cap_lost),
	    CAP_LOST_MAX * sizeof(struct cap_lost), sizeof(struct cap_lost), 0, 0, R(CAPTURE),
	    R(CONTROLLER) },
	[MSG_CAP_STATS] = { "CAP_STATS", ONE(cap_stats), 0, 0, R(CAPTURE), R(CONTROLLER) },

	[MSG_D_CONTAINER] = { "D_CONTAINER", 2, MAX_CONTAINER_JSON, 0, 0, 0, R(DISCOVERY),
	    R(CONTROLLER) },
	[MSG_D_GONE] = { "D_GONE", ONE(d_id), 0, 0, R(DISCOVERY), R(CONTROLLER) },
	[MSG_D_ENGINE] = { "D_ENGINE", ONE(d_engine), 0, 0, R(DISCOVERY), R(CONTROLLER) },
	[MSG_D_SYNCED] = { "D_SYNCED", ONE(d_engine), 0, 0, R(DISCOVERY), R(CONTROLLER) },
	[MSG_D_LOOKUP] = { "D_LOOKUP", ONE(d_id), 0, 0, R(CONTROLLER), R(DISCOVERY) },
	[MSG_D_STOPPED] = { "D_STOPPED", 2, MAX_CONTAINER_JSON, 0, 0, 0, R(DISCOVERY),
	    R(CONTROLLER) },
	[MSG_D_STOPPED_GONE] = { "D_STOPPED_GONE", ONE(d_id), 0, 0, R(DISCOVERY), R(CONTROLLER) },

	[MSG_R_GET] = { "R_GET", ONE(r_get), 0, 0, R(DISCOVERY), R(RELAY) },
	[MSG_R_STREAM] = { "R_STREAM", ONE(r_stream), 0, 1, R(RELAY), R(DISCOVERY) },

	[MSG_P_RUN] = { "P_RUN", sizeof(struct p_run) + sizeof(struct p_probe),
	    sizeof(struct p_run) + PROBES_MAX * sizeof(struct p_probe), sizeof(struct p_probe), 1,
	    4, R(WARDEN), R(PROBE) },
	[MSG_P_RAN] = { "P_RAN", sizeof(struct p_result), PROBES_MAX * sizeof(struct p_result),
	    sizeof(struct p_result), 0, 0, R(PROBE), R(WARDEN) },

	[MSG_H_ALERT] = { "H_ALERT", sizeof(struct h_alert) + 2,
	    sizeof(struct h_alert) + H_ALERT_MAX, 0, 0, 0, R(CONTROLLER), R(HERALD) },
	[MSG_H_STATE] = { "H_STATE", ONE(h_state), 0, 0, R(HERALD), R(CONTROLLER) },
};

const struct msg_shape *
msg_shape_of(uint16_t type)
{
	if (type >= ARRAY_SIZE(shapes) || shapes[type].name == NULL)
		return NULL;
	return &shapes[type];
}

bool
msg_may_pass(uint16_t type, unsigned from, unsigned to)
{
	const struct msg_shape *s = msg_shape_of(type);

	return s != NULL && from < ROLE_COUNT_ && to < ROLE_COUNT_ && (s->from & (1u << from)) &&
	       (s->to & (1u << to));
}

const char *
role_name(enum role r)
{
	static const char *const names[ROLE_COUNT_] = {
		[ROLE_SUPERVISOR] = "supervisor",
		[ROLE_KEEPER] = "keeper",
		[ROLE_WARDEN] = "warden",
		[ROLE_CONTROLLER] = "controller",
		[ROLE_CAPTURE] = "capture",
		[ROLE_RELAY] = "relay",
		[ROLE_DISCOVERY] = "discovery",
		[ROLE_PROBE] = "probe",
		[ROLE_HERALD] = "herald",
	};

	if ((unsigned)r >= ROLE_COUNT_ || names[r] == NULL)
		return "?";
	return names[r];
}
