/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MATH64_H
#define KARC_COMPAT_LINUX_MATH64_H

#include <karc/base/math64.h>

#endif
