/* SPDX-License-Identifier: MIT */
/*
 * room.c - the cache room: its caches, its state, its check
 *
 * Files, inodes and anon_vmas that are left are reported by the ledger, with their sites.
 */
#include <karc/base/err.h>
#include <karc/base/hostmem.h>
#include <karc/mm/cache/rmap.h>
#include <karc/refcount/graph.h>
#include "internal.h"

static void destroy_caches(struct cache_room_state *s)
{
	kmem_cache_destroy(s->filp_cache);
	kmem_cache_destroy(s->inode_cache);
	kmem_cache_destroy(s->anon_vma_cache);
	kmem_cache_destroy(s->node_cache);
}

static int create_caches(struct cache_room_state *s)
{
	s->filp_cache = kmem_cache_create("filp", sizeof(struct file), 0, SLAB_HWCACHE_ALIGN, NULL);
	s->inode_cache = kmem_cache_create("inode_cache", sizeof(struct inode), 0,
					   SLAB_RECLAIM_ACCOUNT, NULL);
	s->anon_vma_cache = kmem_cache_create("anon_vma", sizeof(struct anon_vma), 0, 0, NULL);
	s->node_cache = kmem_cache_create("radix_tree_node", sizeof(struct xa_node), 0,
					  SLAB_RECLAIM_ACCOUNT, NULL);
	if (s->filp_cache && s->inode_cache && s->anon_vma_cache && s->node_cache)
		return 0;
	destroy_caches(s);
	return -ENOMEM;
}

static int cache_init(struct machine *m)
{
	struct cache_room_state *s = hostmem_zalloc(NULL, sizeof(*s));
	unsigned int i;
	int err;

	if (!s)
		return -ENOMEM;
	spin_lock_init_rank(&s->inodes_lock, LR_FILES);
	INIT_LIST_HEAD(&s->inodes);
	for (i = 0; i < PAGE_WAIT_QUEUES; i++)
		init_waitqueue_head(&s->page_wait[i]);
	err = create_caches(s);
	if (err)
		goto free_state;
	err = file_types_register();
	if (!err)
		err = rmap_types_register();
	if (!err)
		err = arc_graph_source_register(&cache_graph_source);
	if (err)
		goto destroy;
	machine_set_room(m, ROOM_CACHE, s);
	return 0;
destroy:
	destroy_caches(s);
free_state:
	hostmem_free(NULL, s);
	return err;
}

static void cache_exit(struct machine *m)
{
	struct cache_room_state *s = machine_room(m, ROOM_CACHE);

	arc_graph_source_unregister(&cache_graph_source);
	destroy_caches(s);
	machine_set_room(m, ROOM_CACHE, NULL);
	hostmem_free(NULL, s);
}

static void cache_check(struct machine *m, struct check_report *report)
{
	struct cache_room_state *s = machine_room(m, ROOM_CACHE);
	long accounted = 0;
	unsigned long nr = 0;
	struct inode *inode;

	list_for_each_entry(inode, &s->inodes, i_list) {
		mapping_check(&inode->i_data, report);
		shmem_check(inode, report);
		accounted += shmem_accounted_by(inode);
		nr += inode->i_data.nrpages;
	}
	if (accounted != shmem_accounted_pages())
		check_fail(report, "I2: shmem inodes account for %ld pages, the room for %ld",
			   accounted, shmem_accounted_pages());
	if (nr != page_cache_count())
		check_fail(report, "I2: %lu pages in all mappings, %lu counted", nr,
			   page_cache_count());
}

const struct room cache_room = {
	.name = "cache",
	.id = ROOM_CACHE,
	.init = cache_init,
	.exit = cache_exit,
	.check = cache_check,
};
