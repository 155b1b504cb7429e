/* SPDX-License-Identifier: MIT */
/* A BUG that says what it found; for contracts whose breach needs more than a condition. */
#ifndef KARC_SRC_HW_BUGMSG_H
#define KARC_SRC_HW_BUGMSG_H

#include <karc/base/bug.h>

#define BUG_MSG(...) karc_bug_msg(KARC_BUG_SITE(""), __VA_ARGS__)

#endif
