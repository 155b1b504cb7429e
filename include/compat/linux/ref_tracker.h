/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_REF_TRACKER_H
#define KARC_COMPAT_LINUX_REF_TRACKER_H

#include <karc/refcount/ref_tracker.h>

#endif
