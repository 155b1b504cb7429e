/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KSTRTOX_H
#define KARC_COMPAT_LINUX_KSTRTOX_H

#include <karc/base/string.h>

#endif
