/* SPDX-License-Identifier: MIT */
/*
 * arc.h - owned objects: strong and weak counts, typed destructors, flat teardown
 *
 * An object embeds a struct arc. Whoever holds a strong reference keeps it alive; the last
 * arc_put() runs its destructor callbacks (latest registered first), then the type's drop, then
 * puts its fields in declared order, each whole subtree before the next, and then returns the
 * memory when no weak reference is left. Teardown is a loop over a link inside the object: no
 * recursion, no allocation.
 */
#ifndef KARC_REFCOUNT_ARC_H
#define KARC_REFCOUNT_ARC_H

#include <karc/base/contract.h>
#include <karc/base/err.h>
#include <karc/base/list.h>
#include <karc/base/site.h>
#include <karc/base/types.h>
#include <karc/refcount/dtor.h>
#include <karc/refcount/kref.h>
#include <karc/refcount/rcu.h>

struct arc;
struct arc_type;
struct check_report;

/* Life of a counted object. */
enum arc_state {
	ARC_INIT,	/* memory exists, arc_init() has not run */
	ARC_LIVE,
	ARC_DYING,	/* strong count reached zero; destructor running or queued */
	ARC_DEAD,	/* torn down; memory is kept by weak references only */
};

/**
 * struct arc - the counted head of an object
 *
 * @word's low half is a refcount_t, so the struct doubles as a kref: kref_get(&obj->kref) of
 * Linux-style code and arc_get() count the same thing (little and big endian both handled).
 */
struct arc {
	union {
		u64 word;
		struct {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
			refcount_t weak;
			struct kref kref;
#else
			struct kref kref;	/* strong */
			refcount_t weak;	/* weak ones, + 1 until the fields are dropped */
#endif
		};
	};
	const struct arc_type *type;
	union {
		struct {
			struct arc *link;	/* teardown stack or deferred queue */
			const struct site *site; /* where it was created */
		};
		struct rcu_head rcu;		/* ARC_RCU, once it is dead */
	};
	struct arc_dtor *dtors;
	u32 cursor;			/* teardown: next element of an array field */
	u8 state;			/* enum arc_state */
	u8 flags;			/* the type's, so that put need not load the type */
	u16 field;			/* teardown: which field comes next */
};

static_assert(sizeof(struct arc) == 48, "struct arc is 48 bytes");

/* How a field of an owner refers to what it owns. */
enum arc_field_kind {
	ARC_FIELD_END,
	ARC_FIELD_OWNED,	/* T *: one strong reference */
	ARC_FIELD_WEAK,		/* T *: one weak reference */
	ARC_FIELD_ARRAY,	/* T *[n]: strong references, n from ->count or ->count_of */
	ARC_FIELD_LIST,		/* struct list_head: every member is owned by one reference */
	ARC_FIELD_VISITOR,	/* ->take() hands out one owned object after the other */
};

/**
 * struct arc_field - one row of a type's field table: drop glue, graph edge and audit input
 * @name:   for reports ("mm.exe_file")
 * @offset: of the field from the start of the object
 * @target: offset of the struct arc inside the object pointed at
 * @member: LIST: offset of the list node inside a member object
 * @count / @count_offset: ARRAY: fixed length, or offset of an unsigned int length (count == 0)
 * @ops.take: VISITOR: remove and return the next owned arc, NULL when none is left
 * @ops.visit: VISITOR: call see(arg, child) for each owned arc, changing nothing; for the audit,
 *            which does not know the edges of a visitor without it
 */
struct arc_field {
	enum arc_field_kind kind;
	const char *name;
	u32 offset;
	u32 target;
	u32 member;
	u32 count;
	u32 count_offset;
	struct {
		struct arc *(*take)(void *obj);
		void (*visit)(void *obj, void (*see)(void *arg, struct arc *child), void *arg);
	} ops;
};

#define ARC_OWNED(type, field, target_type) \
	{ .kind = ARC_FIELD_OWNED, .name = #field, .offset = offsetof(struct type, field), \
	  .target = offsetof(struct target_type, arc) }
#define ARC_WEAK(type, field, target_type) \
	{ .kind = ARC_FIELD_WEAK, .name = #field, .offset = offsetof(struct type, field), \
	  .target = offsetof(struct target_type, arc) }
#define ARC_LIST(type, field, target_type, node) \
	{ .kind = ARC_FIELD_LIST, .name = #field, .offset = offsetof(struct type, field), \
	  .target = offsetof(struct target_type, arc), \
	  .member = offsetof(struct target_type, node) }
#define ARC_ARRAY(type, field, target_type, n) \
	{ .kind = ARC_FIELD_ARRAY, .name = #field, .offset = offsetof(struct type, field), \
	  .target = offsetof(struct target_type, arc), .count = (n) }
#define ARC_ARRAY_COUNTED(type, field, target_type, count_field) \
	{ .kind = ARC_FIELD_ARRAY, .name = #field, .offset = offsetof(struct type, field), \
	  .target = offsetof(struct target_type, arc), \
	  .count_offset = offsetof(struct type, count_field) }
#define ARC_VISITOR(label, take_fn, visit_fn) \
	{ .kind = ARC_FIELD_VISITOR, .name = (label), \
	  .ops = { .take = (take_fn), .visit = (visit_fn) } }
#define ARC_FIELDS_END { .kind = ARC_FIELD_END }

#define ARC_LEAF	0x1u	/* owns nothing and needs no drop: says so on purpose */
#define ARC_RCU		0x2u	/* memory is returned after a grace period */
#define ARC_FINDABLE	0x4u	/* lookups may meet it without holding a count (arc_tryget) */
#define ARC_SLEEPS	0x8u	/* drop may sleep: a last put in atomic context is deferred */
#define ARC_PRIVATE	0x10u	/* no lookup of any kind finds it without a count: the last put,
				   if no weak reference is left, needs no atomic operation */

/**
 * struct arc_type - what karc knows about a kind of object; registered once per machine
 * @name:   "mm_struct"
 * @size:   bytes, for reports
 * @offset: of the struct arc inside the object
 * @flags:  ARC_*
 * @ops.drop: the destructor's body; runs once, may put other references, must not get this one
 * @ops.free: returns the memory; NULL: the object is embedded elsewhere and drop did all
 * @ops.check: verify one live object, only reading (may be NULL)
 * @fields: table ended by ARC_FIELDS_END, or NULL; fields are zeroed as they are dropped
 *
 * With a drop but neither free nor fields, the drop may return the memory itself: nothing touches
 * the object after it, and such a type has no weak references.
 */
struct arc_type {
	const char *name;
	size_t size;
	size_t offset;
	unsigned int flags;
	struct {
		void (*drop)(void *obj);
		void (*free)(void *obj);
		void (*check)(const void *obj, struct check_report *report);
	} ops;
	const struct arc_field *fields;
};

/**
 * arc_type_register - make a type known to the current machine's ledger
 * @type: must stay valid until the machine is shut down
 *
 * Context: any. Errors: -EINVAL with a message that says what to do: no drop, no fields and not
 *          ARC_LEAF; no name; offset beyond size; ARC_RCU without ops.free; ARC_PRIVATE with
 *          ARC_FINDABLE or ARC_RCU; a field without what its kind needs. -ENOMEM.
 *          Registering the same type again is 0.
 */
KARC_MUST_CHECK int arc_type_register(const struct arc_type *type);

/**
 * arc_init - the object's memory becomes a live object with one strong reference, the caller's
 * @type must be registered. Counts it in the ledger under (type, site).
 */
void arc_init_site(struct arc *arc, const struct arc_type *type, const struct site *site);
#define arc_init(arc, type) arc_init_site(arc, type, SITE())

/*
 * The analyzer follows the pointer to an object and not to the arc inside it, so the words of
 * contract.h stand on the typed functions of the rooms (mmget, get_file ...), which wrap these.
 */
#ifdef __clang_analyzer__
#define ARC_INLINE extern	/* bodies are hidden, see KARC_BODY() */
#else
#define ARC_INLINE static inline
#endif

/**
 * arc_get - one more strong reference
 * @arc: the caller holds a reference already
 *
 * Gives:   @arc itself. Context: any. Order: relaxed.
 * Errors:  on a dying object and on overflow it warns and saturates: the object is leaked.
 */
ARC_INLINE struct arc *arc_get(struct arc *arc);

/**
 * arc_tryget - a strong reference unless the object is dying
 * @arc: memory that cannot go away now: an index lock or rcu_read_lock() is held
 *
 * Gives:   @arc, or NULL. Context: any.
 * Order:   relaxed: what finds the object (lock, rcu_dereference()) orders its content.
 */
ARC_INLINE KARC_MUST_CHECK struct arc *arc_tryget(struct arc *arc);

/**
 * arc_put - give a strong reference back; the last one runs the teardown
 *
 * Takes:   one strong reference; NULL is ignored.
 * Context: any. Inside a drop body or callback the teardown is queued and runs right after
 *          it. An ARC_SLEEPS type's teardown waits for a context that may sleep.
 * Locks:   the type's drop may take any; hold none it takes.
 * Order:   release; the last one acquires.
 */
ARC_INLINE void arc_put(KARC_TAKES struct arc *arc);

/**
 * arc_put_deferred - arc_put() from a place that must not run destructors
 *
 * Takes:   one strong reference; NULL is ignored. When it was the last, the teardown runs later
 *          on this CPU, in a fiber that may sleep; machine_quiesce() waits for it.
 * Context: any.
 */
void arc_put_deferred(KARC_TAKES struct arc *arc);

/**
 * arc_last_put - the strong count is zero by other means: tear down
 *
 * For release functions that kref_put() on arc->kref calls. Context: as arc_put().
 */
void arc_last_put(struct arc *arc);

/* Weak references: keep the memory, not the object. */
struct arc *arc_downgrade(struct arc *arc);	/* borrows a strong one, gives a weak one */
/* Borrows a weak one, gives a strong one or NULL. */
KARC_MUST_CHECK struct arc *arc_upgrade(struct arc *arc);
void arc_weak_put(KARC_TAKES struct arc *arc);	/* takes a weak one; NULL is ignored */

unsigned int arc_count(const struct arc *arc);		/* strong, for reports and tests */
unsigned int arc_weak_count(const struct arc *arc);	/* weak, the implicit one left out */

/* One strong reference, no weak one: the caller's is the only way to the object. Acquires. */
ARC_INLINE bool arc_is_unique(const struct arc *arc);

/**
 * arc_on_drop - register a destructor callback on one object; the caller holds a reference
 * @dtor: caller's memory, see struct arc_dtor
 *
 * Context: any; several holders may register at once. Puts made in @fn run right after it.
 */
void arc_on_drop(struct arc *arc, struct arc_dtor *dtor, void (*fn)(void *obj, void *arg),
		 void *arg);

/* The object around its arc. */
static inline void *arc_object(struct arc *arc)
{
	return (char *)arc - arc->type->offset;
}

#include <karc/refcount/arc_inline.h>

#endif
