/* SPDX-License-Identifier: MIT */
/*
 * tracepoint.h - trace points of the allocators: kmalloc, kfree, kmem_cache_alloc, ... as in Linux
 *
 * A trace point hands a record to whoever listens to its event, on the CPU and at the moment where
 * it happens. While nobody listens it is one test of a word in the CPU's first cache line;
 * inlined paths do not test at all: their room is told when listening begins
 * (trace_event_on_change) and sends them the long way.
 */
#ifndef KARC_HW_TRACEPOINT_H
#define KARC_HW_TRACEPOINT_H

#include <karc/base/compiler.h>
#include <karc/base/site.h>
#include <karc/hw/cpu.h>

enum trace_event {
	TRACE_KMALLOC,
	TRACE_KFREE,
	TRACE_KMEM_CACHE_ALLOC,
	TRACE_KMEM_CACHE_FREE,
	TRACE_MM_PAGE_ALLOC,
	TRACE_MM_PAGE_FREE,
	TRACE_SLAB_STEP,		/* inside the slab room; not in Linux */
	NR_TRACE_EVENTS
};

#define TRACE_BIT(event)	(1u << (event))
#define TRACE_ALL		(TRACE_BIT(NR_TRACE_EVENTS) - 1)

/* What changes hands or walks the slabs' fast ways. */
#define TRACE_SLAB_ALL		(TRACE_ALL & ~(TRACE_BIT(TRACE_MM_PAGE_ALLOC) | \
					       TRACE_BIT(TRACE_MM_PAGE_FREE)))

/**
 * struct trace_record - one event; what an event has no use for is zero
 * @site:       who called kmalloc(), kfree() ...
 * @cache:      name of the object's cache; NULL if it has none
 * @bytes_req, @bytes_alloc: asked for, and really used
 * @gfp, @gfp_text: the flags, as a number and by name
 * @step:       of TRACE_SLAB_STEP: the function, and
 * @text:       what it does
 * @cpu, @now_ns, @task, @task_id: where and when; trace_event_emit() fills them
 */
struct trace_record {
	enum trace_event event;
	const struct site *site;
	const void *ptr;
	unsigned long pfn;
	const char *cache;
	size_t bytes_req, bytes_alloc;
	u32 gfp;
	const char *gfp_text;
	unsigned int order;
	int migratetype;
	int node;
	bool accounted;
	const char *step;
	const char *text;
	unsigned int cpu;
	u64 now_ns;
	const char *task;
	u64 task_id;
};

/**
 * struct trace_event_listener - who wants to hear; the caller's memory
 * @ops.fn: @record and the texts in it are valid during the call only. It runs on the announcing
 *          fiber, often with interrupts off and locks held: it must not sleep, lock or allocate,
 *          and what it frees or allocates by mistake is not announced. Events come one after the
 *          other, also when several CPUs announce
 */
struct trace_event_listener {
	struct trace_event_listener *next;
	u32 mask;
	struct {
		void (*fn)(void *arg, const struct trace_record *record);
	} ops;
	void *arg;
};

/**
 * trace_event_listen - hear the events of @mask (TRACE_BIT() of each) on @m
 *
 * @listener stays valid until trace_event_unlisten(), after which it is called no more. In
 * parallel mode a CPU that is in the middle of something may still finish it unheard.
 */
void trace_event_listen(struct machine *m, u32 mask, struct trace_event_listener *listener,
			void (*fn)(void *arg, const struct trace_record *record), void *arg);
void trace_event_unlisten(struct machine *m, struct trace_event_listener *listener);

/**
 * struct trace_event_watch - a room that has paths without a test; the room's memory
 * @ops.fn: the events that somebody listens to are now @mask; it must not sleep, lock or announce
 */
struct trace_event_watch {
	struct trace_event_watch *next;
	struct {
		void (*fn)(struct machine *m, u32 mask);
	} ops;
};

void trace_event_on_change(struct machine *m, struct trace_event_watch *watch,
			   void (*fn)(struct machine *m, u32 mask));
void trace_event_off_change(struct machine *m, struct trace_event_watch *watch);

/* Something else has changed that such paths do not test: fault injection (inject.c). */
void trace_watches_tell(struct machine *m);

/* Does anybody listen to @event here? Inside a machine. */
static __always_inline bool trace_event_on(enum trace_event event)
{
	return unlikely(READ_ONCE(this_cpu()->trace_events) & TRACE_BIT(event));
}

/* To any event of @mask? */
static __always_inline bool trace_events_on(u32 mask)
{
	return unlikely(READ_ONCE(this_cpu()->trace_events) & mask);
}

/* Hand @record to those who listen; fills the rest of it. Any context. */
void trace_event_emit(struct trace_record *record) __cold;

/* TRACE_SLAB_STEP: use the macro, which formats nothing while nobody listens. */
void trace_slab_step_emit(const char *step, const char *fmt, ...) __printf(2, 3) __cold;

#define trace_slab_step(step, ...) \
	do { \
		if (trace_event_on(TRACE_SLAB_STEP)) \
			trace_slab_step_emit(step, __VA_ARGS__); \
	} while (0)

/* "kmalloc", ... */
const char *trace_event_name(enum trace_event event);

/**
 * trace_event_format - the record as Linux 6.1's trace has it: "kfree: call_site=... ptr=..."
 *
 * Returns: bytes it takes without the NUL; what does not fit in @size is cut.
 * Model:   Linux 6.1; call_site is the function with file and line behind it, addresses are those
 *          that a Linux kernel without KASLR would have (trace_address()).
 */
int trace_event_format(const struct trace_record *record, char *buf, size_t size);

/* The same after task, CPU and time, a line of Linux's trace file without its newline. */
int trace_event_line(const struct trace_record *record, char *buf, size_t size);

/*
 * An address of the machine as a Linux kernel on x86-64 without KASLR would print it: direct map
 * from ffff888000000000, vmalloc from ffffc90000000000; others unchanged. A replay gives the same.
 */
u64 trace_address(const void *p);

/* The same for the struct page of frame @pfn. */
u64 trace_page_address(unsigned long pfn);

#endif
