/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_DIV64_H
#define KARC_COMPAT_ASM_DIV64_H

#include <karc/base/math64.h>

#endif
