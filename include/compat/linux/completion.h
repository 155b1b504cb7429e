/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_COMPLETION_H
#define KARC_COMPAT_LINUX_COMPLETION_H

#include <karc/hw/completion.h>

#endif
