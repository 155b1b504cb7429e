/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_POISON_H
#define KARC_COMPAT_LINUX_POISON_H

#include <karc/base/poison.h>

#endif
