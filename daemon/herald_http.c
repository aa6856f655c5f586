/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The webhook: one POST of {version, host, alerts: [...]} at a time. 2xx is the receiver's word
 * that it has them, whatever follows it. What it answers is counted, not read, and bounded in time
 * and length; no redirect is followed and no proxy asked. A request that the
 * receiver calls wrong (400, 413, 422) is not repeated: its alerts are sent one by one, and one
 * that is refused by itself is lost. Anything else is tried again later.
 */
#include "daemon/herald.h"

#include "daemon/log.h"
#include "rules/json.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MAX (64u << 10)
#define TOKEN_MAX 4096
#define CA_MAX (1u << 20)

struct webhook {
	struct sink *sink;
	struct event_base *base;
	struct event *timer;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	char host[256], error[CURL_ERROR_SIZE];
	char *body; /* under way */
	size_t n, answered;
	bool one_by_one;
};

static int
read_all(int fd, char *buf, size_t max, size_t *ret_len)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, buf + len, max - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == max)
			return -EFBIG;
	}
	*ret_len = len;
	return 0;
}

static int
open_regular(const char *path, const char *what, struct stat *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0 && fstat(fd, ret) == 0 && S_ISREG(ret->st_mode))
		return fd;
	log_error("alerts.webhook.%s: %s: %s; no alert is delivered until it can be read", what,
	    path, fd < 0 ? strerror(errno) : "not a regular file");
	close_fd(&fd);
	return -EINVAL;
}

/* One line, which only root may read or write. */
static int
add_token(struct webhook *w, const char *path)
{
	static const char bearer[] = "Authorization: Bearer ";
	char line[sizeof(bearer) + TOKEN_MAX];
	char *token = line + sizeof(bearer) - 1;
	struct curl_slist *more;
	struct stat st;
	size_t len;
	_cleanup_close_ int fd = open_regular(path, "tokenFile", &st);

	if (fd < 0)
		return fd;
	if (st.st_uid != 0 || (st.st_mode & 077) != 0) {
		log_error("alerts.webhook.tokenFile: %s: it has to be root's and readable by "
			  "nobody else (chmod 600); no alert is delivered until it is",
		    path);
		return -EINVAL;
	}
	memcpy(line, bearer, sizeof(bearer) - 1);
	if (read_all(fd, token, TOKEN_MAX, &len) < 0)
		len = 0;
	while (len > 0 && (token[len - 1] == '\n' || token[len - 1] == '\r'))
		len--;
	token[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (token[i] <= ' ' || token[i] >= 0x7f)
			len = 0;
	if (len == 0) {
		log_error("alerts.webhook.tokenFile: %s: expected one word of printable ASCII, at "
			  "most %d bytes; no alert is delivered until it is",
		    path, TOKEN_MAX - 1);
		return -EINVAL;
	}
	more = curl_slist_append(w->headers, line);
	explicit_bzero(line, sizeof(line));
	if (more == NULL)
		return -ENOMEM;
	w->headers = more;
	return 0;
}

static int
set_ca(struct webhook *w, const char *path)
{
	_cleanup_free_ char *pem = malloc(CA_MAX);
	struct curl_blob blob = { .data = pem, .flags = CURL_BLOB_COPY };
	struct stat st;
	_cleanup_close_ int fd = open_regular(path, "caFile", &st);
	int r;

	if (fd < 0 || pem == NULL)
		return fd < 0 ? fd : -ENOMEM;
	r = read_all(fd, pem, CA_MAX, &blob.len);
	if (r < 0) {
		log_error("alerts.webhook.caFile: %s: %s; no alert is delivered until it can be "
			  "read",
		    path, strerror(-r));
		return r;
	}
	return curl_easy_setopt(w->easy, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK ? 0 : -EINVAL;
}

/* The answer */

static size_t
on_bytes(char *data, size_t size, size_t n, void *arg)
{
	struct webhook *w = arg;

	w->answered += size * n;
	return w->answered <= ANSWER_MAX ? size * n : 0;
}

static bool
is_refusal(long status)
{
	return status == 400 || status == 413 || status == 422;
}

static int
judge(struct webhook *w, CURLcode code)
{
	long status = 0;

	(void)curl_easy_getinfo(w->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 200 && status < 300)
		return (int)w->n;
	if (status != 0)
		sink_explain(w->sink, "the webhook answered %ld", status);
	else
		sink_explain(
		    w->sink, "%s", w->error[0] != '\0' ? w->error : curl_easy_strerror(code));
	if (!is_refusal(status))
		return -EIO;
	if (w->n == 1)
		return -EINVAL;
	w->one_by_one = true;
	return -EAGAIN;
}

static void
finish(struct webhook *w, CURLcode code)
{
	int sent = judge(w, code);

	curl_multi_remove_handle(w->multi, w->easy);
	free(w->body);
	w->body = NULL;
	if (sent == -EINVAL || (sent > 0 && w->n > 1))
		w->one_by_one = false;
	sink_done(w->sink, sent);
}

static void
check_finished(struct webhook *w)
{
	CURLMsg *m;
	int left;

	/* Both go on with the next one: the handle is removed before. */
	while ((m = curl_multi_info_read(w->multi, &left)) != NULL)
		if (m->msg == CURLMSG_DONE) {
			finish(w, m->data.result);
			return;
		}
}

/* libcurl on the event loop */

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct webhook *w = arg;
	int flags =
	    (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(w->multi, fd, flags, &running);
	check_finished(w);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct webhook *w = arg;
	int running;

	curl_multi_socket_action(w->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	check_finished(w);
}

static int
want_timer(CURLM *multi, long ms, void *arg)
{
	struct webhook *w = arg;
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	if (ms < 0)
		event_del(w->timer);
	else
		event_add(w->timer, &tv);
	return 0;
}

static int
want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct webhook *w = arg;
	struct event *ev = socket_arg;
	short events = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) |
			       (what & CURL_POLL_OUT ? EV_WRITE : 0));

	if (ev != NULL)
		event_free(ev);
	ev = NULL;
	if (what != CURL_POLL_REMOVE) {
		ev = event_new(w->base, fd, events, on_socket, w);
		if (ev != NULL)
			event_add(ev, NULL);
	}
	curl_multi_assign(w->multi, fd, ev);
	return 0;
}

static int
webhook_send(struct sink *s, json_t *const *alerts, size_t n)
{
	struct webhook *w = s->arg;
	json_t *o, *list = json_array();

	w->n = w->one_by_one ? 1 : MIN(n, HERALD_BATCH_MAX);
	w->answered = 0;
	w->error[0] = '\0';
	for (size_t i = 0; list != NULL && i < w->n; i++)
		json_array_append(list, alerts[i]);
	o = json_pack("{s:i, s:o, s:o}", "version", 1, "host", json_text(w->host), "alerts", list);
	w->body = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (w->body == NULL)
		return -ENOMEM;
	curl_easy_setopt(w->easy, CURLOPT_POSTFIELDS, w->body);
	curl_easy_setopt(w->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(w->body));
	if (curl_multi_add_handle(w->multi, w->easy) != CURLM_OK) {
		free(w->body);
		w->body = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int
set_up(struct webhook *w, const struct alerts_config *c)
{
	const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_POST, 1 },
		{ CURLOPT_FOLLOWLOCATION, 0 },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_TIMEOUT_MS, (long)(c->webhook.timeout_ns / NSEC_PER_MSEC) },
	};
	bool good = true;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		good = good &&
		       curl_easy_setopt(w->easy, numbers[i].option, numbers[i].value) == CURLE_OK;
	good = good && curl_easy_setopt(w->easy, CURLOPT_URL, c->webhook.url) == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_USERAGENT, "nanosegd") == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, w->headers) == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_ERRORBUFFER, w->error) == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, on_bytes) == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_WRITEDATA, w) == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_HEADERFUNCTION, on_bytes) == CURLE_OK &&
	       curl_easy_setopt(w->easy, CURLOPT_HEADERDATA, w) == CURLE_OK &&
	       curl_multi_setopt(w->multi, CURLMOPT_SOCKETFUNCTION, want_socket) == CURLM_OK &&
	       curl_multi_setopt(w->multi, CURLMOPT_SOCKETDATA, w) == CURLM_OK &&
	       curl_multi_setopt(w->multi, CURLMOPT_TIMERFUNCTION, want_timer) == CURLM_OK &&
	       curl_multi_setopt(w->multi, CURLMOPT_TIMERDATA, w) == CURLM_OK;
	return good ? 0 : -EINVAL;
}

int
webhook_open(struct sink *s, const struct alerts_config *c, struct event_base *base)
{
	struct webhook *w = calloc(1, sizeof(*w));
	int r = 0;

	if (w == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	w->sink = s;
	w->base = base;
	w->timer = evtimer_new(base, on_timer, w);
	w->multi = curl_multi_init();
	w->easy = curl_easy_init();
	w->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (w->timer == NULL || w->multi == NULL || w->easy == NULL || w->headers == NULL)
		return -ENOMEM;
	if (gethostname(w->host, sizeof(w->host) - 1) < 0)
		w->host[0] = '\0';
	if (c->webhook.token_file != NULL)
		r = add_token(w, c->webhook.token_file);
	if (r == 0 && c->webhook.ca_file != NULL)
		r = set_ca(w, c->webhook.ca_file);
	if (r == 0)
		r = set_up(w, c);
	if (r < 0)
		return r;
	s->arg = w;
	s->send = webhook_send;
	s->state.on = 1;
	return 0;
}
