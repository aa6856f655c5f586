/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Input: what root sends to the API's socket. What might change something finds a controller that
 * has not been asked before.
 */
#include "daemon/alert.h"
#include "daemon/api.h"
#include "daemon/gate.h"
#include "tests/unit/ctl-fixture.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MAX_SIZE 65536
#define IDLE_TURNS 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);

/* A verification and what is held are kept until the program ends. */
const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

int
__wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int r = __real_getsockopt(fd, level, name, value, len);

	if (level == SOL_SOCKET && name == SO_PEERCRED)
		((struct ucred *)value)->uid = 0;
	return r;
}

static int
listen_anywhere(struct sockaddr_un *ret, socklen_t *ret_len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_len = sizeof(*ret);
	/* The kernel chooses an abstract name. */
	if (fd < 0 || bind(fd, (struct sockaddr *)ret, sizeof(sa_family_t)) < 0 ||
	    listen(fd, 1) < 0 || getsockname(fd, (struct sockaddr *)ret, ret_len) < 0)
		abort();
	return fd;
}

static void
converse(struct event_base *base, int fd, const uint8_t *data, size_t size)
{
	char buf[65536];
	ssize_t n;

	for (unsigned idle = 0; idle < IDLE_TURNS; idle++) {
		n = size > 0 ? send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
			idle = 0;
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			idle = 0;
		else if (n == 0)
			return;
	}
}

static void
populate(struct controller *c)
{
	struct flow_event ev;

	ctl_instance(c, 1, "web", "10.0.0.1");
	ctl_instance(c, 2, "db", "10.0.0.2");
	ev = ctl_event(1, FLOW_ANSWERED, "10.0.0.1", "10.0.0.2", 80);
	learn_flow(c, &ev);
	ctl_add_edge(c, "web", "fqdn:example.org", 443)->state = EDGE_APPROVED;
}

static struct {
	char dir[64];
	struct controller *c;
	struct sockaddr_un addr;
	socklen_t addr_len;
} served;

static void
serve(void)
{
	struct controller *c;

	fake_now = T0;
	served.c = c = ctl_new(ctl_tmpdir(served.dir));
	log_init("fuzz", LOG_LVL_ERROR);
	c->loop.base = event_base_new();
	if (gate_new(c) < 0 || history_new(c, &c->history) < 0 ||
	    alert_spool_new(1, false, &c->alert_spool) < 0 || api_new(c, &c->api) < 0 ||
	    api_listen(c->api, listen_anywhere(&served.addr, &served.addr_len)) < 0)
		abort();
	populate(c);
}

static void
remove_files(void)
{
	DIR *d = opendir(served.dir);
	const struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	rmdir(served.dir);
}

static void
serve_no_more(void)
{
	struct controller *c = served.c;

	if (c == NULL)
		return;
	api_free(c->api);
	c->api = NULL;
	event_base_free(c->loop.base);
	alert_spool_free(c->alert_spool);
	ctl_free(c);
	remove_files();
	served.c = NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd;

	if (size == 0 || size > MAX_SIZE)
		return 0;
	if (served.c == NULL) {
		atexit(serve_no_more);
		serve();
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&served.addr, served.addr_len) < 0)
		abort();
	converse(served.c->loop.base, fd, data, size);
	close(fd);
	event_base_loop(served.c->loop.base, EVLOOP_NONBLOCK);
	if (memmem(data, size, "POST", 4) != NULL) {
		serve_no_more();
		serve();
	}
	return 0;
}
