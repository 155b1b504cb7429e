/* SPDX-License-Identifier: MIT */
/*
 * reap.h - the teardown worklist, and puts that had to wait
 *
 * Most code needs arc_put() only. This is for who must know that nothing waits any more.
 */
#ifndef KARC_REFCOUNT_REAP_H
#define KARC_REFCOUNT_REAP_H

#include <karc/base/types.h>

/**
 * reap_deferred - tear down what arc_put_deferred() and atomic puts left on this CPU, oldest first
 *
 * The machine calls it in a task of its own soon after; a caller that must see the effect now
 * may call it too.
 * Context: may sleep; does nothing inside a drop body. Returns: how many objects.
 */
unsigned long reap_deferred(void);

/* Objects that wait on any CPU of the current machine. */
unsigned long reap_nr_deferred(void);

#endif
