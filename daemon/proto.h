/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vocabulary between the roles. Bodies are these structs, host byte order, no padding that is
 * not named; a trailing array is as long as the body says. A role checks the meaning of every field
 * itself; msg_recv() has checked type, size and fds only.
 */
#ifndef NANOSEG_DAEMON_PROTO_H
#define NANOSEG_DAEMON_PROTO_H

#include "rules/dns.h"
#include "rules/flow.h"
#include "rules/ruleset.h"

enum role {
	ROLE_SUPERVISOR = 1,
	ROLE_KEEPER,
	ROLE_WARDEN,
	ROLE_CONTROLLER,
	ROLE_CAPTURE,
	ROLE_RELAY,
	ROLE_DISCOVERY,
	ROLE_PROBE,  /* the warden's child, which alone has a channel to it */
	ROLE_HERALD, /* runs only if alerts have a way out */
	ROLE_COUNT_,
};

enum msg_type {
	/* supervisor -> role, on the control channel (fd 3) */
	MSG_SUP_CHANNEL =
	    1,		/* sup_channel + fd: the channel to another role, replaces an older one */
	MSG_SUP_LISTEN, /* + fd: the API's listening socket (controller) */
	MSG_SUP_STOP,	/* end in order */
	/* role -> supervisor */
	MSG_SUP_READY,
	MSG_SUP_LOST, /* sup_channel: that channel broke while both ends live; a new one follows */
	MSG_SUP_WATCHING, /* from the controller, once: the first scan is over, the API answers */
	MSG_SUP_RELOAD,	  /* sup_reload, from the controller: the configuration, please */
	/* supervisor -> controller: sup_reload + fd, if it could be opened; also unasked */
	MSG_SUP_CONFIG,
	MSG_SUP_HERALD, /* from the controller: alerts have a way out, start the herald */

	/*
	 * warden <-> keeper (the keeper answers LIST with ITEMs and one END). The supervisor
	 * reaches the keeper by its socket: HELLO both ways, then SUP_CHANNEL with the keeper's end
	 * of the warden's channel, or KEEP_STOP. Whoever connects says HELLO first; a keeper of
	 * another KEEP_VERSION answers with its own and closes, keeping what it holds.
	 */
	MSG_KEEP_HELLO = 16, /* keep_hello, both ways, first */
	MSG_KEEP_PUT,	     /* keep_item + fd */
	MSG_KEEP_DROP,	     /* keep_item; from the keeper: a PUT that it has no room for */
	MSG_KEEP_LIST,
	MSG_KEEP_ITEM, /* keep_item + fd */
	MSG_KEEP_END,
	MSG_KEEP_STOP, /* from the supervisor's side only: end */

	/* warden -> controller */
	MSG_W_HELLO = 32, /* w_hello, first after every (re)start: forget what you attached */
	MSG_W_NETNS,	  /* w_netns: found, or more is known about it */
	MSG_W_NETNS_GONE, /* w_cookie */
	MSG_W_ATTACHED,	  /* w_attached + fds, see there */
	MSG_W_APPLIED,	  /* w_applied */
	MSG_W_DONE, /* w_done: answer to CT_DUMP, CT_DELETE, CT_CUT, CT_UNCUT, CT_INSERT, RELEASE */
	MSG_W_CT_ENTRY,	  /* w_ct_entry: answer to CT_GET */
	MSG_W_CT_STATS,	  /* w_ct_stats[] */
	MSG_W_NFT_STATE,  /* w_nft_state: answer to NFT_READ */
	MSG_W_SCANNED,	  /* the first full scan has been announced */
	MSG_W_LOOKED,	  /* w_looked: answer to LOOK; its NETNS and GUARDED came before */
	MSG_W_DRIFT,	  /* w_drift: a table was changed by somebody else */
	MSG_W_GUARDED,	  /* w_guarded: after GUARD, NFT_APPLY, NFT_READ, and when it changes */
	MSG_W_FOREIGN,	  /* w_foreign: somebody else owns a table of our name, or no longer */
	MSG_W_PROBED,	  /* w_probed, then p_result[]: answer to PROBE, none on an error */
	MSG_W_AGGREGATED, /* w_aggregated, + fd for AGG_OPEN: answer to AGGREGATE */

	/* controller -> warden */
	MSG_W_ATTACH = 64,  /* w_attach */
	MSG_W_RELEASE,	    /* w_cookie: delete the table, close the sockets */
	MSG_W_CT_DUMP,	    /* w_cookie; the entries arrive on the handed dump fd */
	MSG_W_CT_GET,	    /* w_ct_tuple */
	MSG_W_CT_DELETE,    /* w_ct_tuple */
	MSG_W_CT_INSERT,    /* w_ct_tuple */
	MSG_W_GET_CT_STATS, /* empty: of every attached namespace */
	MSG_W_NFT_APPLY,    /* w_cookie, then an encoded ruleset */
	MSG_W_NFT_READ,	    /* w_cookie */
	MSG_W_LOOK,	    /* w_look: this process's namespace and its links, now */
	MSG_W_POSTURE,	    /* w_posture: after every HELLO, and when it changes */
	MSG_W_CT_UNCUT,	    /* w_cookie, then tuple[]: of what CT_CUT has marked */
	MSG_W_GUARD,	    /* w_guard, then w_guard_addr[]: takes effect with the next NFT_APPLY */
	MSG_W_CT_CUT,	    /* w_cookie, then tuple[]: those that are there, see cut.c */
	MSG_W_PROBE,	    /* w_probe, then w_probe_to[]; one at a time, else -EBUSY */
	MSG_W_AGGREGATE,    /* w_aggregate */
	MSG_W_LABELS,	    /* w_labels */

	/* warden -> capture */
	MSG_CAP_NFLOG = 96, /* cap_nflog + fd */
	MSG_CAP_DROP,	    /* w_cookie */
	/* capture -> controller */
	MSG_CAP_EVENTS, /* struct flow_event[] */
	MSG_CAP_STATS,	/* cap_stats */
	MSG_CAP_LABEL,	/* cap_label */
	MSG_CAP_ANSWER, /* cap_answer, then addr[]: a name server's, to a question of its own */
	MSG_CAP_LOST,	/* cap_lost[] */

	/* discovery -> controller */
	MSG_D_CONTAINER = 112, /* JSON, see daemon/discovery.h */
	MSG_D_GONE,	       /* d_id */
	MSG_D_ENGINE,	       /* d_engine */
	MSG_D_SYNCED,	       /* d_engine: everything that runs has been sent */
	/* controller -> discovery */
	MSG_D_LOOKUP, /* d_id: a namespace of this container appeared; ask the engine now */
	/* discovery -> controller */
	MSG_D_STOPPED,	    /* JSON as of MSG_D_CONTAINER: it exists and does not run */
	MSG_D_STOPPED_GONE, /* d_id: it is no such container any more */

	/* discovery -> relay */
	MSG_R_GET = 128, /* r_get */
	/* relay -> discovery */
	MSG_R_STREAM, /* r_stream + fd (read end of a pipe with the raw answer), or an error */

	/* warden <-> probe */
	MSG_P_RUN = 144, /* p_run, then p_probe[], + the sockets that p_run.have names */
	MSG_P_RAN,	 /* p_result[], of as many probes */

	/* controller <-> herald */
	MSG_H_ALERT = 160, /* h_alert, then its JSON text */
	MSG_H_STATE,	   /* h_state, whenever it has changed */

	MSG_TYPE_MAX_,
};

struct sup_channel {
	uint32_t role;	 /* enum role at the other end */
	uint32_t serial; /* of this channel, repeated in SUP_LOST */
};

struct sup_reload {
	uint32_t number; /* chosen by who asks; 0: SIGHUP */
	int32_t error;	 /* negative errno: the file could not be opened */
	/* Who sent the signal; pid 0: nobody knows. */
	uint32_t uid;
	int32_t pid;
};

#define KEEP_VERSION 1
#define KEEP_MAX_ITEMS 8192
struct keep_hello {
	uint32_t version;
	char instance[16];
};

enum keep_kind {
	KEEP_OWNER = 1, /* the nftables owner socket */
	KEEP_NFLOG,	/* the NFLOG socket, so that its group stays ours */
};

struct keep_item {
	uint64_t cookie;
	uint32_t kind;
	uint32_t value; /* of KEEP_NFLOG: the group; of KEEP_OWNER: see warden_close.c */
};

struct w_hello {
	uint32_t features; /* NFT_CAN_* */
	uint32_t zero;
	char kernel[64];
};

#define NETNS_F_HOST 0x01   /* the namespace the daemon itself is in */
#define NETNS_F_NAMED 0x02  /* a file in /run/netns */
#define NETNS_F_ENGINE 0x04 /* a file in an engine's folder */
#define NETNS_F_PROC 0x08   /* found by its processes only */
#define NETNS_F_USER 0x10   /* a container of the user `owner`, who is not root */
#define NETNS_F_NESTED \
	0x20 /* made by a user inside the container container_id, or machine basename */
#define NETNS_F_MACHINE                                                                          \
	0x40 /* basename is the name of a machine of LXC or systemd-nspawn, or of a container of \
		ctr or runc */
#define NETNS_F_WAITS 0x80 /* its first process is still its runtime's: no program has begun */

/* What a process in it may do, as far as /proc tells. */
#define TASK_F_NET_ADMIN 0x01
#define TASK_F_NET_RAW 0x02
#define TASK_F_HOST_PID 0x04 /* it sees the host's processes */
#define TASK_F_USERNS 0x08
#define TASK_F_READ 0x10 /* the others are what was read; without it nothing is known yet */

struct w_netns {
	uint64_t cookie, dev, ino;
	uint32_t flags;
	int32_t pid;	       /* a process in it, 0 if none is known */
	char basename[64];     /* file name, or as the flags say, or "" */
	char container_id[65]; /* 64 hex digits from the process's cgroup, or "" */
	uint8_t facts; /* TASK_F_*, of a container or machine, or what lasts in a plain one */
	char zero[2];
	uint32_t owner;	  /* uid, of NETNS_F_USER */
	uint64_t seen_ns; /* CLOCK_MONOTONIC at which the warden saw it first */
	/* CLOCK_MONOTONIC, 0: never. Closed by the warden; and since when it is no longer. */
	uint64_t closed_ns, opened_ns;
	/* CLOCK_MONOTONIC, 0: not known (yet). The program in it began no earlier than this. */
	uint64_t began_ns;
	/* The same, of what was there before the warden: its first known process is that old. */
	uint64_t born_ns;
};

/*
 * What becomes of namespaces that appear from now on. A closed one is opened by its first
 * NFT_APPLY, or after timeout_ms by the warden itself, unless it is to be quarantined.
 */
#define POSTURE_TIMEOUT_MAX_MS 60000u
struct w_posture {
	uint32_t close;	      /* 1: close those in an engine's folder */
	uint32_t close_named; /* 1: and, if close, those in /run/netns */
	uint32_t quarantine;  /* 1: what is not identified stays closed */
	uint32_t timeout_ms;  /* 1..POSTURE_TIMEOUT_MAX_MS */
	uint32_t guard;	      /* 1: at the host's end of its links as well */
};

struct w_cookie {
	uint64_t cookie;
};

struct w_attach {
	uint64_t cookie;
	uint32_t host; /* 1: the host's namespace: NEW events and addresses only, no table */
	uint32_t rcvbuf;
};

/*
 * error 0: fds are [0] ct events, [1] ct dump, [2] rtnetlink, [3] sock_diag. Otherwise none. The
 * NFLOG fd goes to the capture role at the same time.
 */
struct w_attached {
	uint64_t cookie;
	int32_t error;
	uint32_t owned;	  /* the table is owned */
	uint32_t adopted; /* a kept table with rules was there: apply must follow */
	uint32_t ct_count, ct_max;
	uint32_t rcvbuf;		    /* in force */
	uint32_t holder;		    /* as in w_foreign */
	uint32_t aggregates;		    /* it has a table of AGG_PREPARE */
	uint64_t ct_dropped;		    /* as in w_ct_stats */
	uint8_t kernel[RULESET_DIGEST_LEN]; /* of an orphan's table, as it was found; or zeros */
};

/* Connections counted by the kernel, see warden_seen.c and netlink/nft_seen.h. */
enum agg_verb {
	AGG_OPEN = 1, /* the socket on which the answers to READ come */
	AGG_PREPARE,  /* a table that sees nothing yet. -EBUSY: others account for connections */
	AGG_ON,	      /* connections that begin from now on are counted, and give no event */
	AGG_DRAIN,    /* those that begin from now on are not, and do */
	AGG_OFF,      /* the table goes */
	AGG_ROTATE,   /* to `side`, whose sets are made anew */
	AGG_DROP,     /* the sets of `side` go, which are not being filled */
	AGG_READ,     /* a dump of `set` of `side` */
	AGG_LAST,     /* an answer that nobody asked for: see w_aggregated */
	AGG_VERBS_,
};

struct w_aggregate {
	uint64_t cookie;
	uint32_t verb; /* enum agg_verb */
	uint32_t side, set;
	uint32_t zero;
};

/* Whether first packets that may name their server are reported: netlink/nft_labels.h. */
struct w_labels {
	uint64_t cookie;
	uint32_t on;
	uint32_t zero;
};

#define AGG_F_PRESENT 0x1u
#define AGG_F_HOOKED 0x2u
#define AGG_F_SIDE(side) (0x4u << (side)) /* its sets are there */
/*
 * AGG_LAST comes before W_NETNS_GONE, with a socket for each set, on which a dump of it is to be
 * read, and one that keeps the namespace's table as long as it is open.
 */
#define AGG_LAST_FDS 5
struct w_aggregated {
	uint64_t cookie;
	int32_t error;
	uint32_t verb;
	uint32_t flags; /* AGG_OPEN: AGG_F_*; AGG_LAST: AGG_F_SIDE() of what is read */
	uint32_t zero;
	uint64_t missed; /* AGG_READ, AGG_LAST: connections without room so far */
};

struct w_applied {
	uint64_t cookie;
	int32_t error;
	uint32_t usec;
	uint32_t owned;
	uint32_t match;			     /* read back and equal to what was meant */
	uint8_t ruleset[RULESET_DIGEST_LEN]; /* of the ruleset asked for */
	uint8_t kernel[RULESET_DIGEST_LEN];  /* of what the kernel has */
	/*
	 * Connections that passed before may not be allowed any more; and how many entries
	 * conntrack had after that, of any kind.
	 */
	uint32_t narrowed, ct_count;
};

struct w_done {
	uint64_t cookie;
	int32_t error;
	uint32_t count; /* CT_CUT, CT_UNCUT: how many were there */
};

#define CT_CUT_MAX 512

struct w_ct_tuple {
	uint64_t cookie;
	struct tuple tuple;
	uint32_t timeout_s; /* CT_INSERT */
	uint32_t zero;
};

struct w_ct_entry {
	uint64_t cookie;
	int32_t error;
	uint32_t status;
	struct tuple orig, reply;
};

struct w_ct_stats {
	uint64_t cookie;
	uint32_t count, max;
	uint64_t dropped; /* see ct_dropped() */
};

struct w_nft_state {
	uint64_t cookie;
	int32_t error;
	uint32_t present, match;
	uint32_t n_rules, n_elems;
	uint32_t zero;
	uint64_t dropped;
	uint8_t kernel[RULESET_DIGEST_LEN];
};

/* What a repaired table has become is as it was asked for; error: it is not repaired. */
struct w_drift {
	uint64_t cookie;
	int32_t error;
	uint32_t pid;	  /* of whoever did it, 0: not known */
	char program[16]; /* its name, which it chooses, or "" */
	uint32_t guard;	  /* 1: a host guard of it, not its own table */
	uint32_t zero;
};

/* Until it is 0 again, rules can be neither loaded nor relied upon; see warden_foreign.c. */
struct w_foreign {
	uint64_t cookie;
	uint32_t holder; /* the netlink port of its owner, 0: nobody else has it */
	uint32_t zero;
};

/*
 * The host guard of a namespace (warden_guard.c): whether there is to be one, and the addresses
 * that are its own. Without `follow` the first addresses and hardware addresses of each of its
 * links stand, for whoever has CAP_NET_ADMIN inside can change them.
 */
struct w_guard {
	uint64_t cookie;
	uint32_t want, follow;
};

#define GUARD_MAX_ADDRS 64
struct w_guard_addr {
	struct addr addr;
	uint32_t ifindex;
	uint32_t prefix_len; /* of its network */
};

struct w_guarded {
	uint64_t cookie;
	int32_t error;
	uint32_t devices; /* with a guard in force, read back and as meant */
	uint32_t open;	  /* links to the outside without one */
	uint32_t changed; /* with another hardware address than the one that is held */
	uint64_t dropped; /* packets, of the guards that are there */
};

struct w_look {
	uint64_t cookie; /* 0: it is what is asked for */
	int32_t pid;
	uint32_t zero;
	char container_id[65]; /* of whoever asks, if the process's cgroup does not tell; or "" */
	char zero2[7];
};

struct w_looked {
	uint64_t cookie; /* 0 on error */
	int32_t error;
	int32_t pid;
};

/*
 * Probes: a bare SYN or an empty datagram each, from `sport` of the namespace, by an ordinary
 * socket, so that they pass its output chain. `to` is an address of the namespace `cookie`, which
 * the warden checks there. A SYN that is answered is reset by the kernel: no accept() returns.
 */
#define PROBES_MAX 32
#define PROBE_TIMEOUT_MAX_MS 2000u
#define PROBE_PORT_MIN 61000u /* above what connect() takes by default */
struct p_probe {
	struct addr dst;
	uint16_t dport;
	uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t zero;
};

struct w_probe {
	uint64_t cookie;
	uint32_t timeout_ms; /* 1..PROBE_TIMEOUT_MAX_MS, of all of them together */
	uint16_t sport;	     /* PROBE_PORT_MIN.. */
	uint16_t zero;
};

struct w_probe_to {
	uint64_t cookie;
	struct p_probe to;
};

enum probe_outcome {
	PROBE_UNSENT = 1,  /* error says why */
	PROBE_HELD,	   /* rules of its own namespace dropped it */
	PROBE_SILENT,	   /* sent, and nothing came back */
	PROBE_ANSWERED,	   /* SYN-ACK, or a datagram */
	PROBE_RESET,	   /* RST, or "port unreachable" */
	PROBE_UNREACHABLE, /* any other ICMP error about it */
};

#define PROBE_F_ARRIVED 0x01	/* UDP: it passed the input chain over there */
#define PROBE_F_COUNTED 0x02	/* of a single probe: refusals there have become more */
#define PROBE_F_TRANSLATED 0x04 /* rules of others in its namespace gave it another destination */

struct p_result {
	struct addr src; /* family 0: not known */
	uint8_t outcome; /* enum probe_outcome */
	uint8_t flags;	 /* PROBE_F_*, the warden's to set */
	uint16_t zero;
	int32_t error;
};

struct w_probed {
	uint64_t cookie;
	int32_t error;
	uint32_t zero;
};

#define P_HAVE_TCP4 0x1u
#define P_HAVE_TCP6 0x2u
#define P_HAVE_UDP4 0x4u
#define P_HAVE_UDP6 0x8u
struct p_run {
	uint32_t timeout_ms;
	uint16_t sport;
	uint16_t have; /* P_HAVE_*: raw sockets of TCP, sockets of UDP that are bound to sport */
};

struct cap_nflog {
	uint64_t cookie;
	uint32_t group;
	uint32_t zero;
};

struct cap_stats { /* cumulative */
	uint64_t frames, malformed;
	uint64_t ring_dropped; /* lost by the capture ring */
	uint64_t nflog_lost;   /* gaps in report sequence numbers, overruns */
	uint64_t unsent;       /* events the controller's channel did not take */
	uint64_t dns_unasked;  /* answers of name servers to no question that was asked */
	uint64_t dns_broken;   /* of them, over TCP, that could not be put together */
	char error[128];       /* why there is no capture, or "" */
};

struct cap_answer {
	uint64_t cookie, time_ns; /* CLOCK_REALTIME, when it came */
	struct addr resolver;
	uint32_t ttl_s;
	uint32_t translated; /* the question went on to another port than 53 */
	char name[256];	     /* that was asked for, see dns.h */
};

#define CAP_LOST_MAX 256u /* in one message */
struct cap_lost {	  /* of one namespace's reports, since this was last told */
	uint64_t cookie;
	uint64_t reports; /* by the kernel, or on the way to the controller */
	uint64_t answers; /* of name servers, on the way to the controller */
};

/* What a client called its server; a claim, see rules/server_name.h. */
struct cap_label {
	uint64_t cookie;
	struct tuple tuple; /* as the client has it */
	uint32_t kind;	    /* enum server_name_kind */
	char name[256];
	uint32_t zero;
};

struct d_id {
	char id[65];
	char zero[7];
};

struct d_engine {
	char engine[32]; /* "docker" */
	uint32_t reachable;
	uint32_t errors; /* answers refused so far */
	char why[160];	 /* "" if all is well */
};

enum relay_request {
	RELAY_CONTAINERS = 1, /* GET /containers/json; with an id: of it alone, in any state */
	RELAY_CONTAINER,      /* GET /containers/ID/json */
	RELAY_EVENTS,	      /* GET /events, containers and networks only */
	RELAY_IMAGE,	      /* GET /images/ID/json */
	RELAY_PODS,	      /* GET /libpod/pods/json, Podman's own */
	/* Files, answered as an engine would: */
	RELAY_BUNDLE,	     /* config.json of an OCI bundle; r_get.engine is an enum relay_place */
	RELAY_NAMES,	     /* containers.json of Podman's storage; r_get.engine is 0 */
	RELAY_DOCKER_CONFIG, /* config.v2.json of a container in Docker's data; r_get.engine is 0 */
	RELAY_DOCKER_HOST,   /* its hostconfig.json */
	RELAY_DOCKER_IMAGE,  /* an image's configuration; r_get.engine is an enum relay_driver */
	/* GET /containers/json of those created and not started, or exited: the latest */
	RELAY_STOPPED,
};

/* Docker keeps its images by storage driver, "image/DRIVER" in its data. */
enum relay_driver {
	RELAY_DRIVER_OVERLAY2,
	RELAY_DRIVER_FUSE_OVERLAYFS,
	RELAY_DRIVER_BTRFS,
	RELAY_DRIVER_ZFS,
	RELAY_DRIVER_VFS,
	RELAY_DRIVERS,
};

/* Where bundles are, by who alone can have put them there. In the order of the search. */
enum relay_place {
	RELAY_PLACE_DOCKER,	/* the containerd that dockerd starts */
	RELAY_PLACE_MOBY,	/* the system's containerd, namespace of Docker */
	RELAY_PLACE_CRI,	/* ... of its CRI plugin; k3s's, RKE2's and MicroK8s's containerd */
	RELAY_PLACE_CONTAINERD, /* ... of ctr and nerdctl: any other namespace */
	RELAY_PLACE_CRIO,	/* CRI-O */
	RELAY_PLACE_PODMAN,	/* Podman of root; CRI-O's copies too, so after it */
	RELAY_PLACES,
};

struct r_get {
	uint32_t engine; /* index of the engine socket in the relay's arguments */
	uint32_t request;
	char id[80]; /* checked by the relay: hex, or sha256: and hex */
};

struct r_stream {
	int32_t error;
	uint32_t zero;
};

/* Alerts on their way out. Numbers grow from 1; each controller has an epoch of its own. */
#define H_ALERT_MAX 16384
struct h_alert {
	uint64_t epoch, number;
};

enum herald_sink {
	SINK_JOURNALD,
	SINK_SYSLOG,
	SINK_WEBHOOK,
	SINK_COUNT_,
};

struct h_sink {
	uint64_t delivered, lost, failures; /* since the herald's start */
	uint32_t on, failing;
	char error[96]; /* of the last failure */
};

/* What became of an alert at one sink. */
enum herald_fate {
	FATE_WAITING,
	FATE_DELIVERED,
	FATE_LOST,
};

/* The herald holds as many as wait for the slowest sink, the controller as many as are not done. */
#define H_SPOOL_MAX 1024

struct h_state {
	uint64_t epoch, done; /* up to this number every sink has dealt with all */
	struct h_sink sinks[SINK_COUNT_];
	/* Of the H_SPOOL_MAX numbers up to newest, two bits each: h_fate_get(). */
	uint64_t newest;
	uint8_t fates[SINK_COUNT_][H_SPOOL_MAX / 4];
};

static inline enum herald_fate
h_fate_get(const uint8_t *fates, uint64_t number)
{
	number %= H_SPOOL_MAX;
	return (enum herald_fate)(fates[number / 4] >> (number % 4 * 2) & 3);
}

static inline void
h_fate_set(uint8_t *fates, uint64_t number, enum herald_fate fate)
{
	unsigned shift = number % 4 * 2;
	uint8_t *byte = &fates[number % H_SPOOL_MAX / 4];

	*byte = (uint8_t)((*byte & ~(3u << shift)) | (unsigned)fate << shift);
}

#endif
