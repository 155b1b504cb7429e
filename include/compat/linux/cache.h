/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_CACHE_H
#define KARC_COMPAT_LINUX_CACHE_H

#include <karc/base/compiler.h>

#endif
