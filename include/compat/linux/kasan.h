/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KASAN_H
#define KARC_COMPAT_LINUX_KASAN_H

#include <karc/mm/kasan.h>

#endif
