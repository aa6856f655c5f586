/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See conf_alerts.h. Destinations are spelled out: an address is a number, so that nothing has to
 * be resolved to send a datagram; a path is absolute; a URL is http or https with a host and
 * without a password in it, which would be seen by everybody who may read the file. What is wrong
 * with a URL is said without it: its path may be a secret, and errors go to the log and the API.
 */
#include "daemon/conf_alerts.h"
#include "daemon/proto.h"

#include "rules/peer.h"
#include "rules/syslog.h"
#include "rules/timefmt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH_LEN_MAX 1024
#define URL_LEN_MAX 2048
#define UNIX_PATH_LEN_MAX 107
#define JOURNALD_SOCKET "/run/systemd/journal/socket"

unsigned
alerts_config_ways(const struct alerts_config *a)
{
	return (a->journald != NULL ? 1u << SINK_JOURNALD : 0) |
	       (a->syslog.transport != SYSLOG_NONE ? 1u << SINK_SYSLOG : 0) |
	       (a->webhook.url != NULL ? 1u << SINK_WEBHOOK : 0);
}

void
alerts_config_done(struct alerts_config *a)
{
	free(a->journald);
	free(a->syslog.path);
	free(a->webhook.url);
	free(a->webhook.token_file);
	free(a->webhook.ca_file);
	*a = (struct alerts_config){ 0 };
}

static int
duration_read(
    const struct reader *r, const struct slot *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	char said[SHOWN_LEN], low[DURATION_STRLEN], high[DURATION_STRLEN];
	const char *text;
	uint64_t ns;
	int rc;

	if (s->value == NULL)
		return 0;
	rc = read_text(r, s, "a duration such as 30s or 5m", 64, &text);
	if (rc < 0)
		return rc;
	if (duration_parse(text, &ns) < 0 || ns < min || ns > max)
		return read_fail(r, s, "'%s' is no duration from %s to %s", shown(text, said),
		    duration_format(min, low), duration_format(max, high));
	*ret = ns;
	return 0;
}

static int
path_read(const struct reader *r, const struct slot *s, size_t max, char **ret)
{
	char said[SHOWN_LEN];
	const char *text;
	int rc;

	if (s->value == NULL)
		return 0;
	rc = read_text(r, s, "an absolute path", max, &text);
	if (rc < 0)
		return rc;
	if (text[0] != '/')
		return read_fail(r, s, "'%s' is not an absolute path", shown(text, said));
	*ret = strdup(text);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
journald_read(const struct reader *r, const struct slot *s, struct alerts_config *a)
{
	if (s->value == NULL || json_is_false(s->value))
		return 0;
	if (!json_is_true(s->value) && !json_is_string(s->value))
		return read_fail_type(r, s, "true, false or the path of a socket of journald");
	if (json_is_string(s->value))
		return path_read(r, s, UNIX_PATH_LEN_MAX, &a->journald);
	a->journald = strdup(JOURNALD_SOCKET);
	return a->journald != NULL ? 0 : -ENOMEM;
}

/* "10.0.0.1:514", "[fd00::1]:514". */
static bool
endpoint_read(const char *text, struct addr *ret_addr, uint16_t *ret_port)
{
	char host[64];
	const char *from = text, *to = strrchr(text, ':'), *digits;
	unsigned long port;
	char *end;

	if (to == NULL || to == text)
		return false;
	digits = to + 1;
	if (*text == '[') {
		from = text + 1;
		if (*--to != ']')
			return false;
	}
	if (to <= from || (size_t)(to - from) >= sizeof(host) || *digits < '0' || *digits > '9')
		return false;
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = '\0';
	port = strtoul(digits, &end, 10);
	if (*end != '\0' || port < 1 || port > 65535 || addr_parse(host, ret_addr) < 0)
		return false;
	*ret_port = (uint16_t)port;
	return (*text == '[') == (strchr(host, ':') != NULL);
}

static int
syslog_address_read(const struct reader *r, const struct slot *s, struct alerts_config *a)
{
	char said[SHOWN_LEN];
	const char *text;
	int rc = read_text(r, s, "unix:/PATH, udp:ADDRESS:PORT or tcp:ADDRESS:PORT", 256, &text);

	if (rc < 0)
		return rc;
	if (strncmp(text, "unix:/", 6) == 0 && strlen(text + 5) <= UNIX_PATH_LEN_MAX) {
		a->syslog.transport = SYSLOG_UNIX;
		a->syslog.path = strdup(text + 5);
		return a->syslog.path != NULL ? 0 : -ENOMEM;
	}
	if ((strncmp(text, "udp:", 4) == 0 || strncmp(text, "tcp:", 4) == 0) &&
	    endpoint_read(text + 4, &a->syslog.addr, &a->syslog.port)) {
		a->syslog.transport = text[0] == 'u' ? SYSLOG_UDP : SYSLOG_TCP;
		return 0;
	}
	return read_fail(r, s,
	    "'%s' is not an address of syslog, expected unix:/PATH, udp:ADDRESS:PORT or "
	    "tcp:ADDRESS:PORT with a numeric address ([...] around IPv6)",
	    shown(text, said));
}

static int
syslog_read(const struct reader *r, const struct slot *s, struct alerts_config *a)
{
	static const struct read_key keys[] = { { "address", true }, { "facility", false } };
	struct slot f[ARRAY_SIZE(keys)];
	char said[SHOWN_LEN];
	const char *text;
	int rc;

	if (s->value == NULL)
		return 0;
	rc = read_object(r, s, "alerts.syslog", keys, ARRAY_SIZE(keys), f);
	if (rc >= 0)
		rc = syslog_address_read(r, &f[0], a);
	if (rc < 0 || f[1].value == NULL)
		return rc;
	rc = read_text(r, &f[1], "a facility such as daemon or local0", 16, &text);
	if (rc < 0)
		return rc;
	a->syslog.facility = syslog_facility_parse(text);
	if (a->syslog.facility < 0)
		return read_fail(r, &f[1],
		    "'%s' is not a facility of syslog, expected one such as daemon or local0",
		    shown(text, said));
	return 0;
}

static int
url_read(const struct reader *r, const struct slot *s, char **ret)
{
	const char *text, *host;
	size_t len;
	int rc = read_text(r, s, "a URL", URL_LEN_MAX, &text);

	if (rc < 0)
		return rc;
	host = strstr(text, "://");
	host = host != NULL ? host + 3 : "";
	len = strcspn(host, "/?#");
	if ((strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0) || len == 0)
		return read_fail(r, s, "it is not a URL of http or https");
	if (memchr(host, '@', len) != NULL)
		return read_fail(r, s,
		    "a URL with a password would show it to everybody who may read this file: "
		    "use tokenFile");
	for (const char *p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p == 0x7f)
			return read_fail(
			    r, s, "it is not a URL: it has a character that has to be escaped");
	*ret = strdup(text);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
webhook_read(const struct reader *r, const struct slot *s, struct alerts_config *a)
{
	static const struct read_key keys[] = { { "url", true }, { "tokenFile", false },
		{ "caFile", false }, { "timeout", false } };
	struct slot f[ARRAY_SIZE(keys)];
	int rc;

	if (s->value == NULL)
		return 0;
	rc = read_object(r, s, "alerts.webhook", keys, ARRAY_SIZE(keys), f);
	if (rc >= 0)
		rc = url_read(r, &f[0], &a->webhook.url);
	if (rc >= 0)
		rc = path_read(r, &f[1], PATH_LEN_MAX, &a->webhook.token_file);
	if (rc >= 0)
		rc = path_read(r, &f[2], PATH_LEN_MAX, &a->webhook.ca_file);
	if (rc >= 0)
		rc = duration_read(
		    r, &f[3], NSEC_PER_SEC, 60 * NSEC_PER_SEC, &a->webhook.timeout_ns);
	return rc;
}

int
alerts_config_read(const struct reader *r, const struct slot *s, struct alerts_config *ret)
{
	static const struct read_key keys[] = { { "repeatAfter", false }, { "perMinute", false },
		{ "journald", false }, { "syslog", false }, { "webhook", false } };
	struct slot f[ARRAY_SIZE(keys)];
	int64_t n = 60;
	int rc = read_object(r, s, "alerts", keys, ARRAY_SIZE(keys), f);

	if (rc < 0)
		return rc;
	alerts_config_done(ret);
	ret->repeat_after_ns = 300 * NSEC_PER_SEC;
	ret->webhook.timeout_ns = 10 * NSEC_PER_SEC;
	ret->syslog.facility = syslog_facility_parse("daemon");
	rc = duration_read(r, &f[0], NSEC_PER_SEC, 86400 * NSEC_PER_SEC, &ret->repeat_after_ns);
	if (rc >= 0 && f[1].value != NULL)
		rc = read_int(r, &f[1], "a number", 1, 10000, &n);
	if (rc < 0)
		return rc;
	ret->per_minute = (uint32_t)n;
	rc = journald_read(r, &f[2], ret);
	if (rc >= 0)
		rc = syslog_read(r, &f[3], ret);
	return rc < 0 ? rc : webhook_read(r, &f[4], ret);
}

void
metrics_config_done(struct metrics_config *m)
{
	free(m->textfile);
	*m = (struct metrics_config){ 0 };
}

int
metrics_config_read(const struct reader *r, const struct slot *s, struct metrics_config *ret)
{
	static const struct read_key keys[] = { { "listen", false }, { "textfile", false } };
	struct slot f[ARRAY_SIZE(keys)];
	char said[SHOWN_LEN];
	const char *text;
	int rc = read_object(r, s, "metrics", keys, ARRAY_SIZE(keys), f);

	if (rc < 0)
		return rc;
	metrics_config_done(ret);
	if (f[0].value != NULL) {
		rc = read_text(r, &f[0], "an address and port such as 127.0.0.1:9477", 64, &text);
		if (rc < 0)
			return rc;
		if (!endpoint_read(text, &ret->addr, &ret->port) || !addr_is_loopback(&ret->addr))
			return read_fail(r, &f[0],
			    "'%s' is not a loopback address and port such as 127.0.0.1:9477",
			    shown(text, said));
	}
	return path_read(r, &f[1], PATH_LEN_MAX, &ret->textfile);
}
