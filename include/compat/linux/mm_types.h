/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MM_TYPES_H
#define KARC_COMPAT_LINUX_MM_TYPES_H

#include <karc/mm/mm_types.h>
#include <karc/mm/phys/folio.h>
#include <karc/mm/vm_fault.h>

#endif
