/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PREFETCH_H
#define KARC_COMPAT_LINUX_PREFETCH_H

#include <karc/base/compiler.h>

#endif
