/* SPDX-License-Identifier: MIT */
/*
 * machine.h - power on, power off, and running code on the simulated machine
 *
 * A machine is everything karc keeps: CPUs, memory, and one state pointer per room. Several
 * machines live in one process and never see each other. There is no mutable file-scope state
 * anywhere below this header; what must be remembered hangs off struct machine.
 */
#ifndef KARC_HW_MACHINE_H
#define KARC_HW_MACHINE_H

#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/base/types.h>
#include <stdio.h>

struct cpu;
struct fiber;
struct hostmem_account;
struct machine;
struct check_report;

/* Bottom first: the order of boot. Shutdown goes the other way. */
enum room_id {
	ROOM_HW,
	ROOM_REFCOUNT,
	ROOM_PHYS,
	ROOM_SLAB,
	ROOM_PGTABLE,
	ROOM_KVA,
	ROOM_CACHE,
	ROOM_SPACE,
	ROOM_RECLAIM,
	ROOM_KOBJECT,
	ROOM_PROC,
	ROOM_HARNESS,
	ROOM_NR
};

/**
 * struct room - what one room of the house tells the machine
 * @name:  for messages
 * @id:    slot of the room's state in machine->room[]
 * @init:  build the state; runs on CPU 0 as the host fiber; 0 or -errno; undoes itself on failure
 * @exit:  report what is still alive with machine_report_left(), then free the state; runs as a
 *         task on CPU 0 (hw's own as the host fiber), so that a BUG in it ends that task only
 * @check: verify every invariant of the room, only reading (may be NULL)
 * @drain: give back what is merely cached or postponed (per-CPU lists, RCU callbacks, empty
 *         slabs); returns how many things moved, so that machine_quiesce() can stop (may be NULL)
 * @parting: the machine goes down, and nothing has moved yet: what is to be remembered of it for
 *         the reports of the exits; changes nothing (may be NULL)
 */
struct room {
	const char *name;
	enum room_id id;
	int (*init)(struct machine *m);
	void (*exit)(struct machine *m);
	void (*check)(struct machine *m, struct check_report *report);
	unsigned long (*drain)(struct machine *m);
	void (*parting)(struct machine *m);
};

/* RAM that exists: [start, start + size), page aligned; what lies between banks is a hole. */
struct machine_bank {
	phys_addr_t start;
	u64 size;
	unsigned int node;
};

enum machine_mode {
	MACHINE_DETERMINISTIC,	/* all CPUs are fibers of one host thread, seeded */
	MACHINE_PARALLEL,	/* a host thread per CPU, really at once; the harness's is CPU 0 */
};

#define MACHINE_MAX_CPUS	64
#define MACHINE_MEM_DEFAULT	(256ULL << 20)

/**
 * struct machine_config - the machine to build; zero in a field means its default
 * @nr_cpus:     1 .. MACHINE_MAX_CPUS; default 1
 * @mem_bytes:   RAM, laid out like a PC: a hole at 640 KiB .. 1 MiB, and what does not fit
 *               below 3 GiB continues at 4 GiB; default MACHINE_MEM_DEFAULT
 * @banks:       an explicit memory map instead of @mem_bytes (sorted, disjoint)
 * @nr_banks:    number of @banks
 * @nr_nodes:    NUMA nodes, 1 .. 8, each with an even part of @mem_bytes and a block of CPUs;
 *               default 1, or those that @banks name
 * @dma_end:     end of ZONE_DMA; default 16 MiB
 * @dma32_end:   end of ZONE_DMA32; default 4 GiB
 * @highmem_start: frames from here on are ZONE_HIGHMEM and have no direct map; default: none
 * @movable_start: lowmem frames from here on are ZONE_MOVABLE; default: none
 * @arena_bytes: host address range to reserve; default 16 GiB, or what the map needs
 * @seed:        of the scheduler and of everything else that chooses; a seed replays a run
 * @mode:        see enum machine_mode
 * @switch_every: mean number of safe points between two involuntary switches to another CPU or
 *               fiber in deterministic mode; 0 = default (64), 1 = at each one, -1u = never
 * @wall_time:   in parallel mode time is the host's alone; otherwise it jumps to the next timer
 *               when all CPUs are idle
 * @silent_ms:   in parallel mode, how long somebody waits for a CPU that passes no safe point
 *               before it is reported; default 5000
 * @track:       remember the allocation site of every slab object and frame
 * @holders:     remember who holds each reference of each counted object, see refcount/holder.h;
 *               means @track too
 * @quarantine:  how many dead objects each CPU remembers for reports, see refcount/quarantine.h;
 *               default 0
 * @quarantine_hold: keep the memory of that many dead objects for a while, too
 * @check_tlb:   compare each TLB hit with the page tables; a forgotten flush is a BUG, see mmu.h
 * @cmdline:     boot options, see param.h: "init_on_free=1 slab_debug=FZP"; copied
 * @quiet:       no console output (the log ring still gets everything)
 * @console:     where the console goes; default stderr
 */
struct machine_config {
	unsigned int nr_cpus;
	u64 mem_bytes;
	const struct machine_bank *banks;
	unsigned int nr_banks;
	unsigned int nr_nodes;
	phys_addr_t dma_end;
	phys_addr_t dma32_end;
	phys_addr_t highmem_start;
	phys_addr_t movable_start;
	u64 arena_bytes;
	u64 seed;
	enum machine_mode mode;
	unsigned int switch_every;
	bool wall_time;
	unsigned int silent_ms;
	bool track;
	bool holders;
	unsigned int quarantine;
	bool quarantine_hold;
	bool check_tlb;
	const char *cmdline;
	bool quiet;
	FILE *console;
};

/* How code that ran on the machine came to its end. */
enum machine_end {
	MACHINE_VALUE,		/* fn returned; the value is in .value */
	MACHINE_EXITED,		/* the task left through fiber_exit() (do_exit and the like) */
	MACHINE_BUG,		/* BUG() or a broken contract */
	MACHINE_OOPS,		/* a host fault in simulated kernel code: bad pointer, guard page */
	MACHINE_STUCK,		/* every fiber is blocked and no timer is left */
};

struct machine_result {
	enum machine_end end;
	long value;
	char message[192];	/* first line of the report for BUG, OOPS and STUCK, else "" */
};

/**
 * machine_boot_rooms - power on a machine made of the given rooms
 * @config:   copied; may be NULL for all defaults
 * @rooms:    bottom first; hw_room must be the first
 * @nr_rooms: how many
 *
 * Gives:   a running machine; end it with machine_shutdown(). The caller is not entered.
 * Errors:  ERR_PTR(-EINVAL) for a config that makes no sense (a line on the console says which
 *          field), -ENOMEM, -EAGAIN (no host thread), or what a room's init returned.
 */
KARC_MUST_CHECK struct machine *machine_boot_rooms(const struct machine_config *config,
						   const struct room *const *rooms,
						   unsigned int nr_rooms);

/**
 * machine_shutdown - quiesce, ask what is left, free everything
 *
 * Takes:   the machine; also when things are left.
 * Context: host thread that has not entered another machine; leaves @m if entered.
 * Returns: number of things left alive (0 = clean); each was printed by type and site.
 */
unsigned long machine_shutdown(struct machine *m);

/**
 * machine_enter / machine_leave - let the calling host thread act as the host fiber of CPU 0
 *
 * In between, this_cpu() works and the library may be called directly; a BUG in the host fiber
 * aborts the process. Nests for the same machine. Fibers of CPU 0 run while somebody is in only;
 * in parallel mode the others have threads of their own and go on.
 */
void machine_enter(struct machine *m);
void machine_leave(void);

/**
 * machine_enter_cpu - the same on CPU @cpu, for harnesses with several host threads
 *
 * In parallel mode a host thread may be in on each CPU. It takes the CPU from the CPU's own
 * thread when that is idle or at a place where it can be preempted, and plays it, fibers
 * included, until machine_leave(). Nests for the same CPU.
 *
 * Errors: -EINVAL when there is no such CPU, or in deterministic mode for another one than 0;
 *         -EBUSY when another host thread is in on it; -ENOMEM.
 */
KARC_MUST_CHECK int machine_enter_cpu(struct machine *m, unsigned int cpu);

/**
 * machine_call - run fn(arg) as a task on a stack of its own on CPU @cpu, to its end
 *
 * Context: host thread, entered or not. Other fibers run meanwhile, seeded.
 * Returns: how it ended; BUG, Oops and faults end that task, never the process.
 */
struct machine_result machine_call(struct machine *m, unsigned int cpu, long (*fn)(void *arg),
				   void *arg);

/**
 * machine_quiesce - run everything that is postponed until nothing moves any more
 *
 * RCU callbacks, deferred puts, per-CPU lists, empty slabs: after it, counts are exact.
 * Context: host fiber, or a task that may sleep.
 */
void machine_quiesce(struct machine *m);

/**
 * machine_check - run every room's check
 * Returns: number of violations, each printed to the log.
 */
unsigned long machine_check(struct machine *m);

/**
 * check_fail - a check found a violation of an invariant
 * @report: as handed to the room's check
 * @fmt:    what is wrong, beginning with the invariant's number ("I3: ...")
 */
void check_fail(struct check_report *report, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A check_report of one's own, for tests that corrupt something and expect the finding. */
struct check_report {
	unsigned long nr_violations;
	bool quiet;
	char last[192];
};

/**
 * machine_report_left - a room's exit tells what is still alive
 * @kind:  type name: "mm_struct", "kmalloc-64", "page"
 * @site:  where it was allocated, or NULL if not tracked
 * @count: how many
 * @bytes: how much memory they hold together
 *
 * Prints one line to the log ("left: 1 mm_struct, 1024 bytes, from fork.c:88 dup_mm") and counts.
 */
void machine_report_left(struct machine *m, const char *kind, const struct site *site,
			 unsigned long count, u64 bytes);

/* The lines machine_report_left() wrote, for tools and tests; valid in machine_on_left's call. */
struct machine_left {
	const char *room;		/* who says so */
	const char *kind;
	const struct site *site;
	unsigned long count;
	u64 bytes;
};

/* Called for each leftover during machine_shutdown(), besides the log line. */
void machine_on_left(struct machine *m, void (*fn)(void *arg, const struct machine_left *left),
		     void *arg);

const struct machine_config *machine_config(const struct machine *m);	/* defaults filled in */
unsigned int machine_nr_cpus(const struct machine *m);
struct cpu *machine_cpu(struct machine *m, unsigned int cpu);
void *machine_room(struct machine *m, enum room_id id);
void machine_set_room(struct machine *m, enum room_id id, void *state);
struct log *machine_log(struct machine *m);
struct hostmem_account *machine_hostmem(struct machine *m);	/* charge host memory to this */
u64 machine_random(struct machine *m);		/* the machine's seeded generator */
bool machine_once(struct machine *m, const void *key);	/* true the first time; WARN_ONCE */
void machine_reset_once(struct machine *m);

/* What went wrong since boot, whoever noticed it; a test fixture compares before and after. */
struct machine_counters {
	unsigned long warnings;		/* WARN*() that printed, might_sleep() in atomic context */
	unsigned long bugs;		/* BUG(), broken contracts */
	unsigned long oopses;		/* host faults in simulated code */
	unsigned long stucks;		/* times everything was blocked or spun for nothing */
};

struct machine_counters machine_counters(const struct machine *m);

/**
 * machine_on_symbolize - a better way to name an address in a Call Trace than the dynamic symbols
 * @fn: writes "symbol+0xoff/0xsize" to @buf and returns true, or returns false
 */
typedef bool (*symbolize_t)(const void *address, char *buf, size_t size);
void machine_on_symbolize(struct machine *m, symbolize_t fn);

/* Print "Call Trace:" and the callers of this function to the log (Linux's dump_stack()). */
void dump_stack(void);

/* The machine this host thread is in, or NULL. */
struct machine *this_machine(void);

/* State of room @id of the current machine. */
void *this_room(enum room_id id);

extern const struct room hw_room;

#endif
