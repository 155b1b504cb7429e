/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_DELAY_H
#define KARC_COMPAT_ASM_DELAY_H

#include <karc/hw/clock.h>

#endif
