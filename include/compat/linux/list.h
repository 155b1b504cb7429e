/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_LIST_H
#define KARC_COMPAT_LINUX_LIST_H

#include <karc/base/list.h>

#endif
