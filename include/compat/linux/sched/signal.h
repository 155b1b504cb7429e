/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SCHED_SIGNAL_H
#define KARC_COMPAT_LINUX_SCHED_SIGNAL_H

#include <karc/proc/signal.h>
#include <karc/proc/task.h>

#endif
