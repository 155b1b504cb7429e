/* SPDX-License-Identifier: MIT */
/*
 * maps.h - /proc/PID/maps of an address space, byte for byte in Linux's format
 */
#ifndef KARC_MM_SPACE_MAPS_H
#define KARC_MM_SPACE_MAPS_H

#include <karc/base/contract.h>
#include <karc/mm/mm_types.h>

#define MAPS_LINE_MAX	1024	/* bytes of one line, longer names are cut; NUL included */

/* One line, newline and NUL included, into buf[MAPS_LINE_MAX]; mmap_lock held. Returns length. */
size_t maps_line(struct vm_area_struct *vma, char *buf);

/* Every line in order, fn(arg, line, length). Takes mmap_lock for reading; @fn must not. */
void maps_for_each(struct mm_struct *mm, void (*fn)(void *arg, const char *line, size_t len),
		   void *arg);

/* The whole text into buf[size], cut if it does not fit, always terminated. Returns its length. */
size_t maps_text(struct mm_struct *mm, char *buf, size_t size);

#endif
