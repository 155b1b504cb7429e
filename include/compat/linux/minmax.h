/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MINMAX_H
#define KARC_COMPAT_LINUX_MINMAX_H

#include <karc/base/math.h>

#endif
