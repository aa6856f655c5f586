/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is put into the store and deleted from it, between store_begin() and store_commit(). */
#include "daemon/denial.h"
#include "daemon/roster.h"
#include "daemon/store_internal.h"

#include <errno.h>
#include <string.h>

#define TRIM_EVERY 16 /* revisions */

void
store_bind_text(sqlite3_stmt *st, int at, const char *text)
{
	if (text == NULL)
		sqlite3_bind_null(st, at);
	else
		sqlite3_bind_blob(st, at, text, (int)strlen(text), SQLITE_TRANSIENT);
}

int
store_put_edge(struct store *s, const struct peer_table *peers, const struct edge *e)
{
	sqlite3_stmt *st = s->put_edge;
	const struct edge_evidence *ev = &e->evidence;
	char from[PEER_STRLEN], to[PEER_STRLEN];
	uint8_t extent[EXTENT_BYTES_MAX], names[SEEN_AS_BYTES_MAX];

	sqlite3_bind_text(st, 1, e->id, -1, SQLITE_TRANSIENT);
	store_bind_text(st, 2, peer_format(peer_get(peers, e->key.from), from));
	store_bind_text(st, 3, peer_format(peer_get(peers, e->key.to), to));
	sqlite3_bind_int(st, 4, e->key.proto);
	sqlite3_bind_int(st, 5, e->key.port_lo);
	sqlite3_bind_int(st, 6, e->key.port_hi);
	sqlite3_bind_int(st, 7, (int)e->state);
	sqlite3_bind_int64(st, 8, e->flags);
	sqlite3_bind_int64(st, 9, (sqlite3_int64)ev->first_seen_ns);
	sqlite3_bind_int64(st, 10, (sqlite3_int64)ev->last_seen_ns);
	sqlite3_bind_int64(st, 11, (sqlite3_int64)ev->connections_source);
	sqlite3_bind_int64(st, 12, (sqlite3_int64)ev->connections_destination);
	sqlite3_bind_int64(st, 13, (sqlite3_int64)ev->bytes);
	sqlite3_bind_int(st, 14, ev->ends);
	sqlite3_bind_blob(st, 15, ev->hour_bits, sizeof(ev->hour_bits), SQLITE_TRANSIENT);
	sqlite3_bind_blob(st, 16, ev->instance_hash, ev->n_instances * 4, SQLITE_TRANSIENT);
	sqlite3_bind_blob(st, 17, ev->client_hash, ev->n_clients * 4, SQLITE_TRANSIENT);
	store_bind_text(st, 18, e->decision.reason);
	store_bind_text(st, 19, e->decision.ticket);
	store_bind_text(st, 20, e->decision.approved_by);
	sqlite3_bind_int64(st, 21, (sqlite3_int64)e->decision.decided_ns);
	sqlite3_bind_int64(st, 22, (sqlite3_int64)e->decision.expires_ns);
	sqlite3_bind_blob(st, 23, ev->images, sizeof(ev->images), SQLITE_TRANSIENT);
	sqlite3_bind_int64(st, 24, (sqlite3_int64)e->decision.kept_ns);
	store_bind_text(st, 25, e->decision.kept_by);
	sqlite3_bind_int64(st, 26, ev->windows);
	sqlite3_bind_int64(st, 27, ev->last_window);
	if (e->extent != NULL)
		sqlite3_bind_blob(
		    st, 28, extent, (int)extent_write(e->extent, extent), SQLITE_TRANSIENT);
	if (e->seen_as != NULL)
		sqlite3_bind_blob(
		    st, 29, names, (int)seen_as_write(e->seen_as, names), SQLITE_TRANSIENT);
	return store_run(st);
}

int
store_delete_edge(struct store *s, const char *id)
{
	sqlite3_bind_text(s->delete_edge, 1, id, -1, SQLITE_TRANSIENT);
	return store_run(s->delete_edge);
}

int
store_delete_workload(struct store *s, const char *name)
{
	store_bind_text(s->delete_workload, 1, name);
	return store_run(s->delete_workload);
}

static char *
labels_text(const struct policy_label *list, size_t n)
{
	json_t *o = json_object();
	char *text;

	for (size_t i = 0; i < n; i++)
		json_object_set_new(o, list[i].key, json_string(list[i].value));
	text = json_object_size(o) == n ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

static char *
images_text(const struct workload *w)
{
	json_t *list = json_array();
	char *text;

	for (size_t i = 0; i < w->n_images; i++)
		json_array_append_new(list, json_string(w->images[i]));
	text = json_array_size(list) == w->n_images ? json_dumps(list, JSON_COMPACT) : NULL;
	json_decref(list);
	return text;
}

int
store_put_workload(struct store *s, const struct workload *w)
{
	_cleanup_free_ char *labels = labels_text(w->labels, w->n_labels);
	_cleanup_free_ char *selector = labels_text(w->selector, w->n_selector);
	_cleanup_free_ char *images = images_text(w);
	sqlite3_stmt *st = s->put_workload;
	uint8_t bytes[COMPLETE_LOG_BYTES];
	struct complete_log log;

	if (labels == NULL || selector == NULL || images == NULL)
		return -ENOMEM;
	store_bind_text(st, 1, w->name);
	store_bind_text(st, 2, w->project);
	sqlite3_bind_int(st, 3, (int)w->mode);
	sqlite3_bind_int(st, 4, (int)w->direction);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)w->first_seen_ns);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)w->last_seen_ns);
	sqlite3_bind_int64(st, 7, (sqlite3_int64)w->mode_since_ns);
	store_bind_text(st, 8, w->mode_reason);
	sqlite3_bind_int(st, 9, w->auto_promoted);
	sqlite3_bind_int64(st, 10, (sqlite3_int64)w->observed_ns);
	sqlite3_bind_text(st, 11, labels, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(st, 12, selector, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(st, 13, images, -1, SQLITE_TRANSIENT);
	store_bind_text(st, 14, w->mode_by);
	if (w->log != NULL) {
		complete_log_unfold(w->log, &log);
		complete_log_encode(&log, bytes);
		sqlite3_bind_blob(st, 15, bytes, sizeof(bytes), SQLITE_TRANSIENT);
	}
	store_bind_text(st, 16, w->networks);
	sqlite3_bind_int(st, 17, w->rolled_back);
	sqlite3_bind_int64(st, 18, (sqlite3_int64)w->missed_ns);
	return store_run(st);
}

int
store_put_networks(struct store *s, const struct policy_network *n, size_t count)
{
	int r = store_exec(s, "DELETE FROM network");

	for (size_t i = 0; r == 0 && i < count; i++) {
		_cleanup_free_ char *text = NULL;
		json_t *list = json_array();

		for (size_t k = 0; k < n[i].n_prefixes; k++) {
			char p[PREFIX_STRLEN];

			json_array_append_new(
			    list, json_string(prefix_format(&n[i].prefixes[k], p)));
		}
		text = json_dumps(list, JSON_COMPACT);
		json_decref(list);
		if (text == NULL)
			return -ENOMEM;
		store_bind_text(s->put_network, 1, n[i].name);
		sqlite3_bind_text(s->put_network, 2, text, -1, SQLITE_TRANSIENT);
		r = store_run(s->put_network);
	}
	return r;
}

int
store_put_revision(struct store *s, const struct store_revision *rev)
{
	sqlite3_stmt *st = s->put_revision;
	int r;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)rev->number);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)rev->time_ns);
	store_bind_text(st, 3, rev->actor);
	store_bind_text(st, 4, rev->action);
	store_bind_text(st, 5, rev->reason);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)strlen(rev->policy_json));
	sqlite3_bind_text(st, 7, rev->policy_json, -1, SQLITE_TRANSIENT);
	r = store_run(st);
	if (r < 0 || rev->number % TRIM_EVERY != 0)
		return r;
	r = store_run(s->trim_texts);
	if (r < 0)
		return r;
	sqlite3_bind_int64(s->trim_revisions, 1, (sqlite3_int64)rev->number);
	return store_run(s->trim_revisions);
}

int
store_put_denial(struct store *s, const struct peer_table *peers, const struct denial *d)
{
	sqlite3_stmt *st = s->put_denial;
	char from[PEER_STRLEN], to[PEER_STRLEN], addr[ADDR_STRLEN];

	sqlite3_bind_text(st, 1, d->id, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int(st, 2, d->kind);
	sqlite3_bind_int(st, 3, d->dir);
	store_bind_text(st, 4, peer_format(peer_get(peers, d->key.from), from));
	store_bind_text(st, 5, peer_format(peer_get(peers, d->key.to), to));
	sqlite3_bind_int(st, 6, d->key.proto);
	sqlite3_bind_int(st, 7, d->key.port_lo);
	sqlite3_bind_int(st, 8, d->key.port_hi);
	sqlite3_bind_text(st, 9, addr_format(&d->last.src, addr), -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(st, 10, addr_format(&d->last.dst, addr), -1, SQLITE_TRANSIENT);
	sqlite3_bind_int(st, 11, d->last.sport);
	sqlite3_bind_int(st, 12, d->last.dport);
	sqlite3_bind_int64(st, 13, (sqlite3_int64)d->count);
	sqlite3_bind_int64(st, 14, (sqlite3_int64)d->first_ns);
	sqlite3_bind_int64(st, 15, (sqlite3_int64)d->last_ns);
	return store_run(st);
}

int
store_clear_denials(struct store *s)
{
	return store_exec(s, "DELETE FROM denial");
}

int
store_put_exposure(struct store *s, const struct exposure *e)
{
	int r;

	store_bind_text(s->put_exposure, 1, e->workload);
	sqlite3_bind_text(s->put_exposure, 2, e->instance, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s->put_exposure, 3, (sqlite3_int64)e->from_ns);
	sqlite3_bind_int64(s->put_exposure, 4, (sqlite3_int64)e->to_ns);
	r = store_run(s->put_exposure);
	sqlite3_bind_int(s->trim_exposures, 1, CTL_MAX_EXPOSURES);
	return r == 0 ? store_run(s->trim_exposures) : r;
}
