/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The validator: what it accepts, and where and how it refuses. */
#include "rules/policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define HEAD "apiVersion: nanoseg/v1\nkind: SegmentPolicy\n"
/* The edge begins in line 4, column 5. */
#define EDGE(text) HEAD "edges:\n  - " text "\n"
#define PEER(text) EDGE("{from: " text ", to: a, proto: tcp, port: 1, state: denied}")
#define PORT(text) EDGE("{from: a, to: b, proto: tcp, port: " text ", state: denied}")

struct refusal {
	const char *text;
	unsigned line, col;
	const char *msg;
};

static void
check_refused(const struct refusal *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct policy *p = NULL;
		struct diag d = { 0 };

		if (policy_parse(c[i].text, strlen(c[i].text), &d, &p) != -EINVAL)
			fail_msg("accepted: %s", c[i].text);
		assert_null(p);
		if (d.line != c[i].line || d.col != c[i].col || strstr(d.msg, c[i].msg) == NULL)
			fail_msg("%s:\n got %u:%u: %s\nwant %u:%u: %s", c[i].text, d.line, d.col,
			    d.msg, c[i].line, c[i].col, c[i].msg);
	}
}

static struct policy *
parsed(const char *text)
{
	struct policy *p = NULL;
	struct diag d;

	if (policy_parse(text, strlen(text), &d, &p) < 0)
		fail_msg("%s: %u:%u: %s", text, d.line, d.col, d.msg);
	return p;
}

static void
the_frame_of_the_file_is_checked(void **state)
{
	static const struct refusal cases[] = {
		{ "", 1, 1, "the file is empty, expected a policy (apiVersion: nanoseg/v1)" },
		{ "[]", 1, 1, "expected a mapping for a policy, found a list" },
		{ "hello", 1, 1, "expected a mapping for a policy, found a text" },
		{ "kind: SegmentPolicy\n", 1, 1, "a policy needs 'apiVersion'" },
		{ "apiVersion: nanoseg/v1\n", 1, 1, "a policy needs 'kind'" },
		{ "apiVersion: nanoseg/v2\nkind: SegmentPolicy\n", 1, 13,
		    "unknown apiVersion 'nanoseg/v2', this program reads 'nanoseg/v1'" },
		{ "apiVersion: 1\nkind: SegmentPolicy\n", 1, 13,
		    "expected nanoseg/v1, found a number" },
		{ "apiVersion: nanoseg/v1\nkind: NetworkPolicy\n", 2, 7,
		    "unknown kind 'NetworkPolicy', this program reads 'SegmentPolicy'" },
		{ HEAD "egdes: []\n", 3, 1,
		    "unknown key 'egdes' in a policy, did you mean 'edges'?" },
		{ HEAD "Workloads: []\n", 3, 1, "did you mean 'workloads'?" },
		{ HEAD "rules: []\n", 3, 1, "unknown key 'rules' in a policy" },
		{ HEAD "\"\\e[31m\": 1\n", 3, 1, "unknown key '\\x1b[31m' in a policy" },
		{ HEAD "edges: {}\n", 3, 8, "expected a list of edges, found a mapping" },
		{ HEAD "edges:\n", 3, 7, "expected a list of edges, found nothing" },
		{ HEAD "edges: [true]\n", 3, 9, "expected a mapping for an edge, found true" },
		{ HEAD "metadata: x\n", 3, 11, "expected a mapping for the metadata" },
		{ HEAD "metadata: {revision: -1}\n", 3, 22,
		    "-1 is out of range, expected a revision from 0" },
		{ HEAD "metadata: {revision: '1'}\n", 3, 22, "expected a revision, found a text" },
		{ HEAD "metadata: {name: 7}\n", 3, 18,
		    "expected a name, found a number; if text is meant, put it in quotes" },
		{ HEAD "edges: []\nedges: []\n", 4, 1,
		    "key 'edges' is given twice, first in line 3" },
	};

	check_refused(cases, ARRAY_SIZE(cases));
}

static void
workloads_are_checked(void **state)
{
	static const struct refusal cases[] = {
		{ HEAD "workloads: [{}]\n", 3, 13, "a workload needs 'name'" },
		{ HEAD "workloads: [{name: ''}]\n", 3, 20,
		    "expected a workload's name, found an empty" },
		{ HEAD "workloads: [{name: 123}]\n", 3, 20, "found a number; if text is meant" },
		{ HEAD "workloads: [{name: true}]\n", 3, 20, "found true; if text is meant" },
		{ HEAD "workloads: [{name: a, mode: enforced}]\n", 3, 29,
		    "unknown mode 'enforced', did you mean 'enforce'?" },
		{ HEAD "workloads: [{name: a, mode: off}]\n", 3, 29,
		    "unknown mode 'off', expected observe, audit or enforce" },
		{ HEAD "workloads: [{name: a, mode: true}]\n", 3, 29,
		    "expected mode (observe, audit or enforce), found true" },
		{ HEAD "workloads: [{name: a, direction: in}]\n", 3, 34,
		    "unknown direction 'in', expected ingress, egress or both" },
		{ HEAD "workloads: [{name: a, labels: [x]}]\n", 3, 31,
		    "expected a mapping of labels" },
		{ HEAD "workloads: [{name: a, labels: {x: 1}}]\n", 3, 35,
		    "found a number; if text is meant, put it in quotes" },
		{ HEAD "workloads: [{name: a, lables: {}}]\n", 3, 23, "did you mean 'labels'?" },
		{ HEAD "workloads:\n- {name: a}\n- {name: b}\n- {name: a}\n", 6, 3,
		    "workload 'a' is given twice, first in line 4" },
		{ HEAD "workloads:\n- {name: a}\n- {name: {escaped: a}}\n", 5, 3, "given twice" },
		{ HEAD "workloads: [{name: {escaped: 'a\\x00'}}]\n", 3, 30, "bad escape" },
		{ HEAD "workloads: [{name: {escaped: 'a\\'}}]\n", 3, 30, "bad escape" },
		{ HEAD "workloads: [{name: {escaped: 'a\\n'}}]\n", 3, 30, "bad escape" },
		{ HEAD "workloads: [{name: {escaped: '\\u{d800}'}}]\n", 3, 30, "bad escape" },
		{ HEAD "workloads: [{name: {escaped: '\\u{110000}'}}]\n", 3, 30, "bad escape" },
		{ HEAD "workloads: [{name: {escaped: '\\u{41'}}]\n", 3, 30, "bad escape" },
		{ HEAD "workloads: [{name: {escape: a}}]\n", 3, 21, "did you mean 'escaped'?" },
	};

	check_refused(cases, ARRAY_SIZE(cases));
}

static void
networks_are_checked(void **state)
{
	static const struct refusal cases[] = {
		{ HEAD "networks: []\n", 3, 11, "expected a mapping from a network's name" },
		{ HEAD "networks: {a: 10.0.0.0/8}\n", 3, 15,
		    "expected a list of prefixes, found a text" },
		{ HEAD "networks: {a: []}\n", 3, 15, "a network needs at least one prefix" },
		{ HEAD "networks: {-a: [10.0.0.0/8]}\n", 3, 12, "a network's name has" },
		{ HEAD "networks: {'a b': [10.0.0.0/8]}\n", 3, 12, "a network's name has" },
		{ HEAD "networks: {a: [10.1.0.0/8]}\n", 3, 16,
		    "'10.1.0.0/8' has bits set behind its length, did you mean 10.0.0.0/8?" },
		{ HEAD "networks: {a: ['fd00::1/64']}\n", 3, 16, "did you mean fd00::/64?" },
		{ HEAD "networks: {a: [10.0.0.0/33]}\n", 3, 16, "'10.0.0.0/33' is not a prefix" },
		{ HEAD "networks: {a: [10.0.0/8]}\n", 3, 16, "'10.0.0/8' is not a prefix" },
		{ HEAD "networks: {a: [1]}\n", 3, 16, "expected a prefix such as" },
		{ HEAD "networks: {a: [1.0.0.0/8], a: [2.0.0.0/8]}\n", 3, 28, "given twice" },
		{ HEAD "networks: {office: [10.0.0.0/8]}\nedges:\n  - {from: {network: offices}, "
		       "to: a, "
		       "proto: tcp, port: 1, state: denied}\n",
		    5, 22, "unknown network 'offices', did you mean 'office'?" },
		{ PEER("{network: office}"), 4, 22,
		    "network 'office' is not declared under 'networks'" },
	};

	check_refused(cases, ARRAY_SIZE(cases));
}

static void
peers_are_checked(void **state)
{
	static const struct refusal cases[] = {
		{ PEER("10"), 4, 12, "expected a workload's name" },
		{ PEER("{}"), 4, 12, "a peer has exactly one of" },
		{ PEER("{host: true, internet: true}"), 4, 12, "a peer has exactly one of" },
		{ PEER("{host: false}"), 4, 19, "expected true, found false" },
		{ PEER("{host: yes}"), 4, 19, "expected true, found a text" },
		{ PEER("{hots: true}"), 4, 13,
		    "unknown key 'hots' in a peer, did you mean 'host'?" },
		{ PEER("{workload: x}"), 4, 13, "unknown key 'workload' in a peer" },
		{ PEER("{cidr: 10.0.0.5/24}"), 4, 19, "did you mean 10.0.0.0/24?" },
		{ PEER("{address: 10.0.0.0/24}"), 4, 22, "for a prefix use cidr" },
		{ PEER("{address: db}"), 4, 22, "'db' is not an address" },
		{ PEER("{multicast: true}"), 4, 12, "multicast can only be a destination" },
		{ EDGE("{from: {internet: true}, to: {internet: true}, proto: tcp, port: 1, state: "
		       "pending}"),
		    4, 5, "an edge from internet to internet" },
		{ EDGE("{from: {host: true}, to: {cidr: 10.0.0.0/8}, proto: tcp, port: 1, state: "
		       "approved}"),
		    4, 5, "neither end is a workload" },
		{ PEER("{fqdn: 'a.*.b'}"), 4, 19, "only a whole first label can be a wildcard" },
		{ PEER("{fqdn: '*a.b'}"), 4, 19, "only a whole first label can be a wildcard" },
		{ PEER("{fqdn: '*'}"), 4, 19, "only a whole first label can be a wildcard" },
		{ PEER("{fqdn: '*.*.b'}"), 4, 19, "only a whole first label can be a wildcard" },
		{ PEER("{fqdn: '*.'}"), 4, 19, "is not a domain name" },
		{ PEER("{fqdn: a..b}"), 4, 19, "a label has 1 to 63 characters" },
		{ PEER("{fqdn: .a}"), 4, 19, "a label has 1 to 63 characters" },
		{ PEER("{fqdn: a.b.}"), 4, 19, "leave out the dot at the end" },
		{ PEER("{fqdn: -a.b}"), 4, 19, "neither begins nor ends with '-'" },
		{ PEER("{fqdn: a-.b}"), 4, 19, "neither begins nor ends with '-'" },
		{ PEER("{fqdn: a b.c}"), 4, 19, "expected letters, digits" },
		{ PEER("{fqdn: 10.0.0.1}"), 4, 19, "that is an address" },
		{ PEER("{fqdn: ''}"), 4, 19, "found an empty text" },
		{ PEER(
		      "{fqdn: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b}"),
		    4, 19, "a label has 1 to 63 characters" },
	};

	check_refused(cases, ARRAY_SIZE(cases));
}

static void
edges_are_checked(void **state)
{
	static const struct refusal cases[] = {
		{ EDGE("{to: b, proto: tcp, port: 1, state: denied}"), 4, 5,
		    "an edge needs 'from'" },
		{ EDGE("{from: a, to: b, port: 1, state: denied}"), 4, 5, "an edge needs 'proto'" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1}"), 4, 5, "an edge needs 'state'" },
		{ EDGE("{from: a, to: b, prto: tcp, port: 1, state: denied}"), 4, 22,
		    "unknown key 'prto' in an edge, did you mean 'proto'?" },
		{ EDGE("{from: a, to: b, proto: tpc, port: 1, state: denied}"), 4, 29,
		    "unknown protocol 'tpc', did you mean 'tcp'?" },
		{ EDGE("{from: a, to: b, proto: gre, port: 1, state: denied}"), 4, 29,
		    "unknown protocol 'gre', expected tcp, udp, sctp, icmp or icmpv6" },
		{ EDGE("{from: a, to: b, proto: 6, port: 1, state: denied}"), 4, 29,
		    "found a number" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1, state: approve}"), 4, 50,
		    "unknown state 'approve', did you mean 'approved'?" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1, state: yes}"), 4, 50,
		    "unknown state 'yes', expected pending, approved or denied" },
		{ EDGE("{from: a, to: b, proto: tcp, state: denied}"), 4, 5,
		    "tcp needs a 'port': a number (8080) or a range (\"8000-8010\")" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1, type: 8, state: denied}"), 4, 43,
		    "tcp has no 'type', it has a 'port'" },
		{ EDGE("{from: a, to: b, proto: icmp, port: 8, state: denied}"), 4, 35,
		    "icmp has no 'port', it has a 'type'" },
		{ EDGE("{from: a, to: b, proto: icmpv6, state: denied}"), 4, 5,
		    "icmpv6 needs a 'type' from 0 to 255" },
		{ EDGE("{from: a, to: b, proto: icmp, type: 256, state: denied}"), 4, 41,
		    "256 is out of range, expected a type from 0 to 255" },
		{ EDGE("{from: a, to: b, proto: icmp, type: 8, code: -1, state: denied}"), 4, 50,
		    "-1 is out of range, expected a code from 0 to 255" },
		{ PORT("0"), 4, 40, "port 0 is out of range, expected 1 to 65535" },
		{ PORT("65536"), 4, 40, "port 65536 is out of range, expected 1 to 65535" },
		{ PORT("-1"), 4, 40, "port -1 is out of range" },
		{ PORT("20-10"), 4, 40, "the range 20-10 runs backwards, did you mean 10-20?" },
		{ PORT("0-10"), 4, 40, "port 0 is out of range" },
		{ PORT("1-65536"), 4, 40, "port 65536 is out of range" },
		{ PORT("1-9999999999"), 4, 40, "is not a port" },
		{ PORT("http"), 4, 40,
		    "'http' is not a port, expected a number (8080) or a range" },
		{ PORT("1-2-3"), 4, 40, "is not a port" },
		{ PORT("1 - 2"), 4, 40, "is not a port" },
		{ PORT("'8080'"), 4, 40, "leave out the quotes" },
		{ PORT("[80, 81]"), 4, 40, "found a list" },
		{ PORT("80.5"), 4, 40, "'80.5' is not a port" },
		{ EDGE("{id: e-000000000000, from: a, to: b, proto: tcp, port: 1, state: denied}"),
		    4, 10, "id 'e-000000000000' is not this edge's, expected e-" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1, state: denied, reason: 7}"), 4, 66,
		    "expected a reason, found a number" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1, state: denied, expires: soon}"), 4,
		    67, "'soon' is not a time, expected one such as 2027-01-31T12:00:00Z" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1, state: denied}\n"
		       "  - {from: b, to: a, proto: tcp, port: 1, state: denied}\n"
		       "  - {from: a, to: b, proto: tcp, port: 1-1, state: approved}"),
		    6, 5, "is given twice, first in line 4" },
		{ EDGE("{from: a, to: {fqdn: A.b}, proto: tcp, port: 1, state: denied}\n"
		       "  - {from: a, to: {fqdn: a.B}, proto: tcp, port: 1, state: denied}"),
		    5, 5, "is given twice, first in line 4" },
		{ EDGE("{from: a, to: b, proto: tcp, port: 1, state: denied, proto: udp}"), 4, 58,
		    "key 'proto' is given twice" },
		{ EDGE("&e {from: a, to: b, proto: tcp, port: 1, state: denied}\n  - *e"), 4, 5,
		    "anchors" },
	};

	check_refused(cases, ARRAY_SIZE(cases));
}

static void
long_texts_are_refused(void **state)
{
	char name[PEER_NAME_MAX + 2], text[2048];
	struct policy *p = NULL;
	struct diag d;

	memset(name, 'n', sizeof(name));
	name[PEER_NAME_MAX] = '\0';
	snprintf(text, sizeof(text), HEAD "workloads: [{name: %s}]\n", name);
	policy_free(parsed(text));
	name[PEER_NAME_MAX] = 'n';
	name[PEER_NAME_MAX + 1] = '\0';
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
		    i == 0 ? HEAD "workloads: [{name: %s}]\n"
			   : HEAD "workloads: [{name: {escaped: %s}}]\n",
		    name);
		assert_int_equal(policy_parse(text, strlen(text), &d, &p), -EINVAL);
		assert_non_null(strstr(d.msg, "at most 512 bytes"));
	}
}

static void
values_arrive_as_written(void **state)
{
	_cleanup_(policy_freep) struct policy *p = parsed(HEAD
	    "metadata: {name: shop, revision: 12}\n"
	    "networks: {office: [10.20.0.0/16, 'fd00::/8'], lab: [192.0.2.1]}\n"
	    "workloads:\n"
	    "  - {name: shop/api, selector: {compose.project: shop}, mode: enforce,\n"
	    "     direction: ingress, labels: {scope: pci}}\n"
	    "  - {name: no}\n"
	    "edges:\n"
	    "  - {from: shop/api, to: {fqdn: '*.S3.amazonaws.com'}, proto: tcp, port: 443,\n"
	    "     state: approved, reason: backup, ticket: T-1, expires: 2026-12-31,\n"
	    "     approvedBy: {anything: [goes]}, evidence: null}\n"
	    "  - {from: {network: office}, to: host, proto: udp, port: 8000-8010, state: denied}\n"
	    "  - {from: {host: true}, to: '123', proto: icmpv6, type: 128, code: 3, state: "
	    "pending}\n"
	    "  - {from: {address: 'fd00::5'}, to: {escaped: 'a\\xffb\\\\'}, proto: icmp, type: 8,\n"
	    "     state: pending}\n");
	const struct policy_edge *e = p->edges;

	assert_string_equal(p->name, "shop");
	assert_int_equal(p->revision, 12);
	assert_int_equal(p->n_networks, 2);
	assert_int_equal(policy_find_network(p, "office")->n_prefixes, 2);
	assert_null(policy_find_network(p, "home"));
	assert_int_equal(policy_find_workload(p, "shop/api")->mode, MODE_ENFORCE);
	assert_int_equal(policy_find_workload(p, "shop/api")->direction, WL_INGRESS);
	assert_string_equal(policy_find_workload(p, "shop/api")->selector[0].value, "shop");
	assert_string_equal(policy_find_workload(p, "shop/api")->labels[0].key, "scope");
	assert_int_equal(policy_find_workload(p, "no")->mode, MODE_OBSERVE);
	assert_int_equal(policy_find_workload(p, "no")->direction, WL_BOTH);
	assert_null(policy_find_workload(p, "shop"));
	assert_int_equal(p->n_edges, 4);
	assert_string_equal(e[0].to.name, "*.s3.amazonaws.com");
	assert_int_equal(e[0].line, 10);
	assert_int_equal(e[0].state, EDGE_APPROVED);
	assert_string_equal(e[0].reason, "backup");
	assert_string_equal(e[0].ticket, "T-1");
	assert_true(e[0].expires_ns == 1798675200 * NSEC_PER_SEC);
	assert_int_equal(e[1].from.kind, PEER_NETWORK);
	assert_int_equal(e[1].to.kind, PEER_WORKLOAD);
	assert_string_equal(e[1].to.name, "host");
	assert_int_equal(e[1].proto, IPPROTO_UDP);
	assert_int_equal(e[1].port_lo, 8000);
	assert_int_equal(e[1].port_hi, 8010);
	assert_int_equal(e[2].from.kind, PEER_HOST);
	assert_string_equal(e[2].to.name, "123");
	assert_int_equal(e[2].port_lo, 128 << 8 | 3);
	assert_int_equal(e[2].port_hi, 128 << 8 | 3);
	assert_int_equal(e[3].from.kind, PEER_ADDR);
	assert_int_equal(e[3].from.prefix.len, 128);
	assert_string_equal(e[3].to.name, "a\xff"
					  "b\\");
	assert_int_equal(e[3].port_lo, 8 << 8);
}

static void
the_id_of_an_edge_may_be_given_if_it_is_right(void **state)
{
	struct policy *p = parsed(PORT("80"));
	char text[512];

	snprintf(text, sizeof(text),
	    EDGE("{id: %s, from: a, to: b, proto: tcp, port: 80, state: denied}"), p->edges[0].id);
	policy_free(p);
	policy_free(parsed(text));
}

/* n edges that differ in their ports and workloads. */
static char *
many_edges(size_t n)
{
	size_t size = n * 80 + 256, at;
	char *text = malloc(size);

	assert_non_null(text);
	at = (size_t)snprintf(text, size, HEAD "edges:\n");
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, size - at,
		    "- {from: a, to: w%zu, proto: tcp, port: %zu, state: approved}\n", i / 60000,
		    i % 60000 + 1);
	return text;
}

static void
one_edge_too_many_is_refused_and_the_most_are_read(void **state)
{
	char *text = many_edges(POLICY_MAX_EDGES);
	struct policy *p = parsed(text);
	struct diag d;

	assert_int_equal(p->n_edges, POLICY_MAX_EDGES);
	assert_int_equal(p->edges[POLICY_MAX_EDGES - 1].line, POLICY_MAX_EDGES + 3);
	policy_free(p);
	free(text);

	p = NULL;
	text = many_edges(POLICY_MAX_EDGES + 1);
	assert_int_equal(policy_parse(text, strlen(text), &d, &p), -EINVAL);
	assert_null(p);
	assert_int_equal(d.line, POLICY_MAX_EDGES + 4);
	assert_int_equal(d.col, 3);
	assert_string_equal(
	    d.msg, "too many: a list of edges may have at most 100000 items, found 100001");
	free(text);
}

static void
the_documented_example_is_valid(void **state)
{
	static const char fence[] = "```yaml\n";
	const char *top = getenv("top_srcdir");
	_cleanup_(policy_freep) struct policy *p = NULL;
	char path[4096], text[32768], *begin, *end;
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/docs/policy-file.md", top != NULL ? top : "..");
	f = fopen(path, "re");
	assert_non_null(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	begin = strstr(text, fence);
	assert_non_null(begin);
	begin += strlen(fence);
	end = strstr(begin, "\n```");
	assert_non_null(end);
	end[1] = '\0';
	p = parsed(begin);
	assert_int_equal(p->n_networks, 1);
	assert_int_equal(p->n_workloads, 4);
	assert_int_equal(p->n_edges, 12);
	assert_string_equal(p->edges[11].from.name, "job\n\xff");
}

static void
modes_and_directions_have_names(void **state)
{
	for (int m = MODE_OBSERVE; m <= MODE_ENFORCE; m++)
		assert_int_equal(mode_parse(mode_name((enum wl_mode)m)), m);
	for (int d = WL_INGRESS; d <= WL_BOTH; d++)
		assert_int_equal(direction_parse(direction_name((enum wl_direction)d)), d);
	assert_int_equal(mode_parse("Enforce"), -EINVAL);
	assert_int_equal(direction_parse(""), -EINVAL);
	assert_null(mode_name((enum wl_mode)7));
	assert_null(direction_name((enum wl_direction)0));
}

static void
a_mode_governs_its_direction_only(void **state)
{
	assert_int_equal(mode_in(MODE_ENFORCE, WL_INGRESS, DIR_INGRESS), MODE_ENFORCE);
	assert_int_equal(mode_in(MODE_ENFORCE, WL_INGRESS, DIR_EGRESS), MODE_OBSERVE);
	assert_int_equal(mode_in(MODE_AUDIT, WL_EGRESS, DIR_EGRESS), MODE_AUDIT);
	assert_int_equal(mode_in(MODE_AUDIT, WL_EGRESS, DIR_INGRESS), MODE_OBSERVE);
	assert_int_equal(mode_in(MODE_ENFORCE, WL_BOTH, DIR_INGRESS), MODE_ENFORCE);
	assert_int_equal(mode_in(MODE_ENFORCE, WL_BOTH, DIR_EGRESS), MODE_ENFORCE);
	assert_int_equal(mode_in(MODE_OBSERVE, WL_BOTH, DIR_EGRESS), MODE_OBSERVE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_frame_of_the_file_is_checked),
		cmocka_unit_test(workloads_are_checked),
		cmocka_unit_test(networks_are_checked),
		cmocka_unit_test(peers_are_checked),
		cmocka_unit_test(edges_are_checked),
		cmocka_unit_test(long_texts_are_refused),
		cmocka_unit_test(values_arrive_as_written),
		cmocka_unit_test(the_id_of_an_edge_may_be_given_if_it_is_right),
		cmocka_unit_test(one_edge_too_many_is_refused_and_the_most_are_read),
		cmocka_unit_test(the_documented_example_is_valid),
		cmocka_unit_test(modes_and_directions_have_names),
		cmocka_unit_test(a_mode_governs_its_direction_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
