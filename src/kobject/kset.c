/* SPDX-License-Identifier: MIT */
/*
 * kset.c - sets of kobjects: a kobject with a list of members
 *
 * What it is
 *	Members hold the set; the set's list holds nothing. A dying member leaves the list in its
 *	drop, before its memory goes, so a lookup that takes its reference with
 *	kobject_get_unless_zero() under list_lock meets either a live object or a refusal.
 *
 * Locking
 *	list, and the names of members: list_lock (spins); nothing is put under it
 */
#include <karc/base/err.h>
#include <karc/base/log.h>
#include <karc/mm/slab/kmalloc.h>
#include <string.h>
#include "internal.h"

void kset_init_site(struct kset *kset, const struct site *site)
{
	if (!kset->kobj.state_initialized)
		kobject_init_internal(&kset->kobj, site);
	INIT_LIST_HEAD(&kset->list);
	spin_lock_init_rank(&kset->list_lock, LR_KSET);
}

int kset_register_site(struct kset *kset, const struct site *site)
{
	if (!kset)
		return -EINVAL;
	if (!kset->kobj.ktype) {
		pr_err("kset (%p): must have a ktype to be initialized properly!\n", (void *)kset);
		return -EINVAL;
	}
	kset_init_site(kset, site);
	return kobject_add_internal(&kset->kobj);
}

void KARC_BODY(kset_unregister)(struct kset *kset)
{
	if (!kset)
		return;
	kobject_del(&kset->kobj);
	kobject_put(&kset->kobj);
}

static void kset_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct kset, kobj));
}

static const struct kobj_type kset_ktype = {
	.release = kset_release,
};

struct kset *
KARC_BODY(kset_create_and_add_site)(const char *name, const struct kset_uevent_ops *uevent_ops,
				    struct kobject *parent, const struct site *site)
{
	struct kset *kset = kmalloc_site(sizeof(*kset), GFP_KERNEL | __GFP_ZERO, site);

	if (!kset)
		return NULL;
	kset->uevent_ops = uevent_ops;
	kset->kobj.parent = parent;
	kset->kobj.ktype = &kset_ktype;
	kset_init_site(kset, site);
	if (kobject_set_name(&kset->kobj, "%s", name) || kobject_add_internal(&kset->kobj)) {
		kobject_put(&kset->kobj);
		return NULL;
	}
	return kset;
}

struct kobject *KARC_BODY(kset_find_obj)(struct kset *kset, const char *name)
{
	struct kobject *kobj, *found = NULL;

	spin_lock(&kset->list_lock);
	list_for_each_entry(kobj, &kset->list, entry) {
		if (kobj->name && !strcmp(kobj->name, name)) {
			found = kobject_get_unless_zero(kobj);
			break;
		}
	}
	spin_unlock(&kset->list_lock);
	return found;
}
