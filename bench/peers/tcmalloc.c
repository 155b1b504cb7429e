/* SPDX-License-Identifier: MIT */
/*
 * tcmalloc.c - tcmalloc of gperftools
 *
 * tc_malloc() is the function that the library exports as malloc(), too.
 */
#include <gperftools/tcmalloc.h>

#define ALLOC(size)	tc_malloc(size)
#define FREE(p)		tc_free(p)
#include "alloc_peer.h"
