/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_ALIGN_H
#define KARC_COMPAT_LINUX_ALIGN_H

#include <karc/base/math.h>

#endif
