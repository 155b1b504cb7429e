/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_BITMAP_H
#define KARC_COMPAT_LINUX_BITMAP_H

#include <karc/base/bitmap.h>

#endif
