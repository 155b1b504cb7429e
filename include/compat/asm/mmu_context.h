/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_MMU_CONTEXT_H
#define KARC_COMPAT_ASM_MMU_CONTEXT_H

#include <karc/mm/pgtable/tlbflush.h>

#endif
