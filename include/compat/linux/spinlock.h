/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SPINLOCK_H
#define KARC_COMPAT_LINUX_SPINLOCK_H

#include <karc/hw/spinlock.h>

#endif
