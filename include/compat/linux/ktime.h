/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KTIME_H
#define KARC_COMPAT_LINUX_KTIME_H

#include <karc/hw/clock.h>

#endif
