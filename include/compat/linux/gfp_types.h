/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_GFP_TYPES_H
#define KARC_COMPAT_LINUX_GFP_TYPES_H

#include <karc/mm/gfp.h>

#endif
