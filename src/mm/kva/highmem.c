/* SPDX-License-Identifier: MIT */
/*
 * highmem.c - addresses for HIGHMEM frames: kmap, kmap_local, kmap_atomic
 *
 * What it is
 *	The kmap window is cut into slots of one page. kmap() gives a frame one slot, counted and
 *	found by a hash. kmap_local_page() and kmap_atomic() take a slot of their own each, for the
 *	running task, and cannot fail; a task's mappings form a stack. A slot that is given back may
 *	keep showing its frame (idle): mapping that frame again then costs no call of the host, and
 *	taking the slot for another frame costs one. A machine that tracks unmaps at once instead,
 *	so that whoever uses an address too long faults; and there local mappings of frames that
 *	have an address anyway are recorded, in slots that show nothing, so that what is forgotten
 *	or undone in the wrong order is noticed on any machine.
 *
 * Objects
 *	struct kva -> kmap_state -> slot[] -> page
 *	hash by pfn -> slots of kmap() in use, and all idle ones
 *	free list of each kind -> slots that nobody uses, oldest first
 *	fiber->temporary -> innermost local slot -> below -> ... -> outermost
 *
 * Invariants
 *	I1 a slot with a count has a page and shows it, but for records of lowmem; a slot without a
 *	   page shows nothing
 *	I2 in the hash: exactly the slots that have a page and are not in local use; of kmap()'s at
 *	   most one per frame
 *	I3 nr_used counts the slots with a count, nr_idle those with a page and none
 *	I4 a slot without a count is on the free list of its kind
 *
 * Locking
 *	all of it, fiber->temporary too: lock (LR_VMAP, irqs off)
 *
 * Worst case
 *	Each call is a list operation and at most one call of the host; the one that makes more than
 *	KMAP_IDLE_MAX slots idle unmaps them all, neighbours in one go. A task has KM_MAX_IDX local
 *	mappings, all tasks together KMAP_LOCAL_SLOTS; one more is a BUG. Of mappings of lowmem
 *	KMAP_RECORDS are remembered, the others are only counted.
 *
 * Unlike Linux
 *	A machine without HIGHMEM has slots for records only, if it tracks. A local mapping is an
 *	address of the task's own, not the CPU's: it stays as it is while the task is switched out
 *	or moves to another CPU, so that nothing has to be mapped again and migration stays enabled.
 *	Page faults stay enabled in kmap_atomic().
 */
#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include <karc/hw/wait.h>
#include "internal.h"

#define KMAP_HASH_BUCKETS	256u
#define KMAP_RECORDS		512u	/* mappings of lowmem that are remembered */

struct kmap_slot {
	struct hlist_node node;		/* in the hash */
	struct list_head free;		/* on the free list of its kind */
	struct page *page;
	unsigned int count;
	unsigned int depth;		/* local HIGHMEM mappings of the task up to this one */
	bool lowmem;			/* a record: shows nothing */
	struct kmap_slot *below;
	const struct fiber *fiber;	/* whose local mapping; NULL: kmap()'s */
	const struct site *site;	/* of the first mapping */
};

struct kmap_state {
	char *base;
	unsigned int nr_slots;
	unsigned int nr_shared;		/* slots [0, nr_shared) are kmap()'s */
	bool track;			/* record lowmem too; keep no idle slots */
	wait_queue_head_t wait;		/* for a shared slot */

	spinlock_t lock;
	/* lock */
	unsigned int nr_used;
	unsigned int nr_idle;
	unsigned int nr_lowmem;		/* of the slots in use those that are records, ... */
	unsigned int nr_unrecorded;	/* ... and how many mappings found no slot for that */
	struct list_head free_shared, free_local;
	struct hlist_head hash[KMAP_HASH_BUCKETS];
	struct kmap_slot slot[];
};

static struct kmap_state *kmap_here(void)
{
	return kva_here()->kmap;
}

static struct hlist_head *bucket_of(struct kmap_state *ks, const struct page *page)
{
	return &ks->hash[page_to_pfn(page) % KMAP_HASH_BUCKETS];
}

static void *slot_address(const struct kmap_state *ks, const struct kmap_slot *slot)
{
	return ks->base + (size_t)(slot - ks->slot) * PAGE_SIZE;
}

static bool slot_is_shared(const struct kmap_state *ks, const struct kmap_slot *slot)
{
	return slot < ks->slot + ks->nr_shared;
}

/* A slot of this kind in the hash that shows the frame; NULL if there is none. */
static struct kmap_slot *slot_of_page(struct kmap_state *ks, const struct page *page, bool shared)
{
	struct kmap_slot *slot;

	hlist_for_each_entry(slot, bucket_of(ks, page), node) {
		if (slot->page == page && slot_is_shared(ks, slot) == shared)
			return slot;
	}
	return NULL;
}

static struct kmap_slot *slot_of_address(struct kmap_state *ks, const void *addr)
{
	u64 offset = (u64)((const char *)addr - ks->base);

	return offset < (u64)ks->nr_slots << PAGE_SHIFT ? &ks->slot[offset >> PAGE_SHIFT] : NULL;
}

/* An idle slot shows nothing any more; the caller unmaps it or maps something else there. */
static void slot_forget(struct kmap_state *ks, struct kmap_slot *slot)
{
	hlist_del(&slot->node);
	slot->page = NULL;
	ks->nr_idle--;
}

/* Unmap what is idle, slots that are neighbours in one call of the host. */
static void flush_idle(struct kmap_state *ks)
{
	unsigned int at = 0;

	while (ks->nr_idle && at < ks->nr_slots) {
		unsigned int first = at;

		while (at < ks->nr_slots && ks->slot[at].page && !ks->slot[at].count)
			slot_forget(ks, &ks->slot[at++]);
		if (at > first)
			physmem_window_unmap(karc_cpu->machine,
					     slot_address(ks, &ks->slot[first]), at - first);
		else
			at++;
	}
}

void kmap_flush_unused(void)
{
	struct kmap_state *ks = kmap_here();
	unsigned long flags;

	if (!ks)
		return;
	spin_lock_irqsave(&ks->lock, flags);
	flush_idle(ks);
	spin_unlock_irqrestore(&ks->lock, flags);
}

/* Idle mappings are the first that the host's limit of mappings costs. */
static void slot_show(struct kmap_state *ks, struct kmap_slot *slot, struct page *page)
{
	struct machine *m = karc_cpu->machine;
	void *at = slot_address(ks, slot);

	if (physmem_window_map(m, at, page_to_pfn(page), 1)) {
		flush_idle(ks);
		BUG_ON(physmem_window_map(m, at, page_to_pfn(page), 1));
	}
	slot->page = page;
}

/*
 * A slot that shows the frame, in use and in no hash: one that was idle and shows it already, else
 * the one that is free the longest; NULL if all are in use. The frame has none of kmap()'s in use.
 */
static struct kmap_slot *slot_take(struct kmap_state *ks, struct page *page, bool shared,
				   const struct site *site)
{
	struct kmap_slot *slot = slot_of_page(ks, page, shared);

	if (slot) {
		hlist_del(&slot->node);
		ks->nr_idle--;
	} else {
		slot = list_first_entry_or_null(shared ? &ks->free_shared : &ks->free_local,
						struct kmap_slot, free);
		if (!slot)
			return NULL;
		if (slot->page)
			slot_forget(ks, slot);
		slot_show(ks, slot, page);
	}
	list_del(&slot->free);
	slot->count = 1;
	slot->site = site;
	WRITE_ONCE(ks->nr_used, ks->nr_used + 1);
	return slot;
}

/* Nobody uses the slot, which is in no hash, any more. */
static void slot_give(struct kmap_state *ks, struct kmap_slot *slot)
{
	list_add_tail(&slot->free, slot_is_shared(ks, slot) ? &ks->free_shared : &ks->free_local);
	WRITE_ONCE(ks->nr_used, ks->nr_used - 1);
	if (ks->track) {
		physmem_window_unmap(karc_cpu->machine, slot_address(ks, slot), 1);
		slot->page = NULL;
		return;
	}
	hlist_add_head(&slot->node, bucket_of(ks, slot->page));
	if (++ks->nr_idle > KMAP_IDLE_MAX)
		flush_idle(ks);
}

/* ---- kmap ---- */

/* The frame's slot with one more user, or NULL when all slots are taken. */
static struct kmap_slot *shared_get(struct kmap_state *ks, struct page *page,
				    const struct site *site)
{
	struct kmap_slot *slot;
	unsigned long flags;

	spin_lock_irqsave(&ks->lock, flags);
	slot = slot_of_page(ks, page, true);
	if (slot && slot->count) {
		slot->count++;
	} else {
		slot = slot_take(ks, page, true, site);
		if (slot)
			hlist_add_head(&slot->node, bucket_of(ks, page));
	}
	spin_unlock_irqrestore(&ks->lock, flags);
	return slot;
}

void *kmap_site(struct page *page, const struct site *site)
{
	struct kmap_state *ks;
	struct kmap_slot *slot;

	might_sleep_site(site);
	if (!PageHighMem(page))
		return page_address(page);
	ks = kmap_here();
	wait_event(ks->wait, (slot = shared_get(ks, page, site)) != NULL);
	return slot_address(ks, slot);
}

void kunmap_site(struct page *page, const struct site *site)
{
	struct kmap_state *ks;
	struct kmap_slot *slot;
	unsigned long flags;
	bool last = false;

	might_sleep_site(site);
	if (!PageHighMem(page))
		return;
	ks = kmap_here();
	spin_lock_irqsave(&ks->lock, flags);
	slot = slot_of_page(ks, page, true);
	if (slot && !slot->count)
		slot = NULL;
	if (slot && --slot->count == 0) {
		hlist_del(&slot->node);
		slot_give(ks, slot);
		last = true;
	}
	spin_unlock_irqrestore(&ks->lock, flags);
	WARN(!slot, "kunmap of a frame that is not mapped: pfn:0x%lx, at %s:%u %s",
	     page_to_pfn(page), site->file, site->line, site->func);
	if (last)
		wake_up_all(&ks->wait);
}

/* ---- kmap_local ---- */

static void record_give(struct kmap_state *ks, struct kmap_slot *slot)
{
	slot->lowmem = false;
	slot->page = NULL;
	WRITE_ONCE(ks->nr_lowmem, ks->nr_lowmem - 1);
	WRITE_ONCE(ks->nr_used, ks->nr_used - 1);
	list_add_tail(&slot->free, &ks->free_local);
}

/* Put a slot that was just taken on top of the running task's. */
static void local_push(struct kmap_slot *slot, struct fiber *self)
{
	struct kmap_slot *below = self->temporary;

	slot->fiber = self;
	slot->below = below;
	slot->depth = (below ? below->depth : 0) + !slot->lowmem;
	self->temporary = slot;
}

/* Off the stack of its task, wherever it is. */
static void local_pull(struct kmap_state *ks, struct fiber *f, struct kmap_slot *slot)
{
	struct kmap_slot *above = NULL;

	for (struct kmap_slot *at = f->temporary; at != slot; at = at->below) {
		at->depth -= !slot->lowmem;
		above = at;
	}
	if (above)
		above->below = slot->below;
	else
		f->temporary = slot->below;
	slot->count = 0;
	slot->fiber = NULL;
	slot->below = NULL;
	if (slot->lowmem)
		record_give(ks, slot);
	else
		slot_give(ks, slot);
}

/* A frame of lowmem is mapped: nothing to do but to remember it. */
static void lowmem_record(struct kmap_state *ks, struct page *page, const struct site *site)
{
	struct kmap_slot *slot;
	unsigned long flags;

	spin_lock_irqsave(&ks->lock, flags);
	slot = ks->nr_lowmem == KMAP_RECORDS ? NULL :
	       list_first_entry_or_null(&ks->free_local, struct kmap_slot, free);
	if (slot) {
		list_del(&slot->free);
		slot->page = page;
		slot->count = 1;
		slot->site = site;
		slot->lowmem = true;
		WRITE_ONCE(ks->nr_lowmem, ks->nr_lowmem + 1);
		WRITE_ONCE(ks->nr_used, ks->nr_used + 1);
		local_push(slot, fiber_self());
	} else {
		ks->nr_unrecorded++;
	}
	spin_unlock_irqrestore(&ks->lock, flags);
}

/* The running task's innermost record of the frame, or NULL. The lock is held. */
static struct kmap_slot *lowmem_find(const struct page *page)
{
	struct kmap_slot *slot = fiber_self()->temporary;

	while (slot && (!slot->lowmem || slot->page != page))
		slot = slot->below;
	return slot;
}

void *kmap_local_page_site(struct page *page, const struct site *site)
{
	struct fiber *self = fiber_self();
	const struct kmap_slot *top;
	struct kmap_slot *slot = NULL;
	struct kmap_state *ks;
	unsigned long flags;

	ks = kmap_here();
	if (!PageHighMem(page)) {
		if (unlikely(ks && ks->track))
			lowmem_record(ks, page, site);
		return page_to_virt(page);
	}
	spin_lock_irqsave(&ks->lock, flags);
	top = self->temporary;
	if (!top || top->depth < KM_MAX_IDX)
		slot = slot_take(ks, page, false, site);
	if (slot)
		local_push(slot, self);
	spin_unlock_irqrestore(&ks->lock, flags);
	if (!slot)
		karc_bug_msg(KARC_BUG_SITE(""), "kmap_local_page: no address, the task has %u and "
			     "all have %u, at %s:%u %s", top ? top->depth : 0, ks->nr_used,
			     site->file, site->line, site->func);
	return slot_address(ks, slot);
}

static void report_local(const char *what, const struct site *site, const struct site *mapped,
			 const char *other, const struct site *inner)
{
	WARN(1, "kunmap_local %s, at %s:%u %s", what, site->file, site->line, site->func);
	if (mapped)
		pr_warn("mapped at %s:%u %s\n", mapped->file, mapped->line, mapped->func);
	if (inner)
		pr_warn("%s at %s:%u %s\n", other, inner->file, inner->line, inner->func);
}

/* Whose slot it is that somebody wants to give back. */
enum local_owner { NOBODYS, OTHERS, MINE };

void kunmap_local_address(const void *addr, const struct site *site)
{
	const struct site *mapped = NULL, *inner = NULL;
	struct kmap_state *ks = kmap_here();
	bool lowmem = virt_addr_valid_fast(addr);
	enum local_owner owner = NOBODYS;
	struct kmap_slot *slot = NULL;
	unsigned long flags;

	if (lowmem && (!ks || !ks->track))
		return;
	if (!ks)
		goto report;
	spin_lock_irqsave(&ks->lock, flags);
	slot = lowmem ? lowmem_find(virt_to_page(addr)) : slot_of_address(ks, addr);
	if (slot && slot->count) {
		owner = slot->fiber == fiber_self() ? MINE : OTHERS;
		mapped = slot->site;
	} else if (lowmem && ks->nr_unrecorded) {
		ks->nr_unrecorded--;
		owner = MINE;
	}
	if (slot && owner == MINE) {
		const struct kmap_slot *top = fiber_self()->temporary;

		inner = slot == top ? NULL : top->site;
		local_pull(ks, fiber_self(), slot);
	}
	spin_unlock_irqrestore(&ks->lock, flags);
report:
	if (owner != MINE)
		report_local(owner == OTHERS ? "of a mapping that is another task's, or kmap()'s" :
			     "of an address that kmap_local_page() did not give", site, mapped,
			     "", NULL);
	else if (inner)
		report_local("out of order", site, mapped, "the innermost one was mapped", inner);
}

/* A task is at its end. Whoever dies of a BUG had no occasion to unmap. */
static void kmap_task_ends(struct fiber *f, enum machine_end end)
{
	struct kmap_state *ks = kmap_here();
	const struct site *site = NULL;
	struct kmap_slot *slot;
	unsigned int nr = 0;
	unsigned long flags;

	if (!ks)
		return;
	spin_lock_irqsave(&ks->lock, flags);
	while ((slot = f->temporary) != NULL) {
		site = slot->site;
		local_pull(ks, f, slot);
		nr++;
	}
	spin_unlock_irqrestore(&ks->lock, flags);
	WARN(nr && (end == MACHINE_VALUE || end == MACHINE_EXITED),
	     "task %s ends with %u kmap_local mappings, the first of %s:%u %s", f->name, nr,
	     site->file, site->line, site->func);
}

/* ---- kmap_atomic ---- */

void *kmap_atomic_site(struct page *page, const struct site *site)
{
	struct fiber *self;

	preempt_disable();
	self = fiber_self();
	if (!self->nr_kmap_atomic++)
		self->preempt_site = site;
	return kmap_local_page_site(page, site);
}

void kunmap_atomic_address(const void *addr, const struct site *site)
{
	struct fiber *self = fiber_self();

	if (WARN(!self->nr_kmap_atomic, "kunmap_atomic without kmap_atomic, at %s:%u %s",
		 site->file, site->line, site->func))
		return;
	kunmap_local_address(addr, site);
	if (!--self->nr_kmap_atomic)
		self->preempt_site = NULL;
	preempt_enable();
}

/* ---- questions ---- */

struct page *kmap_to_page(const void *addr)
{
	struct kmap_state *ks = kmap_here();
	struct kmap_slot *slot;

	if (virt_addr_valid_fast(addr))
		return virt_to_page(addr);
	slot = ks ? slot_of_address(ks, addr) : NULL;
	return slot && READ_ONCE(slot->count) ? slot->page : NULL;
}

/* page_address() of a HIGHMEM frame. */
static void *highmem_address(const struct page *page)
{
	struct kmap_state *ks = kmap_here();
	struct kmap_slot *slot;
	unsigned long flags;
	bool used;

	if (!ks)
		return NULL;
	spin_lock_irqsave(&ks->lock, flags);
	slot = slot_of_page(ks, page, true);
	used = slot && slot->count;
	spin_unlock_irqrestore(&ks->lock, flags);
	return used ? slot_address(ks, slot) : NULL;
}

unsigned long kmap_nr_mapped(struct machine *m)
{
	const struct kva *kva = machine_room(m, ROOM_KVA);

	return kva->kmap ? READ_ONCE(kva->kmap->nr_used) - READ_ONCE(kva->kmap->nr_lowmem) : 0;
}

/* ---- compound pages ---- */

/* Zero those bytes of [start, end) of the block that lie in its page @i. */
static void zero_part(struct page *page, unsigned int i, unsigned int start, unsigned int end)
{
	unsigned int low = i * (unsigned int)PAGE_SIZE, high = low + (unsigned int)PAGE_SIZE;

	if (start >= high || end <= low || start >= end)
		return;
	start = max(start, low);
	memzero_page(page + i, start - low, min(end, high) - start);
}

void zero_user_segments(struct page *page, unsigned int start1, unsigned int end1,
			unsigned int start2, unsigned int end2)
{
	BUG_ON(end1 > page_size(page) || end2 > page_size(page));
	for (unsigned int i = 0; i < compound_nr(page); i++) {
		zero_part(page, i, start1, end1);
		zero_part(page, i, start2, end2);
	}
}

/* ---- power on, power off, check ---- */

static bool has_highmem(const struct machine *m)
{
	return physmem_pfn_is_highmem(m, physmem_max_pfn(m) - 1);
}

/* Slots of the window for HIGHMEM; without it, some to remember mappings with. */
int kmap_init(struct kva *kva)
{
	struct machine *m = kva->machine;
	bool track = machine_config(m)->track, highmem = has_highmem(m);
	struct kmap_state *ks;
	u64 bytes;
	char *base = physmem_window(m, WINDOW_KMAP, &bytes);
	unsigned int nr_slots = highmem ? (unsigned int)(bytes >> PAGE_SHIFT) : KMAP_RECORDS;

	fiber_on_temporary(m, kmap_task_ends);
	if (!highmem && !track)
		return 0;
	ks = hostmem_zalloc(machine_hostmem(m), sizeof(*ks) + nr_slots * sizeof(ks->slot[0]));
	if (!ks)
		return -ENOMEM;
	ks->base = base;
	ks->nr_slots = nr_slots;
	ks->nr_shared = highmem ? nr_slots - KMAP_LOCAL_SLOTS : 0;
	ks->track = track;
	init_waitqueue_head(&ks->wait);
	spin_lock_init_rank(&ks->lock, LR_VMAP);
	INIT_LIST_HEAD(&ks->free_shared);
	INIT_LIST_HEAD(&ks->free_local);
	for (unsigned int i = 0; i < nr_slots; i++)
		list_add_tail(&ks->slot[i].free, i < ks->nr_shared ? &ks->free_shared :
			      &ks->free_local);
	kva->kmap = ks;
	if (highmem)
		phys_set_highmem_address(m, highmem_address);
	return 0;
}

void kmap_exit(struct kva *kva)
{
	struct kmap_state *ks = kva->kmap;

	fiber_on_temporary(kva->machine, NULL);
	phys_set_highmem_address(kva->machine, NULL);
	for (unsigned int i = 0; ks && ks->nr_used && i < ks->nr_slots; i++) {
		const struct kmap_slot *slot = &ks->slot[i];

		if (slot->count)
			machine_report_left(kva->machine, slot->fiber ? "kmap_local mapping" :
					    "kmap mapping", slot->site, 1, PAGE_SIZE);
	}
	if (ks)
		physmem_window_unmap(kva->machine, ks->base, ks->nr_slots);
	hostmem_free(machine_hostmem(kva->machine), ks);
	kva->kmap = NULL;
}

void kmap_check(struct kva *kva, struct check_report *report)
{
	struct kmap_state *ks = kva->kmap;
	unsigned int used = 0, idle = 0, free = 0, in_hash = 0, hashed = 0, lowmem = 0;
	struct kmap_slot *slot;

	if (!ks)
		return;
	for (unsigned int i = 0; i < ks->nr_slots; i++) {
		slot = &ks->slot[i];
		if (slot->count && !slot->page)
			check_fail(report, "K1: slot %u: count %u and no page", i, slot->count);
		used += slot->count != 0;
		idle += slot->page && !slot->count;
		in_hash += slot->page && !slot->fiber;
		lowmem += slot->lowmem;
	}
	for (unsigned int b = 0; b < KMAP_HASH_BUCKETS; b++) {
		hlist_for_each_entry(slot, &ks->hash[b], node)
			hashed++;
	}
	list_for_each_entry(slot, &ks->free_shared, free)
		free++;
	list_for_each_entry(slot, &ks->free_local, free)
		free++;
	if (hashed != in_hash)
		check_fail(report, "K2: %u slots belong into the hash, %u are", in_hash, hashed);
	if (used != ks->nr_used || idle != ks->nr_idle || lowmem != ks->nr_lowmem)
		check_fail(report, "K3: %u slots in use, %u records, %u idle; counted %u, %u, %u",
			   used, lowmem, idle, ks->nr_used, ks->nr_lowmem, ks->nr_idle);
	if (used + free != ks->nr_slots)
		check_fail(report, "K4: %u slots in use, %u free, of %u", used, free, ks->nr_slots);
}
