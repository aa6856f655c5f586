/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/reload.h"

#include "daemon/api.h"
#include "daemon/labels.h"
#include "daemon/enforce.h"
#include "daemon/gate.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/roster.h"
#include "daemon/statefile.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define KEPT "nanosegd.yaml.last" /* the last good one, in the state folder */

int
reload_ask(struct controller *c, const struct actor *who, uint32_t *ret)
{
	struct sup_reload ask = { .number = c->reload.done + 1 };
	int r;

	if (c->reload.asked != c->reload.done)
		return -EBUSY;
	if (c->loop.control == NULL)
		return -ENOTCONN;
	r = chan_send(c->loop.control, MSG_SUP_RELOAD, 0, &ask, sizeof(ask), NULL, 0);
	if (r < 0)
		return r;
	c->reload.asked = ask.number;
	c->reload.who = *who;
	*ret = ask.number;
	return 0;
}

static json_t *
digest_of(const struct config *f)
{
	char digest[AUDIT_HASH_STRLEN];

	if (f->text == NULL)
		return json_null();
	audit_digest(f->text, f->text_len, digest);
	return json_string(digest);
}

json_t *
reload_digest(const struct controller *c)
{
	return digest_of(c->config);
}

const char *
reload_why(const struct controller *c, char buf[static RELOAD_WHY_LEN])
{
	const struct diag *d = &c->reload.d;

	if (d->line != 0)
		snprintf(buf, RELOAD_WHY_LEN, "%s: line %u, column %u: %s", c->config_path, d->line,
		    d->col, d->msg);
	else
		snprintf(buf, RELOAD_WHY_LEN, "%s: %s", c->config_path, d->msg);
	return buf;
}

static void
forget_last(struct reload *r)
{
	json_decref(r->changed);
	json_decref(r->restart);
	json_decref(r->groups);
	r->changed = r->restart = r->groups = NULL;
	r->d = (struct diag){ 0 };
	r->refused = false;
	r->at_ns = now_real();
}

static void
keep(const struct controller *c)
{
	const struct config *f = c->config;
	int r = f->text != NULL ? statefile_write_text(c->state_dir, KEPT, f->text, f->text_len)
				: statefile_remove(c->state_dir, KEPT);

	if (r < 0)
		log_warn(
		    "%s/%s: not the configuration in force: %s", c->state_dir, KEPT, strerror(-r));
}

/* For those who are not asked anew each time. */
static void
tell_everybody(struct controller *c)
{
	log_raise(c->config->log_level);
	c->reload.groups = api_take_groups(c->api);
	for (struct workload *w = c->workloads; w != NULL; w = w->next)
		w->promote_at_ns = 0; /* announced by what may no longer be so */
	for (struct instance *i = c->instances; i != NULL; i = i->next)
		i->selftest_due_ns = 0;
	labels_ask_all(c);
	posture_update(c, false);
	enforce_now(c);
}

/* On record before it is in force. */
static int
take(struct controller *c, struct config **fresh, const struct actor *who, struct diag *d)
{
	struct reload *l = &c->reload;
	struct audit_record rec = { .event = "config-reload", .who = who };
	struct config *old = c->config;
	int r;

	l->changed = config_changes(old, *fresh, false);
	l->restart = config_changes(old, *fresh, true);
	rec.subject = json_pack("{s:o, s:O?, s:O?}", "config", json_text(c->config_path), "changed",
	    l->changed, "restart", l->restart);
	rec.before = json_pack("{s:o}", "configDigest", digest_of(old));
	rec.after = json_pack("{s:o}", "configDigest", digest_of(*fresh));
	r = audit_write(c->audit, &rec, d);
	if (r < 0)
		return r;
	config_keep_old(*fresh, old);
	c->config = steal_ptr(*fresh);
	config_free(old);
	l->taken++;
	keep(c);
	tell_everybody(c);
	return 0;
}

static void
refuse(struct controller *c, const struct actor *who, const struct diag *d)
{
	char why[RELOAD_WHY_LEN], result[RELOAD_WHY_LEN + 16];
	struct audit_record rec = { .event = "config-reload", .who = who, .result = result };

	forget_last(&c->reload);
	c->reload.refused = true;
	c->reload.d = *d;
	snprintf(result, sizeof(result), "refused: %s", reload_why(c, why));
	rec.subject = json_pack("{s:o}", "config", json_text(c->config_path));
	rec.before = json_pack("{s:o}", "configDigest", reload_digest(c));
	rec.after = json_incref(rec.before);
	audit_note(c->audit, &rec);
	log_error("%s; the configuration in force stays", why);
}

static int
read_handed(const struct controller *c, const struct sup_reload *f, struct msg *m, struct diag *d,
    struct config **ret)
{
	if (f->error == -ENOENT && c->config->text == NULL)
		return config_new(ret);
	if (f->error < 0 || m->n_fds == 0) {
		diag_set(d, 0, 0, "%s", strerror(f->error < 0 ? -f->error : EBADF));
		return -EINVAL;
	}
	return config_read(m->fds[0], d, ret);
}

void
reload_on_file(struct controller *c, struct msg *m)
{
	_cleanup_(config_freep) struct config *fresh = NULL;
	struct reload *l = &c->reload;
	struct actor signaller = { .is_process = true };
	const struct actor *who = NULL;
	struct diag d = { 0 };
	struct sup_reload f;
	int r;

	memcpy(&f, m->body, sizeof(f));
	if (f.number != 0 && f.number == l->asked) {
		who = &l->who;
	} else if (f.pid != 0) {
		signaller.pid = f.pid;
		signaller.uid = f.uid;
		snprintf(signaller.name, sizeof(signaller.name), "uid:%u", f.uid);
		actor_look(&signaller);
		who = &signaller;
	}
	r = read_handed(c, &f, m, &d, &fresh);
	if (r == 0) {
		forget_last(l);
		r = take(c, &fresh, who, &d);
	}
	if (r < 0 && d.msg[0] == '\0')
		diag_set(&d, 0, 0, "%s", strerror(-r));
	if (r < 0)
		refuse(c, who, &d);
	else
		log_info("%s: read again, %zu settings changed, %zu wait for a restart",
		    c->config_path, json_array_size(l->changed), json_array_size(l->restart));
	if (f.number != 0)
		l->done = f.number;
}

int
reload_start(struct controller *c, bool again, int error, struct diag *d)
{
	_cleanup_(config_freep) struct config *kept = NULL;
	char path[PATH_MAX], why[RELOAD_WHY_LEN];
	struct diag ignored;

	c->reload.at_ns = now_real();
	snprintf(path, sizeof(path), "%s/%s", c->state_dir, KEPT);
	if (again && (error < 0 || c->config->text == NULL) &&
	    config_load(path, &ignored, &kept) == 0 && kept->text != NULL) {
		if (error == 0)
			diag_set(d, 0, 0, "%s", strerror(ENOENT));
		config_free(c->config);
		c->config = steal_ptr(kept);
		c->reload.refused = true;
		c->reload.d = *d;
		log_error("%s; going on with the last good one, %s", reload_why(c, why), path);
		return 0;
	}
	if (error == 0)
		keep(c);
	return error;
}

json_t *
reload_to_json(const struct controller *c)
{
	const struct reload *l = &c->reload;
	json_t *error = json_null();

	if (l->refused) {
		error = json_pack("{s:o}", "message", json_text(l->d.msg));
		if (l->d.line != 0) {
			json_object_set_new(error, "line", json_integer(l->d.line));
			json_object_set_new(error, "column", json_integer(l->d.col));
		}
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:b, s:o, s:O?, s:O?, s:O?}", "path",
	    json_text(c->config_path), "digest", reload_digest(c), "started",
	    json_time(c->started_ns), "read", json_time(l->at_ns), "asked", (json_int_t)l->asked,
	    "done", (json_int_t)l->done, "refused", l->refused, "error", error, "changed",
	    l->changed, "restart", l->restart, "unknownGroups", l->groups);
}
