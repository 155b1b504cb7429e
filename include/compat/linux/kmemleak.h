/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KMEMLEAK_H
#define KARC_COMPAT_LINUX_KMEMLEAK_H

#include <karc/mm/kmemleak.h>

#endif
