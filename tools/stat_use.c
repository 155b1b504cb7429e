/* SPDX-License-Identifier: MIT */
/*
 * stat_use.c - what each frame is used for, from the beginning of a run to its end
 *
 * What it is
 *	The time of a run is counted in ticks: a block of frames that is allocated or freed, and a
 *	moment of the story, are one each. At every tick, or every 2nd, 4th ... when there are many,
 *	all frames are looked at and written down as runs of neighbours with the same use.
 *
 *	An event comes in the middle of an allocation or a free, so the frames it is about are not
 *	yet, or no more, what they will be: they count as free.
 *
 * Invariants
 *	I1 a sample's runs are in order, do not overlap, and cover exactly the frames that exist
 *
 * Worst case
 *	USE_SAMPLES_MOST samples are kept; when they are full every second goes. Each is a walk over
 *	the first frames of free blocks and over all others.
 */
#include "stat.h"
#include <karc/hw/physmem.h>
#include <karc/hw/tracepoint.h>
#include <karc/mm/kva/vmallocinfo.h>
#include <karc/mm/phys/zone.h>
#include <karc/mm/slab/kmalloc.h>
#include <stdlib.h>
#include <string.h>

/**
 * struct taker - a run that is being looked at
 * @vmalloc: a byte for each frame that exists or lies in a hole: vmalloc() has it
 * @skip:    frames [skip, skip + nr_skip) are on their way
 */
struct taker {
	struct use_history *h;
	struct machine *m;
	struct trace_event_listener listener;
	u8 *vmalloc;
	unsigned long nr_frames, skip, nr_skip;
	struct use_run *runs;
	unsigned int nr_runs, max_runs;
};

/* ---- one look ---------------------------------------------------------------------------- */

static void mark_vmalloc(unsigned long pfn, void *arg)
{
	struct taker *t = arg;

	if (pfn < t->nr_frames)
		t->vmalloc[pfn] = 1;
}

static void unmark_vmalloc(unsigned long pfn, void *arg)
{
	struct taker *t = arg;

	if (pfn < t->nr_frames)
		t->vmalloc[pfn] = 0;
}

static enum frame_use use_of(const struct taker *t, unsigned long pfn)
{
	const struct page *page = pfn_to_page(pfn), *head = compound_head(page);

	if (pfn - t->skip < t->nr_skip)
		return USE_FREE;
	if (PageReserved(page))
		return USE_RESERVED;
	if (PageHWPoison(page))
		return USE_BAD;
	if (PagePcp(page))
		return USE_PCP;
	if (PageSlab(head))
		return USE_SLAB;
	if (PageTable(head))
		return USE_TABLE;
	if (t->vmalloc[pfn])
		return USE_VMALLOC;
	if (kmalloc_is_large(head))
		return USE_LARGE;
	if (PageAnon(head))
		return USE_ANON;
	return head->mapping ? USE_CACHE : USE_OTHER;
}

static bool add_run(struct taker *t, unsigned long pfn, unsigned long nr, enum frame_use use)
{
	struct use_run *last = t->nr_runs ? &t->runs[t->nr_runs - 1] : NULL;

	if (last && last->use == use && last->first + last->nr == pfn) {
		last->nr += (unsigned int)nr;
		return true;
	}
	if (!t->runs || t->nr_runs == t->max_runs) {
		unsigned int max = t->max_runs ? 2 * t->max_runs : 1024;
		struct use_run *more = realloc(t->runs, max * sizeof(*more));

		if (!more)
			return false;
		t->runs = more;
		t->max_runs = max;
	}
	t->runs[t->nr_runs++] = (struct use_run){ (unsigned int)pfn, (unsigned int)nr, (u8)use };
	return true;
}

static bool look_at_bank(struct taker *t, const struct machine_bank *bank)
{
	unsigned long pfn = (unsigned long)(bank->start >> PAGE_SHIFT), nr;
	unsigned long end = pfn + (unsigned long)(bank->size >> PAGE_SHIFT);
	enum frame_use use;

	for (; pfn < end; pfn += nr) {
		const struct page *page = pfn_to_page(pfn);

		nr = PageBuddy(page) ? 1ul << buddy_order(page) : 1;
		use = PageBuddy(page) ? USE_FREE : use_of(t, pfn);
		if (!add_run(t, pfn, nr, use))
			return false;
	}
	return true;
}

/* The frames now into t->runs. False: no memory on the host. */
static bool look(struct taker *t)
{
	struct machine_bank bank;
	unsigned int i;
	bool ok = true;

	t->nr_runs = 0;
	vmallocinfo_peek_frames(mark_vmalloc, t);
	for (i = 0; ok && physmem_bank(t->m, i, &bank); i++)
		ok = look_at_bank(t, &bank);
	vmallocinfo_peek_frames(unmark_vmalloc, t);
	return ok;
}

/* ---- all looks --------------------------------------------------------------------------- */

static void free_sample(struct use_sample *s)
{
	free(s->runs);
	s->runs = NULL;
}

static void thin_out(struct use_history *h)
{
	unsigned int i;

	for (i = 0; i < h->nr_samples; i++) {
		if (i % 2)
			free_sample(&h->samples[i]);
		else
			h->samples[i / 2] = h->samples[i];
	}
	h->nr_samples = (h->nr_samples + 1) / 2;
	h->stride *= 2;
}

static void take_sample(struct taker *t)
{
	struct use_history *h = t->h;
	struct use_sample *s;
	unsigned int i;

	if (h->nr_samples == USE_SAMPLES_MOST)
		thin_out(h);
	s = &h->samples[h->nr_samples];
	memset(s, 0, sizeof(*s));
	s->tick = h->tick;
	if (!look(t)) {
		h->no_memory = true;
		return;
	}
	s->nr_runs = t->nr_runs;
	s->runs = malloc(t->nr_runs * sizeof(*s->runs));
	if (!s->runs) {
		h->no_memory = true;
		return;
	}
	memcpy(s->runs, t->runs, t->nr_runs * sizeof(*s->runs));
	for (i = 0; i < s->nr_runs; i++)
		s->total[s->runs[i].use] += s->runs[i].nr;
	h->nr_samples++;
	h->next = h->tick - h->tick % h->stride + h->stride;
}

/* A block of frames comes or goes. Nothing may be locked here. */
static void page_event(void *arg, const struct trace_record *record)
{
	struct taker *t = arg;

	if (t->h->tick++ < t->h->next || t->h->no_memory)
		return;
	t->skip = record->pfn;
	t->nr_skip = 1ul << record->order;
	take_sample(t);
	t->nr_skip = 0;
}

/* ---- moments ----------------------------------------------------------------------------- */

static void note_zones(struct use_history *h)
{
	struct pglist_data *pgdat;

	for_each_online_pgdat(pgdat) {
		for (int type = 0; type < MAX_NR_ZONES; type++) {
			const struct zone *zone = &pgdat->node_zones[type];
			struct use_zone *z = &h->zones[h->nr_zones];

			if (!populated_zone(zone) || h->nr_zones == USE_ZONES_MOST)
				continue;
			snprintf(z->name, sizeof(z->name), "Node %d, zone %s", zone->node,
				 zone->name);
			z->first = zone->zone_start_pfn;
			z->end = zone_end_pfn(zone);
			z->present = zone->present_pages;
			h->nr_zones++;
		}
	}
}

static void begin(struct taker *t, const struct moment *moment)
{
	struct use_history *h = t->h;

	t->m = moment->m;
	t->nr_frames = physmem_max_pfn(t->m);
	t->vmalloc = calloc(t->nr_frames, 1);
	if (!t->vmalloc) {
		h->no_memory = true;
		return;
	}
	snprintf(h->title, sizeof(h->title), "%s", moment->title);
	note_zones(h);
	take_sample(t);
	trace_event_listen(t->m, TRACE_BIT(TRACE_MM_PAGE_ALLOC) | TRACE_BIT(TRACE_MM_PAGE_FREE),
			   &t->listener, page_event, t);
}

static void add_mark(struct use_history *h, const struct moment *moment)
{
	struct use_mark *mark;
	unsigned int i;

	if (h->recording && h->tick < h->next_mark)
		return;			/* every line is one, and a picture has room for few */
	if (h->nr_marks == USE_MARKS_MOST) {
		for (i = 0; i < h->nr_marks / 2; i++)
			h->marks[i] = h->marks[2 * i];
		h->nr_marks /= 2;
		h->mark_stride *= 2;
	}
	h->next_mark = h->tick + h->mark_stride;
	mark = &h->marks[h->nr_marks++];
	mark->tick = h->tick;
	snprintf(mark->name, sizeof(mark->name), "%s", moment->name);
}

static void at_moment(const struct moment *moment, void *arg)
{
	struct taker *t = arg;
	struct use_history *h = t->h;

	if (!t->m)
		begin(t, moment);
	if (h->no_memory)
		return;
	h->tick++;
	if (moment->over)
		trace_event_unlisten(t->m, &t->listener);
	if (moment->nr && !moment->step)
		add_mark(h, moment);
	if (h->tick >= h->next || moment->over)
		take_sample(t);
}

int use_history_take(const struct moment_options *opt, struct use_history *h)
{
	struct taker t = { .h = h };
	int status;

	h->stride = h->mark_stride = 1;
	h->recording = opt->trace != NULL;
	status = moment_each(opt, at_moment, &t);
	free(t.vmalloc);
	free(t.runs);
	if (h->no_memory) {
		fprintf(stderr, "%s: no memory on the host\n", opt->who);
		return 2;
	}
	return status;
}

void use_history_free(struct use_history *h)
{
	unsigned int i;

	for (i = 0; i < h->nr_samples; i++)
		free_sample(&h->samples[i]);
}
