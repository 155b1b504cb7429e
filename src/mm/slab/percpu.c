/* SPDX-License-Identifier: MIT */
/*
 * percpu.c - dynamic per-CPU memory
 *
 * What it is
 *	Each CPU has a unit of the percpu window, PERCPU_WINDOW_BYTES long, and an object has the
 *	same offset in every unit. The cookie is PERCPU_DYNAMIC_BASE plus the offset;
 *	cpu->percpu_offset makes an address of it. Units are cut into chunks. A chunk gets frames,
 *	for all CPUs at once, when it is first needed and gives them back when it is empty (but for
 *	one that is kept). Two bitmaps say which of its grains are taken and where objects end.
 *
 *	How long a chunk's longest free run may be is known at all times: the hint. Chunks are
 *	listed by the power of two of it, so that a search begins where it can succeed. Allocating
 *	does not lower the hint; a search that fails corrects it. So a chunk is searched in vain at
 *	most once for each object that was taken from it.
 *
 * Objects
 *	slab_state -> percpu_state -> chunk[] -> used[], last[] bits by grain, frames of each CPU,
 *	sites by first grain; class[] -> chunks that have frames
 *
 * Invariants
 *	I1 an object is a run of used bits that ends at its first last bit; last is a subset of used
 *	I2 no free grain of a chunk lies below first_free, no free run is longer than its hint
 *	I3 nr_objects is the number of last bits, of the chunk and of all
 *	I4 a chunk with frames is listed in the class of its hint; nr_populated counts them
 *	I5 nr_empty is the number of chunks that have frames and no object
 *
 * Locking
 *	all of it: lock (LR_SLAB_NODE, irqs off). Frames are got, shown and given back without it,
 *	by whoever made the chunk busy; objects are cleared without it, by their new owner. The
 *	state is made under slab_state.percpu_lock; who sees the pointer sees all of it.
 *
 * Worst case
 *	An allocation looks at PCPU_TRIES chunks whose longest run may be too short or badly aligned
 *	before it takes one that fits for certain, or a new one. A look is bounded by the size of a
 *	chunk's maps. The number of live objects does not matter.
 *
 * Unlike Linux
 *	An atomic allocation may make a chunk, since getting frames does not sleep with such flags.
 *	__GFP_ACCOUNT charges nobody.
 */
#include <string.h>

#include <karc/base/bitmap.h>
#include <karc/base/log.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/inject.h>
#include <karc/hw/topology.h>
#include <karc/mm/slab/percpu.h>
#include "internal.h"

#define PCPU_GRAIN_BYTES	8UL
#define PCPU_CHUNK_BYTES	PCPU_MIN_UNIT_SIZE
#define PCPU_CHUNK_ORDER	3
#define PCPU_CHUNK_PAGES	(1u << PCPU_CHUNK_ORDER)
#define PCPU_CHUNK_GRAINS	((unsigned int)(PCPU_CHUNK_BYTES / PCPU_GRAIN_BYTES))
#define PCPU_NR_CHUNKS		((unsigned int)(PERCPU_WINDOW_BYTES / PCPU_CHUNK_BYTES))
#define PCPU_NR_CLASSES		14	/* fls(0) .. fls(PCPU_CHUNK_GRAINS) */
#define PCPU_TRIES		8

static_assert(PERCPU_WINDOW_BYTES <= PERCPU_DYNAMIC_BYTES, "cookies leave their range");
static_assert(PCPU_CHUNK_PAGES * PAGE_SIZE == PCPU_CHUNK_BYTES, "a chunk is a block of frames");
static_assert(PCPU_CHUNK_GRAINS == 1u << (PCPU_NR_CLASSES - 2), "the last class is for empty ones");

/* What is known of the object that begins, or began, at a grain; in a machine that tracks. */
struct pcpu_track {
	const struct site *alloc;	/* NULL while it is free */
	const struct site *freed;
};

struct pcpu_chunk {
	struct list_head list;		/* of its class, while it has frames and is not busy */
	unsigned int index;
	bool busy;			/* gets frames or gives them back */
	bool populated;
	unsigned int hint;
	unsigned int first_free;
	unsigned int nr_objects;
	struct pcpu_track *track;	/* stays when the frames go */
	DECLARE_BITMAP(used, PCPU_CHUNK_GRAINS);
	DECLARE_BITMAP(last, PCPU_CHUNK_GRAINS);
	struct page *pages[];		/* PCPU_CHUNK_PAGES for each CPU */
};

struct percpu_state {
	struct slab_state *slab;
	char *window;			/* unit of CPU 0 */
	bool track;

	spinlock_t lock;
	/* lock */
	unsigned long nr_objects;
	unsigned int nr_populated;
	unsigned int nr_empty;
	struct list_head class[PCPU_NR_CLASSES];
	struct pcpu_chunk *chunk[PCPU_NR_CHUNKS];	/* made once, in order of the index */
};

static char *chunk_address(const struct percpu_state *ps, unsigned int cpu,
			   const struct pcpu_chunk *chunk)
{
	return ps->window + cpu * PERCPU_WINDOW_BYTES + chunk->index * PCPU_CHUNK_BYTES;
}

static char *grain_address(const struct percpu_state *ps, unsigned int cpu,
			   const struct pcpu_chunk *chunk, unsigned int grain)
{
	return chunk_address(ps, cpu, chunk) + grain * PCPU_GRAIN_BYTES;
}

static size_t track_size(void)
{
	return PCPU_CHUNK_GRAINS * sizeof(struct pcpu_track);
}

/* ---- the state ---- */

/* Host memory only; percpu_lock is held. */
static struct percpu_state *percpu_make(struct slab_state *state)
{
	struct percpu_state *ps = hostmem_zalloc(slab_hostmem(state), sizeof(*ps));

	if (!ps)
		return NULL;
	ps->slab = state;
	ps->track = machine_config(state->machine)->track;
	ps->window = physmem_window(state->machine, WINDOW_PERCPU, NULL);
	spin_lock_init_rank(&ps->lock, LR_SLAB_NODE);
	for (unsigned int i = 0; i < PCPU_NR_CLASSES; i++)
		INIT_LIST_HEAD(&ps->class[i]);
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		machine_cpu(state->machine, cpu)->percpu_offset =
			(long)((unsigned long)ps->window + cpu * PERCPU_WINDOW_BYTES -
			       PERCPU_DYNAMIC_BASE);
	return ps;
}

/* The state, made now if nobody needed it before; NULL if the host has no memory. */
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

/* ---- chunks and their frames ---- */

/* List a chunk where its hint says. */
static void chunk_list(struct percpu_state *ps, struct pcpu_chunk *chunk)
{
	list_move(&chunk->list, &ps->class[fls(chunk->hint)]);
}

static void chunk_set_hint(struct percpu_state *ps, struct pcpu_chunk *chunk, unsigned int hint)
{
	bool move = fls(hint) != fls(chunk->hint);

	chunk->hint = hint;
	if (move)
		chunk_list(ps, chunk);
}

static void give_frames(struct percpu_state *ps, struct pcpu_chunk *chunk)
{
	unsigned int nr_pages = ps->slab->nr_cpus * PCPU_CHUNK_PAGES;

	for (unsigned int i = 0; i < nr_pages && chunk->pages[i]; i++) {
		__free_page(chunk->pages[i]);
		chunk->pages[i] = NULL;
	}
}

/* Frames for one CPU's part of a chunk: a block of neighbours if there is one. */
static int take_frames(struct page **pages, int node, gfp_t gfp)
{
	struct page *block = alloc_pages_node(node, gfp | __GFP_NORETRY | __GFP_NOWARN,
					      PCPU_CHUNK_ORDER);

	if (block) {
		split_page(block, PCPU_CHUNK_ORDER);
		for (unsigned int i = 0; i < PCPU_CHUNK_PAGES; i++)
			pages[i] = block + i;
		return 0;
	}
	for (unsigned int i = 0; i < PCPU_CHUNK_PAGES; i++) {
		pages[i] = alloc_pages_node(node, gfp | __GFP_NOWARN, 0);
		if (!pages[i])
			return -ENOMEM;
	}
	return 0;
}

/* Show one CPU's frames in its unit, neighbours in one go. */
static int show_frames(struct percpu_state *ps, const struct pcpu_chunk *chunk, unsigned int cpu)
{
	struct page *const *pages = &chunk->pages[cpu * PCPU_CHUNK_PAGES];
	char *at = chunk_address(ps, cpu, chunk);

	for (unsigned int i = 0, run; i < PCPU_CHUNK_PAGES; i += run) {
		for (run = 1; i + run < PCPU_CHUNK_PAGES && pages[i + run] == pages[i] + run; run++)
			;
		if (physmem_window_map(ps->slab->machine, at + i * PAGE_SIZE,
				       page_to_pfn(pages[i]), run))
			return -ENOMEM;
	}
	mem_poison(at, PCPU_CHUNK_BYTES);
	return 0;
}

static void hide_frames(struct percpu_state *ps, const struct pcpu_chunk *chunk)
{
	for (unsigned int cpu = 0; cpu < ps->slab->nr_cpus; cpu++) {
		char *at = chunk_address(ps, cpu, chunk);

		mem_unpoison(at, PCPU_CHUNK_BYTES);
		physmem_window_unmap(ps->slab->machine, at, PCPU_CHUNK_PAGES);
	}
}

static int chunk_populate(struct percpu_state *ps, struct pcpu_chunk *chunk, gfp_t gfp)
{
	for (unsigned int cpu = 0; cpu < ps->slab->nr_cpus; cpu++) {
		if (take_frames(&chunk->pages[cpu * PCPU_CHUNK_PAGES], cpu_to_node(cpu), gfp))
			goto give_frames;
	}
	for (unsigned int cpu = 0; cpu < ps->slab->nr_cpus; cpu++) {
		if (show_frames(ps, chunk, cpu))
			goto hide_frames;
	}
	return 0;
hide_frames:
	hide_frames(ps, chunk);
give_frames:
	give_frames(ps, chunk);
	return -ENOMEM;
}

/* A chunk's record, which stays; NULL if the host has no memory. The lock is held. */
static struct pcpu_chunk *chunk_make(struct percpu_state *ps, unsigned int index)
{
	struct hostmem_account *account = slab_hostmem(ps->slab);
	struct pcpu_chunk *chunk;

	chunk = hostmem_zalloc(account, sizeof(*chunk) + ps->slab->nr_cpus * PCPU_CHUNK_PAGES *
			       sizeof(chunk->pages[0]));
	if (!chunk)
		return NULL;
	chunk->index = index;
	INIT_LIST_HEAD(&chunk->list);
	if (ps->track) {
		chunk->track = hostmem_map(account, track_size());
		if (!chunk->track) {
			hostmem_free(account, chunk);
			return NULL;
		}
	}
	ps->chunk[index] = chunk;
	return chunk;
}

/* A chunk without frames, busy now; NULL if all have some. */
static struct pcpu_chunk *chunk_reserve(struct percpu_state *ps)
{
	struct pcpu_chunk *chunk = NULL;
	unsigned long flags;

	spin_lock_irqsave(&ps->lock, flags);
	for (unsigned int i = 0; i < PCPU_NR_CHUNKS; i++) {
		chunk = ps->chunk[i] ? ps->chunk[i] : chunk_make(ps, i);
		if (!chunk || (!chunk->populated && !chunk->busy))
			break;
		chunk = NULL;
	}
	if (chunk)
		chunk->busy = true;
	spin_unlock_irqrestore(&ps->lock, flags);
	return chunk;
}

/* Frames for one chunk more; an allocation of the caller's, or another's, will find it. */
static int add_chunk(struct percpu_state *ps, gfp_t gfp)
{
	struct pcpu_chunk *chunk = chunk_reserve(ps);
	unsigned long flags;
	int err;

	if (!chunk)
		return -ENOMEM;
	err = chunk_populate(ps, chunk, gfp);
	spin_lock_irqsave(&ps->lock, flags);
	chunk->busy = false;
	if (!err) {
		chunk->populated = true;
		chunk->hint = PCPU_CHUNK_GRAINS;
		chunk->first_free = 0;
		chunk_list(ps, chunk);
		count_add(ps->nr_populated, 1);
		ps->nr_empty++;
	}
	spin_unlock_irqrestore(&ps->lock, flags);
	return err;
}

/* Take the frames of empty chunks, but for @keep of them. Returns the number of chunks. */
static unsigned int drop_empty_chunks(struct percpu_state *ps, unsigned int keep)
{
	struct list_head *empty = &ps->class[PCPU_NR_CLASSES - 1];
	struct pcpu_chunk *chunk;
	unsigned int nr = 0;
	unsigned long flags;

	spin_lock_irqsave(&ps->lock, flags);
	while (ps->nr_empty > keep) {
		/* An empty chunk's longest run is all of it; others there have a hint too large. */
		list_for_each_entry(chunk, empty, list) {
			if (!chunk->nr_objects)
				break;
		}
		list_del_init(&chunk->list);
		chunk->populated = false;
		chunk->busy = true;
		count_add(ps->nr_populated, -1);
		ps->nr_empty--;
		spin_unlock_irqrestore(&ps->lock, flags);
		hide_frames(ps, chunk);
		give_frames(ps, chunk);
		nr++;
		spin_lock_irqsave(&ps->lock, flags);
		chunk->busy = false;
	}
	spin_unlock_irqrestore(&ps->lock, flags);
	return nr;
}

unsigned long percpu_drain(struct slab_state *state)
{
	struct percpu_state *ps = smp_load_acquire(&state->percpu);

	return ps ? drop_empty_chunks(ps, 0) : 0;
}

/* ---- objects ---- */

static unsigned int longest_free_run(const struct pcpu_chunk *chunk)
{
	unsigned long at = chunk->first_free;
	unsigned int longest = 0;

	while ((at = find_next_zero_bit(chunk->used, PCPU_CHUNK_GRAINS, at)) < PCPU_CHUNK_GRAINS) {
		unsigned long end = find_next_bit(chunk->used, PCPU_CHUNK_GRAINS, at);

		longest = max(longest, (unsigned int)(end - at));
		at = end;
	}
	return longest;
}

/* A run of grains of this chunk, or false, and the hint is exact then. */
static bool take_run(struct percpu_state *ps, struct pcpu_chunk *chunk, unsigned int nr,
		     unsigned long align, unsigned int *grain)
{
	unsigned long at = bitmap_find_next_zero_area(chunk->used, PCPU_CHUNK_GRAINS,
						      chunk->first_free, nr, align - 1);

	if (at + nr > PCPU_CHUNK_GRAINS) {
		chunk_set_hint(ps, chunk, longest_free_run(chunk));
		return false;
	}
	if (!chunk->nr_objects++)
		ps->nr_empty--;
	count_add(ps->nr_objects, 1);
	bitmap_set(chunk->used, (unsigned int)at, nr);
	__set_bit(at + nr - 1, chunk->last);
	if (at == chunk->first_free)
		chunk->first_free = (unsigned int)at + nr;
	if (nr == PCPU_CHUNK_GRAINS)
		chunk_set_hint(ps, chunk, 0);
	*grain = (unsigned int)at;
	return true;
}

/*
 * A chunk with a run for @nr grains, which is taken. Classes from the one of @nr upwards: in that
 * one, and up to where alignment cannot matter, a few chunks are looked at.
 */
static struct pcpu_chunk *take_grains(struct percpu_state *ps, unsigned int nr,
				      unsigned long align, unsigned int *grain)
{
	struct pcpu_chunk *chunk, *next;
	unsigned long flags;

	spin_lock_irqsave(&ps->lock, flags);
	for (int class = fls(nr); class < PCPU_NR_CLASSES; class++) {
		unsigned int tries = PCPU_TRIES;

		list_for_each_entry_safe(chunk, next, &ps->class[class], list) {
			if (chunk->hint >= nr && take_run(ps, chunk, nr, align, grain))
				goto unlock;
			if (!--tries)
				break;
		}
	}
	chunk = NULL;
unlock:
	spin_unlock_irqrestore(&ps->lock, flags);
	return chunk;
}

static void __percpu *cookie_of(const struct pcpu_chunk *chunk, unsigned int grain)
{
	return (void __percpu *)(PERCPU_DYNAMIC_BASE + chunk->index * PCPU_CHUNK_BYTES +
				 grain * PCPU_GRAIN_BYTES);
}

void __percpu *__alloc_percpu_site(size_t size, size_t align, gfp_t gfp, const struct site *site)
{
	struct slab_state *state = slab_here();
	struct percpu_state *ps;
	struct pcpu_chunk *chunk;
	unsigned int grain, nr;
	gfp_t frames = (gfp & ~(__GFP_ZERO | __GFP_ACCOUNT | GFP_ZONEMASK)) | __GFP_HIGHMEM;

	if (gfpflags_allow_blocking(gfp))
		might_sleep_site(site);
	align = max(align, (size_t)PCPU_GRAIN_BYTES);
	if (WARN(!size || size > PCPU_MIN_UNIT_SIZE || align > PCPU_MAX_ALIGN ||
		 !is_power_of_2(align), "illegal size (%zu) or align (%zu) for percpu allocation, "
		 "at %s:%u %s", size, align, site->file, site->line, site->func))
		return NULL;
	if (inject_fail())
		return NULL;
	ps = percpu_get(state);
	if (!ps)
		return NULL;
	nr = (unsigned int)DIV_ROUND_UP(size, PCPU_GRAIN_BYTES);
	/* Another CPU may take what was added; then it has got what it came for. */
	while ((chunk = take_grains(ps, nr, align / PCPU_GRAIN_BYTES, &grain)) == NULL) {
		if (add_chunk(ps, frames))
			return NULL;
	}
	if (chunk->track)
		chunk->track[grain] = (struct pcpu_track){ site, chunk->track[grain].freed };
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++) {
		char *copy = grain_address(ps, cpu, chunk, grain);

		mem_unpoison(copy, size);
		memset(copy, 0, size);
	}
	return cookie_of(chunk, grain);
}

/* ---- frees, and what can be wrong with them ---- */

enum bad_free { FREED, FREE_ALREADY, INSIDE, NO_OBJECT };

/* The free run that @grain is now part of may be the chunk's longest. */
static void note_free_run(struct percpu_state *ps, struct pcpu_chunk *chunk, unsigned int grain)
{
	unsigned long low = find_last_bit(chunk->used, grain);
	unsigned long high = find_next_bit(chunk->used, PCPU_CHUNK_GRAINS, grain);
	unsigned int run;

	low = low == grain ? 0 : low + 1;
	run = (unsigned int)(high - low);
	if (run > chunk->hint)
		chunk_set_hint(ps, chunk, run);
}

/* Give back the run that starts at @grain. The lock is held. */
static enum bad_free give_grains(struct percpu_state *ps, struct pcpu_chunk *chunk,
				 unsigned int grain, const struct site *site)
{
	unsigned int end;

	if (!test_bit(grain, chunk->used))
		return FREE_ALREADY;
	if (grain && test_bit(grain - 1, chunk->used) && !test_bit(grain - 1, chunk->last))
		return INSIDE;
	end = (unsigned int)find_next_bit(chunk->last, PCPU_CHUNK_GRAINS, grain) + 1;
	for (unsigned int cpu = 0; mem_poison_active() && cpu < ps->slab->nr_cpus; cpu++)
		mem_poison(grain_address(ps, cpu, chunk, grain),
			   (end - grain) * PCPU_GRAIN_BYTES);
	__clear_bit(end - 1, chunk->last);
	bitmap_clear(chunk->used, grain, end - grain);
	chunk->first_free = min(chunk->first_free, grain);
	if (chunk->track)
		chunk->track[grain] = (struct pcpu_track){ NULL, site };
	count_add(ps->nr_objects, -1);
	if (!--chunk->nr_objects)
		ps->nr_empty++;
	note_free_run(ps, chunk, grain);
	return FREED;
}

/* Where the object was allocated that begins at @grain or before it. */
static const struct site *site_around(const struct pcpu_chunk *chunk, unsigned int grain)
{
	unsigned int at = grain;

	while (chunk->track && at && !chunk->track[at].alloc)
		at--;
	return chunk->track ? chunk->track[at].alloc : NULL;
}

static void say_site(const char *what, const struct site *site)
{
	if (site)
		pr_warn("%s at %s:%u %s\n", what, site->file, site->line, site->func);
}

/* What somebody thought to be a per-CPU object, and is none. */
static const char *kind_of(const struct percpu_state *ps, const void *p, const struct site **alloc)
{
	u64 offset = ps ? (u64)((const char *)p - ps->window) : ~0ULL;
	const struct page *page;

	if (ps && offset < ps->slab->nr_cpus * PERCPU_WINDOW_BYTES)
		return "one CPU's copy, not what alloc_percpu() gave";
	if ((unsigned long)p - PERCPU_DYNAMIC_BASE < PERCPU_DYNAMIC_BYTES)
		return "no grain of any object";
	if (is_kernel_percpu_address((unsigned long)p))
		return "a copy of a static per-CPU variable";
	if (!virt_addr_valid(p))
		return foreign_kind(p);
	page = virt_to_head_page(p);
	if (!PageSlab(page))
		return foreign_kind(p);
	if (is_object(page->slab_cache, page, p)) {
		const struct obj_track *track = track_of(page->slab_cache, page, p);

		*alloc = track ? track->alloc : NULL;
	}
	return "memory of kmalloc() or of a cache";
}

static void report_percpu(const struct percpu_state *ps, enum bad_free why, const void *p,
			  const struct site *site, const struct pcpu_track *known)
{
	const struct site *alloc = known->alloc;

	if (why == FREE_ALREADY)
		WARN(1, "percpu: double free, or free of what never was an object");
	else if (why == INSIDE)
		WARN(1, "percpu: free of a pointer that is not the start of an object");
	else
		WARN(1, "percpu: free of what is no per-CPU object. It is %s",
		     kind_of(ps, p, &alloc));
	say_site("freed", site);
	say_site("allocated", alloc);
	say_site("freed before", known->freed);
}

void free_percpu_site(void __percpu *p, const struct site *site)
{
	struct percpu_state *ps = smp_load_acquire(&slab_here()->percpu);
	unsigned long offset = (unsigned long)p - PERCPU_DYNAMIC_BASE;
	struct pcpu_chunk *chunk = NULL;
	struct pcpu_track known = { NULL, NULL };
	enum bad_free result = NO_OBJECT;
	unsigned long flags;
	bool many_empty = false;

	if (!p)
		return;
	if (ps && offset < PERCPU_WINDOW_BYTES) {
		unsigned int grain = offset % PCPU_CHUNK_BYTES / PCPU_GRAIN_BYTES;

		spin_lock_irqsave(&ps->lock, flags);
		chunk = ps->chunk[offset / PCPU_CHUNK_BYTES];
		if (chunk)
			result = offset % PCPU_GRAIN_BYTES ? INSIDE :
				 give_grains(ps, chunk, grain, site);
		if (result == INSIDE)
			known.alloc = site_around(chunk, grain);
		else if (chunk && result == FREE_ALREADY && chunk->track)
			known = chunk->track[grain];
		many_empty = ps->nr_empty > 1;
		spin_unlock_irqrestore(&ps->lock, flags);
	}
	if (result != FREED)
		report_percpu(ps, result, p, site, &known);
	if (many_empty)
		drop_empty_chunks(ps, 1);
}

/* ---- questions ---- */

bool is_dynamic_percpu_address(const void *p)
{
	struct percpu_state *ps = smp_load_acquire(&slab_here()->percpu);
	u64 offset = ps ? (u64)((const char *)p - ps->window) : 0;
	const struct pcpu_chunk *chunk;
	unsigned long flags;
	bool used;

	if (!ps || offset >= ps->slab->nr_cpus * PERCPU_WINDOW_BYTES)
		return false;
	offset %= PERCPU_WINDOW_BYTES;
	spin_lock_irqsave(&ps->lock, flags);
	chunk = ps->chunk[offset / PCPU_CHUNK_BYTES];
	used = chunk && test_bit(offset % PCPU_CHUNK_BYTES / PCPU_GRAIN_BYTES, chunk->used);
	spin_unlock_irqrestore(&ps->lock, flags);
	return used;
}

unsigned long percpu_nr_objects(struct machine *m)
{
	const struct slab_state *state = machine_room(m, ROOM_SLAB);
	const struct percpu_state *ps = smp_load_acquire(&state->percpu);

	return ps ? READ_ONCE(ps->nr_objects) : 0;
}

unsigned long percpu_bytes(struct machine *m)
{
	const struct slab_state *state = machine_room(m, ROOM_SLAB);
	const struct percpu_state *ps = smp_load_acquire(&state->percpu);

	return ps ? READ_ONCE(ps->nr_populated) * state->nr_cpus * PCPU_CHUNK_BYTES : 0;
}

/* ---- power off, check ---- */

static void report_left(struct percpu_state *ps, const struct pcpu_chunk *chunk)
{
	unsigned long grain = 0;

	while ((grain = find_next_bit(chunk->used, PCPU_CHUNK_GRAINS, grain)) < PCPU_CHUNK_GRAINS) {
		unsigned long end = find_next_bit(chunk->last, PCPU_CHUNK_GRAINS, grain) + 1;

		machine_report_left(ps->slab->machine, "percpu object",
				    chunk->track ? chunk->track[grain].alloc : NULL, 1,
				    (end - grain) * PCPU_GRAIN_BYTES * ps->slab->nr_cpus);
		grain = end;
	}
}

void percpu_alloc_exit(struct slab_state *state)
{
	struct hostmem_account *account = slab_hostmem(state);
	struct percpu_state *ps = state->percpu;

	if (!ps)
		return;
	for (unsigned int i = 0; i < PCPU_NR_CHUNKS && ps->chunk[i]; i++) {
		struct pcpu_chunk *chunk = ps->chunk[i];

		report_left(ps, chunk);
		if (chunk->populated) {
			hide_frames(ps, chunk);
			give_frames(ps, chunk);
		}
		if (chunk->track)
			hostmem_unmap(account, chunk->track, track_size());
		hostmem_free(account, chunk);
	}
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++)
		machine_cpu(state->machine, cpu)->percpu_offset = 0;
	hostmem_free(account, ps);
	state->percpu = NULL;
}

static void check_chunk(const struct pcpu_chunk *chunk, struct check_report *report)
{
	unsigned long first = find_first_zero_bit(chunk->used, PCPU_CHUNK_GRAINS);

	if (!bitmap_subset(chunk->last, chunk->used, PCPU_CHUNK_GRAINS))
		check_fail(report, "C1: chunk %u: the end of a per-CPU object is free",
			   chunk->index);
	if (chunk->populated && (first < chunk->first_free || longest_free_run(chunk) > chunk->hint))
		check_fail(report, "C2: chunk %u: grain %lu is free, a run has %u; known %u and %u",
			   chunk->index, first, longest_free_run(chunk), chunk->first_free,
			   chunk->hint);
	if (bitmap_weight(chunk->last, PCPU_CHUNK_GRAINS) != chunk->nr_objects)
		check_fail(report, "C3: chunk %u: %u per-CPU objects, %u counted", chunk->index,
			   bitmap_weight(chunk->last, PCPU_CHUNK_GRAINS), chunk->nr_objects);
}

void percpu_alloc_check(struct slab_state *state, struct check_report *report)
{
	const struct percpu_state *ps = state->percpu;
	unsigned int listed = 0, populated = 0, empty = 0;
	const struct pcpu_chunk *chunk;
	unsigned long objects = 0;

	if (!ps)
		return;
	for (unsigned int i = 0; i < PCPU_NR_CHUNKS && ps->chunk[i]; i++) {
		chunk = ps->chunk[i];
		check_chunk(chunk, report);
		objects += chunk->nr_objects;
		populated += chunk->populated;
		empty += chunk->populated && !chunk->nr_objects;
	}
	if (objects != ps->nr_objects)
		check_fail(report, "C3: %lu per-CPU objects, %lu counted", objects, ps->nr_objects);
	for (int class = 0; class < PCPU_NR_CLASSES; class++) {
		list_for_each_entry(chunk, &ps->class[class], list) {
			listed++;
			if (!chunk->populated || fls(chunk->hint) != class)
				check_fail(report, "C4: chunk %u is in class %d, its hint is %u",
					   chunk->index, class, chunk->hint);
		}
	}
	if (listed != populated || populated != ps->nr_populated)
		check_fail(report, "C4: %u chunks have frames, %u are listed, %u counted",
			   populated, listed, ps->nr_populated);
	if (empty != ps->nr_empty)
		check_fail(report, "C5: %u chunks are empty, %u counted", empty, ps->nr_empty);
}
