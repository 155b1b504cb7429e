/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_SHRINKER_H
#define KARC_COMPAT_LINUX_SHRINKER_H

#include <karc/mm/reclaim/shrinker.h>

#endif
