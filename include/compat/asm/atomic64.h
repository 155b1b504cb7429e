/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_ATOMIC64_H
#define KARC_COMPAT_ASM_ATOMIC64_H

#include <karc/base/atomic.h>

#endif
