/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_FIND_H
#define KARC_COMPAT_LINUX_FIND_H

#include <karc/base/bitops.h>

#endif
