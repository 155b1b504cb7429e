/* SPDX-License-Identifier: MIT */
/*
 * memalloc.h - what a task may ask of memory for the length of a scope
 *
 * Between memalloc_X_save() and memalloc_X_restore() all requests of the task, however deep, are
 * weakened (no I/O, no file system) or privileged (the reserves). Scopes nest. An interrupt is
 * not part of the task that it interrupts.
 *
 * Model: Linux 6.1 <linux/sched/mm.h>.
 */
#ifndef KARC_MM_PHYS_MEMALLOC_H
#define KARC_MM_PHYS_MEMALLOC_H

#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/mm/gfp.h>

/* Bits of fiber->memalloc; Linux has them in current->flags, with these values. */
#define PF_MEMALLOC		0x00000800u	/* frees memory: all reserves, no reclaim */
#define PF_MEMALLOC_NOFS	0x00040000u	/* GFP_NOFS at most */
#define PF_MEMALLOC_NOIO	0x00080000u	/* GFP_NOIO at most */
#define PF_MEMALLOC_PIN		0x10000000u	/* nothing from movable memory */
#define PF_OOM_VICTIM		0x00000001u	/* is to die soon: half of the reserves */

static inline unsigned int memalloc_flags(void)
{
	return karc_cpu->fiber->memalloc;
}

static inline unsigned int memalloc_save(unsigned int flag)
{
	struct fiber *self = karc_cpu->fiber;
	unsigned int had = self->memalloc & flag;

	self->memalloc |= flag;
	return had;
}

static inline void memalloc_restore(unsigned int flag, unsigned int had)
{
	struct fiber *self = karc_cpu->fiber;

	self->memalloc = (self->memalloc & ~flag) | had;
}

#define memalloc_noio_save()		memalloc_save(PF_MEMALLOC_NOIO)
#define memalloc_noio_restore(had)	memalloc_restore(PF_MEMALLOC_NOIO, had)
#define memalloc_nofs_save()		memalloc_save(PF_MEMALLOC_NOFS)
#define memalloc_nofs_restore(had)	memalloc_restore(PF_MEMALLOC_NOFS, had)
#define memalloc_noreclaim_save()	memalloc_save(PF_MEMALLOC)
#define memalloc_noreclaim_restore(had)	memalloc_restore(PF_MEMALLOC, had)
#define memalloc_pin_save()		memalloc_save(PF_MEMALLOC_PIN)
#define memalloc_pin_restore(had)	memalloc_restore(PF_MEMALLOC_PIN, had)

/* What is left of @gfp in the scopes of the running task. */
static inline gfp_t current_gfp_context(gfp_t gfp)
{
	unsigned int flags = memalloc_flags();

	if (unlikely(flags & (PF_MEMALLOC_NOIO | PF_MEMALLOC_NOFS | PF_MEMALLOC_PIN))) {
		if (flags & PF_MEMALLOC_NOIO)
			gfp &= ~(__GFP_IO | __GFP_FS);
		else if (flags & PF_MEMALLOC_NOFS)
			gfp &= ~__GFP_FS;
		if (flags & PF_MEMALLOC_PIN)
			gfp &= ~__GFP_MOVABLE;
	}
	return gfp;
}

/* May a request with these flags, made here, use the reserves without a limit? */
static inline bool gfp_pfmemalloc_allowed(gfp_t gfp)
{
	if (gfp & __GFP_NOMEMALLOC)
		return false;
	if (gfp & __GFP_MEMALLOC)
		return true;
	if (in_hardirq() || (in_interrupt() && !in_serving_softirq()))
		return false;
	return (memalloc_flags() & (PF_MEMALLOC | PF_OOM_VICTIM)) != 0;
}

/* Reports the caller if it sleeps where it must not: what every allocation does first. */
#define might_alloc(gfp) might_sleep_if(gfpflags_allow_blocking(gfp))

#endif
