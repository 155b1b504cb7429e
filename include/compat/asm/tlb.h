/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_TLB_H
#define KARC_COMPAT_ASM_TLB_H

#include <karc/mm/pgtable/mmu_gather.h>

#endif
