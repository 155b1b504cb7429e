/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_MODULEPARAM_H
#define KARC_COMPAT_LINUX_MODULEPARAM_H

#include <karc/harness/module.h>

#endif
