/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_IRQFLAGS_H
#define KARC_COMPAT_LINUX_IRQFLAGS_H

#include <karc/hw/irq.h>

#endif
