/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The approved edges as NetworkPolicy and as CiliumNetworkPolicy: one for each enforced workload.
 * Neither says all that a nanoseg policy says: what is lost stands in a WARNING comment, beside the
 * rule where it is about one. Workloads are selected by the recommended labels (name, part-of),
 * which is an assumption, and said.
 */
#include "cli/export.h"

#include "cli/bundle.h"
#include "cli/show.h"
#include "rules/addr.h"
#include "rules/audit.h"
#include "rules/flow.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define NAME_LEN 64 /* a label's value, and an object's name as we make it */
#define MAX_FIELD 520

struct writer {
	const json_t *b;
	json_t *index; /* name -> {"in": [edge], "out": [edge]} */
	FILE *f;
	bool cilium, deny;
};

static void
warn(const struct writer *w, const char *indent, const char *what, const char *about)
{
	_cleanup_free_ char *safe = text_safe(about);

	fprintf(w->f, "%s# WARNING: %s%s%s\n", indent, what, about != NULL ? ": " : "",
	    about != NULL && safe != NULL ? safe : "");
}

/* Letters, digits and dashes, from a name of any kind; with a digest where that lost something. */
static void
make_name(const char *text, size_t len, bool dots, char ret[static NAME_LEN])
{
	char hash[AUDIT_HASH_STRLEN];
	bool same = len > 0 && len <= 48;
	size_t n = 0;

	for (size_t i = 0; i < len && n < 48; i++) {
		unsigned char c = (unsigned char)text[i];
		bool fits = c < 128 && (islower(c) || isdigit(c) || (dots && isupper(c)));

		if (c == '-' || (dots && (c == '_' || c == '.')))
			fits = n > 0 && i + 1 < len;
		ret[n++] = fits ? (char)c : '-';
		same &= fits;
	}
	while (n > 0 && !isalnum((unsigned char)ret[n - 1]))
		n--;
	ret[n] = '\0';
	if (same)
		return;
	for (n = 0; ret[n] != '\0' && !isalnum((unsigned char)ret[n]); n++)
		;
	memmove(ret, ret + n, strlen(ret + n) + 1);
	audit_digest(text, len, hash);
	n = strlen(ret);
	snprintf(ret + n, NAME_LEN - n, "%s%.8s", n > 0 ? "-" : "w-", hash);
}

static void
put_selector(const struct writer *w, const char *workload, const char *indent)
{
	const char *slash = strchr(workload, '/'), *prefix = w->cilium ? "k8s:" : "";
	const char *name = slash != NULL ? slash + 1 : workload;
	char label[NAME_LEN];

	fprintf(w->f, "%smatchLabels:\n", indent);
	if (slash != NULL) {
		make_name(workload, (size_t)(slash - workload), true, label);
		fprintf(
		    w->f, "%s  \"%sapp.kubernetes.io/part-of\": \"%s\"\n", indent, prefix, label);
	}
	make_name(name, strlen(name), true, label);
	fprintf(w->f, "%s  \"%sapp.kubernetes.io/name\": \"%s\"\n", indent, prefix, label);
	/* Without a project: not those of that name in all projects. */
	if (slash == NULL)
		fprintf(w->f,
		    "%smatchExpressions:\n%s  - key: \"%sapp.kubernetes.io/part-of\"\n%s    "
		    "operator: DoesNotExist\n",
		    indent, indent, prefix, indent);
}

/* "8000-8010" or 8080. False: there is none. */
static bool
get_ports(const json_t *e, unsigned *lo, unsigned *hi)
{
	if (json_is_integer(json_object_get(e, "port"))) {
		int64_t port = show_int(e, "port", 0);

		if (port < 1 || port > 65535)
			return false;
		*lo = *hi = (unsigned)port;
		return true;
	}
	return sscanf(show_text(e, "ports", ""), "%5u-%5u", lo, hi) == 2 && *lo >= 1 &&
	       *lo <= *hi && *hi <= 65535;
}

static bool
has_transport(const json_t *e, char ret[static 8])
{
	static const char *const known[] = { "tcp", "udp", "sctp" };
	const char *proto = show_text(e, "proto", "");

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i], proto) == 0) {
			for (size_t k = 0; k <= strlen(proto); k++)
				ret[k] = (char)toupper((unsigned char)proto[k]);
			return true;
		}
	return false;
}

static void
put_ports(const struct writer *w, const json_t *e)
{
	char proto[8] = "";
	unsigned lo = 0, hi = 0;

	has_transport(e, proto);
	get_ports(e, &lo, &hi);
	if (w->cilium) {
		fprintf(w->f, "      toPorts:\n        - ports:\n            - port: \"%u\"\n", lo);
		if (hi != lo)
			fprintf(w->f, "              endPort: %u\n", hi);
		fprintf(w->f, "              protocol: %s\n", proto);
		return;
	}
	fprintf(w->f, "      ports:\n        - protocol: %s\n          port: %u\n", proto, lo);
	if (hi != lo)
		fprintf(w->f, "          endPort: %u\n", hi);
}

static void
put_block(const struct writer *w, const char *side, const char *prefix, bool first)
{
	if (w->cilium) {
		if (first)
			fprintf(w->f, "    - %sCIDR:\n", side);
		fprintf(w->f, "        - \"%s\"\n", prefix);
		return;
	}
	if (first)
		fprintf(w->f, "    - %s:\n", side);
	fprintf(w->f, "        - ipBlock:\n            cidr: \"%s\"\n", prefix);
}

/* Only what parses is written: the text is ours then. */
static bool
put_prefix(const struct writer *w, const char *side, const char *text, bool first)
{
	char buf[PREFIX_STRLEN];
	struct prefix p;
	struct addr a;

	if (addr_parse(text, &a) == 0)
		p = (struct prefix){ .addr = a, .len = a.family == 6 ? 128 : 32 };
	else if (prefix_parse(text, &p) < 0)
		return false;
	put_block(w, side, prefix_format(&p, buf), first);
	return true;
}

static bool
put_network(const struct writer *w, const char *side, const char *name)
{
	const json_t *list = show_in(show_in(w->b, "networks"), name);
	bool some = false;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text != NULL && put_prefix(w, side, text, !some))
			some = true;
	}
	return some;
}

static bool
is_domain(const char *name)
{
	return *name != '\0' && strlen(name) <= 253 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-._*") == strlen(name);
}

/* The peer's part of a rule, up to its ports. NULL, or what cannot be said. */
static const char *
put_peer(const struct writer *w, const char *side, const char *peer)
{
	const char *name = show_workload(peer);

	if (name != NULL) {
		fprintf(w->f,
		    w->cilium ? "    - %sEndpoints:\n        -\n"
			      : "    - %s:\n        - podSelector:\n",
		    side);
		/* Cilium's selector is the item itself. */
		put_selector(w, name, w->cilium ? "          " : "            ");
		return NULL;
	}
	if (strcmp(peer, "internet") == 0) {
		warn(w, "    ",
		    "internet is written as every address that is not local; the public addresses "
		    "of workloads and "
		    "of the host, which nanoseg takes out, cannot be known here",
		    NULL);
		export_internet(w->f, side, w->cilium);
		return NULL;
	}
	if (strcmp(peer, "host") == 0) {
		if (!w->cilium)
			return "the node itself cannot be named; most plugins always allow it";
		fprintf(w->f, "    - %sEntities:\n        - host\n", side);
		return NULL;
	}
	if (strncmp(peer, "cidr:", 5) == 0 || strncmp(peer, "addr:", 5) == 0) {
		if (!put_prefix(w, side, peer + 5, true))
			return "not an address";
		warn(
		    w, "      ", "addresses of pods are not matched by a block of addresses", NULL);
		return NULL;
	}
	if (strncmp(peer, "network:", 8) == 0)
		return put_network(w, side, peer + 8) ? NULL : "the network has no addresses here";
	if (strncmp(peer, "fqdn:", 5) == 0) {
		if (w->deny)
			return "a denial of a domain name cannot be said";
		if (!w->cilium || strcmp(side, "to") != 0)
			return "a domain name cannot be said";
		if (!is_domain(peer + 5))
			return "not a domain name";
		fprintf(w->f, "    - toFQDNs:\n        - match%s: \"%s\"\n",
		    strchr(peer, '*') != NULL ? "Pattern" : "Name", peer + 5);
		warn(w, "      ", "toFQDNs needs a rule for DNS with an inspected port 53", NULL);
		return NULL;
	}
	return "this peer cannot be said";
}

static void
put_icmp(const struct writer *w, const json_t *e)
{
	bool six = strcmp(show_text(e, "proto", ""), "icmpv6") == 0;
	int64_t type = show_int(e, "type", 0);

	fprintf(w->f,
	    "      icmps:\n        - fields:\n            - family: %s\n              type: "
	    "%" PRId64 "\n",
	    six ? "IPv6" : "IPv4", MAX(MIN(type, 255), 0));
	if (json_is_integer(json_object_get(e, "code")))
		warn(w, "      ", "the code of ICMP cannot be said", NULL);
}

/* One edge as a rule: true; or a warning that says why not. */
static bool
put_rule(const struct writer *w, const json_t *e, bool ingress)
{
	const char *peer = show_text(e, ingress ? "from" : "to", "?"), *fault;
	bool icmp = strncmp(show_text(e, "proto", ""), "icmp", 4) == 0;
	_cleanup_free_ char *id = text_safe(show_text(e, "id", "?"));
	char proto[8];
	unsigned lo, hi;

	fprintf(w->f, "    # edge %s\n", id != NULL ? id : "?");
	if (show_text(e, "expires", NULL) != NULL)
		warn(w, "    ", "it ends at a time, which cannot be said",
		    show_text(e, "expires", ""));
	if (icmp ? !w->cilium : !has_transport(e, proto) || !get_ports(e, &lo, &hi)) {
		warn(
		    w, "    ", "left out, its protocol cannot be said", show_text(e, "proto", "?"));
		return false;
	}
	fault = put_peer(w, ingress ? "from" : "to", peer);
	if (fault != NULL) {
		_cleanup_free_ char *what = NULL;

		if (asprintf(&what, "left out, %s", fault) >= 0)
			warn(w, "    ", what, peer);
		return false;
	}
	if (icmp)
		put_icmp(w, e);
	else
		put_ports(w, e);
	return true;
}

/* An empty list of what is allowed drops everything: also where all rules were left out. */
static int
put_direction(const struct writer *w, const char *name, const json_t *edges, bool ingress)
{
	_cleanup_free_ char *text = NULL;
	struct writer inner = *w;
	bool some = false;
	size_t len;

	inner.deny = strstr(name, "Deny") != NULL;

	inner.f = open_memstream(&text, &len);
	if (inner.f == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(edges); i++)
		some |= put_rule(&inner, json_array_get(edges, i), ingress);
	if (fclose(inner.f) != 0)
		return -ENOMEM;
	if (some)
		fprintf(w->f, "  %s:\n%s", name, text);
	else if (inner.deny)
		fputs(text, w->f);
	else
		fprintf(w->f, "  %s: %s\n%s", name, w->cilium ? "[{}]" : "[]", text);
	return 0;
}

static void
warn_workload(const struct writer *w, const json_t *workload, const json_t *mine)
{
	static const char *const lists[] = { "deniedIn", "deniedOut" };

	warn(w, "", "pods are selected by labels that they are assumed to have", NULL);
	if (strcmp(show_text(workload, "direction", "both"), "ingress") != 0)
		warn(w, "",
		    "no rule allows the cluster's DNS: without one of your own no name is resolved",
		    NULL);
	if (strcmp(show_text(workload, "enforceable", "full"), "full") != 0)
		warn(w, "", "this workload was not fully enforceable",
		    show_text(workload, "why", NULL));
	if (json_is_object(json_object_get(workload, "quarantine")))
		warn(w, "", "it is in quarantine, which is no part of a policy", NULL);
	for (size_t k = 0; k < ARRAY_SIZE(lists) && !w->cilium; k++) {
		const json_t *denied = show_in(mine, lists[k]);

		for (size_t i = 0; i < json_array_size(denied); i++)
			warn(w, "",
			    "a denial that overrides what is allowed cannot be said here; edge",
			    show_text(json_array_get(denied, i), "id", "?"));
	}
}

static int
put_workload(const struct writer *w, const json_t *workload)
{
	const char *name = show_text(workload, "name", "?");
	const char *direction = show_text(workload, "direction", "both");
	const json_t *mine = show_in(w->index, name);
	bool in = strcmp(direction, "egress") != 0, out = strcmp(direction, "ingress") != 0;
	_cleanup_free_ char *safe = text_safe(name);
	char object[NAME_LEN];
	int r = 0;

	make_name(name, strlen(name), false, object);
	fprintf(w->f, "---\n# %s\n", safe != NULL ? safe : "?");
	warn_workload(w, workload, mine);
	fprintf(w->f,
	    "apiVersion: %s\nkind: %s\nmetadata:\n  name: \"%s\"\n  annotations:\n"
	    "    \"nanoseg/revision\": \"%" PRId64 "\"\n    \"nanoseg/evidence-sha256\": "
	    "\"%.64s\"\nspec:\n  %s:\n",
	    w->cilium ? "cilium.io/v2" : "networking.k8s.io/v1",
	    w->cilium ? "CiliumNetworkPolicy" : "NetworkPolicy", object,
	    show_int(w->b, "revision", 0), bundle_digest(w->b),
	    w->cilium ? "endpointSelector" : "podSelector");
	put_selector(w, name, "    ");
	if (!w->cilium)
		fprintf(w->f, "  policyTypes: [%s]\n",
		    in && out ? "Ingress, Egress"
		    : in      ? "Ingress"
			      : "Egress");
	if (in)
		r = put_direction(w, "ingress", show_in(mine, "in"), true);
	if (out && r == 0)
		r = put_direction(w, "egress", show_in(mine, "out"), false);
	if (in && w->cilium && r == 0)
		r = put_direction(w, "ingressDeny", show_in(mine, "deniedIn"), true);
	if (out && w->cilium && r == 0)
		r = put_direction(w, "egressDeny", show_in(mine, "deniedOut"), false);
	return r;
}

static void
index_edge(json_t *index, const char *peer, const char *list, json_t *e)
{
	const char *name = show_workload(peer);
	json_t *mine, *edges;

	if (name == NULL)
		return;
	mine = json_object_get(index, name);
	if (mine == NULL) {
		mine = json_object();
		json_object_set_new(index, name, mine);
	}
	edges = json_object_get(mine, list);
	if (edges == NULL) {
		edges = json_array();
		json_object_set_new(mine, list, edges);
	}
	json_array_append(edges, e);
}

static json_t *
index_edges(const json_t *b)
{
	json_t *index = json_object(), *e;
	size_t i;

	json_array_foreach(show_in(b, "edges"), i, e)
	{
		const char *state = show_text(e, "state", ""), *from = show_text(e, "from", "?");
		const char *to = show_text(e, "to", "?");

		if (strcmp(state, "approved") == 0) {
			index_edge(index, from, "out", e);
			index_edge(index, to, "in", e);
		} else if (strcmp(state, "denied") == 0) {
			index_edge(index, from, "deniedOut", e);
			index_edge(index, to, "deniedIn", e);
		}
	}
	return index;
}

static int
print_policies(const json_t *b, FILE *f, bool cilium)
{
	const json_t *list = show_in(b, "workloads");
	struct writer w = { .b = b, .index = index_edges(b), .f = f, .cilium = cilium };
	_cleanup_free_ char *host = text_safe(show_text(show_in(b, "host"), "name", "?"));
	int r = 0;

	fprintf(f, "# nanoseg, host %s, revision %" PRId64 "\n# evidence sha256 %.64s\n",
	    host != NULL ? host : "?", show_int(b, "revision", 0), bundle_digest(b));
	for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
		const json_t *workload = json_array_get(list, i);

		if (strcmp(show_text(workload, "mode", ""), "enforce") == 0)
			r = put_workload(&w, workload);
		else
			warn(&w, "", "not enforced, so it has no policy",
			    show_text(workload, "name", "?"));
	}
	json_decref(w.index);
	return r;
}

int
export_k8s(const json_t *b, FILE *f)
{
	return print_policies(b, f, false);
}

int
export_cilium(const json_t *b, FILE *f)
{
	return print_policies(b, f, true);
}
