/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_CPUMASK_H
#define KARC_COMPAT_LINUX_CPUMASK_H

#include <karc/hw/cpumask.h>

#endif
