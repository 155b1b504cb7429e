/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KREF_H
#define KARC_COMPAT_LINUX_KREF_H

#include <karc/refcount/kref.h>

#endif
