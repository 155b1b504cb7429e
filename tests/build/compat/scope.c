/* SPDX-License-Identifier: MIT */
/*
 * Guest source in Linux's manner: a register of named entries whose functions leave everything to
 * their scopes: __free(), guard(), scoped_guard(), a class of its own.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

struct entry {
	struct list_head node;
	char *name;
	int value;
};

struct registry {
	struct mutex lock;
	spinlock_t count_lock;
	struct list_head entries;
	unsigned int nr;
};

static void entry_free(struct entry *e)
{
	kfree(e->name);
	kfree(e);
}

DEFINE_FREE(entry, struct entry *, if (!IS_ERR_OR_NULL(_T)) entry_free(_T))

/* A registry that is read: locked, and counted when it is let go. */
struct reading {
	struct registry *r;
};

DEFINE_CLASS(reading, struct reading, mutex_unlock(&_T.r->lock),
	     ({ mutex_lock(&r->lock); (struct reading){ r }; }), struct registry *r)

static struct entry *entry_find(struct registry *r, const char *name)
{
	struct entry *e;

	list_for_each_entry(e, &r->entries, node)
		if (!strcmp(e->name, name))
			return e;
	return NULL;
}

static int entry_add(struct registry *r, const char *name, int value)
{
	struct entry *e __free(entry) = kzalloc(sizeof(*e), GFP_KERNEL);

	if (!e)
		return -ENOMEM;
	e->name = kstrdup(name, GFP_KERNEL);
	if (!e->name)
		return -ENOMEM;
	e->value = value;
	guard(mutex)(&r->lock);
	if (entry_find(r, name))
		return -EEXIST;
	list_add_tail(&no_free_ptr(e)->node, &r->entries);
	scoped_guard(spinlock_irqsave, &r->count_lock)
		r->nr++;
	return 0;
}

static int entry_value(struct registry *r, const char *name)
{
	CLASS(reading, in)(r);
	struct entry *e = entry_find(in.r, name);

	return e ? e->value : -ENOENT;
}

static int registry_busy(struct registry *r)
{
	scoped_cond_guard(mutex_try, return -EBUSY, &r->lock)
		if (r->nr > 1000)
			return -ENOSPC;
	return 0;
}

static struct entry *entry_take(struct registry *r, const char *name)
{
	guard(mutex)(&r->lock);
	struct entry *e __free(entry) = entry_find(r, name);

	if (!e)
		return ERR_PTR(-ENOENT);
	list_del(&e->node);
	scoped_guard(spinlock, &r->count_lock) {
		if (!r->nr)
			return ERR_PTR(-EINVAL);
		r->nr--;
	}
	return_ptr(e);
}

static int drop_all(struct registry *r)
{
	while (!list_empty(&r->entries)) {
		struct entry *e __free(entry) =
			list_first_entry(&r->entries, struct entry, node);

		list_del(&e->node);
		r->nr--;
	}
	return r->nr ? -EINVAL : 0;
}

long scope_run(void *arg);

long scope_run(void *arg)
{
	struct registry *r __free(kfree) = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r || arg)
		return -1;
	mutex_init(&r->lock);
	spin_lock_init(&r->count_lock);
	INIT_LIST_HEAD(&r->entries);
	if (entry_add(r, "one", 1) || entry_add(r, "two", 2) || entry_add(r, "three", 3))
		return -2;
	if (entry_add(r, "two", 4) != -EEXIST || r->nr != 3)
		return -3;
	if (entry_value(r, "two") != 2 || entry_value(r, "four") != -ENOENT)
		return -4;
	{
		struct entry *e __free(entry) = entry_take(r, "two");

		if (IS_ERR(e) || e->value != 2 || r->nr != 2)
			return -5;
	}
	if (!IS_ERR(entry_take(r, "two")))
		return -6;
	scoped_guard(rcu)
		if (registry_busy(r))
			return -7;
	scoped_guard(mutex, &r->lock)
		if (registry_busy(r) != -EBUSY)
			return -8;
	return drop_all(r);
}
