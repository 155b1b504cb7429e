/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PRANDOM_H
#define KARC_COMPAT_LINUX_PRANDOM_H

#include <karc/hw/random.h>

#endif
