/* SPDX-License-Identifier: MIT */
/*
 * room.h - the refcount room, for who boots a machine
 */
#ifndef KARC_REFCOUNT_ROOM_H
#define KARC_REFCOUNT_ROOM_H

#include <karc/hw/machine.h>

extern const struct room refcount_room;

#endif
