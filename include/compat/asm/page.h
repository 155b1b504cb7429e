/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_PAGE_H
#define KARC_COMPAT_ASM_PAGE_H

#include <karc/base/math.h>
#include <karc/hw/physmem.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/phys/page.h>

#endif
