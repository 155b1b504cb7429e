/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_BITS_H
#define KARC_COMPAT_LINUX_BITS_H

#include <karc/base/bitops.h>

#endif
