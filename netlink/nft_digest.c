/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The digest of a table: of what the kernel told, or of what was meant.
 *
 * The canonical form is a sorted list of text lines (table, chains, rules, sets, objects,
 * flowtables), each ended by a newline, then the elements of our sets in binary, sorted. The same
 * functions print a dumped object and one that was built, so that the digest of what was meant can
 * be computed without the kernel. Left out: counters, handles, declared set sizes, and owner and
 * persist, which change at the owner's death.
 */
#include "netlink/nft_internal.h"

#include "rules/util.h"

#include <errno.h>
#include <inttypes.h>
#include <libnftnl/expr.h>
#include <linux/netfilter/nf_tables.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

/* A bound on what a table may hold, ours has 150: an unowned one is anyone's to fill. */
#define LINES_MAX 4096u
#define LINE_SIZE 2048

void
nft_names_done(struct nft_names *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct nft_names){ 0 };
}

int
nft_names_add(struct nft_names *l, const char *text)
{
	char **grown;

	if (l->n >= LINES_MAX)
		return -E2BIG;
	/* Doubles at every power of two. */
	if ((l->n & (l->n - 1)) == 0) {
		grown = realloc(l->v, MAX(l->n * 2, (size_t)4) * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		l->v = grown;
	}
	l->v[l->n] = strdup(text);
	if (l->v[l->n] == NULL)
		return -ENOMEM;
	l->n++;
	return 0;
}

static const char *
str_or(const char *s, const char *other)
{
	return s != NULL ? s : other;
}

/* Canonical text, of a dumped object or of one that was built. */

int
nft_text_table(struct nft_text *t, uint32_t flags)
{
	char line[64];

	snprintf(
	    line, sizeof(line), "table flags %x", flags & ~(NFT_FLAG_OWNER | NFT_FLAG_PERSIST));
	return nft_names_add(&t->lines, line);
}

int
nft_text_chain(struct nft_text *t, const struct nftnl_chain *c)
{
	const char *name = str_or(nftnl_chain_get_str(c, NFTNL_CHAIN_NAME), "");
	char line[LINE_SIZE];

	if (!nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM))
		snprintf(line, sizeof(line), "chain %s", name);
	else
		snprintf(line, sizeof(line), "chain %s type %s hook %u prio %d policy %u dev %s",
		    name, str_or(nftnl_chain_get_str(c, NFTNL_CHAIN_TYPE), "?"),
		    nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM),
		    nftnl_chain_get_s32(c, NFTNL_CHAIN_PRIO),
		    nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY),
		    str_or(nftnl_chain_get_str(c, NFTNL_CHAIN_DEV), "-"));
	return nft_names_add(&t->lines, line);
}

void
nft_text_done(struct nft_text *t)
{
	nft_names_done(&t->lines);
}

struct rule_text {
	char line[LINE_SIZE];
	size_t len;
};

static int
rule_text_expr(struct nftnl_expr *e, void *arg)
{
	struct rule_text *t = arg;
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
	char text[512] = "";

	if (name == NULL || strcmp(name, "counter") != 0)
		nftnl_expr_snprintf(
		    text, sizeof(text), e, NFTNL_OUTPUT_DEFAULT, NFTNL_OF_EVENT_ANY);
	if (t->len < sizeof(t->line))
		t->len += (size_t)snprintf(t->line + t->len, sizeof(t->line) - t->len, " [%s %s]",
		    str_or(name, "?"), text);
	return 0;
}

/* Rules come chain by chain, in their order; the index makes the order part of the text. */
int
nft_text_rule(struct nft_text *text, const struct nftnl_rule *r)
{
	const char *chain = str_or(nftnl_rule_get_str(r, NFTNL_RULE_CHAIN), "");
	struct rule_text t;

	if (strcmp(chain, text->chain) != 0) {
		snprintf(text->chain, sizeof(text->chain), "%s", chain);
		text->index = 0;
	}
	t.len = (size_t)snprintf(t.line, sizeof(t.line), "rule %s %06u", chain, text->index++);
	nftnl_expr_foreach((struct nftnl_rule *)r, rule_text_expr, &t);
	return nft_names_add(&text->lines, t.line);
}

static void
set_text(const struct nftnl_set *set, char line[static LINE_SIZE])
{
	snprintf(line, LINE_SIZE, "set %s flags %x key %x/%u data %x timeout %" PRIu64,
	    str_or(nftnl_set_get_str(set, NFTNL_SET_NAME), ""),
	    nftnl_set_get_u32(set, NFTNL_SET_FLAGS), nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE),
	    nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN), nftnl_set_get_u32(set, NFTNL_SET_DATA_TYPE),
	    nftnl_set_is_set(set, NFTNL_SET_TIMEOUT) ? nftnl_set_get_u64(set, NFTNL_SET_TIMEOUT)
						     : 0);
}

int
nft_text_set(struct nft_text *t, const struct nftnl_set *set)
{
	char line[LINE_SIZE];

	set_text(set, line);
	return nft_names_add(&t->lines, line);
}

int
nft_text_obj(struct nft_text *t, uint32_t type, const char *name)
{
	char line[LINE_SIZE];

	snprintf(line, sizeof(line), "object %u %s", type, name);
	return nft_names_add(&t->lines, line);
}

static int
text_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void
nft_text_digest(
    struct nft_text *t, const struct nft_elems *elems, uint8_t ret[static RULESET_DIGEST_LEN])
{
	struct sha256_ctx ctx;
	size_t i;

	sha256_init(&ctx);
	if (t->lines.n > 0)
		qsort(t->lines.v, t->lines.n, sizeof(*t->lines.v), text_cmp);
	for (i = 0; i < t->lines.n; i++) {
		sha256_update(&ctx, strlen(t->lines.v[i]), (const uint8_t *)t->lines.v[i]);
		sha256_update(&ctx, 1, (const uint8_t *)"\n");
	}
	if (elems->n > 0)
		sha256_update(&ctx, elems->n * sizeof(*elems->v), (const uint8_t *)elems->v);
	sha256_digest(&ctx, RULESET_DIGEST_LEN, ret);
}

bool
nft_set_as_built(const struct nft_target *t, unsigned set, const struct nftnl_set *have)
{
	struct nftnl_set *built = nft_set_build(t, set, 1);
	char want_text[LINE_SIZE], have_text[LINE_SIZE];

	if (built == NULL)
		return false;
	set_text(built, want_text);
	set_text(have, have_text);
	nftnl_set_free(built);
	return strcmp(have_text, want_text) == 0;
}

static int
expect_objects(struct nft_text *text, const struct nft_target *t, const struct nft_modes *m)
{
	unsigned i;
	int r;

	r = nft_text_table(text, 0);
	for (i = 0; r == 0 && i < NFT_N_COUNTERS; i++)
		r = nft_text_obj(text, NFT_OBJECT_COUNTER, t->kind->counters[i]);
	for (i = 0; r == 0 && i < t->kind->n_chains; i++) {
		struct nftnl_chain *c = nft_chain_build(t, i, m);

		if (c == NULL)
			return -ENOMEM;
		r = nft_text_chain(text, c);
		nftnl_chain_free(c);
	}
	for (i = 0; r == 0 && i < t->kind->n_sets; i++) {
		struct nftnl_set *set = nft_set_build(t, i, 1);

		if (set == NULL)
			return -ENOMEM;
		r = nft_text_set(text, set);
		nftnl_set_free(set);
	}
	return r;
}

int
nft_digest_expected(const struct nft_target *t, const struct nft_modes *m,
    const struct nft_elems *elems, uint8_t ret[static RULESET_DIGEST_LEN])
{
	_cleanup_(nft_text_done) struct nft_text text = { 0 };
	_cleanup_(nft_rules_done) struct nft_rules rules = { 0 };
	size_t i;
	int r;

	r = expect_objects(&text, t, m);
	if (r < 0)
		return r;
	r = t->kind->rules(t, m, &rules);
	for (i = 0; r == 0 && i < rules.n; i++)
		r = nft_text_rule(&text, rules.v[i]);
	if (r < 0)
		return r;
	nft_text_digest(&text, elems, ret);
	return 0;
}
