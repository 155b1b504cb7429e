/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_SET_MEMORY_H
#define KARC_COMPAT_ASM_SET_MEMORY_H

#include <karc/mm/kva/set_memory.h>

#endif
