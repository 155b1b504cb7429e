/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PANIC_H
#define KARC_COMPAT_LINUX_PANIC_H

#include <karc/hw/panic.h>

#endif
