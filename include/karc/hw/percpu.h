/* SPDX-License-Identifier: MIT */
/*
 * percpu.h - variables that each CPU has a copy of
 *
 * DEFINE_PER_CPU makes a template in a section of its own; nothing ever writes to it. A machine
 * copies the section of a program or shared object once for each of its CPUs, when it is used
 * first, so that machines do not share state and every machine starts from the initial values.
 * Which section is meant is told by the bounds that the linker provides in each DSO.
 *
 * A dynamic per-CPU pointer (alloc_percpu, in the slab room) is no address but a cookie in a
 * range of its own, PERCPU_DYNAMIC_BASE and up: cookie + cpu->percpu_offset is the address.
 *
 * A variable is used by the DSO that defines it, or by others after that; see percpu_static().
 */
#ifndef KARC_HW_PERCPU_H
#define KARC_HW_PERCPU_H

#include <karc/base/compiler.h>
#include <karc/hw/context.h>
#include <karc/hw/cpu.h>

/* Not addresses that the host could hand out: on x86-64 not even canonical. */
#define PERCPU_DYNAMIC_BASE	0x6b00000000000000ULL
#define PERCPU_DYNAMIC_BYTES	(1ULL << 32)

/* Another range: what a room keeps for each CPU at cpu->room_percpu, by its offset there. */
#define PERCPU_ROOM_BASE	0x6c00000000000000ULL
#define PERCPU_ROOM_BYTES	(1ULL << 20)

#define PERCPU_SECTION		"karc_percpu"

#define DECLARE_PER_CPU(type, name) extern __typeof__(type) name
#define DEFINE_PER_CPU(type, name) \
	__attribute__((section(PERCPU_SECTION))) __typeof__(type) name
#define KARC_DEFINE_PER_CPU_ON(bytes, type, name) \
	DEFINE_PER_CPU(type, name) __attribute__((aligned(bytes)))
#define DECLARE_PER_CPU_ALIGNED(type, name)		DECLARE_PER_CPU(type, name)
#define DEFINE_PER_CPU_ALIGNED(type, name)		KARC_DEFINE_PER_CPU_ON(64, type, name)
#define DECLARE_PER_CPU_SHARED_ALIGNED(type, name)	DECLARE_PER_CPU(type, name)
#define DEFINE_PER_CPU_SHARED_ALIGNED(type, name)	DEFINE_PER_CPU_ALIGNED(type, name)
#define DECLARE_PER_CPU_PAGE_ALIGNED(type, name)	DECLARE_PER_CPU(type, name)
#define DEFINE_PER_CPU_PAGE_ALIGNED(type, name)		KARC_DEFINE_PER_CPU_ON(4096, type, name)
#define DECLARE_PER_CPU_READ_MOSTLY(type, name)		DECLARE_PER_CPU(type, name)
#define DEFINE_PER_CPU_READ_MOSTLY(type, name)		DEFINE_PER_CPU(type, name)
#define DECLARE_PER_CPU_FIRST(type, name)		DECLARE_PER_CPU(type, name)
#define DEFINE_PER_CPU_FIRST(type, name)		DEFINE_PER_CPU(type, name)
#define EXPORT_PER_CPU_SYMBOL(name)			struct machine
#define EXPORT_PER_CPU_SYMBOL_GPL(name)			struct machine

/* Bounds of this DSO's section; NULL when it defines no per-CPU variable. */
extern const char __start_karc_percpu[] __attribute__((weak, visibility("hidden")));
extern const char __stop_karc_percpu[] __attribute__((weak, visibility("hidden")));

/**
 * percpu_static - the copy of @template_ that @cpu has
 * @start, @stop: bounds of the calling DSO's section
 *
 * Copies the DSO's section for all CPUs of the machine when it is new there. A template of
 * another DSO is found only if that one has used its own section on this machine already.
 * Errors: BUG when the address is no per-CPU variable, or the host has no memory.
 */
void *percpu_static(struct cpu *cpu, const volatile void *template_, const char *start,
		    const char *stop);

/* A DSO goes away (module unload): forget its copies. @address: any in its section. */
void percpu_forget(struct machine *m, const void *address);

/* Does @address lie in some CPU's copy of a per-CPU variable? Model: Linux 6.1. */
bool is_kernel_percpu_address(unsigned long address);

/* What __this_cpu_*() says in a machine that tracks when the CPU may change under it. */
void percpu_preemptible(const char *operation, const struct site *site) __cold;

/* This CPU's copy of *@p, where @p is a template or a cookie. */
static inline void *percpu_resolve(struct cpu *self, const volatile void *p)
{
	unsigned long address = (unsigned long)p;

	if (address - PERCPU_DYNAMIC_BASE < PERCPU_DYNAMIC_BYTES)
		return (void *)(address + (unsigned long)self->percpu_offset);
	if (likely(READ_ONCE(self->percpu_image) == __start_karc_percpu &&
		   address - (unsigned long)__start_karc_percpu <
		   (unsigned long)__stop_karc_percpu - (unsigned long)__start_karc_percpu))
		return (void *)(address + (unsigned long)self->percpu_delta);
	return percpu_static(self, p, __start_karc_percpu, __stop_karc_percpu);
}

/* Any CPU's. What another one remembers may change at any time, so the table is asked. */
static inline void *percpu_resolve_on(struct cpu *cpu, const volatile void *p)
{
	unsigned long address = (unsigned long)p;

	if (address - PERCPU_DYNAMIC_BASE < PERCPU_DYNAMIC_BYTES)
		return (void *)(address + (unsigned long)cpu->percpu_offset);
	if (cpu == karc_cpu)
		return percpu_resolve(cpu, p);
	return percpu_static(cpu, p, __start_karc_percpu, __stop_karc_percpu);
}

#define per_cpu_ptr(ptr, cpu) \
	((__typeof__(*(ptr)) *)percpu_resolve_on(machine_cpu(karc_cpu->machine, (cpu)), (ptr)))
#define this_cpu_ptr(ptr)	((__typeof__(*(ptr)) *)percpu_resolve(karc_cpu, (ptr)))
#define raw_cpu_ptr(ptr)	this_cpu_ptr(ptr)
#define per_cpu(var, cpu)	(*per_cpu_ptr(&(var), cpu))

#define get_cpu_ptr(ptr)	({ preempt_disable(); this_cpu_ptr(ptr); })
#define put_cpu_ptr(ptr)	do { (void)(ptr); preempt_enable(); } while (0)
#define get_cpu_var(var)	(*({ preempt_disable(); this_cpu_ptr(&(var)); }))
#define put_cpu_var(var)	do { (void)&(var); preempt_enable(); } while (0)

/*
 * Operations on a variable (or *cookie). A CPU's code is interrupted at safe points only, and
 * there is none inside, so that a load and a store are one step towards everything else on the
 * CPU. Each is a relaxed atomic of its own, because other CPUs may read the variable meanwhile.
 * Values are computed before the copy is looked up: computing them may change the CPU. They are
 * converted to the variable's type as Linux does: what is subtracted before it is negated.
 *
 *	this_cpu_x()	in any context
 *	__this_cpu_x()	the caller sees to it that the CPU stays; a machine that tracks reports
 *			"using __this_cpu_x() in preemptible code" if it could change
 *	raw_cpu_x()	the same without the check
 */
#define KARC_PCP_READ(pcp)		READ_ONCE(*this_cpu_ptr(&(pcp)))
#define KARC_PCP_WRITE(pcp, val) do {					\
	__typeof__(pcp) karc_value_ = (val);				\
	WRITE_ONCE(*this_cpu_ptr(&(pcp)), karc_value_);			\
} while (0)
#define KARC_PCP_OP(pcp, op, val) (__extension__ ({			\
	__auto_type karc_value_ = (val);				\
	__typeof__(pcp) *karc_pcp_ = this_cpu_ptr(&(pcp));		\
	__typeof__(pcp) karc_new_ =					\
		(__typeof__(pcp))(READ_ONCE(*karc_pcp_) op karc_value_);	\
	WRITE_ONCE(*karc_pcp_, karc_new_);				\
	karc_new_; }))
#define KARC_PCP_XCHG(pcp, val) (__extension__ ({			\
	__typeof__(pcp) karc_value_ = (val);				\
	__typeof__(pcp) *karc_pcp_ = this_cpu_ptr(&(pcp));		\
	__typeof__(pcp) karc_old_ = READ_ONCE(*karc_pcp_);		\
	WRITE_ONCE(*karc_pcp_, karc_value_);				\
	karc_old_; }))
#define KARC_PCP_CMPXCHG(pcp, old, new) (__extension__ ({		\
	__typeof__(pcp) karc_expected_ = (old), karc_value_ = (new);	\
	__typeof__(pcp) *karc_pcp_ = this_cpu_ptr(&(pcp));		\
	__typeof__(pcp) karc_old_ = READ_ONCE(*karc_pcp_);		\
	if (karc_old_ == karc_expected_)				\
		WRITE_ONCE(*karc_pcp_, karc_value_);			\
	karc_old_; }))
#define KARC_PCP_CMPXCHG_DOUBLE(pcp1, pcp2, old1, old2, new1, new2) (__extension__ ({ \
	__typeof__(pcp1) karc_expected1_ = (old1), karc_value1_ = (new1);	\
	__typeof__(pcp2) karc_expected2_ = (old2), karc_value2_ = (new2);	\
	__typeof__(pcp1) *karc_pcp1_ = this_cpu_ptr(&(pcp1));		\
	__typeof__(pcp2) *karc_pcp2_ = this_cpu_ptr(&(pcp2));		\
	bool karc_done_ = READ_ONCE(*karc_pcp1_) == karc_expected1_ &&	\
			  READ_ONCE(*karc_pcp2_) == karc_expected2_;	\
	if (karc_done_) {						\
		WRITE_ONCE(*karc_pcp1_, karc_value1_);			\
		WRITE_ONCE(*karc_pcp2_, karc_value2_);			\
	}								\
	(int)karc_done_; }))
#define KARC_PCP_NEGATIVE(pcp, val)	(-(__typeof__(pcp))(val))

#define this_cpu_read(pcp)		KARC_PCP_READ(pcp)
#define this_cpu_write(pcp, val)	KARC_PCP_WRITE(pcp, val)
#define this_cpu_add(pcp, val)		((void)KARC_PCP_OP(pcp, +, val))
#define this_cpu_sub(pcp, val)		((void)KARC_PCP_OP(pcp, +, KARC_PCP_NEGATIVE(pcp, val)))
#define this_cpu_inc(pcp)		((void)KARC_PCP_OP(pcp, +, 1))
#define this_cpu_dec(pcp)		((void)KARC_PCP_OP(pcp, -, 1))
#define this_cpu_and(pcp, val)		((void)KARC_PCP_OP(pcp, &, val))
#define this_cpu_or(pcp, val)		((void)KARC_PCP_OP(pcp, |, val))
#define this_cpu_add_return(pcp, val)	KARC_PCP_OP(pcp, +, val)
#define this_cpu_sub_return(pcp, val)	KARC_PCP_OP(pcp, +, KARC_PCP_NEGATIVE(pcp, val))
#define this_cpu_inc_return(pcp)	KARC_PCP_OP(pcp, +, 1)
#define this_cpu_dec_return(pcp)	KARC_PCP_OP(pcp, -, 1)
#define this_cpu_xchg(pcp, val)		KARC_PCP_XCHG(pcp, val)
#define this_cpu_cmpxchg(pcp, old, new)	KARC_PCP_CMPXCHG(pcp, old, new)
#define this_cpu_cmpxchg_double(pcp1, pcp2, o1, o2, n1, n2) \
	KARC_PCP_CMPXCHG_DOUBLE(pcp1, pcp2, o1, o2, n1, n2)

#define raw_cpu_read(pcp)		this_cpu_read(pcp)
#define raw_cpu_write(pcp, val)		this_cpu_write(pcp, val)
#define raw_cpu_add(pcp, val)		this_cpu_add(pcp, val)
#define raw_cpu_sub(pcp, val)		this_cpu_sub(pcp, val)
#define raw_cpu_inc(pcp)		this_cpu_inc(pcp)
#define raw_cpu_dec(pcp)		this_cpu_dec(pcp)
#define raw_cpu_and(pcp, val)		this_cpu_and(pcp, val)
#define raw_cpu_or(pcp, val)		this_cpu_or(pcp, val)
#define raw_cpu_add_return(pcp, val)	this_cpu_add_return(pcp, val)
#define raw_cpu_sub_return(pcp, val)	this_cpu_sub_return(pcp, val)
#define raw_cpu_inc_return(pcp)		this_cpu_inc_return(pcp)
#define raw_cpu_dec_return(pcp)		this_cpu_dec_return(pcp)
#define raw_cpu_xchg(pcp, val)		this_cpu_xchg(pcp, val)
#define raw_cpu_cmpxchg(pcp, old, new)	this_cpu_cmpxchg(pcp, old, new)
#define raw_cpu_cmpxchg_double(pcp1, pcp2, o1, o2, n1, n2) \
	this_cpu_cmpxchg_double(pcp1, pcp2, o1, o2, n1, n2)

/* Is this a place where the CPU may change? */
#define KARC_PCP_STAYS(operation) (__extension__ ({			\
	const struct cpu *karc_here_ = karc_cpu;			\
	if (unlikely(!karc_here_->preempt_count && !karc_here_->irqs_off)) \
		percpu_preemptible(operation, SITE()); }))

#define __this_cpu_read(pcp)		(KARC_PCP_STAYS("__this_cpu_read"), this_cpu_read(pcp))
#define __this_cpu_write(pcp, val) \
	do { KARC_PCP_STAYS("__this_cpu_write"); this_cpu_write(pcp, val); } while (0)
#define __this_cpu_add(pcp, val)	(KARC_PCP_STAYS("__this_cpu_add"), this_cpu_add(pcp, val))
#define __this_cpu_sub(pcp, val)	(KARC_PCP_STAYS("__this_cpu_sub"), this_cpu_sub(pcp, val))
#define __this_cpu_inc(pcp)		(KARC_PCP_STAYS("__this_cpu_inc"), this_cpu_inc(pcp))
#define __this_cpu_dec(pcp)		(KARC_PCP_STAYS("__this_cpu_dec"), this_cpu_dec(pcp))
#define __this_cpu_and(pcp, val)	(KARC_PCP_STAYS("__this_cpu_and"), this_cpu_and(pcp, val))
#define __this_cpu_or(pcp, val)		(KARC_PCP_STAYS("__this_cpu_or"), this_cpu_or(pcp, val))
#define __this_cpu_add_return(pcp, val) \
	(KARC_PCP_STAYS("__this_cpu_add_return"), this_cpu_add_return(pcp, val))
#define __this_cpu_sub_return(pcp, val) \
	(KARC_PCP_STAYS("__this_cpu_sub_return"), this_cpu_sub_return(pcp, val))
#define __this_cpu_inc_return(pcp) \
	(KARC_PCP_STAYS("__this_cpu_inc_return"), this_cpu_inc_return(pcp))
#define __this_cpu_dec_return(pcp) \
	(KARC_PCP_STAYS("__this_cpu_dec_return"), this_cpu_dec_return(pcp))
#define __this_cpu_xchg(pcp, val)	(KARC_PCP_STAYS("__this_cpu_xchg"), this_cpu_xchg(pcp, val))
#define __this_cpu_cmpxchg(pcp, old, new) \
	(KARC_PCP_STAYS("__this_cpu_cmpxchg"), this_cpu_cmpxchg(pcp, old, new))
#define __this_cpu_cmpxchg_double(pcp1, pcp2, o1, o2, n1, n2) \
	(KARC_PCP_STAYS("__this_cpu_cmpxchg_double"),			\
	 this_cpu_cmpxchg_double(pcp1, pcp2, o1, o2, n1, n2))

#endif
