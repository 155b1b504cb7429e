/* SPDX-License-Identifier: MIT */
/*
 * kobject.h - named, counted objects in a tree; sets of them
 *
 * Names, fields and behaviour are Linux 6.1's. The count is a struct arc whose strong half is
 * kobj->kref, so kobject_get(), kref_read(&kobj->kref) and destructor callbacks registered with
 * arc_on_drop(&kobj->arc, ...) all speak of the same thing.
 *
 * A child holds its parent from kobject_add() until the child has been released; a kset is held
 * by its members. The parent's directory of children holds nothing.
 */
#ifndef KARC_KOBJECT_KOBJECT_H
#define KARC_KOBJECT_KOBJECT_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/list.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/gfp.h>
#include <karc/refcount/arc.h>
#include <stdarg.h>

struct attribute_group;
struct kernfs_node;
struct kobject;
struct kset;
struct sysfs_ops;

/**
 * struct kobj_type - what objects of one kind have in common
 * @release: returns the memory of the object that embeds the kobject; runs once, after the last
 *           kobject_put(); a type without one is reported
 */
struct kobj_type {
	void (*release)(struct kobject *kobj);
	const struct sysfs_ops *sysfs_ops;
	const struct attribute_group **default_groups;	/* not built yet: kobject_add says -ENOSYS */
};

struct kobject {
	const char *name;
	struct list_head entry;		/* in kset->list; kset->list_lock */
	struct kobject *parent;		/* owned from kobject_add() to kobject_del() or the end */
	struct kset *kset;		/* owned while in the tree; else named for kobject_add() */
	const struct kobj_type *ktype;
	struct kernfs_node *sd;		/* directory; NULL while not in the tree */
	union {
		struct arc arc;
		struct kref kref;
	};
	/* bytes and not bits: who adds an object writes one while others read the first */
	bool state_initialized;
	bool state_in_sysfs;
	bool state_add_uevent_sent;
	bool state_remove_uevent_sent;
	unsigned int uevent_suppress:1;
};

struct kset_uevent_ops;

struct kset {
	struct list_head list;		/* members; holds nothing */
	spinlock_t list_lock;
	struct kobject kobj;
	const struct kset_uevent_ops *uevent_ops;
};

/**
 * kobject_init - a zeroed kobject becomes live with one reference, the caller's
 * @kobj:  in memory that @ktype's release will return; ends with kobject_put()
 * @ktype: kept by pointer
 *
 * Context: any.
 * Errors:  a NULL argument, or an object that is initialised already, is reported with a Call
 *          Trace and left as it is.
 * Model:   Linux 6.1 kobject_init(), which initialises a live object once more.
 */
void kobject_init_site(struct kobject *kobj, const struct kobj_type *ktype,
		       const struct site *site);
#define kobject_init(kobj, ktype) kobject_init_site(kobj, ktype, SITE())

/**
 * kobject_add - name the object and put it under @parent (or its kset's kobject, or the root)
 * @kobj:   initialised; kobj->kset, if set before, is joined
 * @parent: or NULL
 *
 * The object takes its own references on parent and kset. The caller's reference on @kobj stays;
 * also on failure, when kobject_put() is the way to clean up.
 * Context: may sleep.
 * Errors:  -EINVAL (no name, not initialised), -EEXIST (a sibling of this name), -ENOENT (@parent
 *          is not in the tree), -ENOMEM, -ENOSYS (a type with default_groups). The object is
 *          named, and in no tree and no kset.
 * Model:   Linux 6.1 kobject_add().
 */
KARC_MUST_CHECK int kobject_add(struct kobject *kobj, struct kobject *parent, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
KARC_MUST_CHECK int kobject_init_and_add_site(struct kobject *kobj, const struct kobj_type *ktype,
					      struct kobject *parent, const struct site *site,
					      const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
#define kobject_init_and_add(kobj, ktype, parent, ...) \
	kobject_init_and_add_site(kobj, ktype, parent, SITE(), __VA_ARGS__)

/**
 * kobject_del - out of the tree and of its kset; the object lives on
 * @kobj: NULL, or not in the tree: ignored
 *
 * Gives up the object's holds on parent and kset; both may die of it.
 * Context: may sleep. Model: Linux 6.1 kobject_del().
 */
void kobject_del(struct kobject *kobj);

/**
 * kobject_create - an object of its own memory
 *
 * Gives:   one reference; the last kobject_put() frees it.
 * Context: may sleep.
 * Errors:  NULL: no memory; kobject_create_and_add() also for what kobject_add() says.
 */
KARC_MUST_CHECK KARC_GIVES struct kobject *kobject_create_site(const struct site *site);
#define kobject_create() kobject_create_site(SITE())
KARC_MUST_CHECK KARC_GIVES struct kobject *kobject_create_and_add_site(const char *name,
								       struct kobject *parent,
								       const struct site *site);
#define kobject_create_and_add(name, parent) kobject_create_and_add_site(name, parent, SITE())

/**
 * kobject_set_name - name an object that is not in the tree yet
 * @fmt: a '/' in the result becomes '!'
 *
 * The string is the object's, and goes with it. Context: may sleep. Errors: -ENOMEM; the old name
 * stays.
 */
KARC_MUST_CHECK int kobject_set_name(struct kobject *kobj, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
KARC_MUST_CHECK int kobject_set_name_vargs(struct kobject *kobj, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

/**
 * kobject_rename - another name for an object that is in the tree, below a parent
 *
 * Context: may sleep; renames of one object exclude each other by the caller's doing.
 * Errors:  -EINVAL (no parent, not in the tree, empty name), -EEXIST, -ENOMEM; nothing changed.
 * Model:   Linux 6.1 kobject_rename().
 */
KARC_MUST_CHECK int kobject_rename(struct kobject *kobj, const char *new_name);

/**
 * kobject_get_path - "/parent/child"
 *
 * Gives:   kmalloc memory; end it with kfree().
 * Context: may sleep. Errors: NULL: no memory, or a nameless ancestor.
 */
KARC_MUST_CHECK char *kobject_get_path(const struct kobject *kobj, gfp_t gfp);

static inline const char *kobject_name(const struct kobject *kobj)
{
	return kobj->name;
}

/**
 * kobject_get, kobject_put - one reference more, one less
 * @kobj: NULL is ignored; an object that was never initialised is warned about and left alone
 *
 * Gives:   kobject_get() returns @kobj, which has one reference more.
 * Takes:   kobject_put() takes one. The last one takes the object out of tree and kset, runs its
 *          destructor callbacks (arc_on_drop(&kobj->arc, ...)) and its type's release, and then
 *          puts the parent.
 * Context: any; what the last put does waits for a context that may sleep.
 */
struct kobject *kobject_get_site(struct kobject *kobj, const struct site *site);
struct kobject *(kobject_get)(struct kobject *kobj);
void kobject_put_site(KARC_TAKES struct kobject *kobj, const struct site *site);
void (kobject_put)(KARC_TAKES struct kobject *kobj);
#define kobject_put(kobj) kobject_put_site((kobj), SITE())

/* A reference unless the object is dying (or NULL): gives @kobj or NULL. Context: any. */
KARC_MUST_CHECK KARC_GIVES struct kobject *kobject_tryget_site(struct kobject *kobj,
								const struct site *site);
KARC_MUST_CHECK KARC_GIVES struct kobject *(kobject_get_unless_zero)(struct kobject *kobj);
#define kobject_get_unless_zero(kobj) kobject_tryget_site((kobj), SITE())

#ifdef __clang_analyzer__
KARC_RETAINS(kobject);
#define kobject_get(ptr) ((struct kobject *)KARC_RETAIN(kobject, ptr))
#define kobject_get_site(ptr, site) kobject_get(ptr)
#else
#define kobject_get(kobj) kobject_get_site((kobj), SITE())
#endif

/**
 * kset_init - a zeroed kset becomes live and empty, with one reference, the caller's
 *
 * kobj.ktype (whose release returns the kset's memory), kobj.name and kobj.parent are the caller's
 * to set. Context: any.
 */
void kset_init_site(struct kset *kset, const struct site *site);
#define kset_init(kset) kset_init_site(kset, SITE())

/**
 * kset_register - kset_init() and into the tree
 * @kset: with name and ktype
 *
 * Context: may sleep.
 * Errors:  -EINVAL (NULL, no ktype, no name) and what kobject_add() says; the reference stays the
 *          caller's, who ends it with kset_put().
 */
KARC_MUST_CHECK int kset_register_site(struct kset *kset, const struct site *site);
#define kset_register(kset) kset_register_site(kset, SITE())

/* Takes a registered kset (or NULL): out of the tree; it dies when its last member has left. */
void kset_unregister(KARC_TAKES struct kset *kset);

/**
 * kset_create_and_add - a kset of its own memory, in the tree
 *
 * Gives:   one reference; end it with kset_unregister().
 * Context: may sleep. Errors: NULL: no memory, or what kobject_add() says.
 */
KARC_MUST_CHECK KARC_GIVES struct kset *
kset_create_and_add_site(const char *name, const struct kset_uevent_ops *uevent_ops,
			 struct kobject *parent, const struct site *site);
#define kset_create_and_add(name, ops, parent) \
	kset_create_and_add_site(name, ops, parent, SITE())

/**
 * kset_find_obj - the member with this name
 *
 * Gives:   one reference on it; NULL when there is none, or it is dying.
 * Context: any but interrupts; takes list_lock.
 */
KARC_MUST_CHECK KARC_GIVES struct kobject *kset_find_obj(struct kset *kset, const char *name);

static inline struct kset *to_kset(struct kobject *kobj)
{
	return kobj ? container_of(kobj, struct kset, kobj) : NULL;
}

/* One reference more on a kset, one less; NULL is ignored. */
#ifdef __clang_analyzer__
KARC_RETAINS(kset);
#define kset_get(ptr) ((struct kset *)KARC_RETAIN(kset, ptr))
void kset_put(KARC_TAKES struct kset *kset);
#else
static inline struct kset *kset_get_site(struct kset *kset, const struct site *site)
{
	return kset ? to_kset(kobject_get_site(&kset->kobj, site)) : NULL;
}

static inline struct kset *(kset_get)(struct kset *kset)
{
	return kset_get_site(kset, SITE());
}
#define kset_get(kset) kset_get_site((kset), SITE())

static inline void kset_put(struct kset *kset)
{
	if (kset)
		kobject_put(&kset->kobj);
}
#endif

static inline const struct kobj_type *get_ktype(const struct kobject *kobj)
{
	return kobj->ktype;
}

extern const struct room kobject_room;

/* On a variable: __free(kobject_put); see base/cleanup.h. */
DEFINE_FREE(kobject_put, struct kobject *, if (!IS_ERR_OR_NULL(_T)) kobject_put(_T))
DEFINE_FREE(kset_put, struct kset *, if (_T) kset_put(_T))

#endif
