/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_DEVICE_H
#define KARC_COMPAT_LINUX_DEVICE_H

#include <karc/kobject/device.h>

#endif
