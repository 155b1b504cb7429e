/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_GFP_H
#define KARC_COMPAT_LINUX_GFP_H

#include <karc/mm/gfp.h>
#include <karc/mm/phys/folio.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/zone_walk.h>

#endif
