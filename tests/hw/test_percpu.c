/* SPDX-License-Identifier: MIT */
/*
 * Goal: each CPU of each machine has its own copy of a per-CPU variable, with its initial value
 * and alignment. Method: variables of this program; for "another shared object", arrays that
 * stand for its section.
 */
#include "fixture.h"

#include <string.h>

#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/percpu.h>

#include "hw/internal.h"

struct thing {
	int a;
	long b;
};

static DEFINE_PER_CPU(int, counter) = 5;
static DEFINE_PER_CPU(long, long_counter);
static DEFINE_PER_CPU(unsigned long, ulong_counter);
static DEFINE_PER_CPU(struct thing, thing) = { 1, 2 };
static DEFINE_PER_CPU_ALIGNED(char, aligned_char) = 'x';
DECLARE_PER_CPU(int, global_counter);
DEFINE_PER_CPU(int, global_counter) = 77;

static long adds_one(void *arg)
{
	(void)arg;
	this_cpu_inc(counter);
	return this_cpu_read(counter);
}

static void each_cpu_has_its_copy_with_the_initial_value(void **state)
{
	unsigned int n = num_online_cpus();

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(per_cpu(counter, i), 5);
		assert_int_equal(per_cpu(global_counter, i), 77);
		assert_int_equal(per_cpu(thing, i).a, 1);
		assert_int_equal(per_cpu(thing, i).b, 2);
		assert_int_equal(per_cpu(aligned_char, i), 'x');
		assert_int_equal((unsigned long)per_cpu_ptr(&aligned_char, i) % 64, 0);
		per_cpu(counter, i) = (int)(100 * i);
	}
	for (unsigned int i = 0; i < n; i++) {
		struct machine_result r = machine_call(this_machine(), i, adds_one, NULL);

		assert_int_equal(r.value, 100 * i + 1);
		assert_ptr_not_equal(per_cpu_ptr(&counter, i), &counter);
	}
	assert_int_equal(counter, 5);	/* the template is nobody's copy */
	assert_ptr_equal(this_cpu_ptr(&counter), per_cpu_ptr(&counter, smp_processor_id()));
}

static void operations_do_what_they_say(void **state)
{
	(void)state;
	this_cpu_write(counter, 10);
	this_cpu_add(counter, 5);
	this_cpu_sub(counter, 3);
	this_cpu_dec(counter);
	assert_int_equal(this_cpu_read(counter), 11);
	assert_int_equal(this_cpu_add_return(counter, 4), 15);
	assert_int_equal(this_cpu_sub_return(counter, 5), 10);
	assert_int_equal(this_cpu_inc_return(counter), 11);
	assert_int_equal(this_cpu_dec_return(counter), 10);
	assert_int_equal(this_cpu_xchg(counter, 3), 10);
	assert_int_equal(this_cpu_cmpxchg(counter, 4, 9), 3);
	assert_int_equal(this_cpu_cmpxchg(counter, 3, 9), 3);
	this_cpu_or(counter, 6);
	this_cpu_and(counter, 0xd);
	assert_int_equal(this_cpu_read(counter), 13);
	this_cpu_write(thing.b, 4);
	assert_int_equal(this_cpu_ptr(&thing)->b, 4);
	(*get_cpu_ptr(&counter))++;
	assert_true(in_atomic());
	put_cpu_ptr(&counter);
	get_cpu_var(counter)++;
	put_cpu_var(counter);
	assert_true(preemptible());
	assert_int_equal(raw_cpu_read(counter), 15);
}

static DEFINE_PER_CPU(u32, u32_counter);
static DEFINE_PER_CPU(s8, s8_counter);
static DEFINE_PER_CPU(u8, u8_counter);

#define assert_pcp(pcp, expected) assert_true(this_cpu_read(pcp) == (__typeof__(pcp))(expected))
/* Each form of an operation on a variable that begins with @start. */
#define check_forms(op, pcp, start, val, expected) do {				\
	this_cpu_write(pcp, start);						\
	this_cpu_##op(pcp, val);						\
	assert_pcp(pcp, expected);						\
	raw_cpu_write(pcp, start);						\
	raw_cpu_##op(pcp, val);							\
	assert_pcp(pcp, expected);						\
	preempt_disable();							\
	__this_cpu_write(pcp, start);						\
	__this_cpu_##op(pcp, val);						\
	assert_pcp(pcp, expected);						\
	preempt_enable();							\
} while (0)
#define check_add_sub(op, pcp, start, val, expected) do {			\
	check_forms(op, pcp, start, val, expected);				\
	this_cpu_write(pcp, start);						\
	assert_true(this_cpu_##op##_return(pcp, val) == (__typeof__(pcp))(expected)); \
	assert_pcp(pcp, expected);						\
} while (0)

/* EDGE_CASES: this_cpu_* type promotion and negation: what Linux's percpu_test looks at. */
static void values_promote_and_negate_as_in_linux(void **state)
{
	unsigned int one = 1, minus_one = (unsigned int)-1;
	unsigned char byte = 200;
	int negative = -7;
	int more_than_a_byte = 257;
	long wide = 0x100000001L;

	(void)state;
	check_add_sub(add, long_counter, 0, -1, -1L);
	check_add_sub(add, long_counter, 0, minus_one, 0xffffffffL);
	check_add_sub(add, long_counter, -5, one, -4);
	check_add_sub(sub, long_counter, 0, one, -1L);
	check_add_sub(sub, long_counter, 0, minus_one, -0xffffffffL);
	check_add_sub(sub, long_counter, 0, -1, 1);
	check_add_sub(add, ulong_counter, 0, -1, -1L);
	check_add_sub(add, ulong_counter, 0, minus_one, 0xffffffffUL);
	check_add_sub(sub, ulong_counter, 0, one, -1UL);
	check_add_sub(sub, ulong_counter, 0, -1, 1);
	check_add_sub(sub, ulong_counter, 0, minus_one, -0xffffffffUL);
	check_add_sub(sub, ulong_counter, 3, one, 2);
	check_add_sub(sub, ulong_counter, 1, one, 0);
	check_add_sub(sub, ulong_counter, 10, negative, 17);
	check_add_sub(add, u32_counter, 0, -1, 0xffffffffu);
	check_add_sub(add, u32_counter, 5, wide, 6);
	check_add_sub(sub, u32_counter, 0, one, 0xffffffffu);
	check_add_sub(sub, u32_counter, 5, wide, 4);
	check_add_sub(add, s8_counter, 100, 100, -56);
	check_add_sub(sub, s8_counter, -100, 100, 56);
	check_add_sub(sub, s8_counter, 0, byte, 56);
	check_add_sub(add, s8_counter, 0, byte, -56);
	check_add_sub(sub, u8_counter, 0, one, 255);
	check_add_sub(sub, u8_counter, 1, byte, 57);
	check_forms(and, u8_counter, 0xff, wide, 1);
	check_forms(or, s8_counter, 0, byte, -56);
	check_forms(and, ulong_counter, -1L, minus_one, 0xffffffffUL);
	check_forms(or, long_counter, 0, negative, -7);
	this_cpu_write(s8_counter, 127);
	assert_true(this_cpu_inc_return(s8_counter) == -128);
	assert_true(this_cpu_dec_return(s8_counter) == 127);
	this_cpu_write(u8_counter, 0);
	assert_true(this_cpu_dec_return(u8_counter) == 255);
	assert_true(this_cpu_xchg(u8_counter, more_than_a_byte) == 255);
	assert_true(this_cpu_cmpxchg(u8_counter, more_than_a_byte, 9) == 1);
	assert_pcp(u8_counter, 9);
}

static int asked;

static int asks(void)
{
	return ++asked;
}

static void operands_are_computed_once_and_first(void **state)
{
	static DEFINE_PER_CPU(long, left);
	static DEFINE_PER_CPU(long, right);

	(void)state;
	asked = 0;
	this_cpu_write(counter, 0);
	this_cpu_add(counter, asks());
	this_cpu_sub(counter, asks());
	this_cpu_or(counter, asks());
	this_cpu_xchg(counter, asks());
	this_cpu_cmpxchg(counter, asks(), asks());
	assert_int_equal(asked, 6);
	assert_int_equal(this_cpu_read(counter), 4);
	this_cpu_add(counter, this_cpu_inc_return(counter));
	assert_int_equal(this_cpu_read(counter), 10);
	assert_false(this_cpu_cmpxchg_double(left, right, 0, 1, 5, 6));
	assert_int_equal(this_cpu_read(left), 0);
	assert_true(this_cpu_cmpxchg_double(left, right, 0, 0, 5, 6));
	assert_true(raw_cpu_cmpxchg_double(left, right, 5, 6, 7, 8));
	assert_int_equal(this_cpu_read(left) * 10 + this_cpu_read(right), 78);
}

/* __this_cpu_*() is for those whose CPU cannot change. */
static void preemptible_use_is_reported(void **state)
{
	bool may_change = num_online_cpus() > 1;

	(void)state;
	__this_cpu_add(counter, 1);
	if (may_change)
		expect_warn("using __this_cpu_add() in preemptible code at tests/hw/test_percpu.c");
	(void)__this_cpu_read(counter);
	if (may_change)
		expect_warn("using __this_cpu_read() in preemptible code");
	raw_cpu_add(counter, 1);
	this_cpu_add(counter, 1);
	migrate_disable();
	__this_cpu_inc(counter);
	migrate_enable();
	preempt_disable();
	__this_cpu_inc(counter);
	preempt_enable();
	expect_no_warn();
}

static DEFINE_PER_CPU_SHARED_ALIGNED(char, shared_char) = 's';
static DEFINE_PER_CPU_PAGE_ALIGNED(char, page_char) = 'p';
static DEFINE_PER_CPU_READ_MOSTLY(char, mostly_char) = 'm';

static void addresses_of_copies_are_known_and_aligned(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < num_online_cpus(); i++) {
		assert_int_equal((unsigned long)per_cpu_ptr(&shared_char, i) % 64, 0);
		assert_int_equal((unsigned long)per_cpu_ptr(&page_char, i) % 4096, 0);
		assert_int_equal(per_cpu(page_char, i) + per_cpu(mostly_char, i), 'p' + 'm');
		assert_true(is_kernel_percpu_address((unsigned long)per_cpu_ptr(&counter, i)));
	}
	assert_false(is_kernel_percpu_address((unsigned long)&counter));
	assert_false(is_kernel_percpu_address((unsigned long)state));
	assert_false(is_kernel_percpu_address(0));
}

static long reads_counter(void *arg)
{
	(void)arg;
	return this_cpu_read(counter);
}

static void machines_do_not_share_copies(void **state)
{
	static const struct room *const rooms[] = { &hw_room };
	struct machine_config config = { .quiet = true, .nr_cpus = 2 };
	struct machine *a = machine_boot_rooms(&config, rooms, 1);
	struct machine *b = machine_boot_rooms(&config, rooms, 1);

	(void)state;
	assert_false(IS_ERR(a) || IS_ERR(b));
	assert_int_equal(machine_call(a, 1, adds_one, NULL).value, 6);
	assert_int_equal(machine_call(a, 1, adds_one, NULL).value, 7);
	assert_int_equal(machine_call(b, 1, reads_counter, NULL).value, 5);
	assert_int_equal(machine_call(a, 0, reads_counter, NULL).value, 5);
	assert_int_equal(machine_shutdown(a) + machine_shutdown(b), 0);
}

static void images_of_several_objects_are_kept_apart(void **state)
{
	static const char first[64] = "first", second[128] = "second";
	struct cpu *cpu = machine_cpu(this_machine(), num_online_cpus() - 1);
	char *a = percpu_static(cpu, first, first, first + 64);
	char *b = percpu_static(cpu, second + 3, second, second + 128);

	(void)state;
	assert_string_equal(a, "first");
	assert_string_equal(b, "ond");
	assert_ptr_equal(percpu_static(cpu, first + 1, first, first + 64), a + 1);
	/* Another object's variable, once that object has used its section. */
	assert_ptr_equal(percpu_static(cpu, second, first, first + 64), b - 3);
	assert_int_equal(per_cpu(counter, cpu->id), 5);
	percpu_forget(this_machine(), first + 7);
	percpu_forget(this_machine(), first + 7);
	assert_string_equal(b, "ond");
	a = percpu_static(cpu, first, first, first + 64);
	assert_string_equal(a, "first");
	assert_int_equal(this_machine()->nr_images, 3);
}

static long resolves_nonsense(void *arg)
{
	int local = 0;

	(void)arg;
	return *this_cpu_ptr(&local);
}

static void an_ordinary_variable_is_refused(void **state)
{
	(void)state;
	expect_bug(resolves_nonsense, NULL, "no per-CPU variable");
}

static void a_dynamic_cookie_is_an_offset(void **state)
{
	static int block[MACHINE_MAX_CPUS];
	int *cookie = (int *)(PERCPU_DYNAMIC_BASE + 64);

	(void)state;
	for (unsigned int i = 0; i < num_online_cpus(); i++)
		machine_cpu(this_machine(), i)->percpu_offset =
			(long)((unsigned long)&block[i] - (unsigned long)cookie);
	this_cpu_write(*cookie, 5);
	assert_int_equal(block[smp_processor_id()], 5);
	assert_ptr_equal(per_cpu_ptr(cookie, num_online_cpus() - 1), &block[num_online_cpus() - 1]);
	for (unsigned int i = 0; i < num_online_cpus(); i++)
		machine_cpu(this_machine(), i)->percpu_offset = 0;
	block[0] = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(each_cpu_has_its_copy_with_the_initial_value),
		KARC_TESTS(operations_do_what_they_say),
		KARC_TESTS(values_promote_and_negate_as_in_linux),
		karc_unit_test(operands_are_computed_once_and_first),
		KARC_TESTS(preemptible_use_is_reported),
		KARC_TESTS(addresses_of_copies_are_known_and_aligned),
		cmocka_unit_test(machines_do_not_share_copies),
		KARC_TESTS(images_of_several_objects_are_kept_apart),
		KARC_TESTS(an_ordinary_variable_is_refused),
		KARC_TESTS(a_dynamic_cookie_is_an_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
