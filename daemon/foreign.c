/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Somebody else owns a table of our name in an instance's namespace, see warden_foreign.c: said and
 * recorded when it begins and when it ends. Each at most every DRIFT_SAY_NS, as whoever is root
 * inside can do it all the time; what lasts is said then. While it lasts the instance has a host
 * guard, whatever it may do, unless hostGuard is off; the rules are asked for again and again, and
 * the warden closes the guard instead of loading them.
 */
#include "daemon/alert.h"
#include "daemon/controller.h"
#include "daemon/enforce.h"
#include "daemon/hostguard.h"
#include "daemon/instance.h"
#include "daemon/log.h"
#include "daemon/roster.h"
#include "rules/json.h"

static void
record(struct instance *i, const char *result, uint32_t port)
{
	struct audit_record r = { .event = "foreignTable", .result = result };

	r.subject = json_pack("{s:o, s:o, s:I, s:I}", "instance", json_text(instance_id(i)),
	    "workload", json_text(i->workload != NULL ? i->workload->name : NULL), "port",
	    (json_int_t)port, "times", (json_int_t)i->foreign.times);
	audit_note(i->ctl->audit, &r);
}

static void
say(struct instance *i)
{
	uint32_t port = i->table_holder;

	if (port != 0) {
		log_error("instance %s: its table is owned by somebody else (netlink port %u): its "
			  "rules cannot be loaded or relied upon; %s, trying again",
		    instance_log_id(i), port,
		    hostguard_is_wanted(i)
			? "the host guard lets nothing out of it if it is enforced"
			: "no host guard closes it");
		record(i, "held", port);
	} else {
		log_warn("instance %s: nobody else owns its table any more: loading its rules",
		    instance_log_id(i));
		record(i, "free", i->foreign.holder);
	}
}

void
foreign_tick(struct instance *i)
{
	uint64_t now = now_mono(), *said_ns = &i->foreign.said_ns[i->table_holder != 0];

	if (i->foreign.holder == i->table_holder ||
	    (*said_ns != 0 && now - *said_ns < DRIFT_SAY_NS))
		return;
	say(i);
	*said_ns = now;
	i->foreign.holder = i->table_holder;
	i->foreign.times = 0;
}

void
foreign_on_holder(struct instance *i, uint32_t port)
{
	if (port == i->table_holder)
		return;
	i->table_holder = port;
	i->ctl->metrics.foreign += port != 0;
	if (port != 0)
		alert_raise_instance(i, ALERT_FOREIGN_OWNER, ALERT_CRITICAL,
		    "its table is owned by somebody else (netlink port %u): its rules cannot be "
		    "loaded or relied upon",
		    port);
	i->foreign.times++;
	foreign_tick(i);
	i->match = false;
	i->apply_failures = 0;
	i->retry_at_ns = 0;
	enforce_schedule(i->ctl);
}

const char *
foreign_why(const struct instance *i)
{
	if (hostguard_closes(i))
		return "somebody else owns the table of its rules: they can be neither loaded nor "
		       "relied upon; until that ends its host guard lets nothing out of it, and "
		       "what is sent to it still arrives";
	return "somebody else owns the table of its rules: they can be neither loaded nor relied "
	       "upon, and no host guard closes it";
}
