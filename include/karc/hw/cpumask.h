/* SPDX-License-Identifier: MIT */
/*
 * cpumask.h - sets of CPUs, under Linux's names
 *
 * A machine has at most 64 CPUs, so a set is one word. All CPUs of a machine are online.
 */
#ifndef KARC_HW_CPUMASK_H
#define KARC_HW_CPUMASK_H

#include <karc/base/types.h>
#include <karc/hw/cpu.h>

#define NR_CPUS		MACHINE_MAX_CPUS

typedef struct cpumask {
	u64 bits[1];
} cpumask_t;

typedef struct cpumask cpumask_var_t[1];

#define CPU_MASK_NONE	((cpumask_t){ { 0 } })

#define num_online_cpus()	machine_nr_cpus(karc_cpu->machine)
#define num_possible_cpus()	num_online_cpus()
#define num_present_cpus()	num_online_cpus()
#define nr_cpu_ids		num_online_cpus()
#define cpu_online(cpu)		((cpu) < num_online_cpus())
#define cpu_possible(cpu)	cpu_online(cpu)

static inline u64 cpumask_word_below(unsigned int nr)
{
	return nr >= 64 ? ~0ULL : (1ULL << nr) - 1;
}

static inline void cpumask_set_cpu(unsigned int cpu, cpumask_t *mask)
{
	__atomic_fetch_or(&mask->bits[0], 1ULL << cpu, __ATOMIC_RELAXED);
}

static inline void cpumask_clear_cpu(unsigned int cpu, cpumask_t *mask)
{
	__atomic_fetch_and(&mask->bits[0], ~(1ULL << cpu), __ATOMIC_RELAXED);
}

static inline bool cpumask_test_cpu(unsigned int cpu, const cpumask_t *mask)
{
	return (__atomic_load_n(&mask->bits[0], __ATOMIC_RELAXED) >> cpu) & 1;
}

static inline bool cpumask_test_and_set_cpu(unsigned int cpu, cpumask_t *mask)
{
	return (__atomic_fetch_or(&mask->bits[0], 1ULL << cpu, __ATOMIC_SEQ_CST) >> cpu) & 1;
}

static inline bool cpumask_test_and_clear_cpu(unsigned int cpu, cpumask_t *mask)
{
	return (__atomic_fetch_and(&mask->bits[0], ~(1ULL << cpu), __ATOMIC_SEQ_CST) >> cpu) & 1;
}

static inline void cpumask_clear(cpumask_t *mask)
{
	mask->bits[0] = 0;
}

static inline void cpumask_setall(cpumask_t *mask)
{
	mask->bits[0] = cpumask_word_below(num_online_cpus());
}

static inline void cpumask_copy(cpumask_t *dst, const cpumask_t *src)
{
	*dst = *src;
}

static inline bool cpumask_empty(const cpumask_t *mask)
{
	return !mask->bits[0];
}

static inline bool cpumask_equal(const cpumask_t *a, const cpumask_t *b)
{
	return a->bits[0] == b->bits[0];
}

static inline unsigned int cpumask_weight(const cpumask_t *mask)
{
	return (unsigned int)__builtin_popcountll(mask->bits[0]);
}

static inline bool cpumask_and(cpumask_t *dst, const cpumask_t *a, const cpumask_t *b)
{
	return (dst->bits[0] = a->bits[0] & b->bits[0]) != 0;
}

static inline bool cpumask_andnot(cpumask_t *dst, const cpumask_t *a, const cpumask_t *b)
{
	return (dst->bits[0] = a->bits[0] & ~b->bits[0]) != 0;
}

static inline void cpumask_or(cpumask_t *dst, const cpumask_t *a, const cpumask_t *b)
{
	dst->bits[0] = a->bits[0] | b->bits[0];
}

/* The first CPU of @mask after @cpu (-1 for the first of all), or nr_cpu_ids or more. */
static inline unsigned int cpumask_next(int cpu, const cpumask_t *mask)
{
	u64 rest = cpu >= 63 ? 0 : mask->bits[0] >> (cpu + 1);

	return rest ? (unsigned int)(cpu + 1 + __builtin_ctzll(rest)) : NR_CPUS;
}

static inline unsigned int cpumask_first(const cpumask_t *mask)
{
	return cpumask_next(-1, mask);
}

static inline cpumask_t cpumask_of_cpu(unsigned int cpu)
{
	return (cpumask_t){ { 1ULL << cpu } };
}

static inline cpumask_t cpumask_online(void)
{
	return (cpumask_t){ { cpumask_word_below(num_online_cpus()) } };
}

/* Linux's names are pointers; these point to a value of the enclosing statement. */
#define cpumask_of(cpu)		((const cpumask_t *)(cpumask_t[1]){ cpumask_of_cpu(cpu) })
#define cpu_online_mask		((const cpumask_t *)(cpumask_t[1]){ cpumask_online() })
#define cpu_possible_mask	cpu_online_mask
#define cpu_present_mask	cpu_online_mask

#define for_each_cpu(cpu, mask) \
	for ((cpu) = cpumask_first(mask); (cpu) < NR_CPUS; \
	     (cpu) = cpumask_next((int)(cpu), mask))
#define for_each_online_cpu(cpu) \
	for ((cpu) = 0; (cpu) < num_online_cpus(); (cpu)++)
#define for_each_possible_cpu(cpu)	for_each_online_cpu(cpu)
#define for_each_present_cpu(cpu)	for_each_online_cpu(cpu)

#endif
