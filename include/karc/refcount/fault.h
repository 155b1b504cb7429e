/* SPDX-License-Identifier: MIT */
/*
 * fault.h - ownership gone wrong: what kinds there are, what is known, what becomes of it
 *
 * Whatever notices a fault has already contained it: the counter sticks, the object is leaked, the
 * call is refused. Then the machine's policy decides: one warning for each kind (the default), the
 * end of the machine, or a call of whoever wants to know. Reports begin with Linux's text where
 * Linux has one, and go on with the object: its type, address, where it was made, and where and by
 * which task its last reference was put, as far as the arc, the tracked list or the quarantine
 * (quarantine.h) knows.
 */
#ifndef KARC_REFCOUNT_FAULT_H
#define KARC_REFCOUNT_FAULT_H

#include <karc/base/compiler.h>
#include <karc/base/site.h>
#include <karc/base/types.h>
#include <karc/hw/machine.h>
#include <karc/refcount/refcount.h>

struct arc;
struct arc_type;

/* The first six are about a count, the others about an object or a call. */
enum arc_fault {
	ARC_FAULT_OVERFLOW,		/* a count beyond REFCOUNT_MAX, or already saturated */
	ARC_FAULT_GET_ON_ZERO,		/* got, but the count was zero */
	ARC_FAULT_UNDERFLOW,		/* put more often than got */
	ARC_FAULT_DEC_LEAK,		/* refcount_dec() reached zero */
	ARC_FAULT_USE_AFTER_PUT,	/* got or put through a stale pointer to a dead object */
	ARC_FAULT_UNINITIALISED,	/* memory that arc_init() has never seen */
	ARC_FAULT_RESURRECTION,		/* got or put again while its destructor ran */
	ARC_FAULT_WEAK_LEFT,		/* memory returned with weak references left */
	ARC_FAULT_ATOMIC,		/* must sleep and cannot, here */
	ARC_FAULT_NO_DESTRUCTOR,	/* neither drop nor fields nor ARC_LEAF; no release() */
	ARC_FAULT_BAD_TYPE,		/* a field table or flags that make no sense */
	ARC_FAULT_FOREIGN,		/* an object of another machine */
	ARC_FAULT_FORGOTTEN,		/* a task ended and still held it */
	ARC_FAULT_HOLDER,		/* a holder released what it does not hold */
	ARC_FAULT_LEFT_TRACKED,		/* a ref_tracker was never freed */
	ARC_FAULT_TRACKER,		/* a ref_tracker freed twice, or of another directory */
	ARC_FAULT_KILLED_TWICE,		/* percpu_ref_kill() of a killed one */
	ARC_FAULT_LOCAL,		/* killed, reinitialised or ended at the wrong moment */
	ARC_FAULT_NOT_RCU,		/* a slot needs a type whose memory waits for readers */
	ARC_FAULT_DTOR_TWICE,		/* one destructor callback registered twice */
	ARC_FAULT_NR
};

/* What becomes of a fault that was contained. */
enum arc_policy {
	ARC_POLICY_WARN,	/* a WARNING, once for each kind until machine_reset_once(); leak */
	ARC_POLICY_STOP,	/* the report, then panic(): the machine runs no task any more */
	ARC_POLICY_CALL,	/* no report: the handler gets it each time */
};

/* A place and who was there; @site NULL: not known. */
struct arc_fault_place {
	const struct site *site;
	const char *task;		/* name of its fiber, or NULL */
	u64 task_id;
	const struct arc_type *owner;	/* it was a field of such an object, torn down there */
};

/**
 * struct arc_fault_info - everything known about one fault; valid during the handler's call
 * @kind:     what happened
 * @counter:  the refcount_t, arc or other thing that it happened to, as given by the caller
 * @object:   start of the object around it, or NULL
 * @type:     of the object, or NULL
 * @half:     "strong", "weak" or "users", or NULL when it was not one of an object's counts
 * @state:    enum arc_state of the object, or -1
 * @created:  where the object was made, or NULL
 * @where:    the faulty call, or NULL
 * @last_put: of a dying or dead object
 * @text:     the report without trace: first line, then one line for each thing known
 */
struct arc_fault_info {
	enum arc_fault kind;
	const void *counter;
	const void *object;
	const struct arc_type *type;
	const char *half;
	int state;
	const struct site *created;
	const struct site *where;
	struct arc_fault_place last_put;
	const char *text;
};

typedef void (*arc_fault_fn)(void *arg, const struct arc_fault_info *info);

struct arc_fault_policy {
	enum arc_policy policy;
	struct {
		arc_fault_fn fn;	/* ARC_POLICY_CALL */
	} ops;
	void *arg;
};

/**
 * arc_fault_policy - what the machine does with faults from now on
 * @fn:  ARC_POLICY_CALL: called for each fault, on the fiber and in the context that made it
 *       (it may be atomic), with no lock of karc's held; NULL otherwise
 * @arg: handed to @fn
 *
 * Context: any. Returns: the policy before, for arc_fault_policy_restore().
 */
struct arc_fault_policy arc_fault_policy(struct machine *m, enum arc_policy policy,
					 arc_fault_fn fn, void *arg);
void arc_fault_policy_restore(struct machine *m, const struct arc_fault_policy *policy);

/* How often each kind happened since boot, also when it was reported before. */
unsigned long arc_fault_count(struct machine *m, enum arc_fault kind);

/* "use-after-put"; for tools and tests. */
const char *arc_fault_name(enum arc_fault kind);

/**
 * arc_fault_raise - a fault was noticed and contained: name it, then the policy
 * @subject: the refcount_t or arc it is about (both begin at the same address), or NULL
 * @where:   the faulty call, or NULL: shown as the place of this call
 *
 * Context: any; no lock of karc's held. Outside a machine it is a line on stderr.
 */
void arc_fault_raise(enum arc_fault kind, const void *subject, const struct site *where) __cold;

/* The same with a first line of its own, without newline. */
void arc_fault_tell(enum arc_fault kind, const void *subject, const struct site *where,
		    const char *fmt, ...) __cold __printf(4, 5);

/**
 * arc_saturate - a count of @arc left its range: pin it and report; the cold end of arc_inline.h
 * @r: &arc->kref.refcount or &arc->weak; must not become zero by this
 * @t: what the operation found
 *
 * As refcount_warn_saturate(), with the object at hand: it also tells apart the objects that are
 * dead (ARC_POISON) and those that were never initialised, and leaves their counts as they are.
 *
 * Returns: true when a reference that was asked for counts as given: @arc is alive and leaked now.
 */
bool arc_saturate(struct arc *arc, refcount_t *r, enum refcount_saturation_type t,
		  const struct site *where) __cold;

/*
 * What both halves of the word hold once the memory is returned (only the weak one for
 * ARC_FINDABLE types, whose lookups must go on to see zero). Negative, so that every operation on
 * it is caught, and far enough from either end for 32768 more.
 */
#define ARC_POISON		((int)0xdead8000u)
#define ARC_IS_POISON(n)	(((unsigned int)(n) & 0xffff0000u) == 0xdead0000u)

#endif
