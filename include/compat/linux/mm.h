/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MM_H
#define KARC_COMPAT_LINUX_MM_H

#include <karc/base/overflow.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/gfp.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/phys/folio.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/phys/zone_walk.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/insert.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/vma.h>
#include <karc/mm/vm_fault.h>
#include <karc/mm/vm_flags.h>

#endif
