/* SPDX-License-Identifier: MIT */
/*
 * fs.c - the umask, counted because CLONE_FS shares it
 */
#include <karc/mm/slab/kmalloc.h>
#include <karc/proc/fs.h>
#include "internal.h"

static void fs_free(void *obj)
{
	kfree(obj);
}

static const struct arc_type fs_type = {
	.name = "fs_struct",
	.size = sizeof(struct fs_struct),
	.offset = offsetof(struct fs_struct, arc),
	.flags = ARC_LEAF,
	.ops = { .free = fs_free },
};

int fs_types_register(struct proc_state *p)
{
	(void)p;
	return arc_type_register(&fs_type);
}

struct fs_struct *KARC_BODY(fs_alloc_site)(unsigned int umask, const struct site *site)
{
	struct fs_struct *fs = kmalloc_site(sizeof(*fs), GFP_KERNEL | __GFP_ZERO, site);

	if (!fs)
		return NULL;
	fs->umask = umask;
	arc_init_site(&fs->arc, &fs_type, site);
	return fs;
}

void KARC_BODY(put_fs_struct)(struct fs_struct *fs)
{
	if (fs)
		arc_put(&fs->arc);
}
