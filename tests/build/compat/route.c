/* SPDX-License-Identifier: MIT */
/*
 * Guest source in Linux's manner: a table that is read under RCU and whose entries are krefs.  A
 * reader may meet an entry that is dying already; it takes a reference only if there is one left.
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>

#define NR_ROUTES 32

struct route {
	struct list_head node;
	struct kref ref;
	struct rcu_head rcu;
	struct route_table *table;
	unsigned int dest;
};

struct route_table {
	struct mutex lock;		/* writers */
	struct list_head routes;	/* RCU */
	struct completion empty;
	unsigned int nr_freed;
};

static void route_free_rcu(struct rcu_head *head)
{
	struct route *route = container_of(head, struct route, rcu);
	struct route_table *table = route->table;

	kfree(route);
	if (++table->nr_freed == NR_ROUTES)
		complete(&table->empty);
}

static void route_release(struct kref *ref)
{
	struct route *route = container_of(ref, struct route, ref);

	call_rcu(&route->rcu, route_free_rcu);
}

static void route_put(struct route *route)
{
	kref_put(&route->ref, route_release);
}

static int route_add(struct route_table *table, unsigned int dest)
{
	struct route *route = kzalloc(sizeof(*route), GFP_KERNEL);

	if (!route)
		return -ENOMEM;
	kref_init(&route->ref);
	route->table = table;
	route->dest = dest;
	mutex_lock(&table->lock);
	list_add_tail_rcu(&route->node, &table->routes);
	mutex_unlock(&table->lock);
	return 0;
}

/* Gives a reference, or NULL. */
static struct route *route_lookup(struct route_table *table, unsigned int dest)
{
	struct route *route, *found = NULL;

	rcu_read_lock();
	list_for_each_entry_rcu(route, &table->routes, node) {
		if (route->dest == dest && kref_get_unless_zero(&route->ref)) {
			found = route;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

static void route_del(struct route_table *table, struct route *route)
{
	mutex_lock(&table->lock);
	list_del_rcu(&route->node);
	mutex_unlock(&table->lock);
	route_put(route);	/* the table's own */
}

/* Each entry is held by a reader while it is taken out: it stays readable, and cannot be found. */
static int use_and_remove(struct route_table *table, unsigned int dest)
{
	struct route *route = route_lookup(table, dest);
	int ret = 0;

	if (!route)
		return -ENOENT;
	route_del(table, route);
	cond_resched();
	if (route->dest != dest || kref_read(&route->ref) != 1)
		ret = -EFAULT;
	if (route_lookup(table, dest))
		ret = -EEXIST;
	route_put(route);
	return ret;
}

long route_run(void *arg)
{
	struct route_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	unsigned int i;
	int ret = 0;

	(void)arg;
	if (!table)
		return -ENOMEM;
	mutex_init(&table->lock);
	INIT_LIST_HEAD(&table->routes);
	init_completion(&table->empty);
	for (i = 0; i < NR_ROUTES && !ret; i++)
		ret = route_add(table, i);
	while (i-- > 0 && !ret)
		ret = use_and_remove(table, i);
	if (!ret) {
		wait_for_completion(&table->empty);
		rcu_barrier();
		ret = list_empty(&table->routes) && table->nr_freed == NR_ROUTES ? 0 : -EBUSY;
	}
	kfree(table);
	return ret;
}
