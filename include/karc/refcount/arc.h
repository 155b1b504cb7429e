/* SPDX-License-Identifier: MIT */
/*
 * arc.h - owned objects: strong and weak counts, typed destructors, flat teardown
 *
 * An object embeds a struct arc. Whoever holds a strong reference keeps it alive; the last
 * arc_put() runs its destructor callbacks (latest registered first), then the type's drop, then
 * puts its fields in declared order, each whole subtree before the next, and then returns the
 * memory when no weak reference is left (a little earlier where nobody can tell, see
 * arc_type.array). Teardown is a loop over a link inside the object: no
 * recursion, no allocation.
 */
#ifndef KARC_REFCOUNT_ARC_H
#define KARC_REFCOUNT_ARC_H

#include <karc/base/cleanup.h>
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
	u8 flags;			/* the type's low ones, and ARC_LOCAL, ARC_TRACKED */
	u16 field;			/* teardown: which field comes next */
};

static_assert(sizeof(struct arc) == 48, "struct arc is 48 bytes");

/* One strong reference and the weak one that all strong ones share: the holder is alone. */
#define ARC_WORD_ONE	((1ULL << 32) | 1)

/* How a field of an owner refers to what it owns. */
enum arc_field_kind {
	ARC_FIELD_END,
	ARC_FIELD_OWNED,	/* T *: one strong reference */
	ARC_FIELD_WEAK,		/* T *: one weak reference */
	ARC_FIELD_ARRAY,	/* T *[n]: strong references, n from ->count or ->count_of */
	ARC_FIELD_LIST,		/* struct list_head: every member is owned by one reference */
	ARC_FIELD_TREE,		/* struct rb_root: every node's object is owned, dropped in order */
	ARC_FIELD_USER,		/* T *: one reference of the users tier (users.h) */
	ARC_FIELD_VISITOR,	/* ->take() hands out one owned object after the other */
};

/**
 * struct arc_field - one row of a type's field table: drop glue, graph edge and audit input
 * @name:   for reports ("mm.exe_file")
 * @offset: of the field from the start of the object
 * @target: offset of the struct arc inside the object pointed at
 * @member: LIST, TREE: offset of the list or tree node inside a member object
 * @count / @count_offset: ARRAY: fixed length, or offset of an unsigned int length (count == 0)
 * @ops.take: VISITOR: remove and return the next owned arc, NULL when none is left
 * @ops.visit: VISITOR: call see(arg, child) for each owned arc, changing nothing; for the audit,
 *            which does not know the edges of a visitor without it. see(arg, NULL) counts the
 *            index up: an empty place. With @count 1 it shows one at most, and without index
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
#define ARC_TREE(type, field, target_type, node) \
	{ .kind = ARC_FIELD_TREE, .name = #field, .offset = offsetof(struct type, field), \
	  .target = offsetof(struct target_type, arc), \
	  .member = offsetof(struct target_type, node) }
#define ARC_USER(type, field, target_type) \
	{ .kind = ARC_FIELD_USER, .name = #field, .offset = offsetof(struct type, field), \
	  .target = offsetof(struct target_type, arc) }
/* A struct arc_slot of slot.h: points at an arc, of whatever type. */
#define ARC_SLOT(type, field) \
	{ .kind = ARC_FIELD_OWNED, .name = #field, .offset = offsetof(struct type, field), \
	  .target = 0 }
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

/* Flags of a type; the low ones are copied into each object. */
#define ARC_LEAF	0x1u	/* owns nothing and needs no drop: says so on purpose */
#define ARC_RCU		0x2u	/* memory is returned after a grace period */
#define ARC_FINDABLE	0x4u	/* lookups may meet it without holding a count (arc_tryget) */
#define ARC_SLEEPS	0x8u	/* drop may sleep: a last put in atomic context is deferred */
#define ARC_PRIVATE	0x10u	/* no lookup of any kind finds it without a count: the last put,
				   if no weak reference is left, needs no atomic operation. Nor do
				   bodies of what it owns look at it, but by a weak reference */
#define ARC_TYPE_MASK	0x1fu
/* Flags of an object only. */
#define ARC_LOCAL	0x20u	/* its references are counted CPU by CPU now (local.h) */
#define ARC_TRACKED	0x40u	/* each of its references has a holder (holder.h) */
#define ARC_PLAIN	0x80u	/* no body, and nobody wants to know when it goes but its ops.free */
/* Flags of a type only. */
#define ARC_PERCPU	0x100u	/* count per CPU until it is killed */
#define ARC_BIASED	0x200u	/* one CPU, the owner, counts apart from all others */
#define ARC_UNORDERED	0x400u	/* what its fields own may be torn down in any order, and after its
				   own memory is gone; for types with ->array that own no more than
				   pointers say (ARC_OWNED), it saves most of the cache misses */

/* One test of a byte in a line already loaded sends get and put out of line. */
#define ARC_ASIDE	(ARC_LOCAL | ARC_TRACKED)

/**
 * struct arc_type - what karc knows about a kind of object; registered once per machine
 * @name:   "mm_struct"
 * @size:   bytes
 * @offset: of the struct arc inside the object
 * @users:  offset of its struct arc_users, for types with ops.on_last_user
 * @array:  where each CPU has an array of such memory, KMALLOC_ARRAY(size); then leaves whose arc
 *          comes first are pushed there, and ops.free, which does the same, is called only when
 *          the array is full. An owner goes there too, without a drop, ARC_OWNED fields only, and
 *          ARC_PRIVATE or ARC_UNORDERED: with the last reference taken out of it, before what that
 *          one kept is torn down. 0: none
 * @flags:  ARC_*
 * @ops.drop: the destructor's body; runs once, may put other references, must not get this one
 * @ops.free: returns the memory; NULL: the object is embedded elsewhere and drop did all
 * @ops.check: verify one live object, only reading (may be NULL)
 * @ops.on_last_user: the last user is gone: empty the object, see users.h (may be NULL)
 * @ops.alloc: memory of @size bytes, all zero, for arc_new(); NULL when there is none
 * @ops.clone: a new object, one reference, with the same content, for arc_make_mut(); or NULL
 * @ops.describe: a short text about one object for reports, "init, pid 1" (may be NULL); called
 *            at a quiet point only
 * @fields: table ended by ARC_FIELDS_END, or NULL; fields are zeroed as they are dropped
 *
 * With a drop but neither free nor fields, the drop may return the memory itself: nothing touches
 * the object after it, and such a type has no weak references.
 */
struct arc_type {
	const char *name;
	size_t size;
	size_t offset;
	size_t users;
	size_t array;
	unsigned int flags;
	struct {
		void (*drop)(void *obj);
		void (*free)(void *obj);
		void (*check)(const void *obj, struct check_report *report);
		void (*on_last_user)(void *obj);
		void *(*alloc)(gfp_t gfp, const struct site *site);
		void *(*clone)(const void *obj, gfp_t gfp);
		void (*describe)(const void *obj, char *buf, size_t bytes);
	} ops;
	const struct arc_field *fields;
};

/**
 * arc_type_register - make a type known to the current machine's ledger
 * @type: must stay valid until the machine is shut down
 *
 * Context: any. Errors: -EINVAL with a message that says what is wrong: no drop, no fields and not
 *          ARC_LEAF (ARC_FAULT_NO_DESTRUCTOR); no name; arc, users or a field beyond size, or
 *          arc not aligned; ARC_LEAF with fields; ARC_RCU without ops.free; ARC_PRIVATE with
 *          ARC_FINDABLE, ARC_RCU, ARC_PERCPU or ARC_BIASED; ARC_PERCPU with ARC_BIASED; unknown
 *          flags; a field without what its kind needs (ARC_FAULT_BAD_TYPE). -ENOMEM.
 *          Registering the same type again is 0.
 */
KARC_MUST_CHECK int arc_type_register(const struct arc_type *type);

/*
 * The calls below are macros that pass their SITE() on: it costs nothing unless something is
 * reported or tracked. Functions of the same names, without a site, are there too: (arc_get)(x).
 */

/**
 * arc_init - the object's memory becomes a live object with one strong reference, the caller's
 * @type must be registered. Counts it in the ledger under (type, site).
 */
#ifdef __clang_analyzer__	/* else ledger_inline.h has its body */
void arc_init_site(struct arc *arc, const struct arc_type *type, const struct site *site);
#endif
void (arc_init)(struct arc *arc, const struct arc_type *type);
#define arc_init(arc, type) arc_init_site((arc), (type), SITE())

/**
 * arc_adopt - arc_init() by the object instead of its arc
 * Takes:   the memory: it goes back through type->ops.free. Gives: @obj, one reference.
 */
void *arc_adopt_site(void *obj, const struct arc_type *type, const struct site *site);
void *(arc_adopt)(void *obj, const struct arc_type *type);
#define arc_adopt(obj, type) arc_adopt_site((obj), (type), SITE())

/**
 * arc_new - a new object in memory of type->ops.alloc
 *
 * Gives:   the object, zeroed but for its arc, with one strong reference.
 * Context: as the allocator with @gfp. Errors: NULL, nothing changed. A type without ops.alloc is
 *          a BUG.
 */
KARC_MUST_CHECK void *arc_new_site(const struct arc_type *type, gfp_t gfp,
				   const struct site *site);
KARC_MUST_CHECK void *(arc_new)(const struct arc_type *type, gfp_t gfp);
#define arc_new(type, gfp) arc_new_site((type), (gfp), SITE())

/**
 * arc_new_cyclic - a new object that may hand out weak references to itself while it is built
 * @init: builds it; @weak is lent and may be kept with arc_weak_get(). Until @init has returned,
 *        no upgrade of it succeeds. Not 0: give up; callbacks registered so far and the fields
 *        set so far are dropped, the type's drop does not run.
 *
 * Gives:   as arc_new(). Errors: NULL: no memory, or @init did not return 0.
 * Order:   who upgrades sees all that @init wrote.
 */
KARC_MUST_CHECK void *arc_new_cyclic_site(const struct arc_type *type, gfp_t gfp,
					  int (*init)(void *obj, struct arc *weak, void *arg),
					  void *arg, const struct site *site);
KARC_MUST_CHECK void *(arc_new_cyclic)(const struct arc_type *type, gfp_t gfp,
				       int (*init)(void *obj, struct arc *weak, void *arg),
				       void *arg);
#define arc_new_cyclic(type, gfp, init, arg) \
	arc_new_cyclic_site((type), (gfp), (init), (arg), SITE())

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
 * Errors:  on a dying object and on overflow it reports and saturates: the object is leaked, for
 *          the caller goes on as if it had a reference.
 */
ARC_INLINE struct arc *arc_get_site(struct arc *arc, const struct site *site);
struct arc *(arc_get)(struct arc *arc);
#define arc_get(arc) arc_get_site((arc), SITE())

/**
 * arc_tryget - a strong reference unless the object is dying
 * @arc: memory that cannot go away now: an index lock or rcu_read_lock() is held
 *
 * Gives:   @arc, or NULL. Context: any.
 * Order:   acquire when it succeeds.
 */
ARC_INLINE KARC_MUST_CHECK struct arc *arc_tryget_site(struct arc *arc, const struct site *site);
KARC_MUST_CHECK struct arc *(arc_tryget)(struct arc *arc);
#define arc_tryget(arc) arc_tryget_site((arc), SITE())

/**
 * arc_put - give a strong reference back; the last one runs the teardown
 *
 * Takes:   one strong reference; NULL is ignored.
 * Context: any. Inside a drop body or callback the teardown is queued and runs right after
 *          it. An ARC_SLEEPS type's teardown waits for a context that may sleep.
 * Locks:   the type's drop may take any; hold none it takes.
 * Order:   release; the last one acquires.
 */
ARC_INLINE void arc_put_site(KARC_TAKES struct arc *arc, const struct site *site);
void (arc_put)(KARC_TAKES struct arc *arc);
#define arc_put(arc) arc_put_site((arc), SITE())

/**
 * arc_put_deferred - arc_put() from a place that must not run destructors
 *
 * Takes:   one strong reference; NULL is ignored. When it was the last, the teardown runs later
 *          on this CPU, in a fiber that may sleep; machine_quiesce() waits for it.
 * Context: any.
 */
void arc_put_deferred_site(KARC_TAKES struct arc *arc, const struct site *site);
void (arc_put_deferred)(KARC_TAKES struct arc *arc);
#define arc_put_deferred(arc) arc_put_deferred_site((arc), SITE())

/**
 * arc_put_rcu - arc_put() of an object that readers under rcu_read_lock() may be looking at
 *
 * Takes:   one strong reference; NULL is ignored. When it was the last, the whole teardown, and
 *          not only the memory as with ARC_RCU, waits for a grace period: who found the object
 *          before it left its index reads its content and fields to the end. That holds when all
 *          puts that may be the last are of this kind.
 * Context: any. machine_quiesce() waits for it.
 */
void arc_put_rcu_site(KARC_TAKES struct arc *arc, const struct site *site);
void (arc_put_rcu)(KARC_TAKES struct arc *arc);
#define arc_put_rcu(arc) arc_put_rcu_site((arc), SITE())

/**
 * arc_put_lock - arc_put() of an object that an index finds under @lock
 * @unlink: takes the dying object out of the index; @lock is held, the count is zero already and
 *          cannot be raised again. May be NULL.
 *
 * Takes:   one strong reference; NULL is ignored. The count reaches zero under @lock only, so a
 *          lookup under it never meets a dying object and may use arc_get().
 * Context: any for the spinlock, which readers in interrupt context need the irqsave form for; may
 *          sleep for the mutex.
 * Locks:   takes @lock only if the reference may be the last; the teardown runs without it.
 * Order:   as arc_put().
 */
void arc_put_lock_site(KARC_TAKES struct arc *arc, spinlock_t *lock, void (*unlink)(void *obj),
		       const struct site *site);
void arc_put_lock_irqsave_site(KARC_TAKES struct arc *arc, spinlock_t *lock,
			       void (*unlink)(void *obj), const struct site *site);
void arc_put_mutex_site(KARC_TAKES struct arc *arc, struct mutex *lock,
			void (*unlink)(void *obj), const struct site *site);
void (arc_put_lock)(KARC_TAKES struct arc *arc, spinlock_t *lock, void (*unlink)(void *obj));
void (arc_put_lock_irqsave)(KARC_TAKES struct arc *arc, spinlock_t *lock,
			    void (*unlink)(void *obj));
void (arc_put_mutex)(KARC_TAKES struct arc *arc, struct mutex *lock, void (*unlink)(void *obj));
#define arc_put_lock(arc, lock, unlink) arc_put_lock_site((arc), (lock), (unlink), SITE())
#define arc_put_lock_irqsave(arc, lock, unlink) \
	arc_put_lock_irqsave_site((arc), (lock), (unlink), SITE())
#define arc_put_mutex(arc, lock, unlink) arc_put_mutex_site((arc), (lock), (unlink), SITE())

/**
 * arc_last_put - the strong count is zero by other means: tear down
 *
 * For release functions that kref_put() on arc->kref calls. Context: as arc_put().
 */
void arc_last_put_site(struct arc *arc, const struct site *site);
void (arc_last_put)(struct arc *arc);
#define arc_last_put(arc) arc_last_put_site((arc), SITE())

/**
 * arc_downgrade - a weak reference: keeps the memory, not the object
 * @arc: the caller holds a strong reference, and keeps it
 *
 * Gives:   @arc, one weak reference; end it with arc_weak_put(). Context: any. Order: relaxed.
 * Errors:  overflow is reported and saturates: the memory is leaked. A type whose drop returns the
 *          memory has no weak references: a BUG.
 */
struct arc *arc_downgrade_site(struct arc *arc, const struct site *site);
struct arc *(arc_downgrade)(struct arc *arc);
#define arc_downgrade(arc) arc_downgrade_site((arc), SITE())

/* One more weak reference; the caller holds a weak one, or is in arc_new_cyclic()'s init. */
struct arc *arc_weak_get_site(struct arc *arc, const struct site *site);
struct arc *(arc_weak_get)(struct arc *arc);
#define arc_weak_get(arc) arc_weak_get_site((arc), SITE())

/**
 * arc_upgrade - a strong reference from a weak one
 * @arc: the caller holds a weak reference, and keeps it
 *
 * Gives:   @arc, one strong reference; NULL once the last strong one is gone, also in the drop
 *          body. Context: any. Order: acquire when it succeeds.
 */
ARC_INLINE KARC_MUST_CHECK struct arc *arc_upgrade_site(struct arc *arc, const struct site *site);
KARC_MUST_CHECK struct arc *(arc_upgrade)(struct arc *arc);
#define arc_upgrade(arc) arc_upgrade_site((arc), SITE())

/**
 * arc_weak_put - give a weak reference back
 *
 * Takes:   one weak reference; NULL is ignored. The last one after the end of the object returns
 *          the memory.
 * Context: any in which ops.free may be called. Order: release; the last one acquires.
 */
void arc_weak_put_site(KARC_TAKES struct arc *arc, const struct site *site);
void (arc_weak_put)(KARC_TAKES struct arc *arc);
#define arc_weak_put(arc) arc_weak_put_site((arc), SITE())

unsigned int arc_count(const struct arc *arc);		/* strong, for reports and tests */
unsigned int arc_weak_count(const struct arc *arc);	/* weak, the implicit one left out */

/*
 * One strong reference, no weak one, no count by CPU: the caller's is the only one at this moment.
 * It stays so unless a lookup without a count (ARC_FINDABLE, ARC_RCU) finds the object. Acquires.
 */
ARC_INLINE bool arc_is_unique(const struct arc *arc);

/**
 * arc_get_mut - the object, to be changed in place, if nobody else can see it
 * @arc: the caller holds a strong reference and lends it
 *
 * Lends:   the object; NULL when another reference of either kind exists, or may come into being
 *          because lookups find the type without a count (ARC_FINDABLE, ARC_RCU, also by a slot).
 * Context: any. Order: acquires what was done under all references put before.
 */
void *arc_get_mut(struct arc *arc);

/**
 * arc_make_mut - the object, to be changed in place, or a copy of one's own if it is shared
 * @ref: the caller's variable with its strong reference; holds the copy's afterwards
 *
 * Takes:   *ref, when it is shared: it is put, and *ref is the clone from ops.clone().
 * Lends:   the object of *ref. Context: as ops.clone() with @gfp.
 * Errors:  NULL: the clone failed or the type cannot be cloned; *ref is what it was.
 */
KARC_MUST_CHECK void *arc_make_mut_site(struct arc **ref, gfp_t gfp, const struct site *site);
KARC_MUST_CHECK void *(arc_make_mut)(struct arc **ref, gfp_t gfp);
#define arc_make_mut(ref, gfp) arc_make_mut_site((ref), (gfp), SITE())

/**
 * arc_try_unwrap - move the content out of the last reference, without running the destructor
 * @to: type->size bytes; becomes an object that nobody counts (state ARC_INIT): what its fields
 *      own is the caller's now, who may arc_init() it again. List heads of the field table are
 *      moved with their members.
 *
 * Takes:   the reference; and gives it back, as the result, when the content cannot be moved: there
 *          is another strong reference, a callback is registered (arc_on_drop), the object counts
 *          by CPU or has users, an index may find it (ARC_FINDABLE), it has an array behind its
 *          struct, or only its drop returns the memory.
 * Gives:   NULL: moved; weak references see a dead object, the memory goes as after a teardown.
 *          @arc: refused, the caller still holds its reference.
 * Context: any in which ops.free may be called. Order: as the last arc_put().
 */
KARC_MUST_CHECK struct arc *arc_try_unwrap_site(KARC_TAKES struct arc *arc, void *to,
						const struct site *site);
KARC_MUST_CHECK struct arc *(arc_try_unwrap)(KARC_TAKES struct arc *arc, void *to);
#define arc_try_unwrap(arc, to) arc_try_unwrap_site((arc), (to), SITE())

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
#include <karc/refcount/ledger_inline.h>

/* On a variable: __free(arc_put); see base/cleanup.h. */
DEFINE_FREE(arc_put, struct arc *, if (_T) arc_put(_T))
DEFINE_FREE(arc_weak_put, struct arc *, if (_T) arc_weak_put(_T))

#endif
