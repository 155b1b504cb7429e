/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PFN_H
#define KARC_COMPAT_LINUX_PFN_H

#include <karc/mm/phys/page.h>

#endif
