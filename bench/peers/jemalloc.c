/* SPDX-License-Identifier: MIT */
/*
 * jemalloc.c - jemalloc, as a program gets it that is linked with it
 *
 * Its malloc() is meant to be everybody's. Here only this object binds to it: see peers.c.
 */
#include <jemalloc/jemalloc.h>

#define ALLOC(size)	malloc(size)
#define FREE(p)		free(p)
#include "alloc_peer.h"
