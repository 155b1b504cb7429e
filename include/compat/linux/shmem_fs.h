/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SHMEM_FS_H
#define KARC_COMPAT_LINUX_SHMEM_FS_H

#include <karc/mm/cache/shmem.h>

#endif
