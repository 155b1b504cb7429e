/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_VMALLOC_H
#define KARC_COMPAT_LINUX_VMALLOC_H

#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/kva/vmap.h>

#endif
