/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_INIT_H
#define KARC_COMPAT_LINUX_INIT_H

#include <karc/harness/module.h>

#endif
