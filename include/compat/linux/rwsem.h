/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RWSEM_H
#define KARC_COMPAT_LINUX_RWSEM_H

#include <karc/hw/rwsem.h>

#endif
