/* SPDX-License-Identifier: MIT */
/*
 * karc.c - the roof: the one file that knows every room
 */
#include <karc/karc.h>
#include <karc/kobject/kobject.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/phys/phys.h>
#include <karc/mm/reclaim/vmscan.h>
#include <karc/mm/slab/slab.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/task.h>
#include <karc/refcount/room.h>
#include <stdio.h>

static const struct room *const rooms[] = {
	&hw_room,
	&refcount_room,
	&phys_room,
	&slab_room,
	&pgtable_room,
	&kva_room,
	&cache_room,
	&space_room,
	&reclaim_room,
	&kobject_room,
	&proc_room,
};

const struct room *const *karc_rooms(unsigned int *nr_rooms)
{
	*nr_rooms = ARRAY_SIZE(rooms);
	return rooms;
}

const char *karc_version(void)
{
	return "0.1.0";
}

static const char *variant_name(void)
{
	static const char *const names[] = { "karc", "karc-debug", "karc-asan", "karc-tsan" };

	return names[KARC_VARIANT];
}

/* Not a line for the machine's console: there is no machine, and the program may expect one. */
static void say_mismatch(u64 abi_hash)
{
	fprintf(stderr,
		"karc: machine_boot refused: this program was compiled for other layouts or another "
		"build variant (hash %016llx)\n"
		"karc: than the library it runs with (version %s, hash %016llx).\n"
		"karc: compile it with the headers of this very library and the flags of "
		"`pkg-config --cflags %s`.\n",
		(unsigned long long)abi_hash, karc_version(),
		(unsigned long long)karc_abi_hash(), variant_name());
}

struct machine *karc_boot(const struct machine_config *config, u64 abi_hash)
{
	if (abi_hash != karc_abi_hash()) {
		say_mismatch(abi_hash);
		return ERR_PTR(-ENOEXEC);
	}
	return machine_boot_rooms(config, rooms, ARRAY_SIZE(rooms));
}
