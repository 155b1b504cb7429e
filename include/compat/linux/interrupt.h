/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_INTERRUPT_H
#define KARC_COMPAT_LINUX_INTERRUPT_H

#include <karc/hw/irq.h>

#endif
