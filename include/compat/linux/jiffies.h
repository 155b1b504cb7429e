/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_JIFFIES_H
#define KARC_COMPAT_LINUX_JIFFIES_H

#include <karc/hw/clock.h>

#endif
