/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_BOTTOM_HALF_H
#define KARC_COMPAT_LINUX_BOTTOM_HALF_H

#include <karc/hw/context.h>

#endif
