/* SPDX-License-Identifier: MIT */
/*
 * trace.h - listen to the steps that code announces; costs one load while nobody does
 *
 * Teardown and its like announce what they do, counts before and after included:
 * trace_step("mmput", "mm %llu: mm_users %u -> %u", ...). Scenarios and tests listen.
 */
#ifndef KARC_HW_TRACE_H
#define KARC_HW_TRACE_H

#include <karc/base/compiler.h>
#include <karc/hw/machine.h>

/**
 * struct trace_listener - who wants to hear; the caller's memory
 * @ops.step: @fn is the announcing function, @text one formatted line without newline; called on
 *            the announcing fiber, in its context: it must not sleep, lock or announce. Steps
 *            come one after the other, also when several CPUs announce
 */
struct trace_listener {
	struct trace_listener *next;
	struct {
		void (*step)(void *arg, const char *fn, const char *text);
	} ops;
	void *arg;
};

/*
 * Start and stop listening on @m; @listener stays valid in between. After trace_unlisten() it is
 * called no more.
 */
void trace_listen(struct machine *m, struct trace_listener *listener,
		  void (*step)(void *arg, const char *fn, const char *text), void *arg);
void trace_unlisten(struct machine *m, struct trace_listener *listener);

/* Does anybody listen on the current machine? */
bool trace_heard(void);

/* Announce a step; use the macro, which formats nothing while nobody listens. */
void trace_announce(const char *fn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define trace_step(fn, ...) \
	do { \
		if (unlikely(trace_heard())) \
			trace_announce(fn, __VA_ARGS__); \
	} while (0)

#endif
