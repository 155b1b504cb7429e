/* SPDX-License-Identifier: MIT */
/*
 * peers.c - what others offer, each in a shared object that may be missing
 *
 * What it is      A peer needs a compiler or a library that karc does not, so it is opened when it
 *                 is there. peers/build.py built it, or wrote why it could not into a file beside;
 *                 the report repeats that: nobody is left out silently.
 *                 A library that wants to be everybody's malloc() is one to its peer only: names
 *                 are looked up in what the peer was linked with before the program's
 *                 (RTLD_DEEPBIND), and nobody else sees them (RTLD_LOCAL).
 * Objects         peers -> peer, one for each row of names[]
 */
#define _GNU_SOURCE	/* RTLD_DEEPBIND */
#include "bench_internal.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The sanitizers want to be everybody's malloc() themselves; figures mean nothing with them. */
#if defined(KARC_VARIANT) && KARC_VARIANT >= 2
#define OWN_NAMES_FIRST	0
#else
#define OWN_NAMES_FIRST	RTLD_DEEPBIND
#endif

static const struct {
	const char *file, *name;
} names[] = {
	{ "c11", "C11" },
	{ "rust", "Arc" },
	{ "shared_ptr", "shared_ptr" },
	{ "mimalloc", "mimalloc" },
	{ "glib", "GLib" },
	{ "talloc", "talloc" },
	{ "glibc", "glibc" },
	{ "jemalloc", "jemalloc" },
	{ "tcmalloc", "tcmalloc" },
	{ "host", "host" },
};

#define NR_NAMES	(sizeof(names) / sizeof(names[0]))

/* The first line of DIR/peer_FILE.SUFFIX into @text. */
static bool first_line(const char *dir, const char *file, const char *suffix, char *text, int size)
{
	char path[4096];
	FILE *f;
	bool read;

	snprintf(path, sizeof(path), "%s/peer_%s.%s", dir, file, suffix);
	f = fopen(path, "r");
	if (!f)
		return false;
	read = fgets(text, size, f) != NULL;
	fclose(f);
	if (read)
		text[strcspn(text, "\n")] = '\0';
	return read;
}

static void peer_open(struct peer *peer, const char *dir)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/peer_%s.so", dir, peer->file);
	peer->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | OWN_NAMES_FIRST);
	if (peer->handle) {
		first_line(dir, peer->file, "txt", peer->text, sizeof(peer->text));
		return;
	}
	snprintf(peer->text, sizeof(peer->text), "%s", dlerror());
	if (strstr(peer->text, path) && strstr(peer->text, "No such file") &&
	    !first_line(dir, peer->file, "why", peer->text, sizeof(peer->text)))
		snprintf(peer->text, sizeof(peer->text), "not built: run ninja bench-peers");
}

int peers_open(struct peers *peers, const char *dir)
{
	unsigned int i;

	peers->dir = dir;
	peers->nr = 0;
	peers->peer = calloc(NR_NAMES, sizeof(*peers->peer));
	if (!peers->peer)
		return -1;
	for (i = 0; i < NR_NAMES; i++) {
		peers->peer[i].file = names[i].file;
		peers->peer[i].name = names[i].name;
		peer_open(&peers->peer[i], dir);
	}
	peers->nr = NR_NAMES;
	return 0;
}

void peers_close(struct peers *peers)
{
	/* The handles stay: run-time systems of other languages cannot all be unloaded. */
	free(peers->peer);
	peers->peer = NULL;
	peers->nr = 0;
}

struct peer *peers_find(struct peers *peers, const char *file)
{
	unsigned int i;

	for (i = 0; i < peers->nr; i++)
		if (!strcmp(peers->peer[i].file, file))
			return &peers->peer[i];
	return NULL;
}

static void *find_function(const struct peer *peer, const char *symbol, const char *part)
{
	char name[128];

	snprintf(name, sizeof(name), "%s_%s", symbol, part);
	return dlsym(peer->handle, name);
}

bool peer_ops(const struct peer *peer, const struct bench_row *row, struct bench_ops *ops)
{
	const char *around = row->begin_symbol ? row->begin_symbol : row->symbol;

	if (!peer || !peer->handle || !row->symbol)
		return false;
	*(void **)&ops->begin = find_function(peer, around, "begin");
	*(void **)&ops->run = find_function(peer, row->symbol, "run");
	*(void **)&ops->end = find_function(peer, around, "end");
	return ops->run != NULL;
}
