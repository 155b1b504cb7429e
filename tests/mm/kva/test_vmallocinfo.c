/* SPDX-License-Identifier: MIT */
/*
 * Goal: vmallocinfo has a line for each area, in Linux's columns, and no other.
 * Method: the text is read back and held against what vmalloc() and vmap() returned.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/hw/tracepoint.h>
#include <karc/mm/kva/vmallocinfo.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>

static char *text_now(void)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	vmallocinfo_show(out);
	fclose(out);
	return text;
}

/* The line of the area that begins at @p, without its end; NULL if there is none. */
static char *line_of(const char *text, const void *p)
{
	char start[32];

	snprintf(start, sizeof(start), "0x%016llx-", (unsigned long long)trace_address(p));
	for (; *text; text += strcspn(text, "\n") + 1) {
		if (!strncmp(text, start, strlen(start)))
			return strndup(text, strcspn(text, "\n"));
	}
	return NULL;
}

static void assert_line(const char *text, const void *p, unsigned long bytes, const char *rest)
{
	u64 at = trace_address(p);
	char want[160], *line = line_of(text, p);

	assert_non_null(line);
	snprintf(want, sizeof(want), "0x%016llx-0x%016llx %7ld %s", (unsigned long long)at,
		 (unsigned long long)(at + bytes), (long)bytes, rest);
	assert_string_equal(line, want);
	free(line);
}

static void each_area_has_its_line(void **state)
{
	struct page *pages[3];
	void *small, *large, *view;
	char *text, *line;

	(void)state;
	small = vmalloc(1);
	large = vzalloc(300 * PAGE_SIZE);
	assert_true(small && large);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = alloc_page(GFP_KERNEL);
	view = vmap(pages, 3, VM_MAP, PAGE_KERNEL);
	assert_non_null(view);
	text = text_now();
	assert_line(text, small, 2 * PAGE_SIZE, "each_area_has_its_line pages=1 vmalloc N0=1");
	assert_line(text, large, 301 * PAGE_SIZE,
		    "each_area_has_its_line pages=300 vmalloc N0=300");
	assert_line(text, view, 4 * PAGE_SIZE, "each_area_has_its_line vmap");
	free(text);
	vunmap(view);
	vfree(large);
	text = text_now();
	line = line_of(text, small);
	assert_true(line && !line_of(text, view));
	free(line);
	free(text);
	vfree(small);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		__free_page(pages[i]);
}

static void frames_are_counted_by_node(void **state)
{
	void *a = vmalloc_node(5 * PAGE_SIZE, 0), *b = vmalloc_node(7 * PAGE_SIZE, 1);
	char *text = text_now();

	(void)state;
	assert_line(text, a, 6 * PAGE_SIZE, "frames_are_counted_by_node pages=5 vmalloc N0=5");
	assert_line(text, b, 8 * PAGE_SIZE, "frames_are_counted_by_node pages=7 vmalloc N1=7");
	free(text);
	vfree(a);
	vfree(b);
}

struct seen {
	unsigned long nr, frames;
	u64 last;
};

static void see(const struct vmallocinfo *info, void *arg)
{
	struct seen *seen = arg;

	assert_true(info->start >= seen->last && info->end > info->start);
	seen->last = info->end;
	seen->nr++;
}

static void see_frame(unsigned long pfn, void *arg)
{
	assert_true(page_ref_count(pfn_to_page(pfn)) > 0);
	((struct seen *)arg)->frames++;
}

static void many_areas_come_in_order(void **state)
{
	struct seen before = { 0 }, seen = { 0 };
	void *area[100];

	(void)state;
	vmallocinfo_each(see, &before);
	assert_true(vmallocinfo_peek_frames(see_frame, &before));
	for (unsigned int i = 0; i < ARRAY_SIZE(area); i++)
		assert_non_null(area[i] = vmalloc((1 + i % 3) * PAGE_SIZE));
	vmallocinfo_each(see, &seen);
	assert_true(vmallocinfo_peek_frames(see_frame, &seen));
	assert_int_equal(seen.nr, before.nr + ARRAY_SIZE(area));
	assert_int_equal(seen.frames, before.frames + 34 + 33 * 2 + 33 * 3);
	for (unsigned int i = 0; i < ARRAY_SIZE(area); i++)
		vfree(area[i]);
}

static const struct machine_config two_nodes = { .mem_bytes = 64ULL << 20, .nr_nodes = 2 };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(each_area_has_its_line),
		KARC_TESTS(many_areas_come_in_order),
		karc_unit_test_config(frames_are_counted_by_node, 2, &two_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
