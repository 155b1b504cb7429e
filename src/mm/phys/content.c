/* SPDX-License-Identifier: MIT */
/*
 * content.c - what is in a frame when it changes hands
 *
 * What it is
 *	A frame's bytes are wiped when it is freed (init_on_free), when it is allocated (init_on_alloc,
 *	__GFP_ZERO), or filled with a pattern when it is freed that is looked for when it is allocated
 *	(page_poison). All of it happens while nobody has the frame: after its last reference, before
 *	it is on any list; after it left the list, before its count is 1. AddressSanitizer
 *	is told at the same places.
 *
 * Objects
 *	phys.poisoned[pfn]: the frame holds the pattern. Boot touches no frame, so those that were
 *	never allocated do not.
 *
 * Invariants
 *	I1 with init_on_free, a frame that was freed reads zero until its next owner writes
 *	I2 a free frame with poisoned[pfn] holds PAGE_POISON in each byte, or somebody wrote to it
 *
 * Unlike Linux
 *	Frames that were never allocated are zero, and are not poisoned at boot.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/hw/param.h>
#include <karc/mm/phys/poison.h>
#include "internal.h"

static const char zero_page[PAGE_SIZE];

int content_init(struct phys *phys)
{
	struct machine *m = phys->machine;

	phys->init_on_alloc = boot_param_bool(m, "init_on_alloc", false);
	phys->init_on_free = boot_param_bool(m, "init_on_free", false);
	if (!boot_param_bool(m, "page_poison", false))
		return 0;
	phys->poisoned = hostmem_map(machine_hostmem(m), phys->max_pfn);
	if (!phys->poisoned)
		return -ENOMEM;
	if (phys->init_on_alloc || phys->init_on_free)
		pr_info("mem auto-init: page_poison takes precedence over init_on_alloc and "
			"init_on_free\n");
	phys->init_on_alloc = false;
	phys->init_on_free = false;
	return 0;
}

void content_exit(struct phys *phys)
{
	if (phys->poisoned)
		hostmem_unmap(machine_hostmem(phys->machine), phys->poisoned, phys->max_pfn);
	phys->poisoned = NULL;
}

/* Does a frame that changes hands need more than what the short ways do? */
bool content_is_watched(const struct phys *phys)
{
	return phys->init_on_alloc || phys->init_on_free || phys->poisoned || mem_poison_active();
}

bool want_init_on_alloc(gfp_t gfp)
{
	return (gfp & __GFP_ZERO) || phys_here()->init_on_alloc;
}

bool want_init_on_free(void)
{
	return phys_here()->init_on_free;
}

bool page_poisoning_enabled(void)
{
	return phys_here()->poisoned != NULL;
}

/* HIGHMEM has no address to speak of. */
static void clear_block(struct page *page, unsigned int order)
{
	if (likely(!PageHighMem(page))) {
		memset(page_to_virt(page), 0, PAGE_SIZE << order);
		return;
	}
	for (unsigned long i = 0; i < 1UL << order; i++)
		physmem_write(karc_cpu->machine, page_to_phys(page + i), zero_page, PAGE_SIZE);
}

static void asan_poison(struct phys *phys, struct page *page, unsigned int order)
{
	if (likely(!mem_poison_active()) || PageHighMem(page))
		return;
	for (unsigned long i = 0; i < 1UL << order; i += pageblock_nr_pages)
		__atomic_fetch_or(&phys->pageblock[(page_to_pfn(page) + i) >> pageblock_order],
				  (u8)PB_POISONED, __ATOMIC_RELAXED);
	mem_poison(page_to_virt(page), PAGE_SIZE << order);
}

static void asan_unpoison(struct page *page, unsigned int order)
{
	if (unlikely(mem_poison_active()) && !PageHighMem(page))
		mem_unpoison(page_to_virt(page), PAGE_SIZE << order);
}

static void fill_frame(struct page *page, unsigned char byte)
{
	char line[256];

	if (!PageHighMem(page)) {
		memset(page_to_virt(page), byte, PAGE_SIZE);
		return;
	}
	memset(line, byte, sizeof(line));
	for (size_t at = 0; at < PAGE_SIZE; at += sizeof(line))
		physmem_write(karc_cpu->machine, page_to_phys(page) + at, line, sizeof(line));
}

/* Say where in the frame, and what is there now. */
static void report_poison(struct page *page, size_t at, const unsigned char *line, size_t bytes)
{
	size_t last = bytes - 1;
	unsigned char diff;
	char text[3 * 16 + 1];

	while (line[last] == PAGE_POISON)
		last--;
	diff = (unsigned char)(line[0] ^ PAGE_POISON);
	WARN(1, "pagealloc: %s in a free frame: pfn:0x%05lx, from byte %zu",
	     last == 0 && !(diff & (diff - 1)) ? "single bit error" : "memory corruption",
	     page_to_pfn(page), at);
	for (size_t i = 0; i < 16 && i <= last; i++)
		snprintf(text + 3 * i, 4, " %02x", line[i]);
	pr_warn("pagealloc: %zu:%s\n", at, text);
	dump_page(page, "pagealloc: corrupted page details");
}

/* I2. Reads in pieces, so that frames without an address are seen too. */
static void check_poison(struct page *page)
{
	unsigned char line[256];

	for (size_t at = 0; at < PAGE_SIZE; at += sizeof(line)) {
		physmem_read(karc_cpu->machine, page_to_phys(page) + at, line, sizeof(line));
		for (size_t i = 0; i < sizeof(line); i++) {
			if (likely(line[i] == PAGE_POISON))
				continue;
			report_poison(page, at + i, line + i, sizeof(line) - i);
			return;
		}
	}
}

void content_on_free(struct phys *phys, struct page *page, unsigned int order)
{
	unsigned long pfn = page_to_pfn(page);

	/* What its user did not ask for of it may be poisoned: the tail of a large kmalloc(). */
	if (!PageHighMem(page))
		mem_unpoison(page_to_virt(page), PAGE_SIZE << order);
	if (unlikely(phys->init_on_free))
		clear_block(page, order);
	for (unsigned long i = 0; unlikely(phys->poisoned != NULL) && i < 1UL << order; i++) {
		fill_frame(page + i, PAGE_POISON);
		phys->poisoned[pfn + i] = 1;
	}
	asan_poison(phys, page, order);
}

void content_on_alloc(struct phys *phys, struct page *page, unsigned int order, gfp_t gfp)
{
	unsigned long pfn = page_to_pfn(page);

	asan_unpoison(page, order);
	for (unsigned long i = 0; unlikely(phys->poisoned != NULL) && i < 1UL << order; i++) {
		if (phys->poisoned[pfn + i])
			check_poison(page + i);
		phys->poisoned[pfn + i] = 0;
	}
	if (((gfp & __GFP_ZERO) || unlikely(phys->init_on_alloc)) && likely(!phys->init_on_free))
		clear_block(page, order);
}
