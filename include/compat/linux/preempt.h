/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PREEMPT_H
#define KARC_COMPAT_LINUX_PREEMPT_H

#include <karc/hw/context.h>

#endif
