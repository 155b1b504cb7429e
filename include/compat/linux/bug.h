/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_BUG_H
#define KARC_COMPAT_LINUX_BUG_H

#include <karc/base/bug.h>

#endif
