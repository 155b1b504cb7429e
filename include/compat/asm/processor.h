/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_PROCESSOR_H
#define KARC_COMPAT_ASM_PROCESSOR_H

#include <karc/base/compiler.h>
#include <karc/hw/fiber.h>
#include <karc/mm/space/mm.h>

#endif
