/* SPDX-License-Identifier: MIT */
/*
 * set_memory.h - what may be done with pages of the vmalloc window
 */
#ifndef KARC_MM_KVA_SET_MEMORY_H
#define KARC_MM_KVA_SET_MEMORY_H

/**
 * set_memory_ro, set_memory_rw - may stores be made; one that may not is an Oops
 * set_memory_x, set_memory_nx - may it be executed; kept in the tables, the host is not told
 * @addr:     page aligned, inside an area
 * @nr_pages: from there on, all of them mapped
 *
 * Ends with the area: vfree() asks for nothing to be set back.
 * Errors:  -EINVAL: not a part of one area's pages; nothing changed. The direct map cannot be
 *          changed, which Linux can.
 * Context: may sleep.
 */
int set_memory_ro(unsigned long addr, int nr_pages);
int set_memory_rw(unsigned long addr, int nr_pages);
int set_memory_x(unsigned long addr, int nr_pages);
int set_memory_nx(unsigned long addr, int nr_pages);

#endif
