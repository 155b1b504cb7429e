/* SPDX-License-Identifier: MIT */
/*
 * slab_debug.c - the checked road: sites, patterns, guard words, and what reports say
 *
 * What it is
 *	A cache with debug bits pays for knowing more. Tracking keeps two sites per object beside
 *	the slab, not in it, so that a tracked machine lays its memory out as any other does:
 *	"allocated here" (NULL while free) and "last freed there". That finds double frees at once
 *	and names what is left. SLAB_POISON fills free objects, SLAB_RED_ZONE guards the word after
 *	each. Under AddressSanitizer free objects are off limits.
 *
 * Invariants
 *	I1 an object's track has alloc set from debug_alloc() to debug_free()
 *	I2 what is reported as a bad free has changed nothing
 *
 * Unlike Linux
 *	A bad free is a warning and is then ignored. The guard word is behind the object only.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include "internal.h"

#define POISON_FREE	0x6b	/* a free object's bytes ... */
#define POISON_END	0xa5	/* ... and its last one */
#define REDZONE_LIVE	0xd84156c5635688c0ULL
#define REDZONE_FREE	0x09f911029d74e35bULL

#define MAX_SITES_SHOWN	64

/* ---- tracks ---- */

/* A slab without tracks (the host had no memory) is only less well known. */
int track_new_slab(struct kmem_cache *cachep, struct page *page)
{
	struct slab_state *state = cachep->state;

	if (!(cachep->debug & DEBUG_TRACK))
		return 0;
	state->track[page_to_pfn(page)] =
		hostmem_zalloc(slab_hostmem(state), cachep->num * sizeof(struct obj_track));
	return state->track[page_to_pfn(page)] ? 0 : -ENOMEM;
}

void track_drop_slab(struct kmem_cache *cachep, struct page *page)
{
	struct slab_state *state = cachep->state;

	if (!(cachep->debug & DEBUG_TRACK))
		return;
	hostmem_free(slab_hostmem(state), state->track[page_to_pfn(page)]);
	state->track[page_to_pfn(page)] = NULL;
}

/* What is known of an object, or NULL. */
struct obj_track *track_of(const struct kmem_cache *cachep, const struct page *page,
			   const void *obj)
{
	struct obj_track *track;

	if (!(cachep->debug & DEBUG_TRACK))
		return NULL;
	track = cachep->state->track[page_to_pfn(page)];
	return track ? &track[obj_to_index(cachep, page, obj)] : NULL;
}

/* ---- patterns and guards; the object is not off limits while these look at it ---- */

static u64 *redzone_of(const struct kmem_cache *cachep, void *obj)
{
	return (u64 *)((char *)obj + ALIGN(cachep->object_size, sizeof(u64)));
}

static void fill_pattern(const struct kmem_cache *cachep, void *obj)
{
	memset(obj, POISON_FREE, cachep->object_size - 1);
	((u8 *)obj)[cachep->object_size - 1] = POISON_END;
}

static bool pattern_is_whole(const struct kmem_cache *cachep, const void *obj)
{
	const u8 *byte = obj;

	for (unsigned int i = 0; i < cachep->object_size - 1; i++) {
		if (byte[i] != POISON_FREE)
			return false;
	}
	return byte[cachep->object_size - 1] == POISON_END;
}

/* Objects that were never handed out look like freed ones. */
void debug_new_slab(struct kmem_cache *cachep, struct page *page)
{
	if (!(cachep->debug & (DEBUG_PATTERN | DEBUG_REDZONE | DEBUG_ASAN)))
		return;
	for (unsigned int i = 0; i < cachep->num; i++) {
		void *obj = index_to_obj(cachep, page, i);

		if (cachep->debug & DEBUG_PATTERN)
			fill_pattern(cachep, obj);
		if (cachep->debug & DEBUG_REDZONE)
			*redzone_of(cachep, obj) = REDZONE_FREE;
		if (cachep->debug & DEBUG_ASAN)
			mem_poison(obj, cachep->size);
	}
}

static u64 phys_offset(const void *p)
{
	return (u64)((const char *)p - karc_cpu->arena);
}

static void say_sites(const struct obj_track *track)
{
	if (track && track->alloc)
		pr_warn("object allocated at %s:%u %s\n", track->alloc->file, track->alloc->line,
			track->alloc->func);
	if (track && track->freed)
		pr_warn("object last freed at %s:%u %s\n", track->freed->file, track->freed->line,
			track->freed->func);
}

/* An object on its way to a user. */
void debug_alloc(struct kmem_cache *cachep, void *obj, const struct site *site)
{
	struct obj_track *track = track_of(cachep, virt_to_head_page(obj), obj);

	if (cachep->debug & DEBUG_ASAN) {
		mem_unpoison(obj, cachep->debug & DEBUG_REDZONE ? cachep->size :
			     cachep->object_size);
	}
	if (cachep->debug & DEBUG_PATTERN && !pattern_is_whole(cachep, obj)) {
		WARN(1, "slab %s: object at 0x%llx was written to after it was freed",
		     cachep->name, phys_offset(obj));
		say_sites(track);
	}
	if (cachep->debug & DEBUG_REDZONE) {
		if (*redzone_of(cachep, obj) != REDZONE_FREE) {
			WARN(1, "slab %s: guard after the free object at 0x%llx is damaged",
			     cachep->name, phys_offset(obj));
			say_sites(track);
		}
		*redzone_of(cachep, obj) = REDZONE_LIVE;
	}
	if (track)
		*track = (struct obj_track){ .alloc = site, .freed = track->freed };
}

/* An object on its way back. False: it must not go there; reported. */
bool debug_free(struct kmem_cache *cachep, void *obj, const struct site *site)
{
	struct page *page = virt_to_head_page(obj);
	struct obj_track *track;

	if (!is_object(cachep, page, obj)) {
		report_interior(cachep, obj, site);
		return false;
	}
	track = track_of(cachep, page, obj);
	if (track && !track->alloc) {
		report_double_free(cachep, obj, site);
		return false;
	}
	if (cachep->debug & DEBUG_ASAN)
		mem_unpoison(obj, cachep->size);
	if (cachep->debug & DEBUG_REDZONE) {
		if (*redzone_of(cachep, obj) != REDZONE_LIVE) {
			WARN(1, "slab %s: written beyond the object at 0x%llx", cachep->name,
			     phys_offset(obj));
			say_sites(track);
		}
		*redzone_of(cachep, obj) = REDZONE_FREE;
	}
	if (cachep->debug & DEBUG_PATTERN)
		fill_pattern(cachep, obj);
	if (track)
		*track = (struct obj_track){ .alloc = NULL, .freed = site };
	if (cachep->debug & DEBUG_ASAN)
		mem_poison(obj, cachep->size);
	return true;
}

/* ---- what reports say ---- */

void report_double_free(const struct kmem_cache *cachep, const void *obj,
			const struct site *again)
{
	WARN(1, "slab: double free detected in cache '%s', object at 0x%llx%s%s", cachep->name,
	     phys_offset(obj), again ? ", again at " : "", again ? again->func : "");
	if (again)
		pr_warn("freed again at %s:%u %s\n", again->file, again->line, again->func);
	say_sites(track_of(cachep, virt_to_head_page(obj), obj));
}

void report_interior(const struct kmem_cache *cachep, const void *obj, const struct site *site)
{
	WARN(1, "slab: free of a pointer that is not the start of an object of cache '%s': 0x%llx",
	     cachep->name, phys_offset(obj));
	if (site)
		pr_warn("freed at %s:%u %s\n", site->file, site->line, site->func);
	say_sites(track_of(cachep, virt_to_head_page(obj), obj));
}

/* What an address is that is no slab object. */
const char *foreign_kind(const void *p)
{
	const struct fiber *f = fiber_self();
	const struct machine *m = karc_cpu->machine;
	u64 bytes;

	if (f && f->stack && (u64)((const char *)p - f->stack) < f->stack_bytes)
		return "an address on the stack of the running task";
	for (unsigned int w = 0; w < WINDOW_NR; w++) {
		if ((u64)((const char *)p - physmem_window(m, w, &bytes)) < bytes)
			return w == WINDOW_VMALLOC ? "vmalloc memory, which vfree() frees" :
						     "a kmap address";
	}
	if (!virt_addr_valid_fast(p))
		return "memory of the host or of another machine";
	if (!virt_addr_valid(p))
		return "an address without memory behind it";
	return PageHead(virt_to_head_page(p)) ? "inside a block of frames" :
						"a frame that is not a slab page";
}

void report_bad_free(const char *what, const void *p, const struct site *site)
{
	WARN(1, "%s: Object is not a Slab page! It is %s", what, foreign_kind(p));
	if (site)
		pr_warn("freed at %s:%u %s\n", site->file, site->line, site->func);
	if (virt_addr_valid(p))
		dump_page(virt_to_page(p), "freed as an object");
}

/* ---- live objects by site ---- */

struct live_group {
	const struct site *site;
	unsigned long count;
};

struct live_report {
	struct live_group group[MAX_SITES_SHOWN];
	unsigned int nr_groups;
};

/* One line may expand SITE() more than once. */
static bool same_site(const struct site *a, const struct site *b)
{
	return a == b || (a && b && a->line == b->line && !strcmp(a->file, b->file));
}

static void live_add(struct live_report *report, const struct site *site, unsigned long count)
{
	unsigned int i;

	for (i = 0; i < report->nr_groups; i++) {
		if (same_site(report->group[i].site, site))
			break;
	}
	if (i == MAX_SITES_SHOWN)
		i--;		/* the last group takes what does not fit */
	else if (i == report->nr_groups)
		report->group[report->nr_groups++] = (struct live_group){ site, 0 };
	report->group[i].count += count;
}

static void live_of_list(const struct kmem_cache *cachep, const struct list_head *slabs,
			 struct live_report *report)
{
	const struct page *page;

	list_for_each_entry(page, slabs, slab_list) {
		const struct obj_track *track = cachep->debug & DEBUG_TRACK ?
			cachep->state->track[page_to_pfn(page)] : NULL;

		if (!track) {
			live_add(report, NULL, page->slab_active);
			continue;
		}
		for (unsigned int i = 0; i < cachep->num; i++) {
			if (track[i].alloc)
				live_add(report, track[i].alloc, 1);
		}
	}
}

/* Tell what is alive, after arrays were drained; at shutdown it counts. Returns how many. */
unsigned long report_live(struct kmem_cache *cachep, bool at_exit)
{
	struct live_report *report = hostmem_zalloc(slab_hostmem(cachep->state), sizeof(*report));
	unsigned long sum = 0;

	if (!report)
		return 0;
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		if (!cachep->node[nid])
			continue;
		live_of_list(cachep, &cachep->node[nid]->slabs_partial, report);
		live_of_list(cachep, &cachep->node[nid]->slabs_full, report);
	}
	for (unsigned int i = 0; i < report->nr_groups; i++) {
		const struct live_group *g = &report->group[i];

		sum += g->count;
		if (at_exit)
			machine_report_left(cachep->state->machine, cachep->name, g->site, g->count,
					    (u64)g->count * cachep->object_size);
		else
			pr_err("%s: %lu objects, from %s:%u %s\n", cachep->name, g->count,
			       g->site ? g->site->file : "?", g->site ? g->site->line : 0,
			       g->site ? g->site->func : "?");
	}
	hostmem_free(slab_hostmem(cachep->state), report);
	return sum;
}
