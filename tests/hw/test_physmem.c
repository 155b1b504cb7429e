/* SPDX-License-Identifier: MIT */
/*
 * Goal: RAM looks as the config says: banks, holes, HIGHMEM, windows, memmap; bad configs are
 * refused with one clear line each.
 * Method: machines of hw alone with odd memory maps; touching what must fault happens in a
 * machine_call(), which reports it as an Oops.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/hw/machine.h>
#include <karc/hw/physmem.h>

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static struct machine *boot_with(struct machine_config config)
{
	static const struct room *const rooms[] = { &hw_room };
	struct machine *m;

	config.quiet = true;
	m = machine_boot_rooms(&config, rooms, 1);
	assert_false(IS_ERR(m));
	machine_enter(m);
	return m;
}

static void power_off(struct machine *m)
{
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

static long read_byte(void *arg)
{
	return *(volatile char *)arg;
}

static long write_byte(void *arg)
{
	*(volatile char *)arg = 1;
	return 0;
}

static void assert_faults(struct machine *m, void *p)
{
	assert_int_equal(machine_call(m, 0, read_byte, p).end, MACHINE_OOPS);
	assert_int_equal(machine_call(m, 0, write_byte, p).end, MACHINE_OOPS);
}

static void assert_bank(struct machine *m, unsigned int i, u64 start, u64 end, unsigned int node)
{
	struct machine_bank b;

	assert_true(physmem_bank(m, i, &b));
	assert_int_equal(b.start, start);
	assert_int_equal(b.start + b.size, end);
	assert_int_equal(b.node, node);
}

static void default_map_is_like_a_pc(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .mem_bytes = 256 * MIB });
	struct machine_bank b;

	(void)state;
	assert_bank(m, 0, 0, 640 << 10, 0);
	assert_bank(m, 1, MIB, 16 * MIB, 0);
	assert_bank(m, 2, 16 * MIB, 256 * MIB + (384 << 10), 0);
	assert_false(physmem_bank(m, 3, &b));
	assert_int_equal(physmem_nr_frames(m), 256 * MIB / PAGE_SIZE);
	assert_int_equal(physmem_max_pfn(m), (256 * MIB + (384 << 10)) / PAGE_SIZE);
	assert_true(physmem_pfn_is_ram(m, 0));
	assert_true(physmem_pfn_is_ram(m, 0x9f));
	assert_false(physmem_pfn_is_ram(m, 0xa0));
	assert_false(physmem_pfn_is_ram(m, 0xff));
	assert_true(physmem_pfn_is_ram(m, 0x100));
	assert_false(physmem_pfn_is_ram(m, physmem_max_pfn(m)));
	assert_false(physmem_pfn_is_ram(m, ~0UL));
	power_off(m);
}

static void ram_beyond_3_gib_continues_at_4_gib(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .mem_bytes = 24 * GIB });
	unsigned long last = physmem_max_pfn(m) - 1;
	char *p = phys_to_virt((u64)last << PAGE_SHIFT);

	(void)state;
	assert_int_equal(physmem_nr_frames(m), 24 * GIB / PAGE_SIZE);
	assert_int_equal(physmem_max_pfn(m), (25 * GIB + (384 << 10)) / PAGE_SIZE);
	assert_false(physmem_pfn_is_ram(m, 3 * GIB / PAGE_SIZE));
	assert_true(physmem_pfn_is_ram(m, 4 * GIB / PAGE_SIZE));
	p[PAGE_SIZE - 1] = 7;
	assert_int_equal(p[PAGE_SIZE - 1], 7);
	assert_faults(m, phys_to_virt(3 * GIB));
	power_off(m);
}

static void banks_are_cut_at_zone_boundaries(void **state)
{
	static const struct machine_bank banks[] = {
		{ 0, 8 * MIB, 0 }, { 8 * MIB, 56 * MIB, 1 }, { 96 * MIB, 32 * MIB, 1 },
	};
	struct machine *m = boot_with((struct machine_config){
		.banks = banks, .nr_banks = 3, .dma_end = 4 * MIB, .dma32_end = 32 * MIB,
		.movable_start = 48 * MIB, .highmem_start = 112 * MIB });
	struct machine_bank b;

	(void)state;
	assert_bank(m, 0, 0, 4 * MIB, 0);
	assert_bank(m, 1, 4 * MIB, 8 * MIB, 0);
	assert_bank(m, 2, 8 * MIB, 32 * MIB, 1);
	assert_bank(m, 3, 32 * MIB, 48 * MIB, 1);
	assert_bank(m, 4, 48 * MIB, 64 * MIB, 1);
	assert_bank(m, 5, 96 * MIB, 112 * MIB, 1);
	assert_bank(m, 6, 112 * MIB, 128 * MIB, 1);
	assert_false(physmem_bank(m, 7, &b));
	assert_int_equal(physmem_nr_frames(m), 96 * MIB / PAGE_SIZE);
	power_off(m);
}

static void frames_begin_zeroed_and_are_the_same_bytes_everywhere(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .nr_cpus = 1 });
	char *p = phys_to_virt(20 * MIB + 100);
	char buf[8] = "";

	(void)state;
	assert_int_equal(p[0], 0);
	memcpy(p, "karc", 5);
	physmem_read(m, 20 * MIB + 100, buf, 5);
	assert_string_equal(buf, "karc");
	physmem_write(m, 20 * MIB + 101, "lue", 3);
	assert_string_equal(p, "klue");
	assert_int_equal(virt_to_phys(p), 20 * MIB + 100);
	assert_true(virt_addr_valid_fast(p));
	assert_false(virt_addr_valid_fast(buf));
	assert_true((u64)physmem_arena(m) % (4 * MIB) == 0);
	assert_int_equal((u64)((char *)karc_cpu->memmap - (char *)physmem_memmap(m)), 0);
	power_off(m);
}

static void holes_fault(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .nr_cpus = 1 });

	(void)state;
	assert_faults(m, phys_to_virt(0xa0000));
	assert_faults(m, phys_to_virt(0xff000));
	assert_int_equal(machine_call(m, 0, read_byte, phys_to_virt(0x100000)).end, MACHINE_VALUE);
	assert_faults(m, phys_to_virt(physmem_direct_map_bytes(m)));
	power_off(m);
}

static void highmem_is_not_in_the_direct_map(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .mem_bytes = 128 * MIB,
							       .highmem_start = 64 * MIB });
	char buf[32] = "", *p = phys_to_virt(64 * MIB);

	(void)state;
	assert_int_equal(physmem_direct_map_bytes(m), 64 * MIB);
	assert_false(physmem_pfn_is_highmem(m, 64 * MIB / PAGE_SIZE - 1));
	assert_true(physmem_pfn_is_highmem(m, 64 * MIB / PAGE_SIZE));
	assert_false(physmem_pfn_is_highmem(m, physmem_max_pfn(m)));
	assert_false(virt_addr_valid_fast(p));
	assert_true(virt_addr_valid_fast(p - 1));
	assert_faults(m, p);
	physmem_write(m, 64 * MIB - 4, "low.high", 9);
	physmem_read(m, 64 * MIB - 4, buf, 9);
	assert_string_equal(buf, "low.high");
	assert_memory_equal(p - 4, "low.", 4);
	power_off(m);
}

static void windows_show_the_same_bytes(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .mem_bytes = 128 * MIB,
							       .highmem_start = 64 * MIB });
	u64 vmalloc_bytes, kmap_bytes, percpu_bytes;
	char *vmalloc = physmem_window(m, WINDOW_VMALLOC, &vmalloc_bytes);
	char *percpu = physmem_window(m, WINDOW_PERCPU, &percpu_bytes);
	char *kmap = physmem_window(m, WINDOW_KMAP, &kmap_bytes);
	char *lowmem = phys_to_virt(20 * MIB);
	char byte;

	(void)state;
	assert_true(vmalloc_bytes >= GIB && kmap_bytes >= MIB);
	assert_true(vmalloc >= physmem_arena(m) + physmem_direct_map_bytes(m));
	assert_true(vmalloc + vmalloc_bytes <= percpu && percpu + percpu_bytes <= kmap);
	assert_int_equal(percpu_bytes, machine_nr_cpus(m) * PERCPU_WINDOW_BYTES);
	assert_faults(m, percpu);
	assert_true(kmap + kmap_bytes <= physmem_arena(m) + physmem_arena_bytes(m));
	assert_faults(m, vmalloc);
	assert_faults(m, kmap + kmap_bytes - 1);

	assert_int_equal(physmem_window_map(m, vmalloc, 20 * MIB / PAGE_SIZE, 3), 0);
	assert_int_equal(physmem_window_map(m, kmap, 20 * MIB / PAGE_SIZE + 1, 1), 0);
	lowmem[PAGE_SIZE + 5] = 'x';
	assert_int_equal(vmalloc[PAGE_SIZE + 5], 'x');
	assert_int_equal(kmap[5], 'x');
	kmap[6] = 'y';
	assert_int_equal(lowmem[PAGE_SIZE + 6], 'y');
	assert_faults(m, vmalloc + 3 * PAGE_SIZE);

	/* Mapping over a mapping replaces it: a HIGHMEM frame this time. */
	assert_int_equal(physmem_window_map(m, kmap, 64 * MIB / PAGE_SIZE, 1), 0);
	kmap[0] = 'h';
	physmem_read(m, 64 * MIB, &byte, 1);
	assert_int_equal(byte, 'h');

	physmem_window_unmap(m, vmalloc + PAGE_SIZE, 1);
	assert_faults(m, vmalloc + PAGE_SIZE);
	assert_int_equal(machine_call(m, 0, read_byte, vmalloc).end, MACHINE_VALUE);
	assert_int_equal(machine_call(m, 0, read_byte, vmalloc + 2 * PAGE_SIZE).end,
			 MACHINE_VALUE);
	physmem_window_unmap(m, vmalloc, 3);
	physmem_window_unmap(m, kmap, 1);
	assert_faults(m, vmalloc);
	assert_faults(m, kmap);
	assert_int_equal(lowmem[PAGE_SIZE + 5], 'x');
	power_off(m);
}

static long map_beyond_window(void *arg)
{
	u64 bytes;
	char *start = physmem_window(arg, WINDOW_KMAP, &bytes);

	return physmem_window_map(arg, start + bytes - PAGE_SIZE, 0, 2);
}

static long map_direct_map(void *arg)
{
	return physmem_window_map(arg, physmem_arena(arg), 0, 1);
}

static long map_a_hole(void *arg)
{
	return physmem_window_map(arg, physmem_window(arg, WINDOW_KMAP, NULL), 0x9f, 2);
}

static long read_a_hole(void *arg)
{
	char byte;

	physmem_read(arg, 0xa0000, &byte, 1);
	return 0;
}

static void impossible_requests_are_bugs(void **state)
{
	static long (*const requests[])(void *) = {
		map_beyond_window, map_direct_map, map_a_hole, read_a_hole,
	};
	struct machine *m = boot_with((struct machine_config){ .nr_cpus = 1 });

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		struct machine_result r = machine_call(m, 0, requests[i], m);

		assert_int_equal(r.end, MACHINE_BUG);
		assert_non_null(strstr(r.message, "physmem"));
	}
	power_off(m);
}

static void memmap_covers_every_pfn_and_begins_zeroed(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .mem_bytes = 4 * GIB });
	char *memmap = (char *)physmem_memmap(m);
	u64 last = physmem_max_pfn(m) * PHYSMEM_PAGE_STRUCT_BYTES - 1;

	(void)state;
	assert_int_equal(memmap[0], 0);
	assert_int_equal(memmap[last], 0);
	memmap[last] = 1;
	memmap[0xa0 * PHYSMEM_PAGE_STRUCT_BYTES] = 1;	/* a hole has its struct page, too */
	power_off(m);
}

static void machines_do_not_share_memory(void **state)
{
	static const struct room *const rooms[] = { &hw_room };
	struct machine_config config = { .quiet = true };
	struct machine *a = machine_boot_rooms(&config, rooms, 1);
	struct machine *b = machine_boot_rooms(&config, rooms, 1);
	char byte;

	(void)state;
	physmem_write(a, 5 * MIB, "a", 1);
	physmem_write(b, 5 * MIB, "b", 1);
	physmem_read(a, 5 * MIB, &byte, 1);
	assert_int_equal(byte, 'a');
	physmem_read(b, 5 * MIB, &byte, 1);
	assert_int_equal(byte, 'b');
	assert_int_equal(machine_shutdown(b), 0);
	assert_int_equal(machine_shutdown(a), 0);
}

/* Boot with a config that makes no sense; the console must say @expected. */
static void assert_refused(struct machine_config config, const char *expected)
{
	static const struct room *const rooms[] = { &hw_room };
	char *text = NULL;
	size_t bytes;
	struct machine *m;

	config.console = open_memstream(&text, &bytes);
	m = machine_boot_rooms(&config, rooms, 1);
	fclose(config.console);
	assert_true(IS_ERR(m));
	assert_int_equal(PTR_ERR(m), -EINVAL);
	if (!strstr(text, expected))
		fail_msg("\"%s\" is not in: %s", expected, text);
	free(text);
}

static void bad_configs_are_refused_by_name(void **state)
{
	struct machine_bank banks[2] = { { 0, 8 * MIB, 0 }, { 16 * MIB, 8 * MIB, 0 } };
	struct machine_config with_banks = { .banks = banks, .nr_banks = 2 };

	(void)state;
	banks[1].start = 4 * MIB;
	assert_refused(with_banks, "banks[1]: overlaps banks[0]");
	banks[0].start = 64 * MIB;
	assert_refused(with_banks, "banks[1]: not sorted");
	banks[0].start = 0;
	banks[1].start = 16 * MIB + 1;
	assert_refused(with_banks, "banks[1]: start 0x1000001, size 0x800000: not page aligned");
	banks[1] = (struct machine_bank){ 16 * MIB, 0, 0 };
	assert_refused(with_banks, "banks[1]: size is 0");
	banks[1] = (struct machine_bank){ 1ULL << 44, 8 * MIB, 0 };
	assert_refused(with_banks, "banks[1]: ends above the limit");
	banks[1] = (struct machine_bank){ 16 * MIB, -PAGE_SIZE, 0 };
	assert_refused(with_banks, "banks[1]: ends above the limit");
	banks[1] = (struct machine_bank){ 16 * MIB, 8 * MIB, 8 };
	assert_refused(with_banks, "banks[1]: node 8");

	assert_refused((struct machine_config){ .mem_bytes = 5 * MIB + 1 }, "mem_bytes");
	assert_refused((struct machine_config){ .dma_end = 5 }, "dma_end: 0x5 is not page aligned");
	assert_refused((struct machine_config){ .dma_end = 8 * GIB }, "dma_end: above dma32_end");
	assert_refused((struct machine_config){ .highmem_start = 5 }, "highmem_start: 0x5");
	assert_refused((struct machine_config){ .movable_start = 64 * MIB,
						.highmem_start = 64 * MIB },
		       "movable_start: not below highmem_start");
	banks[0] = (struct machine_bank){ 1 * MIB, 8 * MIB, 0 };
	assert_refused((struct machine_config){ .banks = banks, .nr_banks = 1,
						.highmem_start = MIB },
		       "highmem_start: leaves no lowmem");
	assert_refused((struct machine_config){ .banks = banks, .nr_banks = 1,
						.movable_start = MIB },
		       "movable_start: leaves no unmovable lowmem");
	assert_refused((struct machine_config){ .arena_bytes = 128 * MIB }, "arena_bytes");
}

static unsigned int count_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned int nr = 0;
	int c;

	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		nr += c == '\n';
	fclose(f);
	return nr;
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	assert_non_null(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static void shutdown_gives_every_mapping_back(void **state)
{
	unsigned int maps = 0, fds = 0;

	(void)state;
	for (int i = 0; i < 12; i++) {
		if (i == 2) {	/* what the host allocator and sanitizers keep is there by now */
			maps = count_lines("/proc/self/maps");
			fds = count_fds();
		}
		power_off(boot_with((struct machine_config){ .mem_bytes = 64 * MIB }));
	}
	assert_int_equal(count_fds(), fds);
	assert_true(count_lines("/proc/self/maps") <= maps + 8);
}

/* The first range has the hole of a PC, the last one ends before it is whole. */
static void joining_frames_changes_no_content(void **state)
{
	struct machine *m = boot_with((struct machine_config){ .mem_bytes = 63 * MIB });
	unsigned long max_pfn = physmem_max_pfn(m), step = PHYSMEM_JOIN_FRAMES / 2;

	(void)state;
	for (unsigned long pfn = step + 1; pfn < max_pfn; pfn += step)
		memset(physmem_arena(m) + pfn * PAGE_SIZE, (int)(pfn / step & 0xff), PAGE_SIZE);
	for (unsigned long pfn = 0; pfn < max_pfn; pfn += step)
		physmem_join(m, pfn);
	for (unsigned long pfn = step + 1; pfn < max_pfn; pfn += step) {
		const unsigned char *bytes = (void *)(physmem_arena(m) + pfn * PAGE_SIZE);

		assert_int_equal(bytes[0], pfn / step & 0xff);
		assert_int_equal(bytes[PAGE_SIZE - 1], pfn / step & 0xff);
		assert_int_equal(bytes[-1], 0);
	}
	assert_faults(m, physmem_arena(m) + (640 << 10));
	power_off(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_map_is_like_a_pc),
		cmocka_unit_test(ram_beyond_3_gib_continues_at_4_gib),
		cmocka_unit_test(banks_are_cut_at_zone_boundaries),
		cmocka_unit_test(frames_begin_zeroed_and_are_the_same_bytes_everywhere),
		cmocka_unit_test(holes_fault),
		cmocka_unit_test(highmem_is_not_in_the_direct_map),
		cmocka_unit_test(windows_show_the_same_bytes),
		cmocka_unit_test(impossible_requests_are_bugs),
		cmocka_unit_test(memmap_covers_every_pfn_and_begins_zeroed),
		cmocka_unit_test(machines_do_not_share_memory),
		cmocka_unit_test(bad_configs_are_refused_by_name),
		cmocka_unit_test(shutdown_gives_every_mapping_back),
		cmocka_unit_test(joining_frames_changes_no_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
