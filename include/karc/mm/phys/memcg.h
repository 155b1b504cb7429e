/* SPDX-License-Identifier: MIT */
/*
 * memcg.h - groups of tasks that may have so much kernel memory and no more
 *
 * A request with __GFP_ACCOUNT is charged to the group that is active where it is made, and what
 * it got is given back to that group when it is freed, wherever that is. A group lives as long as
 * somebody holds it or anything is charged to it.
 */
#ifndef KARC_MM_PHYS_MEMCG_H
#define KARC_MM_PHYS_MEMCG_H

#include <karc/hw/spinlock.h>
#include <karc/mm/gfp.h>
#include <karc/refcount/arc.h>

struct page;

#define MEMCG_NO_LIMIT	(~(size_t)0)

struct mem_cgroup {
	struct arc arc;
	size_t limit_bytes;
	/* lock; usage is read without */
	spinlock_t lock;
	size_t usage_bytes;
	size_t max_usage_bytes;
	unsigned long nr_refused;	/* charges that went over the limit */
};

/**
 * mem_cgroup_alloc - a new group, nothing charged
 * @limit_bytes: MEMCG_NO_LIMIT for none
 *
 * Gives:   one reference; end it with mem_cgroup_put(). Context: any. Errors: NULL.
 */
KARC_MUST_CHECK struct mem_cgroup *mem_cgroup_alloc_site(size_t limit_bytes, gfp_t gfp,
							 const struct site *site);
#define mem_cgroup_alloc(limit_bytes, gfp) mem_cgroup_alloc_site(limit_bytes, gfp, SITE())

/* Called once, when the machine gets its first group, before that is returned. Any context. */
void phys_set_memcg_begin(struct machine *m, void (*begin)(struct machine *m));

/* NULL is the group of what nobody counts: getting and putting it does nothing. */
static inline struct mem_cgroup *mem_cgroup_get(struct mem_cgroup *memcg)
{
	if (memcg)
		arc_get(&memcg->arc);
	return memcg;
}

static inline void mem_cgroup_put(struct mem_cgroup *memcg)
{
	if (memcg)
		arc_put(&memcg->arc);
}

/**
 * set_active_memcg - from here on the running task's __GFP_ACCOUNT requests are charged to @memcg
 * @memcg: borrowed while it is active; NULL: to nobody
 *
 * In an interrupt it is the CPU's and not the interrupted task's.
 * Returns: the one before, to be set again. Context: any. Model: Linux 6.1 set_active_memcg().
 */
struct mem_cgroup *set_active_memcg(struct mem_cgroup *memcg);
struct mem_cgroup *active_memcg(void);

/**
 * memcg_charge - count @bytes against the group's limit
 * @memcg: NULL is allowed and counts nothing
 *
 * What is charged holds the group. Context: any. Errors: -ENOMEM: over the limit, nothing changed.
 */
KARC_MUST_CHECK int memcg_charge(struct mem_cgroup *memcg, size_t bytes);

/*
 * The same for a request: what must not fail, what may dig into reserves (__GFP_HIGH), and a task
 * that frees memory (PF_MEMALLOC) are charged beyond the limit, as in Linux.
 */
KARC_MUST_CHECK int memcg_charge_gfp(struct mem_cgroup *memcg, size_t bytes, gfp_t gfp);

/* Give a charge back; the last one lets the group go. More than was charged is reported. */
void memcg_uncharge(struct mem_cgroup *memcg, size_t bytes);

size_t mem_cgroup_usage(const struct mem_cgroup *memcg);	/* bytes */

/* The group an allocated frame is charged to, or NULL. */
struct mem_cgroup *page_memcg(const struct page *page);

#endif
