/* SPDX-License-Identifier: MIT */
/*
 * Guest source in Linux's manner: sessions from a slab cache of their own, on a list under a
 * spinlock, opened on every CPU at once from interrupt context, counted per CPU.
 */
#include <linux/cpumask.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#define SESSIONS_PER_CPU 20
#define SESSION_MAGIC 0x5e5510

struct session {
	struct list_head node;
	u32 magic;		/* set by the constructor, never changed */
	int cpu;
};

struct session_table {
	struct kmem_cache *cache;
	spinlock_t lock;
	struct list_head open;	/* lock */
	size_t nr_open;		/* lock */
};

static DEFINE_PER_CPU(unsigned long, sessions_opened);

static void session_ctor(void *obj)
{
	struct session *s = obj;

	INIT_LIST_HEAD(&s->node);
	s->magic = SESSION_MAGIC;
}

static void open_some(void *info)
{
	struct session_table *table = info;
	unsigned long flags;
	struct session *s;
	int i;

	for (i = 0; i < SESSIONS_PER_CPU; i++) {
		s = kmem_cache_alloc(table->cache, GFP_ATOMIC);
		if (!s)
			return;
		s->cpu = smp_processor_id();
		spin_lock_irqsave(&table->lock, flags);
		list_add_tail(&s->node, &table->open);
		table->nr_open++;
		spin_unlock_irqrestore(&table->lock, flags);
		this_cpu_inc(sessions_opened);
	}
}

/* Takes the whole list in one go and frees it outside the lock; -EFAULT if an object is wrong. */
static int close_all(struct session_table *table, size_t *nr_closed)
{
	struct session *s, *next;
	LIST_HEAD(closing);
	int ret = 0;

	spin_lock_irq(&table->lock);
	list_splice_init(&table->open, &closing);
	*nr_closed = table->nr_open;
	table->nr_open = 0;
	spin_unlock_irq(&table->lock);

	list_for_each_entry_safe(s, next, &closing, node) {
		if (s->magic != SESSION_MAGIC || s->cpu >= (int)num_online_cpus())
			ret = -EFAULT;
		list_del_init(&s->node);
		kmem_cache_free(table->cache, s);
	}
	return ret;
}

static unsigned long sessions_ever(void)
{
	unsigned long sum = 0;
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu(sessions_opened, cpu);
	return sum;
}

long session_run(void *arg)
{
	struct session_table *table;
	size_t nr_closed;
	int ret = -ENOMEM;

	(void)arg;
	table = kzalloc(sizeof(*table), GFP_KERNEL);
	if (!table)
		return -ENOMEM;
	spin_lock_init(&table->lock);
	INIT_LIST_HEAD(&table->open);
	table->cache = kmem_cache_create("session", sizeof(struct session), 0,
					 SLAB_HWCACHE_ALIGN, session_ctor);
	if (!table->cache)
		goto free_table;

	on_each_cpu(open_some, table, 1);
	ret = close_all(table, &nr_closed);
	if (!ret && (nr_closed != SESSIONS_PER_CPU * num_online_cpus() ||
		     sessions_ever() != nr_closed))
		ret = -ENOENT;
	pr_info("%zu sessions closed\n", nr_closed);

	kmem_cache_destroy(table->cache);
free_table:
	kfree(table);
	return ret;
}
