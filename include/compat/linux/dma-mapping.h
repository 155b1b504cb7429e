/* SPDX-License-Identifier: MIT */
#ifndef KARC_COMPAT_LINUX_DMA_MAPPING_H
#define KARC_COMPAT_LINUX_DMA_MAPPING_H

#include <karc/kobject/dma.h>

#endif
