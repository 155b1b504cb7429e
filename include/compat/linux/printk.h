/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PRINTK_H
#define KARC_COMPAT_LINUX_PRINTK_H

#include <karc/base/log.h>
#include <karc/hw/machine.h>

#endif
