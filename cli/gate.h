/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Wiring the start gate into engines: files of this machine, edited as root, without the daemon.
 * What goes wrong is reported where it is found, in a sentence; functions return an exit code, or 0
 * or a negative errno where they say so.
 */
#ifndef NANOSEG_CLI_GATE_H
#define NANOSEG_CLI_GATE_H

#include "cli/cli.h"

#include <sys/types.h>

#define GATE_MAX_FILE (4u << 20)
#define GATE_RUNTIME "nanoseg" /* the runtime's name in daemon.json */
#define GATE_HOOK "nanoseg-oci-hook"
#define GATE_WRAPPER "nanoseg-runc"
#define GATE_BACKUP ".nanoseg-backup"

struct gate_opts {
	const char *engine;	   /* NULL: all that are found */
	const char *dir;	   /* the programs' copies and gate.conf */
	const char *programs;	   /* where the programs come from */
	const char *config;	   /* docker: daemon.json */
	const char *data_root;	   /* docker */
	const char *engine_socket; /* docker */
	const char *runtime;	   /* docker: the real runtime */
	const char *hooks_dir;	   /* podman, CRI-O */
	const char *base_spec;	   /* containerd */
	const char *marker;	   /* NULL: where the daemon keeps it */
	const char *timeout;
	const char *socket; /* the daemon's */
	bool fail_open, force;
};

/* One line of `gate status`. */
struct gate_status {
	bool there;		 /* the engine is on this machine */
	bool installed;		 /* its files name the gate */
	int loaded;		 /* 1, 0, or -1: cannot be told */
	bool broken;		 /* installed, and something is missing */
	char file[4096];	 /* what names the marker */
	char detail[8192 + 256]; /* two paths */
};

/* gate_docker.c */
int gate_docker_install(const struct gate_opts *o);
int gate_docker_remove(const struct gate_opts *o);
void gate_docker_status(const struct gate_opts *o, struct gate_status *ret);

/* gate_hooks.c: Podman and CRI-O, containerd */
int gate_podman_install(const struct gate_opts *o);
int gate_podman_remove(const struct gate_opts *o);
void gate_podman_status(const struct gate_opts *o, struct gate_status *ret);
int gate_containerd_install(const struct gate_opts *o);
int gate_containerd_remove(const struct gate_opts *o);
void gate_containerd_status(const struct gate_opts *o, struct gate_status *ret);
bool gate_containerd_is_wired(const char *base_spec);

/*
 * cmd_gate.c: whether this engine of this machine, or with NULL any, is wired, by the files in
 * their usual places. True of an engine that no gate is made for.
 */
bool gate_is_wired(const char *engine);
/* gate_docker.c */
bool gate_docker_is_wired(const char *config);

/* gate_file.c: 0 or a negative errno, nothing reported. */
int gate_file_read(const char *path, char **ret, size_t *ret_len);
/* By a temporary file beside it; an existing one's owner and mode stay. */
int gate_file_write(const char *path, const char *text, size_t len, mode_t mode);
int gate_file_remove(const char *path); /* one that is not there is removed */
/* Copies both programs into o->dir; reported. An exit code. */
int gate_programs_copy(const struct gate_opts *o);
/* Removes the copies and gate.conf, and the folder if it is empty then. */
void gate_programs_remove(const struct gate_opts *o);
bool gate_programs_there(const struct gate_opts *o);
/* The program in PATH or a usual folder; false if there is none. */
bool gate_find_program(const char *name, char *ret, size_t size);
/* The hook with its arguments, {"path", "args"}; NULL without memory. */
json_t *gate_hook_entry(const struct gate_opts *o);

#endif
