/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_ERR_H
#define KARC_COMPAT_LINUX_ERR_H

#include <karc/base/err.h>

#endif
