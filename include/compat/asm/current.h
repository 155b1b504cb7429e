/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_CURRENT_H
#define KARC_COMPAT_ASM_CURRENT_H

#include <karc/proc/task.h>

#endif
