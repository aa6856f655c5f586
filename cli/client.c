/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/client.h"
#include "cli/page.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define CONNECT_SECONDS 5

struct buffer {
	char *text;
	size_t len, room;
};

struct call {
	const struct cli *cli;
	CURL *curl;
	struct buffer body;
	bool too_large, no_memory;
	client_line_fn line; /* NULL: the body is collected */
	void *arg;
	bool stopped; /* by line */
	bool nonsense;
	bool posts;
	struct timespec since;
};

static void
call_done(struct call *k)
{
	if (k->curl != NULL)
		curl_easy_cleanup(k->curl);
	free(k->body.text);
}

static int
buffer_add(struct buffer *b, const char *data, size_t len)
{
	if (b->len + len + 1 > b->room) {
		size_t room = MAX(b->room * 2, b->len + len + 4096);
		char *text = realloc(b->text, room);

		if (text == NULL)
			return -ENOMEM;
		b->text = text;
		b->room = room;
	}
	memcpy(b->text + b->len, data, len);
	b->len += len;
	b->text[b->len] = '\0';
	return 0;
}

static bool
collect(struct call *k, const char *data, size_t len, size_t max)
{
	if (len > max - MIN(max, k->body.len)) {
		k->too_large = true;
		return false;
	}
	k->no_memory = buffer_add(&k->body, data, len) < 0;
	return !k->no_memory;
}

static bool
hand_over_line(struct call *k)
{
	json_t *value = json_loadb(k->body.text, k->body.len, JSON_DECODE_ANY, NULL);

	k->body.len = 0;
	if (value == NULL) {
		k->nonsense = true;
		return false;
	}
	k->stopped = k->line(k->arg, value) < 0;
	json_decref(value);
	return !k->stopped;
}

static bool
collect_lines(struct call *k, const char *data, size_t len)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end != NULL ? (size_t)(end - data) : len;

		if (!collect(k, data, n, CLIENT_MAX_LINE))
			return false;
		if (end == NULL)
			return true;
		if (k->body.len > 0 && !hand_over_line(k))
			return false;
		data = end + 1;
		len -= n + 1;
	}
	return true;
}

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
	struct call *k = arg;
	size_t len = size * n;
	long status = 0;
	bool good;

	curl_easy_getinfo(k->curl, CURLINFO_RESPONSE_CODE, &status);
	good = k->line != NULL && status == 200 ? collect_lines(k, data, len)
						: collect(k, data, len, CLIENT_MAX_ANSWER);
	return good ? len : 0;
}

static int
report_connect(const struct call *k)
{
	const char *path = k->cli->socket;
	long error = 0;

	curl_easy_getinfo(k->curl, CURLINFO_OS_ERRNO, &error);
	switch (error) {
	case EACCES:
	case EPERM:
		cli_error("%s: not permitted; the socket is for root and its group", path);
		return CLI_NOT_PERMITTED;
	case ENOENT:
		cli_error(
		    "the daemon is not reachable: there is no socket %s; is nanosegd running?",
		    path);
		return CLI_UNREACHABLE;
	case ECONNREFUSED:
		cli_error("the daemon is not reachable: nobody listens on %s; is nanosegd running?",
		    path);
		return CLI_UNREACHABLE;
	case EAGAIN:
		cli_error("the daemon is not reachable: %s took no connection within %d s", path,
		    CONNECT_SECONDS);
		return CLI_UNREACHABLE;
	default:
		cli_error("the daemon is not reachable: %s: %s", path,
		    error != 0 ? strerror((int)error) : "the connection failed");
		return CLI_UNREACHABLE;
	}
}

static int
report_transfer(const struct call *k, CURLcode code)
{
	if (code == CURLE_COULDNT_CONNECT)
		return report_connect(k);
	if (k->no_memory || code == CURLE_OUT_OF_MEMORY)
		return cli_no_memory();
	if (k->too_large) {
		cli_error("the daemon's answer is over %u MB and was given up",
		    (k->line != NULL ? CLIENT_MAX_LINE : CLIENT_MAX_ANSWER) >> 20);
		return CLI_ERROR;
	}
	if (code == CURLE_OPERATION_TIMEDOUT) {
		cli_error("the daemon did not answer within %u s%s", k->cli->timeout_s,
		    k->posts ? "; what it was asked to do may be done all the same: see nanoseg "
			       "status and nanoseg audit-log"
			     : "");
		return CLI_UNREACHABLE;
	}
	if (code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR ||
	    code == CURLE_SEND_ERROR) {
		cli_error("the daemon closed the connection before its answer was complete");
		return CLI_UNREACHABLE;
	}
	cli_error("the daemon's answer is not understood: %s", curl_easy_strerror(code));
	return CLI_ERROR;
}

static int
exit_of_status(long status)
{
	switch (status) {
	case 400:
	case 404:
	case 405:
	case 413:
	case 422:
		return CLI_USAGE;
	case 403:
		return CLI_NOT_PERMITTED;
	default:
		return CLI_ERROR;
	}
}

static int
report_status(const struct call *k, long status, const char *file)
{
	json_t *answer = k->body.len > 0 ? json_loadb(k->body.text, k->body.len, 0, NULL) : NULL;
	const json_t *e = json_object_get(answer, "error");
	const char *message = json_string_value(json_object_get(e, "message"));
	json_int_t line = json_integer_value(json_object_get(e, "line"));
	json_int_t column = json_integer_value(json_object_get(e, "column"));
	bool refused;

	if (message == NULL)
		cli_error("the daemon answered with HTTP status %ld", status);
	else if (file != NULL && line > 0)
		cli_error("%s:%lld:%lld: %s", file, (long long)line, (long long)column, message);
	else
		cli_error("%s", message);
	refused = json_is_true(json_object_get(e, "refused"));
	json_decref(answer);
	return refused ? CLI_UNREACHABLE : exit_of_status(status);
}

static int
call_new(const struct cli *cli, const char *path, struct call *k)
{
	const char *socket_path = cli->socket;
	struct sockaddr_un sun;
	char url[8192];
	int r;

	*k = (struct call){ .cli = cli };
	if (cli->is_remote &&
	    (r = remote_open(&cli->remote, cli->timeout_s, &socket_path)) != CLI_OK)
		return r;
	if (strlen(socket_path) >= sizeof(sun.sun_path) || socket_path[0] == '\0') {
		cli_error("--socket: expected a path of 1 to %zu bytes", sizeof(sun.sun_path) - 1);
		return CLI_USAGE;
	}
	if ((size_t)snprintf(url, sizeof(url), "http://nanoseg%s", path) >= sizeof(url)) {
		cli_error("the arguments are too long");
		return CLI_USAGE;
	}
	k->curl = curl_easy_init();
	if (k->curl == NULL)
		return cli_no_memory();
	curl_easy_setopt(k->curl, CURLOPT_URL, url);
	curl_easy_setopt(k->curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
	curl_easy_setopt(k->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	curl_easy_setopt(k->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(k->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(k->curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(k->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(k->curl, CURLOPT_WRITEDATA, k);
	curl_easy_setopt(k->curl, CURLOPT_TIMEOUT, (long)cli->timeout_s);
	return CLI_OK;
}

#define WAITED_S 2 /* before somebody wonders */

static int
on_progress(void *arg, curl_off_t down, curl_off_t downloaded, curl_off_t up, curl_off_t uploaded)
{
	const struct call *k = arg;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - k->since.tv_sec >= WAITED_S)
		progress_show("waiting for the daemon, seconds",
		    (size_t)(now.tv_sec - k->since.tv_sec), k->cli->timeout_s);
	return 0;
}

/* Of a call that has an end. */
static CURLcode
call_perform(struct call *k)
{
	CURLcode code;

	clock_gettime(CLOCK_MONOTONIC, &k->since);
	curl_easy_setopt(k->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(k->curl, CURLOPT_XFERINFODATA, k);
	curl_easy_setopt(k->curl, CURLOPT_NOPROGRESS, 0L);
	code = curl_easy_perform(k->curl);
	progress_show("", 0, 0);
	return code;
}

/* Runs a call whose answer is one JSON value. */
static int
call_run(struct call *k, const char *file, json_t **ret)
{
	CURLcode code = call_perform(k);
	json_error_t err;
	long status = 0;
	json_t *value;

	if (code != CURLE_OK)
		return report_transfer(k, code);
	curl_easy_getinfo(k->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return report_status(k, status, file);
	value = json_loadb(
	    k->body.text != NULL ? k->body.text : "", k->body.len, JSON_REJECT_DUPLICATES, &err);
	if (value == NULL) {
		cli_error("the daemon's answer is not JSON: %s", err.text);
		return CLI_ERROR;
	}
	*ret = value;
	return CLI_OK;
}

int
client_get(const struct cli *cli, const char *path, json_t **ret)
{
	_cleanup_(call_done) struct call k;
	int r = call_new(cli, path, &k);

	return r == CLI_OK ? call_run(&k, NULL, ret) : r;
}

int
client_get_bytes(const struct cli *cli, const char *path, char **ret, size_t *ret_len)
{
	_cleanup_(call_done) struct call k;
	int r = call_new(cli, path, &k);
	long status = 0;
	CURLcode code;

	if (r != CLI_OK)
		return r;
	code = call_perform(&k);
	if (code != CURLE_OK)
		return report_transfer(&k, code);
	curl_easy_getinfo(k.curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return report_status(&k, status, NULL);
	if (k.body.text == NULL && buffer_add(&k.body, "", 0) < 0)
		return cli_no_memory();
	*ret = steal_ptr(k.body.text);
	*ret_len = k.body.len;
	return CLI_OK;
}

int
client_post(const struct cli *cli, const char *path, const char *type, const char *body, size_t len,
    const char *file, json_t **ret)
{
	_cleanup_(call_done) struct call k;
	struct curl_slist *headers = NULL, *more;
	char line[64];
	int r = call_new(cli, path, &k);

	if (r != CLI_OK)
		return r;
	snprintf(line, sizeof(line), "Content-Type: %s", type);
	headers = curl_slist_append(NULL, line);
	/* No waiting for "100 Continue". */
	more = headers != NULL ? curl_slist_append(headers, "Expect:") : NULL;
	if (more == NULL) {
		curl_slist_free_all(headers);
		return cli_no_memory();
	}
	curl_easy_setopt(k.curl, CURLOPT_HTTPHEADER, headers);
	k.posts = true;
	curl_easy_setopt(k.curl, CURLOPT_POST, 1L);
	curl_easy_setopt(k.curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(k.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	r = call_run(&k, file, ret);
	curl_slist_free_all(headers);
	return r;
}

int
client_post_json(const struct cli *cli, const char *path, json_t *body, json_t **ret)
{
	_cleanup_free_ char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL)
		return cli_no_memory();
	return client_post(cli, path, "application/json", text, strlen(text), NULL, ret);
}

int
client_follow(const struct cli *cli, const char *path, client_line_fn line, void *arg)
{
	_cleanup_(call_done) struct call k;
	int r = call_new(cli, path, &k);
	long status = 0;
	CURLcode code;

	if (r != CLI_OK)
		return r;
	k.line = line;
	k.arg = arg;
	curl_easy_setopt(k.curl, CURLOPT_TIMEOUT, 0L);
	code = curl_easy_perform(k.curl);
	if (k.stopped)
		return CLI_ERROR;
	if (k.nonsense) {
		cli_error("the daemon's stream is not JSON");
		return CLI_ERROR;
	}
	curl_easy_getinfo(k.curl, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK && status != 200)
		return report_status(&k, status, NULL);
	if (code != CURLE_OK && (status == 0 || k.too_large || k.no_memory))
		return report_transfer(&k, code);
	cli_error("the daemon ended the stream; is nanosegd still running?");
	return CLI_UNREACHABLE;
}

/* name=value, escaped, behind ? or &. */
static int
add_argument(struct buffer *b, char separator, const char *name, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	char unit[3];
	int r = buffer_add(b, &separator, 1);

	if (r == 0)
		r = buffer_add(b, name, strlen(name));
	if (r == 0)
		r = buffer_add(b, "=", 1);
	for (const unsigned char *p = (const unsigned char *)value; *p != '\0' && r == 0; p++) {
		unit[0] = '%';
		unit[1] = hex[*p >> 4];
		unit[2] = hex[*p & 15];
		if ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
		    (*p >= 'a' && *p <= 'z') || strchr("-._~", *p) != NULL)
			r = buffer_add(b, (const char *)p, 1);
		else
			r = buffer_add(b, unit, 3);
	}
	return r;
}

char *
client_path(const char *path, ...)
{
	struct buffer b = { 0 };
	char separator = '?';
	const char *name, *value;
	va_list ap;
	int r = buffer_add(&b, path, strlen(path));

	va_start(ap, path);
	while (r == 0 && (name = va_arg(ap, const char *)) != NULL) {
		value = va_arg(ap, const char *);
		if (value == NULL)
			continue;
		r = add_argument(&b, separator, name, value);
		separator = '&';
	}
	va_end(ap);
	if (r < 0) {
		free(b.text);
		return NULL;
	}
	return b.text;
}
