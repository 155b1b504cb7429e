/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_PERCPU_H
#define KARC_COMPAT_ASM_PERCPU_H

#include <karc/hw/percpu.h>

#endif
