/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame-dump FOLDER FILE...: prints what frame_parse() makes of every packet of the capture files,
 * one line a packet: link type, packet number of that link type, file, result, and for a tuple its
 * fields. All packets of a link type also go to FOLDER/LINKTYPE.pcap, so that another program can
 * read the same packets in the same order at once. Used by frame-captures.py.
 */
#include "rules/frame.h"

#include "rules/util.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

#define LINKS_MAX 64

struct sink {
	int linktype;
	unsigned long packets;
	pcap_t *dead;
	pcap_dumper_t *out;
};

static struct sink sinks[LINKS_MAX];

static struct sink *
sink_find(const char *folder, int linktype)
{
	char path[4096];
	size_t i;

	for (i = 0; i < LINKS_MAX && sinks[i].out != NULL; i++)
		if (sinks[i].linktype == linktype)
			return &sinks[i];
	if (i == LINKS_MAX)
		return NULL;
	snprintf(path, sizeof(path), "%s/%d.pcap", folder, linktype);
	sinks[i].linktype = linktype;
	sinks[i].dead = pcap_open_dead(linktype, 262144);
	if (sinks[i].dead != NULL)
		sinks[i].out = pcap_dump_open(sinks[i].dead, path);
	return sinks[i].out != NULL ? &sinks[i] : NULL;
}

static void
dump_packet(const char *file, struct sink *s, const struct pcap_pkthdr *h, const uint8_t *data)
{
	_cleanup_free_ uint8_t *exact = malloc(MAX(h->caplen, 1u));
	struct frame_info f;
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];
	int r;

	if (exact == NULL)
		exit(1);
	pcap_dump((u_char *)s->out, h, data);
	/* A block of its own, so that a sanitizer sees a read beyond the captured bytes. */
	memcpy(exact, data, h->caplen);
	r = frame_parse(s->linktype, exact, h->caplen, &f);
	printf("%d %lu %s %d", s->linktype, ++s->packets, file, r);
	if (r == 0)
		printf(" %s %s %u %u %u %u", addr_format(&f.tuple.src, src),
		    addr_format(&f.tuple.dst, dst), f.tuple.proto, f.tuple.sport, f.tuple.dport,
		    f.tcp_flags);
	printf("\n");
	if (r == 0 && (f.payload_off > h->caplen || f.payload_len > h->caplen - f.payload_off))
		exit(1);
}

static int
dump_file(const char *folder, const char *path)
{
	const char *base = strrchr(path, '/');
	char error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *h;
	const uint8_t *data;
	struct sink *s;
	pcap_t *p;

	p = pcap_open_offline(path, error);
	if (p == NULL) {
		fprintf(stderr, "%s: %s\n", path, error);
		return 0;
	}
	s = sink_find(folder, pcap_datalink(p));
	if (s == NULL)
		return -1;
	while (pcap_next_ex(p, &h, &data) == 1)
		dump_packet(base != NULL ? base + 1 : path, s, h, data);
	pcap_close(p);
	return 0;
}

int
main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (dump_file(argv[1], argv[i]) < 0)
			return 1;
	for (size_t i = 0; i < LINKS_MAX && sinks[i].out != NULL; i++) {
		pcap_dump_close(sinks[i].out);
		pcap_close(sinks[i].dead);
	}
	return 0;
}
