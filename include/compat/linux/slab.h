/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SLAB_H
#define KARC_COMPAT_LINUX_SLAB_H

#include <karc/mm/gfp.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/kmalloc_sized.h>
#include <karc/mm/slab/slab.h>

#endif
