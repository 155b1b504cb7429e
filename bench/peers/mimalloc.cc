// SPDX-License-Identifier: MIT
//
// mimalloc.cc - mimalloc, and std::shared_ptr whose objects, control block included, come from it
//
// The allocator is named in the program instead of replacing malloc, which would replace it for
// all other peers as well.
#include <mimalloc.h>

#define MAKE(type) std::allocate_shared<type>(mi_stl_allocator<type>())
#include "shared_ptr.cc"

#define ALLOC(size)	mi_malloc(size)
#define FREE(p)		mi_free(p)
#include "alloc_peer.h"
