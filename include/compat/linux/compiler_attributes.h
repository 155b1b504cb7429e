/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_COMPILER_ATTRIBUTES_H
#define KARC_COMPAT_LINUX_COMPILER_ATTRIBUTES_H

#include <karc/base/compiler.h>

#endif
