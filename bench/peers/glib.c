/* SPDX-License-Identifier: MIT */
/*
 * glib.c - GLib's atomic reference counted boxes; see peer.h for the functions
 */
#include "peer.h"
#include <glib.h>

/* 64 bytes together with GLib's 16. */
struct object {
	char payload[48];
};

struct branch {
	struct branch *left, *right;
};

void *get_put_begin(unsigned long n, const unsigned int *order)
{
	(void)n, (void)order;
	return g_atomic_rc_box_new0(struct object);
}

void get_put_run(void *state, unsigned long n)
{
	while (n--) {
		PEER_SEEN(g_atomic_rc_box_acquire(state));
		g_atomic_rc_box_release(state);
	}
}

void get_put_end(void *state)
{
	g_atomic_rc_box_release(state);
}

void create_run(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		struct object *obj = g_atomic_rc_box_new0(struct object);

		PEER_SEEN(obj);
		g_atomic_rc_box_release(obj);
	}
}

static void branch_clear(void *p)
{
	struct branch *b = p;

	if (b->left)
		g_atomic_rc_box_release_full(b->left, branch_clear);
	if (b->right)
		g_atomic_rc_box_release_full(b->right, branch_clear);
}

void *tree_begin(unsigned long n, const unsigned int *order)
{
	struct branch **places = g_new(struct branch *, n), *root;
	unsigned long i;

	for (i = 0; i < n; i++)
		places[order[i]] = g_atomic_rc_box_new0(struct branch);
	for (i = 0; i < n; i++) {
		places[i]->left = 2 * i + 1 < n ? places[2 * i + 1] : NULL;
		places[i]->right = 2 * i + 2 < n ? places[2 * i + 2] : NULL;
	}
	root = places[0];
	g_free(places);
	return root;
}

void tree_run(void *state, unsigned long n)
{
	(void)n;
	g_atomic_rc_box_release_full(state, branch_clear);
}
