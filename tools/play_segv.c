/* SPDX-License-Identifier: MIT */
/*
 * play_segv.c - a wild pointer is used: how does the kernel know whether it may be?
 *
 * Each case is one access of a simulated program. The MMU is asked first; what it refuses goes to
 * do_user_addr_fault() with the error code that it raised, and the decision is shown.
 */
#include "scenario.h"
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/task.h>
#include <signal.h>
#include <sys/mman.h>

struct probe {
	const char *title;
	unsigned long addr;
	enum mmu_access access;
	int signo, code;		/* expected; 0 = allowed */
	enum fault_kind kind;		/* expected when allowed */
	bool faulted;
	struct fault_info info;
};

static const char *access_name(enum mmu_access access)
{
	return access == MMU_READ ? "read" : access == MMU_WRITE ? "write" : "execute";
}

static long probe_entry(void *arg)
{
	struct probe *p = arg;
	phys_addr_t pa;
	u32 error_code;

	if (!mmu_walk(this_cpu(), p->addr, p->access, true, &pa, &error_code))
		return 0;
	p->faulted = true;
	return do_user_addr_fault(current->mm, p->addr, error_code, &p->info);
}

static void say_looked(struct stage *s, const struct fault_info *f)
{
	stage_say(s, "error code 0x%x: %s, %s, from user mode", f->error_code,
		  f->error_code & PF_PROT ? "page present" : "page not present",
		  f->error_code & PF_WRITE ? "write" :
		  f->error_code & PF_INSTR ? "instruction fetch" : "read");
	if (f->answer == FAULT_KERNEL_ADDRESS || f->answer == FAULT_NON_CANONICAL)
		stage_say(s, "address range: not the user's");
	else if (!f->vma_found)
		stage_say(s, "find_vma: nothing at or above the address");
	else
		stage_say(s, "find_vma: [0x%lx, 0x%lx) %c%c%c, %s", f->vma_start, f->vma_end,
			  f->vma_flags & VM_READ ? 'r' : '-', f->vma_flags & VM_WRITE ? 'w' : '-',
			  f->vma_flags & VM_EXEC ? 'x' : '-',
			  f->covers ? "covers it" : "begins above it");
}

static void probe(struct stage *s, struct task_struct *task, struct probe *p)
{
	bool ok;

	stage_head(s, "%s: %s at 0x%lx", p->title, access_name(p->access), p->addr);
	task_call(task, probe_entry, p);
	if (!p->faulted) {
		stage_expect(s, false, "the MMU allowed it, no fault");
		return;
	}
	say_looked(s, &p->info);
	if (p->info.si_signo) {
		ok = p->info.si_signo == p->signo && p->info.si_code == p->code &&
		     p->info.sig_addr == p->addr;
		stage_expect(s, ok, "%s: SIG%s, si_code %s, si_addr 0x%lx",
			     fault_answer_name(p->info.answer),
			     p->info.si_signo == SIGSEGV ? "SEGV" : "BUS",
			     p->info.si_signo == SIGBUS ? "BUS_ADRERR" :
			     p->info.si_code == SEGV_MAPERR ? "SEGV_MAPERR" : "SEGV_ACCERR",
			     p->info.sig_addr);
		return;
	}
	ok = !p->signo && p->info.kind == p->kind;
	stage_expect(s, ok, "no signal, the access is allowed and repeated: %s; entry 0x%llx -> "
		     "0x%llx", fault_kind_name(p->info.kind),
		     (unsigned long long)p->info.pte_before,
		     (unsigned long long)p->info.pte_after);
}

static void probe_all(struct stage *s, struct task_struct *init, unsigned long heap,
		      unsigned long code)
{
	struct probe hole = { .title = "1. No VMA", .addr = heap - (1UL << 30),
			      .access = MMU_READ, .signo = SIGSEGV, .code = SEGV_MAPERR };
	struct probe null = { .title = "   The same: NULL", .addr = 0,
			      .access = MMU_WRITE, .signo = SIGSEGV, .code = SEGV_MAPERR };
	struct probe kernel = { .title = "   The same: a kernel address",
				.addr = 0xffff888000001000UL, .access = MMU_READ,
				.signo = SIGSEGV, .code = SEGV_MAPERR };
	struct probe access = { .title = "2. Wrong access: writing code", .addr = code,
				.access = MMU_WRITE, .signo = SIGSEGV, .code = SEGV_ACCERR };
	struct probe nx = { .title = "   The same: executing data", .addr = heap + 8 * PAGE_SIZE,
			    .access = MMU_EXEC, .signo = SIGSEGV, .code = SEGV_ACCERR };
	struct probe zero = { .title = "3. Not yet present: first read of the heap",
			      .addr = heap, .access = MMU_READ, .kind = FAULT_ANON_ZERO };
	struct probe anon = { .title = "   The same: first write of the heap",
			      .addr = heap + PAGE_SIZE, .access = MMU_WRITE, .kind = FAULT_ANON };
	struct probe load = { .title = "   The same: a page of a file", .addr = code,
			      .access = MMU_READ, .kind = FAULT_FILE_READ };
	char byte;

	probe(s, init, &hole);
	probe(s, init, &null);
	probe(s, init, &kernel);
	probe(s, init, &access);
	guest_read(init, nx.addr, &byte, 1);	/* present, so that the fetch shows the real reason */
	probe(s, init, &nx);
	probe(s, init, &zero);
	probe(s, init, &anon);
	probe(s, init, &load);
}

static void probe_cow(struct stage *s, struct task_struct *init, unsigned long heap)
{
	struct probe copy = { .title = "4. Copy-on-write: the child writes a page shared since fork",
			      .addr = heap + PAGE_SIZE, .access = MMU_WRITE,
			      .kind = FAULT_COW_COPY };
	struct probe reuse = { .title = "   The same: the parent writes, now alone",
			       .addr = heap + PAGE_SIZE, .access = MMU_WRITE,
			       .kind = FAULT_COW_REUSE };
	long pid = guest_fork(init);
	struct task_struct *child = pid > 0 ? find_get_task_by_vpid((pid_t)pid) : NULL;
	int status;

	stage_expect(s, child != NULL, "fork gives pid %ld", pid);
	if (!child)
		return;
	probe(s, child, &copy);
	probe(s, init, &reuse);
	guest_exit(child, 0);
	guest_wait(init, child->pid, &status);
	put_task_struct(child);
}

static void tell(struct stage *s, struct task_struct *init)
{
	struct file *file = memfile_create("/bin/demo", 2 * PAGE_SIZE, 0755, NULL, NULL);
	long heap, code, fd;

	stage_expect(s, !IS_ERR(file), "a process and its program");
	if (IS_ERR(file))
		return;
	fd = guest_install(init, file);
	heap = guest_mmap(init, 0, 16 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	code = guest_mmap(init, 0, 2 * PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, (int)fd);
	stage_say(s, "heap rw- at 0x%lx, code r-x at 0x%lx, nothing touched yet", heap, code);
	probe_all(s, init, (unsigned long)heap, (unsigned long)code);
	probe_cow(s, init, (unsigned long)heap);
}

void play_segv(struct stage *s)
{
	struct task_struct *init = task_create_init("init");

	stage_listen(s, false);		/* the story is the faults, not the teardown */
	if (IS_ERR(init)) {
		stage_expect(s, false, "a process");
		return;
	}
	tell(s, init);
	guest_exit(init, 0);
	put_task_struct(init);
}
