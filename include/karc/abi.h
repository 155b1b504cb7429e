/* SPDX-License-Identifier: MIT */
/*
 * abi.h - a hash of every layout that inlined code knows
 *
 * karc's fast paths are inlined into the programs that use it, so the sizes and offsets they use
 * are part of the binary interface, and so is the build variant. The program hands the hash it
 * was compiled with to machine_boot(), which refuses a library that has another.
 *
 * KARC_VARIANT is what the build system and the .pc files define: it stands for the sanitizer and
 * for KARC_DEBUG, which go with it.
 */
#ifndef KARC_ABI_H
#define KARC_ABI_H

#include <karc/base/compiler.h>
#include <karc/hw/cpu.h>
#include <karc/hw/fiber.h>
#include <karc/hw/mutex.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/tlb.h>
#include <karc/hw/wait.h>
#include <karc/kobject/kobject.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/slab/kmalloc_sized.h>
#include <karc/mm/slab/slab.h>
#include <karc/proc/task.h>
#include <karc/refcount/arc.h>

#define KARC_ABI_VERSION	1

/* One FNV-1a step over a whole word: a constant expression, so the hash costs nothing. */
#define KARC_ABI_MIX(hash, value)	(((hash) ^ (u64)(value)) * 0x100000001b3ULL)
#define KARC_ABI_TYPE(hash, type)	KARC_ABI_MIX(hash, sizeof(type))
#define KARC_ABI_FIELD(hash, type, field) KARC_ABI_MIX(hash, offsetof(type, field))

static inline u64 karc_abi_hash(void)
{
	u64 h = 0xcbf29ce484222325ULL;

	h = KARC_ABI_MIX(h, KARC_ABI_VERSION);
	h = KARC_ABI_MIX(h, KARC_VARIANT);
#ifdef KARC_DEBUG
	h = KARC_ABI_MIX(h, 1);		/* given by hand, without the variant that goes with it */
#endif
	h = KARC_ABI_TYPE(h, struct cpu);
	h = KARC_ABI_FIELD(h, struct cpu, preempt_count);
	h = KARC_ABI_FIELD(h, struct cpu, pending);
	h = KARC_ABI_FIELD(h, struct cpu, steps);
	h = KARC_ABI_FIELD(h, struct cpu, percpu_offset);
	h = KARC_ABI_FIELD(h, struct cpu, hot);
	h = KARC_ABI_MIX(h, CPU_HOT_BYTES);
	h = KARC_ABI_MIX(h, ROOM_NR);
	h = KARC_ABI_TYPE(h, struct tlb_entry);
	h = KARC_ABI_TYPE(h, struct fiber);
	h = KARC_ABI_FIELD(h, struct fiber, task);
	h = KARC_ABI_TYPE(h, spinlock_t);
	h = KARC_ABI_TYPE(h, struct mutex);
	h = KARC_ABI_TYPE(h, struct rw_semaphore);
	h = KARC_ABI_TYPE(h, struct wait_queue_entry);
	h = KARC_ABI_TYPE(h, struct arc);
	h = KARC_ABI_TYPE(h, struct arc_type);
	h = KARC_ABI_TYPE(h, struct local_hot);
	h = KARC_ABI_TYPE(h, struct ledger_near);
	h = KARC_ABI_FIELD(h, struct ledger_cell, look);
	h = KARC_ABI_TYPE(h, struct slab_hot);
	h = KARC_ABI_TYPE(h, struct local_hot);
	h = KARC_ABI_MIX(h, ARC_PERCPU_LOCAL | ARC_BIASED_OWNER);
	h = KARC_ABI_TYPE(h, struct page);
	h = KARC_ABI_TYPE(h, struct array_cache);
	h = KARC_ABI_TYPE(h, struct kmem_cache);
	h = KARC_ABI_FIELD(h, struct kmem_cache, cpu_cache);
	h = KARC_ABI_TYPE(h, struct inode);
	h = KARC_ABI_TYPE(h, struct file);
	h = KARC_ABI_TYPE(h, struct mm_struct);
	h = KARC_ABI_TYPE(h, struct vm_area_struct);
	h = KARC_ABI_TYPE(h, struct kobject);
	h = KARC_ABI_TYPE(h, struct kset);
	h = KARC_ABI_TYPE(h, struct task_struct);
	h = KARC_ABI_TYPE(h, struct machine_config);
	return h;
}

#endif
