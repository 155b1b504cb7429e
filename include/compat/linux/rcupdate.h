/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RCUPDATE_H
#define KARC_COMPAT_LINUX_RCUPDATE_H

#include <karc/refcount/rcu.h>

#endif
