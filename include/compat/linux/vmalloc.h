/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_VMALLOC_H
#define KARC_COMPAT_LINUX_VMALLOC_H

#include <karc/base/list.h>
#include <karc/base/overflow.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/kva/vmap.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/space/insert.h>

#endif
