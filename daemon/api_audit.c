/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log over the API: its bytes as they are on the disk, so that whoever asks verifies for
 * himself; and records of what the command line did to files without the daemon.
 */
#include "daemon/api.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

#define CHUNK (1u << 20)

static void
get_audit(const struct api_request *q, struct api_reply *r)
{
	char hash[AUDIT_HASH_STRLEN];
	json_t *head = NULL;
	uint64_t seq;

	if (audit_head(q->c->audit, &seq, hash))
		head = json_pack("{s:I, s:s}", "seq", (json_int_t)seq, "hash", hash);
	r->json = json_pack("{s:o, s:o, s:o, s:o}", "host", json_host(), "head",
	    head != NULL ? head : json_null(), "segments", audit_list(q->c->audit), "publicKey",
	    json_text(audit_public_key(q->c->audit)));
}

static void
get_segment(const struct api_request *q, struct api_reply *r)
{
	const char *name = api_arg(q, "name"), *offset = api_arg(q, "offset");
	char *end = NULL;
	uint64_t at = offset != NULL ? strtoull(offset, &end, 10) : 0;
	int ret;

	if (name == NULL || (offset != NULL && (*offset < '0' || *offset > '9' || *end != '\0')) ||
	    at > INT64_MAX) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expected the name of a segment and an "
		    "offset");
		return;
	}
	ret = audit_read(q->c->audit, name, at, CHUNK, &r->text, &r->text_len);
	if (ret < 0) {
		api_fail(r,
		    ret == -ENOENT || ret == -EINVAL ? MHD_HTTP_NOT_FOUND
						     : MHD_HTTP_INTERNAL_SERVER_ERROR,
		    NULL, "the segment cannot be read: %s", strerror(-ret));
		return;
	}
	r->text[r->text_len] = '\0';
	r->content_type = "application/octet-stream";
}

/* The start gate is wired by the command line, as root, in files. */
static void
post_gate_change(const struct api_request *q, struct api_reply *r)
{
	const char *action = NULL, *engine = NULL, *result = NULL;
	json_t *o = json_loadb(q->body, q->body_len, JSON_REJECT_DUPLICATES, NULL);
	struct audit_record rec = { .event = "gate", .who = &q->who };
	struct diag d = { 0 };
	int ret;

	if (json_unpack(o, "{s:s, s?s, s?s !}", "action", &action, "engine", &engine, "result",
		&result) < 0 ||
	    (strcmp(action, "install") != 0 && strcmp(action, "remove") != 0) ||
	    (engine != NULL && strlen(engine) > 32) || (result != NULL && strlen(result) > 128)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "expected {action, engine?, result?}");
		json_decref(o);
		return;
	}
	rec.subject =
	    json_pack("{s:s, s:s}", "action", action, "engine", engine != NULL ? engine : "all");
	rec.result = result;
	ret = audit_write(q->c->audit, &rec, &d);
	json_decref(o);
	if (ret < 0)
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "%s", d.msg);
	else
		r->json = json_pack("{s:b}", "recorded", 1);
}

static bool
is_export(const char *format, const char *digest)
{
	return strspn(format, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(format) &&
	       *format != '\0' && strlen(format) <= 32 && strlen(digest) == AUDIT_HASH_STRLEN - 1 &&
	       strspn(digest, "0123456789abcdef") == AUDIT_HASH_STRLEN - 1;
}

/* Whoever may read may export, but not fill the disk with records of it. */
static bool
may_record(struct controller *c, const struct actor *who)
{
	uint64_t now = now_mono();

	if (who->uid == 0)
		return true;
	if (c->exports.n == 0 || now - c->exports.since_ns >= 3600 * NSEC_PER_SEC)
		c->exports = (struct export_rate){ .since_ns = now };
	if (c->exports.n >= API_EXPORTS_PER_HOUR)
		return false;
	c->exports.n++;
	return true;
}

/* Evidence leaves: asked before it is handed over, so what is not recorded is not exported. */
static void
post_export(const struct api_request *q, struct api_reply *r)
{
	const char *format = NULL, *digest = NULL, *selector = NULL;
	json_t *o = json_loadb(q->body, q->body_len, JSON_REJECT_DUPLICATES, NULL), *statement;
	struct audit_record rec = { .event = "export", .who = &q->who };
	json_int_t bytes = 0, revision = 0;
	struct diag d = { 0 };
	int ret;

	if (json_unpack(o, "{s:s, s:s, s:I, s:I, s?s !}", "format", &format, "sha256", &digest,
		"bytes", &bytes, "revision", &revision, "selector", &selector) < 0 ||
	    !is_export(format, digest) || bytes < 0 || revision < 0 ||
	    (selector != NULL && strlen(selector) > 1024)) {
		api_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
		    "expected {format, sha256, bytes, revision, selector?}");
		json_decref(o);
		return;
	}
	if (!may_record(q->c, &q->who)) {
		api_fail(r, MHD_HTTP_TOO_MANY_REQUESTS, NULL,
		    "%u exports were made in this hour: more are root's", API_EXPORTS_PER_HOUR);
		json_decref(o);
		return;
	}
	rec.subject = json_pack("{s:s, s:s, s:I, s:I, s:o}", "format", format, "sha256", digest,
	    "bytes", bytes, "revision", revision, "selector",
	    selector != NULL ? json_string(selector) : json_null());
	statement = json_pack("{s:s, s:s, s:s, s:s}", "kind", "export", "sha256", digest, "format",
	    format, "actor", q->who.name);
	json_decref(o);
	ret = audit_write(q->c->audit, &rec, &d);
	if (ret < 0) {
		api_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "%s", d.msg);
		json_decref(statement);
		return;
	}
	/*
	 * Without a key it is recorded all the same, and so is a viewer's: of bytes that are his
	 * own the daemon would sign that he asked, which reads like more.
	 */
	if (statement == NULL || q->role < API_REVIEWER ||
	    audit_sign(q->c->audit, statement, &d) < 0) {
		json_decref(statement);
		statement = json_null();
	}
	r->json = json_pack("{s:b, s:o}", "recorded", 1, "signature", statement);
}

const struct api_route api_audit_routes[] = {
	{ "GET", "/v1/audit", API_VIEWER, get_audit, API_AT_ONCE },
	{ "GET", "/v1/audit/segment", API_VIEWER, get_segment, API_AT_ONCE },
	{ "POST", "/v1/audit/gate", API_ROOT, post_gate_change, API_AT_ONCE },
	{ "POST", "/v1/audit/export", API_VIEWER, post_export, API_AT_ONCE },
	{ NULL, NULL, API_VIEWER, NULL, API_AT_ONCE },
};
