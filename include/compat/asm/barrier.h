/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_BARRIER_H
#define KARC_COMPAT_ASM_BARRIER_H

#include <karc/base/atomic.h>

#endif
