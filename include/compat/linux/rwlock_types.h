/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RWLOCK_TYPES_H
#define KARC_COMPAT_LINUX_RWLOCK_TYPES_H

#include <karc/hw/spinlock.h>

#endif
