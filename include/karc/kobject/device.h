/* SPDX-License-Identifier: MIT */
/*
 * device.h - what a driver drives: a kobject with masks that say which memory it reaches
 *
 * As much of Linux 6.1's struct device as memory management needs. A device without a parent lies
 * in the directory "devices". Its memory is its maker's, whom ->release tells when nobody refers to
 * it any more.
 */
#ifndef KARC_KOBJECT_DEVICE_H
#define KARC_KOBJECT_DEVICE_H

#include <karc/base/log.h>
#include <karc/hw/topology.h>
#include <karc/kobject/kobject.h>

struct device {
	struct kobject kobj;
	struct device *parent;		/* set before device_add(); held while in the tree */
	const char *init_name;		/* the name, if none was set before device_add() */
	void *platform_data;
	void *driver_data;
	void (*release)(struct device *dev);
	u64 *dma_mask;			/* NULL: cannot do DMA with mapped memory */
	u64 coherent_dma_mask;		/* 0: nor with coherent memory */
	u64 bus_dma_limit;		/* what the bus in front of it can address; 0: everything */
	int numa_node;
};

static inline struct device *kobj_to_dev(struct kobject *kobj)
{
	return container_of(kobj, struct device, kobj);
}

static inline const char *dev_name(const struct device *dev)
{
	const char *name = kobject_name(&dev->kobj);

	return name ? name : dev->init_name ? dev->init_name : "";
}

KARC_MUST_CHECK int dev_set_name(struct device *dev, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * device_initialize - a zeroed device becomes live with one reference, the caller's
 *
 * Ends with put_device(), which calls dev->release in the end; a device without one is reported.
 * Context: any. Model: Linux 6.1.
 */
void device_initialize_site(struct device *dev, const struct site *site);
#define device_initialize(dev) device_initialize_site(dev, SITE())

/**
 * device_add - into the tree, under its parent
 *
 * Context: may sleep.
 * Errors:  -EINVAL (NULL, no name) and what kobject_add() says. The reference stays the caller's.
 * Model:   Linux 6.1, without buses, classes and events.
 */
KARC_MUST_CHECK int device_add(struct device *dev);
void device_del(struct device *dev);
KARC_MUST_CHECK int device_register_site(struct device *dev, const struct site *site);
#define device_register(dev) device_register_site(dev, SITE())
void device_unregister(KARC_TAKES struct device *dev);

/* One reference more, which get_device() returns, or one less; NULL is ignored. Context: any. */
#ifdef __clang_analyzer__
KARC_RETAINS(device);
#define get_device(ptr) ((struct device *)KARC_RETAIN(device, ptr))
void put_device(KARC_TAKES struct device *dev);
#else
static inline struct device *get_device_site(struct device *dev, const struct site *site)
{
	return dev ? kobj_to_dev(kobject_get_site(&dev->kobj, site)) : NULL;
}

#define get_device(dev) get_device_site((dev), SITE())

static inline void put_device_site(struct device *dev, const struct site *site)
{
	if (dev)
		kobject_put_site(&dev->kobj, site);
}

#define put_device(dev) put_device_site((dev), SITE())
#endif

/**
 * root_device_register - a device of its own memory at the top of the tree
 *
 * Gives:   the device, without a dma_mask; end it with root_device_unregister().
 * Context: may sleep. Errors: ERR_PTR(-ENOMEM) and what device_add() says.
 */
KARC_MUST_CHECK struct device *root_device_register_site(const char *name,
							 const struct site *site);
#define root_device_register(name) root_device_register_site(name, SITE())
void root_device_unregister(KARC_TAKES struct device *dev);

static inline void *dev_get_drvdata(const struct device *dev)
{
	return dev->driver_data;
}

static inline void dev_set_drvdata(struct device *dev, void *data)
{
	dev->driver_data = data;
}

static inline int dev_to_node(const struct device *dev)
{
	return dev->numa_node;
}

static inline void set_dev_node(struct device *dev, int node)
{
	dev->numa_node = node;
}

#define dev_err(dev, fmt, ...) pr_err("%s: " fmt, dev_name(dev), ##__VA_ARGS__)
#define dev_warn(dev, fmt, ...) pr_warn("%s: " fmt, dev_name(dev), ##__VA_ARGS__)
#define dev_info(dev, fmt, ...) pr_info("%s: " fmt, dev_name(dev), ##__VA_ARGS__)
#define dev_dbg(dev, fmt, ...) pr_debug("%s: " fmt, dev_name(dev), ##__VA_ARGS__)

#endif
