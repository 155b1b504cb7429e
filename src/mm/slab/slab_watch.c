/* SPDX-License-Identifier: MIT */
/*
 * slab_watch.c - who watches objects come and go: trace points, ASan, Valgrind, TSan
 *
 * What it is
 *	Trace points hand each call to listeners. Sanitizers that are in the process hear what is off
 *	limits: AddressSanitizer by poisoned bytes, memcheck by client requests that also give each
 *	object a name, ThreadSanitizer by a write of the whole object when it is freed. When ASan
 *	reports an address of this machine, a line with cache, object and both sites follows.
 *
 * Invariants
 *	I1 while anybody listens to an event of the slabs, no CPU has an array in its hot table, so
 *	   that inlined calls take the long way
 *	I2 under Valgrind every object of a tracked slab is a named block
 *
 * Locking
 *	the hot table of a CPU is written by that CPU, and by who starts to listen
 *
 * Unlike Linux
 *	A CPU that is inside an inlined call when listening begins finishes it unheard.
 */
#include <stdio.h>
#include <string.h>

#include <karc/hw/param.h>
#include <karc/hw/valgrind.h>
#include "internal.h"

void __asan_set_error_report_callback(void (*callback)(const char *text)) __weak;
void *__asan_get_report_address(void) __weak;
void __tsan_write_range(void *p, long bytes) __weak;

/* ---- trace points ---- */

void trace_alloc_emit(enum trace_event event, const struct kmem_cache *cachep, const void *obj,
		      size_t size, size_t given, gfp_t gfp, const struct site *site)
{
	char text[GFP_NAMES_BYTES];
	struct trace_record record = {
		.event = event, .site = site, .ptr = obj, .cache = cachep ? cachep->name : NULL,
		.bytes_req = size, .bytes_alloc = given, .gfp = gfp,
		.gfp_text = gfp_flag_names(gfp, text, sizeof(text)), .node = NUMA_NO_NODE,
		.accounted = gfp & __GFP_ACCOUNT || (cachep && cachep->flags & SLAB_ACCOUNT),
	};

	trace_event_emit(&record);
}

void trace_free_emit(enum trace_event event, const struct kmem_cache *cachep, const void *obj,
		     const struct site *site)
{
	struct trace_record record = {
		.event = event, .site = site, .ptr = obj, .cache = cachep ? cachep->name : NULL,
	};

	trace_event_emit(&record);
}

/* I1. Arrays come back one by one, when they are empty or full the next time. */
static void slab_trace_changed(struct machine *m, u32 mask)
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);

	/* The inlined ways do not ask for injected failures either. */
	WRITE_ONCE(state->traced, (mask & TRACE_SLAB_ALL) ||
		   READ_ONCE(machine_cpu(m, 0)->inject_armed));
	if (!state->traced)
		return;
	smp_mb();	/* pairs with array_install() */
	for (unsigned int cpu = 0; cpu < state->nr_cpus; cpu++) {
		struct slab_hot *hot = cpu_hot(machine_cpu(m, cpu), ROOM_SLAB);

		for (unsigned int class = 0; class < NR_SLAB_CLASSES; class++)
			WRITE_ONCE(hot->array[class], array_not_there());
	}
}

/* ---- what nobody may touch ---- */

unsigned int watch_debug_bits(slab_flags_t flags)
{
	unsigned int debug = 0;

	/* Who holds a pointer under RCU may still read: such objects are never off limits. */
	if (flags & SLAB_TYPESAFE_BY_RCU)
		return 0;
	if (mem_poison_active())
		debug |= DEBUG_ASAN | DEBUG_APART;
	if (valgrind_is_here() && boot_param_bool(karc_cpu->machine, "valgrind", true))
		debug |= DEBUG_VALGRIND | DEBUG_TRACK | DEBUG_APART;
	if (__tsan_write_range)
		debug |= DEBUG_TSAN;
	return debug;
}

void watch_open(const void *p, size_t bytes)
{
	mem_unpoison(p, bytes);
	valgrind_defined(p, bytes);
}

void watch_hide(const void *p, size_t bytes)
{
	mem_poison(p, bytes);
	valgrind_noaccess(p, bytes);
}

void watch_written(void *p, size_t bytes)
{
	if (__tsan_write_range)
		__tsan_write_range(p, (long)bytes);
}

/* ---- Valgrind: a name for each object. I2 ---- */

#define SITE_TEXT_MAX	128

static const char *site_text(char text[SITE_TEXT_MAX], const struct site *site)
{
	if (!site)
		return "an unknown place";
	snprintf(text, SITE_TEXT_MAX, "%s (%s:%u)", site->func, site->file, site->line);
	return text;
}

static void name_object(const struct kmem_cache *cachep, struct obj_track *track, void *obj,
			const char *text)
{
	if (!track)
		return;
	if (track->valgrind_block)
		valgrind_forget_block(track->valgrind_block - 1);
	/* With its guards, so that an access beyond the object has a name, too. */
	track->valgrind_block = 1 + valgrind_name_block((char *)obj - cachep->red_left,
							cachep->size, text);
}

void watch_alloc(const struct kmem_cache *cachep, void *obj, size_t size, bool has_content,
		 const struct site *site)
{
	char text[256], where[SITE_TEXT_MAX];

	snprintf(text, sizeof(text), "slot of '%s' with an object of %zu bytes at offset %u, "
		 "allocated at %s", cachep->name, size, cachep->red_left, site_text(where, site));
	name_object(cachep, track_of(cachep, virt_to_head_page(obj), obj), obj, text);
	if (!has_content)
		valgrind_undefined(obj, size);
}

void watch_free(const struct kmem_cache *cachep, void *obj, const struct site *site)
{
	struct obj_track *track = track_of(cachep, virt_to_head_page(obj), obj);
	char text[400], made[SITE_TEXT_MAX], freed[SITE_TEXT_MAX];

	snprintf(text, sizeof(text), "slot of '%s' with a FREED object, allocated at %s, "
		 "freed at %s", cachep->name, site_text(made, track ? track->last : NULL),
		 site_text(freed, site));
	name_object(cachep, track, obj, text);
}

void watch_forget_slab(const struct kmem_cache *cachep, struct page *page)
{
	struct obj_track *track;

	for (unsigned int i = 0; i < cachep->num; i++) {
		track = track_of(cachep, page, index_to_obj(cachep, page, i));
		if (track && track->valgrind_block)
			valgrind_forget_block(track->valgrind_block - 1);
	}
	valgrind_defined(page_to_virt(page), PAGE_SIZE << cachep->gfporder);
}

void watch_double_free(const struct kmem_cache *cachep, const void *obj)
{
	if (READ_ONCE(cachep->debug) & DEBUG_VALGRIND)
		valgrind_bad_free(obj);
}

/* ---- AddressSanitizer: the line after its report ---- */

static void print_site(const char *what, const struct site *site)
{
	if (site)
		fprintf(stderr, "karc: object %s at %s:%u %s\n", what, site->file, site->line,
			site->func);
}

/* Of an address that is in no slab nothing is said. */
static void explain_address(const void *p)
{
	struct kmem_cache *cachep = NULL;
	const struct obj_track *track;
	const char *obj, *how;
	long offset;

	obj = slab_object_of(p, &cachep);
	if (!obj)
		return;
	offset = (const char *)p - obj;
	track = track_of(cachep, virt_to_head_page(obj), obj);
	how = !track ? "" : track->alloc ? "live " : "FREED ";
	if (offset < (long)cachep->object_size)
		fprintf(stderr, "karc: %ld bytes inside a %sobject of %u bytes of cache '%s'\n",
			offset, how, cachep->object_size, cachep->name);
	else
		fprintf(stderr, "karc: %ld bytes beyond a %sobject of %u bytes of cache '%s'\n",
			offset - (long)cachep->object_size, how, cachep->object_size, cachep->name);
	if (!track)
		return;
	print_site("allocated", track->last);
	print_site("last freed", track->freed);
}

static void asan_reported(const char *text)
{
	(void)text;
	if (karc_cpu && this_room(ROOM_SLAB) && __asan_get_report_address)
		explain_address(__asan_get_report_address());
}

void watch_init(struct slab_state *state)
{
	if (__asan_set_error_report_callback)
		__asan_set_error_report_callback(asan_reported);
	trace_event_on_change(state->machine, &state->trace_watch, slab_trace_changed);
}

void watch_exit(struct slab_state *state)
{
	trace_event_off_change(state->machine, &state->trace_watch);
}
