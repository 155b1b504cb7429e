/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_HIGHMEM_H
#define KARC_COMPAT_LINUX_HIGHMEM_H

#include <karc/mm/kva/highmem.h>

#endif
