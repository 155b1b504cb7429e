/* SPDX-License-Identifier: MIT */
/*
 * Guest source in Linux's manner: a kset of shelves with boxes on them, all kobjects with a
 * release.  A box holds its shelf, so a shelf that was given up lives until its last box goes.
 */
#include <linux/container_of.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/slab.h>
#include <linux/string.h>

#define NR_SHELVES	3
#define NR_BOXES	4

struct tally {
	unsigned int shelves;
	unsigned int boxes;
};

struct shelf {
	struct kobject kobj;
	struct tally *released;
};

struct box {
	char *label;
	struct kobject kobj;
	struct tally *released;
};

#define to_shelf(k) container_of(k, struct shelf, kobj)
#define to_box(k) container_of(k, struct box, kobj)

static void shelf_release(struct kobject *kobj)
{
	struct shelf *shelf = to_shelf(kobj);

	shelf->released->shelves++;
	kfree(shelf);
}

static void box_release(struct kobject *kobj)
{
	struct box *box = to_box(kobj);

	box->released->boxes++;
	kfree(box->label);
	kfree(box);
}

static struct kobj_type shelf_ktype = {
	.release = shelf_release,
};

static struct kobj_type box_ktype = {
	.release = box_release,
};

static struct shelf *shelf_create(struct kset *set, int nr, struct tally *released)
{
	struct shelf *shelf = kzalloc(sizeof(*shelf), GFP_KERNEL);
	int ret;

	if (!shelf)
		return ERR_PTR(-ENOMEM);
	shelf->released = released;
	shelf->kobj.kset = set;
	ret = kobject_init_and_add(&shelf->kobj, &shelf_ktype, NULL, "shelf%d", nr);
	if (ret) {
		kobject_put(&shelf->kobj);
		return ERR_PTR(ret);
	}
	return shelf;
}

static struct box *box_create(struct shelf *shelf, int nr)
{
	struct box *box = kzalloc(sizeof(*box), GFP_KERNEL);
	int ret;

	if (!box)
		return ERR_PTR(-ENOMEM);
	box->released = shelf->released;
	kobject_init(&box->kobj, &box_ktype);
	box->label = kasprintf(GFP_KERNEL, "%s/%d", kobject_name(&shelf->kobj), nr);
	ret = box->label ? kobject_add(&box->kobj, &shelf->kobj, "box%d", nr) : -ENOMEM;
	if (ret) {
		kobject_put(&box->kobj);
		return ERR_PTR(ret);
	}
	return box;
}

static bool path_is(struct kobject *kobj, const char *expected)
{
	char *path = kobject_get_path(kobj, GFP_KERNEL);
	bool same = path && strcmp(path, expected) == 0;

	kfree(path);
	return same;
}

/* One shelf full of boxes: it outlives its creator's reference, and goes with its last box. */
static int fill_and_empty(struct kset *set, int nr, struct tally *released)
{
	static const char *const paths[NR_SHELVES] = {
		"/shelves/shelf0/box1", "/shelves/shelf1/box1", "/shelves/shelf2/box1",
	};
	struct tally before = *released;
	struct box *boxes[NR_BOXES];
	struct kobject *found;
	struct shelf *shelf;
	int i, last, ret = 0;

	shelf = shelf_create(set, nr, released);
	if (IS_ERR(shelf))
		return PTR_ERR(shelf);
	for (last = 0; last < NR_BOXES; last++) {
		boxes[last] = box_create(shelf, last);
		if (IS_ERR(boxes[last])) {
			ret = PTR_ERR(boxes[last]);
			break;
		}
	}
	if (!ret && !path_is(&boxes[1]->kobj, paths[nr]))
		ret = -EINVAL;
	found = kset_find_obj(set, kobject_name(&shelf->kobj));
	if (found != &shelf->kobj)
		ret = -ENOENT;
	kobject_put(found);
	kobject_put(&shelf->kobj);
	if (!ret && released->shelves != before.shelves)
		ret = -EFAULT;
	for (i = 0; i < last; i++)
		kobject_put(&boxes[i]->kobj);
	if (!ret && (released->shelves != before.shelves + 1 ||
		     released->boxes != before.boxes + NR_BOXES))
		ret = -EBUSY;
	return ret;
}

long shelf_run(void *arg)
{
	struct tally released = { 0 };
	struct kset *set;
	int i, ret = 0;

	(void)arg;
	set = kset_create_and_add("shelves", NULL, NULL);
	if (!set)
		return -ENOMEM;
	for (i = 0; i < NR_SHELVES && !ret; i++)
		ret = fill_and_empty(set, i, &released);
	kset_unregister(set);
	pr_info("%u shelves and %u boxes released\n", released.shelves, released.boxes);
	return ret;
}
