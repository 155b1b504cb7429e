/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_TIMEX_H
#define KARC_COMPAT_ASM_TIMEX_H

#include <karc/hw/clock.h>

#endif
