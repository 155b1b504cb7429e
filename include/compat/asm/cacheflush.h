/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_CACHEFLUSH_H
#define KARC_COMPAT_ASM_CACHEFLUSH_H

#include <karc/mm/kva/highmem.h>

#endif
