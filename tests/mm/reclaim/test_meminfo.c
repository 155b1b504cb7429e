/* SPDX-License-Identifier: MIT */
/*
 * Goal: meminfo has Linux's lines in Linux's columns, and its numbers are those of the rooms.
 * Method: the text is read back; frames are put to each use in turn and the line of that use, and
 * no other, must have grown by them.
 */
#include <karc/mm/cache/filemap.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/reclaim/meminfo.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/percpu.h>
#include <karc/mm/space/overcommit.h>
#include <stdlib.h>
#include <string.h>
#include "fixture.h"

/* As fs/proc of an x86-64 Linux 6.1 prints them; high memory apart. */
static const char *const names[] = {
	"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active",
	"Inactive", "Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)",
	"Unevictable", "Mlocked", "SwapTotal", "SwapFree", "Zswap", "Zswapped", "Dirty",
	"Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable",
	"SUnreclaim", "KernelStack", "PageTables", "SecPageTables", "NFS_Unstable", "Bounce",
	"WritebackTmp", "CommitLimit", "Committed_AS", "VmallocTotal", "VmallocUsed",
	"VmallocChunk", "Percpu", "HardwareCorrupted", "AnonHugePages", "ShmemHugePages",
	"ShmemPmdMapped", "FileHugePages", "FilePmdMapped", "HugePages_Total", "HugePages_Free",
	"HugePages_Rsvd", "HugePages_Surp", "Hugepagesize", "Hugetlb", "DirectMap4k",
	"DirectMap2M", "DirectMap1G",
};

static char *meminfo(void)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	meminfo_show(out);
	fclose(out);
	return text;
}

static unsigned long value_in(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (; *text; text += strcspn(text, "\n") + 1) {
		if (!strncmp(text, name, len) && text[len] == ':')
			return strtoul(text + len + 1, NULL, 10);
	}
	fail_msg("no line %s", name);
}

static unsigned long value(const char *name)
{
	char *text = meminfo();
	unsigned long kib = value_in(text, name);

	free(text);
	return kib;
}

static void the_lines_are_those_of_linux(void **state)
{
	char *text = meminfo(), want[64], *end;
	const char *at = text;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bool huge = !strncmp(names[i], "HugePages_", 10);
		unsigned long number;

		assert_true(!strncmp(at, names[i], strlen(names[i])));
		number = strtoul(at + strlen(names[i]) + 1, &end, 10);
		if (huge)
			snprintf(want, sizeof(want), "%s:%*lu\n", names[i],
				 23 - (int)strlen(names[i]), number);
		else if (!strcmp(names[i], "HardwareCorrupted"))
			snprintf(want, sizeof(want), "%s: %5lu kB\n", names[i], number);
		else
			snprintf(want, sizeof(want), "%s:%*lu kB\n", names[i],
				 23 - (int)strlen(names[i]), number);
		assert_true(!strncmp(at, want, strlen(want)));
		at += strlen(want);
	}
	assert_string_equal(at, "");
	free(text);
}

static void high_memory_has_its_own_lines(void **state)
{
	char *text = meminfo();

	(void)state;
	assert_int_equal(value_in(text, "HighTotal"), (8ul << 20) >> 10);
	assert_int_equal(value_in(text, "HighTotal") + value_in(text, "LowTotal"),
			 value_in(text, "MemTotal"));
	assert_int_equal(value_in(text, "HighFree") + value_in(text, "LowFree"),
			 value_in(text, "MemFree"));
	assert_int_equal(value_in(text, "DirectMap4k"), (24ul << 20) >> 10);
	free(text);
}

static void totals_are_those_of_the_zones(void **state)
{
	struct phys_stats s = phys_stats(this_machine());
	char *text;

	(void)state;
	drain_all_pages(NULL);
	text = meminfo();
	s = phys_stats(this_machine());
	assert_int_equal(value_in(text, "MemTotal"), s.nr_managed * 4);
	assert_int_equal(value_in(text, "MemFree"), s.nr_buddy * 4);
	assert_int_equal(value_in(text, "MemAvailable"), (unsigned long)si_mem_available() * 4);
	assert_true(value_in(text, "MemAvailable") < value_in(text, "MemTotal"));
	assert_int_equal(value_in(text, "CommitLimit"), vm_commit_limit() * 4);
	assert_int_equal(value_in(text, "Committed_AS"), vm_memory_committed() * 4);
	free(text);
}

/* Frames that are neither free nor in one of the lines. */
static unsigned long unnamed(void)
{
	static const char *const uses[] = { "Cached", "AnonPages", "Slab", "PageTables",
					    "VmallocUsed", "Percpu", "HardwareCorrupted" };
	struct phys_stats s;
	unsigned long kib = 0;
	char *text;

	drain_all_pages(NULL);
	text = meminfo();
	s = phys_stats(this_machine());
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++)
		kib += value_in(text, uses[i]);
	kib = value_in(text, "MemTotal") - value_in(text, "MemFree") - s.nr_pcp * 4 - kib;
	free(text);
	return kib;
}

static void every_use_has_its_line(void **state)
{
	struct file *file = memfile_create("f", 64 * PAGE_SIZE, 0600, NULL, NULL);
	unsigned long before, rest = unnamed();
	long __percpu *counter;
	struct page *page;
	loff_t pos = 0;
	void *p;

	(void)state;
	before = value("Cached");
	for (pgoff_t i = 0; i < 16; i++) {
		page = read_cache_page(file->f_mapping, i);
		assert_false(IS_ERR(page));
		put_page(page);
	}
	assert_int_equal(value("Cached"), before + 16 * 4);
	assert_int_equal(value("Dirty"), 0);
	assert_int_equal(kernel_write(file, "x", 1, &pos), 1);
	assert_int_equal(kernel_write(file, "y", 1, &pos), 1);
	assert_int_equal(value("Dirty"), 4);
	before = value("VmallocUsed");
	p = vmalloc(40 * PAGE_SIZE);
	assert_int_equal(value("VmallocUsed"), before + 160);
	vfree(p);
	counter = alloc_percpu(long);
	assert_true(value("Percpu") >= machine_nr_cpus(this_machine()) * 4);
	assert_int_equal(unnamed(), rest);
	free_percpu(counter);
	before = value("SUnreclaim");
	p = kmalloc(512 << 10, GFP_KERNEL);
	assert_int_equal(value("SUnreclaim"), before + 512);
	assert_int_equal(value("Slab"), value("SReclaimable") + value("SUnreclaim"));
	assert_int_equal(unnamed(), rest);
	kfree(p);
	page = alloc_pages(GFP_KERNEL, 3);
	assert_int_equal(unnamed(), rest + 32);	/* whose it is nobody says, as in Linux */
	__free_pages(page, 3);
	fput(file);
	assert_int_equal(value("Dirty"), 0);
	assert_int_equal(unnamed(), rest);
}

static const struct machine_config with_high = {
	.mem_bytes = 32ul << 20, .highmem_start = (24ul << 20) + (384ul << 10),
};
static const struct machine_config two_nodes = { .mem_bytes = 64ul << 20, .nr_nodes = 2 };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(the_lines_are_those_of_linux),
		karc_unit_test_config(high_memory_has_its_own_lines, 1, &with_high),
		KARC_TESTS(totals_are_those_of_the_zones),
		karc_unit_test_config(totals_are_those_of_the_zones, 4, &two_nodes),
		KARC_TESTS(every_use_has_its_line),
		karc_unit_test_config(every_use_has_its_line, 4, &two_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
