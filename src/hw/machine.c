/* SPDX-License-Identifier: MIT */
/*
 * machine.c - power on, power off, entering, and the machine's books
 *
 * What it is
 *	A machine is built from the ground (host memory, RAM, CPUs, fibers) and then room by room,
 *	bottom first; it goes down the other way. Each room reports what is still alive in it, and
 *	the sum is the verdict of machine_shutdown().
 *
 * Objects
 *	host program -> struct machine -> CPUs, fibers, RAM, log; room[] -> one state per room
 *
 * Invariants
 *	I1 rooms[0 .. nr_rooms) are up, in boot order; exit runs in reverse
 *	I2 at most one host thread is entered, and it enters one machine at a time; in parallel mode
 *	   one for each CPU, and those that nobody has entered but CPU 0 have host threads of their
 *	   own (parallel.c)
 *	I3 host memory of a machine (its log aside) is charged to ->hostmem, empty at the end
 *
 * Locking
 *	books_lock	the generator, things said once; rooms change at boot and shutdown only
 *	->entered, ->nr_left and the counters are atomic
 *
 * Life
 *	boot -> (enter -> leave)* -> shutdown. Between leave and the next enter nothing runs, in
 *	parallel mode nothing but CPUs other than 0.
 *
 * Worst case
 *	machine_quiesce() stops after QUIESCE_ROUNDS rounds that each moved something, or when the
 *	fibers and softirqs have no end (one that always starts itself again): it says so.
 *
 * Unlike Linux
 *	Several machines live in one process, in either mode.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/hw/context.h>
#include <karc/hw/panic.h>
#include "internal.h"

#define LOG_RING_BYTES		(128UL << 10)
#define CONSOLE_LEVEL		(LOGLEVEL_WARNING + 1)
#define SWITCH_EVERY_DEFAULT	64
#define SEED_DEFAULT		1
#define SILENT_MS_DEFAULT	5000
#define QUIESCE_ROUNDS		1000u

/* ---- books ---- */

const struct machine_config *machine_config(const struct machine *m)
{
	return &m->config;
}

unsigned int machine_nr_cpus(const struct machine *m)
{
	return m->nr_cpus;
}

struct cpu *machine_cpu(struct machine *m, unsigned int cpu)
{
	BUG_ON(cpu >= m->nr_cpus);
	return m->cpus[cpu];
}

void *machine_room(struct machine *m, enum room_id id)
{
	return m->room[id];
}

void machine_set_room(struct machine *m, enum room_id id, void *state)
{
	m->room[id] = state;
}

struct log *machine_log(struct machine *m)
{
	return &m->log;
}

struct hostmem_account *machine_hostmem(struct machine *m)
{
	return &m->hostmem;
}

u64 machine_random(struct machine *m)
{
	u64 value;

	hw_lock(m, &m->books_lock);
	value = rnd_u64(&m->rnd_public);
	hw_unlock(m, &m->books_lock);
	return value;
}

struct machine_counters machine_counters(const struct machine *m)
{
	return (struct machine_counters){
		.warnings = READ_ONCE(m->counters.warnings),
		.bugs = READ_ONCE(m->counters.bugs),
		.oopses = READ_ONCE(m->counters.oopses),
		.stucks = READ_ONCE(m->counters.stucks),
	};
}

void machine_on_symbolize(struct machine *m, symbolize_t fn)
{
	m->symbolize = fn;
}

struct machine *this_machine(void)
{
	return karc_cpu ? karc_cpu->machine : NULL;
}

void *this_room(enum room_id id)
{
	return karc_cpu->machine->room[id];
}

/* ---- things said once: an open-addressed set of addresses ---- */

static bool once_put(const void **table, unsigned int capacity, const void *key)
{
	unsigned int i = (unsigned int)(((u64)key >> 3) * 0x9e3779b97f4a7c15ULL >> 32);

	for (i &= capacity - 1; table[i]; i = (i + 1) & (capacity - 1)) {
		if (table[i] == key)
			return false;
	}
	table[i] = key;
	return true;
}

static int once_grow(struct machine *m)
{
	unsigned int capacity = m->once_capacity ? 2 * m->once_capacity : 64;
	const void **table = hostmem_zalloc(&m->hostmem, capacity * sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (unsigned int i = 0; i < m->once_capacity; i++) {
		if (m->once[i])
			once_put(table, capacity, m->once[i]);
	}
	hostmem_free(&m->hostmem, m->once);
	m->once = table;
	m->once_capacity = capacity;
	return 0;
}

bool machine_once(struct machine *m, const void *key)
{
	bool first = true;

	hw_lock(m, &m->books_lock);
	/* When it cannot grow: better said twice than not at all. */
	if (2 * m->nr_once < m->once_capacity || !once_grow(m)) {
		first = once_put(m->once, m->once_capacity, key);
		m->nr_once += first;
	}
	hw_unlock(m, &m->books_lock);
	return first;
}

void machine_reset_once(struct machine *m)
{
	hw_lock(m, &m->books_lock);
	hostmem_free(&m->hostmem, m->once);
	m->once = NULL;
	m->nr_once = 0;
	m->once_capacity = 0;
	hw_unlock(m, &m->books_lock);
}

/* ---- entering ---- */

/* Is this thread in @m as a harness thread? Anything else it may be in is a BUG. */
static bool nests(struct machine *m)
{
	if (!karc_cpu)
		return false;
	if (karc_cpu->machine != m || !(fiber_flags(karc_cpu->fiber) & FIBER_HOST))
		karc_bug_msg(KARC_BUG_SITE(""), "machine_enter: this thread is in %s",
			     karc_cpu->machine == m ? "a task of this machine" :
			     "another machine");
	return true;
}

static int enter(struct machine *m, struct cpu *cpu)
{
	struct cpu_priv *p = cpu_priv(cpu);

	if (__atomic_exchange_n(&p->entered, 1, __ATOMIC_ACQUIRE))
		return -EBUSY;
	if (fiber_make_host(cpu)) {
		__atomic_store_n(&p->entered, 0, __ATOMIC_RELEASE);
		return -ENOMEM;
	}
	p->enter_depth = 1;
	if (m->parallel)
		parallel_take(cpu);
	trap_enter_cpu(cpu);
	fiber_enter_host(cpu);
	return 0;
}

void machine_enter(struct machine *m)
{
	if (nests(m))
		cpu_priv(karc_cpu)->enter_depth++;
	else if (enter(m, m->cpus[0]))
		karc_bug_msg(KARC_BUG_SITE(""), "machine_enter: another host thread is in");
}

int machine_enter_cpu(struct machine *m, unsigned int cpu)
{
	if (cpu >= m->nr_cpus || (cpu && !m->parallel))
		return -EINVAL;
	if (!nests(m))
		return enter(m, m->cpus[cpu]);
	BUG_ON(karc_cpu->id != cpu);
	cpu_priv(karc_cpu)->enter_depth++;
	return 0;
}

void machine_leave(void)
{
	struct cpu *cpu = karc_cpu;
	struct cpu_priv *p;

	BUG_ON(!cpu || !(fiber_flags(cpu->fiber) & FIBER_HOST));
	p = cpu_priv(cpu);
	BUG_ON(!p->enter_depth);
	if (--p->enter_depth)
		return;
	BUG_ON(!preemptible());
	fiber_leave_host(cpu);
	trap_leave_cpu(cpu);
	if (cpu->machine->parallel)
		parallel_give_back(cpu);
	__atomic_store_n(&p->entered, 0, __ATOMIC_RELEASE);
}

/* Is this host thread in @m already, as the host fiber or as a task? */
static bool is_inside(const struct machine *m)
{
	return karc_cpu && karc_cpu->machine == m;
}

static struct machine_result no_call(long error, const char *why)
{
	struct machine_result result = { .end = MACHINE_EXITED, .value = error };

	snprintf(result.message, sizeof(result.message), "machine_call: %s", why);
	return result;
}

static struct machine_result panicked_call(const struct machine *m)
{
	struct machine_result result = { .end = MACHINE_BUG };

	snprintf(result.message, sizeof(result.message), "%s", machine_panicked(m));
	return result;
}

struct machine_result machine_call(struct machine *m, unsigned int cpu, long (*fn)(void *arg),
				   void *arg)
{
	bool inside = is_inside(m);
	struct machine_result result;
	struct fiber *f;

	if (cpu >= m->nr_cpus)
		return no_call(-EINVAL, "no such CPU");
	if (unlikely(machine_panicked(m)))
		return panicked_call(m);
	if (!inside)
		machine_enter(m);
	f = fiber_spawn_in(m, cpu, "call", fn, arg, FIBER_CALL);
	if (f)
		fiber_join(f, &result);
	else
		result = no_call(-ENOMEM, "no host memory for a stack");
	if (!inside)
		machine_leave();
	return result;
}

/* ---- quiet points ---- */

static unsigned long drain_rooms(struct machine *m)
{
	unsigned long moved = 0;

	for (unsigned int i = m->nr_rooms; i-- > 0; ) {
		if (m->rooms[i]->drain)
			moved += m->rooms[i]->drain(m);
	}
	return moved;
}

void machine_quiesce(struct machine *m)
{
	bool inside = is_inside(m);
	unsigned int round = 0;
	bool settled;

	if (!inside)
		machine_enter(m);
	do {
		settled = fibers_settle(m);
	} while (drain_rooms(m) && settled && ++round < QUIESCE_ROUNDS);
	if (!settled || round == QUIESCE_ROUNDS)
		report_line(m, LOGLEVEL_ERR, "machine_quiesce: still moving after %u rounds",
			    round);
	if (!inside)
		machine_leave();
}

void check_fail(struct check_report *report, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(report->last, sizeof(report->last), fmt, args);
	va_end(args);
	report->nr_violations++;
	if (!report->quiet)
		printk(KERN_ERR "check: %s\n", report->last);
}

unsigned long machine_check(struct machine *m)
{
	struct check_report report = { .nr_violations = 0 };
	bool inside = is_inside(m);

	if (!inside)
		machine_enter(m);
	for (unsigned int i = 0; i < m->nr_rooms; i++) {
		if (m->rooms[i]->check)
			m->rooms[i]->check(m, &report);
	}
	if (!inside)
		machine_leave();
	return report.nr_violations;
}

/* ---- what is left ---- */

void machine_on_left(struct machine *m, void (*fn)(void *arg, const struct machine_left *left),
		     void *arg)
{
	m->on_left = fn;
	m->on_left_arg = arg;
}

void machine_report_left(struct machine *m, const char *kind, const struct site *site,
			 unsigned long count, u64 bytes)
{
	struct machine_left left = {
		.room = m->nr_rooms ? m->rooms[m->nr_rooms - 1]->name : "hw",
		.kind = kind, .site = site, .count = count, .bytes = bytes,
	};

	if (!count)
		return;
	__atomic_fetch_add(&m->nr_left, count, __ATOMIC_RELAXED);
	if (site)
		report_line(m, LOGLEVEL_ERR, "left: %lu %s, %llu bytes, from %s:%u %s", count, kind,
			    bytes, site->file, site->line, site->func);
	else
		report_line(m, LOGLEVEL_ERR, "left: %lu %s, %llu bytes", count, kind, bytes);
	if (m->on_left)
		m->on_left(m->on_left_arg, &left);
}

/* ---- the hw room itself ---- */

static int hw_init(struct machine *m)
{
	(void)m;	/* the ground is there before any room */
	return 0;
}

static void hw_exit(struct machine *m)
{
	fibers_report_left(m);
	machine_report_left(m, "timer pending", NULL, clock_nr_pending(m), 0);
	for (unsigned int i = 0; i < NR_IRQ_LINES; i++)
		machine_report_left(m, "irq line requested", NULL, m->lines[i].handler != NULL, 0);
}

static void hw_check(struct machine *m, struct check_report *report)
{
	fibers_check(m, report);
}

const struct room hw_room = {
	.name = "hw",
	.id = ROOM_HW,
	.init = hw_init,
	.exit = hw_exit,
	.check = hw_check,
};

/* ---- power ---- */

static int config_error(const struct machine_config *config, int err, const char *what)
{
	FILE *console = config->console ? config->console : stderr;

	if (!config->quiet)
		fprintf(console, "machine config: %s\n", what);
	return err;
}

static int check_config(const struct machine_config *config, const struct room *const *rooms,
			unsigned int nr_rooms)
{
	if (config->nr_cpus > MACHINE_MAX_CPUS)
		return config_error(config, -EINVAL, "nr_cpus: 1 .. 64");
	if (config->mode != MACHINE_DETERMINISTIC && config->mode != MACHINE_PARALLEL)
		return config_error(config, -EINVAL, "mode: unknown");
	if (!nr_rooms || nr_rooms > MACHINE_ROOMS_MAX || rooms[0] != &hw_room)
		return config_error(config, -EINVAL, "rooms: hw first, each once");
	for (unsigned int i = 1; i < nr_rooms; i++) {
		if (rooms[i]->id <= rooms[i - 1]->id)
			return config_error(config, -EINVAL, "rooms: bottom first");
	}
	return 0;
}

static void fill_defaults(struct machine_config *config)
{
	if (!config->nr_cpus)
		config->nr_cpus = 1;
	if (!config->mem_bytes)
		config->mem_bytes = MACHINE_MEM_DEFAULT;
	if (!config->dma_end)
		config->dma_end = 16ULL << 20;
	if (!config->dma32_end)
		config->dma32_end = 4ULL << 30;
	if (!config->seed)
		config->seed = SEED_DEFAULT;
	config->track |= config->holders;
	if (!config->switch_every)
		config->switch_every = SWITCH_EVERY_DEFAULT;
	if (!config->silent_ms)
		config->silent_ms = SILENT_MS_DEFAULT;
	if (!config->console)
		config->console = stderr;
}

static u64 log_clock(void *arg)
{
	return clock_now(arg);
}

static int log_power_on(struct machine *m)
{
	/* Not charged to the machine: the log is read after everything else is gone. */
	int err = karc_log_init(&m->log, NULL, LOG_RING_BYTES);

	if (err)
		return err;
	m->log.console = m->config.quiet ? NULL : m->config.console;
	m->log.console_level = CONSOLE_LEVEL;
	m->log.clock.now_ns = log_clock;
	m->log.clock.arg = m;
	m->log_up = true;
	return 0;
}

/* All that is below the rooms. */
static int ground_up(struct machine *m)
{
	int err = log_power_on(m);

	if (err)
		return err;
	err = params_init(m);
	if (err)
		return err;
	err = cpus_init(m);
	if (err)
		return err;
	err = physmem_init(m);
	if (err)
		return err;
	err = parallel_init(m);
	if (err)
		return err;
	err = fibers_init(m);
	if (err)
		return err;
	err = trap_init(m);
	if (err)
		return err;
	return parallel_start(m);
}

/* Undoes ground_up(), also a part of it; the log stays for those who want to read it. */
void machine_ground_down(struct machine *m)
{
	parallel_stop(m);
	trap_exit(m);
	percpu_exit(m);
	fibers_exit(m);
	parallel_exit(m);
	physmem_exit(m);
	cpus_exit(m);
	params_exit(m);
	machine_reset_once(m);
}

void machine_free(struct machine *m)
{
	if (m->log_up)
		karc_log_exit(&m->log);
	hostmem_free(NULL, m);
}

/*
 * A destructor or callback that dies only at power-off ends a task of its own, not the host
 * process; what it was about is left.
 */
static void call_at_last(struct machine *m, long (*fn)(void *arg), void *arg, const char *what)
{
	struct machine_result r = machine_call(m, 0, fn, arg);

	if (r.end == MACHINE_VALUE)
		return;
	m->nr_left++;
	report_line(m, LOGLEVEL_ERR, "left: %s did not run to its end: %s", what, r.message);
}

static long quiesce_entry(void *arg)
{
	machine_quiesce(arg);
	return 0;
}

static long rooms_parting_entry(void *arg)
{
	struct machine *m = arg;

	for (unsigned int i = 0; i < m->nr_rooms; i++) {
		if (m->rooms[i]->parting)
			m->rooms[i]->parting(m);
	}
	return 0;
}

static long room_exit_entry(void *arg)
{
	const struct room *room = arg;

	room->exit(this_machine());
	return 0;
}

static void rooms_down(struct machine *m)
{
	while (m->nr_rooms) {
		const struct room *room = m->rooms[m->nr_rooms - 1];

		if (room->exit && room == &hw_room)
			room->exit(m);		/* it counts fibers: none of its own */
		else if (room->exit)
			call_at_last(m, room_exit_entry, (void *)room, room->name);
		m->nr_rooms--;
	}
}

static int rooms_up(struct machine *m, const struct room *const *rooms, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		int err = rooms[i]->init ? rooms[i]->init(m) : 0;

		if (err) {
			report_line(m, LOGLEVEL_ERR, "machine: room %s does not come up: %d",
				    rooms[i]->name, err);
			return err;
		}
		m->rooms[m->nr_rooms++] = rooms[i];
	}
	return 0;
}

struct machine *machine_boot_rooms(const struct machine_config *config,
				   const struct room *const *rooms, unsigned int nr_rooms)
{
	static const struct machine_config all_defaults;
	struct machine *m;
	int err;

	if (!config)
		config = &all_defaults;
	err = check_config(config, rooms, nr_rooms);
	if (err)
		return ERR_PTR(err);
	m = hostmem_zalloc(NULL, sizeof(*m));
	if (!m)
		return ERR_PTR(-ENOMEM);
	m->config = *config;
	fill_defaults(&m->config);
	m->nr_cpus = m->config.nr_cpus;
	m->parallel = m->config.mode == MACHINE_PARALLEL;
	m->boot_host_ns = parallel_host_ns();
	m->next_expiry_ns = ~0ULL;
	INIT_LIST_HEAD(&m->all_fibers);
	rnd_seed(&m->rnd, m->config.seed);
	rnd_seed(&m->rnd_public, ~m->config.seed);
	err = ground_up(m);
	if (!err) {
		machine_enter(m);
		err = rooms_up(m, rooms, nr_rooms);
		if (err)
			rooms_down(m);
		else
			params_say_unknown(m);
		machine_leave();
	}
	if (err) {
		machine_ground_down(m);
		machine_free(m);
		return ERR_PTR(err);
	}
	return m;
}

unsigned long machine_power_off(struct machine *m)
{
	machine_enter(m);
	panic_lift(m);
	call_at_last(m, quiesce_entry, m, "what was postponed");
	call_at_last(m, rooms_parting_entry, m, "a last look at everything");
	rooms_down(m);
	cpu_priv(karc_cpu)->enter_depth = 1;
	machine_leave();
	machine_ground_down(m);
	/* I3: a room that lost host memory shows here, below every more telling report. */
	machine_report_left(m, "host memory block", NULL, m->hostmem.nr_blocks, m->hostmem.bytes);
	machine_report_left(m, "host memory map", NULL, m->hostmem.nr_maps, m->hostmem.bytes);
	return m->nr_left;
}

unsigned long machine_shutdown(struct machine *m)
{
	unsigned long left;

	BUG_ON(karc_cpu && (karc_cpu->machine != m || karc_cpu->fiber != m->host));
	left = machine_power_off(m);
	machine_free(m);
	return left;
}
