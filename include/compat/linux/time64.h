/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_TIME64_H
#define KARC_COMPAT_LINUX_TIME64_H

#include <karc/hw/clock.h>

#endif
