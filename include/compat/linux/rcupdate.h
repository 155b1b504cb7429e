/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RCUPDATE_H
#define KARC_COMPAT_LINUX_RCUPDATE_H

#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/refcount/rcu.h>

#endif
