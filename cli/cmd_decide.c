/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nanoseg approve, nanoseg deny: decisions about edges, named by themselves or by a denial, and
 * about the images that may run under a workload's name.
 */
#include "cli/client.h"
#include "cli/show.h"

#include "rules/edge.h"
#include "rules/workload.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

/* "e-" or "d-" and hex digits: what edges and denials print. */
static bool
is_id(const char *text)
{
	size_t len = strlen(text);

	return len > 2 && len < EDGE_ID_STRLEN && (text[0] == 'e' || text[0] == 'd') &&
	       text[1] == '-' && strspn(text + 2, "0123456789abcdef") == len - 2;
}

static int
check(const struct cli *cli, bool image, int n, char **ids, const char *reason, const char *ticket)
{
	struct diag d;

	if (n == 0 && !image)
		return cli_usage(cli, "expected the ids of edges or denials");
	for (int i = 0; i < n; i++)
		if (!is_id(ids[i]))
			return cli_usage(cli,
			    "'%s' is not the id of an edge (e-...) or of a denial (d-...)", ids[i]);
	if (reason == NULL)
		return cli_usage(cli, "a decision needs a reason: --reason TEXT");
	if (text_arg("--reason", reason, EDGE_REASON_MAX, &d) < 0 ||
	    (ticket != NULL && text_arg("--ticket", ticket, EDGE_REASON_MAX, &d) < 0))
		return cli_usage(cli, "%s", d.msg);
	return CLI_OK;
}

static int
print_done(const struct cli *cli, const char *done, const json_t *answer)
{
	int64_t n = show_int(answer, "changed", 0);

	if (!out_is_table(&cli->out))
		return out_document(&cli->out, answer);
	printf("%" PRId64 " edge%s %s, revision %" PRId64 "\n", n, n == 1 ? "" : "s", done,
	    show_int(answer, "revision", 0));
	return 0;
}

static int
print_image(const struct cli *cli, const char *done, const json_t *answer)
{
	_cleanup_free_ char *workload = text_safe(show_text(answer, "workload", "?"));
	_cleanup_free_ char *image = text_safe(show_text(answer, "image", "?"));

	if (!out_is_table(&cli->out))
		return out_document(&cli->out, answer);
	if (workload == NULL || image == NULL)
		return -ENOMEM;
	printf("%s: image %s %s, revision %" PRId64 "\n", workload, image, done,
	    show_int(answer, "revision", 0));
	return 0;
}

/* WORKLOAD=IMAGE; no image's name has a '='. */
static int
decide_image(
    struct cli *cli, const char *arg, const char *reason, const char *path, const char *done)
{
	const char *sep = strrchr(arg, '='), *name;
	_cleanup_free_ char *text = sep != NULL ? strndup(arg, (size_t)(sep - arg)) : NULL;
	char repository[256];
	json_t *answer = NULL;
	struct diag d;
	int code;

	if (sep == NULL || image_acceptable(sep + 1, repository) < 0)
		return cli_usage(cli,
		    "--image: expected WORKLOAD=REPOSITORY, or WORKLOAD=sha256:... with the whole "
		    "id of an image without a name");
	if (text == NULL)
		return cli_printed(-ENOMEM);
	if (workload_arg(text, &name, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	code = client_post_json(cli, path,
	    json_pack("{s:s, s:s, s:s}", "workload", name, "image", repository, "reason", reason),
	    &answer);
	if (code != CLI_OK)
		return code;
	code = cli_printed(print_image(cli, done, answer));
	json_decref(answer);
	return code;
}

struct decision {
	const char *path, *image_path, *done;
};

static int
decide(struct cli *cli, int argc, char **argv, const struct decision *k)
{
	const char *reason = NULL, *ticket = NULL, *expires = NULL, *image = NULL;
	const struct arg_option own[] = {
		{ "reason", 'r', NULL, &reason },
		{ "ticket", 0, NULL, &ticket },
		{ "expires", 0, NULL, &expires },
		{ "image", 0, NULL, &image },
	};
	json_t *body, *ids, *answer = NULL;
	uint64_t seconds = 0;
	struct diag d;
	int code, n = cli_options(cli, own, ARRAY_SIZE(own), argc, argv, &code);

	if (n < 0)
		return code;
	if (image != NULL && (n > 0 || ticket != NULL || expires != NULL))
		return cli_usage(cli, "--image goes with --reason alone");
	code = check(cli, image != NULL, n, argv, reason, ticket);
	if (code != CLI_OK)
		return code;
	if (image != NULL)
		return decide_image(cli, image, reason, k->image_path, k->done);
	if (expires != NULL &&
	    expiry_arg(expires, (uint64_t)time(NULL) * NSEC_PER_SEC, &seconds, &d) < 0)
		return cli_usage(cli, "%s", d.msg);
	ids = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(ids, json_string(argv[i]));
	body = json_pack("{s:o, s:s}", "ids", ids, "reason", reason);
	if (ticket != NULL)
		json_object_set_new(body, "ticket", json_string(ticket));
	if (seconds != 0)
		json_object_set_new(body, "expiresInSeconds", json_integer((json_int_t)seconds));
	code = client_post_json(cli, k->path, body, &answer);
	if (code != CLI_OK)
		return code;
	code = cli_printed(print_done(cli, k->done, answer));
	json_decref(answer);
	return code;
}

int
cmd_approve(struct cli *cli, int argc, char **argv)
{
	static const struct decision k = { "/v1/edges/approve", "/v1/images/approve", "approved" };

	return decide(cli, argc, argv, &k);
}

int
cmd_deny(struct cli *cli, int argc, char **argv)
{
	static const struct decision k = { "/v1/edges/deny", "/v1/images/deny", "denied" };

	return decide(cli, argc, argv, &k);
}
