/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PAGE_FLAGS_H
#define KARC_COMPAT_LINUX_PAGE_FLAGS_H

#include <karc/mm/phys/folio.h>
#include <karc/mm/phys/page.h>

#endif
