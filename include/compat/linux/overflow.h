/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_OVERFLOW_H
#define KARC_COMPAT_LINUX_OVERFLOW_H

#include <karc/base/overflow.h>

#endif
