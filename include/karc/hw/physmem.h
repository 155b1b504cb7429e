/* SPDX-License-Identifier: MIT */
/*
 * physmem.h - RAM: banks, holes, and the bytes of a frame
 *
 * One reserved host range per machine, the arena:
 *
 *   arena                          arena + direct_map_bytes
 *   | direct map: phys 0 ... lowmem end | gap | windows: vmalloc | gap | percpu | gap | kmap | gap |
 *
 * RAM is a memfd mapped shared, so that a window can show the same frame again. Holes and
 * HIGHMEM frames are not accessible in the direct map. The memmap (one 64-byte struct page per
 * pfn, holes included) is a host mapping of its own, zero until touched.
 */
#ifndef KARC_HW_PHYSMEM_H
#define KARC_HW_PHYSMEM_H

#include <karc/base/math.h>
#include <karc/hw/cpu.h>

/* Bytes of struct page; the phys room asserts it. */
#define PHYSMEM_PAGE_STRUCT_BYTES	64UL

/* RAM lies below this physical address; table entries with a bit from here on are reserved. */
#define PHYSMEM_ADDR_BITS	44

/* NUMA nodes a bank may name: 0 .. PHYSMEM_MAX_NODES - 1. */
#define PHYSMEM_MAX_NODES	8

/* True for addresses in the direct map (one unsigned compare). */
static inline bool virt_addr_valid_fast(const void *p)
{
	const struct cpu *c = karc_cpu;

	return (u64)((const char *)p - c->arena) < c->direct_map_bytes;
}

static inline void *phys_to_virt(phys_addr_t pa)
{
	return karc_cpu->arena + pa;
}

static inline phys_addr_t virt_to_phys(const volatile void *p)
{
	return (phys_addr_t)((const volatile char *)p - karc_cpu->arena);
}

#define __va(pa)	phys_to_virt(pa)
#define __pa(p)		virt_to_phys((const void *)(p))

unsigned long physmem_max_pfn(const struct machine *m);		/* one past the last frame */
unsigned long physmem_nr_frames(const struct machine *m);	/* frames that exist */
bool physmem_pfn_is_ram(const struct machine *m, unsigned long pfn);
bool physmem_pfn_is_highmem(const struct machine *m, unsigned long pfn);

/**
 * physmem_join - let the host map the frames around @pfn as one page of its own
 * @pfn: of lowmem, touched before
 *
 * For the PHYSMEM_JOIN_FRAMES frames, aligned to as many, that @pfn is one of, when most of them
 * will stay in use: one entry of the host's TLB serves them all. Contents do not change; frames
 * that were never touched have memory behind them from then on.
 *
 * Context: takes as long as touching all of them for the first time.
 * Errors:  none: a host that cannot, or part of the range that is no lowmem, changes nothing.
 */
#define PHYSMEM_JOIN_FRAMES	512ul
void physmem_join(const struct machine *m, unsigned long pfn);

/* What a CPU keeps in its first cache line. */
char *physmem_arena(const struct machine *m);
u64 physmem_direct_map_bytes(const struct machine *m);
struct page *physmem_memmap(const struct machine *m);

/* Bytes of the whole reservation: direct map, gaps and windows. */
u64 physmem_arena_bytes(const struct machine *m);

/**
 * physmem_bank - bank @i of the memory map
 *
 * Banks are sorted and disjoint, and cut at every zone boundary of the config: all frames of a
 * bank belong to one zone and one node.
 *
 * Returns: false when there is no bank @i; otherwise *@bank is filled.
 */
bool physmem_bank(const struct machine *m, unsigned int i, struct machine_bank *bank);

/* Windows: host address ranges inside the arena that can show any frame. */
enum physmem_window { WINDOW_VMALLOC, WINDOW_PERCPU, WINDOW_KMAP, WINDOW_NR };

/* Of the percpu window each CPU has so much. */
#define PERCPU_WINDOW_BYTES	(64ULL << 20)

char *physmem_window(const struct machine *m, enum physmem_window w, u64 *size_bytes);

/**
 * physmem_window_map - show frames [@pfn, @pfn + @nr_pages) at @addr inside a window
 * physmem_window_unmap - make the range fault again
 *
 * A frame may be shown any number of times. Mapping over a mapping replaces it. A range that
 * leaves its window, or a frame that is not RAM, is a BUG.
 * Context: any; a host system call or two, so not for fast paths.
 * Errors:  -ENOMEM when the host refuses (its limit of mappings); the range then faults.
 */
int physmem_window_map(struct machine *m, void *addr, unsigned long pfn, unsigned long nr_pages);
void physmem_window_unmap(struct machine *m, void *addr, unsigned long nr_pages);

/**
 * physmem_window_show, physmem_window_hide - the same for a room that keeps books of its window
 * @flags: WINDOW_READONLY: stores fault; WINDOW_POPULATE: the host fills its tables at once
 *
 * Nothing is checked, and a refusal of the host is told, not judged.
 * Context: any thread of the process, inside a signal handler too.
 * Returns: false when the host refuses: part of the range may have been changed.
 */
#define WINDOW_READONLY	0x1u
#define WINDOW_POPULATE	0x2u
bool physmem_window_show(const struct machine *m, void *addr, unsigned long pfn,
			 unsigned long nr_pages, unsigned int flags);
bool physmem_window_hide(const struct machine *m, void *addr, unsigned long nr_pages);

/* Host-side access to a frame that works for HIGHMEM too: for hw and tests, not for fast paths. */
void physmem_read(const struct machine *m, phys_addr_t pa, void *buf, u64 bytes);
void physmem_write(const struct machine *m, phys_addr_t pa, const void *buf, u64 bytes);

#endif
