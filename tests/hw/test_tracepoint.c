/* SPDX-License-Identifier: MIT */
/*
 * Goal: who listens hears the events of its mask on its machine, from any CPU, in order; nobody
 * pays for what nobody hears; the text of a record is Linux's. Method: records made by hand.
 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/physmem.h>
#include <karc/hw/tracepoint.h>

struct heard {
	unsigned int nr;
	unsigned int of[NR_TRACE_EVENTS];
	char text[512];
};

static void hear(void *arg, const struct trace_record *record)
{
	struct heard *heard = arg;

	heard->nr++;
	heard->of[record->event]++;
	trace_event_format(record, heard->text, sizeof(heard->text));
}

static void emit(enum trace_event event)
{
	struct trace_record record = { .event = event };

	if (trace_event_on(event))
		trace_event_emit(&record);
}

static void a_listener_hears_the_events_of_its_mask(void **state)
{
	struct trace_event_listener listener;
	struct heard heard = { 0 };

	(void)state;
	emit(TRACE_KFREE);
	trace_event_listen(this_machine(), TRACE_BIT(TRACE_KFREE) | TRACE_BIT(TRACE_KMALLOC),
			   &listener, hear, &heard);
	for (int event = 0; event < NR_TRACE_EVENTS; event++)
		emit((enum trace_event)event);
	trace_event_unlisten(this_machine(), &listener);
	emit(TRACE_KFREE);
	assert_int_equal(heard.nr, 2);
	assert_int_equal(heard.of[TRACE_KFREE], 1);
	assert_int_equal(heard.of[TRACE_KMALLOC], 1);
}

static void several_listeners_have_masks_of_their_own(void **state)
{
	struct trace_event_listener one, two;
	struct heard first = { 0 }, second = { 0 };

	(void)state;
	trace_event_listen(this_machine(), TRACE_BIT(TRACE_KFREE), &one, hear, &first);
	trace_event_listen(this_machine(), TRACE_ALL, &two, hear, &second);
	assert_true(trace_events_on(TRACE_SLAB_ALL));
	emit(TRACE_MM_PAGE_FREE);
	emit(TRACE_KFREE);
	trace_event_unlisten(this_machine(), &two);
	assert_true(trace_event_on(TRACE_KFREE));
	assert_false(trace_event_on(TRACE_MM_PAGE_FREE));
	emit(TRACE_KFREE);
	trace_event_unlisten(this_machine(), &one);
	assert_false(trace_events_on(TRACE_ALL));
	assert_int_equal(first.nr, 2);
	assert_int_equal(second.nr, 2);
}

static int times_formatted;

static int formatted(void)
{
	return ++times_formatted;
}

static void steps_are_formatted_for_listeners_only(void **state)
{
	struct trace_event_listener listener;
	struct heard heard = { 0 };

	(void)state;
	times_formatted = 0;
	trace_slab_step("free_block", "%d objects", formatted());
	assert_int_equal(times_formatted, 0);
	trace_event_listen(this_machine(), TRACE_BIT(TRACE_SLAB_STEP), &listener, hear, &heard);
	trace_slab_step("free_block", "%d objects", formatted());
	trace_event_unlisten(this_machine(), &listener);
	assert_string_equal(heard.text, "slab_step: free_block: 1 objects");
}

struct room_of_test {
	struct trace_event_watch watch;
	u32 mask;
	unsigned int nr;
};

static void changed(struct machine *m, u32 mask)
{
	struct room_of_test *room = machine_room(m, ROOM_HARNESS);

	room->mask = mask;
	room->nr++;
}

static void rooms_are_told_what_is_heard(void **state)
{
	struct room_of_test room = { .mask = ~0u };
	struct machine *m = this_machine();
	struct trace_event_listener listener;
	struct heard heard = { 0 };

	(void)state;
	machine_set_room(m, ROOM_HARNESS, &room);
	trace_event_on_change(m, &room.watch, changed);
	assert_int_equal(room.mask, 0);
	trace_event_listen(m, TRACE_BIT(TRACE_KFREE), &listener, hear, &heard);
	assert_int_equal(room.mask, TRACE_BIT(TRACE_KFREE));
	trace_event_unlisten(m, &listener);
	assert_int_equal(room.mask, 0);
	assert_int_equal(room.nr, 3);
	trace_event_off_change(m, &room.watch);
	trace_event_listen(m, TRACE_ALL, &listener, hear, &heard);
	trace_event_unlisten(m, &listener);
	assert_int_equal(room.nr, 3);
	machine_set_room(m, ROOM_HARNESS, NULL);
}

static void who_left_already_is_a_warning(void **state)
{
	struct trace_event_listener listener;
	struct heard heard = { 0 };

	(void)state;
	trace_event_listen(this_machine(), TRACE_ALL, &listener, hear, &heard);
	trace_event_unlisten(this_machine(), &listener);
	trace_event_unlisten(this_machine(), &listener);
	expect_warn("tracepoint.c");
}

static void hear_and_emit(void *arg, const struct trace_record *record)
{
	hear(arg, record);
	emit(TRACE_KFREE);
}

static void what_a_listener_does_is_not_announced(void **state)
{
	struct trace_event_listener listener;
	struct heard heard = { 0 };

	(void)state;
	trace_event_listen(this_machine(), TRACE_ALL, &listener, hear_and_emit, &heard);
	emit(TRACE_KMALLOC);
	trace_event_unlisten(this_machine(), &listener);
	assert_int_equal(heard.nr, 1);
}

#define EACH	50

static long emits_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < EACH; i++) {
		emit(TRACE_KFREE);
		hw_safepoint();
	}
	return 0;
}

static void events_of_all_cpus_come_one_after_the_other(void **state)
{
	unsigned int n = num_online_cpus();
	struct trace_event_listener listener;
	struct heard heard = { 0 };
	struct machine_result r;
	struct fiber *f[8];

	(void)state;
	trace_event_listen(this_machine(), TRACE_ALL, &listener, hear, &heard);
	for (unsigned int i = 0; i < n; i++)
		f[i] = fiber_spawn(i, "emitter", emits_many, NULL);
	for (unsigned int i = 0; i < n; i++)
		fiber_join(f[i], &r);
	trace_event_unlisten(this_machine(), &listener);
	assert_int_equal(heard.nr, n * EACH);
}

static const struct site a_site = { "src/mm/x/driver.c", "probe", 42 };

static void expect_text(const struct trace_record *record, const char *want)
{
	char text[512];
	int bytes = trace_event_format(record, text, sizeof(text));

	assert_string_equal(text, want);
	assert_int_equal(bytes, strlen(want));
}

static void texts_are_those_of_linux(void **state)
{
	struct trace_record r = {
		.event = TRACE_KMALLOC, .site = &a_site, .ptr = phys_to_virt(0x123440),
		.bytes_req = 100, .bytes_alloc = 128, .gfp_text = "GFP_KERNEL|__GFP_ZERO",
		.node = -1, .cache = "kmalloc-128", .pfn = 0x123, .order = 3, .migratetype = 1,
	};

	(void)state;
	expect_text(&r, "kmalloc: call_site=probe@driver.c:42 ptr=ffff888000123440 bytes_req=100 "
		    "bytes_alloc=128 gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=false");
	r.event = TRACE_KMEM_CACHE_ALLOC;
	r.accounted = true;
	expect_text(&r, "kmem_cache_alloc: call_site=probe@driver.c:42 ptr=ffff888000123440 "
		    "bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 "
		    "accounted=true");
	r.event = TRACE_KMEM_CACHE_FREE;
	expect_text(&r, "kmem_cache_free: call_site=probe@driver.c:42 ptr=ffff888000123440 "
		    "name=kmalloc-128");
	r.event = TRACE_MM_PAGE_ALLOC;
	expect_text(&r, "mm_page_alloc: page=ffffea00000048c0 pfn=0x123 order=3 migratetype=1 "
		    "gfp_flags=GFP_KERNEL|__GFP_ZERO");
	r.event = TRACE_MM_PAGE_FREE;
	expect_text(&r, "mm_page_free: page=ffffea00000048c0 pfn=0x123 order=3");
	r.event = TRACE_KFREE;
	r.ptr = NULL;
	r.site = NULL;
	expect_text(&r, "kfree: call_site=? ptr=0000000000000000");
}

static void a_line_has_task_cpu_and_time(void **state)
{
	struct trace_record r = {
		.event = TRACE_KFREE, .site = &a_site, .ptr = (void *)16, .cpu = 3,
		.now_ns = 12345678901ULL, .task = "worker", .task_id = 7,
	};
	char text[256], cut[40];

	(void)state;
	trace_event_line(&r, text, sizeof(text));
	assert_string_equal(text, "          worker-7       [003] .....    12.345678: "
			    "kfree: call_site=probe@driver.c:42 ptr=0000000000000010");
	assert_true(trace_event_line(&r, cut, sizeof(cut)) >= (int)sizeof(cut));
	assert_int_equal(strncmp(cut, text, sizeof(cut) - 1), 0);
}

static void windows_have_addresses_of_their_own(void **state)
{
	struct machine *m = this_machine();
	u64 bytes;

	(void)state;
	assert_int_equal(trace_address(physmem_window(m, WINDOW_VMALLOC, &bytes) + 0x2000),
			 0xffffc90000002000ULL);
	assert_int_equal(trace_address(physmem_window(m, WINDOW_KMAP, &bytes) + 1),
			 0xfffffe0000000001ULL);
	assert_int_equal(trace_address((void *)16), 16);
	assert_string_equal(trace_event_name(TRACE_MM_PAGE_ALLOC), "mm_page_alloc");
	assert_string_equal(trace_event_name(NR_TRACE_EVENTS), "no event");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_listener_hears_the_events_of_its_mask),
		karc_unit_test(several_listeners_have_masks_of_their_own),
		karc_unit_test(steps_are_formatted_for_listeners_only),
		karc_unit_test(rooms_are_told_what_is_heard),
		karc_unit_test(who_left_already_is_a_warning),
		karc_unit_test(what_a_listener_does_is_not_announced),
		KARC_TESTS(events_of_all_cpus_come_one_after_the_other),
		karc_unit_test(texts_are_those_of_linux),
		karc_unit_test(a_line_has_task_cpu_and_time),
		karc_unit_test(windows_have_addresses_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
