/* SPDX-License-Identifier: MIT */
/*
 * kobject.c - objects with a name, a parent and a release
 *
 * What it is
 *	The classic object of Linux's driver model on top of struct arc. The last kobject_put()
 *	takes the object out of tree and kset, lets its type release the memory around it, and
 *	only then puts the parent, so a parent outlives its children's release. A tree of any
 *	depth goes away in one flat cascade (refcount/reap.c).
 *
 * Objects
 *	child --owns--> parent          kobject --owns--> kset (while a member)
 *	parent's directory ~~lists~~> children        kset ~~lists~~> members
 *
 * Invariants
 *	I1  in the tree (state_in_sysfs): one reference on parent and on kset each, if there are any
 *	I2  in its kset's list exactly while in the tree and for the time of kobject_add() and
 *	    kobject_del()
 *	I3  the parent's hold ends after the type's release() has returned
 *
 * Locking
 *	kset->list, kobj->entry          kset->list_lock (spins)
 *	directories, kobj->sd, names     the tree's mutex, see dir.c
 *	the rest of a kobject            its owner: add, del and rename of one object do not race
 *
 * Life
 *	zeroed - kobject_init - kobject_add - kobject_del - last kobject_put - release
 *	kobject_del may be left out: the last put does it; kobject_add too: put alone releases.
 *
 * Worst case
 *	The last put of a leaf may release a whole branch: linear in its length, a constant stack.
 *	From atomic context it waits for a task, since leaving the tree sleeps.
 *
 * Unlike Linux
 *	No uevents, attributes and namespaces yet. A second kobject_init() is reported and changes
 *	nothing, and so are get and put of an object that was never initialised; Linux goes on.
 */
#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/hw/trace.h>
#include <karc/kobject/kobject.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/holder.h>
#include <stdio.h>
#include <string.h>
#include "internal.h"

static_assert(offsetof(struct kobject, arc) == offsetof(struct kobject, kref),
	      "kobj->kref is the strong half of kobj->arc");

/* Leave the kset's list and put the hold on it; kobj->kset only names it from here on. */
static void kobj_kset_leave(struct kobject *kobj)
{
	struct kset *kset = kobj->kset;

	if (!kset)
		return;
	spin_lock(&kset->list_lock);
	list_del_init(&kobj->entry);
	spin_unlock(&kset->list_lock);
	arc_hand_from_field(&kset->kobj.arc, &kobj->arc, "kset");
	kset_put(kset);
}

static void kobj_kset_join(struct kobject *kobj)
{
	struct kset *kset = kset_get(kobj->kset);

	if (!kset)
		return;
	arc_hand_to_field(&kset->kobj.arc, &kobj->arc, "kset");
	spin_lock(&kset->list_lock);
	list_add_tail(&kobj->entry, &kset->list);
	spin_unlock(&kset->list_lock);
}

/* Out of the tree; the hold on the parent stays until the memory is released. */
static void kobject_unlink(struct kobject *kobj)
{
	if (!kobj->state_in_sysfs)
		return;
	dir_remove(kobj);
	kobj->state_in_sysfs = false;
	kobj_kset_leave(kobj);
}

static void kobject_drop(void *obj)
{
	struct kobject *kobj = obj;

	trace_step("kobject_cleanup", "'%s': last reference gone", kobj->name ? kobj->name : "");
	if (!kobj->state_in_sysfs)
		kobj->parent = NULL;	/* named by a failed kobject_add, never held */
	kobject_unlink(kobj);
}

/* Both are held while it is in the tree; drop gives up the kset, and free the parent (I3). */
static void parent_visit(void *obj, void (*see)(void *arg, struct arc *child), void *arg)
{
	struct kobject *kobj = obj;

	if (kobj->state_in_sysfs && kobj->parent)
		see(arg, &kobj->parent->arc);
}

static void kset_visit(void *obj, void (*see)(void *arg, struct arc *child), void *arg)
{
	struct kobject *kobj = obj;

	if (kobj->state_in_sysfs && kobj->kset)
		see(arg, &kobj->kset->kobj.arc);
}

static struct arc *nothing_to_take(void *obj)
{
	(void)obj;
	return NULL;
}

/* Return the memory, then let go of the parent. @obj is gone after release. */
static void kobject_free(void *obj)
{
	struct kobject *kobj = obj;
	struct kobject *parent = kobj->parent;
	const struct kobj_type *t = kobj->ktype;
	const char *name = kobj->name;

	trace_step("kobject_release", "'%s'%s%s", name ? name : "",
		   parent ? ", then put of parent " : "", parent ? parent->name : "");
	if (parent)
		arc_hand_from_field(&parent->arc, &kobj->arc, "parent");
	if (t && t->release)
		t->release(kobj);
	else
		arc_fault_tell(ARC_FAULT_NO_DESTRUCTOR, NULL, NULL,
			       "kobject: '%s' (%p): does not have a release() function, it is "
			       "broken and must be fixed.", name ? name : "", (void *)kobj);
	kfree(name);
	kobject_put(parent);
}

static void kobject_describe(const void *obj, char *buf, size_t bytes)
{
	const struct kobject *kobj = obj;

	snprintf(buf, bytes, "%s", kobj->name ? kobj->name : "");
}

static const struct arc_field kobject_fields[] = {
	{ .kind = ARC_FIELD_VISITOR, .name = "parent", .count = 1,
	  .ops = { .take = nothing_to_take, .visit = parent_visit } },
	{ .kind = ARC_FIELD_VISITOR, .name = "kset", .count = 1,
	  .ops = { .take = nothing_to_take, .visit = kset_visit } },
	ARC_FIELDS_END
};

static const struct arc_type kobject_type = {
	.name = "kobject",
	.size = sizeof(struct kobject),
	.offset = offsetof(struct kobject, arc),
	.flags = ARC_FINDABLE | ARC_SLEEPS,
	.ops = { .drop = kobject_drop, .free = kobject_free, .describe = kobject_describe },
	.fields = kobject_fields,
};

int kobject_types_register(void)
{
	return arc_type_register(&kobject_type);
}

void kobject_init_internal(struct kobject *kobj, const struct site *site)
{
	INIT_LIST_HEAD(&kobj->entry);
	kobj->state_in_sysfs = false;
	kobj->state_add_uevent_sent = false;
	kobj->state_remove_uevent_sent = false;
	kobj->state_initialized = true;
	arc_init_site(&kobj->arc, &kobject_type, site);
}

static const char *kobj_label(const struct kobject *kobj)
{
	return kobj->name ? kobj->name : "";
}

void kobject_init_site(struct kobject *kobj, const struct kobj_type *ktype,
		       const struct site *site)
{
	const char *fault = !kobj ? "invalid kobject pointer!" :
			    !ktype ? "must have a ktype to be initialized properly!" :
			    kobj->state_initialized ? "tried to init an initialized object, "
			    "something is seriously wrong." : NULL;

	if (fault) {
		pr_err("kobject (%p): %s, at %s:%u\n", (void *)kobj, fault, site->file,
		       site->line);
		dump_stack();
		return;
	}
	kobject_init_internal(kobj, site);
	kobj->ktype = ktype;
}

int kobject_set_name_vargs(struct kobject *kobj, const char *fmt, va_list args)
{
	char *name, *slash;

	if (kobj->name && !fmt)
		return 0;
	name = kvasprintf(GFP_KERNEL, fmt, args);
	if (!name)
		return -ENOMEM;
	for (slash = strchr(name, '/'); slash; slash = strchr(slash, '/'))
		*slash = '!';		/* a name is one path component */
	kfree(kobj->name);
	kobj->name = name;
	return 0;
}

int kobject_set_name(struct kobject *kobj, const char *fmt, ...)
{
	va_list args;
	int err;

	va_start(args, fmt);
	err = kobject_set_name_vargs(kobj, fmt, args);
	va_end(args);
	return err;
}

int kobject_add_internal(struct kobject *kobj)
{
	int err;

	if (!kobj->name || !kobj->name[0]) {
		WARN(1, "kobject: (%p): attempted to be registered with empty name!\n",
		     (void *)kobj);
		return -EINVAL;
	}
	if (kobj->ktype && kobj->ktype->default_groups)
		return -ENOSYS;
	if (kobj->parent)
		kobject_get(kobj->parent);
	else if (kobj->kset)
		kobj->parent = kobject_get(&kobj->kset->kobj);
	if (kobj->parent)
		arc_hand_to_field(&kobj->parent->arc, &kobj->arc, "parent");
	kobj_kset_join(kobj);
	err = dir_add(kobj);
	if (!err) {
		kobj->state_in_sysfs = true;
		return 0;
	}
	if (err == -EEXIST)
		pr_err("kobject_add_internal failed for %s with -EEXIST, don't try to register "
		       "things with the same name in the same directory.\n", kobj->name);
	else
		pr_err("kobject_add_internal failed for %s (error: %d parent: %s)\n", kobj->name,
		       err, kobj->parent ? kobj_label(kobj->parent) : "'none'");
	kobj_kset_leave(kobj);
	kobject_put(kobj->parent);
	kobj->parent = NULL;
	return err;
}

static int kobject_add_varg(struct kobject *kobj, struct kobject *parent, const char *fmt,
			    va_list args)
{
	int err;

	if (!kobj)
		return -EINVAL;
	if (!kobj->state_initialized) {
		pr_err("kobject '%s' (%p): tried to add an uninitialized object, something is "
		       "seriously wrong.\n", kobj_label(kobj), (void *)kobj);
		dump_stack();
		return -EINVAL;
	}
	err = kobject_set_name_vargs(kobj, fmt, args);
	if (err) {
		pr_err("kobject: can not set name properly!\n");
		return err;
	}
	kobj->parent = parent;
	return kobject_add_internal(kobj);
}

int kobject_add(struct kobject *kobj, struct kobject *parent, const char *fmt, ...)
{
	va_list args;
	int err;

	va_start(args, fmt);
	err = kobject_add_varg(kobj, parent, fmt, args);
	va_end(args);
	return err;
}

int kobject_init_and_add_site(struct kobject *kobj, const struct kobj_type *ktype,
			      struct kobject *parent, const struct site *site,
			      const char *fmt, ...)
{
	va_list args;
	int err;

	kobject_init_site(kobj, ktype, site);
	va_start(args, fmt);
	err = kobject_add_varg(kobj, parent, fmt, args);
	va_end(args);
	return err;
}

void kobject_del(struct kobject *kobj)
{
	struct kobject *parent;

	if (!kobj || !kobj->state_in_sysfs)
		return;
	parent = kobj->parent;
	kobject_unlink(kobj);
	kobj->parent = NULL;
	if (parent)
		arc_hand_from_field(&parent->arc, &kobj->arc, "parent");
	kobject_put(parent);
}

int kobject_rename(struct kobject *kobj, const char *new_name)
{
	int err;

	kobj = kobject_get(kobj);
	if (!kobj)
		return -EINVAL;
	err = kobj->parent && new_name[0] ? dir_rename(kobj, new_name) : -EINVAL;
	kobject_put(kobj);
	return err;
}

/* Bytes of "/parent/child" with its NUL; 0: somebody on the way has no name. */
static size_t path_bytes(const struct kobject *kobj)
{
	size_t bytes = 1;

	for (; kobj; kobj = kobj->parent) {
		if (!kobj->name)
			return 0;
		bytes += strlen(kobj->name) + 1;
	}
	return bytes;
}

static void path_fill(const struct kobject *kobj, char *end)
{
	for (; kobj; kobj = kobj->parent) {
		size_t part = strlen(kobj->name);

		end -= part;
		memcpy(end, kobj->name, part);
		*--end = '/';
	}
}

char *kobject_get_path(const struct kobject *kobj, gfp_t gfp)
{
	struct kobject_state *state = kobject_state();
	char *path = NULL;
	size_t bytes;

	mutex_lock(&state->tree_mutex);	/* no ancestor is renamed between the two walks */
	bytes = path_bytes(kobj);
	if (bytes)
		path = kzalloc(bytes, gfp);
	if (path)
		path_fill(kobj, path + bytes - 1);
	mutex_unlock(&state->tree_mutex);
	return path;
}

struct kobject *KARC_BODY(kobject_get_site)(struct kobject *kobj, const struct site *site)
{
	if (!kobj)
		return NULL;
	if (!kobj->state_initialized)
		WARN(1, "kobject: '%s' (%p): is not initialized, yet kobject_get() is being "
		     "called.\n", kobj_label(kobj), (void *)kobj);
	else
		arc_get_site(&kobj->arc, site);
	return kobj;
}

struct kobject *(KARC_BODY(kobject_get))(struct kobject *kobj)
{
	return kobject_get_site(kobj, SITE());
}

struct kobject *KARC_BODY(kobject_tryget_site)(struct kobject *kobj, const struct site *site)
{
	return kobj && arc_tryget_site(&kobj->arc, site) ? kobj : NULL;
}

struct kobject *(KARC_BODY(kobject_get_unless_zero))(struct kobject *kobj)
{
	return kobject_tryget_site(kobj, SITE());
}

void KARC_BODY(kobject_put_site)(struct kobject *kobj, const struct site *site)
{
	if (!kobj)
		return;
	if (!kobj->state_initialized)
		WARN(1, "kobject: '%s' (%p): is not initialized, yet kobject_put() is being "
		     "called.\n", kobj_label(kobj), (void *)kobj);
	else
		arc_put_site(&kobj->arc, site);
}

void (kobject_put)(struct kobject *kobj)
{
	kobject_put_site(kobj, SITE());
}

static void dynamic_kobj_release(struct kobject *kobj)
{
	kfree(kobj);
}

static const struct kobj_type dynamic_kobj_ktype = {
	.release = dynamic_kobj_release,
};

struct kobject *KARC_BODY(kobject_create_site)(const struct site *site)
{
	struct kobject *kobj = kmalloc_site(sizeof(*kobj), GFP_KERNEL | __GFP_ZERO, site);

	if (kobj)
		kobject_init_site(kobj, &dynamic_kobj_ktype, site);
	return kobj;
}

struct kobject *KARC_BODY(kobject_create_and_add_site)(const char *name, struct kobject *parent,
					    const struct site *site)
{
	struct kobject *kobj = kobject_create_site(site);

	if (!kobj)
		return NULL;
	if (kobject_add(kobj, parent, "%s", name)) {
		kobject_put(kobj);
		kobj = NULL;
	}
	return kobj;
}
