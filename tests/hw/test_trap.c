/* SPDX-License-Identifier: MIT */
/*
 * Goal: every kind of host fault in a fiber becomes an Oops that ends it, and every other fault
 * goes to whoever handled it before. Method: real faults; for the host's own faults a handler of
 * the test's that was there first.
 */
#include "fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/trap.h>

#define UNCHECKED	__attribute__((no_sanitize("undefined", "address", "thread")))

UNCHECKED static noinline long reads_at(void *arg)
{
	return *(volatile char *)arg;
}

UNCHECKED static noinline long writes_at(void *arg)
{
	*(volatile char *)arg = 1;
	return 0;
}

UNCHECKED static noinline long calls_nowhere(void *arg)
{
	long (*volatile nowhere)(void) = (long (*)(void))arg;

	return nowhere() + 1;
}

static long breaks(void *arg)
{
	(void)arg;
	__builtin_trap();
}

static void a_wild_pointer_is_an_oops(void **state)
{
	char *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char address[40];

	(void)state;
	snprintf(address, sizeof(address), "%016lx", (unsigned long)nothing);
	expect_oops(reads_at, nothing, address);
	expect_oops(writes_at, nothing, "unable to handle page fault");
	expect_oops(reads_at, (void *)8, "NULL pointer dereference, address: 0000000000000008");
	expect_oops(writes_at, NULL, "NULL pointer dereference");
	expect_oops(reads_at, (void *)0xdead000000000122UL, "general protection fault");
	munmap(nothing, 4096);
}

static void a_call_to_nowhere_is_an_oops(void **state)
{
	(void)state;
	expect_oops(calls_nowhere, NULL, "NULL pointer dereference");
	expect_oops(breaks, NULL, "invalid opcode");
}

#if defined(__x86_64__)
UNCHECKED static noinline long divides(void *arg)
{
	volatile long zero = (long)arg;

	return 100 / zero;
}

/* With what a sanitizer forbids to read right below the array: no return address is there. */
static noinline long divides_beside_an_array(void *arg)
{
	volatile char array[16];
	long high = 0, low = 100;

	array[(long)arg & 15] = 1;
	__asm__ volatile("idivq %2" : "+a"(low), "+d"(high) : "r"((long)arg) : "cc");
	return low + array[(long)arg & 15];
}

static void a_division_by_zero_is_an_oops(void **state)
{
	(void)state;
	expect_oops(divides, NULL, "divide error");
	expect_oops(divides_beside_an_array, NULL, "divide error");
}
#endif

static void an_oops_names_its_callers(void **state)
{
	(void)state;
	expect_oops(reads_at, (void *)16, "NULL");
	assert_true(fixture_log_contains("Oops: 0000 [#1]"));
	assert_true(fixture_log_contains("Call Trace:"));
	assert_true(fixture_log_contains("Comm: call"));
	assert_true(fixture_log_contains("end trace"));
	expect_oops(writes_at, (void *)16, "NULL");
	assert_true(fixture_log_contains("Oops: 0002 [#2]"));
}

static long oopses_in_atomic(void *arg)
{
	preempt_disable();
	local_irq_disable();
	return reads_at(arg);
}

static void the_cpu_is_usable_after_an_oops_in_atomic_context(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		expect_oops(oopses_in_atomic, (void *)24, "NULL");
	assert_true(preemptible());
}

static long far_oops(void *arg)
{
	struct machine_result r;

	fiber_join(fiber_spawn(num_online_cpus() - 1, "far", reads_at, arg), &r);
	return r.end;
}

static void body_far_oops(void)
{
	assert_int_equal(far_oops((void *)8), MACHINE_OOPS);
}

static void an_oops_on_another_cpu_ends_that_fiber_only(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_far_oops);

	(void)state;
	assert_int_equal(v.end, MACHINE_VALUE);
	assert_int_equal(v.nr_bugs, 1);
	assert_int_equal(v.nr_failures, 0);
}

/* ---- repairing ---- */

static char *lazy_page;

static bool maps_lazily(struct machine *m, void *addr, bool write)
{
	(void)m;
	(void)write;
	if ((char *)addr < lazy_page || (char *)addr >= lazy_page + 4096)
		return false;
	return !mprotect(lazy_page, 4096, PROT_READ | PROT_WRITE);
}

static void a_repaired_fault_is_retried(void **state)
{
	(void)state;
	lazy_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	trap_on_fault(this_machine(), maps_lazily);
	writes_at(lazy_page + 5);
	assert_int_equal(lazy_page[5], 1);
	expect_oops(reads_at, (void *)8, "NULL");
	trap_on_fault(this_machine(), NULL);
	munmap(lazy_page, 4096);
}

/* ---- everybody else's faults ---- */

static sigjmp_buf back;
static volatile sig_atomic_t host_faults;

static void host_handler(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	host_faults++;
	siglongjmp(back, 1);
}

static void plain_handler(int sig)
{
	(void)sig;
	host_faults++;
	siglongjmp(back, 1);
}

static struct machine *boot(void)
{
	static const struct room *const rooms[] = { &hw_room };
	struct machine_config config = { .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, 1);

	assert_false(IS_ERR(m));
	return m;
}

static void the_hosts_own_fault_goes_to_the_handler_before(void **state)
{
	struct sigaction mine = { .sa_flags = SA_SIGINFO | SA_NODEFER }, cmockas, now;
	struct machine *m;

	(void)state;
	host_faults = 0;
	mine.sa_sigaction = host_handler;
	sigaction(SIGSEGV, &mine, &cmockas);
	m = boot();
	if (!sigsetjmp(back, 1))
		reads_at((void *)8);
	assert_int_equal(host_faults, 1);
	machine_enter(m);
	if (!sigsetjmp(back, 1))
		reads_at((void *)8);
	machine_leave();
	assert_int_equal(host_faults, 2);
	assert_int_equal(machine_call(m, 0, reads_at, (void *)8).end, MACHINE_OOPS);
	assert_int_equal(host_faults, 2);
	assert_int_equal(machine_shutdown(m), 0);
	sigaction(SIGSEGV, &cmockas, &now);
	assert_ptr_equal(now.sa_sigaction, host_handler);	/* put back at shutdown */
}

static void a_handler_without_siginfo_is_chained_to_as_well(void **state)
{
	struct sigaction mine = { .sa_flags = SA_NODEFER }, cmockas;
	struct machine *m;

	(void)state;
	host_faults = 0;
	mine.sa_handler = plain_handler;
	sigaction(SIGSEGV, &mine, &cmockas);
	m = boot();
	if (!sigsetjmp(back, 1))
		reads_at((void *)8);
	assert_int_equal(host_faults, 1);
	assert_int_equal(machine_shutdown(m), 0);
	sigaction(SIGSEGV, &cmockas, NULL);
}

static void a_replaced_handler_is_armed_again_on_entering(void **state)
{
	struct sigaction mine = { .sa_flags = SA_NODEFER }, cmockas;
	struct machine *m = boot(), *other = boot();

	(void)state;
	host_faults = 0;
	mine.sa_handler = plain_handler;
	sigaction(SIGSEGV, &mine, &cmockas);	/* as CMocka does before each test */
	assert_int_equal(machine_call(m, 0, reads_at, (void *)8).end, MACHINE_OOPS);
	sigaction(SIGSEGV, &mine, NULL);
	trap_rearm();
	assert_int_equal(machine_call(m, 0, reads_at, (void *)8).end, MACHINE_OOPS);
	assert_int_equal(machine_shutdown(m), 0);
	assert_int_equal(machine_call(other, 0, reads_at, (void *)8).end, MACHINE_OOPS);
	assert_int_equal(host_faults, 0);
	assert_int_equal(machine_shutdown(other), 0);
	sigaction(SIGSEGV, &cmockas, NULL);
}

static long sends_itself_a_signal(void *arg)
{
	raise((int)(long)arg);
	return 7;
}

static void a_signal_that_was_sent_is_no_fault(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		struct machine *m;

		signal(SIGSEGV, SIG_DFL);
		m = boot();
		machine_call(m, 0, sends_itself_a_signal, (void *)(long)SIGSEGV);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void a_host_fault_without_a_handler_ends_the_process(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		machine_enter(boot());
		reads_at((void *)8);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_wild_pointer_is_an_oops),
		KARC_TESTS(a_call_to_nowhere_is_an_oops),
#if defined(__x86_64__)
		KARC_TESTS(a_division_by_zero_is_an_oops),
#endif
		KARC_TESTS(an_oops_names_its_callers),
		KARC_TESTS(the_cpu_is_usable_after_an_oops_in_atomic_context),
		cmocka_unit_test(an_oops_on_another_cpu_ends_that_fiber_only),
		KARC_TESTS(a_repaired_fault_is_retried),
		cmocka_unit_test(the_hosts_own_fault_goes_to_the_handler_before),
		cmocka_unit_test(a_handler_without_siginfo_is_chained_to_as_well),
		cmocka_unit_test(a_replaced_handler_is_armed_again_on_entering),
		cmocka_unit_test(a_signal_that_was_sent_is_no_fault),
		cmocka_unit_test(a_host_fault_without_a_handler_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
