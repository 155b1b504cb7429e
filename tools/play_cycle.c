/* SPDX-License-Identifier: MIT */
/*
 * play_cycle.c - counts alone never free a cycle; the field tables show it
 *
 * A driver keeps, for pages that several mappings share, what Linux keeps without counts: each
 * page knows the mappings that have it, each mapping its shared memory, and that its pages. Every
 * one of these references is taken and none is given back.
 */
#include "scenario.h"
#include <karc/base/err.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/refcount/arc.h>

#define NR_PAGES	4u

struct demo_vma;

struct demo_page {
	struct arc arc;
	unsigned int nr;
	struct demo_vma *vma_set;		/* owned */
};

struct demo_shared {
	struct arc arc;
	struct demo_page *pages[NR_PAGES];	/* owned */
};

struct demo_vma {
	struct arc arc;
	struct demo_shared *shared_anon;	/* owned */
};

static void demo_free(void *obj)
{
	kfree(obj);
}

static void page_describe(const void *obj, char *buf, size_t bytes)
{
	snprintf(buf, bytes, "page %u of the mapping", ((const struct demo_page *)obj)->nr);
}

static const struct arc_field page_fields[] = {
	ARC_OWNED(demo_page, vma_set, demo_vma),
	ARC_FIELDS_END
};

static const struct arc_type page_type = {
	.name = "page", .size = sizeof(struct demo_page),
	.offset = offsetof(struct demo_page, arc),
	.ops = { .free = demo_free, .describe = page_describe }, .fields = page_fields,
};

static const struct arc_field shared_fields[] = {
	/* Its only field: reports call it pages[3], without a name. */
	{ .kind = ARC_FIELD_ARRAY, .name = "", .offset = offsetof(struct demo_shared, pages),
	  .target = offsetof(struct demo_page, arc), .count = NR_PAGES },
	ARC_FIELDS_END
};

static const struct arc_type shared_type = {
	.name = "pages", .size = sizeof(struct demo_shared),
	.offset = offsetof(struct demo_shared, arc),
	.ops = { .free = demo_free }, .fields = shared_fields,
};

static const struct arc_field vma_fields[] = {
	ARC_OWNED(demo_vma, shared_anon, demo_shared),
	ARC_FIELDS_END
};

static const struct arc_type vma_type = {
	.name = "vma", .size = sizeof(struct demo_vma),
	.offset = offsetof(struct demo_vma, arc),
	.ops = { .free = demo_free }, .fields = vma_fields,
};

static struct demo_page *new_page(unsigned int nr)
{
	struct demo_page *page = kzalloc(sizeof(*page), GFP_KERNEL);

	if (page) {
		page->nr = nr;
		arc_init(&page->arc, &page_type);
	}
	return page;
}

/* The last page first: reports of a cycle begin with the oldest. */
static struct demo_shared *new_shared(void)
{
	struct demo_page *last = new_page(NR_PAGES - 1);
	struct demo_shared *shared = last ? kzalloc(sizeof(*shared), GFP_KERNEL) : NULL;
	unsigned int i;

	if (!shared) {
		if (last)
			arc_put(&last->arc);
		return NULL;
	}
	arc_init(&shared->arc, &shared_type);
	shared->pages[NR_PAGES - 1] = last;
	for (i = 0; i < NR_PAGES - 1; i++)
		shared->pages[i] = new_page(i);
	return shared;
}

static struct demo_vma *new_vma(struct demo_shared *shared)
{
	struct demo_vma *vma = kzalloc(sizeof(*vma), GFP_KERNEL);

	if (!vma)
		return NULL;
	arc_init(&vma->arc, &vma_type);
	vma->shared_anon = shared;
	return vma;
}

static bool register_types(void)
{
	return !arc_type_register(&page_type) && !arc_type_register(&shared_type) &&
	       !arc_type_register(&vma_type);
}

static void say_counts(struct stage *s, const struct demo_vma *vma)
{
	const struct demo_shared *shared = vma->shared_anon;

	stage_say(s, "the mapping: %u, its shared memory: %u, the last page: %u",
		  arc_count(&vma->arc), arc_count(&shared->arc),
		  arc_count(&shared->pages[NR_PAGES - 1]->arc));
}

/* Well apart: one mapping, its memory, pages that know nobody. */
static void live_well(struct stage *s)
{
	struct demo_shared *shared = new_shared();
	struct demo_vma *vma = shared ? new_vma(shared) : NULL;

	stage_expect(s, vma != NULL, "a mapping, shared memory, %u pages", NR_PAGES);
	if (!vma)
		return;
	say_counts(s, vma);
	stage_say(s, "one put, of the mapping, ends them all");
	arc_put(&vma->arc);
}

void play_cycle(struct stage *s)
{
	struct demo_shared *shared;
	struct demo_vma *vma;

	stage_expect(s, register_types(), "three types, with what they own");
	stage_head(s, "A mapping that owns its pages, and pages that own nobody");
	live_well(s);

	stage_head(s, "The same, and the last page holds the mapping it is in");
	shared = new_shared();
	vma = shared ? new_vma(shared) : NULL;
	stage_expect(s, vma != NULL, "a mapping, shared memory, %u pages", NR_PAGES);
	if (!vma)
		return;
	arc_get(&vma->arc);
	shared->pages[NR_PAGES - 1]->vma_set = vma;
	say_counts(s, vma);

	stage_head(s, "The mapping is put: nobody outside has any of them any more");
	arc_get(&shared->arc);		/* so that the counts can be shown */
	arc_put(&vma->arc);
	say_counts(s, vma);
	arc_put(&shared->arc);
	stage_say(s, "each is held by the one before it: none will ever reach 0");
}
