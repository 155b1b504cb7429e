/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_NODEMASK_H
#define KARC_COMPAT_LINUX_NODEMASK_H

#include <karc/hw/nodemask.h>

#endif
