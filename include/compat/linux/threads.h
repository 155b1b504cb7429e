/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_THREADS_H
#define KARC_COMPAT_LINUX_THREADS_H

#include <karc/hw/cpumask.h>

#endif
