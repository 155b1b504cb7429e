/* SPDX-License-Identifier: MIT */
/*
 * percpu.c - dynamic per-CPU memory
 *
 * What it is
 *	Each CPU has a unit of PCPU_UNIT_BYTES. An object has the same offset in every unit, so one
 *	map of grains says what is taken; the cookie is PERCPU_DYNAMIC_BASE plus the offset, and
 *	cpu->percpu_offset makes an address of it.
 *
 * Objects
 *	slab_state -> percpu_state -> units (host memory), used[] and last[] bits by grain, site[]
 *
 * Invariants
 *	I1 an object is a run of used bits that ends at its first last bit; last is a subset of used
 *	I2 no free grain lies below first_free
 *	I3 nr_objects is the number of last bits
 *
 * Locking
 *	maps and counts: lock (LR_SLAB_NODE, irqs off). Units are cleared without it. The chunk is
 *	made under slab_state.percpu_lock; who sees the pointer sees all of it.
 *
 * Worst case
 *	First fit from first_free: as long as the used map.
 *
 * Unlike Linux
 *	One chunk, made when first needed, in host memory: it takes no frames.
 */
#include <string.h>

#include <karc/base/bitmap.h>
#include <karc/hw/inject.h>
#include <karc/mm/slab/percpu.h>
#include "internal.h"

#define PCPU_UNIT_BYTES		(8UL << 20)
#define PCPU_GRAIN_BYTES	8UL
#define PCPU_NR_GRAINS		(PCPU_UNIT_BYTES / PCPU_GRAIN_BYTES)

static_assert(PCPU_UNIT_BYTES <= PERCPU_DYNAMIC_BYTES, "cookies leave their range");

struct percpu_state {
	char *units;			/* one after the other */
	size_t units_bytes;
	const struct site **site;	/* by first grain; NULL unless the machine tracks */

	spinlock_t lock;
	/* lock */
	unsigned long first_free;
	unsigned long nr_objects;
	DECLARE_BITMAP(used, PCPU_NR_GRAINS);
	DECLARE_BITMAP(last, PCPU_NR_GRAINS);
};

static void *unit_address(const struct percpu_state *ps, unsigned int cpu, unsigned long grain)
{
	return ps->units + cpu * PCPU_UNIT_BYTES + grain * PCPU_GRAIN_BYTES;
}

void percpu_alloc_exit(struct slab_state *state)
{
	struct percpu_state *ps = state->percpu;
	struct hostmem_account *account = slab_hostmem(state);
	unsigned long grain = 0;

	if (!ps)
		return;
	while ((grain = find_next_bit(ps->used, PCPU_NR_GRAINS, grain)) < PCPU_NR_GRAINS) {
		unsigned long end = find_next_bit(ps->last, PCPU_NR_GRAINS, grain) + 1;

		machine_report_left(state->machine, "percpu object",
				    ps->site ? ps->site[grain] : NULL, 1,
				    (end - grain) * PCPU_GRAIN_BYTES * state->nr_cpus);
		grain = end;
	}
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		machine_cpu(state->machine, cpu)->percpu_offset = 0;
	if (ps->site)
		hostmem_unmap(account, ps->site, PCPU_NR_GRAINS * sizeof(*ps->site));
	hostmem_unmap(account, ps->units, ps->units_bytes);
	hostmem_unmap(account, ps, sizeof(*ps));
	state->percpu = NULL;
}

/* Host memory only; percpu_lock is held. */
static struct percpu_state *percpu_make(struct slab_state *state)
{
	struct hostmem_account *account = slab_hostmem(state);
	struct percpu_state *ps;

	ps = hostmem_map(account, sizeof(*ps));
	if (!ps)
		return NULL;
	ps->units_bytes = state->nr_cpus * PCPU_UNIT_BYTES;
	ps->units = hostmem_map(account, ps->units_bytes);
	if (!ps->units)
		goto unmap_state;
	if (machine_config(state->machine)->track) {
		ps->site = hostmem_map(account, PCPU_NR_GRAINS * sizeof(*ps->site));
		if (!ps->site)
			goto unmap_units;
	}
	spin_lock_init_rank(&ps->lock, LR_SLAB_NODE);
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		machine_cpu(state->machine, cpu)->percpu_offset =
			(long)((unsigned long)unit_address(ps, cpu, 0) - PERCPU_DYNAMIC_BASE);
	return ps;
unmap_units:
	hostmem_unmap(account, ps->units, ps->units_bytes);
unmap_state:
	hostmem_unmap(account, ps, sizeof(*ps));
	return NULL;
}

/* The chunk, made now if nobody needed it before; NULL if the host has no memory. */
static struct percpu_state *percpu_get(struct slab_state *state)
{
	struct percpu_state *ps = smp_load_acquire(&state->percpu);
	unsigned long flags;

	if (likely(ps))
		return ps;
	spin_lock_irqsave(&state->percpu_lock, flags);
	ps = state->percpu;
	if (!ps) {
		ps = percpu_make(state);
		smp_store_release(&state->percpu, ps);
	}
	spin_unlock_irqrestore(&state->percpu_lock, flags);
	return ps;
}

/* Take a run of grains; PCPU_NR_GRAINS if there is none. */
static unsigned long take_grains(struct percpu_state *ps, unsigned int nr, unsigned long align)
{
	unsigned long flags, at;

	spin_lock_irqsave(&ps->lock, flags);
	at = bitmap_find_next_zero_area(ps->used, PCPU_NR_GRAINS, ps->first_free, nr, align - 1);
	if (at + nr <= PCPU_NR_GRAINS) {
		bitmap_set(ps->used, (unsigned int)at, nr);
		__set_bit(at + nr - 1, ps->last);
		count_add(ps->nr_objects, 1);
		if (at == ps->first_free)
			ps->first_free = at + nr;
	} else {
		at = PCPU_NR_GRAINS;
	}
	spin_unlock_irqrestore(&ps->lock, flags);
	return at;
}

void __percpu *__alloc_percpu_site(size_t size, size_t align, gfp_t gfp, const struct site *site)
{
	struct slab_state *state = slab_here();
	struct percpu_state *ps;
	unsigned long grain;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	align = max(align, (size_t)PCPU_GRAIN_BYTES);
	if (WARN(!size || size > PCPU_MIN_UNIT_SIZE || align > PCPU_MAX_ALIGN ||
		 !is_power_of_2(align), "illegal size (%zu) or align (%zu) for percpu allocation",
		 size, align))
		return NULL;
	if (inject_fail())
		return NULL;
	ps = percpu_get(state);
	if (!ps)
		return NULL;
	grain = take_grains(ps, (unsigned int)DIV_ROUND_UP(size, PCPU_GRAIN_BYTES),
			    align / PCPU_GRAIN_BYTES);
	if (grain == PCPU_NR_GRAINS)
		return NULL;
	if (ps->site)
		ps->site[grain] = site;
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		memset(unit_address(ps, cpu, grain), 0, size);
	return (void __percpu *)(PERCPU_DYNAMIC_BASE + grain * PCPU_GRAIN_BYTES);
}

/* Give back the run that starts at @grain; false if none does. */
static bool give_grains(struct percpu_state *ps, unsigned long grain)
{
	unsigned long flags, end;
	bool starts;

	spin_lock_irqsave(&ps->lock, flags);
	starts = test_bit(grain, ps->used) &&
		 (grain == 0 || !test_bit(grain - 1, ps->used) || test_bit(grain - 1, ps->last));
	if (starts) {
		end = find_next_bit(ps->last, PCPU_NR_GRAINS, grain) + 1;
		__clear_bit(end - 1, ps->last);
		bitmap_clear(ps->used, (unsigned int)grain, (unsigned int)(end - grain));
		ps->first_free = min(ps->first_free, grain);
		count_add(ps->nr_objects, -1);
	}
	spin_unlock_irqrestore(&ps->lock, flags);
	return starts;
}

void free_percpu_site(void __percpu *p, const struct site *site)
{
	struct percpu_state *ps = smp_load_acquire(&slab_here()->percpu);
	unsigned long offset = (unsigned long)p - PERCPU_DYNAMIC_BASE;
	bool freed;

	if (!p)
		return;
	freed = ps && offset < PCPU_UNIT_BYTES && offset % PCPU_GRAIN_BYTES == 0 &&
		give_grains(ps, offset / PCPU_GRAIN_BYTES);
	WARN(!freed, "free_percpu of what is no per-CPU object, or free already, at %s:%u",
	     site->file, site->line);
}

unsigned long percpu_nr_objects(struct machine *m)
{
	const struct slab_state *state = machine_room(m, ROOM_SLAB);

	const struct percpu_state *ps = smp_load_acquire(&state->percpu);

	return ps ? READ_ONCE(ps->nr_objects) : 0;
}

void percpu_alloc_check(struct slab_state *state, struct check_report *report)
{
	const struct percpu_state *ps = state->percpu;

	if (!ps)
		return;
	if (!bitmap_subset(ps->last, ps->used, PCPU_NR_GRAINS))
		check_fail(report, "C1: the end of a per-CPU object is free");
	if (find_first_zero_bit(ps->used, PCPU_NR_GRAINS) < ps->first_free)
		check_fail(report, "C2: grain %lu is free, search begins at %lu",
			   find_first_zero_bit(ps->used, PCPU_NR_GRAINS), ps->first_free);
	if (bitmap_weight(ps->last, PCPU_NR_GRAINS) != ps->nr_objects)
		check_fail(report, "C3: %u per-CPU objects, %lu counted",
			   bitmap_weight(ps->last, PCPU_NR_GRAINS), ps->nr_objects);
}
