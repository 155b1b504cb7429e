/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RBTREE_TYPES_H
#define KARC_COMPAT_LINUX_RBTREE_TYPES_H

#include <karc/base/rbtree.h>

#endif
