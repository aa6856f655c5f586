/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The HTTP API's inside: routes with the role they need beside the handler, and the JSON forms that
 * scripts rely on. Who asks comes from SO_PEERCRED and SO_PEERGROUPS, never from the request.
 */
#ifndef NANOSEG_DAEMON_API_H
#define NANOSEG_DAEMON_API_H

#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/denial.h"
#include "daemon/flows.h"
#include "daemon/segment.h"
#include "rules/json.h"

struct MHD_Connection;
struct api_reply;

#define API_MAX_BODY POLICY_MAX_BYTES
#define API_MAX_CONNECTIONS 512 /* many containers may start at once */
#define API_MAX_IDS 20000
#define API_EXPORTS_PER_HOUR 200 /* of all users but root */

enum api_role {
	API_VIEWER = 1,
	API_REVIEWER, /* decisions */
	API_ADMIN,    /* modes, whole policies */
	API_ROOT,     /* the start gate: uid 0, and no group */
};

struct api_request {
	struct controller *c;
	struct MHD_Connection *conn;
	enum api_role role;
	struct actor who;
	const char *body;
	size_t body_len;
	size_t n_followers; /* of others */
};

/* An answer that comes later: the first member of what waits for it. */
struct api_wait {
	/* False: conn is to be suspended, api_resume() follows. */
	bool (*answered)(struct api_wait *w, struct MHD_Connection *conn);
	/* Also of one that is not answered yet, as the server ends. */
	void (*reply)(struct api_wait *w, struct api_reply *r);
	void (*free)(struct api_wait *w);
};

/* A handler fills one of json (stolen) or text (malloc'ed), or sets follow. */
struct api_reply {
	unsigned status; /* 200 unless the handler says otherwise */
	json_t *json;
	char *text;
	size_t text_len; /* 0: text ends at its NUL */
	const char *content_type;
	struct api_wait *wait; /* answered later */
	enum api_follow { FOLLOW_NONE, FOLLOW_FLOWS, FOLLOW_DENIALS } follow;
};

/* How an answer is made: api_lane.c. */
enum api_pace {
	API_AT_ONCE,
	API_APART,  /* beside the loop and beside all others: it parses what may be large */
	API_LIST,   /* a long answer, of tables that no change is in the middle of */
	API_CHANGE, /* one at a time, none beside a list */
};

struct api_route {
	const char *method, *path;
	enum api_role role;
	void (*fn)(const struct api_request *q, struct api_reply *r);
	enum api_pace pace;
};

extern const struct api_route api_read_routes[];
extern const struct api_route api_write_routes[];
extern const struct api_route api_audit_routes[];
extern const struct api_route api_hold_routes[];
extern const struct api_route api_config_routes[];

/* ASCII: a bidirectional override in a name shows as \u202e, also on a bare terminal. */
#define API_JSON_FORM (JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY)

/* api_write.c. The body as a JSON object with only the given keys; NULL after filling r. */
json_t *api_read_body(const struct api_request *q, struct api_reply *r, const char *const *keys);
/*
 * The workloads that a request names ("workloads", "all"), which changes has room for. The number,
 * or 0 after filling r.
 */
size_t api_read_workloads(
    const struct api_request *q, const json_t *o, struct mode_change *changes, struct api_reply *r);
/* The body as a policy; NULL after filling r. */
struct policy *api_read_policy(const struct api_request *q, struct api_reply *r);
/* A string of at most max bytes; NULL if absent. False after filling r if it is not one. */
bool api_read_string(
    const json_t *o, const char *key, size_t max, struct api_reply *r, const char **ret);
/* For a change that failed, its errno and what it said. */
void api_fail_change(struct api_reply *r, int error, const struct diag *d);

/* A query argument, or NULL. */
const char *api_arg(const struct api_request *q, const char *name);
/* {"error": {"message", "line"?, "column"?}}; d may be NULL. */
void api_fail(struct api_reply *r, unsigned status, const struct diag *d, const char *fmt, ...)
    _printf_(4, 5);

/* api_explain.c */
void explain_get(const struct api_request *q, struct api_reply *r);

/* gate.c: a start that may have to wait. */
void gate_post(const struct api_request *q, struct api_reply *r);
/* Resumes them all: the server ends. */
void gate_release(struct controller *c);

/* whatif.c: POST /v1/simulate */
void whatif_post(const struct api_request *q, struct api_reply *r);
void whatif_release(struct controller *c);

/* api_json.c: the contract's forms. Never NULL but for out of memory. */
json_t *json_flow(struct controller *c, const struct flow_record *f);
/* With the workload behind it, if its port is one of the host. */
json_t *json_edge_behind(struct controller *c, const struct edge *e);
/* Of those that --only selects, in turns with the loop; wanted NULL: all. */
typedef bool (*json_edge_wanted_fn)(const void *arg, const struct edge *e);
json_t *json_edges(struct controller *c, json_edge_wanted_fn wanted, const void *arg);
json_t *json_denial(struct controller *c, const struct denial *d);
json_t *json_status(struct controller *c);
/* {name, kernel} of this machine. */
json_t *json_host(void);
/* The one to show where there is room for one: the first that answers. NULL: none is known. */
const struct engine_state *engine_main(const struct controller *c);
json_t *json_graph(struct controller *c);
json_t *json_engines(const struct controller *c);
json_t *json_doctor(struct controller *c);
/* api_metrics.c: OpenMetrics, malloc'ed; NULL without memory. */
#define METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
char *metrics_text(struct controller *c);
/*
 * The same in Prometheus' text format 0.0.4, which names a family as its samples are named and has
 * no type "info": for node_exporter, promtool, and scrapers that do not ask for the other.
 */
char *metrics_text_plain(const char *text);
const char *flow_verdict(uint8_t kind); /* "allow" "attempt" "deny" "audit" */

#endif
