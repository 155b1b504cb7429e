/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_VM_EVENT_ITEM_H
#define KARC_COMPAT_LINUX_VM_EVENT_ITEM_H

#include <karc/mm/phys/vmstat.h>

#endif
