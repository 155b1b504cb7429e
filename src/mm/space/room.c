/* SPDX-License-Identifier: MIT */
/*
 * The space room of a machine: its caches, its settings, its list of address spaces.
 *
 * Invariant I10: Committed_AS is the sum over all mappings with VM_ACCOUNT and all shmem files.
 * It is exact at any quiet time.
 */
#include <karc/base/hostmem.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mm.h>
#include <karc/refcount/graph.h>

#include "internal.h"
#include "vma_internal.h"

#define SPACE_DEFAULT_GUARD_PAGES	256
#define SPACE_DEFAULT_MIN_ADDR		65536

struct space_state *space_state(void)
{
	return this_room(ROOM_SPACE);
}

struct space_sysctl *space_sysctl(void)
{
	return &space_state()->sysctl;
}

static int space_init_caches(struct space_state *space)
{
	int err;

	space->mm_cache = kmem_cache_create("mm_struct", sizeof(struct mm_struct), 0,
					    SLAB_HWCACHE_ALIGN, NULL);
	if (!space->mm_cache)
		return -ENOMEM;
	space->vma_cache = kmem_cache_create("vm_area_struct", sizeof(struct vm_area_struct), 0,
					     SLAB_ACCOUNT, NULL);
	if (!space->vma_cache) {
		err = -ENOMEM;
		goto destroy_mm;
	}
	err = arc_type_register(&mm_struct_type);
	if (err)
		goto destroy_vma;
	err = arc_type_register(&vma_type);
	if (err)
		goto destroy_vma;
	return 0;
destroy_vma:
	kmem_cache_destroy(space->vma_cache);
destroy_mm:
	kmem_cache_destroy(space->mm_cache);
	return err;
}

static int space_init(struct machine *m)
{
	struct space_state *space;
	int err;

	space = hostmem_zalloc(machine_hostmem(m), sizeof(*space));
	if (!space)
		return -ENOMEM;
	machine_set_room(m, ROOM_SPACE, space);
	space->mm_lock = SPIN_LOCK_UNLOCKED_RANK(LR_TASKLIST);
	INIT_LIST_HEAD(&space->mms);
	space->sysctl.max_map_count = DEFAULT_MAX_MAP_COUNT;
	space->sysctl.mmap_min_addr = SPACE_DEFAULT_MIN_ADDR;
	space->sysctl.stack_guard_gap = SPACE_DEFAULT_GUARD_PAGES << PAGE_SHIFT;
	overcommit_init(m, space);
	err = space_init_caches(space);
	if (err)
		goto free_state;
	err = fault_init(m);
	if (err)
		goto destroy_caches;
	err = arc_graph_source_register(&space_graph_source);
	if (err)
		goto fault_exit;
	return 0;
fault_exit:
	fault_exit(m);
destroy_caches:
	kmem_cache_destroy(space->vma_cache);
	kmem_cache_destroy(space->mm_cache);
free_state:
	machine_set_room(m, ROOM_SPACE, NULL);
	hostmem_free(machine_hostmem(m), space);
	return err;
}

static void space_exit(struct machine *m)
{
	struct space_state *space = machine_room(m, ROOM_SPACE);

	arc_graph_source_unregister(&space_graph_source);
	cache_register_acct(NULL);
	fault_exit(m);
	kmem_cache_destroy(space->vma_cache);
	kmem_cache_destroy(space->mm_cache);
	machine_set_room(m, ROOM_SPACE, NULL);
	hostmem_free(machine_hostmem(m), space);
}

static void space_check(struct machine *m, struct check_report *report)
{
	struct space_state *space = machine_room(m, ROOM_SPACE);
	long accounted = shmem_accounted_pages();
	struct vm_area_struct *vma;
	struct mm_struct *mm;

	list_for_each_entry(mm, &space->mms, mm_node) {
		mm_check(mm, report);
		for_each_vma_of(mm, vma)
			accounted += vma->vm_flags & VM_ACCOUNT ? (long)vma_pages(vma) : 0;
	}
	if (accounted != atomic_long_read(&space->committed))
		check_fail(report, "I10: Committed_AS is %ld pages, the mappings account for %ld",
			   atomic_long_read(&space->committed), accounted);
}

const struct room space_room = {
	.name = "space",
	.id = ROOM_SPACE,
	.init = space_init,
	.exit = space_exit,
	.check = space_check,
};
