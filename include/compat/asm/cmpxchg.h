/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_CMPXCHG_H
#define KARC_COMPAT_ASM_CMPXCHG_H

#include <karc/base/atomic.h>

#endif
