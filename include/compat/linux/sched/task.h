/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SCHED_TASK_H
#define KARC_COMPAT_LINUX_SCHED_TASK_H

#include <karc/proc/exit.h>
#include <karc/proc/fork.h>
#include <karc/proc/task.h>

#endif
