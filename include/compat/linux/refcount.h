/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_REFCOUNT_H
#define KARC_COMPAT_LINUX_REFCOUNT_H

#include <karc/refcount/refcount.h>

#endif
