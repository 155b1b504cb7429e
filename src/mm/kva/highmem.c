/* SPDX-License-Identifier: MIT */
/*
 * highmem.c - addresses for HIGHMEM frames: kmap, kmap_local, kmap_atomic
 *
 * What it is
 *	The kmap window is cut into slots of one page. The first ones serve kmap(): a frame has at
 *	most one, found by a hash and counted. The last KMAP_LOCAL_SLOTS serve kmap_local_page() and
 *	kmap_atomic(): each call takes one of its own and cannot fail.
 *
 * Objects
 *	struct kva -> kmap_state -> slot[] -> page; hash by pfn -> slots of kmap()
 *
 * Invariants
 *	I1 a slot with a count has a page and shows it; one without shows nothing
 *	I2 exactly the slots of kmap() that have a count are in the hash, one per frame
 *	I3 nr_used counts the slots with a count
 *
 * Locking
 *	all of it: lock (LR_VMAP, irqs off)
 *
 * Worst case
 *	Looking for a free slot starts where the last one was found and goes around once.
 *
 * Unlike Linux
 *	A machine without HIGHMEM has no slots. Unmapping is at once. kmap_local mappings need not
 *	be undone in reverse order.
 */
#include <karc/hw/wait.h>
#include "internal.h"

#define KMAP_HASH_BUCKETS	256u

struct kmap_slot {
	struct hlist_node node;		/* in the hash, while mapped by kmap() */
	struct page *page;
	unsigned int count;
	const struct site *site;	/* of the first mapping */
};

struct kmap_state {
	char *base;
	unsigned int nr_slots;
	unsigned int nr_shared;		/* slots [0, nr_shared) are kmap()'s */
	wait_queue_head_t wait;		/* for a shared slot */

	spinlock_t lock;
	/* lock */
	unsigned int next_shared, next_local;
	unsigned int nr_used;
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

static struct kmap_slot *slot_of_page(struct kmap_state *ks, const struct page *page)
{
	struct kmap_slot *slot;

	hlist_for_each_entry(slot, bucket_of(ks, page), node) {
		if (slot->page == page)
			return slot;
	}
	return NULL;
}

static struct kmap_slot *slot_of_address(struct kmap_state *ks, const void *addr)
{
	u64 offset = (u64)((const char *)addr - ks->base);

	return offset < (u64)ks->nr_slots << PAGE_SHIFT ? &ks->slot[offset >> PAGE_SHIFT] : NULL;
}

/* A free slot of [low, high), looking from *@next on; NULL if all are taken. */
static struct kmap_slot *slot_find(struct kmap_state *ks, unsigned int low, unsigned int high,
				   unsigned int *next)
{
	for (unsigned int i = 0; i < high - low; i++) {
		unsigned int at = low + (*next + i) % (high - low);

		if (!ks->slot[at].count) {
			*next = at - low + 1;
			return &ks->slot[at];
		}
	}
	return NULL;
}

static void slot_map(struct kmap_state *ks, struct kmap_slot *slot, struct page *page,
		     const struct site *site)
{
	/* One mapping of the host's: it is either there or the host is at its end. */
	BUG_ON(physmem_window_map(karc_cpu->machine, slot_address(ks, slot), page_to_pfn(page), 1));
	slot->page = page;
	slot->count = 1;
	slot->site = site;
	WRITE_ONCE(ks->nr_used, ks->nr_used + 1);
}

static void slot_unmap(struct kmap_state *ks, struct kmap_slot *slot)
{
	physmem_window_unmap(karc_cpu->machine, slot_address(ks, slot), 1);
	slot->page = NULL;
	WRITE_ONCE(ks->nr_used, ks->nr_used - 1);
}

/* The frame's slot with one more user, or NULL when all slots are taken. */
static struct kmap_slot *shared_get(struct kmap_state *ks, struct page *page,
				    const struct site *site)
{
	struct kmap_slot *slot;
	unsigned long flags;

	spin_lock_irqsave(&ks->lock, flags);
	slot = slot_of_page(ks, page);
	if (slot) {
		slot->count++;
	} else {
		slot = slot_find(ks, 0, ks->nr_shared, &ks->next_shared);
		if (slot) {
			slot_map(ks, slot, page, site);
			hlist_add_head(&slot->node, bucket_of(ks, page));
		}
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

void kunmap(struct page *page)
{
	struct kmap_state *ks;
	struct kmap_slot *slot;
	unsigned long flags;
	bool last = false;

	if (!PageHighMem(page))
		return;
	ks = kmap_here();
	spin_lock_irqsave(&ks->lock, flags);
	slot = slot_of_page(ks, page);
	if (slot && --slot->count == 0) {
		hlist_del(&slot->node);
		slot_unmap(ks, slot);
		last = true;
	}
	spin_unlock_irqrestore(&ks->lock, flags);
	WARN(!slot, "kunmap of a frame that is not mapped: pfn:0x%lx", page_to_pfn(page));
	if (last)
		wake_up_all(&ks->wait);
}

void *kmap_local_page_site(struct page *page, const struct site *site)
{
	struct kmap_state *ks;
	struct kmap_slot *slot;
	unsigned long flags;

	if (!PageHighMem(page))
		return page_to_virt(page);
	ks = kmap_here();
	spin_lock_irqsave(&ks->lock, flags);
	slot = slot_find(ks, ks->nr_shared, ks->nr_slots, &ks->next_local);
	if (slot)
		slot_map(ks, slot, page, site);
	spin_unlock_irqrestore(&ks->lock, flags);
	BUG_ON(!slot);
	return slot_address(ks, slot);
}

void kunmap_local_address(const void *addr)
{
	struct kmap_state *ks = kmap_here();
	struct kmap_slot *slot;
	unsigned long flags;
	bool mapped = false;

	if (virt_addr_valid_fast(addr))
		return;
	slot = ks ? slot_of_address(ks, addr) : NULL;
	if (slot && slot >= ks->slot + ks->nr_shared) {
		spin_lock_irqsave(&ks->lock, flags);
		mapped = slot->count != 0;
		if (mapped) {
			slot->count = 0;
			slot_unmap(ks, slot);
		}
		spin_unlock_irqrestore(&ks->lock, flags);
	}
	WARN(!mapped, "kunmap_local of an address that kmap_local_page() did not give");
}

void *kmap_atomic_site(struct page *page, const struct site *site)
{
	preempt_disable();
	return kmap_local_page_site(page, site);
}

void kunmap_atomic_address(const void *addr)
{
	kunmap_local_address(addr);
	preempt_enable();
}

struct page *kmap_to_page(const void *addr)
{
	struct kmap_state *ks = kmap_here();
	struct kmap_slot *slot;

	if (virt_addr_valid_fast(addr))
		return virt_to_page(addr);
	slot = ks ? slot_of_address(ks, addr) : NULL;
	return slot ? slot->page : NULL;
}

/* page_address() of a HIGHMEM frame. */
static void *highmem_address(const struct page *page)
{
	struct kmap_state *ks = kmap_here();
	struct kmap_slot *slot;
	unsigned long flags;

	if (!ks)
		return NULL;
	spin_lock_irqsave(&ks->lock, flags);
	slot = slot_of_page(ks, page);
	spin_unlock_irqrestore(&ks->lock, flags);
	return slot ? slot_address(ks, slot) : NULL;
}

unsigned long kmap_nr_mapped(struct machine *m)
{
	const struct kva *kva = machine_room(m, ROOM_KVA);

	return kva->kmap ? READ_ONCE(kva->kmap->nr_used) : 0;
}

static bool has_highmem(const struct machine *m)
{
	return physmem_pfn_is_highmem(m, physmem_max_pfn(m) - 1);
}

int kmap_init(struct kva *kva)
{
	struct machine *m = kva->machine;
	struct kmap_state *ks;
	u64 bytes;
	char *base = physmem_window(m, WINDOW_KMAP, &bytes);
	unsigned int nr_slots = (unsigned int)(bytes >> PAGE_SHIFT);

	if (!has_highmem(m))
		return 0;
	BUG_ON(nr_slots <= KMAP_LOCAL_SLOTS);
	ks = hostmem_zalloc(machine_hostmem(m), sizeof(*ks) + nr_slots * sizeof(ks->slot[0]));
	if (!ks)
		return -ENOMEM;
	ks->base = base;
	ks->nr_slots = nr_slots;
	ks->nr_shared = nr_slots - KMAP_LOCAL_SLOTS;
	init_waitqueue_head(&ks->wait);
	spin_lock_init_rank(&ks->lock, LR_VMAP);
	kva->kmap = ks;
	phys_set_highmem_address(m, highmem_address);
	return 0;
}

void kmap_exit(struct kva *kva)
{
	struct kmap_state *ks = kva->kmap;

	phys_set_highmem_address(kva->machine, NULL);
	for (unsigned int i = 0; ks && ks->nr_used && i < ks->nr_slots; i++) {
		if (!ks->slot[i].count)
			continue;
		machine_report_left(kva->machine, "kmap mapping", ks->slot[i].site, 1, PAGE_SIZE);
		slot_unmap(ks, &ks->slot[i]);
	}
	hostmem_free(machine_hostmem(kva->machine), ks);
	kva->kmap = NULL;
}

void kmap_check(struct kva *kva, struct check_report *report)
{
	struct kmap_state *ks = kva->kmap;
	unsigned int used = 0, shared = 0, hashed = 0;
	struct kmap_slot *slot;

	if (!ks)
		return;
	for (unsigned int i = 0; i < ks->nr_slots; i++) {
		if (!ks->slot[i].count != !ks->slot[i].page)
			check_fail(report, "K1: slot %u: count %u, page %d", i, ks->slot[i].count,
				   ks->slot[i].page != NULL);
		used += ks->slot[i].count != 0;
		shared += ks->slot[i].count != 0 && i < ks->nr_shared;
	}
	for (unsigned int b = 0; b < KMAP_HASH_BUCKETS; b++) {
		hlist_for_each_entry(slot, &ks->hash[b], node)
			hashed++;
	}
	if (hashed != shared)
		check_fail(report, "K2: %u slots in use, %u in the hash", shared, hashed);
	if (used != ks->nr_used)
		check_fail(report, "K3: %u slots in use, %u counted", used, ks->nr_used);
}
