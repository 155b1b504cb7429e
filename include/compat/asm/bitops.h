/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_BITOPS_H
#define KARC_COMPAT_ASM_BITOPS_H

#include <karc/base/bitops.h>

#endif
