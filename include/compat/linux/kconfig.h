/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KCONFIG_H
#define KARC_COMPAT_LINUX_KCONFIG_H

#include <karc/base/kconfig.h>

#endif
