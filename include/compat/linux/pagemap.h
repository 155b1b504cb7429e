/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_PAGEMAP_H
#define KARC_COMPAT_LINUX_PAGEMAP_H

#include <karc/mm/cache/filemap.h>

#endif
