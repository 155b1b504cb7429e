/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MUTEX_H
#define KARC_COMPAT_LINUX_MUTEX_H

#include <karc/hw/mutex.h>

#endif
