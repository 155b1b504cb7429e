/* SPDX-License-Identifier: MIT */
/*
 * Goal: a stack switch keeps what the ABI promises: values in registers, rounding mode, stack
 * alignment, frame pointers that end. Method: two bare stacks that hand control back and forth.
 */
#include "fixture.h"

#include <stdlib.h>

#include <karc/hw/fiber.h>

#include "hw/internal.h"

#if defined(__x86_64__)
#define ROUND_UPWARD	0x4000u

static long rounds_upwards(void *arg)
{
	(void)arg;
	__builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | ROUND_UPWARD);
	for (int i = 0; i < 100; i++) {
		fiber_yield();
		if (!(__builtin_ia32_stmxcsr() & ROUND_UPWARD))
			return 1;
	}
	return 0;
}

static void floating_point_modes_belong_to_a_fiber(void **state)
{
	struct machine_result r;
	struct fiber *f = fiber_spawn(0, "upwards", rounds_upwards, NULL);

	(void)state;
	for (int i = 0; i < 100; i++) {
		fiber_yield();
		assert_int_equal(__builtin_ia32_stmxcsr() & ROUND_UPWARD, 0);
	}
	fiber_join(f, &r);
	assert_int_equal(r.value, 0);
}
#endif

static long keeps_values(void *arg)
{
	long a = (long)arg, b = a * 3, c = a * 5, d = a * 7, e = a * 11, g = a * 13;
	double x = (double)a / 3;

	for (int i = 0; i < 200; i++) {
		fiber_yield();
		a += 1, b += 3, c += 5, d += 7, e += 11, g += 13;
		if (b != a * 3 || c != a * 5 || d != a * 7 || e != a * 11 || g != a * 13)
			return 1;
	}
	return x != (double)(long)arg / 3;
}

static void values_survive_many_switches(void **state)
{
	struct machine_result r;
	struct fiber *f[6];

	(void)state;
	for (long i = 0; i < 6; i++)
		f[i] = fiber_spawn(0, "keeper", keeps_values, (void *)(i * 1000));
	for (long i = 0; i < 6; i++) {
		fiber_join(f[i], &r);
		assert_int_equal(r.value, 0);
	}
}

static long looks_at_alignment(void *arg)
{
	_Alignas(16) volatile char local[16];

	(void)arg;
	local[0] = 1;
	return (long)((u64)&local[0] % 16);
}

static void a_new_stack_is_aligned_and_its_frames_end(void **state)
{
	struct machine_result r;
	struct fiber *f = fiber_spawn(0, "aligned", looks_at_alignment, NULL);

	(void)state;
	if (f->state == FIBER_READY)
		assert_int_equal(switch_saved_fp(f->sp), 0);
	fiber_join(f, &r);
	assert_int_equal(r.value, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
		KARC_TESTS(floating_point_modes_belong_to_a_fiber),
#endif
		KARC_TESTS(values_survive_many_switches),
		KARC_TESTS(a_new_stack_is_aligned_and_its_frames_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
