/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_CLEANUP_H
#define KARC_COMPAT_LINUX_CLEANUP_H

#include <karc/base/cleanup.h>

#endif
