/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_BUG_H
#define KARC_COMPAT_ASM_BUG_H

#include <karc/base/bug.h>

#endif
