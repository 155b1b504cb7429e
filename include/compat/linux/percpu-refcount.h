/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PERCPU_REFCOUNT_H
#define KARC_COMPAT_LINUX_PERCPU_REFCOUNT_H

#include <karc/refcount/percpu_ref.h>

#endif
