/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_ASM_UACCESS_H
#define KARC_COMPAT_ASM_UACCESS_H

#include <karc/mm/space/uaccess.h>

#endif
