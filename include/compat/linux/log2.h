/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_LOG2_H
#define KARC_COMPAT_LINUX_LOG2_H

#include <karc/base/math.h>

#endif
