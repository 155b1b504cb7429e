/* SPDX-License-Identifier: MIT */
/*
 * glibc.c - the allocator of the C library
 *
 * The compiler is told that it knows nothing of malloc(), or it would leave pairs out.
 */
#include <stdlib.h>

#define ALLOC(size)	malloc(size)
#define FREE(p)		free(p)
#include "alloc_peer.h"
