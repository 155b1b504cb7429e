/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SMP_H
#define KARC_COMPAT_LINUX_SMP_H

#include <karc/hw/cpumask.h>
#include <karc/hw/ipi.h>

#endif
