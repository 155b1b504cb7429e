/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MMDEBUG_H
#define KARC_COMPAT_LINUX_MMDEBUG_H

#include <karc/base/bug.h>

#endif
