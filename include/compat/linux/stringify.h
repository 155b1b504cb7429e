/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_STRINGIFY_H
#define KARC_COMPAT_LINUX_STRINGIFY_H

#include <karc/base/compiler.h>

#endif
