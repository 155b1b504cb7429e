/* SPDX-License-Identifier: MIT */
/*
 * play_kfree.c - the road of one free, from the pointer to the buddy allocator
 *
 * The steps are those that the slab room announces on its trace points; what the story says about
 * them is looked up in struct page, in the arrays' counts and in the machine's log.
 */
#include "scenario.h"
#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/hw/irq.h>
#include <karc/hw/tracepoint.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/poison.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/rcu.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_BYTES	2048u
#define NR_OBJECTS	1024u		/* more than the arrays and free_limit keep */
#define SHOWN_MOST	2u		/* of steps with the same name, between two headings */
#define NAMES_MOST	32u
#define DEMO_IRQ	7

/**
 * struct watcher - hears the steps of frees, tells them and remembers which there were
 * @first: what came first, second ... : order of the first of each name
 * @at_irqs_off: what to do at the step where interrupts are off; NULL: nothing
 */
struct watcher {
	struct stage *s;
	struct trace_event_listener listener;
	struct { char name[40]; unsigned int nr; } step[NAMES_MOST];
	unsigned int nr_steps;
	struct { void (*at_irqs_off)(struct watcher *w); };
	bool irqs_were_off;
	struct kmem_cache *cache;	/* whose object the interrupt frees, and the object */
	void *obj;
	unsigned int nr_irqs;
};

static unsigned int *count_of(struct watcher *w, const char *name)
{
	unsigned int i;

	for (i = 0; i < w->nr_steps; i++)
		if (!strcmp(w->step[i].name, name))
			return &w->step[i].nr;
	if (w->nr_steps == NAMES_MOST)
		return &w->step[NAMES_MOST - 1].nr;
	snprintf(w->step[i].name, sizeof(w->step[i].name), "%s", name);
	w->step[i].nr = 0;
	w->nr_steps++;
	return &w->step[i].nr;
}

static void hear(void *arg, const struct trace_record *record)
{
	struct watcher *w = arg;
	const char *name = record->event == TRACE_SLAB_STEP ? record->step :
			   trace_event_name(record->event);
	char line[256];

	if (record->event == TRACE_SLAB_STEP)
		snprintf(line, sizeof(line), "%s", record->text);
	else
		trace_event_format(record, line, sizeof(line));
	if (w->at_irqs_off && !strcmp(name, "local_irq_save"))
		w->at_irqs_off(w);
	if ((*count_of(w, name))++ < SHOWN_MOST)
		stage_step(w->s, name, record->event == TRACE_SLAB_STEP || !strchr(line, ':') ?
			   line : strchr(line, ':') + 2);
}

static void watch(struct watcher *w, bool on)
{
	if (on) {
		memset(w->step, 0, sizeof(w->step));
		w->nr_steps = 0;
		trace_event_listen(w->s->m, TRACE_BIT(TRACE_KFREE) |
				   TRACE_BIT(TRACE_KMEM_CACHE_FREE) |
				   TRACE_BIT(TRACE_SLAB_STEP) | TRACE_BIT(TRACE_MM_PAGE_FREE),
				   &w->listener, hear, w);
	} else {
		trace_event_unlisten(w->s->m, &w->listener);
	}
}

static unsigned int times(struct watcher *w, const char *name)
{
	return *count_of(w, name);
}

/* Did the first of @name come before the first of @then? */
static bool came_before(const struct watcher *w, const char *name, const char *then)
{
	unsigned int i, a = NAMES_MOST, b = NAMES_MOST;

	for (i = 0; i < w->nr_steps; i++) {
		if (!strcmp(w->step[i].name, name))
			a = i;
		if (!strcmp(w->step[i].name, then))
			b = i;
	}
	return a < b && b < NAMES_MOST;
}

/* ---- nothing to free --------------------------------------------------------------------- */

static void free_nothing(struct stage *s, struct watcher *w)
{
	void *zero = kmalloc(0, GFP_KERNEL);

	stage_head(s, "kfree(NULL) and kfree(kmalloc(0)): nothing to free");
	stage_expect(s, zero == ZERO_SIZE_PTR && (unsigned long)zero == 16,
		     "kmalloc(0) gives ZERO_SIZE_PTR, which is 16: no memory, but not NULL either");
	watch(w, true);
	kfree(NULL);
	kfree(zero);
	watch(w, false);
	stage_expect(s, times(w, "kfree") == 2 && times(w, "ZERO_OR_NULL_PTR") == 2 &&
		     came_before(w, "kfree", "ZERO_OR_NULL_PTR"),
		     "each is traced first and only then compared: up to 16 there is nothing to free");
}

/* ---- from the pointer to the slab -------------------------------------------------------- */

static void say_frame(struct stage *s, const char *what, const struct page *page)
{
	char names[160];

	stage_say(s, "%-24s frame %lu, flags %s, word of compound_head: bit 0 is %lu", what,
		  page_to_pfn(page), page_flag_names(page->flags, names, sizeof(names)),
		  page->compound_head & 1);
}

/* An object in a later frame of a slab that has several. */
static void find_the_head(struct stage *s, struct watcher *w)
{
	struct kmem_cache *cache = kmem_cache_create("demo-large", 2500, 0, 0, NULL);
	struct page *page = NULL, *head = NULL;
	void *obj[8];
	unsigned int i, tail = 0;

	stage_head(s, "Which slab is it? The frame's head says");
	stage_expect(s, cache && cache->gfporder > 0,
		     "objects of 2500 bytes: their slabs are blocks of several frames");
	if (!cache)
		return;
	for (i = 0; i < 8; i++) {
		obj[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		if (obj[i] && PageTail(virt_to_page(obj[i])))
			tail = i;
	}
	page = virt_to_page(obj[tail]);
	head = virt_to_head_page(obj[tail]);
	say_frame(s, "the object lies in", page);
	say_frame(s, "the block's first frame", head);
	stage_expect(s, PageTail(page) && page != head &&
		     page->compound_head == ((unsigned long)head | 1),
		     "bit 0 set: a later frame of a block, and the rest is its head's address");
	stage_expect(s, !(head->compound_head & 1) && PageSlab(head) && head->slab_cache == cache,
		     "bit 0 clear: no address of a head; a slab's head has its kmem_cache there");
	stage_say(s, "(an address of a struct page, or of a kmem_cache, is even: bit 0 is left over)");
	watch(w, true);
	kfree(obj[tail]);
	watch(w, false);
	stage_expect(s, came_before(w, "kfree", "virt_to_head_page"),
		     "kfree takes an object of any cache: the head names the cache");
	for (i = 0; i < 8; i++)
		if (i != tail && obj[i])
			kmem_cache_free(cache, obj[i]);
	kmem_cache_destroy(cache);
}

/* ---- the CPU's array --------------------------------------------------------------------- */

static irqreturn_t free_in_interrupt(int irq, void *dev)
{
	struct watcher *w = dev;

	(void)irq;
	w->nr_irqs++;
	kmem_cache_free(w->cache, w->obj);
	return IRQ_HANDLED;
}

/* In the middle of a free: a device wants to be heard, and its handler frees as well. */
static void interrupt_now(struct watcher *w)
{
	w->at_irqs_off = NULL;
	w->irqs_were_off = irqs_disabled() && !w->nr_irqs;
	irq_raise(w->s->m, smp_processor_id(), DEMO_IRQ);
}

static void push(struct stage *s, struct watcher *w)
{
	struct kmem_cache *cache = kmem_cache_create("demo", 200, 0, 0, NULL);
	void *obj;

	stage_head(s, "Interrupts are off while the CPU's array changes. Why?");
	if (!cache || request_irq(DEMO_IRQ, free_in_interrupt, 0, "demo", w)) {
		stage_expect(s, false, "a cache and an interrupt line");
		return;
	}
	obj = kmem_cache_alloc(cache, GFP_KERNEL);
	w->cache = cache;
	w->obj = kmem_cache_alloc(cache, GFP_KERNEL);
	w->at_irqs_off = interrupt_now;
	stage_expect(s, obj && w->obj && kmem_cache_live_objects(cache) == 2, "two objects");
	stage_say(s, "in the middle of freeing one, a device raises an interrupt; its handler frees "
		  "the other");
	watch(w, true);
	kfree(obj);
	watch(w, false);
	free_irq(DEMO_IRQ, w);
	stage_expect(s, w->irqs_were_off && w->nr_irqs == 1,
		     "interrupts were off; the handler ran afterwards, not in between");
	stage_expect(s, kmem_cache_live_objects(cache) == 0,
		     "both objects are in the array: entry[avail++] was never seen half done");
	kmem_cache_destroy(cache);
}

/* ---- too many: flush, slabs, buddy ------------------------------------------------------- */

static void flush(struct stage *s, struct watcher *w)
{
	struct kmem_cache *cache = kmem_cache_create("demo-many", OBJECT_BYTES, 0, 0, NULL);
	void **obj = calloc(NR_OBJECTS, sizeof(*obj));
	unsigned long slabs, free_before;
	unsigned int i, nr = 0;
	bool shares;

	stage_head(s, "A full array: flush");
	if (!cache || !obj)
		goto out;
	while (nr < NR_OBJECTS && (obj[nr] = kmem_cache_alloc(cache, GFP_KERNEL)))
		nr++;
	slabs = kmem_cache_nr_slabs(cache);
	free_before = phys_nr_free(s->m);
	shares = cache->shared != 0;
	stage_say(s, "%u objects of %u bytes on %lu slabs; the CPU's array takes %u, a flush moves %u",
		  nr, OBJECT_BYTES, slabs, cache->limit, cache->batchcount);
	if (cache->spare_limit)
		stage_say(s, "behind the array the CPU has a second one, for %u",
			  cache->spare_limit);
	watch(w, true);
	for (i = 0; i < nr; i++)
		kmem_cache_free(cache, obj[i]);
	watch(w, false);
	stage_say(s, "(in all: %u transfers to the shared array, %u to slabs, %u slabs destroyed)",
		  times(w, "transfer_objects"), times(w, "free_block"), times(w, "slab_destroy"));
	stage_expect(s, !shares || came_before(w, "transfer_objects", "free_block"), shares ?
		     "the coldest batch goes to the array that the node's CPUs share, until that "
		     "is full" : "one CPU has nobody to share with: no shared array");
	stage_expect(s, times(w, "free_block") > 0, "then back to the slabs: free_block");
	stage_expect(s, came_before(w, "free_block", "slab_destroy") &&
		     came_before(w, "slab_destroy", "kmem_freepages") &&
		     came_before(w, "kmem_freepages", "mm_page_free"),
		     "more free objects than free_limit: empty slabs are destroyed, their frames go "
		     "to the buddy");
	stage_expect(s, kmem_cache_nr_slabs(cache) + times(w, "slab_destroy") == slabs &&
		     phys_nr_free(s->m) ==
		     free_before + (times(w, "slab_destroy") << cache->gfporder),
		     "%u slabs less, and so many blocks of %u frames are free again",
		     times(w, "slab_destroy"), 1u << cache->gfporder);
out:
	stage_expect(s, nr == NR_OBJECTS, "%u objects came and went", nr);
	free(obj);
	kmem_cache_destroy(cache);
}

/* ---- an object of another node ----------------------------------------------------------- */

static void alien(struct stage *s, struct watcher *w)
{
	struct kmem_cache *cache = kmem_cache_create("demo-alien", OBJECT_BYTES, 0, 0, NULL);
	struct pglist_data *other = node_by_index(1);
	unsigned int i, nr = 0, want;
	void **obj;

	stage_head(s, "An object of another node");
	want = cache ? cache->limit + 1 : 0;
	obj = calloc(want + 1, sizeof(*obj));
	if (!other || !cache || !obj) {
		stage_expect(s, !other, "this machine has one node: nobody is alien to anybody");
		goto out;
	}
	while (nr < want && (obj[nr] = kmem_cache_alloc_node(cache, GFP_KERNEL, other->node_id)))
		nr++;
	stage_expect(s, nr == want && page_to_nid(virt_to_head_page(obj[0])) == other->node_id,
		     "%u objects on node %d; CPU 0, which frees them, is on node %d", nr,
		     other->node_id, numa_mem_id());
	watch(w, true);
	for (i = 0; i < nr; i++)
		kmem_cache_free(cache, obj[i]);
	watch(w, false);
	stage_expect(s, times(w, "__cache_free_alien") == nr,
		     "none enters the CPU's array: each goes to the alien cache for its node");
	stage_expect(s, times(w, "__drain_alien_cache") == 1,
		     "when that is full (%u), all go home together", cache->limit);
out:
	for (i = 0; nr < want && i < nr; i++)
		kmem_cache_free(cache, obj[i]);
	free(obj);
	kmem_cache_destroy(cache);
}

/* ---- freed slabs that readers may still look at ------------------------------------------ */

static void after_grace(struct stage *s, struct watcher *w)
{
	struct kmem_cache *cache = kmem_cache_create("demo-rcu", OBJECT_BYTES, 0,
						     SLAB_TYPESAFE_BY_RCU, NULL);
	void **obj = calloc(NR_OBJECTS, sizeof(*obj));
	unsigned int i, nr = 0, freed_early;

	stage_head(s, "Slabs that RCU readers may still look at");
	while (cache && obj && nr < NR_OBJECTS && (obj[nr] = kmem_cache_alloc(cache, GFP_KERNEL)))
		nr++;
	stage_say(s, "a reader is under way (rcu_read_lock) while the objects are freed");
	watch(w, true);
	rcu_read_lock();
	for (i = 0; i < nr; i++)
		kmem_cache_free(cache, obj[i]);
	freed_early = times(w, "kmem_freepages");
	rcu_read_unlock();
	rcu_barrier();
	watch(w, false);
	stage_expect(s, times(w, "slab_destroy") > 0 && !freed_early,
		     "slab_destroy only asked for a grace period: the reader may still find objects "
		     "of this type");
	stage_expect(s, times(w, "kmem_freepages") == times(w, "slab_destroy"),
		     "after it the frames of all %u slabs went to the buddy",
		     times(w, "slab_destroy"));
	free(obj);
	kmem_cache_destroy(cache);
}

/* ---- what is no slab --------------------------------------------------------------------- */

static unsigned long warnings(const struct stage *s)
{
	return machine_counters(s->m).warnings;
}

static void large(struct stage *s, struct watcher *w)
{
	void *p = kmalloc(5 * PAGE_SIZE, GFP_KERNEL);
	unsigned long before = warnings(s);

	stage_head(s, "No slab, and all right: kmalloc() beyond %lu bytes", KMALLOC_MAX_CACHE_SIZE);
	if (!p) {
		stage_expect(s, false, "memory");
		return;
	}
	stage_expect(s, !PageSlab(virt_to_page(p)) && compound_order(virt_to_page(p)) == 3,
		     "20 KiB are a block of order 3 from the buddy, no object of any slab");
	watch(w, true);
	kfree(p);
	watch(w, false);
	stage_expect(s, times(w, "free_large_kmalloc") == 1 && warnings(s) == before,
		     "kfree sees that and gives the block back; the head knows its order");
}

static void raw_frame(struct stage *s, struct watcher *w)
{
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned long before = warnings(s);

	stage_head(s, "No slab, and a mistake: a frame of alloc_pages()");
	if (!page) {
		stage_expect(s, false, "a frame");
		return;
	}
	stage_log_skip(s);
	watch(w, true);
	kfree(page_address(page));
	watch(w, false);
	stage_expect(s, warnings(s) == before + 1 && stage_log(s, "not a Slab page"),
		     "reported: only this frame's owner knows how it is to be freed");
	stage_expect(s, page_ref_count(page) == 1 && times(w, "mm_page_free") == 0,
		     "and not freed: its owner still has it");
	__free_page(page);
}

/* What kmem_freepages() does with the frames of a slab, after it refused to. */
static void give_frames_back(struct kmem_cache *cache, struct page *page)
{
	mem_unpoison(page_to_virt(page), PAGE_SIZE << cache->gfporder);
	page_mapcount_reset(page);
	page->mapping = NULL;
	mod_node_page_state(NODE_DATA(page_to_nid(page)), NR_SLAB_UNRECLAIMABLE_B,
			    -(long)(PAGE_SIZE << cache->gfporder));
	ledger_sub("slab page", cache->site, PAGE_SIZE << cache->gfporder);
	__free_pages(page, cache->gfporder);
}

static long shrink_entry(void *cache)
{
	return kmem_cache_shrink(cache);
}

static void flag_cleared(struct stage *s, struct watcher *w)
{
	struct kmem_cache *cache = kmem_cache_create("demo-flag", 200, 0, 0, NULL);
	void *obj = cache ? kmem_cache_alloc(cache, GFP_KERNEL) : NULL;
	unsigned long before = warnings(s);
	struct machine_result res;
	struct page *page;
	void *same;

	stage_head(s, "A slab whose flag somebody cleared: kfree, then kmem_freepages");
	if (!obj) {
		stage_expect(s, false, "an object");
		return;
	}
	page = virt_to_head_page(obj);
	same = obj;
	OPTIMIZER_HIDE_VAR(same);	/* it is not freed at the first attempt */
	__ClearPageSlab(page);
	stage_log_skip(s);
	watch(w, true);
	kfree(obj);
	watch(w, false);
	stage_expect(s, warnings(s) == before + 1 && stage_log(s, "not a Slab page"),
		     "kfree warns and leaves the object alone: a stray write to page->flags looks "
		     "like this");
	__SetPageSlab(page);
	stage_expect(s, kmem_cache_live_objects(cache) == 1, "with the flag back it is an object");
	kfree(same);
	stage_say(s, "kmem_freepages is reached only from slab_destroy, so its slab had the flag "
		  "when its last object came");
	stage_say(s, "home; the flag is cleared after that, and a shrink finds the empty slab:");
	kmem_cache_shrink(cache);
	obj = kmem_cache_alloc(cache, GFP_KERNEL);
	page = virt_to_head_page(obj);
	kfree(obj);
	__ClearPageSlab(page);
	res = machine_call(s->m, 0, shrink_entry, cache);
	stage_expect(s, res.end == MACHINE_BUG && strstr(res.message, "PageSlab"),
		     "%s", res.message[0] ? res.message : "no BUG");
	stage_say(s, "the task that shrank the cache ends there; the machine goes on");
	give_frames_back(cache, page);
	kmem_cache_destroy(cache);
}

void kfree_machine(struct machine_config *config)
{
	config->nr_nodes = 2;
}

void play_kfree(struct stage *s)
{
	struct watcher w = { .s = s };

	stage_listen(s, false);
	free_nothing(s, &w);
	find_the_head(s, &w);
	push(s, &w);
	flush(s, &w);
	alien(s, &w);
	after_grace(s, &w);
	large(s, &w);
	raw_frame(s, &w);
	flag_cleared(s, &w);
	machine_reset_once(s->m);
}
