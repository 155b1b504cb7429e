/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_DEV_PRINTK_H
#define KARC_COMPAT_LINUX_DEV_PRINTK_H

#include <karc/kobject/device.h>

#endif
