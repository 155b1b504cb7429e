/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_PGTABLE_H
#define KARC_COMPAT_ASM_PGTABLE_H

#include <karc/mm/pgtable/pgtable.h>

#endif
