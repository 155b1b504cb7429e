/* SPDX-License-Identifier: MIT */
/*
 * room.c - the kobject room comes up and goes down
 */
#include <karc/base/err.h>
#include <karc/mm/slab/kmalloc.h>
#include "internal.h"

static int kobject_room_init(struct machine *m)
{
	struct kobject_state *state = kzalloc(sizeof(*state), GFP_KERNEL);
	int err;

	if (!state)
		return -ENOMEM;
	mutex_init_rank(&state->tree_mutex, LR_KOBJECT);
	mutex_init(&state->devices_mutex);
	state->root = RB_ROOT;
	state->dma = dma_state_make(m);
	if (!state->dma) {
		kfree(state);
		return -ENOMEM;
	}
	machine_set_room(m, ROOM_KOBJECT, state);
	err = kobject_types_register();
	if (!err)
		return 0;
	machine_set_room(m, ROOM_KOBJECT, NULL);
	dma_state_end(state->dma);
	kfree(state);
	return err;
}

/* Objects still alive are in the ledger, which names them; here only the tree goes. */
static void kobject_room_exit(struct machine *m)
{
	struct kobject_state *state = machine_room(m, ROOM_KOBJECT);

	kset_unregister(state->devices);
	dma_state_end(state->dma);
	machine_set_room(m, ROOM_KOBJECT, NULL);
	kfree(state);
}

static void kobject_room_check(struct machine *m, struct check_report *report)
{
	struct kobject_state *state = machine_room(m, ROOM_KOBJECT);

	dir_check(state, report);
	dma_check(state->dma, report);
}

const struct room kobject_room = {
	.name = "kobject",
	.id = ROOM_KOBJECT,
	.init = kobject_room_init,
	.exit = kobject_room_exit,
	.check = kobject_room_check,
};
