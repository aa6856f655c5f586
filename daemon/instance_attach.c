/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instances and the warden: a namespace is attached (its sockets come here, and observation
 * begins), tried again where that fails, and let go. What its conntrack table holds and forgets is
 * told along with it.
 */
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/instance_internal.h"
#include "daemon/labels.h"
#include "daemon/log.h"
#include "daemon/observe.h"
#include "daemon/promote.h"
#include "daemon/start.h"

#include <errno.h>
#include <string.h>

void
instance_detach(struct instance *i)
{
	struct w_cookie body = { .cookie = i->ns.cookie };

	if (i->attach == ATTACH_NONE)
		return;
	role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_RELEASE, 0, &body, sizeof(body));
	i->attach = ATTACH_NONE;
}

void
instance_attach(struct instance *i)
{
	struct w_attach body = {
		.cookie = i->ns.cookie,
		.host = i->is_host,
		.rcvbuf = i->ctl->config->event_buffer,
	};

	if (i->attach != ATTACH_NONE)
		return;
	if (role_send(&i->ctl->loop, ROLE_WARDEN, MSG_W_ATTACH, 0, &body, sizeof(body)) == 0)
		i->attach = ATTACH_ASKED;
}

void
instance_attach_again(struct instance *i)
{
	if (i->attach != ATTACH_FAILED)
		return;
	i->attach = ATTACH_NONE;
	instance_attach(i);
}

/* It may pass, and without the sockets there are no rules. */
static void
attach_failed(struct instance *i, int error)
{
	uint64_t wait_s = MIN(1ULL << MIN(i->attach_failures, 6u), 60ULL);

	if (i->attach_error != error)
		log_warn("instance %s: not observed, trying again: %s", instance_log_id(i),
		    strerror(-error));
	i->attach = ATTACH_FAILED;
	i->attach_error = error;
	i->attach_failures++;
	i->attach_retry_ns = now_mono() + wait_s * NSEC_PER_SEC;
}

void
instance_let_go(struct instance *i)
{
	instance_detach(i);
	observe_stop(i);
	i->has_applied = false;
	i->apply_seq = 0;
}

void
instance_check_headroom(struct instance *i)
{
	uint32_t percent = i->ctl->config->conntrack_alert;
	bool was_full = i->ct_alert;

	i->ct_alert = i->ct_count.max != 0 &&
		      (uint64_t)i->ct_count.count * 100 >= (uint64_t)i->ct_count.max * percent;
	if (i->ct_alert)
		complete_on_loss(i, LOSS_TABLE);
	if (i->ct_alert && !was_full)
		log_error("instance %s: conntrack holds %u of %u entries: raise "
			  "net.netfilter.nf_conntrack_max",
		    instance_log_id(i), i->ct_count.count, i->ct_count.max);
}

void
instance_on_ct_stats(struct instance *i, const struct w_ct_stats *s)
{
	/* Less than before: a processor's counter has wrapped. */
	uint64_t more = s->dropped - MIN(s->dropped, i->ct_count.dropped);

	i->ct_count = *s;
	i->ct_forgotten += more;
	if (more > 0)
		complete_on_loss(i, LOSS_TABLE);
	instance_check_headroom(i);
}

void
instance_on_attached(struct controller *c, struct msg *m)
{
	struct w_attached a;
	struct instance *i;
	int r;

	memcpy(&a, m->body, sizeof(a));
	i = instance_find(c, a.cookie);
	if (i == NULL || i->attach != ATTACH_ASKED)
		return;
	i->attached = a;
	instance_set_settling(i, false);
	if (a.error < 0 || m->n_fds != 4) {
		attach_failed(i, a.error < 0 ? a.error : -EPROTO);
		return;
	}
	i->attach = ATTACH_DONE;
	foreign_on_holder(i, a.holder);
	i->attached_ns = now_mono();
	if (a.adopted == 0)
		tables_strike(c, a.cookie);
	else
		i->tampered_ns = tables_changed(c, a.cookie, a.kernel);
	if (i->tampered_ns != 0)
		log_error("instance %s: its table was changed while nobody of ours was there: "
			  "loading its rules",
		    instance_log_id(i));
	start_on_attached(i);
	i->ct_count = (struct w_ct_stats){
		.cookie = a.cookie, .count = a.ct_count, .max = a.ct_max, .dropped = a.ct_dropped
	};
	r = observe_start(i, m);
	if (r < 0) {
		observe_stop(i);
		attach_failed(i, r);
	} else {
		i->attach_error = 0;
		i->attach_failures = 0;
		labels_ask(i);
	}
	enforce_first(i);
	enforce_schedule(c);
}
