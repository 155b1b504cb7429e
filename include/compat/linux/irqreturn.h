/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_IRQRETURN_H
#define KARC_COMPAT_LINUX_IRQRETURN_H

#include <karc/hw/irq.h>

#endif
