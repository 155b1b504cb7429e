/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_DMAPOOL_H
#define KARC_COMPAT_LINUX_DMAPOOL_H

#include <karc/kobject/dma.h>

#endif
