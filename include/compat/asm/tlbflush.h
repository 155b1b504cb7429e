/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_TLBFLUSH_H
#define KARC_COMPAT_ASM_TLBFLUSH_H

#include <karc/mm/pgtable/tlbflush.h>

#endif
