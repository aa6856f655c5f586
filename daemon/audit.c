/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The records of the audit log. The log is read when the first record is to be written, and again
 * after a failure; what that finds (a torn line, damage) and the daemon's start come first.
 *
 * Each record goes to syslog (authpriv) as well, and its hash to the daemon's own log: who later
 * cuts the log's end has to cut those too.
 */
#include "config.h"
#include "daemon/audit_internal.h"

#include "daemon/api.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/un.h>

#define KEEP_NS (396ULL * 86400 * NSEC_PER_SEC) /* 13 months */
#define EXPIRE_EVERY_NS (86400 * NSEC_PER_SEC)	/* whatever the clock says: one segment a day */
#define DENIED_WINDOW_NS (3600 * NSEC_PER_SEC)
#define RETRY_NS (60 * NSEC_PER_SEC)
#define SYSLOG_PATH "/dev/log"
#define SYSLOG_MAX 2048
#define SYSLOG_PRIORITY (10 << 3 | 5) /* authpriv.notice */

/* The first line of a small file, or "". */
static void
read_line(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : -1;

	buf[MAX(n, 0)] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

static void
find_user(uint32_t uid, char *ret, size_t size)
{
	struct passwd pw, *found = NULL;
	FILE *f = fopen("/etc/passwd", "re");
	char buf[1024];

	ret[0] = '\0';
	while (f != NULL && fgetpwent_r(f, &pw, buf, sizeof(buf), &found) == 0) {
		if (pw.pw_uid != uid)
			continue;
		snprintf(ret, size, "%s", pw.pw_name);
		break;
	}
	if (f != NULL)
		fclose(f);
}

void
actor_look(struct actor *who)
{
	char path[64], text[32], *end;
	unsigned long number;

	find_user(who->uid, who->user, sizeof(who->user));
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)who->pid);
	read_line(path, who->program, sizeof(who->program));
	snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)who->pid);
	read_line(path, text, sizeof(text));
	number = strtoul(text, &end, 10);
	who->has_loginuid = end != text && number < UINT32_MAX;
	who->loginuid = (uint32_t)number;
}

static json_t *
text_or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? json_text(text) : json_null();
}

static json_t *
json_actor(const struct actor *who)
{
	if (who == NULL)
		return json_pack("{s:s}", "name", "nanosegd");
	if (!who->is_process)
		return json_pack("{s:s}", "name", who->name);
	return json_pack("{s:I, s:o, s:o, s:I, s:o}", "uid", (json_int_t)who->uid, "name",
	    text_or_null(who->user[0] != '\0' ? who->user : who->name), "loginuid",
	    who->has_loginuid ? json_integer(who->loginuid) : json_null(), "pid",
	    (json_int_t)who->pid, "program", text_or_null(who->program));
}

static json_t *
json_clock(const struct audit *a)
{
	struct timex tx = { 0 };
	int r = adjtimex(&tx);

	return json_pack("{s:o, s:I, s:s}", "synchronized",
	    r < 0 ? json_null() : json_boolean(r != TIME_ERROR && (tx.status & STA_UNSYNC) == 0),
	    "monotonicMs", (json_int_t)(now_mono() / NSEC_PER_MSEC), "boot", a->boot);
}

static json_t *
object_or_null(json_t *o)
{
	return o != NULL ? o : json_null();
}

static json_t *
json_record(const struct audit *a, const struct audit_record *r, uint64_t now_ns)
{
	json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "event", r->event,
	    "time", json_time(now_ns), "clock", json_clock(a), "actor", json_actor(r->who),
	    "reason", text_or_null(r->reason), "subject", object_or_null(r->subject), "before",
	    object_or_null(r->before), "after", object_or_null(r->after), "result",
	    r->result != NULL ? r->result : "ok");

	if (o != NULL && r->ticket != NULL)
		json_object_set_new(o, "ticket", text_or_null(r->ticket));
	return o;
}

/* What the journal and syslog hold against a log whose end is gone. */
static void
tell(const struct audit *a, const json_t *record)
{
	_cleanup_free_ char *text = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII);
	const struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = SYSLOG_PATH };
	const char *event = audit_text(record, "event", NULL);
	const char *name = audit_text(record, "actor", "name");
	char line[SYSLOG_MAX], safe[256];
	int n;

	text_escape(name, strlen(name), safe, sizeof(safe));
	log_info("audit record %llu: %s by %s, head %s", (unsigned long long)a->file.seq, event,
	    safe, a->file.hash);
	n = snprintf(line, sizeof(line), "<%d>nanosegd: audit seq=%llu hash=%s %s", SYSLOG_PRIORITY,
	    (unsigned long long)a->file.seq, a->file.hash, text != NULL ? text : event);
	if (a->syslog_fd >= 0 &&
	    sendto(a->syslog_fd, line, MIN((size_t)n, sizeof(line) - 1),
		MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&to, sizeof(to)) < 0)
		log_debug("syslog does not take the audit record: %s", strerror(errno));
}

static int
append(struct audit *a, const struct audit_record *r)
{
	uint64_t now = now_real();
	json_t *o = json_record(a, r, now);
	int ret = o != NULL ? audit_file_append(&a->file, o, now) : -ENOMEM;

	if (ret == 0)
		tell(a, o);
	else
		a->loaded = ret == -E2BIG; /* such a record is refused before anything is written */
	json_decref(o);
	return ret;
}

static int
append_torn(struct audit *a)
{
	struct audit_record r = { .event = "audit-torn",
		.reason = "the last line was not written to its end",
		.subject = json_pack(
		    "{s:I, s:s}", "bytes", (json_int_t)a->file.torn, "sha256", a->file.torn_hash) };
	int ret = append(a, &r);

	if (ret == 0) {
		log_warn("the audit log's last line was torn: recorded");
		a->file.torn = 0;
	}
	return ret;
}

static int
append_damage(struct audit *a)
{
	struct audit_record r = { .event = "audit-damaged",
		.reason = "the log was changed from outside or the disk is bad",
		.subject = json_pack("{s:s}", "found", a->file.damage),
		.result = "violation" };
	int ret;

	log_error("the audit log is damaged and goes on in a new segment; run nanoseg audit-log "
		  "verify: %s",
	    a->file.damage);
	ret = append(a, &r);
	if (ret == 0)
		a->file.damage[0] = '\0';
	return ret;
}

static int
append_start(struct audit *a)
{
	struct audit_record r = { .event = "daemon-start",
		.subject = json_incref(a->start_subject),
		.after = json_incref(a->start_after) };
	int ret;

	/* A crash between the record and the store leaves one revision more; fewer are a gap. */
	if (a->file.revision > a->start_revision)
		r.result = "the last recorded change is not in force: it was not stored";
	else if (a->file.revision != 0 && a->file.revision < a->start_revision)
		r.result = "violation: the store has a later revision than the log";
	if (r.result != NULL)
		log_error("audit log: %s (log: revision %llu, store: %llu)", r.result,
		    (unsigned long long)a->file.revision, (unsigned long long)a->start_revision);
	ret = append(a, &r);
	if (ret == 0) {
		json_decref(a->start_subject);
		json_decref(a->start_after);
		a->start_subject = a->start_after = NULL;
	}
	return ret;
}

static int
make_ready(struct audit *a)
{
	int r = 0;

	if (a->file.dir_fd < 0)
		return -ENOENT;
	if (!a->loaded)
		r = audit_file_load(&a->file);
	if (r < 0)
		return r;
	a->loaded = true;
	if (a->file.torn != 0)
		r = append_torn(a);
	if (r == 0 && a->file.damage[0] != '\0')
		r = append_damage(a);
	if (r == 0 && a->start_subject != NULL)
		r = append_start(a);
	return r;
}

int
audit_write(struct audit *a, const struct audit_record *r, struct diag *d)
{
	int ret = a != NULL ? make_ready(a) : 0;

	if (a == NULL || ret < 0) {
		json_decref(r->subject);
		json_decref(r->before);
		json_decref(r->after);
	} else {
		ret = append(a, r);
	}
	if (ret < 0) {
		diag_set(d, 0, 0, "the audit log cannot be written, nothing is changed: %s",
		    strerror(-ret));
		return -EIO;
	}
	if (a != NULL)
		a->failing = false;
	return 0;
}

void
audit_note(struct audit *a, const struct audit_record *r)
{
	struct diag d;
	int ret = audit_write(a, r, &d);

	if (ret < 0 && !a->failing)
		log_error("%s is not recorded: %s", r->event, d.msg);
	if (ret < 0)
		a->failing = true;
}

void
audit_start(struct audit *a, json_t *subject, json_t *after, uint64_t revision)
{
	a->start_subject = subject;
	a->start_after = after;
	a->start_revision = revision;
	a->retry_ns = 0;
	audit_tick(a);
}

static void
note_denied(struct audit *a, const struct audit_denied *d, uint64_t count)
{
	const struct audit_record r = { .event = "denied",
		.who = &d->who,
		.subject = json_pack("{s:s, s:I}", "request", d->what, "count", (json_int_t)count),
		.result = "not permitted" };

	audit_note(a, &r);
}

void
audit_denied(struct audit *a, const struct actor *who, const char *what)
{
	struct audit_denied *place = NULL;

	if (a == NULL)
		return;
	for (size_t i = 0; i < AUDIT_DENIED_SLOTS; i++) {
		struct audit_denied *d = &a->denied[i];

		if (d->since_ns == 0)
			place = place != NULL ? place : d;
		else if (d->who.uid == who->uid) {
			d->count++;
			return;
		}
	}
	/* More users than that at once: whose they were is lost, that they were is not. */
	if (place == NULL) {
		a->denied[0].count++;
		return;
	}
	*place = (struct audit_denied){ .who = *who, .since_ns = now_mono() };
	snprintf(place->what, sizeof(place->what), "%s", what);
	note_denied(a, place, 1);
}

static void
tick_denied(struct audit *a, uint64_t now)
{
	for (size_t i = 0; i < AUDIT_DENIED_SLOTS; i++) {
		struct audit_denied *d = &a->denied[i];

		if (d->since_ns == 0 || now - d->since_ns < DENIED_WINDOW_NS)
			continue;
		if (d->count > 0) {
			note_denied(a, d, d->count);
			d->since_ns = now;
		} else {
			d->since_ns = 0;
		}
		d->count = 0;
	}
}

static void
tick_expire(struct audit *a, uint64_t now)
{
	struct audit_record r = { .event = "audit-expire", .reason = "kept for 13 months" };
	uint64_t first, real = now_real();
	struct diag d;

	if (!a->loaded || (a->expired_ns != 0 && now - a->expired_ns < EXPIRE_EVERY_NS))
		return;
	a->expired_ns = now;
	first = real > KEEP_NS ? audit_file_find_expired(&a->file, real - KEEP_NS) : 0;
	if (first == 0)
		return;
	r.subject = json_pack("{s:I}", "firstKept", (json_int_t)first);
	if (audit_write(a, &r, &d) == 0)
		audit_file_expire(&a->file, first);
}

void
audit_tick(struct audit *a)
{
	uint64_t now = now_mono();
	int r;

	if (a == NULL)
		return;
	if ((!a->loaded || a->start_subject != NULL) && now >= a->retry_ns) {
		r = make_ready(a);
		a->retry_ns = now + RETRY_NS;
		if (r < 0 && !a->failing)
			log_error("the audit log cannot be written, no change is taken until it "
				  "can: %s",
			    strerror(-r));
		a->failing = r < 0;
	}
	tick_denied(a, now);
	tick_expire(a, now);
	audit_tick_checkpoint(a, now);
}

bool
audit_head(const struct audit *a, uint64_t *ret_seq, char ret_hash[static AUDIT_HASH_STRLEN])
{
	if (a == NULL || !a->loaded || a->file.seq == 0)
		return false;
	*ret_seq = a->file.seq;
	memcpy(ret_hash, a->file.hash, AUDIT_HASH_STRLEN);
	return true;
}

json_t *
audit_list(const struct audit *a)
{
	return a != NULL && a->file.dir_fd >= 0 ? audit_list_segments(a->file.dir_fd)
						: json_array();
}

int
audit_read(const struct audit *a, const char *name, uint64_t offset, size_t max, char **ret,
    size_t *ret_len)
{
	if (a == NULL || a->file.dir_fd < 0)
		return -ENOENT;
	return audit_read_segment(a->file.dir_fd, name, offset, max, ret, ret_len);
}

int
audit_open(const char *state_dir, struct audit **ret)
{
	struct audit *a = calloc(1, sizeof(*a));
	_cleanup_close_ int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (a == NULL)
		return -ENOMEM;
	a->file.fd = a->file.dir_fd = -1;
	a->syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	boot_id(a->boot);
	if (dir >= 0 && (mkdirat(dir, "audit", 0700) == 0 || errno == EEXIST)) {
		fsync(dir);
		a->file.dir_fd =
		    openat(dir, "audit", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (a->file.dir_fd < 0)
		log_error("%s/audit: %s; no change is taken without an audit log", state_dir,
		    strerror(errno));
	*ret = a;
	return 0;
}

void
audit_close(struct audit *a)
{
	if (a == NULL)
		return;
	audit_file_done(&a->file);
	close_fd(&a->syslog_fd);
	json_decref(a->start_subject);
	json_decref(a->start_after);
	free(a);
}
