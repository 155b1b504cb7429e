/* SPDX-License-Identifier: MIT */
/*
 * test_exec.c - a described program is mapped where Linux's loader maps it
 *
 * Method: programs of the shapes that linkers make, with their headers as measured, and the maps
 * that Linux 6.18 showed for them with address randomisation off. Then contents, limits, and the
 * fail-nth loop over a whole execve.
 */
#include "guests.h"
#include <karc/hw/inject.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/maps.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exec.h>
#include <karc/proc/files.h>
#include <karc/refcount/ledger.h>
#include <karc/proc/signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>

#define ALIGN_2M	0x200000

/* "int main" linked by gcc as a PIE, its ld.so, and the same program linked in other ways. */
static const struct exec_segment pie[] = {
	{ 0, 0, 0x730, 0x730, 0x1000, 4 },
	{ 0x1000, 0x1000, 0x20d, 0x20d, 0x1000, 5 },
	{ 0x2000, 0x2000, 0xfc, 0xfc, 0x1000, 4 },
	{ 0x2dd0, 0x3dd0, 0x268, 0x278, 0x1000, 6 },
};

static const struct exec_segment pie_2m[] = {
	{ 0, 0, 0x730, 0x730, ALIGN_2M, 4 },
	{ 0x200000, 0x200000, 0x20d, 0x20d, ALIGN_2M, 5 },
	{ 0x400000, 0x400000, 0xfc, 0xfc, ALIGN_2M, 4 },
	{ 0x5ffdd0, 0x7ffdd0, 0x268, 0x278, ALIGN_2M, 6 },
};

static const struct exec_segment ld_so[] = {
	{ 0, 0, 0xd58, 0xd58, 0x1000, 4 },
	{ 0x1000, 0x1000, 0x25111, 0x25111, 0x1000, 5 },
	{ 0x27000, 0x27000, 0x9c7c, 0x9c7c, 0x1000, 4 },
	{ 0x31900, 0x31900, 0x2810, 0x29d8, 0x1000, 6 },
};

static const struct exec_segment static_pie[] = {
	{ 0, 0, 0x8020, 0x8020, 0x1000, 4 },
	{ 0x9000, 0x9000, 0x78e31, 0x78e31, 0x1000, 5 },
	{ 0x82000, 0x82000, 0x2929b, 0x2929b, 0x1000, 4 },
	{ 0xab518, 0xac518, 0x5d58, 0xb528, 0x1000, 6 },
};

static const struct exec_segment static_pie_2m[] = {
	{ 0, 0, 0x8020, 0x8020, ALIGN_2M, 4 },
	{ 0x200000, 0x200000, 0x78e31, 0x78e31, ALIGN_2M, 5 },
	{ 0x400000, 0x400000, 0x2929b, 0x2929b, ALIGN_2M, 4 },
	{ 0x5fc518, 0x7fc518, 0x5d58, 0xb528, ALIGN_2M, 6 },
};

static const struct exec_segment fixed[] = {
	{ 0, 0x400000, 0x518, 0x518, 0x1000, 4 },
	{ 0x1000, 0x401000, 0x77df1, 0x77df1, 0x1000, 5 },
	{ 0x79000, 0x479000, 0x2701b, 0x2701b, 0x1000, 4 },
	{ 0xa06d8, 0x4a16d8, 0x5b98, 0xb3c8, 0x1000, 6 },
};

struct world {
	struct task_struct *init, *task;
	struct file *program, *interp;
	struct exec_elf elf, ld;
	struct exec_image image;
};

static void use_program(struct world *w, const struct exec_segment *segments, bool dyn,
			bool with_interp)
{
	w->elf = (struct exec_elf){ .file = w->program, .dyn = dyn, .gnu_stack = 6,
				    .nr_segments = 4, .segments = segments };
	w->image.interp = with_interp ? &w->ld : NULL;
}

static int fill_letters(void *priv, pgoff_t index, void *kaddr)
{
	(void)priv;
	(void)index;
	memset(kaddr, 'd', PAGE_SIZE);
	return 0;
}

static const struct memfile_ops letters = { .fill = fill_letters };

static void world_make(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->init = start_init();
	w->task = fork_flags(w->init, 0);
	w->program = memfile_create("/bin/demo", 0x700000, 0755, &letters, NULL);
	w->interp = memfile_create("/lib/ld.so", 0x35000, 0755, &letters, NULL);
	assert_false(IS_ERR(w->program));
	assert_false(IS_ERR(w->interp));
	w->ld = (struct exec_elf){ .file = w->interp, .dyn = true, .gnu_stack = 6,
				   .nr_segments = 4, .segments = ld_so };
	w->image = (struct exec_image){ .program = &w->elf, .args_bytes = 900,
					.tables_bytes = 700, .vdso_bytes = 0x2000,
					.vvar_bytes = 0x6000, .comm = "demo" };
	use_program(w, pie, true, true);
}

static void world_end(struct world *w)
{
	exit_task(w->task, 0);
	put_task_struct(w->task);
	fput(w->program);
	fput(w->interp);
	end_init(w->init);
}

static long entry_exec(void *arg)
{
	struct world *w = arg;

	return kernel_execve_image(&w->image);
}

/* Executes what @w describes and compares ranges and permissions, one "start-end perm" each. */
static void assert_layout(struct world *w, const char *const *lines, unsigned long brk)
{
	char text[4096], *at = text, *end;

	assert_int_equal(as_task(w->task, entry_exec, w), 0);
	maps_text(w->task->mm, text, sizeof(text));
	for (; *lines; lines++) {
		end = strchr(at, '\n');
		if (!end || strncmp(at, *lines, strlen(*lines)))
			fail_msg("%s expected in:\n%s", *lines, text);
		at = end + 1;
	}
	assert_string_equal(at, "");
	assert_int_equal(w->task->mm->start_brk, brk);
	assert_int_equal(w->task->mm->brk, brk);
}

#define LD_SO									\
	"7ffff7fc2000-7ffff7fc6000 r--p", "7ffff7fc6000-7ffff7fc8000 r--p",	\
	"7ffff7fc8000-7ffff7fca000 r-xp", "7ffff7fca000-7ffff7fcb000 r--p 00000000", \
	"7ffff7fcb000-7ffff7ff1000 r-xp 00001000", "7ffff7ff1000-7ffff7ffb000 r--p 00027000", \
	"7ffff7ffb000-7ffff7fff000 rw-p 00031000"
#define STACK	"7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 "

/* ld.so's last segment is one mapping here and two there: ld.so itself splits it (RELRO). */
static void pie_with_interpreter(void **state)
{
	static const char *const maps[] = {
		"555555554000-555555555000 r--p 00000000", "555555555000-555555556000 r-xp 00001000",
		"555555556000-555555557000 r--p 00002000", "555555557000-555555559000 rw-p 00002000",
		LD_SO, STACK, NULL
	};
	struct world w;
	char text[4096];

	(void)state;
	world_make(&w);
	assert_layout(&w, maps, 0x555555559000);
	maps_text(w.task->mm, text, sizeof(text));
	assert_non_null(strstr(text, STACK "                         [stack]\n"));
	assert_non_null(strstr(text, " 00:00 0                          [vdso]\n"));
	assert_non_null(strstr(text, "[vvar]"));
	assert_string_equal(w.task->comm, "demo");
	world_end(&w);
}

static void pie_goes_on_its_largest_alignment(void **state)
{
	static const char *const maps[] = {
		"555555400000-555555401000 r--p 00000000", "555555600000-555555601000 r-xp 00200000",
		"555555800000-555555801000 r--p 00400000", "555555bff000-555555c01000 rw-p 005ff000",
		LD_SO, STACK, NULL
	};
	struct world w;

	(void)state;
	world_make(&w);
	use_program(&w, pie_2m, true, true);
	assert_layout(&w, maps, 0x555555c01000);
	world_end(&w);
}

static void program_at_fixed_addresses(void **state)
{
	static const char *const maps[] = {
		"00400000-00401000 r--p 00000000", "00401000-00479000 r-xp 00001000",
		"00479000-004a1000 r--p 00079000", "004a1000-004a8000 rw-p 000a0000",
		"004a8000-004ad000 rw-p 00000000", "7ffff7ff7000-7ffff7ffb000 r--p",
		"7ffff7ffb000-7ffff7ffd000 r--p", "7ffff7ffd000-7ffff7fff000 r-xp", STACK, NULL
	};
	struct world w;

	(void)state;
	world_make(&w);
	use_program(&w, fixed, false, false);
	assert_layout(&w, maps, 0x4ad000);
	world_end(&w);
}

#define STATIC_PIE								\
	"7ffff7f3f000-7ffff7f43000 r--p", "7ffff7f43000-7ffff7f45000 r--p",	\
	"7ffff7f45000-7ffff7f47000 r-xp", "7ffff7f47000-7ffff7f50000 r--p 00000000", \
	"7ffff7f50000-7ffff7fc9000 r-xp 00009000", "7ffff7fc9000-7ffff7ff3000 r--p 00082000", \
	"7ffff7ff3000-7ffff7ffa000 rw-p 000ab000", "7ffff7ffa000-7ffff7fff000 rw-p 00000000"

static void loader_is_placed_like_a_mapping(void **state)
{
	static const char *const maps[] = { STATIC_PIE, STACK, NULL };
	struct world w;

	(void)state;
	world_make(&w);
	use_program(&w, static_pie, true, false);
	assert_layout(&w, maps, 0x555555555000);
	world_end(&w);
}

/* Linux 6.14 and older: known, not measured. */
static void loaders_break_used_to_follow_it(void **state)
{
	static const char *const maps[] = { STATIC_PIE, STACK, NULL };
	struct world w;

	(void)state;
	world_make(&w);
	use_program(&w, static_pie, true, false);
	w.image.profile = mm_profile_for(6, 14);
	assert_layout(&w, maps, 0x7ffff7fff000);
	world_end(&w);
}

static void loader_goes_on_its_largest_alignment(void **state)
{
	static const char *const maps[] = {
		"7ffff7600000-7ffff7609000 r--p 00000000", "7ffff7800000-7ffff7879000 r-xp 00200000",
		"7ffff7a00000-7ffff7a2a000 r--p 00400000", "7ffff7dfc000-7ffff7e03000 rw-p 005fc000",
		"7ffff7e03000-7ffff7e08000 rw-p 00000000", "7ffff7ff7000-7ffff7ffb000 r--p",
		"7ffff7ffb000-7ffff7ffd000 r--p", "7ffff7ffd000-7ffff7fff000 r-xp", STACK, NULL
	};
	struct world w;

	(void)state;
	world_make(&w);
	use_program(&w, static_pie_2m, true, false);
	assert_layout(&w, maps, 0x555555555000);
	world_end(&w);
}

static void stack_is_executable_if_its_header_says_so(void **state)
{
	struct world w;
	char text[4096];

	(void)state;
	world_make(&w);
	w.elf.gnu_stack = 7;
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	maps_text(w.task->mm, text, sizeof(text));
	assert_non_null(strstr(text, "7ffffffde000-7ffffffff000 rwxp"));
	w.elf.gnu_stack = EXEC_STACK_DEFAULT;
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	maps_text(w.task->mm, text, sizeof(text));
	assert_non_null(strstr(text, "7ffffffde000-7ffffffff000 rw-p"));
	world_end(&w);
}

static void old_space_goes_and_files_marked_close(void **state)
{
	struct world w;
	unsigned long addr;
	u64 old_id;

	(void)state;
	world_make(&w);
	addr = map_anon(w.task, 64 * PAGE_SIZE);
	write_byte(w.task, addr, 1);
	old_id = w.task->mm->id;
	assert_int_equal(fd_alloc_install(w.task->files, 0, get_file(w.program), true), 0);
	assert_int_equal(fd_alloc_install(w.task->files, 0, get_file(w.program), false), 1);
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_int_not_equal(w.task->mm->id, old_id);
	assert_int_equal(ledger_live_kind(fixture_machine(), "mm_struct"), 2);
	assert_int_equal(files_count(w.task->files), 1);
	world_end(&w);
}

static void bss_and_data_read_as_they_should(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_int_equal(read_byte(w.task, 0x555555557dd0), 'd');	/* .data, from the file */
	assert_int_equal(read_byte(w.task, 0x555555558037), 'd');	/* its last byte */
	assert_int_equal(read_byte(w.task, 0x555555558038), 0);		/* .bss, zeroed */
	assert_int_equal(read_byte(w.task, 0x555555558fff), 0);
	assert_int_equal(write_byte(w.task, 0x555555558040, 7), 0);
	assert_int_equal(read_byte(w.task, 0x555555558040), 7);
	assert_int_equal(read_byte(w.task, 0x7ffff7ffe10f), 'd');	/* ld.so's own, likewise */
	assert_int_equal(read_byte(w.task, 0x7ffff7ffe110), 0);
	assert_int_equal(read_byte(w.task, STACK_TOP - 1), 0);
	assert_int_equal(write_byte(w.task, 0x555555555000, 1), -EFAULT);	/* code */
	assert_int_equal(w.task->fault.signo, SIGSEGV);
	assert_int_equal(w.task->fault.code, SEGV_ACCERR);
	world_end(&w);
}

static void shared_files_are_unshared(void **state)
{
	struct task_struct *vfork_child;
	struct world w;

	(void)state;
	world_make(&w);
	assert_int_equal(fd_alloc_install(w.init->files, 0, get_file(w.program), true), 0);
	vfork_child = fork_flags(w.init, CLONE_VM | CLONE_VFORK | CLONE_FILES);
	exit_task(w.task, 0);
	put_task_struct(w.task);
	w.task = vfork_child;
	assert_ptr_equal(w.task->files, w.init->files);
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_ptr_not_equal(w.task->files, w.init->files);
	assert_int_equal(files_count(w.task->files), 0);
	assert_int_equal(files_count(w.init->files), 1);
	assert_int_equal(mm_users(w.init->mm), 1);
	world_end(&w);
}

/* Made by the idle task: it has no mm and borrows what is loaded, until it gets its own. */
static void kernel_thread_becomes_a_process(void **state)
{
	struct kernel_clone_args args = { .exit_signal = SIGCHLD };
	struct mm_struct *mm;
	struct world w;

	(void)state;
	world_make(&w);
	exit_task(w.task, 0);
	put_task_struct(w.task);
	w.task = copy_process(&args);
	assert_false(IS_ERR(w.task));
	assert_null(w.task->mm);
	mm = w.init->mm;
	write_byte(w.init, map_anon(w.init, PAGE_SIZE), 1);	/* the CPU has it loaded lazily */
	assert_int_equal(mm_count(mm), 2);
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_int_equal(mm_count(mm), 1);
	assert_non_null(w.task->mm);
	assert_int_equal(read_byte(w.task, 0x555555557dd0), 'd');
	world_end(&w);
}

static void a_script_runs_its_interpreter(void **state)
{
	static const struct exec_script script = { "./script", "#!/bin/demo -x\n", 15 };
	unsigned long plain;
	struct world w;

	(void)state;
	world_make(&w);
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	plain = w.task->mm->start_stack;
	w.image.scripts = &script;
	w.image.nr_scripts = 1;
	w.image.argv0_bytes = 7;
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	/* "script" goes; "/bin/demo", "-x", "./script" come */
	assert_int_equal(plain - w.task->mm->start_stack, 10 + 3 + 9 - 7);
	w.image.program = NULL;
	assert_int_equal(as_task(w.task, entry_exec, &w), -ENOEXEC);
	w.image.program = &w.elf;
	w.image.nr_scripts = 0;
	world_end(&w);
}

GUEST_CALL(persona_, sys_personality((unsigned int)a[0]))

static void personality_chooses_the_layout(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	as_guest(w.task, persona_, ADDR_COMPAT_LAYOUT | READ_IMPLIES_EXEC | MMAP_PAGE_ZERO);
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_false(mm_flag_test(w.task->mm, MMF_TOPDOWN));
	assert_int_equal(w.task->personality, ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO);
	assert_int_equal(map_anon(w.task, PAGE_SIZE) > w.task->mm->mmap_legacy_base, 1);
	mm_flag_assign(w.task->mm, MMF_CAPABLE, true);		/* may map page 0 */
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_int_equal(read_byte(w.task, 0), 0);
	world_end(&w);
}

GUEST_CALL(action_, do_sigaction((int)a[0], &(struct signal_action){ a[1], 0 }, NULL))

static void handlers_and_limits_after_exec(void **state)
{
	struct mm_rlimits rlim = { .as = ~0UL, .data = ~0UL, .stack = 1 << 20, .memlock = 4096 };
	struct task_struct *sharer;
	struct world w;

	(void)state;
	world_make(&w);
	sharer = fork_flags(w.task, CLONE_VM | CLONE_SIGHAND | CLONE_FS);
	as_guest(w.task, action_, SIGUSR1, 0x1000);
	as_guest(w.task, action_, SIGTERM, 1);
	w.task->fault.addr = 1;
	assert_true(w.task->flags & PF_FORKNOEXEC);
	w.image.rlim = &rlim;
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_false(w.task->flags & PF_FORKNOEXEC);
	assert_ptr_not_equal(w.task->sighand, sharer->sighand);
	assert_int_equal(sharer->sighand->users, 1);
	assert_int_equal(sharer->sighand->action[SIGUSR1 - 1].handler, 0x1000);
	assert_int_equal(w.task->sighand->action[SIGUSR1 - 1].handler, 0);
	assert_int_equal(w.task->sighand->action[SIGTERM - 1].handler, 1);
	assert_int_equal(w.task->signal->rlim[RLIMIT_STACK].cur, 1 << 20);
	assert_int_equal(w.task->mm->rlim.memlock, 4096);
	w.image.rlim = NULL;
	assert_int_equal(as_task(w.task, entry_exec, &w), 0);
	assert_int_equal(w.task->mm->rlim.stack, 1 << 20);
	exit_task(sharer, 0);
	reap(w.task, sharer);
	world_end(&w);
}

static void nonsense_is_refused_and_changes_nothing(void **state)
{
	struct exec_segment bad = { .vaddr = 0x1000, .file_bytes = 2, .mem_bytes = 1 };
	struct world w;
	u64 id;

	(void)state;
	world_make(&w);
	id = w.task->mm->id;
	w.elf.nr_segments = 0;
	assert_int_equal(as_task(w.task, entry_exec, &w), -EINVAL);
	w.elf.nr_segments = 1;
	w.elf.segments = &bad;
	assert_int_equal(as_task(w.task, entry_exec, &w), -EINVAL);
	bad = (struct exec_segment){ .vaddr = TASK_SIZE, .mem_bytes = 1 };
	assert_int_equal(as_task(w.task, entry_exec, &w), -EINVAL);
	bad = (struct exec_segment){ .vaddr = PAGE_SIZE, .mem_bytes = ~0ULL };
	assert_int_equal(as_task(w.task, entry_exec, &w), -EINVAL);
	bad = (struct exec_segment){ .vaddr = 0x10, .mem_bytes = 1, .file_bytes = 1 };
	assert_int_equal(as_task(w.task, entry_exec, &w), -EINVAL);
	use_program(&w, pie, true, true);
	w.ld.nr_segments = 0;
	assert_int_equal(as_task(w.task, entry_exec, &w), -EINVAL);
	w.ld.nr_segments = 4;
	w.image.args_bytes = 64UL << 20;
	assert_int_equal(as_task(w.task, entry_exec, &w), -E2BIG);
	w.image.args_bytes = 900;
	w.image.tables_bytes = ~0ULL;
	assert_int_equal(as_task(w.task, entry_exec, &w), -E2BIG);
	w.image.tables_bytes = 700;
	w.image.vdso_bytes = 1;
	assert_int_equal(as_task(w.task, entry_exec, &w), -EINVAL);
	assert_int_equal(w.task->mm->id, id);
	world_end(&w);
}

static void nth_look(struct world *w, u64 values[4])
{
	machine_quiesce(fixture_machine());
	values[0] = ledger_live_kind(fixture_machine(), "mm_struct");
	values[1] = ledger_live_kind(fixture_machine(), "vm_area_struct");
	values[2] = file_count(w->program);
	values[3] = file_count(w->interp);
}

/*
 * One execve with its @nth allocation failing: refused and nothing changed, or, past the point of
 * no return, the death of the task. True when there was no such allocation.
 */
static bool exec_with_failure(struct world *w, unsigned long nth)
{
	struct task_struct *task = fork_flags(w->init, 0);
	u64 before[4], after[4];
	struct machine_result r;
	bool failed;

	nth_look(w, before);
	inject_arm(fixture_machine(), nth);
	r = task_call(task, entry_exec, w);
	failed = inject_disarm(fixture_machine());
	nth_look(w, after);
	if (r.end == MACHINE_VALUE && r.value)
		assert_memory_equal(before, after, sizeof(before));
	if (r.end == MACHINE_VALUE)
		exit_task(task, 0);
	else
		assert_int_equal(r.value, SIGSEGV);
	assert_true(failed || !r.value);
	reap(w->init, task);
	return !failed;
}

static void failed_exec_loses_nothing(void **state)
{
	unsigned long nth = 1;
	struct world w;

	(void)state;
	world_make(&w);
	while (!exec_with_failure(&w, nth))
		nth++;
	assert_in_range(nth, 20, 1000);
	use_program(&w, static_pie_2m, true, false);
	for (nth = 1; !exec_with_failure(&w, nth); nth++)
		;
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(pie_with_interpreter),
		KARC_TESTS(pie_goes_on_its_largest_alignment),
		KARC_TESTS(program_at_fixed_addresses),
		KARC_TESTS(loader_is_placed_like_a_mapping),
		KARC_TESTS(loaders_break_used_to_follow_it),
		KARC_TESTS(loader_goes_on_its_largest_alignment),
		KARC_TESTS(stack_is_executable_if_its_header_says_so),
		KARC_TESTS(old_space_goes_and_files_marked_close),
		KARC_TESTS(shared_files_are_unshared),
		KARC_TESTS(kernel_thread_becomes_a_process),
		KARC_TESTS(bss_and_data_read_as_they_should),
		KARC_TESTS(a_script_runs_its_interpreter),
		KARC_TESTS(personality_chooses_the_layout),
		KARC_TESTS(handlers_and_limits_after_exec),
		KARC_TESTS(nonsense_is_refused_and_changes_nothing),
		KARC_TESTS(failed_exec_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
