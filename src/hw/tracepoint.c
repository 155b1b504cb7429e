/* SPDX-License-Identifier: MIT */
/*
 * tracepoint.c - who hears which event, and Linux's text of a record
 *
 * What it is      A list of listeners per machine, each with a mask. The union of the masks lies
 *                 in every CPU's first line, where trace points test it; rooms whose fast paths
 *                 do not are told when it changes.
 * Objects         machine->events -> listeners; machine->event_watches -> watches; both are the
 *                 memory of those who registered
 * Invariants      I1 every CPU's ->trace_events is the union of the listeners' masks
 * Locking         machine->trace_lock: the lists, and all of an event, so that listeners hear one
 *                 after the other; ->trace_events is read without it
 * Worst case      A text is cut at STEP_TEXT_MAX bytes; an event costs a walk of the listeners.
 * Unlike Linux    A call site is a place in the source, and addresses are computed, not hashed. A
 *                 listener hears events of its own machine only. There is no ring buffer: who
 *                 wants to keep a record copies it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/hw/fiber.h>
#include <karc/hw/tracepoint.h>
#include "internal.h"

#define STEP_TEXT_MAX		256

/* Where Linux on x86-64 without KASLR has them. */
#define LINUX_PAGE_OFFSET	0xffff888000000000ULL
#define LINUX_VMALLOC_START	0xffffc90000000000ULL
#define LINUX_KMAP_START	0xfffffe0000000000ULL
#define LINUX_VMEMMAP_START	0xffffea0000000000ULL

static const char *const names[NR_TRACE_EVENTS] = {
	[TRACE_KMALLOC] = "kmalloc",
	[TRACE_KFREE] = "kfree",
	[TRACE_KMEM_CACHE_ALLOC] = "kmem_cache_alloc",
	[TRACE_KMEM_CACHE_FREE] = "kmem_cache_free",
	[TRACE_MM_PAGE_ALLOC] = "mm_page_alloc",
	[TRACE_MM_PAGE_FREE] = "mm_page_free",
	[TRACE_SLAB_STEP] = "slab_step",
};

const char *trace_event_name(enum trace_event event)
{
	return event < NR_TRACE_EVENTS ? names[event] : "no event";
}

/* ---- listening ---- */

/* I1; under trace_lock. */
static void spread_mask(struct machine *m)
{
	const struct trace_event_listener *listener;
	struct trace_event_watch *watch;
	unsigned int cpu;
	u32 mask = 0;

	for (listener = m->events; listener; listener = listener->next)
		mask |= listener->mask;
	for_each_cpu_of(m, cpu)
		WRITE_ONCE(m->cpus[cpu]->trace_events, mask);
	/* A watch that is about to undo its detour must not be overtaken by the mask. */
	smp_mb();
	for (watch = m->event_watches; watch; watch = watch->next)
		watch->ops.fn(m, mask);
}

void trace_watches_tell(struct machine *m)
{
	host_lock(&m->trace_lock);
	spread_mask(m);
	host_unlock(&m->trace_lock);
}

void trace_event_listen(struct machine *m, u32 mask, struct trace_event_listener *listener,
			void (*fn)(void *arg, const struct trace_record *record), void *arg)
{
	listener->mask = mask & TRACE_ALL;
	listener->ops.fn = fn;
	listener->arg = arg;
	host_lock(&m->trace_lock);
	listener->next = m->events;
	m->events = listener;
	spread_mask(m);
	host_unlock(&m->trace_lock);
}

void trace_event_unlisten(struct machine *m, struct trace_event_listener *listener)
{
	struct trace_event_listener **at = &m->events;
	bool found;

	host_lock(&m->trace_lock);
	while (*at && *at != listener)
		at = &(*at)->next;
	found = *at != NULL;
	if (found) {
		*at = listener->next;
		spread_mask(m);
	}
	host_unlock(&m->trace_lock);
	WARN_ON(!found);
	listener->next = NULL;
}

void trace_event_on_change(struct machine *m, struct trace_event_watch *watch,
			   void (*fn)(struct machine *m, u32 mask))
{
	watch->ops.fn = fn;
	host_lock(&m->trace_lock);
	watch->next = m->event_watches;
	m->event_watches = watch;
	fn(m, m->cpus[0]->trace_events);
	host_unlock(&m->trace_lock);
}

void trace_event_off_change(struct machine *m, struct trace_event_watch *watch)
{
	struct trace_event_watch **at = &m->event_watches;

	host_lock(&m->trace_lock);
	while (*at && *at != watch)
		at = &(*at)->next;
	if (*at)
		*at = watch->next;
	host_unlock(&m->trace_lock);
	watch->next = NULL;
}

/* ---- announcing ---- */

void trace_event_emit(struct trace_record *record)
{
	const struct trace_event_listener *listener;
	const struct fiber *f = fiber_self();
	struct machine *m = karc_cpu->machine;

	if (host_lock_is_mine(&m->trace_lock))
		return;			/* a listener's doing: it was told not to */
	record->cpu = karc_cpu->id;
	record->now_ns = clock_now(m);
	record->task = f->name;
	record->task_id = f->id;
	host_lock(&m->trace_lock);
	for (listener = m->events; listener; listener = listener->next) {
		if (listener->mask & TRACE_BIT(record->event))
			listener->ops.fn(listener->arg, record);
	}
	host_unlock(&m->trace_lock);
}

void trace_slab_step_emit(const char *step, const char *fmt, ...)
{
	struct trace_record record = { .event = TRACE_SLAB_STEP, .step = step };
	char text[STEP_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	record.text = text;
	trace_event_emit(&record);
}

/* ---- text ---- */

u64 trace_address(const void *p)
{
	const struct machine *m = karc_cpu ? karc_cpu->machine : NULL;
	u64 bytes, offset;

	if (!m)
		return (u64)p;
	offset = (u64)((const char *)p - physmem_window(m, WINDOW_VMALLOC, &bytes));
	if (offset < bytes)
		return LINUX_VMALLOC_START + offset;
	offset = (u64)((const char *)p - physmem_window(m, WINDOW_KMAP, &bytes));
	if (offset < bytes)
		return LINUX_KMAP_START + offset;
	if (virt_addr_valid_fast(p))
		return LINUX_PAGE_OFFSET + virt_to_phys(p);
	return (u64)p;
}

u64 trace_page_address(unsigned long pfn)
{
	return LINUX_VMEMMAP_START + pfn * PHYSMEM_PAGE_STRUCT_BYTES;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

#define SITE_TEXT_MAX	160

static const char *site_text(char text[SITE_TEXT_MAX], const struct site *site)
{
	if (!site)
		return "?";
	snprintf(text, SITE_TEXT_MAX, "%s@%s:%u", site->func, base_name(site->file), site->line);
	return text;
}

static int format_alloc(const struct trace_record *r, char *buf, size_t size)
{
	char site[SITE_TEXT_MAX];

	return snprintf(buf, size, "%s: call_site=%s ptr=%016llx bytes_req=%zu bytes_alloc=%zu "
			"gfp_flags=%s node=%d accounted=%s", names[r->event],
			site_text(site, r->site), trace_address(r->ptr), r->bytes_req,
			r->bytes_alloc, r->gfp_text ? r->gfp_text : "?", r->node,
			r->accounted ? "true" : "false");
}

static int format_free(const struct trace_record *r, char *buf, size_t size)
{
	char site[SITE_TEXT_MAX];

	return snprintf(buf, size, "%s: call_site=%s ptr=%016llx%s%s", names[r->event],
			site_text(site, r->site), trace_address(r->ptr),
			r->event == TRACE_KMEM_CACHE_FREE ? " name=" : "",
			r->event == TRACE_KMEM_CACHE_FREE && r->cache ? r->cache : "");
}

/* An allocation that failed has no page, as in Linux: page=0, pfn=0. */
static int format_page(const struct trace_record *r, char *buf, size_t size)
{
	u64 page = r->ptr ? trace_page_address(r->pfn) : 0;

	if (r->event == TRACE_MM_PAGE_FREE)
		return snprintf(buf, size, "mm_page_free: page=%016llx pfn=0x%lx order=%u", page,
				r->pfn, r->order);
	return snprintf(buf, size, "mm_page_alloc: page=%016llx pfn=0x%lx order=%u migratetype=%d "
			"gfp_flags=%s", page, r->pfn, r->order, r->migratetype,
			r->gfp_text ? r->gfp_text : "?");
}

int trace_event_format(const struct trace_record *r, char *buf, size_t size)
{
	switch (r->event) {
	case TRACE_KMALLOC:
	case TRACE_KMEM_CACHE_ALLOC:
		return format_alloc(r, buf, size);
	case TRACE_KFREE:
	case TRACE_KMEM_CACHE_FREE:
		return format_free(r, buf, size);
	case TRACE_MM_PAGE_ALLOC:
	case TRACE_MM_PAGE_FREE:
		return format_page(r, buf, size);
	default:
		return snprintf(buf, size, "slab_step: %s: %s", r->step ? r->step : "?",
				r->text ? r->text : "");
	}
}

int trace_event_line(const struct trace_record *r, char *buf, size_t size)
{
	u64 us = r->now_ns / 1000;
	int head = snprintf(buf, size, "%16s-%-7llu [%03u] ..... %5llu.%06llu: ",
			    r->task ? r->task : "?", r->task_id, r->cpu, us / 1000000,
			    us % 1000000);

	if ((size_t)head >= size)
		return head;
	return head + trace_event_format(r, buf + head, size - (size_t)head);
}
