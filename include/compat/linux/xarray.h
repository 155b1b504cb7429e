/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_XARRAY_H
#define KARC_COMPAT_LINUX_XARRAY_H

#include <karc/base/xarray.h>

#endif
