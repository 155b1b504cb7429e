/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_IO_H
#define KARC_COMPAT_LINUX_IO_H

#include <karc/hw/physmem.h>
#include <karc/mm/phys/page.h>

#endif
