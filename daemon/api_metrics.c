/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /metrics, in OpenMetrics (https://prometheus.io/docs/specs/om/open_metrics_spec/). Every set of
 * labels is bounded by this program: no name of a container or workload is one.
 */
#include "config.h"
#include "daemon/alert.h"
#include "daemon/api.h"
#include "daemon/denial.h"
#include "daemon/image.h"
#include "daemon/instance.h"
#include "daemon/promote.h"
#include "daemon/roster.h"
#include "daemon/segment.h"
#include "daemon/start.h"
#include "netlink/ct.h"
#include "rules/complete.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In nanoseconds, and as they are written. */
static const struct {
	uint64_t ns;
	const char *text;
} bounds[HISTOGRAM_BOUNDS] = {
	{ 1 * NSEC_PER_MSEC, "0.001" },
	{ 5 * NSEC_PER_MSEC, "0.005" },
	{ 10 * NSEC_PER_MSEC, "0.01" },
	{ 25 * NSEC_PER_MSEC, "0.025" },
	{ 50 * NSEC_PER_MSEC, "0.05" },
	{ 100 * NSEC_PER_MSEC, "0.1" },
	{ 250 * NSEC_PER_MSEC, "0.25" },
	{ 500 * NSEC_PER_MSEC, "0.5" },
	{ 1 * NSEC_PER_SEC, "1.0" },
	{ 2 * NSEC_PER_SEC, "2.0" },
	{ 5 * NSEC_PER_SEC, "5.0" },
};

void
histogram_add(struct histogram *h, uint64_t ns)
{
	size_t k = 0;

	while (k < ARRAY_SIZE(bounds) && ns > bounds[k].ns)
		k++;
	h->buckets[k]++;
	h->count++;
	h->sum_ns += ns;
}

static void
family(FILE *f, const char *name, const char *type, const char *help)
{
	const char *unit = strstr(name, "_seconds");

	fprintf(f, "# TYPE nanoseg_%s %s\n# HELP nanoseg_%s %s\n", name, type, name, help);
	if (unit != NULL && strcmp(unit, "_seconds") == 0)
		fprintf(f, "# UNIT nanoseg_%s seconds\n", name);
}

static void
labelled(FILE *f, const char *name, const char *label, const char *value, uint64_t n)
{
	fprintf(f, "nanoseg_%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, n);
}

static void
gauge(FILE *f, const char *name, const char *help, uint64_t n)
{
	family(f, name, "gauge", help);
	fprintf(f, "nanoseg_%s %" PRIu64 "\n", name, n);
}

static void
counter(FILE *f, const char *name, const char *help, uint64_t n)
{
	family(f, name, "counter", help);
	fprintf(f, "nanoseg_%s_total %" PRIu64 "\n", name, n);
}

/* label: `kind="gated"` or "". */
static void
histogram(FILE *f, const char *name, const char *label, const struct histogram *h)
{
	const char *comma = *label != '\0' ? "," : "", *open = *label != '\0' ? "{" : "",
		   *close = *label != '\0' ? "}" : "";
	uint64_t n = 0;

	for (size_t k = 0; k <= HISTOGRAM_BOUNDS; k++) {
		n += h->buckets[k];
		fprintf(f, "nanoseg_%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, label, comma,
		    k < HISTOGRAM_BOUNDS ? bounds[k].text : "+Inf", n);
	}
	fprintf(f, "nanoseg_%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, h->count);
	fprintf(f, "nanoseg_%s_sum%s%s%s %" PRIu64 ".%09" PRIu64 "\n", name, open, label, close,
	    (uint64_t)(h->sum_ns / NSEC_PER_SEC), (uint64_t)(h->sum_ns % NSEC_PER_SEC));
}

/* One walk over the instances. */
struct sums {
	uint64_t full, partial, no, behind, quarantined;
	uint64_t ct_entries, lost_events, ct_forgotten;
	double ct_ratio;
};

static void
add_instance(struct sums *s, const struct instance *i)
{
	const char *why, *grade = instance_grade(i, &why);

	s->ct_entries += i->ct_count.count;
	if (i->ct_count.max != 0)
		s->ct_ratio = MAX(s->ct_ratio, (double)i->ct_count.count / (double)i->ct_count.max);
	s->lost_events += i->ct_stats.lost;
	s->ct_forgotten += i->ct_forgotten;
	if (i->is_host)
		return;
	if (strcmp(grade, "full") == 0)
		s->full++;
	else if (strcmp(grade, "partial") == 0)
		s->partial++;
	else
		s->no++;
	s->quarantined += instance_is_quarantined(i);
	s->behind += i->workload != NULL && workload_selected(i->ctl, i->workload->name) &&
		     i->applied_revision != i->ctl->revision;
}

static void
write_instances(FILE *f, const struct sums *s)
{
	family(f, "instances", "gauge",
	    "Namespaces of containers, and containers in the host's, by how far they can be "
	    "enforced.");
	labelled(f, "instances", "enforceable", "full", s->full);
	labelled(f, "instances", "enforceable", "partial", s->partial);
	labelled(f, "instances", "enforceable", "no", s->no);
	gauge(f, "instances_behind", "Instances without the newest revision's rules.", s->behind);
	gauge(f, "instances_quarantined", "Instances closed for want of an identity.",
	    s->quarantined);
	gauge(f, "conntrack_entries", "Entries of all connection tables.", s->ct_entries);
	family(f, "conntrack_max_ratio", "gauge", "Share in use of the fullest connection table.");
	fprintf(f, "nanoseg_conntrack_max_ratio %.6f\n", s->ct_ratio);
}

static void
write_policy(FILE *f, struct controller *c)
{
	uint64_t modes[3] = { 0 }, states[3] = { 0 }, overdue = 0, now = now_real();
	static const enum wl_mode all_modes[] = { MODE_OBSERVE, MODE_AUDIT, MODE_ENFORCE };
	static const enum edge_state all_states[] = { EDGE_PENDING, EDGE_APPROVED, EDGE_DENIED };
	const struct edge *e;
	size_t pos = 0;

	for (const struct workload *w = c->workloads; w != NULL; w = w->next)
		for (size_t k = 0; k < ARRAY_SIZE(all_modes); k++)
			modes[k] += w->mode == all_modes[k] && workload_selected(c, w->name);
	while ((e = edge_table_next(c->edges, &pos)) != NULL) {
		uint64_t due = recertify_due_ns(c, e);

		for (size_t k = 0; k < ARRAY_SIZE(all_states); k++)
			states[k] += e->state == all_states[k];
		overdue += due != 0 && due <= now && segment_edge_selected(c, e);
	}
	family(f, "workloads", "gauge", "Workloads, by mode.");
	for (size_t k = 0; k < ARRAY_SIZE(all_modes); k++)
		labelled(f, "workloads", "mode", mode_name(all_modes[k]), modes[k]);
	family(f, "edges", "gauge", "Edges, by state.");
	for (size_t k = 0; k < ARRAY_SIZE(all_states); k++)
		labelled(f, "edges", "state", edge_state_name(all_states[k]), states[k]);
	gauge(f, "edges_overdue", "Approvals that nobody has looked at for too long.", overdue);
	gauge(f, "instances_unapproved", "Containers whose image may not run.",
	    image_count_unapproved(c));
	gauge(f, "revision", "The newest revision of the policy.", c->revision);
}

static void
write_events(FILE *f, struct controller *c, const struct sums *s)
{
	const struct metrics *m = &c->metrics;
	uint64_t events = s->lost_events, forgotten = s->ct_forgotten;

	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		events += w->lost_events;
		forgotten += w->ct_forgotten;
	}
	family(f, "flow_events", "counter", "Connections seen, by verdict.");
	for (uint8_t k = FLOW_ANSWERED; k <= FLOW_AUDITED; k++)
		labelled(f, "flow_events_total", "verdict", flow_verdict(k), m->flow_events[k]);
	counter(f, "spoofed_flows",
	    "Answered connections that the owner of their source address has not made.",
	    c->spoofed);
	family(f, "lost", "counter", "What was not seen or not kept, by where it was lost.");
	labelled(f, "lost_total", "source", "conntrack", events);
	labelled(f, "lost_total", "source", "conntrack_table", forgotten);
	labelled(f, "lost_total", "source", "reports", c->capture.nflog_lost);
	labelled(f, "lost_total", "source", "capture_ring", c->capture.ring_dropped);
	labelled(f, "lost_total", "source", "capture_unsent", c->capture.unsent);
	labelled(f, "lost_total", "source", "unidentified", c->waiting_lost);
	labelled(f, "lost_total", "source", "unresolved", c->unresolved);
	labelled(f, "lost_total", "source", "edge_table", edge_table_overflow(c->edges));
	labelled(f, "lost_total", "source", "attempts", attempt_lost(c->attempts));
	labelled(f, "lost_total", "source", "denials", denial_evicted(c->denials));
}

/* How far what is known of workloads goes. */
static void
write_completeness(FILE *f, struct controller *c)
{
	uint64_t complete = 0, incomplete = 0, bounded = 0, unbounded = 0,
		 lossy[LOSS_SOURCES] = { 0 };

	if (complete_update(c, COMPLETE_FRESH_NS) < 0)
		return;
	for (const struct workload *w = c->workloads; w != NULL; w = w->next) {
		if (!workload_selected(c, w->name))
			continue;
		complete += w->complete.windows;
		incomplete += w->complete.incomplete_windows;
		bounded += w->complete.why == COMPLETE_CLAIMED;
		unbounded += w->complete.why != COMPLETE_CLAIMED;
		for (unsigned k = 0; k < LOSS_SOURCES; k++)
			lossy[k] += w->loss_sources >> k & 1;
	}
	family(f, "windows", "gauge",
	    "Hours of workloads, or runs of short-lived ones, by whether something may have been "
	    "missed in them.");
	labelled(f, "windows", "observed", "complete", complete);
	labelled(f, "windows", "observed", "incomplete", incomplete);
	family(f, "workloads_completeness", "gauge",
	    "Workloads, by whether the edges to come can be bounded.");
	labelled(f, "workloads_completeness", "bound", "claimed", bounded);
	labelled(f, "workloads_completeness", "bound", "none", unbounded);
	family(f, "workloads_lossy", "gauge",
	    "Workloads of which something was missed since nanosegd began, by where it was lost.");
	for (unsigned k = 0; k < LOSS_SOURCES; k++)
		labelled(f, "workloads_lossy", "source", complete_loss_name((enum loss_source)k),
		    lossy[k]);
}

static void
write_enforcement(FILE *f, const struct metrics *m)
{
	counter(f, "ruleset_applies", "Rulesets loaded and read back.", m->applies);
	counter(f, "ruleset_refreshes",
	    "Of those, for the addresses of local workloads alone, which only decide how a "
	    "connection is refused.",
	    m->refreshes);
	counter(
	    f, "ruleset_apply_failures", "Rulesets that could not be loaded.", m->apply_failures);
	counter(f, "foreign_tables",
	    "Times that somebody else owned the table of an instance's rules.", m->foreign);
	counter(f, "ruleset_drift", "Rulesets that were found changed from outside.", m->drift);
	family(f, "self_test_probes", "counter",
	    "Probes that rules have to refuse, by what became of them.");
	labelled(f, "self_test_probes_total", "result", "denied", m->selftest.denied);
	labelled(f, "self_test_probes_total", "result", "passed", m->selftest.passed);
	labelled(f, "self_test_probes_total", "result", "unclear", m->selftest.unclear);
	counter(f, "cut_connections",
	    "Live connections cut because the policy allows them no more.", m->cut);
	family(f, "ruleset_apply_seconds", "histogram", "Time to load a ruleset and read it back.");
	histogram(f, "ruleset_apply_seconds", "", &m->apply);
	family(f, "name_late_seconds", "histogram",
	    "How long after a name server's answer, at most, rules with its addresses were in "
	    "force.");
	histogram(f, "name_late_seconds", "", &m->named);
	family(f, "starts", "counter", "Instances, by how they were started.");
	for (int k = 0; k < START_KINDS; k++)
		labelled(
		    f, "starts_total", "kind", start_kind_name((enum start_kind)k), m->starts[k]);
	family(f, "start_lead_seconds", "histogram",
	    "How long, at least, an instance was held before its program began.");
	histogram(f, "start_lead_seconds", "kind=\"gated\"", &m->lead[START_GATED]);
	histogram(f, "start_lead_seconds", "kind=\"closed\"", &m->lead[START_CLOSED]);
	family(f, "start_late_seconds", "histogram",
	    "How long, at most, a program ran before its instance was held or observed.");
	histogram(f, "start_late_seconds", "", &m->late);
	family(f, "start_gate_wait_seconds", "histogram",
	    "Time from a container's question to the start gate to the answer.");
	histogram(f, "start_gate_wait_seconds", "", &m->gate_wait);
}

static void
write_alerts(FILE *f, const struct controller *c)
{
	struct alert_delivery ways[SINK_COUNT_];
	struct alert_counts k;

	if (c->alerts == NULL)
		return;
	alerts_count(c->alerts, &k);
	alert_spool_deliveries(c->alert_spool, ways);
	family(f, "alerts_raised", "counter", "What people were to be told of, by kind.");
	for (int i = 0; i < ALERT_KINDS; i++)
		labelled(f, "alerts_raised_total", "kind", alert_kind_name((enum alert_kind)i),
		    k.raised[i]);
	counter(f, "alerts_told", "Alerts, each of which stands for one or more of those raised.",
	    k.told);
	counter(f, "alerts_repeated", "What alerts stand for beyond themselves.", k.repeated);
	gauge(f, "alerts_pending", "Raised and not told yet.", k.waiting);
	counter(f, "alerts_lost", "Raised and never told: too many subjects at once.", k.lost);
	gauge(f, "alerts_undelivered", "Told, but not delivered everywhere yet.",
	    alert_spool_waiting(c->alert_spool));
	family(f, "alerts_delivered", "counter", "Alerts delivered, by where to.");
	for (int i = 0; i < SINK_COUNT_; i++)
		labelled(f, "alerts_delivered_total", "to", ways[i].to, ways[i].delivered);
	family(
	    f, "alerts_delivery_lost", "counter", "Alerts that were not delivered, by where to.");
	for (int i = 0; i < SINK_COUNT_; i++)
		labelled(f, "alerts_delivery_lost_total", "to", ways[i].to, ways[i].lost);
	family(f, "alerts_delivery_failures", "counter",
	    "Failed attempts to deliver, by where to; each is tried again.");
	for (int i = 0; i < SINK_COUNT_; i++)
		labelled(f, "alerts_delivery_failures_total", "to", ways[i].to, ways[i].failures);
}

char *
metrics_text(struct controller *c)
{
	struct sums s = { 0 };
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool failed;

	if (f == NULL)
		return NULL;
	for (const struct instance *i = c->instances; i != NULL; i = i->next)
		add_instance(&s, i);
	family(f, "build", "info", "The version that runs.");
	fprintf(f, "nanoseg_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	s.no += c->n_hosted;
	write_instances(f, &s);
	write_policy(f, c);
	write_events(f, c, &s);
	write_completeness(f, c);
	write_enforcement(f, &c->metrics);
	write_alerts(f, c);
	family(f, "name_answers", "counter",
	    "Answers of name servers with addresses, by whether they count.");
	labelled(f, "name_answers_total", "result", "taken", c->names.answers);
	labelled(f, "name_answers_total", "result", "untrusted", c->names.untrusted);
	labelled(f, "name_answers_total", "result", "unasked", c->capture.dns_unasked);
	labelled(f, "name_answers_total", "result", "broken", c->capture.dns_broken);
	fputs("# EOF\n", f);
	failed = ferror(f) != 0;
	if (fclose(f) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
