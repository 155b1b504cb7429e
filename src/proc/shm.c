/* SPDX-License-Identifier: MIT */
/*
 * shm.c - System V shared memory, and the system calls of memory files
 *
 * What it is
 *	A shmem inode with a key and a number, which stays when nobody has it mapped. Attaching is
 *	mapping an open file of it; each VMA of such a file counts as one attachment.
 *
 * Objects
 *	namespace --slots[i] owns--> segment --owns--> shmem inode --> pages
 *	VMA --owns--> file --private_data owns--> segment;  the file owns the inode too
 *
 * Invariants
 *	I1 slots[i]->id is i modulo SHM_IDS, and no two segments in slots have the same key but 0
 *	I2 nattch is the number of VMAs that opened the segment and did not close it, and of calls
 *	   of shmat() on their way
 *	I3 a segment is in slots until it is removed with nattch 0; removed with nattch above 0 it
 *	   is marked (SHM_DEST), has no key, and the last close takes it out
 *	I4 nr_segments and tot_pages are the sums over slots
 *
 * Locking
 *	ns->lock (LR_FILES, spins): slots and everything in a segment but its inode. VMAs open and
 *	close under mmap_lock, so it ranks after that; nothing is allocated or put under it.
 *
 * Life
 *	shmget -> in slots (one reference) -> RMID and no attachment -> out, put -> inode put ->
 *	pages freed. With the room the rest goes.
 *
 * Worst case
 *	Looking for a key or a free slot is linear in SHM_MAX_SEGMENTS.
 *
 * Unlike Linux
 *	One user owns everything: permissions are those of the owner, and a capable space passes.
 *	No huge pages (-ENOSYS). shm_rmid_forced is 0. Times are seconds of the machine's clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <karc/base/err.h>
#include <karc/hw/clock.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/uaccess.h>
#include <karc/mm/space/vma.h>
#include <karc/mm/vm_flags.h>
#include <karc/proc/files.h>
#include <karc/proc/shm.h>
#include <karc/proc/task.h>
#include <karc/refcount/graph.h>
#include "internal.h"

#define SHM_IDS		32768		/* numbers of a slot differ by this */
#define SHM_ID_SEQS	(0x7fffffff / SHM_IDS)
#define SHM_FIRST_SLOTS	64U
#define MODE_DEST	01000U		/* SHM_DEST, SHM_LOCKED of the mode */
#define MODE_LOCKED	02000U
#define PERM_BITS	0777U

struct shm_segment {
	struct arc arc;
	struct inode *inode;		/* owned */
	size_t size;			/* bytes, as asked for */
	int id;
	key_t key;
	unsigned int mode, seq;		/* permissions, MODE_* */
	unsigned int uid, gid;
	unsigned long nattch;
	time_t atime, dtime, ctime;
	pid_t cpid, lpid;
};

struct shm_ns {
	spinlock_t lock;
	struct shm_segment **slots;	/* owned references */
	unsigned int nr_slots, nr_segments;
	int last_slot;
	unsigned int seq;
	unsigned long tot_pages;
};

static struct shm_ns *shm_ns(void)
{
	return proc_state()->shm;
}

static void segment_free(void *obj)
{
	kfree(obj);
}

static void segment_describe(const void *obj, char *buf, size_t bytes)
{
	const struct shm_segment *seg = obj;

	snprintf(buf, bytes, "id %d, %zu bytes", seg->id, seg->size);
}

static const struct arc_field segment_fields[] = {
	ARC_OWNED(shm_segment, inode, inode),
	ARC_FIELDS_END
};

static const struct arc_type segment_type = {
	.name = "shmid_kernel",
	.size = sizeof(struct shm_segment),
	.offset = offsetof(struct shm_segment, arc),
	.flags = ARC_SLEEPS,
	.ops = { .free = segment_free, .describe = segment_describe },
	.fields = segment_fields,
};

#define SEGMENT_HELD_BY_TABLE	"shm namespace"

static struct shm_segment *segment_get(struct shm_segment *seg)
{
	arc_get(&seg->arc);
	return seg;
}

static void segment_put(struct shm_segment *seg)
{
	if (seg)
		arc_put(&seg->arc);
}

static unsigned long segment_pages(const struct shm_segment *seg)
{
	return (unsigned long)(PAGE_ALIGN(seg->size) >> PAGE_SHIFT);
}

static time_t now_seconds(void)
{
	return (time_t)(ktime_get_ns() / 1000000000U);
}

static pid_t caller_pid(void)
{
	return current ? current->tgid : 0;
}

/* ---- the room ---- */

int shm_init(struct proc_state *p)
{
	struct shm_ns *ns = kzalloc(sizeof(*ns), GFP_KERNEL);
	int err;

	if (!ns)
		return -ENOMEM;
	spin_lock_init_rank(&ns->lock, LR_FILES);
	ns->last_slot = -1;
	err = arc_type_register(&segment_type);
	if (err) {
		kfree(ns);
		return err;
	}
	p->shm = ns;
	return 0;
}

void shm_exit(struct proc_state *p)
{
	struct shm_ns *ns = p->shm;
	unsigned int i;

	if (!ns)
		return;
	for (i = 0; i < ns->nr_slots; i++)
		segment_put(ns->slots[i]);
	kfree(ns->slots);
	kfree(ns);
	p->shm = NULL;
}

void shm_check(struct proc_state *p, struct check_report *report)
{
	struct shm_ns *ns = p->shm;
	unsigned long pages = 0;
	unsigned int i, nr = 0;

	for (i = 0; i < ns->nr_slots; i++) {
		const struct shm_segment *seg = ns->slots[i];

		if (!seg)
			continue;
		nr++;
		pages += segment_pages(seg);
		if ((unsigned int)seg->id % SHM_IDS != i)
			check_fail(report, "I1: segment %d is in slot %u", seg->id, i);
		if ((seg->mode & MODE_DEST) && !seg->nattch)
			check_fail(report, "I3: segment %d is removed and not attached", seg->id);
	}
	if (nr != ns->nr_segments || pages != ns->tot_pages)
		check_fail(report, "I4: %u segments of %lu pages, counted %u of %lu", nr, pages,
			   ns->nr_segments, ns->tot_pages);
}

void shm_visit(struct proc_state *p, struct arc_graph_see *see)
{
	const struct shm_ns *ns = p->shm;
	unsigned int i;

	for (i = 0; i < ns->nr_slots; i++)
		if (ns->slots[i])
			arc_graph_see_root(see, &ns->slots[i]->arc, "table of segments");
}

unsigned long shm_nr_segments(void)
{
	return READ_ONCE(shm_ns()->nr_segments);
}

/* ---- the table; ns->lock is held ---- */

static struct shm_segment *find_id_locked(struct shm_ns *ns, int id)
{
	unsigned int slot = (unsigned int)id % SHM_IDS;
	struct shm_segment *seg;

	if (id < 0 || slot >= ns->nr_slots)
		return NULL;
	seg = ns->slots[slot];
	return seg && seg->id == id ? seg : NULL;
}

static struct shm_segment *find_key_locked(struct shm_ns *ns, key_t key)
{
	unsigned int i;

	for (i = 0; i < ns->nr_slots; i++)
		if (ns->slots[i] && ns->slots[i]->key == key)
			return ns->slots[i];
	return NULL;
}

static int free_slot_locked(const struct shm_ns *ns)
{
	unsigned int i;

	for (i = 0; i < ns->nr_slots; i++)
		if (!ns->slots[i])
			return (int)i;
	return -1;
}

/* The last slot with a segment, 0 when there is none: what programs take as a bound. */
static int max_slot_locked(const struct shm_ns *ns)
{
	int i;

	for (i = (int)ns->nr_slots - 1; i > 0; i--)
		if (ns->slots[i])
			return i;
	return 0;
}

/* Numbers come round again late: a slot's next segment has another one. */
static void insert_locked(struct shm_ns *ns, int slot, struct shm_segment *seg)
{
	if (slot <= ns->last_slot)
		ns->seq = (ns->seq + 1) % SHM_ID_SEQS;
	ns->last_slot = slot;
	seg->seq = ns->seq;
	seg->id = (int)(ns->seq * SHM_IDS) + slot;
	/* Maps text shows the number in the place of the inode's. */
	seg->inode->i_ino = (unsigned long)seg->id;
	ns->slots[slot] = seg;
	arc_hand_to_root(&seg->arc, SEGMENT_HELD_BY_TABLE);
	ns->nr_segments++;
	ns->tot_pages += segment_pages(seg);
}

/* Out of the table when it was removed and nobody has it: gives the table's reference, or NULL. */
static struct shm_segment *reap_locked(struct shm_ns *ns, struct shm_segment *seg)
{
	unsigned int slot = (unsigned int)seg->id % SHM_IDS;

	if (!(seg->mode & MODE_DEST) || seg->nattch || ns->slots[slot] != seg)
		return NULL;
	ns->slots[slot] = NULL;
	arc_hand_from_root(&seg->arc, SEGMENT_HELD_BY_TABLE);
	ns->tot_pages -= segment_pages(seg);
	if (!--ns->nr_segments) {	/* who uses none has no memory for them */
		kfree(ns->slots);
		ns->slots = NULL;
		ns->nr_slots = 0;
	}
	return seg;
}

static void attach_locked(struct shm_segment *seg)
{
	seg->nattch++;
	seg->atime = now_seconds();
	seg->lpid = caller_pid();
}

/* One attachment less; @at: it was a mapping, not a call on its way. */
static void detach(struct shm_segment *seg, bool mapping)
{
	struct shm_ns *ns = shm_ns();
	struct shm_segment *gone;

	spin_lock(&ns->lock);
	BUG_ON(!seg->nattch);
	seg->nattch--;
	if (mapping) {
		seg->dtime = now_seconds();
		seg->lpid = caller_pid();
	}
	gone = reap_locked(ns, seg);
	spin_unlock(&ns->lock);
	segment_put(gone);
}

/* May somebody with the rights of @mm do what the permission bits of @wanted say? */
static bool allowed(const struct mm_struct *mm, const struct shm_segment *seg, unsigned int wanted)
{
	unsigned int bits = wanted >> 6 | wanted >> 3 | wanted;

	return mm_flag_test(mm, MMF_CAPABLE) || !(bits & ~(seg->mode >> 6) & 7);
}

/* ---- shmget ---- */

/* Room in the table for one more. Nothing changes on failure. */
static int grow_table(struct shm_ns *ns, unsigned int nr)
{
	unsigned int want = clamp(nr * 2, SHM_FIRST_SLOTS, (unsigned int)SHM_MAX_SEGMENTS);
	struct shm_segment **bigger, **old;

	bigger = kcalloc(want, sizeof(*bigger), GFP_KERNEL);
	if (!bigger)
		return -ENOMEM;
	spin_lock(&ns->lock);
	old = bigger;
	if (ns->nr_slots < want) {
		if (ns->nr_slots)
			memcpy(bigger, ns->slots, ns->nr_slots * sizeof(*bigger));
		old = ns->slots;
		ns->slots = bigger;
		ns->nr_slots = want;
	}
	spin_unlock(&ns->lock);
	kfree(old);
	return 0;
}

/* A segment that nobody knows yet. Gives it, or ERR_PTR. */
static struct shm_segment *new_segment(struct mm_struct *mm, key_t key, size_t size, int flags)
{
	bool noreserve = (flags & SHM_NORESERVE) &&
			 space_sysctl()->overcommit_memory != OVERCOMMIT_NEVER;
	struct shm_segment *seg;
	struct file *file;
	char name[16];

	/* The largest size that a segment may have is none that a file can have. */
	if (size < SHM_MIN_BYTES || size > SHM_MAX_BYTES || (loff_t)size < 0)
		return ERR_PTR(-EINVAL);
	if (flags & SHM_HUGETLB)
		return ERR_PTR(-ENOSYS);
	seg = kzalloc(sizeof(*seg), GFP_KERNEL);
	if (!seg)
		return ERR_PTR(-ENOMEM);
	snprintf(name, sizeof(name), "SYSV%08x", (unsigned int)key);
	file = shmem_file_setup_mm(mm, name, (loff_t)size, noreserve ? VM_NORESERVE : 0);
	if (IS_ERR(file)) {
		kfree(seg);
		return ERR_CAST(file);
	}
	seg->inode = file_inode(file);
	ihold(seg->inode);
	fput(file);
	seg->size = size;
	seg->key = key;
	seg->mode = (unsigned int)flags & PERM_BITS;
	seg->cpid = caller_pid();
	seg->ctime = now_seconds();
	arc_init_site(&seg->arc, &segment_type, SITE());
	return seg;
}

/* What shmget() answers for an existing segment. */
static long found_locked(const struct mm_struct *mm, const struct shm_segment *seg, size_t size,
			 int flags)
{
	if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
		return -EEXIST;
	if (size > seg->size)
		return -EINVAL;
	return allowed(mm, seg, (unsigned int)flags & PERM_BITS) ? seg->id : -EACCES;
}

/* Does a segment fit into the limits? */
static bool limits_allow_locked(const struct shm_ns *ns, unsigned long pages)
{
	return ns->nr_segments < SHM_MAX_SEGMENTS && ns->tot_pages + pages >= pages &&
	       ns->tot_pages + pages <= SHM_ALL_PAGES;
}

/*
 * One look at the table. Returns the answer; -EAGAIN: make a segment (*@seg is NULL) or a larger
 * table (*@nr_slots), and look again. Takes *@seg into the table when it is needed, and then
 * sets it to NULL.
 */
static long shmget_once(struct mm_struct *mm, key_t key, size_t size, int flags,
			struct shm_segment **seg, unsigned int *nr_slots)
{
	struct shm_ns *ns = shm_ns();
	struct shm_segment *old;
	long ret = -EAGAIN;
	int slot;

	spin_lock(&ns->lock);
	old = key == IPC_PRIVATE ? NULL : find_key_locked(ns, key);
	slot = free_slot_locked(ns);
	*nr_slots = ns->nr_slots;
	if (old) {
		ret = found_locked(mm, old, size, flags);
	} else if (key != IPC_PRIVATE && !(flags & IPC_CREAT)) {
		ret = -ENOENT;
	} else if (*seg && !limits_allow_locked(ns, segment_pages(*seg))) {
		ret = -ENOSPC;
	} else if (*seg && slot >= 0) {
		insert_locked(ns, slot, *seg);
		ret = (*seg)->id;
		*seg = NULL;
	}
	spin_unlock(&ns->lock);
	return ret;
}

long ksys_shmget(struct mm_struct *mm, key_t key, size_t size, int shmflg)
{
	struct shm_segment *seg = NULL;
	unsigned int nr_slots;
	long ret;

	for (;;) {	/* at most: make the segment, then double the table to its limit */
		ret = shmget_once(mm, key, size, shmflg, &seg, &nr_slots);
		if (ret != -EAGAIN)
			break;
		if (seg) {
			ret = grow_table(shm_ns(), nr_slots);
			if (ret)
				break;
			continue;
		}
		seg = new_segment(mm, key, size, shmflg);
		if (IS_ERR(seg))
			return PTR_ERR(seg);
	}
	segment_put(seg);
	return ret;
}

/* ---- mapping ---- */

static struct shm_segment *vma_segment(const struct vm_area_struct *vma)
{
	return vma->vm_file->private_data;
}

static void segment_vma_open(struct vm_area_struct *vma)
{
	struct shm_ns *ns = shm_ns();

	spin_lock(&ns->lock);
	attach_locked(vma_segment(vma));
	spin_unlock(&ns->lock);
}

static void segment_vma_close(struct vm_area_struct *vma)
{
	detach(vma_segment(vma), true);
}

static const struct vm_operations_struct segment_vm_ops = {
	.open = segment_vma_open,
	.close = segment_vma_close,
	.fault = shmem_fault,
};

static int segment_mmap(struct file *file, struct vm_area_struct *vma)
{
	int err = shmem_mmap(file, vma);

	if (err)
		return err;
	vma->vm_ops = &segment_vm_ops;
	segment_vma_open(vma);
	return 0;
}

static int segment_file_release(struct inode *inode, struct file *file)
{
	(void)inode;
	segment_put(file->private_data);
	return 0;
}

static struct arc *segment_private_arc(const struct file *file)
{
	struct shm_segment *seg = file->private_data;

	return &seg->arc;
}

static const struct file_operations segment_fops = {
	.private_arc = segment_private_arc,
	.mmap = segment_mmap,
	.mmap_lazy = true,
	.release = segment_file_release,
};

/* An open file of @seg for one attachment. */
static struct file *segment_file(struct shm_segment *seg, unsigned int flags)
{
	struct file *file = file_open_inode(seg->inode, flags);

	if (IS_ERR(file))
		return file;
	file->f_op = &segment_fops;
	file->private_data = segment_get(seg);
	arc_hand_to_field(&seg->arc, &file->arc, "private_data");
	return file;
}

/* ---- shmat ---- */

struct attach_args {
	unsigned long addr;
	unsigned long prot, map_flags;
	unsigned int open_flags, wanted;	/* permissions */
	bool remap;
};

static int attach_parse(struct attach_args *args, unsigned long addr, int shmflg)
{
	*args = (struct attach_args) {
		.addr = addr, .prot = PROT_READ, .map_flags = MAP_SHARED,
		.open_flags = O_RDONLY, .wanted = 0444, .remap = shmflg & SHM_REMAP,
	};
	if (offset_in_page(addr)) {
		if (!(shmflg & SHM_RND))
			return -EINVAL;
		args->addr &= PAGE_MASK;
		if (!args->addr && args->remap)
			return -EINVAL;
	}
	if (!addr && args->remap)
		return -EINVAL;
	if (addr)
		args->map_flags |= MAP_FIXED;
	if (!(shmflg & SHM_RDONLY)) {
		args->prot |= PROT_WRITE;
		args->open_flags = O_RDWR;
		args->wanted |= 0222;
	}
	if (shmflg & SHM_EXEC) {
		args->prot |= PROT_EXEC;
		args->wanted |= 0111;
	}
	return 0;
}

/* The segment with one attachment and one reference more, or ERR_PTR. */
static struct shm_segment *hold_segment(const struct mm_struct *mm, int shmid, unsigned int wanted)
{
	struct shm_ns *ns = shm_ns();
	struct shm_segment *seg;
	int err = 0;

	spin_lock(&ns->lock);
	seg = find_id_locked(ns, shmid);
	if (!seg)
		err = -EINVAL;
	else if (!allowed(mm, seg, wanted))
		err = -EACCES;
	if (!err) {
		segment_get(seg);
		seg->nattch++;
	}
	spin_unlock(&ns->lock);
	return err ? ERR_PTR(err) : seg;
}

static long attach_map(struct mm_struct *mm, struct file *file, size_t size,
		       const struct attach_args *args)
{
	unsigned long populate = 0, ret = -EINVAL;
	bool fixed = args->map_flags & MAP_FIXED;

	mmap_write_lock(mm);
	if (!fixed || args->remap ||
	    (args->addr + size >= args->addr &&
	     !find_vma_intersection(mm, args->addr, args->addr + size)))
		ret = do_mmap(mm, file, args->addr, size, args->prot, args->map_flags, 0,
			      &populate);
	mmap_write_unlock(mm);
	if (populate)
		mm_populate(mm, ret, populate);
	return (long)ret;
}

long ksys_shmat(struct mm_struct *mm, int shmid, unsigned long addr, int shmflg)
{
	struct attach_args args;
	struct shm_segment *seg;
	struct file *file;
	long ret;

	ret = shmid < 0 ? -EINVAL : attach_parse(&args, addr, shmflg);
	if (ret)
		return ret;
	seg = hold_segment(mm, shmid, args.wanted);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	file = segment_file(seg, args.open_flags);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto detach;
	}
	ret = attach_map(mm, file, seg->size, &args);
	fput(file);
detach:
	detach(seg, false);
	segment_put(seg);
	return ret;
}

/* ---- shmdt ---- */

/* Is @vma the part of an attachment at @addr that was there from the beginning? */
static bool is_part_of_attachment(const struct vm_area_struct *vma, unsigned long addr)
{
	return vma->vm_ops == &segment_vm_ops &&
	       (vma->vm_start - addr) >> PAGE_SHIFT == vma->vm_pgoff;
}

static struct vm_area_struct *next_part(struct mm_struct *mm, unsigned long from,
					unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, from);

	while (vma && !is_part_of_attachment(vma, addr))
		vma = find_vma(mm, vma->vm_end);
	return vma;
}

/*
 * Parts that mprotect() and munmap() left lie within the segment's size from @addr, each at its own
 * offset. Others' parts at such a place are not of the first one's file.
 */
static int shmdt_locked(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = next_part(mm, addr, addr);
	unsigned long end, size;
	struct file *file;
	int err = 0;

	if (!vma)
		return -EINVAL;
	file = get_file(vma->vm_file);
	size = PAGE_ALIGN(vma_segment(vma)->size);
	do {
		end = vma->vm_end;
		if (vma->vm_file == file)
			err = do_munmap(mm, vma->vm_start, end - vma->vm_start);
		vma = next_part(mm, end, addr);
	} while (!err && vma && vma->vm_end - addr <= size);
	fput(file);
	return err;
}

long ksys_shmdt(struct mm_struct *mm, unsigned long addr)
{
	int err;

	if (offset_in_page(addr))
		return -EINVAL;
	mmap_write_lock(mm);
	err = shmdt_locked(mm, addr);
	mmap_write_unlock(mm);
	return err;
}

/* ---- shmctl ---- */

static void stat_locked(const struct shm_segment *seg, struct shmid_ds *out)
{
	memset(out, 0, sizeof(*out));
	out->shm_perm.__key = seg->key;
	out->shm_perm.uid = out->shm_perm.cuid = seg->uid;
	out->shm_perm.gid = out->shm_perm.cgid = seg->gid;
	out->shm_perm.mode = (unsigned short)seg->mode;
	out->shm_perm.__seq = (unsigned short)seg->seq;
	out->shm_segsz = seg->size;
	out->shm_atime = seg->atime;
	out->shm_dtime = seg->dtime;
	out->shm_ctime = seg->ctime;
	out->shm_cpid = seg->cpid;
	out->shm_lpid = seg->lpid;
	out->shm_nattch = seg->nattch;
}

static long shm_limits(struct shm_ns *ns, struct shminfo *info)
{
	long ret;

	memset(info, 0, sizeof(*info));
	info->shmmax = SHM_MAX_BYTES;
	info->shmmin = SHM_MIN_BYTES;
	info->shmmni = info->shmseg = SHM_MAX_SEGMENTS;
	info->shmall = SHM_ALL_PAGES;
	spin_lock(&ns->lock);
	ret = max_slot_locked(ns);
	spin_unlock(&ns->lock);
	return ret;
}

static long shm_usage(struct shm_ns *ns, struct shm_info *info)
{
	unsigned int i;
	long ret;

	memset(info, 0, sizeof(*info));
	spin_lock(&ns->lock);
	info->used_ids = (int)ns->nr_segments;
	info->shm_tot = ns->tot_pages;
	for (i = 0; i < ns->nr_slots; i++)
		if (ns->slots[i])
			info->shm_rss += READ_ONCE(ns->slots[i]->inode->i_data.nrpages);
	ret = max_slot_locked(ns);
	spin_unlock(&ns->lock);
	return ret;
}

static long shm_stat(struct shm_ns *ns, struct mm_struct *mm, int shmid, int cmd,
		     struct shmid_ds *out)
{
	struct shm_segment *seg = NULL;
	long ret = -EINVAL;

	spin_lock(&ns->lock);
	if (cmd == IPC_STAT)
		seg = find_id_locked(ns, shmid);
	else if (shmid >= 0 && (unsigned int)shmid % SHM_IDS < ns->nr_slots)
		seg = ns->slots[(unsigned int)shmid % SHM_IDS];
	if (seg) {
		ret = cmd == SHM_STAT_ANY || allowed(mm, seg, 0444) ? 0 : -EACCES;
		if (!ret)
			stat_locked(seg, out);
		if (!ret && cmd != IPC_STAT)
			ret = seg->id;
	}
	spin_unlock(&ns->lock);
	return ret;
}

/* Removal, new permissions, locking in memory. */
static long shm_change(struct shm_ns *ns, int shmid, int cmd, const struct shmid_ds *in)
{
	struct shm_segment *seg, *gone = NULL;
	long ret = 0;

	spin_lock(&ns->lock);
	seg = find_id_locked(ns, shmid);
	if (!seg) {
		ret = -EINVAL;
	} else if (cmd == IPC_RMID) {
		seg->mode |= MODE_DEST;
		seg->key = IPC_PRIVATE;
		gone = reap_locked(ns, seg);
	} else if (cmd == IPC_SET) {
		seg->uid = in->shm_perm.uid;
		seg->gid = in->shm_perm.gid;
		seg->mode = (seg->mode & ~PERM_BITS) | (in->shm_perm.mode & PERM_BITS);
		seg->ctime = now_seconds();
	} else if (cmd == SHM_LOCK) {
		seg->mode |= MODE_LOCKED;	/* nothing takes the pages anyway */
	} else {
		seg->mode &= ~MODE_LOCKED;
	}
	spin_unlock(&ns->lock);
	segment_put(gone);
	return ret;
}

long ksys_shmctl(struct mm_struct *mm, int shmid, int cmd, void *buf)
{
	struct shm_ns *ns = shm_ns();

	if (cmd < 0 || shmid < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
		return shm_limits(ns, buf);
	case SHM_INFO:
		return shm_usage(ns, buf);
	case IPC_STAT:
	case SHM_STAT:
	case SHM_STAT_ANY:
		return shm_stat(ns, mm, shmid, cmd, buf);
	case IPC_RMID:
	case IPC_SET:
	case SHM_LOCK:
	case SHM_UNLOCK:
		return shm_change(ns, shmid, cmd, buf);
	default:
		return -EINVAL;
	}
}

/* ---- system calls of the current task ---- */

long sys_shmget(key_t key, size_t size, int shmflg)
{
	return ksys_shmget(current->mm, key, size, shmflg);
}

long sys_shmat(int shmid, unsigned long addr, int shmflg)
{
	return ksys_shmat(current->mm, shmid, addr, shmflg);
}

long sys_shmdt(unsigned long addr)
{
	return ksys_shmdt(current->mm, addr);
}

/* Bytes that @cmd gives back. */
static size_t ctl_out_bytes(int cmd)
{
	switch (cmd) {
	case IPC_INFO:
		return sizeof(struct shminfo);
	case SHM_INFO:
		return sizeof(struct shm_info);
	case IPC_STAT:
	case SHM_STAT:
	case SHM_STAT_ANY:
		return sizeof(struct shmid_ds);
	default:
		return 0;
	}
}

long sys_shmctl(int shmid, int cmd, unsigned long user_buf)
{
	union {
		struct shmid_ds ds;
		struct shminfo limits;
		struct shm_info usage;
	} buf;
	void __user *user = (void __user *)user_buf;
	size_t bytes = ctl_out_bytes(cmd);
	long ret;

	if (cmd == IPC_SET && copy_from_user(&buf.ds, user, sizeof(buf.ds)))
		return -EFAULT;
	ret = ksys_shmctl(current->mm, shmid, cmd, &buf);
	if (ret >= 0 && bytes && copy_to_user(user, &buf, bytes))
		return -EFAULT;
	return ret;
}

long sys_memfd_create(const char *name, unsigned int flags)
{
	struct file *file = ksys_memfd_create(name, flags);

	if (IS_ERR(file))
		return PTR_ERR(file);
	return fd_alloc_install(current->files, 0, file, flags & MFD_CLOEXEC);
}

static struct file *file_of(int fd)
{
	return fd < 0 ? NULL : fget_files(current->files, (unsigned int)fd);
}

long sys_ftruncate(int fd, loff_t length)
{
	struct file *file;
	long ret;

	if (length < 0)
		return -EINVAL;
	file = file_of(fd);
	if (!file)
		return -EBADF;
	ret = S_ISREG(file_inode(file)->i_mode) ? file_truncate(file, length) : -EINVAL;
	fput(file);
	return ret;
}

long sys_fallocate(int fd, int mode, loff_t offset, loff_t len)
{
	struct file *file = file_of(fd);
	long ret;

	if (!file)
		return -EBADF;
	ret = vfs_fallocate(file, mode, offset, len);
	fput(file);
	return ret;
}

long sys_fcntl_seals(int fd, unsigned int cmd, unsigned int arg)
{
	struct file *file = file_of(fd);
	long ret;

	if (!file)
		return -EBADF;
	ret = memfd_fcntl(file, cmd, arg);
	fput(file);
	return ret;
}
