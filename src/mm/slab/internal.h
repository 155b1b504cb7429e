/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the slab room share and nobody else may see
 */
#ifndef KARC_SRC_MM_SLAB_INTERNAL_H
#define KARC_SRC_MM_SLAB_INTERNAL_H

#include <karc/base/bitmap.h>
#include <karc/base/hostmem.h>
#include <karc/hw/clock.h>
#include <karc/hw/irq.h>
#include <karc/hw/mutex.h>
#include <karc/hw/physmem.h>
#include <karc/hw/tracepoint.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/poison.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/kmalloc_sized.h>
#include <karc/mm/slab/slab.h>

typedef u16 freelist_idx_t;

#define SLAB_OBJECTS_MAX	0x7fffu

/* kmem_cache.debug: why calls take the checked road. */
#define DEBUG_TRACK	0x01u	/* remembers sites: SLAB_STORE_USER or a machine that tracks */
#define DEBUG_ASAN	0x02u	/* AddressSanitizer is told what is free */
#define DEBUG_PATTERN	0x04u	/* SLAB_POISON */
#define DEBUG_REDZONE	0x08u	/* SLAB_RED_ZONE */
#define DEBUG_NODES	0x10u	/* several nodes: objects go home */
#define DEBUG_RESERVES	0x100u	/* it has had slabs that came from the reserves */
#define DEBUG_ACCOUNT	0x200u	/* objects may be charged to a group */
#define DEBUG_APART	0x1000u	/* objects do not touch, so that sanitizers see who went too far */
#define DEBUG_VALGRIND	0x2000u	/* so is memcheck */
#define DEBUG_TSAN	0x4000u	/* ThreadSanitizer sees a free as a write */
#define DEBUG_LIVE	0x8000u	/* is anything in use inside what is freed? */
#define DEBUG_TRACE	0x10000u	/* SLAB_TRACE: a line for each call */
#define DEBUG_INIT_ALLOC	0x20000u	/* init_on_alloc=1 */
#define DEBUG_INIT_FREE	0x40000u	/* init_on_free=1 */
#define DEBUG_HOME	(DEBUG_NODES | DEBUG_RESERVES)
/* Free objects' bytes are not ours. */
#define DEBUG_FREE_IS_FIXED	(DEBUG_PATTERN | DEBUG_ASAN | DEBUG_VALGRIND | DEBUG_INIT_FREE)

#ifdef KARC_DEBUG
#define IS_DEBUG_BUILD	true
#else
#define IS_DEBUG_BUILD	false
#endif

/* What a tracked object remembers. */
struct obj_track {
	const struct site *alloc;	/* NULL while it is free */
	const struct site *last;	/* where it was allocated last */
	const struct site *freed;
	u32 size;			/* bytes that were asked for */
	u32 valgrind_block;		/* its name's number + 1 */
};

/* With SLAB_STORE_USER two of them follow: of the last allocation, of the last free. */
struct obj_who {
	u64 when_ns;
	u64 task_id;
	unsigned int cpu;
	char task[20];
};

enum damage { DAMAGE_PATTERN, DAMAGE_LEFT, DAMAGE_RIGHT, DAMAGE_TAIL, DAMAGE_FREE_GUARD };

/* The byte *@at of @obj or its guards is not @want. */
typedef void (*damage_fn_t)(const struct kmem_cache *cachep, void *obj, enum damage damage,
			    const u8 *at, u8 want, void *arg);

/* A slab or a large block that went back to the buddy. */
struct gone {
	unsigned long pfn, nr_frames;
	const char *first;		/* its first object */
	unsigned int size, num;
	struct obj_track *tracks;
	size_t stride;
	char name[32];
};

/* A cache that was destroyed; slab_mutex. */
struct gone_cache {
	const struct kmem_cache *cachep;	/* an address */
	const struct site *created, *destroyed;
	char name[32];
};

#define GONE_MAX	32
#define GONE_CACHES_MAX	16

/* page->private of a block that kmalloc() got from the buddy. */
#define KMALLOC_LARGE_MARK	0x636f6c6c616d6bUL

struct arc_graph_source;
struct kfree_block;
struct mem_cgroup;
struct percpu_state;

/* Where a CPU's reaper is; slab_state.list_lock, but next_ns: its CPU. */
struct slab_reap {
	u64 next_ns;			/* of the round that comes */
	struct kmem_cache *next;	/* of the round under way */
	unsigned int round;
	bool active;
};

struct slab_state {
	struct machine *machine;
	struct mutex slab_mutex;
	spinlock_t list_lock;		/* the same list, for who cannot sleep */
	struct list_head caches;	/* changed under both; oldest first */
	struct slab_reap *reap;		/* by CPU */
	struct kmem_cache *kmalloc[NR_KMALLOC_TYPES][NR_KMALLOC_SIZES];
	u16 *frame_class;		/* by pfn: class of the frame's slab (array.h), or 0 */
	u16 *block_use;			/* atomic: see slab.c; by pfn / PHYSMEM_JOIN_FRAMES */
	DECLARE_BITMAP(classes, NR_SLAB_CLASSES);	/* taken by caches with names; atomic */
	bool has_groups;		/* list_lock */
	struct mem_cgroup ***groups;	/* atomic: by pfn of a slab's first frame; see account.c */
	struct obj_track **track;	/* by pfn of a slab's first frame */
	unsigned long max_pfn;
	unsigned int nr_cpus;
	bool multi_node;
	bool noaliencache;
	struct percpu_state *percpu;	/* NULL until somebody allocates; never changes then */
	spinlock_t percpu_lock;		/* for making it */
	struct gone gone[GONE_MAX];	/* gone_lock; a ring */
	unsigned int next_gone;
	spinlock_t gone_lock;
	struct gone_cache gone_cache[GONE_CACHES_MAX];	/* slab_mutex; a ring */
	unsigned int next_gone_cache;
	struct trace_event_watch trace_watch;
	bool traced;			/* somebody listens to the slabs' events; atomic */
	slab_flags_t debug_flags;	/* slab_debug= for all caches, ... */
	const char *debug_text;		/* ... and its text, or NULL */
	bool debug_no_higher_order, init_on_alloc, init_on_free, hardened_usercopy;
	struct { void (*say_foreign)(const void *p); };
	struct kfree_block *kfree_block[MACHINE_MAX_CPUS];	/* see kfree_rcu.c */
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

/* How many of its coldest objects an array that nobody used lately gives back. */
static inline unsigned int array_reap_share(struct array_cache *ac)
{
	unsigned int share = (ac->limit + 4) / 5;

	if (ac->touched) {
		ac->touched = 0;
		return 0;
	}
	return share <= ac->avail ? share : (ac->avail + 1) / 2;
}

/*
 * Stands for an array that was not needed yet, or must not be used: empty and full (limit 0). One for
 * all CPUs and caches, so that it is constant: a write that changes nothing would be a race too.
 */
extern const struct array_cache array_none;

static inline struct array_cache *array_not_there(void)
{
	return (struct array_cache *)&array_none;
}

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

static inline struct kmem_cache_node *get_node(const struct kmem_cache *cachep, int node)
{
	return cachep->node[node];
}

static inline int this_node(void)
{
	return phys_node_here();
}

/* The slab that @p is in, or NULL. */
static inline struct page *slab_page_of(const void *p)
{
	struct page *page;

	if (!virt_addr_valid(p))
		return NULL;
	page = virt_to_head_page(p);
	return PageSlab(page) ? page : NULL;
}

/* array.c */
void *slab_alloc(struct kmem_cache *cachep, gfp_t gfp, size_t size, const struct site *site);
void slab_free(struct kmem_cache *cachep, void *obj, const struct site *site);
bool slab_alloc_begin(struct kmem_cache *cachep, gfp_t gfp, const struct site *site);
void *slab_alloc_end(struct kmem_cache *cachep, gfp_t gfp, void *obj, size_t size,
		     const struct site *site);
bool slab_free_begin(struct kmem_cache *cachep, void *obj, const struct site *site);
unsigned long drain_cpu_array(struct kmem_cache *cachep, unsigned int cpu);
struct array_cache *array_make(struct kmem_cache *cachep, unsigned int limit,
			       unsigned int batchcount);
bool array_make_ready(struct array_cache *ac, gfp_t gfp);

/* So many allocations in one tick that found nothing ready make an array busy. */
#define ARRAY_BUSY	512u

/* Fewer objects than that are not worth being made ready at once. */
#define ARRAY_FEW	32u

/* May objects be made ready in passing? Not few, nor when a safe point is due: the usual way then. */
static inline bool array_may_make_ready(const struct cpu *cpu, const struct array_cache *ac,
					gfp_t gfp)
{
	return ac->avail &&
	       (ac->nr_slow < ARRAY_BUSY || ac->avail >= min(ac->batchcount / 2, ARRAY_FEW)) &&
	       (!(gfp & __GFP_DIRECT_RECLAIM) || cpu->steps > 1);
}

void array_unmake(struct kmem_cache *cachep, unsigned int cpu);
void array_set_limits(struct kmem_cache *cachep);
void array_class_get(struct kmem_cache *cachep);
void array_class_put(struct kmem_cache *cachep);
void array_fast_off(struct kmem_cache *cachep);
unsigned int array_cached(const struct kmem_cache *cachep, unsigned int cpu);
void array_stats(const struct kmem_cache *cachep, struct slab_cpustat *sum);
/* This CPU's, interrupts off: how many objects were there, or found room. */
unsigned int array_pop_many(struct kmem_cache *cachep, void **to, unsigned int nr);
unsigned int array_push_many(struct kmem_cache *cachep, void **from, unsigned int nr);
unsigned long reap_cpu_array(struct kmem_cache *cachep);
void array_count_past(const struct kmem_cache *cachep, unsigned int taken, unsigned int given);
unsigned long arrays_cached(const struct kmem_cache *cachep);

/* node.c; interrupts are off */
void node_refill(struct kmem_cache *cachep, struct array_cache *ac, int node, unsigned int batch);
unsigned int node_flush(struct kmem_cache *cachep, void **objpp, int node, unsigned int nr);
bool node_share(struct kmem_cache *cachep, void **objpp, int node, unsigned int nr);
unsigned int node_take(struct kmem_cache *cachep, int node, void **to, unsigned int nr,
		       bool reserves);
void free_to_node(struct kmem_cache *cachep, void *obj, int node);
void free_many_to_node(struct kmem_cache *cachep, void **objpp, unsigned int nr, int node);
void free_to_alien(struct kmem_cache *cachep, void *obj, int node);
void cache_grow_end(struct kmem_cache *cachep, struct page *page);
unsigned int alloc_block(struct kmem_cache *cachep, struct array_cache *ac, struct page *page,
			 unsigned int batch);
void count_node_alloc(struct kmem_cache *cachep, int node);

/* node.c */
unsigned long node_num_active(const struct kmem_cache *cachep, const struct kmem_cache_node *n);
unsigned long drain_alien_cache(struct kmem_cache *cachep, struct kmem_cache_node *n, int node);
unsigned long drain_shared_array(struct kmem_cache *cachep, struct kmem_cache_node *n, int node);
unsigned long reap_shared_array(struct kmem_cache *cachep, struct kmem_cache_node *n, int node);
unsigned long drain_freelist(struct kmem_cache *cachep, struct kmem_cache_node *n,
			     unsigned long max, bool reaps);

/* fallback.c; interrupts are off */
void *cache_alloc_grow(struct kmem_cache *cachep, gfp_t gfp, unsigned int batch);
bool cache_free_home(struct kmem_cache *cachep, void *obj);

/* fallback.c */
void slab_give_back(struct kmem_cache *cachep, size_t nr, void **p);
void *slab_alloc_node(struct kmem_cache *cachep, gfp_t gfp, int node, size_t size,
		      const struct site *site);

/* slab.c */
struct page *cache_grow_begin(struct kmem_cache *cachep, gfp_t gfp, int node);
void slab_destroy(struct kmem_cache *cachep, struct page *page);
void slabs_destroy(struct kmem_cache *cachep, struct list_head *list);
void slab_release(struct kmem_cache *cachep, struct page *page);
unsigned int slab_get_objs(const struct kmem_cache *cachep, struct page *page, void **to,
			   unsigned int nr);
static inline void *slab_get_obj(const struct kmem_cache *cachep, struct page *page)
{
	void *obj;

	return slab_get_objs(cachep, page, &obj, 1) ? obj : NULL;
}
bool slab_put_obj(const struct kmem_cache *cachep, struct page *page, void *obj);
unsigned int slab_put_objs(const struct kmem_cache *cachep, struct page *page, void **objpp,
			   unsigned int nr);
void slab_give_up_free(const struct kmem_cache *cachep, struct page *page);
unsigned int slab_free_index(const struct page *page, unsigned int i);
bool slab_is_free_here(const struct page *page, unsigned int index);

/* reap.c */
void caches_add(struct slab_state *state, struct kmem_cache *cachep);
void caches_del(struct slab_state *state, struct kmem_cache *cachep);
int reap_init(struct slab_state *state);
void reap_start(struct slab_state *state);
void reap_exit(struct slab_state *state);
unsigned long cache_nr_slabs(const struct kmem_cache *cachep);
unsigned long cache_shrink(struct kmem_cache *cachep);
unsigned long drain_nodes(struct kmem_cache *cachep);
unsigned long drop_empty_slabs(struct kmem_cache *cachep);
unsigned long nodes_cached(const struct kmem_cache *cachep);
unsigned long slab_drain(struct machine *m);

/* account.c */
bool memcg_slab_alloc_hook(struct kmem_cache *cachep, gfp_t gfp, const void *obj);
void memcg_slab_free_hook(struct kmem_cache *cachep, const void *obj);
void account_drop_slab(struct kmem_cache *cachep, const struct page *page);
void account_start(struct slab_state *state);
void account_exit(struct slab_state *state);
void account_check_slab(const struct kmem_cache *cachep, const struct page *page,
			struct check_report *report);

/* cache.c */
struct kmem_cache *cache_make(struct slab_state *state, const char *name, unsigned int size,
			      unsigned int align, slab_flags_t flags, void (*ctor)(void *obj),
			      const struct site *site);
void cache_unmake(struct kmem_cache *cachep);
void cache_leave_fast_ways(struct kmem_cache *cachep, unsigned int bit);

static inline void cache_count_error(struct kmem_cache *cachep)
{
	__atomic_fetch_add(&cachep->nr_errors, 1, __ATOMIC_RELAXED);
}

/* kmalloc.c */
int kmalloc_init(struct slab_state *state);
struct kmem_cache *kmalloc_slab(struct slab_state *state, size_t size, gfp_t gfp);
bool kmalloc_is_large(const struct page *page);	/* head of a block from the buddy */

/* graph.c */
extern const struct arc_graph_source slab_graph_source;

/* percpu.c */
void percpu_alloc_exit(struct slab_state *state);
void percpu_alloc_check(struct slab_state *state, struct check_report *report);
unsigned long percpu_drain(struct slab_state *state);	/* returns how many chunks it gave up */

/* slab_debug.c */
int track_new_slab(struct kmem_cache *cachep, struct page *page);
void track_drop_slab(struct kmem_cache *cachep, struct page *page);
struct obj_track *track_of(const struct kmem_cache *cachep, const struct page *page,
			   const void *obj);
struct obj_who *track_who(const struct kmem_cache *cachep, struct obj_track *track, bool freed);
void debug_new_slab(struct kmem_cache *cachep, struct page *page);
void debug_alloc(struct kmem_cache *cachep, void *obj, size_t size, gfp_t gfp,
		 const struct site *site);
bool debug_free(struct kmem_cache *cachep, void *obj, const struct site *site);
void debug_use_all(struct kmem_cache *cachep, struct page *page, void *obj);
unsigned long debug_validate(struct kmem_cache *cachep, damage_fn_t report, void *arg);

/* Is the object to be all zero when its user gets it, or wiped when he gives it back? */
static inline bool slab_want_init_on_alloc(gfp_t gfp, const struct kmem_cache *cachep)
{
	return !cachep->ctor &&
	       (gfp & __GFP_ZERO || READ_ONCE(cachep->debug) & DEBUG_INIT_ALLOC);
}

static inline bool slab_want_init_on_free(const struct kmem_cache *cachep)
{
	return READ_ONCE(cachep->debug) & DEBUG_INIT_FREE;
}

/* slab_options.c */
void slab_options_init(struct slab_state *state);
slab_flags_t slab_debug_flags(const struct slab_state *state, slab_flags_t flags,
			      const char *name);
slab_flags_t slab_debug_metadata(const struct slab_state *state, slab_flags_t flags);
unsigned int slab_debug_bits(const struct slab_state *state, slab_flags_t flags,
			     void (*ctor)(void *obj));

/* slab_report.c */
void report_bad_free(const char *what, const void *p, const struct site *site);
void report_double_free(const struct kmem_cache *cachep, const void *obj,
			const struct site *again);
void report_interior(const struct kmem_cache *cachep, const void *obj, const struct site *site);
void report_wrong_cache(const struct kmem_cache *cachep, const struct kmem_cache *real,
			const void *obj, const struct site *site);
void report_damage(const struct kmem_cache *cachep, void *obj, enum damage damage, const u8 *at,
		   u8 want, void *arg);
void report_trace(const struct kmem_cache *cachep, const void *obj, const char *what,
		  const struct site *site);
const char *foreign_kind(const void *p);
unsigned long report_live(struct kmem_cache *cachep, bool at_exit);
void gone_remember(const struct kmem_cache *cachep, const struct page *page,
		   struct obj_track *tracks, size_t stride);
void gone_remember_large(const struct page *page, const struct site *site);
void gone_exit(struct slab_state *state);
void gone_cache_remember(const struct kmem_cache *cachep, const struct site *site);
void report_bad_destroy(const struct kmem_cache *cachep, const struct site *site);

/* slab_watch.c */
void watch_init(struct slab_state *state);
void watch_exit(struct slab_state *state);
unsigned int watch_debug_bits(slab_flags_t flags);
void watch_open(const void *p, size_t bytes);
void watch_hide(const void *p, size_t bytes);
void watch_written(void *p, size_t bytes);
void watch_alloc(const struct kmem_cache *cachep, void *obj, size_t size, bool has_content,
		 const struct site *site);
void watch_free(const struct kmem_cache *cachep, void *obj, const struct site *site);
void watch_forget_slab(const struct kmem_cache *cachep, struct page *page);
void watch_double_free(const struct kmem_cache *cachep, const void *obj);
void trace_alloc_emit(enum trace_event event, const struct kmem_cache *cachep, const void *obj,
		      size_t size, size_t given, gfp_t gfp, const struct site *site) __cold;
void trace_free_emit(enum trace_event event, const struct kmem_cache *cachep, const void *obj,
		     const struct site *site) __cold;

/* @given: bytes that the caller may use. A failed allocation is no event, as in Linux. */
static inline void trace_alloc(enum trace_event event, const struct kmem_cache *cachep,
			       const void *obj, size_t size, size_t given, gfp_t gfp,
			       const struct site *site)
{
	if (trace_event_on(event) && obj)
		trace_alloc_emit(event, cachep, obj, size, given, gfp, site);
}

static inline void trace_free(enum trace_event event, const struct kmem_cache *cachep,
			      const void *obj, const struct site *site)
{
	if (trace_event_on(event))
		trace_free_emit(event, cachep, obj, site);
}

#endif
