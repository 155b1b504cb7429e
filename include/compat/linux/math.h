/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MATH_H
#define KARC_COMPAT_LINUX_MATH_H

#include <karc/base/math.h>

#endif
