/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_BUILD_BUG_H
#define KARC_COMPAT_LINUX_BUILD_BUG_H

#include <karc/base/compiler.h>

#endif
