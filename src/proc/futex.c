/* SPDX-License-Identifier: MIT */
/*
 * futex.c - sleeping on a word of user memory
 *
 * What it is
 *	Waiters are listed in buckets by what their word is: an address of a space, or a place in a
 *	file that is mapped shared. A waiter lists itself first and reads the word afterwards; a waker
 *	changed the word before it looks at the list. So one of the two sees the other.
 *
 * Objects
 *	bucket ~~lists~~> futex_q, on its waiter's stack
 *	futex_q --owns--> the inode that its key names, if any
 *
 * Invariants
 *	I1  a futex_q is on its bucket's list until it is woken, or until its waiter takes it off
 *	I2  a futex_q is left alone after its waiter has held the bucket's lock once more
 *
 * Locking
 *	waiters, futex_q.woken: bucket's lock (spins). The wake itself happens under it.
 *
 * Worst case
 *	A wake looks at every waiter of one bucket.
 *
 * Unlike Linux
 *	FUTEX_WAIT and FUTEX_WAKE, with and without bitset, and nothing else: -ENOSYS. A word in a
 *	private mapping of a file is known by its address only.
 */
#include <karc/base/err.h>
#include <karc/hw/clock.h>
#include <karc/hw/wait.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/uaccess.h>
#include <karc/mm/space/vma.h>
#include <karc/mm/vm_flags.h>
#include <karc/proc/futex.h>
#include <limits.h>
#include "internal.h"

#define FUTEX_COMMANDS	(~(KARC_FUTEX_PRIVATE_FLAG | KARC_FUTEX_CLOCK_REALTIME))
#define FUTEX_ANY_BIT	(~0u)

struct futex_key {
	struct mm_struct *mm;		/* borrowed: the waiter runs in it; or */
	struct inode *inode;		/* one reference */
	u64 offset;			/* address, or byte in the file */
	u64 id;				/* of space or file: a number, so that runs are repeatable */
};

struct futex_q {
	struct list_head node;
	struct futex_key key;
	u32 bitset;
	bool woken;
	wait_queue_head_t wq;
};

void futex_init(struct proc_state *p)
{
	unsigned int i;

	for (i = 0; i < FUTEX_BUCKETS; i++) {
		spin_lock_init_rank(&p->futex[i].lock, LR_FILES);
		INIT_LIST_HEAD(&p->futex[i].waiters);
	}
}

static int futex_key_get(u64 addr, bool private, struct futex_key *key)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int err = 0;

	*key = (struct futex_key){ .mm = mm, .offset = addr, .id = mm->id };
	if (private)
		return 0;
	mmap_read_lock(mm);
	vma = find_vma(mm, addr);
	if (!vma || addr < vma->vm_start) {
		err = -EFAULT;
	} else if (vma->vm_file && (vma->vm_flags & VM_SHARED)) {
		key->mm = NULL;
		key->inode = file_inode(vma->vm_file);
		key->id = key->inode->i_ino;
		key->offset = addr - vma->vm_start + ((u64)vma->vm_pgoff << PAGE_SHIFT);
		ihold(key->inode);
	}
	mmap_read_unlock(mm);
	return err;
}

static void futex_key_put(struct futex_key *key)
{
	iput(key->inode);
	key->inode = NULL;
}

static bool futex_match(const struct futex_key *a, const struct futex_key *b)
{
	return a->mm == b->mm && a->inode == b->inode && a->offset == b->offset;
}

static struct futex_bucket *futex_bucket(const struct futex_key *key)
{
	u64 hash = key->offset / sizeof(u32) + key->id * 31;

	return &proc_state()->futex[hash % FUTEX_BUCKETS];
}

static long futex_wake(u64 addr, bool private, u32 nr, u32 bitset)
{
	struct futex_bucket *bucket;
	struct futex_q *q, *next;
	struct futex_key key;
	long woken = 0;
	int err = futex_key_get(addr, private, &key);

	if (err)
		return err;
	bucket = futex_bucket(&key);
	spin_lock(&bucket->lock);
	list_for_each_entry_safe(q, next, &bucket->waiters, node) {
		if (!futex_match(&q->key, &key) || !(q->bitset & bitset))
			continue;
		list_del_init(&q->node);
		WRITE_ONCE(q->woken, true);
		wake_up_all(&q->wq);
		if (++woken >= (long)nr)	/* a count of 0 wakes one, as in Linux */
			break;
	}
	spin_unlock(&bucket->lock);
	futex_key_put(&key);
	return woken;
}

/* Off the list: was it woken? */
static bool futex_unqueue(struct futex_bucket *bucket, struct futex_q *q)
{
	bool woken;

	spin_lock(&bucket->lock);
	list_del_init(&q->node);
	woken = q->woken;
	spin_unlock(&bucket->lock);
	return woken;
}

static long timeout_jiffies(u64 timeout_ns)
{
	u64 j = timeout_ns / NSEC_PER_JIFFY + !!(timeout_ns % NSEC_PER_JIFFY);

	if (timeout_ns == KARC_FUTEX_FOREVER || j >= MAX_SCHEDULE_TIMEOUT)
		return MAX_SCHEDULE_TIMEOUT;
	return (long)j;
}

/* The word must hold @val now; then sleep. What ended the sleep, unless it was a wake. */
static long futex_sleep(struct futex_q *q, u32 __user *uaddr, u32 val, u64 timeout_ns)
{
	long left;
	u32 now;

	if (get_user(now, uaddr))
		return -EFAULT;
	if (now != val)
		return -EAGAIN;
	left = wait_event_interruptible_timeout(q->wq, READ_ONCE(q->woken),
						timeout_jiffies(timeout_ns));
	return left < 0 ? left : left ? 0 : -ETIMEDOUT;
}

static long futex_wait(u32 __user *uaddr, bool private, u32 val, u64 timeout_ns, u32 bitset)
{
	struct futex_q q = { .bitset = bitset };
	struct futex_bucket *bucket;
	long ret = futex_key_get((u64)(unsigned long)uaddr, private, &q.key);

	if (ret)
		return ret;
	init_waitqueue_head(&q.wq);
	bucket = futex_bucket(&q.key);
	spin_lock(&bucket->lock);
	list_add_tail(&q.node, &bucket->waiters);
	spin_unlock(&bucket->lock);
	ret = futex_sleep(&q, uaddr, val, timeout_ns);
	if (futex_unqueue(bucket, &q))
		ret = 0;
	futex_key_put(&q.key);
	return ret;
}

long do_futex(u32 __user *uaddr, int op, u32 val, u64 timeout_ns, u32 bitset)
{
	u64 addr = (u64)(unsigned long)uaddr;
	bool private = op & KARC_FUTEX_PRIVATE_FLAG;
	int command = op & FUTEX_COMMANDS;

	might_sleep();
	if (command == KARC_FUTEX_WAIT || command == KARC_FUTEX_WAKE)
		bitset = FUTEX_ANY_BIT;
	else if (command != KARC_FUTEX_WAIT_BITSET && command != KARC_FUTEX_WAKE_BITSET)
		return -ENOSYS;
	if ((op & KARC_FUTEX_CLOCK_REALTIME) && command != KARC_FUTEX_WAIT &&
	    command != KARC_FUTEX_WAIT_BITSET)
		return -ENOSYS;
	if (addr % sizeof(u32) || !bitset)
		return -EINVAL;
	if (!current->mm || !access_ok(uaddr, sizeof(*uaddr)))
		return -EFAULT;
	if (command == KARC_FUTEX_WAIT || command == KARC_FUTEX_WAIT_BITSET)
		return futex_wait(uaddr, private, val, timeout_ns, bitset);
	return futex_wake(addr, private, val, bitset);
}
