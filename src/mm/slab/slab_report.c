/* SPDX-License-Identifier: MIT */
/*
 * slab_report.c - what is said about memory that was given back wrongly, damaged or forgotten
 *
 * What it is
 *	One function for each kind of mistake. A report is a warning and some lines after it: what
 *	the address is, who allocated that memory and who freed it last, as far as somebody knows, and
 *	who is at it now. Tracked machines keep what they know of the last slabs and large blocks
 *	that went back to the buddy, so that a late second free can still be explained.
 *
 * Objects
 *	slab_state.gone[]: a ring; each entry owns the tracks of a slab that is no more
 *
 * Locking
 *	gone	gone_lock (LR_LEDGER)
 *
 * Worst case
 *	GONE_MAX entries with their tracks are held back, and a look-up walks them all.
 *
 * Unlike Linux
 *	Places are offsets into the simulated memory, so that two runs say the same. kmem_dump_obj()
 *	knows objects that are free and slabs that are gone, too.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include <karc/hw/percpu.h>
#include "internal.h"

#define MAX_SITES_SHOWN	64

static u64 phys_offset(const void *p)
{
	return (u64)((const char *)p - karc_cpu->arena);
}

static void say_site(const char *what, const struct site *site, const struct obj_who *who)
{
	char text[96] = "";

	if (!site)
		return;
	if (who && who->task_id)
		snprintf(text, sizeof(text), ", cpu=%u task=%s/%llu age=%lluus", who->cpu, who->task,
			 who->task_id, (ktime_get_ns() - who->when_ns) / NSEC_PER_USEC);
	pr_warn("%s at %s:%u %s%s\n", what, site->file, site->line, site->func, text);
}

static void say_track(const struct kmem_cache *cachep, struct obj_track *track)
{
	if (!track)
		return;
	say_site("object allocated", track->alloc, track_who(cachep, track, false));
	say_site("object last freed", track->freed, track_who(cachep, track, true));
}

/* Both sites of an object of a living slab; of a double free, too, who had allocated it. */
static void say_object(const struct kmem_cache *cachep, const void *p)
{
	const struct page *page = virt_to_head_page(p);

	if (slab_object_of(p, NULL))
		say_track(cachep, track_of(cachep, page, p));
}

/* The same; of a free one, who had allocated it. */
static void say_object_and_last(const struct kmem_cache *cachep, const void *obj)
{
	struct obj_track *track = track_of(cachep, virt_to_head_page(obj), obj);

	if (track && !track->alloc)
		say_site("object allocated", track->last, track_who(cachep, track, false));
	say_track(cachep, track);
}

/* ---- what went back to the buddy lately ---- */

static void gone_drop(struct slab_state *state, struct gone *g)
{
	hostmem_free(slab_hostmem(state), g->tracks);
	*g = (struct gone){ .nr_frames = 0 };
}

static void gone_add(struct slab_state *state, const struct gone *new)
{
	struct gone old;
	unsigned long flags;

	spin_lock_irqsave(&state->gone_lock, flags);
	old = state->gone[state->next_gone];
	state->gone[state->next_gone] = *new;
	state->next_gone = (state->next_gone + 1) % GONE_MAX;
	spin_unlock_irqrestore(&state->gone_lock, flags);
	gone_drop(state, &old);
}

/* @tracks are those of the slab's objects, which become the ring's. */
void gone_remember(const struct kmem_cache *cachep, const struct page *page,
		   struct obj_track *tracks, size_t stride)
{
	struct gone g = {
		.pfn = page_to_pfn(page), .nr_frames = 1UL << cachep->gfporder,
		.first = page->s_mem, .size = cachep->size, .num = cachep->num,
		.tracks = tracks, .stride = stride,
	};

	snprintf(g.name, sizeof(g.name), "%s", cachep->name);
	gone_add(cachep->state, &g);
}

void gone_remember_large(const struct page *page, const struct site *site)
{
	struct slab_state *state = slab_here();
	struct gone g = {
		.pfn = page_to_pfn(page), .nr_frames = compound_nr(page),
		.first = page_to_virt(page), .size = (unsigned int)page_size(page), .num = 1,
		.stride = sizeof(struct obj_track), .name = "large kmalloc",
	};

	if (!machine_config(state->machine)->track)
		return;
	g.tracks = hostmem_zalloc(slab_hostmem(state), sizeof(struct obj_track));
	if (!g.tracks)
		return;
	g.tracks->last = page_site(page);
	g.tracks->freed = site;
	gone_add(state, &g);
}

void gone_exit(struct slab_state *state)
{
	for (unsigned int i = 0; i < GONE_MAX; i++)
		gone_drop(state, &state->gone[i]);
}

static const struct gone *gone_find(const struct slab_state *state, const void *p)
{
	unsigned long pfn = (unsigned long)(virt_to_phys(p) >> PAGE_SHIFT);

	for (unsigned int i = GONE_MAX; i-- > 0;) {
		const struct gone *g = &state->gone[(state->next_gone + i) % GONE_MAX];

		if (pfn - g->pfn < g->nr_frames)
			return g;
	}
	return NULL;
}

/* Was there an object at @p, of a slab or a large block that is gone? Say what is known of it. */
static bool say_gone(const void *p)
{
	struct slab_state *state = slab_here();
	const struct obj_track *track;
	const struct gone *g;
	unsigned long flags;
	size_t index;

	spin_lock_irqsave(&state->gone_lock, flags);
	g = gone_find(state, p);
	index = g ? (size_t)((const char *)p - g->first) / g->size : 0;
	if (g && index < g->num) {
		track = (void *)((char *)g->tracks + index * g->stride);
		pr_warn("it was an object of '%s', whose memory is gone: a double free?\n", g->name);
		say_site("object allocated", track->last, NULL);
		say_site("object last freed", track->freed, NULL);
	}
	spin_unlock_irqrestore(&state->gone_lock, flags);
	return g != NULL;
}

/* ---- caches ---- */

/* slab_mutex is held. */
void gone_cache_remember(const struct kmem_cache *cachep, const struct site *site)
{
	struct slab_state *state = cachep->state;
	struct gone_cache *g = &state->gone_cache[state->next_gone_cache++ % GONE_CACHES_MAX];

	*g = (struct gone_cache){ cachep, cachep->site, site, "" };
	snprintf(g->name, sizeof(g->name), "%s", cachep->name);
}

/* The latest of this address. */
static bool gone_cache_find(struct slab_state *state, const struct kmem_cache *cachep,
			    struct gone_cache *found)
{
	bool has = false;

	mutex_lock(&state->slab_mutex);
	for (unsigned int i = 1; i <= GONE_CACHES_MAX && !has; i++) {
		*found = state->gone_cache[(state->next_gone_cache - i) % GONE_CACHES_MAX];
		has = found->cachep == cachep;
	}
	mutex_unlock(&state->slab_mutex);
	return has;
}

/* It is on no list: an address, and no more. */
void report_bad_destroy(const struct kmem_cache *cachep, const struct site *site)
{
	struct gone_cache found;

	WARN(1, "kmem_cache_destroy: not a cache, or destroyed already");
	say_site("destroyed now", site, NULL);
	if (!gone_cache_find(slab_here(), cachep, &found))
		return;
	pr_warn("it was '%s'\n", found.name);
	say_site("created", found.created, NULL);
	say_site("destroyed before", found.destroyed, NULL);
}

/* ---- wrong frees ---- */

void report_double_free(const struct kmem_cache *cachep, const void *obj,
			const struct site *again)
{
	WARN(1, "slab: double free detected in cache '%s', object at 0x%llx%s%s", cachep->name,
	     phys_offset(obj), again ? ", again at " : "", again ? again->func : "");
	say_site("freed again", again, NULL);
	say_object_and_last(cachep, obj);
	watch_double_free(cachep, obj);
}

void report_interior(const struct kmem_cache *cachep, const void *obj, const struct site *site)
{
	char *start = slab_object_of(obj, NULL);

	if (start)
		WARN(1, "slab: free of a pointer that is not the start of an object of cache '%s': "
		     "0x%llx, %zu bytes into the object at 0x%llx", cachep->name, phys_offset(obj),
		     (size_t)((const char *)obj - start), phys_offset(start));
	else
		WARN(1, "slab: free of a pointer that is not the start of an object of cache '%s': "
		     "0x%llx, before or behind all of the slab's", cachep->name, phys_offset(obj));
	say_site("freed", site, NULL);
	say_object(cachep, obj);
}

/* What an address is that is no slab object. */
const char *foreign_kind(const void *p)
{
	const struct fiber *f = fiber_self();
	const struct machine *m = karc_cpu->machine;
	u64 bytes;

	if (f && f->stack && (u64)((const char *)p - f->stack) < f->stack_bytes)
		return "an address on the stack of the running task";
	if ((unsigned long)p - PERCPU_DYNAMIC_BASE < PERCPU_DYNAMIC_BYTES)
		return "per-CPU memory, which free_percpu() frees";
	for (unsigned int w = 0; w < WINDOW_NR; w++) {
		if ((u64)((const char *)p - physmem_window(m, w, &bytes)) < bytes)
			return w == WINDOW_VMALLOC ? "vmalloc memory, which vfree() frees" :
			       w == WINDOW_PERCPU ? "one CPU's copy of a per-CPU object" :
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
	struct slab_state *state = slab_here();

	WARN(1, "%s: Object is not a Slab page! It is %s", what, foreign_kind(p));
	say_site("freed", site, NULL);
	if (virt_addr_valid(p)) {
		say_gone(p);
		dump_page(virt_to_page(p), "freed as an object");
	} else if (state->say_foreign) {
		state->say_foreign(p);
	}
}

void report_wrong_cache(const struct kmem_cache *cachep, const struct kmem_cache *real,
			const void *obj, const struct site *site)
{
	WARN(1, "kmem_cache_free: wrong slab cache: %s, but the object is from %s, at %s:%u",
	     cachep ? cachep->name : "NULL", real->name, site->file, site->line);
	say_site("freed", site, NULL);
	say_object(real, obj);
}

void slab_on_foreign(struct machine *m, void (*say)(const void *p))
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);

	state->say_foreign = say;
}

/* A block that kmalloc() or somebody else took from the buddy, as far as anybody knows. */
static bool say_frames(const struct page *page, const void *p)
{
	const struct site *site = page_site(page);

	if (!kmalloc_is_large(page) && !site)
		return false;
	pr_warn("%s of %lu bytes, pointer offset %zu\n", kmalloc_is_large(page) ?
		"large block of kmalloc()" : "block of frames", page_size(page),
		(size_t)((const char *)p - (const char *)page_to_virt(page)));
	say_site("allocated", site, NULL);
	return true;
}

bool kmem_dump_obj(const void *p)
{
	struct kmem_cache *cachep = NULL;
	char *start;

	if (!virt_addr_valid(p))
		return false;
	start = slab_object_of(p, &cachep);
	if (!start && say_gone(p))
		return true;
	if (!start)
		return say_frames(virt_to_head_page(p), p);
	pr_warn("slab %s, object at 0x%llx, pointer offset %zu, size %u\n", cachep->name,
		phys_offset(start), (size_t)((const char *)p - start), cachep->object_size);
	say_object_and_last(cachep, start);
	return true;
}

/* ---- damage ---- */

static const char *const damage_text[] = {
	[DAMAGE_PATTERN] = "object at 0x%llx was written to after it was freed",
	[DAMAGE_LEFT] = "written before the object at 0x%llx",
	[DAMAGE_RIGHT] = "written beyond the object at 0x%llx",
	[DAMAGE_TAIL] = "written beyond what was asked for of the object at 0x%llx",
	[DAMAGE_FREE_GUARD] = "guard of the free object at 0x%llx is damaged",
};

/* damage_fn_t: @arg is the site of the call that found it, or NULL. */
void report_damage(const struct kmem_cache *cachep, void *obj, enum damage damage, const u8 *at,
		   u8 want, void *arg)
{
	char what[96];

	snprintf(what, sizeof(what), damage_text[damage], phys_offset(obj));
	WARN(1, "slab %s: %s: byte %ld is 0x%02x, not 0x%02x", cachep->name, what,
	     (long)(at - (const u8 *)obj), *at, want);
	say_site("freed", arg, NULL);
	say_object(cachep, obj);
}

/* SLAB_TRACE. */
void report_trace(const struct kmem_cache *cachep, const void *obj, const char *what,
		  const struct site *site)
{
	pr_info("TRACE %s %s 0x%llx at %s:%u %s\n", cachep->name, what, phys_offset(obj),
		site ? site->file : "?", site ? site->line : 0, site ? site->func : "?");
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
	const struct obj_track *track;
	const struct page *page;

	list_for_each_entry(page, slabs, slab_list) {
		if (!track_of(cachep, page, page->s_mem)) {
			live_add(report, NULL, page->slab_active);
			continue;
		}
		for (unsigned int i = 0; i < cachep->num; i++) {
			track = track_of(cachep, page, index_to_obj(cachep, page, i));
			if (track->alloc)
				live_add(report, track->alloc, 1);
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
