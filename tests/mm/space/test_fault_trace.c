/* SPDX-License-Identifier: MIT */
/*
 * Goal: who listens to a fault hears each thing that it looks at, once and in order; who watches
 * sees every decision, handled or not; nobody else pays or hears.
 * Method: loads and stores through the MMU with the space loaded, the names of the announced
 * steps collected and compared; the watch's records beside the fault counters.
 */
#include "space_test.h"

#include <signal.h>

#include <karc/hw/trace.h>
#include <karc/mm/pgtable/tlbflush.h>

struct heard {
	struct trace_listener listener;
	struct fault_watch watch;
	char names[512], texts[2048];
	unsigned int nr_decided, nr_refused;
	struct fault_info last;
};

static void on_step(void *arg, const char *fn, const char *text)
{
	struct heard *h = arg;
	size_t at = strlen(h->names), text_at = strlen(h->texts);

	snprintf(h->names + at, sizeof(h->names) - at, "%s%s", at ? " " : "", fn);
	snprintf(h->texts + text_at, sizeof(h->texts) - text_at, "%s\n", text);
}

static void on_decided(void *arg, const struct fault_info *info)
{
	struct heard *h = arg;

	h->nr_decided++;
	h->nr_refused += info->si_signo != 0;
	h->last = *info;
}

static struct mm_struct *start(struct heard *h)
{
	struct mm_struct *mm = new_mm();

	memset(h, 0, sizeof(*h));
	switch_mm(NULL, mm);
	h->watch = (struct fault_watch){ .ops = { on_decided }, .arg = h };
	fault_on_decided(this_machine(), &h->watch);
	return mm;
}

static void end(struct mm_struct *mm)
{
	fault_on_decided(this_machine(), NULL);
	switch_mm(mm, NULL);
	mmput(mm);
}

/* One access; the steps heard meanwhile are @names. Returns the signal. */
static int hear(struct heard *h, unsigned long addr, enum mmu_access access, const char *names)
{
	struct fault_info info = { 0 };
	unsigned char byte = 1;

	h->names[0] = h->texts[0] = '\0';
	trace_listen(this_machine(), &h->listener, on_step, h);
	if (mmu_access_user(addr, &byte, 1, access))
		fault_take_pending(&info);
	trace_unlisten(this_machine(), &h->listener);
	assert_string_equal(h->names, names);
	return info.si_signo;
}

#define BEGIN	"do_user_addr_fault "
#define ALLOWED	BEGIN "find_vma access_error handle_pte_fault "

static void private_memory_is_told_step_by_step(void **state)
{
	struct heard h;
	struct mm_struct *mm = start(&h);
	(void)state;

	map_at(mm, BASE, 2, RW);
	assert_int_equal(hear(&h, BASE, MMU_READ, ALLOWED "do_anonymous_page"), 0);
	assert_non_null(strstr(h.texts, "entry: none"));
	assert_non_null(strstr(h.texts, "zero page; entry now: zero page, frame"));
	assert_int_equal(hear(&h, BASE, MMU_WRITE, ALLOWED "do_wp_page wp_page_copy"), 0);
	assert_int_equal(hear(&h, BASE + P, MMU_WRITE, ALLOWED "do_anonymous_page"), 0);
	assert_non_null(strstr(h.texts, "fresh page"));
	assert_int_equal(hear(&h, BASE + P, MMU_WRITE, ""), 0);
	assert_int_equal(h.nr_decided, 3);
	end(mm);
}

static void a_fork_makes_copy_and_reuse_heard(void **state)
{
	struct heard h;
	struct mm_struct *mm = start(&h), *child;
	(void)state;

	map_at(mm, BASE, 1, RW);
	assert_int_equal(hear(&h, BASE, MMU_WRITE, ALLOWED "do_anonymous_page"), 0);
	child = dup_mm(mm);
	assert_non_null(child);
	switch_mm(mm, child);
	assert_int_equal(hear(&h, BASE, MMU_WRITE, ALLOWED "do_wp_page wp_page_copy"), 0);
	assert_non_null(strstr(h.texts, "_refcount 2, mapcount 2"));
	switch_mm(child, mm);
	assert_int_equal(hear(&h, BASE, MMU_WRITE, ALLOWED "do_wp_page wp_page_reuse"), 0);
	assert_non_null(strstr(h.texts, "_refcount 1, mapcount 1"));
	mmput(child);
	end(mm);
}

static void refusals_end_where_they_were_decided(void **state)
{
	struct heard h;
	struct mm_struct *mm = start(&h);
	(void)state;

	assert_int_equal(hear(&h, BASE, MMU_READ, BEGIN "find_vma bad_area"), SIGSEGV);
	assert_non_null(strstr(h.texts, "nothing above it"));
	map_at(mm, BASE, 1, PROT_READ);
	assert_int_equal(hear(&h, BASE - 1, MMU_READ, BEGIN "find_vma bad_area"), SIGSEGV);
	assert_non_null(strstr(h.texts, "is the next above it"));
	assert_int_equal(hear(&h, BASE, MMU_WRITE, BEGIN "find_vma access_error bad_area"), SIGSEGV);
	assert_non_null(strstr(h.texts, "write of r--: refused"));
	assert_int_equal(hear(&h, mm->task_size, MMU_READ, BEGIN "fault_in_kernel_space bad_area"),
			 SIGSEGV);
	assert_int_equal(h.nr_decided, 4);
	assert_int_equal(h.nr_refused, 4);
	assert_int_equal(h.last.address, mm->task_size);
	end(mm);
}

static void files_say_which_page_and_what_became_of_it(void **state)
{
	struct file *file = new_file("/tmp/f", 2);
	struct heard h;
	struct mm_struct *mm = start(&h);
	(void)state;

	assert_int_equal(ksys_mmap(mm, BASE, 3 * P, RW, MAP_PRIVATE | MAP_FIXED, file, 0), BASE);
	assert_int_equal(hear(&h, BASE, MMU_READ, ALLOWED "__do_fault do_read_fault"), 0);
	assert_non_null(strstr(h.texts, "page 0 of /tmp/f (8192 bytes): loaded"));
	assert_int_equal(hear(&h, BASE + P, MMU_WRITE, ALLOWED "__do_fault do_cow_fault"), 0);
	assert_int_equal(hear(&h, BASE + 2 * P, MMU_READ, ALLOWED "__do_fault do_sigbus"), SIGBUS);
	assert_non_null(strstr(h.texts, "page 2 of /tmp/f (8192 bytes): the file has no such page"));
	assert_int_equal(h.last.answer, FAULT_BAD_PAGE);
	end(mm);
	fput(file);
}

static void stacks_say_why_they_do_not_grow(void **state)
{
	struct heard h;
	struct mm_struct *mm = start(&h);
	unsigned long start_of_stack;
	(void)state;

	assert_int_equal(setup_arg_pages(mm, STACK_TOP, 100, false), 0);
	start_of_stack = vma_last(mm)->vm_start;
	assert_int_equal(hear(&h, start_of_stack - P, MMU_READ, BEGIN "find_vma expand_stack "
			      "access_error handle_pte_fault do_anonymous_page"), 0);
	assert_non_null(strstr(h.texts, "grown by 4 KiB"));
	assert_true(h.last.stack_grown);
	assert_int_equal(hear(&h, STACK_TOP - (9UL << 20), MMU_READ,
			      BEGIN "find_vma expand_stack bad_area"), SIGSEGV);
	assert_non_null(strstr(h.texts, "RLIMIT_STACK is 8192 KiB"));
	map_at(mm, start_of_stack - (2UL << 20), 1, RW);
	assert_int_equal(hear(&h, start_of_stack - (2UL << 20) + 2 * P, MMU_READ,
			      BEGIN "find_vma expand_stack bad_area"), SIGSEGV);
	assert_non_null(strstr(h.texts, "guard gap 1024 KiB"));
	end(mm);
}

static void without_a_watch_nobody_is_called(void **state)
{
	struct heard h;
	struct mm_struct *mm = start(&h);
	unsigned char byte = 1;
	(void)state;

	map_at(mm, BASE, 1, RW);
	fault_on_decided(this_machine(), NULL);
	assert_int_equal(mmu_access_user(BASE, &byte, 1, MMU_WRITE), 0);
	assert_int_equal(h.nr_decided, 0);
	assert_string_equal(h.names, "");
	end(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(private_memory_is_told_step_by_step),
		KARC_TESTS(a_fork_makes_copy_and_reuse_heard),
		karc_unit_test(refusals_end_where_they_were_decided),
		karc_unit_test(files_say_which_page_and_what_became_of_it),
		karc_unit_test(stacks_say_why_they_do_not_grow),
		karc_unit_test(without_a_watch_nobody_is_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
