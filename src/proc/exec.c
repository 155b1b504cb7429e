/* SPDX-License-Identifier: MIT */
/*
 * exec.c - map a described program and move current into it
 *
 * What it is
 *	The new mm is built beside the old one: stack, program segments, interpreter, vdso, in
 *	Linux's order, because placement depends on it. Then the task changes over in one step
 *	(exec_mmap) and the old mm loses a user.
 *
 * Placement
 *	program, not position independent   where its headers say
 *	program with an interpreter         two thirds up, down to its largest alignment
 *	program without one (a loader)      where mmap() would put it; its break then two thirds up
 *	interpreter                         where mmap() would put it
 *	break                               the page after the end of the last segment
 *
 * Life
 *	build (every failure drops the new mm) - end the other threads - own handlers - commit:
 *	exec_mmap, close-on-exec, name - write what a loader writes: the zeroed end of each data
 *	segment, the initial stack.
 *
 * Unlike Linux
 *	Contents are not run, so entry point and auxiliary vector are sizes only. A failure while
 *	mapping leaves the old program running, since the new space is whole before the old one
 *	goes; both exist for a moment. No randomisation, whatever ADDR_NO_RANDOMIZE says; no set-uid.
 */
#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/hw/trace.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/uaccess.h>
#include <karc/proc/exec.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/signal.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include "internal.h"

#define SEG_X	1u
#define SEG_W	2u
#define SEG_R	4u

/* Where position-independent programs go without randomisation: two thirds up. */
#define ELF_ET_DYN_BASE		(DEFAULT_MAP_WINDOW / 3 * 2)

#define page_start(x)	((x) & PAGE_MASK)
#define page_offset(x)	((x) & ~PAGE_MASK)

static unsigned long seg_prot(const struct exec_segment *seg)
{
	return (seg->flags & SEG_R ? PROT_READ : 0) | (seg->flags & SEG_W ? PROT_WRITE : 0) |
	       (seg->flags & SEG_X ? PROT_EXEC : 0);
}

/* Bytes from the first segment's page to the end of the last one. */
static u64 total_mapping_size(const struct exec_elf *elf)
{
	const struct exec_segment *last = &elf->segments[elf->nr_segments - 1];

	return last->vaddr + last->mem_bytes - page_start(elf->segments[0].vaddr);
}

static u64 max_alignment(const struct exec_elf *elf)
{
	u64 align = PAGE_SIZE;
	unsigned int i;

	for (i = 0; i < elf->nr_segments; i++)
		if (elf->segments[i].align > align && is_power_of_2(elf->segments[i].align))
			align = elf->segments[i].align;
	return align;
}

/* A described file must make sense before arithmetic on it can: no sum below leaves TASK_SIZE. */
static int elf_check(const struct exec_elf *elf)
{
	u64 end = 0;
	unsigned int i;

	if (!elf->nr_segments)
		return -EINVAL;
	for (i = 0; i < elf->nr_segments; i++) {
		const struct exec_segment *seg = &elf->segments[i];

		if (seg->file_bytes > seg->mem_bytes || seg->vaddr < end ||
		    seg->vaddr >= TASK_SIZE || seg->mem_bytes > TASK_SIZE - seg->vaddr)
			return -EINVAL;
		if (seg->file_bytes && page_offset(seg->vaddr) != page_offset(seg->offset))
			return -EINVAL;
		end = seg->vaddr + seg->mem_bytes;
	}
	return 0;
}

/* Map the file's part of a segment; with @total the whole extent is claimed first, then cut. */
static long elf_map(struct mm_struct *mm, const struct exec_elf *elf,
		    const struct exec_segment *seg, unsigned long addr, unsigned long flags,
		    unsigned long total)
{
	unsigned long size = PAGE_ALIGN(seg->file_bytes + page_offset(seg->vaddr));
	unsigned long offset = seg->offset - page_offset(seg->vaddr);
	long mapped;
	int err;

	total = max(PAGE_ALIGN(total), size);
	mapped = (long)mm_mmap(mm, elf->file, page_start(addr), total, seg_prot(seg), flags, offset);
	if (IS_ERR_VALUE(mapped) || total == size)
		return mapped;
	err = mm_munmap(mm, (unsigned long)mapped + size, total - size);
	return err ? err : mapped;
}

/* One segment with its zero-filled end. */
static long elf_load_segment(struct mm_struct *mm, const struct exec_elf *elf,
			     const struct exec_segment *seg, unsigned long addr,
			     unsigned long flags, unsigned long total)
{
	unsigned long zero_start, zero_end;
	long mapped = (long)page_start(addr);
	int err;

	if (seg->file_bytes) {
		mapped = elf_map(mm, elf, seg, addr, flags, total);
		if (IS_ERR_VALUE(mapped))
			return mapped;
	}
	if (seg->mem_bytes == seg->file_bytes)
		return mapped;
	zero_start = (unsigned long)mapped + (seg->file_bytes ?
		     PAGE_ALIGN(page_offset(seg->vaddr) + seg->file_bytes) : 0);
	zero_end = (unsigned long)mapped + PAGE_ALIGN(page_offset(seg->vaddr) + seg->mem_bytes);
	if (zero_end <= zero_start)
		return mapped;
	err = vm_brk_flags(mm, zero_start, zero_end - zero_start,
			   seg->flags & SEG_X ? VM_EXEC : 0);
	return err ? err : mapped;
}

/*
 * Map every segment of @elf, its first page at @first if @flags say fixed; *@bias gets what must
 * be added to vaddrs. With @whole the extent of all is claimed by the first.
 */
static int elf_load(struct mm_struct *mm, const struct exec_elf *elf, unsigned long first,
		    unsigned long flags, bool whole, u64 *bias)
{
	unsigned int i;

	*bias = first - page_start(elf->segments[0].vaddr);
	for (i = 0; i < elf->nr_segments; i++) {
		const struct exec_segment *seg = &elf->segments[i];
		long mapped = elf_load_segment(mm, elf, seg, *bias + seg->vaddr,
					       MAP_PRIVATE | (i ? MAP_FIXED : flags),
					       !i && whole ? total_mapping_size(elf) : 0);

		if (IS_ERR_VALUE(mapped))
			return (int)mapped;
		if (!i)
			*bias = (u64)mapped - page_start(seg->vaddr);
	}
	return 0;
}

/* Where mmap() puts a loader, rounded down to its alignment; nothing is left mapped. */
static long loader_base(struct mm_struct *mm, const struct exec_elf *elf, u64 align)
{
	u64 bytes = PAGE_ALIGN(total_mapping_size(elf));
	long found = (long)mm_mmap(mm, elf->file, 0, bytes, PROT_READ, MAP_PRIVATE, 0);
	int err;

	if (IS_ERR_VALUE(found))
		return found;
	err = mm_munmap(mm, (unsigned long)found, bytes);
	return err ? err : (long)((u64)found & ~(align - 1));
}

static int load_program(struct mm_struct *mm, const struct exec_image *image, u64 *bias)
{
	const struct exec_elf *elf = image->program;
	u64 align = max_alignment(elf);
	long base;

	if (!elf->dyn)
		return elf_load(mm, elf, page_start(elf->segments[0].vaddr), MAP_FIXED_NOREPLACE,
				false, bias);
	if (image->interp)
		return elf_load(mm, elf, page_start(ELF_ET_DYN_BASE & ~(align - 1)),
				MAP_FIXED_NOREPLACE, true, bias);
	if (align == PAGE_SIZE || !mm->profile->loader_aligned)
		return elf_load(mm, elf, 0, 0, true, bias);
	base = loader_base(mm, elf, align);
	if (IS_ERR_VALUE(base))
		return (int)base;
	return elf_load(mm, elf, (unsigned long)base, MAP_FIXED_NOREPLACE, true, bias);
}

/* With a program at fixed addresses the interpreter's own addresses are a wish, as in Linux. */
static int load_interp(struct mm_struct *mm, const struct exec_image *image, u64 program_bias,
		       u64 *bias)
{
	const struct exec_elf *elf = image->interp;
	unsigned long first = page_start(elf->segments[0].vaddr);

	if (!elf->dyn)
		return elf_load(mm, elf, first, MAP_FIXED, true, bias);
	return elf_load(mm, elf, program_bias ? 0 : first, 0, true, bias);
}

static void set_code_and_break(struct mm_struct *mm, const struct exec_image *image, u64 bias)
{
	const struct exec_elf *elf = image->program;
	unsigned int i;

	mm->start_code = ~0UL;
	for (i = 0; i < elf->nr_segments; i++) {
		const struct exec_segment *seg = &elf->segments[i];
		unsigned long start = bias + seg->vaddr;

		if ((seg->flags & SEG_X) && start < mm->start_code)
			mm->start_code = start;
		if ((seg->flags & SEG_X) && start + seg->file_bytes > mm->end_code)
			mm->end_code = start + seg->file_bytes;
		mm->start_data = max(mm->start_data, start);
		mm->end_data = max(mm->end_data, start + (unsigned long)seg->file_bytes);
		mm->brk = max(mm->brk, start + (unsigned long)seg->mem_bytes);
	}
	/* A loader's own break would soon run into what it maps above itself. */
	if (elf->dyn && !image->interp && mm->profile->loader_break_apart)
		mm->brk = ELF_ET_DYN_BASE;
	mm->start_brk = mm->brk = PAGE_ALIGN(mm->brk);
}

/* What execve works out before it maps anything. */
struct exec_plan {
	u64 args_bytes, tables_bytes;	/* of the program that is mapped, not of its script */
	u64 bias, interp_bias;
	struct mm_rlimits rlim;
	bool legacy_layout;
	bool map_page_zero;
};

/* Build the address space of @image in @mm, which is empty. */
static int load_image(struct mm_struct *mm, const struct exec_image *image,
		      struct exec_plan *plan)
{
	int gnu_stack = image->program->gnu_stack;
	long addr;
	int err;

	if (plan->tables_bytes > mm->rlim.stack)
		return -E2BIG;
	err = setup_arg_pages(mm, STACK_TOP, plan->args_bytes,
			      gnu_stack != EXEC_STACK_DEFAULT && (gnu_stack & SEG_X));
	if (err)
		return err;
	err = load_program(mm, image, &plan->bias);
	if (err)
		return err;
	set_code_and_break(mm, image, plan->bias);
	if (image->interp) {
		err = load_interp(mm, image, plan->bias, &plan->interp_bias);
		if (err)
			return err;
	}
	addr = map_vdso(mm, image->vvar_bytes, image->vdso_bytes);
	if (IS_ERR_VALUE(addr))
		return (int)addr;
	if (plan->map_page_zero)	/* without the privilege there is none, and nobody is told */
		mm_mmap(mm, NULL, 0, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_FIXED | MAP_PRIVATE, 0);
	return 0;
}

/* The new mm of @image, not yet anybody's. */
static struct mm_struct *image_mm(const struct exec_image *image, struct exec_plan *plan)
{
	struct mm_struct *old = current->mm;
	struct mm_struct *mm = mm_alloc();
	int err;

	if (!mm)
		return ERR_PTR(-ENOMEM);
	if (old && mm_flag_test(old, MMF_CAPABLE))
		mm_flag_assign(mm, MMF_CAPABLE, true);
	mm_set_layout(mm, image->profile, &plan->rlim, plan->legacy_layout);
	mm->exe_file = get_file(image->program->file);
	arc_hand_to_field(&mm->exe_file->arc, &mm->arc, "exe_file");
	err = load_image(mm, image, plan);
	if (!err)
		return mm;
	mmput(mm);
	return ERR_PTR(err);
}

/* A table that others use too stays theirs. Gives a reference; NULL: there is none. */
static struct files_struct *unshared_files(struct files_struct *files)
{
	struct files_struct *copy;

	if (!files)
		return NULL;
	copy = files_shared(files) ? dup_fd(files) : files_get(files);
	return copy ? copy : ERR_PTR(-ENOMEM);
}

static void exec_files(struct task_struct *task, KARC_TAKES struct files_struct *files)
{
	struct files_struct *old = task->files;

	task_lock(task);
	task->files = files;
	task_unlock(task);
	if (files)
		arc_hand_to_field(files_arc(files), &task->arc, "files");
	if (old)
		arc_hand_from_field(files_arc(old), &task->arc, "files");
	put_files_struct(old);
	if (files)
		do_close_on_exec(files);
}

/* What the loader zeroes: from the end of the file's part to the end of its page. */
static bool padzero(const struct exec_elf *elf, u64 bias)
{
	unsigned int i;

	for (i = 0; i < elf->nr_segments; i++) {
		const struct exec_segment *seg = &elf->segments[i];
		unsigned long end = bias + seg->vaddr + seg->file_bytes;

		if (!seg->file_bytes || seg->mem_bytes == seg->file_bytes ||
		    !page_offset(end) || !(seg->flags & SEG_W))
			continue;
		if (clear_user((void *)end, PAGE_SIZE - page_offset(end)))
			return false;
	}
	return true;
}

/* The strings and, below them, the tables that a program finds on its stack. */
static bool write_stack(const struct exec_plan *plan)
{
	unsigned long bytes = plan->args_bytes + plan->tables_bytes;

	return !clear_user((void *)(STACK_TOP - bytes), bytes);
}

/* Past the point of no return: what cannot be written now kills the task. */
static void write_image(const struct exec_image *image, const struct exec_plan *plan)
{
	if (!padzero(image->program, plan->bias) ||
	    (image->interp && !padzero(image->interp, plan->interp_bias)) || !write_stack(plan))
		do_group_exit(SIGSEGV);
}

static unsigned long limit_of(struct task_struct *task, unsigned int which)
{
	return task->signal ? READ_ONCE(task->signal->rlim[which].cur) : KARC_RLIM_INFINITY;
}

static int exec_check(const struct exec_image *image, struct exec_plan *plan)
{
	struct task_struct *task = current;
	int err = exec_scripts(image, &plan->args_bytes, &plan->tables_bytes);

	if (!err)
		err = elf_check(image->program);
	if (!err && image->interp)
		err = elf_check(image->interp);
	if (err)
		return err;
	plan->rlim = image->rlim ? *image->rlim : (struct mm_rlimits){
		.as = limit_of(task, RLIMIT_AS), .data = limit_of(task, RLIMIT_DATA),
		.stack = limit_of(task, RLIMIT_STACK),
		.memlock = limit_of(task, RLIMIT_MEMLOCK),
	};
	plan->legacy_layout = image->legacy_layout || (task->personality & ADDR_COMPAT_LAYOUT);
	plan->map_page_zero = task->personality & MMAP_PAGE_ZERO;
	return 0;
}

static void own_limit(struct task_struct *task, unsigned int which, unsigned long cur)
{
	struct task_rlimit *slot = &task->signal->rlim[which];

	WRITE_ONCE(slot->max, max(slot->max, cur));
	WRITE_ONCE(slot->cur, cur);
}

/* The image came with limits: they are the process's from here on. */
static void own_limits(struct task_struct *task, const struct mm_rlimits *rlim)
{
	if (!rlim)
		return;
	spin_lock(&task->sighand->siglock);
	own_limit(task, RLIMIT_AS, rlim->as);
	own_limit(task, RLIMIT_DATA, rlim->data);
	own_limit(task, RLIMIT_STACK, rlim->stack);
	own_limit(task, RLIMIT_MEMLOCK, rlim->memlock);
	spin_unlock(&task->sighand->siglock);
}

/* Handlers that another process uses too stay its own; ours begin at their defaults. */
static int exec_sighand(struct task_struct *task)
{
	struct proc_state *p = proc_state();
	struct sighand_struct *old = task->sighand, *own = NULL;
	bool shared;

	spin_lock(&p->tasklist_lock);
	shared = old->users > 1;
	spin_unlock(&p->tasklist_lock);
	if (shared) {
		own = sighand_alloc();
		if (!own)
			return -ENOMEM;
		sighand_inherit(own, old, true);
		own->users = 1;
		spin_lock(&p->tasklist_lock);
		old->users--;
		task->sighand = own;
		spin_unlock(&p->tasklist_lock);
		arc_hand_to_field(&own->arc, &task->arc, "sighand");
		arc_hand_from_field(&old->arc, &task->arc, "sighand");
		put_sighand_struct(old);
		return 0;
	}
	spin_lock(&old->siglock);
	sighand_flush(old);
	spin_unlock(&old->siglock);
	return 0;
}

/* Alone from here on, with handlers of its own. *@ended: threads have ended for it. */
static int exec_alone(struct task_struct *task, bool *ended)
{
	bool others = !thread_group_empty(task) || !thread_group_leader(task);
	int err = de_thread(task);

	if (err)
		return err;
	*ended = others;
	return exec_sighand(task);
}

static void exec_settings(struct task_struct *task, const struct exec_image *image)
{
	struct proc_state *p = proc_state();

	own_limits(task, image->rlim);
	spin_lock(&p->tasklist_lock);
	WRITE_ONCE(task->exit_signal, SIGCHLD);
	spin_unlock(&p->tasklist_lock);
	WRITE_ONCE(task->self_exec_id, task->self_exec_id + 1);
	WRITE_ONCE(task->flags, task->flags & ~PF_FORKNOEXEC);
	task->personality &= ~(unsigned int)READ_IMPLIES_EXEC;
	WRITE_ONCE(task->signal->dumpable, 1);
	task->thread.fsbase = task->thread.gsbase = task->thread.stack = 0;
	if (image->comm)
		set_task_comm(task, image->comm);
}

int kernel_execve_image(const struct exec_image *image)
{
	struct task_struct *task = current;
	struct exec_plan plan = { 0 };
	struct files_struct *files;
	struct mm_struct *mm;
	bool ended = false;
	int err;

	might_sleep();
	err = exec_check(image, &plan);
	if (err)
		return err;
	files = unshared_files(task->files);
	if (IS_ERR(files))
		return (int)PTR_ERR(files);
	mm = image_mm(image, &plan);
	if (IS_ERR(mm)) {
		err = (int)PTR_ERR(mm);
		goto put_files;
	}
	err = exec_alone(task, &ended);
	if (err)
		goto put_mm;
	exec_mmap(task, mm);
	exec_files(task, files);
	exec_settings(task, image);
	write_image(image, &plan);
	return 0;
put_mm:
	mmput(mm);
put_files:
	put_files_struct(files);
	if (ended)
		do_group_exit(SIGSEGV);
	return err;
}
