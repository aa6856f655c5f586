/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel was read back with, on record: for each instance that is governed, the digest of
 * the rules asked for, the kernel's own and the time, whenever one of them changes; that it could
 * not be loaded; and that it is gone or governed no more. So that who asks later learns what stood
 * in the kernel then.
 *
 * Instances come and go by the thousand: what happens within a second is one record, and of more
 * than MAX_WAITING the oldest are counted only. A container that changes its addresses changes the
 * rules of all that may talk to it, as often as it likes: AT_ONCE entries are taken, and from then
 * on one every EVERY_NS, about a megabyte an hour. What is beyond that is counted.
 */
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/instance.h"
#include "daemon/roster.h"

#include "rules/json.h"

#include <stdio.h>
#include <string.h>

#define MAX_RECORD 256 /* entries */
#define MAX_WAITING 8192
#define AT_ONCE 16384
#define EVERY_NS (3600 * NSEC_PER_SEC / 2048)

static void
put_digest(json_t *o, const char *key, const uint8_t digest[static RULESET_DIGEST_LEN])
{
	char text[2 * RULESET_DIGEST_LEN + 1];

	for (size_t i = 0; i < RULESET_DIGEST_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	json_object_set_new(o, key, json_string(text));
}

static json_t *
entry_new(const struct instance *i)
{
	const struct workload *w = i->workload;

	return json_pack("{s:o, s:o, s:o, s:I}", "instance", json_text(instance_id(i)), "workload",
	    json_text(w != NULL ? w->name : NULL), "time", json_time(now_real()), "revision",
	    (json_int_t)i->asked_revision);
}

static bool
take_room(struct controller *c)
{
	uint64_t now = now_mono(), full = MAX(c->applied_full_ns, now) + EVERY_NS;

	if (full - now > AT_ONCE * EVERY_NS)
		return false;
	c->applied_full_ns = full;
	return true;
}

/* False: counted only. */
static bool
add(struct controller *c, json_t *entry)
{
	/* Without a log, as in tests, nobody takes them. */
	if (c->audit == NULL || entry == NULL) {
		json_decref(entry);
		return true;
	}
	if (!take_room(c)) {
		json_decref(entry);
		c->applied_missed++;
		return false;
	}
	if (c->applied_waiting == NULL)
		c->applied_waiting = json_array();
	if (json_array_size(c->applied_waiting) >= MAX_WAITING) {
		json_array_remove(c->applied_waiting, 0);
		c->applied_missed++;
	}
	json_array_append_new(c->applied_waiting, entry);
	return true;
}

static bool
is_governed(const struct instance *i)
{
	return i->asked_held || (i->workload != NULL && i->workload->mode != MODE_OBSERVE);
}

void
applied_on_read_back(struct instance *i)
{
	json_t *o;

	if (!is_governed(i)) {
		applied_on_gone(i, "not governed");
		return;
	}
	if (i->on_record && memcmp(i->recorded, i->loaded, sizeof(i->recorded)) == 0 &&
	    memcmp(i->recorded_kernel, i->kernel, sizeof(i->recorded_kernel)) == 0)
		return;
	o = entry_new(i);
	put_digest(o, "digest", i->loaded);
	put_digest(o, "kernel", i->kernel);
	if (!add(i->ctl, o))
		return;
	memcpy(i->recorded, i->loaded, sizeof(i->recorded));
	memcpy(i->recorded_kernel, i->kernel, sizeof(i->recorded_kernel));
	i->on_record = true;
}

void
applied_on_failure(struct instance *i, const char *why)
{
	json_t *o;

	/* The first of a row: it is tried again until it succeeds, and that is on record then. */
	if (i->apply_failures != 1 || !is_governed(i))
		return;
	o = entry_new(i);
	json_object_set_new(o, "failed", json_string(why));
	if (!add(i->ctl, o))
		return;
	i->on_record = true;
	memset(i->recorded, 0, sizeof(i->recorded));
}

void
applied_on_gone(struct instance *i, const char *why)
{
	json_t *o;

	if (!i->on_record)
		return;
	i->on_record = false;
	o = entry_new(i);
	json_object_set_new(o, "ended", json_string(why));
	add(i->ctl, o);
}

/* The first MAX_RECORD of those that wait. */
static json_t *
take_some(json_t *waiting)
{
	size_t n = MIN(json_array_size(waiting), (size_t)MAX_RECORD);
	json_t *ret = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append(ret, json_array_get(waiting, i));
	return ret;
}

static json_t *
workloads_of(const json_t *entries)
{
	json_t *seen = json_object(), *ret = json_array();
	const char *key;
	json_t *e;
	size_t i;

	json_array_foreach(entries, i, e)
	{
		const char *name = json_string_value(json_object_get(e, "workload"));

		if (name != NULL)
			json_object_set_new(seen, name, json_true());
	}
	json_object_foreach(seen, key, e)
	{
		json_array_append_new(ret, json_string(key));
	}
	json_decref(seen);
	return ret;
}

void
applied_flush(struct controller *c)
{
	struct audit_record r = { .event = "applied" };
	struct diag d;
	json_t *some;
	size_t n;

	if (json_array_size(c->applied_waiting) == 0)
		return;
	some = take_some(c->applied_waiting);
	n = json_array_size(some);
	r.subject = json_pack("{s:o, s:o, s:I}", "workloads", workloads_of(some), "instances", some,
	    "missed", (json_int_t)c->applied_missed);
	/* Not written: it waits for the log to be mended, which that says itself. */
	if (audit_write(c->audit, &r, &d) < 0)
		return;
	c->applied_missed = 0;
	while (n-- > 0)
		json_array_remove(c->applied_waiting, 0);
}
