/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_PGALLOC_H
#define KARC_COMPAT_ASM_PGALLOC_H

#include <karc/mm/pgtable/pgtable.h>

#endif
