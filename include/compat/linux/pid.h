/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PID_H
#define KARC_COMPAT_LINUX_PID_H

#include <karc/proc/pid.h>

#endif
