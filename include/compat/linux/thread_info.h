/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_THREAD_INFO_H
#define KARC_COMPAT_LINUX_THREAD_INFO_H

#include <karc/hw/fiber.h>

#endif
