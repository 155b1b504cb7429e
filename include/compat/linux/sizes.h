/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SIZES_H
#define KARC_COMPAT_LINUX_SIZES_H

#include <karc/base/math.h>

#endif
