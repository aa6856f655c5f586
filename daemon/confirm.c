/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See confirm.h. */
#include "daemon/alert.h"
#include "daemon/aside.h"
#include "daemon/confirm.h"
#include "daemon/denial.h"
#include "daemon/promote.h"
#include "daemon/store.h"

#include "daemon/api.h"
#include "daemon/log.h"
#include "daemon/segment_internal.h"
#include "daemon/statefile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "confirm.json"
#define FILE_MAX 4096
#define RETRY_NS (10 * NSEC_PER_SEC)
#define ALARM_WINDOW_NS (300 * NSEC_PER_SEC)
#define ALARM_EVERY_NS (3600 * NSEC_PER_SEC)

static const struct actor daemon_actor = { .name = "commit-confirm" };

static int
save(const struct controller *c)
{
	const struct confirm *f = &c->confirm;
	char boot[BOOT_ID_STRLEN];

	return statefile_write(c->state_dir, FILE_NAME,
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "revision",
		(json_int_t)f->revision, "previous", (json_int_t)f->previous, "windowNs",
		(json_int_t)f->window_ns, "madeNs", (json_int_t)f->made_ns, "untilNs",
		(json_int_t)f->until_ns, "deadlineNs", (json_int_t)f->deadline_ns, "boot",
		boot_id(boot), "by", f->by));
}

int
confirm_arm(struct controller *c, uint64_t revision, uint64_t window_ns, const struct actor *who)
{
	uint64_t now = now_real();
	int r;

	c->confirm = (struct confirm){ .revision = revision,
		.previous = c->revision,
		.window_ns = window_ns,
		.made_ns = now,
		.until_ns = now + window_ns,
		.deadline_ns = now_mono() + window_ns };
	snprintf(c->confirm.by, sizeof(c->confirm.by), "%s", who->name);
	r = save(c);
	if (r == 0) {
		c->confirm.pending = true;
		denial_mark_steady(c->denials, now);
	}
	return r;
}

void
confirm_disarm(struct controller *c)
{
	int r = statefile_remove(c->state_dir, FILE_NAME);

	/* It names a revision that is no longer the newest: the next start removes it. */
	if (r < 0)
		log_warn("%s/%s cannot be removed: %s", c->state_dir, FILE_NAME, strerror(-r));
	c->confirm.pending = false;
}

static int
parse(const json_t *o, struct confirm *f, char boot[static BOOT_ID_STRLEN])
{
	json_int_t revision, previous, window, made, until, deadline;
	const char *file_boot, *by;

	if (json_unpack((json_t *)o, "{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s !}", "revision",
		&revision, "previous", &previous, "windowNs", &window, "madeNs", &made, "untilNs",
		&until, "deadlineNs", &deadline, "boot", &file_boot, "by", &by) < 0 ||
	    revision < 1 || previous < 0 || previous >= revision || window < 0 ||
	    (uint64_t)window > CONFIRM_MAX_NS || made < 0 || until < made || deadline < 0 ||
	    strlen(file_boot) >= BOOT_ID_STRLEN || strlen(by) >= sizeof(f->by))
		return -EBADMSG;
	*f = (struct confirm){ .revision = (uint64_t)revision,
		.previous = (uint64_t)previous,
		.window_ns = (uint64_t)window,
		.made_ns = (uint64_t)made,
		.until_ns = (uint64_t)until,
		.deadline_ns = (uint64_t)deadline };
	memcpy(f->by, by, strlen(by) + 1);
	memcpy(boot, file_boot, strlen(file_boot) + 1);
	return 0;
}

/* After a reboot: what is left by the time of day; nothing if that is before the change. */
static uint64_t
left_by_wall(const struct confirm *f, uint64_t now)
{
	if (now < f->made_ns || now >= f->until_ns)
		return 0;
	return MIN(f->until_ns - now, f->window_ns);
}

int
confirm_load(struct controller *c, struct diag *d)
{
	char boot[BOOT_ID_STRLEN], now_boot[BOOT_ID_STRLEN];
	struct confirm f;
	json_t *o = NULL;
	int r = statefile_read(c->state_dir, FILE_NAME, FILE_MAX, &o);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = parse(o, &f, boot);
	json_decref(o);
	if (r < 0) {
		diag_set(d, 0, 0,
		    "%s/%s cannot be read: %s; it says when a change is to be taken back: look at "
		    "it, then remove it",
		    c->state_dir, FILE_NAME, strerror(-r));
		return r;
	}
	c->confirm = f;
	if (f.revision != c->revision) {
		confirm_disarm(c);
		return 0;
	}
	c->confirm.pending = true;
	/* What was refused meanwhile nobody has counted: it is watched for the whole time again. */
	if (strcmp(f.by, promotion_actor.name) == 0) {
		c->confirm.made_ns = now_real();
		c->confirm.until_ns = c->confirm.made_ns + f.window_ns;
		c->confirm.deadline_ns = now_mono() + f.window_ns;
		save(c);
	} else if (strcmp(boot, boot_id(now_boot)) != 0) {
		c->confirm.deadline_ns = now_mono() + left_by_wall(&f, now_real());
		save(c);
	}
	return 0;
}

int
confirm_get_revision(struct controller *c, uint64_t revision, struct policy **ret, struct diag *d)
{
	_cleanup_free_ char *text = NULL;
	int r;

	if (revision == 0) {
		*ret = calloc(1, sizeof(**ret));
		return *ret != NULL ? 0 : -ENOMEM;
	}
	r = store_get_revision(c->store, revision, &text);
	if (r == -ENOENT)
		diag_set(
		    d, 0, 0, "revision %" PRIu64 " does not exist, or is no longer kept", revision);
	return r == 0 ? policy_parse_apart(text, strlen(text), d, ret) : r;
}

int
confirm_roll_back(struct controller *c, uint64_t revision, const char *reason,
    const struct actor *who, struct diag *d)
{
	_cleanup_(policy_free_apart) struct policy *p = NULL;
	char text[96];
	int r;

	if (revision >= c->revision) {
		diag_set(d, 0, 0,
		    revision == c->revision ? "revision %" PRIu64 " is in force"
					    : "there is no revision %" PRIu64 " yet",
		    revision);
		return -EINVAL;
	}
	r = confirm_get_revision(c, revision, &p, d);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "rolled back to revision %" PRIu64, revision);
	return segment_restore(c, p, reason != NULL ? reason : text, who, d);
}

int
confirm_accept(struct controller *c, uint64_t revision, const char *reason, const struct actor *who,
    struct diag *d)
{
	struct confirm *f = &c->confirm;
	struct audit_record rec = { .event = "confirm", .who = who, .reason = reason };
	int r;

	if (!f->pending) {
		diag_set(d, 0, 0, "no change awaits confirmation");
		return -ENOENT;
	}
	if (revision != 0 && revision != f->revision) {
		diag_set(d, 0, 0, "revision %" PRIu64 " awaits confirmation, not %" PRIu64,
		    f->revision, revision);
		return -ESTALE;
	}
	rec.after = revision_json(c->revision, c->policy_digest);
	r = audit_write(c->audit, &rec, d);
	if (r == 0)
		r = statefile_remove(c->state_dir, FILE_NAME);
	if (r < 0) {
		if (d->msg[0] == '\0')
			diag_set(d, 0, 0, "%s cannot be removed, the change is not confirmed: %s",
			    FILE_NAME, strerror(-r));
		return r;
	}
	f->pending = false;
	log_info("revision %" PRIu64 " is confirmed by %s", f->revision, who->name);
	return 0;
}

/* Of what was seen under an edge of its own or a wider one, and nobody has meant to refuse. */
static bool
went_through(
    struct controller *c, const struct edge_key *key, const struct tuple *t, uint64_t before_ns)
{
	const struct edge *edges[] = { edge_table_find(c->edges, key),
		edge_table_serving(c->edges, key, t), edge_table_withdrawn(c->edges, key, t) };
	bool seen = false;

	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		if (edges[i] == NULL)
			continue;
		if (edges[i]->state == EDGE_DENIED)
			return false;
		seen |= edges[i]->evidence.first_seen_ns != 0 &&
			edges[i]->evidence.first_seen_ns < before_ns;
	}
	return seen;
}

void
confirm_on_refused(struct controller *c, const struct edge_key *key, const struct tuple *t,
    uint64_t count, bool was_steady)
{
	uint32_t limit = c->config->rollback_denials;
	struct confirm *f = &c->confirm;
	uint64_t now;

	if (limit == 0 || (f->pending && was_steady) ||
	    !went_through(c, key, t, f->pending ? f->made_ns : UINT64_MAX))
		return;
	if (f->pending) {
		f->refused += count;
		f->spiked |= f->refused >= limit;
		return;
	}
	now = now_mono();
	if (now - f->alarm_since_ns >= ALARM_WINDOW_NS) {
		f->alarm_since_ns = now;
		f->alarm_refused = 0;
	}
	f->alarm_refused += count;
	if (f->alarm_refused < limit ||
	    (f->alarmed_ns != 0 && now - f->alarmed_ns < ALARM_EVERY_NS))
		return;
	f->alarmed_ns = now;
	alert_raise(c, ALERT_DENIAL_BURST, ALERT_ERROR, NULL, NULL,
	    "%" PRIu64
	    " connections refused in 5 minutes that went through before; nothing is opened",
	    f->alarm_refused);
	log_warn("%" PRIu64
		 " connections refused in 5 minutes that went through before; nothing is "
		 "opened: see nanoseg denials, and nanoseg rollback",
	    f->alarm_refused);
}

static void
take_back(void *arg)
{
	struct controller *c = arg;
	struct confirm *f = &c->confirm;
	struct diag d = { 0 };
	char reason[128];
	int r;

	if (f->spiked)
		snprintf(reason, sizeof(reason),
		    "%" PRIu64
		    " connections were refused that went through before revision %" PRIu64,
		    f->refused, f->revision);
	else
		snprintf(reason, sizeof(reason), "revision %" PRIu64 " was not confirmed in time",
		    f->revision);
	r = confirm_roll_back(c, f->previous, reason, &daemon_actor, &d);
	if (r == 0) {
		alert_raise(c, ALERT_ROLLBACK, ALERT_ERROR, NULL, NULL,
		    "%s: rolled back to revision %" PRIu64, reason, f->previous);
		log_warn("%s: rolled back to revision %" PRIu64, reason, f->previous);
		return;
	}
	f->retry_ns = now_mono() + RETRY_NS;
	log_error("%s, but rolling back to revision %" PRIu64 " fails, trying again in 10 s: %s",
	    reason, f->previous, d.msg[0] != '\0' ? d.msg : strerror(-r));
}

static void
taken_back(void *arg)
{
	struct controller *c = arg;

	c->changing = false;
	api_next(c->api);
}

void
confirm_tick(struct controller *c)
{
	const struct confirm *f = &c->confirm;
	uint64_t now = now_mono();

	if (c->changing || !f->pending || now < f->retry_ns || (!f->spiked && now < f->deadline_ns))
		return;
	c->changing = true;
	if (aside_start(c->loop.base, take_back, taken_back, c) > 0)
		taken_back(c);
}

json_t *
json_confirm(const struct controller *c)
{
	const struct confirm *f = &c->confirm;
	uint64_t now = now_mono();

	if (!f->pending)
		return json_null();
	return json_pack("{s:I, s:I, s:s, s:o, s:I, s:I, s:o}", "revision", (json_int_t)f->revision,
	    "previous", (json_int_t)f->previous, "by", f->by, "until", json_time(f->until_ns),
	    "secondsLeft",
	    (json_int_t)(f->deadline_ns > now ? (f->deadline_ns - now) / NSEC_PER_SEC : 0),
	    "refused", (json_int_t)f->refused, "rollbackAt",
	    c->config->rollback_denials != 0 ? json_integer(c->config->rollback_denials)
					     : json_null());
}
