/* SPDX-License-Identifier: MIT */
/*
 * What it is      A list of listeners per machine. Code that does something worth watching calls
 *                 trace_step(); with no listener that is a load and a jump.
 * Locking         machine->trace_lock: the list, and all of a step, so that listeners hear one
 *                 step after the other whatever CPU it happens on. Whether anybody listens is
 *                 read without it; a listener that is added while others run may miss a step.
 * Worst case      A line is cut at TRACE_TEXT_MAX bytes.
 */
#include <karc/base/bug.h>
#include <karc/hw/cpu.h>
#include <karc/hw/trace.h>
#include <stdarg.h>

#include "internal.h"

#define TRACE_TEXT_MAX	256

void trace_listen(struct machine *m, struct trace_listener *listener,
		  void (*step)(void *arg, const char *fn, const char *text), void *arg)
{
	listener->ops.step = step;
	listener->arg = arg;
	host_lock(&m->trace_lock);
	listener->next = m->trace;
	WRITE_ONCE(m->trace, listener);
	host_unlock(&m->trace_lock);
}

void trace_unlisten(struct machine *m, struct trace_listener *listener)
{
	struct trace_listener **at = &m->trace;
	bool found;

	host_lock(&m->trace_lock);
	while (*at && *at != listener)
		at = &(*at)->next;
	found = *at != NULL;
	if (found)
		WRITE_ONCE(*at, listener->next);
	host_unlock(&m->trace_lock);
	WARN_ON(!found);
	listener->next = NULL;
}

bool trace_heard(void)
{
	return karc_cpu && READ_ONCE(karc_cpu->machine->trace);
}

void trace_announce(const char *fn, const char *fmt, ...)
{
	struct machine *m = karc_cpu->machine;
	struct trace_listener *listener;
	char text[TRACE_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (host_lock_is_mine(&m->trace_lock))
		return;			/* a listener announces: it was told not to */
	host_lock(&m->trace_lock);
	for (listener = m->trace; listener; listener = listener->next)
		listener->ops.step(listener->arg, fn, text);
	host_unlock(&m->trace_lock);
}
