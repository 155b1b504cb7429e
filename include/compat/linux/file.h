/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_FILE_H
#define KARC_COMPAT_LINUX_FILE_H

#include <karc/mm/cache/file.h>

#endif
