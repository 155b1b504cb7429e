/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_COMPILER_H
#define KARC_COMPAT_LINUX_COMPILER_H

#include <karc/base/compiler.h>

#endif
