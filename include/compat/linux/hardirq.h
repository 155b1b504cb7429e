/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_HARDIRQ_H
#define KARC_COMPAT_LINUX_HARDIRQ_H

#include <karc/hw/context.h>

#endif
