/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_RBTREE_H
#define KARC_COMPAT_LINUX_RBTREE_H

#include <karc/base/rbtree.h>

#endif
