/* SPDX-License-Identifier: MIT */
/*
 * device.c - devices in the tree
 *
 * What it is
 *	A struct device is a kobject whose type asks for mappings that were forgotten, and then calls
 *	the device's own release. "devices", where those without a parent live, is made with the
 *	first of them.
 *
 * Invariants
 *	I1 dev->kobj's parent in the tree is its parent's kobject, or the kset of devices
 *
 * Locking
 *	kobject_state.devices_mutex: making the kset. The tree's own locks do the rest.
 *
 * Unlike Linux
 *	No buses, classes, drivers, links and events.
 */
#include <karc/base/err.h>
#include <karc/kobject/device.h>
#include <karc/mm/slab/kmalloc.h>
#include "internal.h"

static void device_release(struct kobject *kobj)
{
	struct device *dev = kobj_to_dev(kobj);

	dma_device_ends(dev);
	if (dev->release)
		dev->release(dev);
	else
		WARN(1, "Device '%s' does not have a release() function, it is broken and must be "
		     "fixed.", dev_name(dev));
}

static const struct kobj_type device_ktype = {
	.release = device_release,
};

void device_initialize_site(struct device *dev, const struct site *site)
{
	kobject_init_site(&dev->kobj, &device_ktype, site);
	dev->numa_node = NUMA_NO_NODE;
}

int dev_set_name(struct device *dev, const char *fmt, ...)
{
	va_list args;
	int err;

	va_start(args, fmt);
	err = kobject_set_name_vargs(&dev->kobj, fmt, args);
	va_end(args);
	return err;
}

/* Borrows: the kset lives as long as the machine. NULL: no memory. */
static struct kset *devices_kset(void)
{
	struct kobject_state *state = kobject_state();
	struct kset *kset = smp_load_acquire(&state->devices);

	if (kset)
		return kset;
	mutex_lock(&state->devices_mutex);
	kset = state->devices;
	if (!kset) {
		kset = kset_create_and_add("devices", NULL, NULL);
		smp_store_release(&state->devices, kset);
	}
	mutex_unlock(&state->devices_mutex);
	return kset;
}

int device_add(struct device *dev)
{
	struct kset *kset;

	if (!dev || !dev_name(dev)[0])
		return -EINVAL;
	kset = devices_kset();
	if (!kset)
		return -ENOMEM;
	dev->kobj.kset = kset;
	return kobject_add(&dev->kobj, dev->parent ? &dev->parent->kobj : NULL, "%s",
			   dev_name(dev));
}

void device_del(struct device *dev)
{
	if (dev)
		kobject_del(&dev->kobj);
}

int device_register_site(struct device *dev, const struct site *site)
{
	device_initialize_site(dev, site);
	return device_add(dev);
}

void KARC_BODY(device_unregister)(struct device *dev)
{
	device_del(dev);
	put_device(dev);
}

static void root_device_release(struct device *dev)
{
	kfree(dev);
}

struct device *root_device_register_site(const char *name, const struct site *site)
{
	struct device *dev = kmalloc_site(sizeof(*dev), GFP_KERNEL | __GFP_ZERO, site);
	int err;

	if (!dev)
		return ERR_PTR(-ENOMEM);
	dev->release = root_device_release;
	device_initialize_site(dev, site);
	err = dev_set_name(dev, "%s", name);
	if (!err)
		err = device_add(dev);
	if (err) {
		put_device(dev);
		return ERR_PTR(err);
	}
	return dev;
}

void KARC_BODY(root_device_unregister)(struct device *dev)
{
	device_unregister(dev);
}
