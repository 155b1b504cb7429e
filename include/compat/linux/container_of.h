/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_CONTAINER_OF_H
#define KARC_COMPAT_LINUX_CONTAINER_OF_H

#include <karc/base/compiler.h>

#endif
