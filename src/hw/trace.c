/* SPDX-License-Identifier: MIT */
/*
 * What it is      A list of listeners per machine. Code that does something worth watching calls
 *                 trace_step(); with no listener that is a load and a jump.
 * Locking         The list changes at quiet times only: no fiber announces meanwhile.
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
	listener->next = m->trace;
	m->trace = listener;
}

void trace_unlisten(struct machine *m, struct trace_listener *listener)
{
	struct trace_listener **at = &m->trace;

	while (*at && *at != listener)
		at = &(*at)->next;
	if (WARN_ON(!*at))
		return;
	*at = listener->next;
	listener->next = NULL;
}

bool trace_heard(void)
{
	return karc_cpu && karc_cpu->machine->trace;
}

void trace_announce(const char *fn, const char *fmt, ...)
{
	struct trace_listener *listener;
	char text[TRACE_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	for (listener = karc_cpu->machine->trace; listener; listener = listener->next)
		listener->ops.step(listener->arg, fn, text);
}
