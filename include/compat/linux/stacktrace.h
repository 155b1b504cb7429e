/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_STACKTRACE_H
#define KARC_COMPAT_LINUX_STACKTRACE_H

#include <karc/hw/stacktrace.h>

#endif
