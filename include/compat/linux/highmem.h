/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_HIGHMEM_H
#define KARC_COMPAT_LINUX_HIGHMEM_H

#include <karc/mm/kva/highmem.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/zone_walk.h>

#endif
