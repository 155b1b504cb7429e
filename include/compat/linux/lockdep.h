/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_LOCKDEP_H
#define KARC_COMPAT_LINUX_LOCKDEP_H

#include <karc/hw/lockrank.h>

#endif
