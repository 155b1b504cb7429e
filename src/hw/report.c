/* SPDX-License-Identifier: MIT */
/*
 * report.c - what BUG, WARN and Oops print, and what becomes of the task
 *
 * What it is
 *	The strong ends of base's hooks. A report names the place, the CPU, the fiber, its context
 *	and locks, and the callers. Callers are found along the frame pointers, inside the bounds
 *	of the fiber's stack only, and named by the symbol table of their file; in a stripped one a
 *	static function shows as file and offset, unless the machine has a better symbolizer.
 *
 * Invariants
 *	I1 no frame outside the stack is read, and frames go upwards, so a walk ends
 *	I2 a BUG in the middle of a report does not report again; it only ends the task, and the
 *	   report that it cut short with it: the next one is printed again
 *	I3 the lines of a report stand together: one CPU of a machine reports at a time
 *
 * Locking
 *	m->reporter: the CPU that reports. Who holds it waits for nobody and passes no safe point,
 *	so the others wait for it with interrupts as they are, and no order of locks matters.
 *
 * Unlike Linux
 *	A BUG in interrupt context ends the task that was interrupted; the machine goes on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/hw/context.h>
#include "internal.h"

#define HOST_WALK_BYTES		(64UL << 10)	/* where the bounds of the stack are unknown */
#define REPORTERS_MAX		8u		/* frames that a report itself may have on top */

void report_line(struct machine *m, int level, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX];
	va_list args;
	int length;

	va_start(args, fmt);
	length = vsnprintf(text, sizeof(text) - 1, fmt, args);
	va_end(args);
	if (length > (int)sizeof(text) - 2)
		length = (int)sizeof(text) - 2;
	text[length] = '\n';
	text[length + 1] = '\0';
	karc_log_write(&m->log, level, text);
}

/* ---- one report at a time: I3 ---- */

bool report_begin(struct machine *m)
{
	while (!host_try_lock(&m->reporter)) {
		if (host_lock_is_mine(&m->reporter))
			return false;
		/* One host thread plays all CPUs: whoever is there will not go on meanwhile. */
		if (m->config.mode != MACHINE_PARALLEL)
			return true;
		sched_yield();
	}
	return true;
}

void report_end(struct machine *m)
{
	host_unlock(&m->reporter);
}

/* The fiber ends wherever it is: in the middle of a report, or in a listener's function. */
void report_abandon(struct machine *m)
{
	if (host_lock_is_mine(&m->reporter))
		host_unlock(&m->reporter);
	if (host_lock_is_mine(&m->trace_lock))
		host_unlock(&m->trace_lock);
}

/* ---- call traces ---- */

/* One frame: where the caller's frame pointer and the return address lie. */
struct stack_frame {
	u64 fp;
	u64 return_address;
};

/* The stack may be in use on another host thread meanwhile: a report shows what it can get. */
__no_sanitize_thread unsigned int trace_collect(u64 fp, u64 low, u64 high, void **trace,
						unsigned int max)
{
	unsigned int nr = 0;

	/* Subtractions only: code without frame pointers leaves anything in that register, -8 too. */
	while (nr < max && fp >= low && fp < high && high - fp >= sizeof(struct stack_frame) &&
	       fp % 8 == 0) {
		const struct stack_frame *frame = (const void *)fp;
		u64 outer = READ_ONCE(frame->fp), address = READ_ONCE(frame->return_address);

		if (!address)
			break;
		trace[nr++] = (void *)address;
		if (outer <= fp)
			break;
		fp = outer;
	}
	return nr;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A return address lies behind the call; one byte back is inside it. */
static void name_address(struct machine *m, u64 address, char *buf, size_t size)
{
	const void *inside = (const void *)(address - 1);
	struct link_map *map = NULL;
	Dl_info info;

	if (m && m->symbolize && m->symbolize(inside, buf, size))
		return;
	if (!dladdr1(inside, &info, (void **)&map, RTLD_DL_LINKMAP) || !map) {
		snprintf(buf, size, "? [0x%llx]", address);
		return;
	}
	/* The file's table is asked first: it knows static functions and parts split off. */
	if (symbols_name(*map->l_name ? map->l_name : "/proc/self/exe", address - map->l_addr,
			 buf, size))
		return;
	if (info.dli_sname && info.dli_saddr)
		snprintf(buf, size, "%s+0x%llx", info.dli_sname, address - (u64)info.dli_saddr);
	else
		snprintf(buf, size, "? [%s+0x%llx]", base_name(info.dli_fname),
			 address - (u64)info.dli_fbase);
}

void trace_name(struct machine *m, const void *address, char *buf, size_t size)
{
	name_address(m, (u64)address, buf, size);
}

/* Is this one of the functions that make the report? They are not what the reader looks for. */
static bool is_reporter(const char *symbol)
{
	static const char *const names[] = {
		"karc_bug", "karc_warn", "report_", "trace_print", "dump_stack+",
		"might_sleep_site", "arc_fault_", "arc_saturate+",
		"refcount_warn_saturate+", "panic+",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strncmp(symbol, names[i], strlen(names[i])))
			return true;
	}
	return false;
}

/* The first frame that is not the report's making. */
static unsigned int trace_begin(struct machine *m, void *const *trace, unsigned int nr)
{
	char symbol[SYMBOL_BYTES];
	unsigned int begin = 0;

	for (unsigned int i = 0; i < nr && i < REPORTERS_MAX; i++) {
		name_address(m, (u64)trace[i], symbol, sizeof(symbol));
		if (is_reporter(symbol))
			begin = i + 1;
	}
	return begin;
}

void trace_print(struct machine *m, int level, void *const *trace, unsigned int nr)
{
	unsigned int begin = trace_begin(m, trace, nr), repeated = 0;
	char symbol[SYMBOL_BYTES];

	report_line(m, level, "Call Trace:");
	for (unsigned int i = begin; i < nr; i++) {
		if (i > begin && trace[i] == trace[i - 1] && i + 1 < nr) {
			repeated++;
			continue;
		}
		if (repeated)
			report_line(m, level, " ... %u times more", repeated);
		repeated = 0;
		name_address(m, (u64)trace[i], symbol, sizeof(symbol));
		report_line(m, level, " %s", symbol);
	}
}

/* The host thread's own stack: its end comes from the host, its low end is where we are. */
static void host_bounds(u64 here, u64 *low, u64 *high)
{
	pthread_attr_t attr;
	void *bottom;
	size_t bytes;

	*low = here;
	*high = here + HOST_WALK_BYTES;
	if (pthread_getattr_np(pthread_self(), &attr))
		return;
	if (!pthread_attr_getstack(&attr, &bottom, &bytes) && here >= (u64)bottom &&
	    here < (u64)bottom + bytes)
		*high = (u64)bottom + bytes;
	pthread_attr_destroy(&attr);
}

u64 stack_end_of_thread(u64 here)
{
	u64 low, high;

	host_bounds(here, &low, &high);
	return high == here + HOST_WALK_BYTES ? 0 : high;
}

static void stack_bounds(const struct fiber *f, u64 here, u64 *low, u64 *high)
{
	if (f && f->stack && here >= (u64)f->stack && here < (u64)f->stack + f->stack_bytes) {
		*low = (u64)f->stack;
		*high = *low + f->stack_bytes;
	} else {
		host_bounds(here, low, high);
	}
}

noinline void report_trace_here(struct machine *m, int level)
{
	void *trace[CALL_TRACE_MAX];
	u64 fp = (u64)__builtin_frame_address(0);
	u64 low, high;

	stack_bounds(karc_cpu ? karc_cpu->fiber : NULL, fp, &low, &high);
	trace_print(m, level, trace, trace_collect(fp, low, high, trace, CALL_TRACE_MAX));
}

/* Callers of a fiber that is not on the host thread now. */
void trace_print_fiber(struct machine *m, int level, struct fiber *f)
{
	void *trace[CALL_TRACE_MAX];
	u64 low, high;

	if (karc_cpu && f == karc_cpu->fiber) {
		report_trace_here(m, level);
		return;
	}
	if (!f->stack || !f->sp)
		return;
	low = (u64)f->stack;
	high = low + f->stack_bytes;
	trace_print(m, level, trace,
		    trace_collect(switch_saved_fp(f->sp), low, high, trace, CALL_TRACE_MAX));
}

void dump_stack(void)
{
	struct machine *m = this_machine();
	bool outermost;

	if (!m)
		return;
	outermost = report_begin(m);
	report_where(m, LOGLEVEL_WARNING);
	report_trace_here(m, LOGLEVEL_WARNING);
	if (outermost)
		report_end(m);
}

void report_where(struct machine *m, int level)
{
	struct cpu *cpu = karc_cpu;
	const char *context = in_hardirq() ? " in hardirq" :
			      in_serving_softirq() ? " in softirq" : "";
	const struct site *site = cpu->fiber->preempt_site;

	report_line(m, level, "CPU: %u PID: %llu Comm: %s%s preempt_count: %x%s", cpu->id,
		    cpu->fiber->id, cpu->fiber->name, context, (unsigned int)cpu->preempt_count,
		    cpu->irqs_off ? " irqs off" : "");
	if (site && cpu->preempt_count)
		report_line(m, level, "Preemption disabled at: %s:%u %s, by kmap_atomic()",
			    site->file, site->line, site->func);
	lockrank_print_held(m, cpu->fiber);
}

/* ---- base's hooks ---- */

struct log *karc_log_hook(void)
{
	return karc_cpu && karc_cpu->machine->log_up ? &karc_cpu->machine->log : NULL;
}

bool karc_once_hook(const void *key)
{
	return !karc_cpu || machine_once(karc_cpu->machine, key);
}

void karc_warn_hook(const struct bug_site *where, const char *msg)
{
	const struct site *site = &where->site;
	unsigned long nr;
	struct machine *m;
	bool outermost;

	if (!karc_cpu) {
		fprintf(stderr, "WARNING: at %s:%u %s: %s\n", site->file, site->line, site->func,
			*msg ? msg : where->text);
		return;
	}
	m = karc_cpu->machine;
	nr = machine_count(&m->counters.warnings);
	outermost = report_begin(m);
	report_line(m, LOGLEVEL_WARNING, "------------[ cut here ]------------");
	if (*msg)
		report_line(m, LOGLEVEL_WARNING, "%s", msg);
	report_line(m, LOGLEVEL_WARNING, "WARNING: CPU: %u PID: %llu at %s:%u %s%s%s%s",
		    karc_cpu->id, karc_cpu->fiber->id, site->file, site->line, site->func,
		    *msg ? "" : " (", *msg ? "" : where->text, *msg ? "" : ")");
	report_where(m, LOGLEVEL_WARNING);
	report_trace_here(m, LOGLEVEL_WARNING);
	report_line(m, LOGLEVEL_WARNING, "---[ end trace %016llx ]---", (u64)nr);
	if (outermost)
		report_end(m);
}

/* Outside a machine, or in the host fiber: nobody is left to go on. */
static void die_on_host(struct machine *m, const char *line)
{
	if (!m || m->config.quiet || !m->config.console)
		fprintf(stderr, "%s\n", line);
	abort();
}

void karc_bug_hook(const struct bug_site *where, const char *msg)
{
	const struct site *site = &where->site;
	char line[sizeof_field(struct machine_result, message)];
	struct machine *m = this_machine();

	if (*msg)
		snprintf(line, sizeof(line), "kernel BUG at %s:%u! %s", site->file, site->line,
			 msg);
	else if (*where->text)
		snprintf(line, sizeof(line), "kernel BUG at %s:%u! (%s)", site->file, site->line,
			 where->text);
	else
		snprintf(line, sizeof(line), "kernel BUG at %s:%u!", site->file, site->line);
	if (!m)
		die_on_host(NULL, line);
	if (report_begin(m)) {
		unsigned long nr = machine_count(&m->counters.bugs);

		report_line(m, LOGLEVEL_EMERG, "------------[ cut here ]------------");
		report_line(m, LOGLEVEL_EMERG, "%s", line);
		report_where(m, LOGLEVEL_EMERG);
		report_trace_here(m, LOGLEVEL_EMERG);
		report_line(m, LOGLEVEL_EMERG, "---[ end trace %016llx ]---", (u64)nr);
		report_end(m);
	}
	if (fiber_flags(karc_cpu->fiber) & FIBER_HOST)
		die_on_host(m, line);
	fiber_end(MACHINE_BUG, 0, line);
}
