/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_TIMEKEEPING_H
#define KARC_COMPAT_LINUX_TIMEKEEPING_H

#include <karc/hw/clock.h>

#endif
