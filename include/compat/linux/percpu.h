/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PERCPU_H
#define KARC_COMPAT_LINUX_PERCPU_H

#include <karc/hw/percpu.h>
#include <karc/mm/slab/percpu.h>

#endif
