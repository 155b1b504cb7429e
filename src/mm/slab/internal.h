/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the slab room share and nobody else may see
 */
#ifndef KARC_SRC_MM_SLAB_INTERNAL_H
#define KARC_SRC_MM_SLAB_INTERNAL_H

#include <karc/base/hostmem.h>
#include <karc/hw/irq.h>
#include <karc/hw/mutex.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/poison.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/kmalloc_sized.h>
#include <karc/mm/slab/slab.h>

typedef u16 freelist_idx_t;

#define SLAB_OBJECTS_MAX	0xffffu

/* kmem_cache.debug: why calls take the checked road. */
#define DEBUG_TRACK	0x01u	/* remembers sites: SLAB_STORE_USER or a machine that tracks */
#define DEBUG_ASAN	0x02u	/* AddressSanitizer is told what is free */
#define DEBUG_PATTERN	0x04u	/* SLAB_POISON */
#define DEBUG_REDZONE	0x08u	/* SLAB_RED_ZONE */
#define DEBUG_NODES	0x10u	/* several nodes: objects go home */

/* What a tracked object remembers; alloc is NULL while it is free. */
struct obj_track {
	const struct site *alloc;
	const struct site *freed;
};

/* page->private of a block that kmalloc() got from the buddy. */
#define KMALLOC_LARGE_MARK	0x636f6c6c616d6bUL

struct arc_graph_source;
struct percpu_state;

struct slab_state {
	struct machine *machine;
	struct mutex slab_mutex;
	struct list_head caches;	/* slab_mutex; oldest first */
	struct kmem_cache *kmalloc[NR_KMALLOC_TYPES][NR_KMALLOC_SIZES];
	u16 *frame_class;		/* by pfn: kmalloc class of the frame's slab, or 0 */
	struct obj_track **track;	/* by pfn of a slab's first frame */
	unsigned long max_pfn;
	unsigned int nr_cpus;
	bool multi_node;
	struct percpu_state *percpu;	/* NULL until somebody allocates; never changes then */
	spinlock_t percpu_lock;		/* for making it */
	struct array_cache none;	/* stands for an array that was not needed yet: limit 0 */
};

static inline struct slab_hot *slab_hot(void)
{
	return this_cpu_hot(ROOM_SLAB);
}

static inline struct slab_state *slab_here(void)
{
	return slab_hot()->state;
}

static inline struct hostmem_account *slab_hostmem(const struct slab_state *state)
{
	return machine_hostmem(state->machine);
}

/*
 * Arrays and counts have one writer at a time (their CPU, or who holds list_lock) and readers
 * without any lock, who want a number and nothing that it stands for.
 */
static inline void array_push(struct array_cache *ac, void *obj)
{
	unsigned int avail = ac->avail;

	ac->entry[avail] = obj;
	WRITE_ONCE(ac->avail, avail + 1);
}

static inline void *array_pop(struct array_cache *ac)
{
	unsigned int avail = ac->avail - 1;

	WRITE_ONCE(ac->avail, avail);
	return ac->entry[avail];
}

#define count_add(count, delta)	WRITE_ONCE(count, (count) + (delta))

/* Another CPU's array; its entries are its own. */
static inline struct array_cache *array_of_cpu(const struct kmem_cache *cachep, unsigned int cpu)
{
	return smp_load_acquire(&cachep->cpu_cache[cpu]);
}

static inline unsigned int shared_avail(const struct kmem_cache_node *n)
{
	const struct array_cache *shared = smp_load_acquire(&n->shared);

	return shared ? READ_ONCE(shared->avail) : 0;
}

static inline unsigned int obj_to_index(const struct kmem_cache *cachep, const struct page *page,
					const void *obj)
{
	u32 offset = (u32)((const char *)obj - (const char *)page->s_mem);

	return (unsigned int)((u64)offset * cachep->reciprocal_size >> 32);
}

static inline void *index_to_obj(const struct kmem_cache *cachep, const struct page *page,
				 unsigned int index)
{
	return (char *)page->s_mem + (size_t)index * cachep->size;
}

/* Is @obj the start of an object of this slab? */
static inline bool is_object(const struct kmem_cache *cachep, const struct page *page,
			     const void *obj)
{
	unsigned int index = obj_to_index(cachep, page, obj);

	return (const char *)obj >= (const char *)page->s_mem && index < cachep->num &&
	       index_to_obj(cachep, page, index) == obj;
}

/* slab.c */
void *slab_alloc(struct kmem_cache *cachep, gfp_t gfp, size_t size, const struct site *site);
void slab_free(struct kmem_cache *cachep, void *obj, const struct site *site);
unsigned long drain_cpu_array(struct kmem_cache *cachep, unsigned int cpu);
unsigned long drain_shared_array(struct kmem_cache *cachep, struct kmem_cache_node *n, int node);
unsigned long drain_freelist(struct kmem_cache *cachep, struct kmem_cache_node *n);
void slab_release(struct kmem_cache *cachep, struct page *page);

/* cache.c */
struct kmem_cache *cache_make(struct slab_state *state, const char *name, unsigned int size,
			      unsigned int align, slab_flags_t flags, void (*ctor)(void *obj),
			      const struct site *site);
void cache_unmake(struct kmem_cache *cachep);

/* kmalloc.c */
int kmalloc_init(struct slab_state *state);
struct kmem_cache *kmalloc_slab(struct slab_state *state, size_t size, gfp_t gfp);
bool kmalloc_is_large(const struct page *page);	/* head of a block from the buddy */

/* graph.c */
extern const struct arc_graph_source slab_graph_source;

/* percpu.c */
void percpu_alloc_exit(struct slab_state *state);
void percpu_alloc_check(struct slab_state *state, struct check_report *report);

/* slab_debug.c */
int track_new_slab(struct kmem_cache *cachep, struct page *page);
void track_drop_slab(struct kmem_cache *cachep, struct page *page);
struct obj_track *track_of(const struct kmem_cache *cachep, const struct page *page,
			   const void *obj);
void debug_new_slab(struct kmem_cache *cachep, struct page *page);
void debug_alloc(struct kmem_cache *cachep, void *obj, const struct site *site);
bool debug_free(struct kmem_cache *cachep, void *obj, const struct site *site);
void report_bad_free(const char *what, const void *p, const struct site *site);
void report_double_free(const struct kmem_cache *cachep, const void *obj,
			const struct site *again);
void report_interior(const struct kmem_cache *cachep, const void *obj, const struct site *site);
const char *foreign_kind(const void *p);
unsigned long report_live(struct kmem_cache *cachep, bool at_exit);

#endif
