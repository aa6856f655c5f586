/* SPDX-License-Identifier: GPL-2.0-or-later */
/* parse(emit(p)) == p, in YAML and in JSON, whatever a container is called. */
#include "rules/policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const names[] = { "a", "shop/api", "a\nb", "a\r\n- x: y", "\"quoted\"", "it's",
	"a: b", "a #b", "-", "- x", "---", "...", "host", "internet", "multicast", "workload:x",
	"true", "null", "~", "no", "123", "-1", "0x1f", "1.5", "2026-01-01", "{host: true}", "[x]",
	"&a", "*a", "!a", "%a", "@a", "`a", "|", ">", "?", " a", "a ", "\t", "../../etc/passwd",
	"\\", "\\x41", "\\xff", "a\\", "\x1b[2J", "\x7f", "\x80", "\xff\xfe", "k\xc3\xb6ln", "\xc3",
	"\xed\xa0\x80", "\xe2\x80\xae", "\xe2\x80\xa8", "\xc2\x85", "\xef\xbb\xbf", "\xef\xbf\xbf",
	"\xf0\x9f\x9a\x80", "\xf4\x8f\xbf\xbf", "<script>", "escaped", "a,b", "a}b", "=", "<<" };

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
assert_labels_equal(
    const struct policy_label *a, size_t n_a, const struct policy_label *b, size_t n_b)
{
	assert_int_equal(n_a, n_b);
	for (size_t i = 0; i < n_a; i++) {
		assert_string_equal(a[i].key, b[i].key);
		assert_string_equal(a[i].value, b[i].value);
	}
}

static const struct policy_edge *
find_edge(const struct policy *p, const char *id)
{
	for (size_t i = 0; i < p->n_edges; i++)
		if (strcmp(p->edges[i].id, id) == 0)
			return &p->edges[i];
	fail_msg("edge %s is lost", id);
	return NULL;
}

/* Equal but for the order of the lists and the lines. */
static void
assert_policies_equal(const struct policy *a, const struct policy *b)
{
	assert_true(same_text(a->name, b->name));
	assert_int_equal(a->revision, b->revision);
	assert_int_equal(a->n_networks, b->n_networks);
	assert_int_equal(a->n_workloads, b->n_workloads);
	assert_int_equal(a->n_edges, b->n_edges);
	for (size_t i = 0; i < a->n_networks; i++) {
		const struct policy_network *n = policy_find_network(b, a->networks[i].name);

		assert_non_null(n);
		assert_int_equal(n->n_prefixes, a->networks[i].n_prefixes);
		assert_memory_equal(
		    n->prefixes, a->networks[i].prefixes, n->n_prefixes * sizeof(*n->prefixes));
	}
	for (size_t i = 0; i < a->n_workloads; i++) {
		const struct policy_workload *w = &a->workloads[i];
		const struct policy_workload *v = policy_find_workload(b, w->name);

		assert_non_null(v);
		assert_int_equal(w->mode, v->mode);
		assert_int_equal(w->direction, v->direction);
		assert_labels_equal(w->selector, w->n_selector, v->selector, v->n_selector);
		assert_labels_equal(w->labels, w->n_labels, v->labels, v->n_labels);
	}
	for (size_t i = 0; i < a->n_edges; i++) {
		const struct policy_edge *e = &a->edges[i], *f = find_edge(b, e->id);

		assert_true(peer_eq(&e->from, &f->from));
		assert_true(peer_eq(&e->to, &f->to));
		assert_int_equal(e->proto, f->proto);
		assert_int_equal(e->port_lo, f->port_lo);
		assert_int_equal(e->port_hi, f->port_hi);
		assert_int_equal(e->state, f->state);
		assert_true(same_text(e->reason, f->reason));
		assert_true(same_text(e->ticket, f->ticket));
		assert_true(e->expires_ns == f->expires_ns);
	}
}

static char *
copy(const char *text)
{
	char *c = strdup(text);

	assert_non_null(c);
	return c;
}

static void
edge_fill(struct policy_edge *e, struct peer to, uint8_t proto, uint16_t lo, uint16_t hi)
{
	*e = (struct policy_edge){
		.from = { .kind = PEER_WORKLOAD, .name = copy("a") },
		.to = to,
		.proto = proto,
		.port_lo = lo,
		.port_hi = hi,
		.state = EDGE_APPROVED,
	};
	edge_id_format(edge_key_number(&e->from, &e->to, proto, lo, hi), e->id);
}

/* A workload and an edge for each hostile name, and an edge for each other kind of peer. */
static struct policy *
hostile_policy(void)
{
	struct prefix v4, v6;
	struct policy *p = calloc(1, sizeof(*p));
	struct policy_network *net;
	size_t n = 0;

	assert_non_null(p);
	assert_int_equal(prefix_parse("10.0.0.0/8", &v4), 0);
	assert_int_equal(prefix_parse("2001:db8::1", &v6), 0);
	p->name = copy("a: \"b\"\n");
	p->revision = INT64_MAX;
	net = p->networks = calloc(1, sizeof(*p->networks));
	p->n_networks = 1;
	net->name = copy("123");
	net->prefixes = calloc(2, sizeof(*net->prefixes));
	net->n_prefixes = 2;
	net->prefixes[0] = v6;
	net->prefixes[1] = v4;
	p->workloads = calloc(ARRAY_SIZE(names), sizeof(*p->workloads));
	p->edges = calloc(ARRAY_SIZE(names) + 8, sizeof(*p->edges));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++, n++) {
		p->workloads[i].name = copy(names[i]);
		p->workloads[i].mode = (enum wl_mode)(i % 3);
		p->workloads[i].direction = (enum wl_direction)(i % 3 + 1);
		edge_fill(&p->edges[n],
		    (struct peer){ .kind = PEER_WORKLOAD, .name = copy(names[i]) }, IPPROTO_TCP,
		    (uint16_t)(i + 1), (uint16_t)(i + 1 + i % 2));
		p->edges[n].state = (enum edge_state)(i % 3 + 1);
		if (text_is_utf8(names[i], strlen(names[i])))
			p->edges[n].reason = copy(names[i]);
	}
	p->n_workloads = ARRAY_SIZE(names);
	p->workloads[0].labels = calloc(1, sizeof(struct policy_label));
	p->workloads[0].n_labels = 1;
	p->workloads[0].labels[0].key = copy("yes");
	p->workloads[0].labels[0].value = copy("no: \n\xe2\x80\xae");
	edge_fill(&p->edges[n++], (struct peer){ .kind = PEER_HOST }, IPPROTO_ICMP, 8 << 8, 8 << 8);
	edge_fill(
	    &p->edges[n++], (struct peer){ .kind = PEER_INTERNET }, IPPROTO_ICMPV6, 0xffff, 0xffff);
	edge_fill(&p->edges[n++], (struct peer){ .kind = PEER_MULTICAST }, IPPROTO_UDP, 5353, 5353);
	edge_fill(&p->edges[n++], (struct peer){ .kind = PEER_CIDR, .prefix = v4 }, IPPROTO_SCTP, 1,
	    65535);
	edge_fill(
	    &p->edges[n++], (struct peer){ .kind = PEER_CIDR, .prefix = v6 }, IPPROTO_UDP, 1, 1);
	edge_fill(
	    &p->edges[n++], (struct peer){ .kind = PEER_ADDR, .prefix = v6 }, IPPROTO_UDP, 1, 1);
	edge_fill(&p->edges[n++], (struct peer){ .kind = PEER_FQDN, .name = copy("*.a.example") },
	    IPPROTO_TCP, 443, 443);
	edge_fill(&p->edges[n++], (struct peer){ .kind = PEER_NETWORK, .name = copy("123") },
	    IPPROTO_TCP, 443, 443);
	p->edges[n - 1].ticket = copy("OPS-1");
	p->edges[n - 1].expires_ns = 1798761599ULL * NSEC_PER_SEC + 1;
	p->n_edges = n;
	return p;
}

static struct policy *
parsed(const char *text)
{
	struct policy *p = NULL;
	struct diag d;

	if (policy_parse(text, strlen(text), &d, &p) < 0)
		fail_msg("%u:%u: %s in\n%s", d.line, d.col, d.msg, text);
	return p;
}

static void
yaml_survives_any_name(void **state)
{
	_cleanup_(policy_freep) struct policy *p = hostile_policy(), *q = NULL;
	_cleanup_free_ char *once = NULL, *twice = NULL;

	assert_int_equal(policy_to_yaml(p, &once), 0);
	q = parsed(once);
	assert_policies_equal(p, q);
	assert_policies_equal(q, p);
	assert_int_equal(policy_to_yaml(q, &twice), 0);
	assert_string_equal(once, twice);
}

static void
json_survives_any_name(void **state)
{
	static const size_t flags[] = { 0, JSON_COMPACT, JSON_INDENT(2), JSON_ENSURE_ASCII,
		JSON_ENSURE_ASCII | JSON_INDENT(4), JSON_ESCAPE_SLASH | JSON_SORT_KEYS };
	_cleanup_(policy_freep) struct policy *p = hostile_policy();
	json_t *tree = policy_to_json(p);

	assert_non_null(tree);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		_cleanup_free_ char *text = json_dumps(tree, flags[i]);
		_cleanup_(policy_freep) struct policy *q = parsed(text);

		assert_policies_equal(p, q);
	}
	json_decref(tree);
}

static void
yaml_shows_nothing_that_a_terminal_would_obey(void **state)
{
	_cleanup_(policy_freep) struct policy *p = hostile_policy();
	_cleanup_free_ char *yaml = NULL;

	assert_int_equal(policy_to_yaml(p, &yaml), 0);
	for (const char *c = yaml; *c != '\0'; c++)
		assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
}

static void
the_form_is_the_documented_one(void **state)
{
	static const char text[] =
	    "apiVersion: nanoseg/v1\n"
	    "kind: SegmentPolicy\n"
	    "metadata: {name: shop, revision: 12}\n"
	    "networks:\n"
	    "  office: [10.20.0.0/16, \"fd00::/8\"]\n"
	    "workloads:\n"
	    "- {name: shop/api, selector: {compose.project: shop}, mode: enforce, "
	    "direction: both, labels: {scope: pci}}\n"
	    "edges:\n"
	    "- {id: ID, from: shop/web, to: shop/api, proto: tcp, port: "
	    "8080, state: approved, reason: \"web calls api\"}\n";
	_cleanup_(policy_freep) struct policy *p = NULL;
	_cleanup_free_ char *yaml = NULL;
	char given[1024], expected[1024];
	const char *id = strstr(text, "id: ID, ");

	snprintf(given, sizeof(given), "%.*s%s", (int)(id - text), text, id + strlen("id: ID, "));
	p = parsed(given);
	snprintf(expected, sizeof(expected), "%.*sid: %s, %s", (int)(id - text), text,
	    p->edges[0].id, id + strlen("id: ID, "));
	assert_int_equal(policy_to_yaml(p, &yaml), 0);
	assert_string_equal(yaml, expected);
}

static void
order_in_memory_does_not_show(void **state)
{
	_cleanup_(policy_freep) struct policy *p = hostile_policy();
	_cleanup_free_ char *a = NULL, *b = NULL;

	assert_int_equal(policy_to_yaml(p, &a), 0);
	for (size_t i = 0; i < p->n_edges / 2; i++) {
		struct policy_edge e = p->edges[i];

		p->edges[i] = p->edges[p->n_edges - 1 - i];
		p->edges[p->n_edges - 1 - i] = e;
	}
	for (size_t i = 0; i < p->n_workloads / 2; i++) {
		struct policy_workload w = p->workloads[i];

		p->workloads[i] = p->workloads[p->n_workloads - 1 - i];
		p->workloads[p->n_workloads - 1 - i] = w;
	}
	assert_int_equal(policy_to_yaml(p, &b), 0);
	assert_string_equal(a, b);
}

static void
an_empty_policy_is_a_policy(void **state)
{
	struct policy p = { 0 };
	_cleanup_(policy_freep) struct policy *q = NULL;
	_cleanup_free_ char *yaml = NULL;

	assert_int_equal(policy_to_yaml(&p, &yaml), 0);
	q = parsed(yaml);
	assert_policies_equal(&p, q);
}

static void
a_reason_that_is_not_utf8_stays_readable(void **state)
{
	_cleanup_(policy_freep) struct policy *p = hostile_policy(), *q = NULL;
	_cleanup_free_ char *yaml = NULL;

	free(p->edges[0].reason);
	p->edges[0].reason = copy("bad \xff byte");
	assert_int_equal(policy_to_yaml(p, &yaml), 0);
	q = parsed(yaml);
	assert_string_equal(find_edge(q, p->edges[0].id)->reason, "bad \\xff byte");
}

static void
an_unknown_kind_of_peer_has_no_form(void **state)
{
	struct peer p = { .kind = PEER_NONE };

	assert_null(peer_to_policy_json(&p));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(yaml_survives_any_name),
		cmocka_unit_test(json_survives_any_name),
		cmocka_unit_test(yaml_shows_nothing_that_a_terminal_would_obey),
		cmocka_unit_test(the_form_is_the_documented_one),
		cmocka_unit_test(order_in_memory_does_not_show),
		cmocka_unit_test(an_empty_policy_is_a_policy),
		cmocka_unit_test(a_reason_that_is_not_utf8_stays_readable),
		cmocka_unit_test(an_unknown_kind_of_peer_has_no_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
