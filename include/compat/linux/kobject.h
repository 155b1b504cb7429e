/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_KOBJECT_H
#define KARC_COMPAT_LINUX_KOBJECT_H

#include <karc/kobject/kobject.h>

#endif
