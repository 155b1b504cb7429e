/* SPDX-License-Identifier: MIT */
/*
 * holder.h - who holds which reference
 *
 * On a machine booted with machine_config.holders each strong reference of each arc has a record:
 * who holds it, where and when it was taken, by which callers. Gets and puts keep the records by
 * themselves: a get is held by the task that made it, a put ends the latest reference that the
 * running task has on the object. What neither shows is that a reference was handed on; a room
 * that stores one where no field table shows it, or clears a field by hand, says so with the calls
 * below. On other machines they cost one test of a byte.
 *
 * A task that ends gives account (holder_settle()): what it still has and no field explains was
 * forgotten, and is named.
 */
#ifndef KARC_REFCOUNT_HOLDER_H
#define KARC_REFCOUNT_HOLDER_H

#include <karc/base/compiler.h>
#include <karc/base/site.h>
#include <karc/base/types.h>
#include <karc/hw/machine.h>
#include <karc/refcount/arc.h>

struct fiber;

#define HOLDER_NAME_LEN	24
#define HOLDER_STACK	8	/* callers that a record keeps */

enum holder_kind {
	HOLDER_TASK,		/* a task, or a fiber that is none */
	HOLDER_FIELD,		/* a field of another object */
	HOLDER_ROOT,		/* the machine, or somebody outside of it, under a name */
	HOLDER_USERS,		/* all users of a two-tier object together */
	HOLDER_SOFTIRQ,
	HOLDER_HARDIRQ,
	HOLDER_GONE,		/* a task that ended and forgot it */
};

/**
 * struct holder - one reference, as its record had it
 * @kind:    who holds it
 * @user:    one of the users of a two-tier object, not a strong reference
 * @is_pid:  TASK, GONE: @id is a pid, not the number of a fiber
 * @arc:     what is held; to be compared only
 * @name:    TASK, GONE: the task's name
 * @id:      TASK, GONE: its number; SOFTIRQ, HARDIRQ: the CPU
 * @owner:   FIELD: the arc of the owner, to be compared only
 * @label:   FIELD: name of the field; ROOT: the root's name
 * @owner_type: FIELD
 * @site:    where the reference was taken; NULL if unknown
 * @seq:     order of taking, from 1
 * @stack:   return addresses of the callers, innermost first; @nr_stack of them
 */
struct holder {
	enum holder_kind kind;
	bool user;
	bool is_pid;
	const struct arc *arc;
	char name[HOLDER_NAME_LEN];
	u64 id;
	const struct arc *owner;
	const struct arc_type *owner_type;
	const char *label;
	const struct site *site;
	u64 seq;
	unsigned int nr_stack;
	unsigned long stack[HOLDER_STACK];
};

/**
 * holder_for_each - the references on one object, oldest first
 * @fn: gets a copy of each record, without any lock; it may get and put
 *
 * Context: any; the caller keeps @arc alive. Nothing without machine_config.holders.
 */
void holder_for_each(const struct arc *arc, void (*fn)(void *arg, const struct holder *h),
		     void *arg);

/* The same for every object of @m. */
void holder_for_each_of(struct machine *m, void (*fn)(void *arg, const struct holder *h),
			void *arg);

/* References on @arc that no record could be made for: host memory or HOLDER_RECORDS_MAX. */
unsigned int holder_nr_untracked(const struct arc *arc);

/* Records of @m now, and references that were never recorded since boot. */
unsigned long holder_nr_records(struct machine *m);
unsigned long holder_nr_lost(struct machine *m);

/* When so many references are alive at once, more have no record (about 250 bytes each). */
#define HOLDER_RECORDS_MAX	(1u << 18)

/**
 * holder_text - one line that says who: "cat, pid 7", "task_struct.files", "CPU 2 hardirq"
 * Returns: length of the text, which is cut to @size - 1.
 */
size_t holder_text(const struct holder *h, char *buf, size_t size);

/**
 * struct holder_tasks - what a room with tasks tells of them
 * @ops.describe: name and number of @task, a fiber's ->task
 * @self: it is the running one
 */
struct holder_tasks {
	struct {
		void (*describe)(const void *task, bool self, char *name, size_t size, u64 *id);
	} ops;
};

/* From now on fibers with a ->task stand for it. NULL: no longer. */
void holder_set_tasks(struct machine *m, const struct holder_tasks *tasks);

/**
 * holder_settle - the task that runs here is at its end: what has it forgotten?
 *
 * References that it took and that are explained by a field of a live object (more edges lead to
 * the object than its fields have records) become that field's. So do those of others, if it is
 * an edge to the same object. What is left is forgotten: ARC_FAULT_FORGOTTEN each, naming type,
 * address, the line of the get, its callers, and the task; its record becomes HOLDER_GONE.
 * Objects with references that have no record are not accused.
 *
 * Context: preemptible, no lock held. The proc room calls it in do_exit(), hw for every other
 *          fiber that ends. Returns: how many were forgotten.
 */
unsigned int holder_settle(void);

/* The bodies of what follows; only for objects with ARC_TRACKED. */
void holder_to_task(struct arc *arc, void *task, bool user);
void holder_to_fiber(struct arc *arc, struct fiber *fiber, bool user);
void holder_to_field(struct arc *arc, const struct arc *owner, const char *field, bool user);
void holder_to_root(struct arc *arc, const char *name, bool user);
void holder_from_field(struct arc *arc, const struct arc *owner, const char *field, bool user);
void holder_from_root(struct arc *arc, const char *name, bool user);
void holder_move_field(struct arc *arc, const struct arc *from, const struct arc *to,
		       const char *field);

static inline bool arc_is_tracked(const struct arc *arc)
{
	return unlikely(arc && (arc->flags & ARC_TRACKED));
}

/**
 * arc_hand_to_task - a reference of the running task is @task's from now on
 * @task: a task_struct; NULL: the running one's
 *
 * Which one: the latest of the running task, else the one that a put would end.
 * Context: any. Counts do not change.
 */
static inline void arc_hand_to_task(struct arc *arc, void *task)
{
	if (arc_is_tracked(arc))
		holder_to_task(arc, task, false);
}

/* The same for a fiber that is no task. */
static inline void arc_hand_to_fiber(struct arc *arc, struct fiber *fiber)
{
	if (arc_is_tracked(arc))
		holder_to_fiber(arc, fiber, false);
}

/**
 * arc_hand_to_field - a reference of the running task is stored in a field of @owner
 * @field: as the owner's field table calls it; must stay valid
 *
 * Not needed where the field table shows it and tasks that end may take the time to look; it
 * spares them that, and keeps the record right meanwhile. Context: any.
 */
static inline void arc_hand_to_field(struct arc *arc, const struct arc *owner, const char *field)
{
	if (arc_is_tracked(arc))
		holder_to_field(arc, owner, field, false);
}

/* It is taken out of the field: the running task has it now. */
static inline void arc_hand_from_field(struct arc *arc, const struct arc *owner,
				       const char *field)
{
	if (arc_is_tracked(arc))
		holder_from_field(arc, owner, field, false);
}

/* From the field of one owner to the same field of another one. */
static inline void arc_hand_field_to_field(struct arc *arc, const struct arc *from,
					   const struct arc *to, const char *field)
{
	if (arc_is_tracked(arc))
		holder_move_field(arc, from, to, field);
}

/**
 * arc_hand_to_root - a reference of the running task is kept by the machine under a name
 * @name: "pid table"; must stay valid
 *
 * For roots that a room's graph source shows, or that are nobody's business; it does not count
 * for the audit, arc_hold() does. arc_hand_from_root() gives it back to the running task.
 * Context: any.
 */
static inline void arc_hand_to_root(struct arc *arc, const char *name)
{
	if (arc_is_tracked(arc))
		holder_to_root(arc, name, false);
}

static inline void arc_hand_from_root(struct arc *arc, const char *name)
{
	if (arc_is_tracked(arc))
		holder_from_root(arc, name, false);
}

/* The same for the users tier (mm_users). */
static inline void arc_user_hand_to_task(struct arc *arc, void *task)
{
	if (arc_is_tracked(arc))
		holder_to_task(arc, task, true);
}

static inline void arc_user_hand_to_field(struct arc *arc, const struct arc *owner,
					  const char *field)
{
	if (arc_is_tracked(arc))
		holder_to_field(arc, owner, field, true);
}

static inline void arc_user_hand_from_field(struct arc *arc, const struct arc *owner,
					    const char *field)
{
	if (arc_is_tracked(arc))
		holder_from_field(arc, owner, field, true);
}

static inline void arc_user_hand_to_root(struct arc *arc, const char *name)
{
	if (arc_is_tracked(arc))
		holder_to_root(arc, name, true);
}

static inline void arc_user_hand_from_root(struct arc *arc, const char *name)
{
	if (arc_is_tracked(arc))
		holder_from_root(arc, name, true);
}

/**
 * arc_hold - a reference is kept outside, where no field table shows it
 * @name: of the root, for reports; must stay valid, may be NULL
 *
 * The reference is one that the caller has; its count does not change. The audit counts it from
 * now on, and with machine_config.holders its record is the root's. Context: any.
 */
void arc_hold_site(struct arc *arc, const char *name, const struct site *site);
#define arc_hold(arc, name) arc_hold_site(arc, name, SITE())

/* The latest such reference is the running task's again. */
void arc_release(struct arc *arc);

#endif
