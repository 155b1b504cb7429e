/* SPDX-License-Identifier: MIT */
/*
 * c11.c - the limit: a bare C11 atomic counter that checks nothing
 */
#include "peer.h"
#include <stdatomic.h>
#include <stdlib.h>

struct object {
	_Alignas(64) atomic_uint count;
	char payload[60];
};

void *get_put_begin(unsigned long n, const unsigned int *order)
{
	struct object *obj = aligned_alloc(64, sizeof(*obj));

	(void)order;
	if (obj)
		atomic_init(&obj->count, (unsigned int)n + 1);
	return obj;
}

static inline void put(struct object *obj)
{
	if (atomic_fetch_sub_explicit(&obj->count, 1, memory_order_release) == 1) {
		atomic_thread_fence(memory_order_acquire);
		free(obj);
	}
}

void get_put_run(void *state, unsigned long n)
{
	struct object *obj = state;

	while (n--) {
		atomic_fetch_add_explicit(&obj->count, 1, memory_order_relaxed);
		PEER_SEEN(obj);
		put(obj);
	}
}

void get_run(void *state, unsigned long n)
{
	struct object *obj = state;

	while (n--) {
		atomic_fetch_add_explicit(&obj->count, 1, memory_order_relaxed);
		PEER_SEEN(obj);
	}
}

void put_run(void *state, unsigned long n)
{
	while (n--) {
		PEER_SEEN(state);
		put(state);
	}
}

void get_put_end(void *state)
{
	free(state);
}
