/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RCULIST_H
#define KARC_COMPAT_LINUX_RCULIST_H

#include <karc/refcount/rculist.h>

#endif
