/* SPDX-License-Identifier: MIT */
/*
 * slab_debug.c - the checked road: sites, patterns, guards, and whether all of it is whole
 *
 * What it is
 *	A cache with debug bits pays for knowing more. Tracking keeps two sites per object beside
 *	the slab, not in it, so that a tracked machine lays its memory out as any other does:
 *	"allocated here" (NULL while free) and "last freed there"; SLAB_STORE_USER adds who and when.
 *	That finds double frees at once and names what is left. SLAB_POISON fills free objects and
 *	those that nobody has written to yet, SLAB_RED_ZONE guards both ends of each. Sanitizers that
 *	are in the process are told what is off limits (slab_watch.c).
 *
 * Objects
 *	slot of an object:   | left guard | object_size bytes | right guard |   size bytes together
 *	                                  ^ what users get, s_mem for the first
 *	slab_state.track[pfn] -> obj_track of each object, one after the other
 *	slab_state.gone -> the last slabs and large blocks that went, with their tracks
 *
 * Invariants
 *	I1 an object's track has alloc set from debug_alloc() to debug_free()
 *	I2 what is reported as a bad free has changed nothing
 *	I3 outside these functions a free object's bytes and all guards are as object_fill() left them
 *
 * Locking
 *	an object's track	whoever holds the object, or has just taken it from an array
 *	gone			gone_lock (LR_LEDGER)
 *
 * Worst case
 *	SLAB_POISON and SLAB_RED_ZONE read and write a whole object at each call.
 *
 * Unlike Linux
 *	Each letter of slab_debug= remembers the state of objects and their sites; Linux needs U for
 *	that. A bad free is a warning and is then ignored; damage is reported, repaired and the object
 *	used on. Sites are one place each, not a stack. Of a kmalloc() object the bytes that were not
 *	asked for are guarded, too.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/freeze.h>
#include <karc/refcount/free_check.h>
#include "internal.h"

#define POISON_INUSE	0x5a	/* nobody has written here yet */
#define POISON_FREE	0x6b	/* a free object's bytes ... */
#define POISON_END	0xa5	/* ... and its last one */
#define GUARD_FREE	0xbb
#define GUARD_LIVE	0xcc

/* ---- tracks ---- */

static size_t track_stride(const struct kmem_cache *cachep)
{
	return sizeof(struct obj_track) +
	       (cachep->flags & SLAB_STORE_USER ? 2 * sizeof(struct obj_who) : 0);
}

/* Track of object @index in @tracks, which are those of one slab. */
static struct obj_track *track_at(const struct kmem_cache *cachep, struct obj_track *tracks,
				  unsigned int index)
{
	return (struct obj_track *)(void *)((char *)tracks + index * track_stride(cachep));
}

/* A slab without tracks (the host had no memory) is only less well known. */
int track_new_slab(struct kmem_cache *cachep, struct page *page)
{
	struct slab_state *state = cachep->state;

	if (!(READ_ONCE(cachep->debug) & DEBUG_TRACK))
		return 0;
	state->track[page_to_pfn(page)] =
		hostmem_zalloc(slab_hostmem(state), cachep->num * track_stride(cachep));
	return state->track[page_to_pfn(page)] ? 0 : -ENOMEM;
}

void track_drop_slab(struct kmem_cache *cachep, struct page *page)
{
	struct slab_state *state = cachep->state;
	struct obj_track *tracks;

	if (READ_ONCE(cachep->debug) & DEBUG_VALGRIND)
		watch_forget_slab(cachep, page);
	if (!(READ_ONCE(cachep->debug) & DEBUG_TRACK))
		return;
	tracks = state->track[page_to_pfn(page)];
	state->track[page_to_pfn(page)] = NULL;
	if (tracks)
		gone_remember(cachep, page, tracks, track_stride(cachep));
}

/* What is known of an object, or NULL. */
struct obj_track *track_of(const struct kmem_cache *cachep, const struct page *page,
			   const void *obj)
{
	struct obj_track *tracks;

	if (!(READ_ONCE(cachep->debug) & DEBUG_TRACK))
		return NULL;
	tracks = cachep->state->track[page_to_pfn(page)];
	return tracks ? track_at(cachep, tracks, obj_to_index(cachep, page, obj)) : NULL;
}

struct obj_who *track_who(const struct kmem_cache *cachep, struct obj_track *track, bool freed)
{
	if (!track || !(cachep->flags & SLAB_STORE_USER))
		return NULL;
	return (struct obj_who *)(void *)(track + 1) + freed;
}

static void note_who(struct obj_who *who)
{
	const struct fiber *f = fiber_self();

	if (!who)
		return;
	who->when_ns = ktime_get_ns();
	who->task_id = f->id;
	who->cpu = smp_processor_id();
	snprintf(who->task, sizeof(who->task), "%.19s", f->name);
}

/* ---- patterns and guards; the slot is not off limits while these look at it ---- */

static char *slot_of(const struct kmem_cache *cachep, void *obj)
{
	return (char *)obj - cachep->red_left;
}

/* From the end of the object to the next slot. */
static size_t right_bytes(const struct kmem_cache *cachep)
{
	return cachep->size - cachep->red_left - cachep->object_size;
}

static void guards_fill(const struct kmem_cache *cachep, void *obj, int byte)
{
	if (!(READ_ONCE(cachep->debug) & DEBUG_REDZONE))
		return;
	memset(slot_of(cachep, obj), byte, cachep->red_left);
	memset((char *)obj + cachep->object_size, byte, right_bytes(cachep));
}

static void pattern_fill(const struct kmem_cache *cachep, void *obj)
{
	if (!(READ_ONCE(cachep->debug) & DEBUG_PATTERN))
		return;
	memset(obj, POISON_FREE, cachep->object_size - 1);
	((u8 *)obj)[cachep->object_size - 1] = POISON_END;
}

/* I3 of an object that becomes free. */
static void object_fill(const struct kmem_cache *cachep, void *obj)
{
	pattern_fill(cachep, obj);
	guards_fill(cachep, obj, GUARD_FREE);
}

static const u8 *first_other(const void *p, u8 byte, size_t bytes)
{
	const u8 *at = p;

	for (size_t i = 0; i < bytes; i++) {
		if (at[i] != byte)
			return at + i;
	}
	return NULL;
}

static const u8 *pattern_damage(const struct kmem_cache *cachep, const void *obj)
{
	const u8 *at = first_other(obj, POISON_FREE, cachep->object_size - 1);

	return at ? at : first_other((const char *)obj + cachep->object_size - 1, POISON_END, 1);
}

/* Look for damage and tell it through @report. True: there was some. */
static bool guards_damaged(const struct kmem_cache *cachep, void *obj, bool live,
			   damage_fn_t report, void *arg)
{
	u8 byte = live ? GUARD_LIVE : GUARD_FREE;
	const u8 *at;

	if (!(READ_ONCE(cachep->debug) & DEBUG_REDZONE))
		return false;
	at = first_other(slot_of(cachep, obj), byte, cachep->red_left);
	if (at) {
		report(cachep, obj, live ? DAMAGE_LEFT : DAMAGE_FREE_GUARD, at, byte, arg);
		return true;
	}
	at = first_other((char *)obj + cachep->object_size, byte, right_bytes(cachep));
	if (at)
		report(cachep, obj, live ? DAMAGE_RIGHT : DAMAGE_FREE_GUARD, at, byte, arg);
	return at != NULL;
}

/* Bytes that kmalloc() gave and nobody asked for. */
static bool has_tail(const struct kmem_cache *cachep, const struct obj_track *track)
{
	return cachep->kmalloc_class && READ_ONCE(cachep->debug) & DEBUG_REDZONE && track &&
	       track->size && track->size < cachep->object_size;
}

static bool tail_damaged(const struct kmem_cache *cachep, const struct obj_track *track, void *obj,
			 damage_fn_t report, void *arg)
{
	const u8 *at;

	if (!has_tail(cachep, track))
		return false;
	at = first_other((char *)obj + track->size, GUARD_LIVE, cachep->object_size - track->size);
	if (at)
		report(cachep, obj, DAMAGE_TAIL, at, GUARD_LIVE, arg);
	return at != NULL;
}

static bool free_damaged(const struct kmem_cache *cachep, void *obj, damage_fn_t report, void *arg)
{
	const u8 *at = NULL;

	if (READ_ONCE(cachep->debug) & DEBUG_PATTERN)
		at = pattern_damage(cachep, obj);
	if (at)
		report(cachep, obj, DAMAGE_PATTERN, at,
		       at == (const u8 *)obj + cachep->object_size - 1 ? POISON_END : POISON_FREE,
		       arg);
	return guards_damaged(cachep, obj, false, report, arg) || at;
}

#define DEBUG_BYTES	(DEBUG_PATTERN | DEBUG_REDZONE)
#define DEBUG_HIDES	(DEBUG_ASAN | DEBUG_VALGRIND)

/* The whole slot may be looked at; watch_hide_*() end that. */
static void slot_open(const struct kmem_cache *cachep, void *obj)
{
	if (READ_ONCE(cachep->debug) & DEBUG_HIDES)
		watch_open(slot_of(cachep, obj), cachep->size);
}

static void slot_hide_free(const struct kmem_cache *cachep, void *obj)
{
	if (READ_ONCE(cachep->debug) & DEBUG_HIDES)
		watch_hide(slot_of(cachep, obj), cachep->size);
}

static void slot_hide_live(const struct kmem_cache *cachep, void *obj, size_t usable)
{
	if (!(READ_ONCE(cachep->debug) & DEBUG_HIDES))
		return;
	watch_hide(slot_of(cachep, obj), cachep->red_left);
	watch_hide((char *)obj + usable, cachep->size - cachep->red_left - usable);
}

/* Objects that were never handed out look like freed ones. */
void debug_new_slab(struct kmem_cache *cachep, struct page *page)
{
	if (!(READ_ONCE(cachep->debug) & (DEBUG_BYTES | DEBUG_HIDES)))
		return;
	for (unsigned int i = 0; i < cachep->num; i++) {
		void *obj = index_to_obj(cachep, page, i);

		object_fill(cachep, obj);
		slot_hide_free(cachep, obj);
	}
}

/* ---- an object on its way to a user ---- */

static void fill_for_user(const struct kmem_cache *cachep, void *obj, size_t size, gfp_t gfp)
{
	if (slab_want_init_on_alloc(gfp, cachep))
		memset(obj, 0, cachep->object_size);
	else if (READ_ONCE(cachep->debug) & DEBUG_PATTERN)
		memset(obj, POISON_INUSE, cachep->object_size);
	guards_fill(cachep, obj, GUARD_LIVE);
	if (cachep->kmalloc_class && READ_ONCE(cachep->debug) & DEBUG_REDZONE &&
	    size < cachep->object_size)
		memset((char *)obj + size, GUARD_LIVE, cachep->object_size - size);
}

/* @size: bytes that were asked for. Zeroes as @gfp says. */
void debug_alloc(struct kmem_cache *cachep, void *obj, size_t size, gfp_t gfp,
		 const struct site *site)
{
	struct obj_track *track = track_of(cachep, virt_to_head_page(obj), obj);
	bool whole_is_zero = gfp & __GFP_ZERO && !(READ_ONCE(cachep->debug) & DEBUG_BYTES);

	slot_open(cachep, obj);
	if (READ_ONCE(cachep->debug) & DEBUG_BYTES)
		free_damaged(cachep, obj, report_damage, NULL);
	fill_for_user(cachep, obj, size, gfp);
	if (track) {
		track->alloc = track->last = site;
		track->size = (u32)size;
		note_who(track_who(cachep, track, false));
	}
	if (unlikely(READ_ONCE(cachep->debug) & DEBUG_TRACE))
		report_trace(cachep, obj, "alloc", site);
	if (READ_ONCE(cachep->debug) & DEBUG_VALGRIND)
		watch_alloc(cachep, obj, size, whole_is_zero, site);
	slot_hide_live(cachep, obj, size);
}

/* The user of @obj learnt from ksize() that all of it is his. */
void debug_use_all(struct kmem_cache *cachep, struct page *page, void *obj)
{
	struct obj_track *track;

	if (!is_object(cachep, page, obj))
		return;
	track = track_of(cachep, page, obj);
	slot_open(cachep, obj);
	tail_damaged(cachep, track, obj, report_damage, NULL);
	if (track)
		track->size = cachep->object_size;
	slot_hide_live(cachep, obj, cachep->object_size);
}

/* ---- an object on its way back ---- */

/* What says that it must not go there; reported. */
static bool refused(struct kmem_cache *cachep, struct page *page, struct obj_track *track,
		    const void *obj, const struct site *site)
{
	if (!is_object(cachep, page, obj)) {
		report_interior(cachep, obj, site);
		return true;
	}
	if (track && !track->alloc) {
		report_double_free(cachep, obj, site);
		return true;
	}
	return false;
}

static void check_live(struct kmem_cache *cachep, struct obj_track *track, void *obj,
		       const struct site *site)
{
	guards_damaged(cachep, obj, true, report_damage, (void *)site);
	tail_damaged(cachep, track, obj, report_damage, (void *)site);
}

/* False: it must not go there; reported. */
bool debug_free(struct kmem_cache *cachep, void *obj, const struct site *site)
{
	struct page *page = virt_to_head_page(obj);
	struct obj_track *track = track_of(cachep, page, obj);

	if (refused(cachep, page, track, obj, site))
		return false;
	if (READ_ONCE(cachep->debug) & DEBUG_LIVE) {
		trace_slab_step("debug_check_no_locks_freed", "cache %s, %u bytes", cachep->name,
				cachep->object_size);
		check_freed_memory(obj, cachep->object_size, "kfree", site);
	}
	if (READ_ONCE(cachep->debug) & DEBUG_TSAN)
		watch_written(obj, cachep->object_size);
	slot_open(cachep, obj);
	if (READ_ONCE(cachep->debug) & DEBUG_BYTES)
		check_live(cachep, track, obj, site);
	if (slab_want_init_on_free(cachep)) {
		trace_slab_step("slab_want_init_on_free", "%u bytes wiped", cachep->object_size);
		memset(obj, 0, cachep->object_size);
	}
	object_fill(cachep, obj);
	if (track) {
		track->alloc = NULL;
		track->freed = site;
		note_who(track_who(cachep, track, true));
	}
	if (unlikely(READ_ONCE(cachep->debug) & DEBUG_TRACE))
		report_trace(cachep, obj, "free", site);
	if (READ_ONCE(cachep->debug) & DEBUG_VALGRIND)
		watch_free(cachep, obj, site);
	slot_hide_free(cachep, obj);
	return true;
}

/* ---- all objects at any time ---- */

struct validation {
	damage_fn_t report;
	void *arg;
	unsigned long nr;
};

static bool validate_object(struct kmem_cache *cachep, struct obj_track *track, void *obj,
			    struct validation *v)
{
	size_t usable = track->alloc ? track->size : 0;
	bool damaged;

	slot_open(cachep, obj);
	if (!track->alloc)
		damaged = free_damaged(cachep, obj, v->report, v->arg);
	else
		damaged = guards_damaged(cachep, obj, true, v->report, v->arg) ||
			  tail_damaged(cachep, track, obj, v->report, v->arg);
	if (damaged && !track->alloc)
		object_fill(cachep, obj);
	else if (damaged)
		guards_fill(cachep, obj, GUARD_LIVE);
	if (usable)
		slot_hide_live(cachep, obj, usable);
	else if (!track->alloc)
		slot_hide_free(cachep, obj);
	return damaged;
}

static void validate_slabs(struct kmem_cache *cachep, const struct list_head *slabs,
			   struct validation *v)
{
	struct page *page;

	list_for_each_entry(page, slabs, slab_list) {
		struct obj_track *tracks = cachep->state->track[page_to_pfn(page)];

		for (unsigned int i = 0; tracks && i < cachep->num; i++)
			v->nr += validate_object(cachep, track_at(cachep, tracks, i),
						 index_to_obj(cachep, page, i), v);
	}
}

/* Nobody else is at the cache. Returns how many objects were damaged; they are repaired. */
unsigned long debug_validate(struct kmem_cache *cachep, damage_fn_t report, void *arg)
{
	struct validation v = { .report = report, .arg = arg };

	if (!(READ_ONCE(cachep->debug) & DEBUG_BYTES))
		return 0;
	for (int nid = 0; nid < MAX_NUMNODES; nid++) {
		struct kmem_cache_node *n = cachep->node[nid];

		if (!n)
			continue;
		validate_slabs(cachep, &n->slabs_full, &v);
		validate_slabs(cachep, &n->slabs_partial, &v);
		validate_slabs(cachep, &n->slabs_free, &v);
	}
	return v.nr;
}

long validate_slab_cache(struct kmem_cache *cachep)
{
	long nr;

	if (!machine_freeze())
		return -EAGAIN;
	nr = (long)debug_validate(cachep, report_damage, NULL);
	machine_thaw();
	return nr;
}
