/* SPDX-License-Identifier: MIT */
/*
 * test_prctl.c - settings are kept, inherited as Linux does, and refused where it refuses
 */
#include "guests.h"
#include <karc/mm/space/maps.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/signal.h>
#include <asm/prctl.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#define PR_SET_VMA_ANON_NAME	0
#endif

GUEST_CALL(prctl_, sys_prctl((int)a[0], a[1], a[2], a[3], a[4]))
GUEST_CALL(arch_, sys_arch_prctl((int)a[0], a[1]))
GUEST_CALL(persona_, sys_personality((unsigned int)a[0]))
GUEST_CALL(map_, sys_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
GUEST_CALL(protect_, sys_mprotect(a[0], PAGE_SIZE, a[1]))
GUEST_CALL(exec_, user_exec(a[0]))
GUEST_CALL(put_text, user_write(a[0], (const void *)a[1], strlen((const char *)a[1]) + 1))

static void a_name_is_cut_and_told(void **state)
{
	struct task_struct *init = start_init(), *thread;
	unsigned long addr = map_anon(init, PAGE_SIZE);
	char back[TASK_COMM_LEN];
	struct guest g = { .a = { addr + 64, sizeof(back) }, .buf = back };

	(void)state;
	as_guest(init, put_text, addr, (unsigned long)"a name too long for it");
	assert_int_equal(as_guest(init, prctl_, PR_SET_NAME, addr), 0);
	assert_string_equal(init->comm, "a name too long");
	thread = new_thread(init);
	assert_string_equal(thread->comm, "a name too long");
	as_guest(init, put_text, addr, (unsigned long)"short");
	assert_int_equal(as_guest(thread, prctl_, PR_SET_NAME, addr), 0);
	assert_int_equal(as_guest(thread, prctl_, PR_GET_NAME, addr + 64), 0);
	assert_int_equal(as_task(init, entry_read, &g), 0);
	assert_string_equal(back, "short");
	assert_string_equal(init->comm, "a name too long");	/* each thread has its own */
	assert_int_equal(as_guest(init, prctl_, PR_SET_NAME, 8), -EFAULT);
	assert_int_equal(as_guest(init, prctl_, PR_GET_NAME, 8), -EFAULT);
	exit_thread(thread, 0);
	put_task_struct(thread);
	end_init(init);
}

static void flags_are_kept_and_inherited(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0), *child;
	unsigned long addr = map_anon(task, PAGE_SIZE);

	(void)state;
	assert_int_equal(as_guest(task, prctl_, PR_GET_DUMPABLE), 1);
	assert_int_equal(as_guest(task, prctl_, PR_SET_DUMPABLE, 2), -EINVAL);
	assert_int_equal(as_guest(task, prctl_, PR_SET_DUMPABLE, 0), 0);
	assert_int_equal(as_guest(task, prctl_, PR_SET_NO_NEW_PRIVS, 0), -EINVAL);
	assert_int_equal(as_guest(task, prctl_, PR_SET_NO_NEW_PRIVS, 1, 1), -EINVAL);
	assert_int_equal(as_guest(task, prctl_, PR_GET_NO_NEW_PRIVS), 0);
	assert_int_equal(as_guest(task, prctl_, PR_SET_NO_NEW_PRIVS, 1), 0);
	assert_int_equal(as_guest(task, prctl_, PR_SET_THP_DISABLE, 1, 0, 0, 1), -EINVAL);
	assert_int_equal(as_guest(task, prctl_, PR_SET_THP_DISABLE, 5), 0);
	assert_int_equal(as_guest(task, prctl_, PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(as_guest(task, prctl_, PR_SET_PDEATHSIG, 65), -EINVAL);
	assert_int_equal(as_guest(task, prctl_, PR_SET_PDEATHSIG, SIGHUP), 0);
	assert_int_equal(as_guest(task, prctl_, PR_GET_PDEATHSIG, addr), 0);
	assert_int_equal(read_byte(task, addr), SIGHUP);
	child = fork_flags(task, 0);
	assert_int_equal(as_guest(child, prctl_, PR_GET_DUMPABLE), 0);
	assert_int_equal(as_guest(child, prctl_, PR_GET_NO_NEW_PRIVS), 1);
	assert_int_equal(as_guest(child, prctl_, PR_GET_THP_DISABLE), 1);
	assert_int_equal(as_guest(child, prctl_, PR_GET_CHILD_SUBREAPER, addr), 0);
	assert_int_equal(read_byte(child, addr), 0);
	assert_int_equal(child->pdeath_signal, 0);
	assert_int_equal(as_guest(task, prctl_, PR_GET_CHILD_SUBREAPER, addr), 0);
	assert_int_equal(read_byte(task, addr), 1);
	assert_int_equal(as_guest(task, prctl_, 9999), -EINVAL);
	exit_task(child, 0);
	reap(task, child);
	exit_task(task, 0);
	reap(init, task);
	end_init(init);
}

static void a_mapping_has_a_name(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, PAGE_SIZE);
	char text[512];

	(void)state;
	as_guest(init, put_text, addr, (unsigned long)"arena");
	assert_int_equal(as_guest(init, prctl_, PR_SET_VMA, 1, addr, PAGE_SIZE, addr), -EINVAL);
	assert_int_equal(as_guest(init, prctl_, PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, PAGE_SIZE,
				  8), -EFAULT);
	assert_int_equal(as_guest(init, prctl_, PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, PAGE_SIZE,
				  addr), 0);
	maps_text(init->mm, text, sizeof(text));
	assert_non_null(strstr(text, "[anon:arena]"));
	assert_int_equal(as_guest(init, prctl_, PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, PAGE_SIZE,
				  0), 0);
	maps_text(init->mm, text, sizeof(text));
	assert_null(strstr(text, "arena"));
	end_init(init);
}

static void segment_bases_are_kept(void **state)
{
	struct task_struct *init = start_init(), *child;
	unsigned long addr = map_anon(init, PAGE_SIZE);
	struct kernel_clone_args tls = { .flags = CLONE_PTHREAD | CLONE_SETTLS, .tls = 0x7000 };

	(void)state;
	assert_int_equal(as_guest(init, arch_, ARCH_SET_FS, 0x1234), 0);
	assert_int_equal(as_guest(init, arch_, ARCH_SET_GS, 1UL << 47), -EPERM);
	assert_int_equal(as_guest(init, arch_, ARCH_GET_FS, addr), 0);
	assert_int_equal(read_byte(init, addr), 0x34);
	assert_int_equal(as_guest(init, arch_, ARCH_GET_GS, 8), -EFAULT);
	assert_int_equal(as_guest(init, arch_, 0x3001, 0), -EINVAL);
	child = clone_args(init, &tls);
	assert_int_equal(child->thread.fsbase, 0x7000);
	exit_thread(child, 0);
	put_task_struct(child);
	child = fork_flags(init, 0);
	assert_int_equal(child->thread.fsbase, 0x1234);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static void personality_is_inherited_and_honoured(void **state)
{
	struct task_struct *init = start_init(), *child;
	unsigned long plain = (unsigned long)as_guest(init, map_), both;

	(void)state;
	assert_int_equal(as_guest(init, persona_, ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC), 0);
	assert_int_equal(as_guest(init, persona_, 0xffffffff),
			 ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC);
	child = fork_flags(init, 0);
	assert_int_equal(child->personality, ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC);
	both = (unsigned long)as_guest(child, map_);
	assert_int_equal(as_guest(child, exec_, both), 0);
	assert_int_equal(as_guest(child, exec_, plain), -EFAULT);
	assert_int_equal(as_guest(child, protect_, plain, PROT_READ), 0);
	assert_int_equal(as_guest(child, exec_, plain), 0);
	assert_int_equal(as_guest(child, protect_, plain, PROT_NONE), 0);
	assert_int_equal(as_guest(child, exec_, plain), -EFAULT);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_name_is_cut_and_told),
		KARC_TESTS(flags_are_kept_and_inherited),
		KARC_TESTS(a_mapping_has_a_name),
		KARC_TESTS(segment_bases_are_kept),
		KARC_TESTS(personality_is_inherited_and_honoured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
