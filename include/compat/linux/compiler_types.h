/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_COMPILER_TYPES_H
#define KARC_COMPAT_LINUX_COMPILER_TYPES_H

#include <karc/base/compiler.h>

#endif
