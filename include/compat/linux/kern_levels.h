/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KERN_LEVELS_H
#define KARC_COMPAT_LINUX_KERN_LEVELS_H

#include <karc/base/log.h>

#endif
