/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_EXPORT_H
#define KARC_COMPAT_LINUX_EXPORT_H

#include <karc/harness/module.h>

#endif
