/* SPDX-License-Identifier: MIT */
/*
 * phys.h - the room of the frames
 */
#ifndef KARC_MM_PHYS_PHYS_H
#define KARC_MM_PHYS_PHYS_H

#include <karc/hw/machine.h>

extern const struct room phys_room;

#endif
