/* SPDX-License-Identifier: MIT */
/*
 * Goal: buddyinfo, pagetypeinfo and zoneinfo say what the zones know, in Linux's columns.
 * Method: the texts are read back as a parser of /proc would, word by word and by column, and each
 * number is held against the zone's own; a machine whose map is known is compared with the text
 * written out.
 */
#include "fixture.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/show.h>

static char *text_of(void (*show)(FILE *out))
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	show(out);
	fclose(out);
	return text;
}

/* The line of @text that begins with @start, or NULL; *@len without its end. */
static const char *line_of(const char *text, const char *start, size_t *len)
{
	for (; *text; text += strcspn(text, "\n") + 1) {
		*len = strcspn(text, "\n");
		if (!strncmp(text, start, strlen(start)))
			return text;
	}
	return NULL;
}

static unsigned long number_in(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	assert_non_null(at);
	return strtoul(at + strlen(key), NULL, 10);
}

/* Numbers of a width each, with a space behind; returns how many there are. */
static unsigned int columns(const char *at, const char *end, unsigned int width,
			    unsigned long *nr)
{
	unsigned int n = 0;

	for (; at + width + 1 <= end; at += width + 1) {
		assert_true(at[width] == ' ' && isdigit((unsigned char)at[width - 1]));
		nr[n++] = strtoul(at, NULL, 10);
	}
	assert_ptr_equal(at, end);
	return n;
}

/* Something in use of each kind and size, so that the lists have something to say. */
struct mix {
	struct page *page[24];
};

static void mix_up(struct mix *mix)
{
	static const gfp_t kinds[] = { GFP_KERNEL, GFP_HIGHUSER_MOVABLE,
				       GFP_KERNEL | __GFP_RECLAIMABLE };

	for (unsigned int i = 0; i < ARRAY_SIZE(mix->page); i++) {
		mix->page[i] = alloc_pages(kinds[i % 3], i % 7);
		assert_non_null(mix->page[i]);
	}
	for (unsigned int i = 1; i < ARRAY_SIZE(mix->page); i += 2) {
		__free_pages(mix->page[i], i % 7);
		mix->page[i] = NULL;
	}
}

static void put_away(struct mix *mix)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(mix->page); i++) {
		if (mix->page[i])
			__free_pages(mix->page[i], i % 7);
	}
}

#define for_each_zone_here(zone)						\
	for (struct pglist_data *karc_node_, *karc_once_ = node_by_index(0); karc_once_;	\
	     karc_once_ = NULL)							\
		for_each_online_pgdat(karc_node_)				\
			for ((zone) = karc_node_->node_zones;			\
			     (zone) < karc_node_->node_zones + MAX_NR_ZONES; (zone)++)

static void buddyinfo_adds_up(void **state)
{
	unsigned long nr[MAX_ORDER + 1] = { 0 }, nr_free;
	struct mix mix;
	struct zone *zone;
	char start[64];
	char *text;
	size_t len;

	(void)state;
	mix_up(&mix);
	text = text_of(buddyinfo_show);
	for_each_zone_here(zone) {
		snprintf(start, sizeof(start), "Node %d, zone %8s ", zone->node, zone->name);
		const char *line = line_of(text, start, &len);

		assert_int_equal(line != NULL, populated_zone(zone));
		if (!line)
			continue;
		assert_int_equal(columns(line + strlen(start), line + len, 6, nr), MAX_ORDER);
		nr_free = 0;
		for (unsigned int order = 0; order < MAX_ORDER; order++) {
			assert_int_equal(nr[order], zone->free_area[order].nr_free);
			nr_free += nr[order] << order;
		}
		assert_int_equal(nr_free, zone_page_state(zone, NR_FREE_PAGES));
	}
	free(text);
	put_away(&mix);
}

/* Frames of the zone that pagetypeinfo says are free, and that each list is as long as it says. */
static unsigned long free_by_type(const char *text, struct zone *zone)
{
	unsigned long nr[MAX_ORDER + 1] = { 0 }, sum[MAX_ORDER] = { 0 }, nr_free = 0;
	char start[80];
	size_t len;

	for (int type = 0; type < MIGRATE_TYPES; type++) {
		snprintf(start, sizeof(start), "Node %4d, zone %8s, type %12s ", zone->node,
			 zone->name, migratetype_name(type));
		const char *line = line_of(text, start, &len);

		assert_non_null(line);
		assert_int_equal(columns(line + strlen(start), line + len, 6, nr), MAX_ORDER);
		for (unsigned int order = 0; order < MAX_ORDER; order++) {
			struct list_head *at;

			list_for_each(at, &zone->free_area[order].free_list[type])
				nr[order]--, sum[order]++, nr_free += 1ul << order;
			assert_int_equal(nr[order], 0);
		}
	}
	for (unsigned int order = 0; order < MAX_ORDER; order++)
		assert_int_equal(sum[order], zone->free_area[order].nr_free);
	return nr_free;
}

static void pagetypeinfo_is_buddyinfo_by_type(void **state)
{
	unsigned long nr[MIGRATE_TYPES + 1] = { 0 }, blocks = 0;
	struct zone *zone;
	char start[64];
	struct mix mix;
	char *text;
	size_t len;

	(void)state;
	mix_up(&mix);
	text = text_of(pagetypeinfo_show);
	assert_int_equal(number_in(text, "Page block order: "), pageblock_order);
	assert_int_equal(number_in(text, "Pages per block:  "), pageblock_nr_pages);
	for_each_zone_here(zone) {
		if (!populated_zone(zone))
			continue;
		assert_int_equal(free_by_type(text, zone), zone_page_state(zone, NR_FREE_PAGES));
		snprintf(start, sizeof(start), "Node %d, zone %8s ", zone->node, zone->name);
		const char *line = line_of(strstr(text, "Number of blocks"), start, &len);

		assert_non_null(line);
		assert_int_equal(columns(line + strlen(start), line + len, 12, nr), MIGRATE_TYPES);
		for (int type = 0; type < MIGRATE_TYPES; type++)
			blocks += nr[type];
	}
	assert_true(blocks >= physmem_nr_frames(this_machine()) >> pageblock_order);
	free(text);
	put_away(&mix);
}

/* The text of a zone, to the next one's. */
static char *zone_text(const char *text, const struct zone *zone)
{
	const char *at, *end;
	char start[64];

	snprintf(start, sizeof(start), "Node %d, zone %8s\n", zone->node, zone->name);
	at = strstr(text, start);
	assert_non_null(at);
	end = strstr(at + 1, "\nNode ");
	return end ? strndup(at, (size_t)(end - at)) : strdup(at);
}

static unsigned long nr_on_cpu_lists(const char *text)
{
	unsigned long nr = 0;

	while ((text = strstr(text, "count: ")))
		nr += strtoul(text += strlen("count: "), NULL, 10);
	return nr;
}

static void zoneinfo_is_what_the_zones_know(void **state)
{
	struct machine *m = this_machine();
	unsigned long on_lists = 0, managed = 0;
	struct zone *zone;
	struct mix mix;
	char *text, *part;

	(void)state;
	mix_up(&mix);
	inc_node_page_state(mix.page[0], NR_ANON_MAPPED);
	text = text_of(zoneinfo_show);
	dec_node_page_state(mix.page[0], NR_ANON_MAPPED);
	for_each_zone_here(zone) {
		part = zone_text(text, zone);
		assert_int_equal(number_in(part, "pages free     "),
				 zone_page_state(zone, NR_FREE_PAGES));
		assert_int_equal(number_in(part, "        min      "), min_wmark_pages(zone));
		assert_int_equal(number_in(part, "        low      "), low_wmark_pages(zone));
		assert_int_equal(number_in(part, "        high     "), high_wmark_pages(zone));
		assert_int_equal(number_in(part, "        spanned  "), zone->spanned_pages);
		assert_int_equal(number_in(part, "        present  "), zone->present_pages);
		assert_int_equal(number_in(part, "        managed  "), zone->managed_pages);
		assert_int_equal(number_in(part, "protection: ("), zone->lowmem_reserve[0]);
		assert_int_equal(strstr(part, "pagesets") != NULL, populated_zone(zone));
		if (populated_zone(zone))
			assert_int_equal(number_in(part, "start_pfn:           "),
					 zone->zone_start_pfn);
		on_lists += nr_on_cpu_lists(part);
		managed += zone->managed_pages;
		free(part);
	}
	assert_int_equal(on_lists, phys_stats(m).nr_pcp);
	assert_int_equal(managed, phys_stats(m).nr_managed);
	assert_int_equal(number_in(text, "\n      nr_anon_pages "), 1);
	free(text);
	put_away(&mix);
}

/* 8 MiB, a PC's: frames 1 to 159 and 256 to 2143, nothing allocated yet. */
static const struct machine_config small = { .mem_bytes = 8ULL << 20 };

static void the_texts_have_linux_columns(void **state)
{
	char *text = text_of(buddyinfo_show);

	(void)state;
	drain_all_pages(NULL);
	free(text);
	text = text_of(buddyinfo_show);
	assert_string_equal(text, "Node 0, zone      DMA      1      1      1      1      1      "
			    "3      2      0      1      1      1 \n");
	free(text);
	text = text_of(pagetypeinfo_show);
	assert_true(!strncmp(text, "Page block order: 10\nPages per block:  1024\n\n"
			     "Free pages count per migrate type at order       0      1      2      "
			     "3      4      5      6      7      8      9     10 \n"
			     "Node    0, zone      DMA, type    Unmovable      0      0 ", 183));
	assert_non_null(strstr(text, "\n\nNumber of blocks type     Unmovable      Movable  "
			       "Reclaimable "));
	free(text);
	text = text_of(zoneinfo_show);
	assert_true(!strncmp(text, "Node 0, zone      DMA\n  per-node stats\n"
			     "      nr_inactive_anon 0\n      nr_active_anon 0\n", 87));
	assert_non_null(strstr(text, "\n      nr_mapped    0\n      nr_file_pages 0\n"));
	assert_non_null(strstr(text, "\n  pagesets\n    cpu: 0\n              count: 0\n"
			       "              high:  "));
	free(text);
}

static const struct machine_config two_nodes = { .mem_bytes = 64ULL << 20, .nr_nodes = 2 };
static const struct machine_config all_zones = {
	.mem_bytes = 64ULL << 20, .dma32_end = 32ULL << 20, .highmem_start = 56ULL << 20,
	.movable_start = 48ULL << 20,
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(buddyinfo_adds_up),
		karc_unit_test_config(buddyinfo_adds_up, 4, &two_nodes),
		karc_unit_test_config(buddyinfo_adds_up, 2, &all_zones),
		karc_unit_test(pagetypeinfo_is_buddyinfo_by_type),
		karc_unit_test_config(pagetypeinfo_is_buddyinfo_by_type, 4, &two_nodes),
		karc_unit_test_config(pagetypeinfo_is_buddyinfo_by_type, 2, &all_zones),
		KARC_TESTS(zoneinfo_is_what_the_zones_know),
		karc_unit_test_config(zoneinfo_is_what_the_zones_know, 4, &two_nodes),
		karc_unit_test_config(zoneinfo_is_what_the_zones_know, 2, &all_zones),
		karc_unit_test_config(the_texts_have_linux_columns, 1, &small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
