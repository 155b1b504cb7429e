/* SPDX-License-Identifier: MIT */
/*
 * physmem.c - RAM banks, holes, and the bytes of a frame
 *
 * What it is
 *	RAM is one sparse memfd as long as the highest physical address. Each lowmem bank is
 *	mapped shared at arena + its physical address, so that a host pointer into the direct map
 *	is an ordinary pointer and still the same bytes as any window that shows the frame. What is
 *	not mapped (holes, HIGHMEM, gaps, idle windows) stays part of the PROT_NONE reservation and
 *	faults when touched. Nothing is populated: a machine of 24 GiB costs what it touches. Where
 *	a room says that most frames of a range stay in use, the host is asked for one large page.
 *
 * Objects
 *	struct machine -> struct physmem: memfd, arena, memmap, sorted banks, windows
 *
 * Invariants
 *	I1 banks are sorted, disjoint, page aligned, and each lies in one zone and one node
 *	I2 the arena is one reservation, aligned to ARENA_ALIGN: a block of frames that is aligned
 *	   by physical address is aligned by host address too
 *	I3 windows lie above the direct map, with a gap around each
 *	I4 every mapping of the arena and the memmap is left out of a fork of the host process
 *
 * Locking
 *	Everything is constant after physmem_init(); the host serialises changes of mappings.
 *
 * Unlike Linux
 *	No memory hotplug. Large physical addresses make the arena large; it is address space only.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE		/* memfd_create() */
#endif
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/hw/physmem.h>
#include "bugmsg.h"
#include "internal.h"
#include "topology.h"

#define HOST_MADV_COLLAPSE	25	/* Linux 6.1; not in every C library's headers */

#define ARENA_ALIGN		(4ULL << 20)	/* the buddy allocator's largest block */
#define ARENA_BYTES_DEFAULT	(16ULL << 30)
#define WINDOW_GAP_BYTES	(2ULL << 20)
#define KMAP_WINDOW_BYTES	(16ULL << 20)
/* Room for vmalloc that a machine always gets, and what an explicit arena may squeeze it to. */
#define VMALLOC_BYTES_DEFAULT	(4ULL << 30)
#define VMALLOC_BYTES_MIN	(64ULL << 20)

#define PC_HOLE_START		(640ULL << 10)
#define PC_HOLE_END		(1ULL << 20)
#define PC_PCI_START		(3ULL << 30)
#define PC_PCI_END		(4ULL << 30)

#define DMA_END_DEFAULT		(16ULL << 20)
#define DMA32_END_DEFAULT	(4ULL << 30)

#define NR_BOUNDARIES		4
#define NR_PC_BANKS		3
#define NR_NODE_BANKS		(NR_PC_BANKS + PHYSMEM_MAX_NODES - 1)

struct physmem_range {
	char *start;
	u64 bytes;
};

struct physmem {
	int memfd;
	char *arena;
	u64 arena_bytes;
	u64 direct_map_bytes;
	struct page *memmap;
	u64 memmap_bytes;
	unsigned long max_pfn;
	unsigned long nr_frames;
	struct physmem_range window[WINDOW_NR];
	struct topology topology;
	unsigned int nr_banks;
	struct machine_bank bank[];
};

/* One line on the console for each mistake in the config. */
static void __printf(2, 3) config_error(struct machine *m, const char *fmt, ...)
{
	char text[192] = "machine config: ";
	size_t used = strlen(text);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text + used, sizeof(text) - used, fmt, args);
	va_end(args);
	report_line(m, LOGLEVEL_ERR, "%s", text);
}

static u64 bank_end(const struct machine_bank *b)
{
	return b->start + b->size;
}

/* A PC's memory map of @bytes: a hole below 1 MiB, and one for devices below 4 GiB. */
static unsigned int pc_banks(u64 bytes, struct machine_bank *bank)
{
	static const struct machine_bank room[NR_PC_BANKS] = {
		{ 0, PC_HOLE_START, 0 },
		{ PC_HOLE_END, PC_PCI_START - PC_HOLE_END, 0 },
		{ PC_PCI_END, (1ULL << PHYSMEM_ADDR_BITS) - PC_PCI_END, 0 },
	};
	unsigned int nr = 0;

	while (bytes && nr < NR_PC_BANKS) {
		bank[nr] = room[nr];
		if (bank[nr].size > bytes)
			bank[nr].size = bytes;
		bytes -= bank[nr].size;
		nr++;
	}
	return nr;
}

static int check_bank(struct machine *m, unsigned int i, const struct machine_bank *b)
{
	const u64 limit = 1ULL << PHYSMEM_ADDR_BITS;
	int err = 0;

	if (b->start % PAGE_SIZE || b->size % PAGE_SIZE) {
		config_error(m, "banks[%u]: start 0x%llx, size 0x%llx: not page aligned", i,
			     (unsigned long long)b->start, (unsigned long long)b->size);
		err = -EINVAL;
	}
	if (!b->size) {
		config_error(m, "banks[%u]: size is 0", i);
		err = -EINVAL;
	}
	if (b->start >= limit || b->size > limit - b->start) {
		config_error(m, "banks[%u]: ends above the limit of 2^%u", i, PHYSMEM_ADDR_BITS);
		err = -EINVAL;
	}
	if (b->node >= PHYSMEM_MAX_NODES) {
		config_error(m, "banks[%u]: node %u, but nodes are 0 .. %u", i, b->node,
			     PHYSMEM_MAX_NODES - 1);
		err = -EINVAL;
	}
	return err;
}

static int check_banks(struct machine *m, const struct machine_bank *bank, unsigned int nr)
{
	int err = 0;

	for (unsigned int i = 0; i < nr; i++) {
		if (check_bank(m, i, &bank[i])) {
			err = -EINVAL;
			continue;
		}
		if (i && bank[i].start < bank[i - 1].start) {
			config_error(m, "banks[%u]: not sorted: starts below banks[%u]", i, i - 1);
			err = -EINVAL;
		} else if (i && bank[i].start < bank_end(&bank[i - 1])) {
			config_error(m, "banks[%u]: overlaps banks[%u]", i, i - 1);
			err = -EINVAL;
		}
	}
	return err;
}

static int check_aligned(struct machine *m, const char *field, u64 value)
{
	if (value % PAGE_SIZE == 0)
		return 0;
	config_error(m, "%s: 0x%llx is not page aligned", field, (unsigned long long)value);
	return -EINVAL;
}

/* The zone boundaries against each other and against the first frame. */
static int check_zones(struct machine *m, u64 dma_end, u64 dma32_end, u64 first)
{
	const struct machine_config *c = machine_config(m);
	int err = 0;

	err |= check_aligned(m, "dma_end", dma_end);
	err |= check_aligned(m, "dma32_end", dma32_end);
	err |= check_aligned(m, "highmem_start", c->highmem_start);
	err |= check_aligned(m, "movable_start", c->movable_start);
	if (dma_end > dma32_end) {
		config_error(m, "dma_end: above dma32_end");
		err = -EINVAL;
	}
	if (c->highmem_start && c->highmem_start <= first) {
		config_error(m, "highmem_start: leaves no lowmem");
		err = -EINVAL;
	}
	if (c->movable_start && c->movable_start <= first) {
		config_error(m, "movable_start: leaves no unmovable lowmem");
		err = -EINVAL;
	}
	if (c->highmem_start && c->movable_start >= c->highmem_start) {
		config_error(m, "movable_start: not below highmem_start");
		err = -EINVAL;
	}
	return err ? -EINVAL : 0;
}

/* The boundary nearest above @pa, or the far end. */
static u64 next_boundary(const u64 boundary[NR_BOUNDARIES], u64 pa)
{
	u64 next = ~0ULL;

	for (unsigned int i = 0; i < NR_BOUNDARIES; i++) {
		if (boundary[i] > pa && boundary[i] < next)
			next = boundary[i];
	}
	return next;
}

/* Copy @nr banks into @out (NULL only counts), cut at the zone boundaries: I1. */
static unsigned int cut_banks(const struct machine_bank *bank, unsigned int nr,
			      const u64 boundary[NR_BOUNDARIES], struct machine_bank *out)
{
	unsigned int nr_out = 0;

	for (unsigned int i = 0; i < nr; i++) {
		u64 pa = bank[i].start;

		while (pa < bank_end(&bank[i])) {
			u64 end = next_boundary(boundary, pa);

			if (end > bank_end(&bank[i]))
				end = bank_end(&bank[i]);
			if (out)
				out[nr_out] = (struct machine_bank){ pa, end - pa, bank[i].node };
			nr_out++;
			pa = end;
		}
	}
	return nr_out;
}

/* The banks of a config without any: a PC's map, divided among the nodes. */
static int plan_banks(struct machine *m, struct machine_bank bank[NR_NODE_BANKS],
		      unsigned int *nr)
{
	const struct machine_config *c = machine_config(m);
	u64 bytes = c->mem_bytes ? c->mem_bytes : MACHINE_MEM_DEFAULT;
	unsigned int nr_nodes = c->nr_nodes ? c->nr_nodes : 1;
	struct machine_bank pc[NR_PC_BANKS];

	if (bytes % PAGE_SIZE || bytes > 1ULL << (PHYSMEM_ADDR_BITS - 1)) {
		config_error(m, "mem_bytes: %llu is not a whole number of pages below 2^%u",
			     (unsigned long long)bytes, PHYSMEM_ADDR_BITS - 1);
		return -EINVAL;
	}
	if (bytes < topology_bytes_needed(nr_nodes)) {
		config_error(m, "nr_nodes: %u nodes need at least %llu MiB, mem_bytes is %llu",
			     nr_nodes, topology_bytes_needed(nr_nodes) >> 20, bytes);
		return -EINVAL;
	}
	*nr = topology_split(pc, pc_banks(bytes, pc), bytes, nr_nodes, bank);
	return 0;
}

/* The nodes that the banks name; with nr_nodes given they must be those and no others. */
static int check_nodes(struct machine *m, const struct machine_bank *bank, unsigned int nr,
		       unsigned long *mask)
{
	unsigned int wanted = machine_config(m)->nr_nodes;
	int err = 0;

	for (unsigned int i = 0; i < nr; i++) {
		*mask |= 1UL << bank[i].node;
		if (wanted && bank[i].node >= wanted) {
			config_error(m, "banks[%u]: node %u, but nr_nodes is %u", i, bank[i].node,
				     wanted);
			err = -EINVAL;
		}
	}
	for (unsigned int node = 0; node < wanted; node++) {
		if (*mask >> node & 1)
			continue;
		config_error(m, "nr_nodes: node %u of %u has no memory", node, wanted);
		err = -EINVAL;
	}
	return err;
}

/* Check the config and make the physmem with its banks; no host mapping yet. */
static int physmem_plan(struct machine *m, struct physmem **result)
{
	const struct machine_config *c = machine_config(m);
	struct machine_bank planned[NR_NODE_BANKS];
	const struct machine_bank *bank = c->banks;
	unsigned int nr = c->nr_banks, nr_cut;
	unsigned long node_mask = 0;
	u64 boundary[NR_BOUNDARIES];
	struct physmem *pm;
	int err;

	boundary[0] = c->dma_end ? c->dma_end : DMA_END_DEFAULT;
	boundary[1] = c->dma32_end ? c->dma32_end : DMA32_END_DEFAULT;
	boundary[2] = c->highmem_start;
	boundary[3] = c->movable_start;
	if (!bank != !nr) {
		config_error(m, "banks: %u of them at %p", nr, (const void *)bank);
		return -EINVAL;
	}
	if (c->nr_nodes > PHYSMEM_MAX_NODES) {
		config_error(m, "nr_nodes: %u, but a machine has 1 .. %u", c->nr_nodes,
			     PHYSMEM_MAX_NODES);
		return -EINVAL;
	}
	if (!nr) {
		err = plan_banks(m, planned, &nr);
		if (err)
			return err;
		bank = planned;
	}
	err = check_banks(m, bank, nr);
	if (!err)
		err = check_nodes(m, bank, nr, &node_mask);
	if (!err)
		err = check_zones(m, boundary[0], boundary[1], bank[0].start);
	if (err)
		return err;

	nr_cut = cut_banks(bank, nr, boundary, NULL);
	pm = hostmem_zalloc(&m->hostmem, sizeof(*pm) + nr_cut * sizeof(pm->bank[0]));
	if (!pm)
		return -ENOMEM;
	pm->memfd = -1;
	pm->topology.node_mask = node_mask;
	pm->nr_banks = cut_banks(bank, nr, boundary, pm->bank);
	for (unsigned int i = 0; i < nr_cut; i++)
		pm->nr_frames += pm->bank[i].size >> PAGE_SHIFT;
	pm->max_pfn = bank_end(&pm->bank[nr_cut - 1]) >> PAGE_SHIFT;
	pm->memmap_bytes = pm->max_pfn * PHYSMEM_PAGE_STRUCT_BYTES;
	pm->direct_map_bytes = (u64)pm->max_pfn << PAGE_SHIFT;
	if (c->highmem_start && c->highmem_start < pm->direct_map_bytes)
		pm->direct_map_bytes = c->highmem_start;
	*result = pm;
	return 0;
}

/* Decide how large the arena is and where the windows are inside it, as offsets: I3. */
static int physmem_layout(struct machine *m, struct physmem *pm, u64 offset[WINDOW_NR])
{
	u64 direct = ALIGN(pm->direct_map_bytes, ARENA_ALIGN);
	u64 percpu = machine_nr_cpus(m) * PERCPU_WINDOW_BYTES;
	u64 fixed = direct + percpu + KMAP_WINDOW_BYTES + 4 * WINDOW_GAP_BYTES;
	u64 bytes = machine_config(m)->arena_bytes;

	if (!bytes) {
		bytes = ALIGN(fixed + VMALLOC_BYTES_DEFAULT, ARENA_ALIGN);
		if (bytes < ARENA_BYTES_DEFAULT)
			bytes = ARENA_BYTES_DEFAULT;
	}
	bytes = bytes / ARENA_ALIGN * ARENA_ALIGN;
	if (bytes < fixed + VMALLOC_BYTES_MIN) {
		config_error(m, "arena_bytes: this memory map needs at least %llu",
			     (unsigned long long)ALIGN(fixed + VMALLOC_BYTES_MIN, ARENA_ALIGN));
		return -EINVAL;
	}
	pm->arena_bytes = bytes;
	pm->window[WINDOW_VMALLOC].bytes = bytes - fixed;
	pm->window[WINDOW_PERCPU].bytes = percpu;
	pm->window[WINDOW_KMAP].bytes = KMAP_WINDOW_BYTES;
	offset[WINDOW_VMALLOC] = direct + WINDOW_GAP_BYTES;
	offset[WINDOW_KMAP] = bytes - WINDOW_GAP_BYTES - KMAP_WINDOW_BYTES;
	offset[WINDOW_PERCPU] = offset[WINDOW_KMAP] - WINDOW_GAP_BYTES - percpu;
	return 0;
}

/* A private mapping that costs address space only: inaccessible, or zero when touched. */
static void *reserve(void *at, u64 bytes, int prot)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0);
	void *p = mmap(at, bytes, prot, flags, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_DONTFORK);
	return p;
}

/* Reserve the arena at an aligned address: reserve more, give back both ends. I2. */
static char *reserve_arena(u64 bytes)
{
	char *raw = reserve(NULL, bytes + ARENA_ALIGN, PROT_NONE);
	char *arena;
	u64 head;

	if (!raw)
		return NULL;
	arena = (char *)ALIGN((u64)raw, ARENA_ALIGN);
	head = (u64)(arena - raw);
	if (head)
		munmap(raw, head);
	if (ARENA_ALIGN - head)
		munmap(arena + bytes, ARENA_ALIGN - head);
	return arena;
}

/* Map physical [pa, pa + bytes) of the memfd at a host address inside the arena. */
static int map_frames(const struct physmem *pm, char *at, phys_addr_t pa, u64 bytes)
{
	void *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, pm->memfd,
		       (off_t)pa);

	if (p == MAP_FAILED)
		return -ENOMEM;
	madvise(p, bytes, MADV_DONTFORK);
	return 0;
}

/* Map all lowmem, neighbouring banks in one go. */
static int map_direct(const struct physmem *pm)
{
	unsigned int i = 0;

	while (i < pm->nr_banks && pm->bank[i].start < pm->direct_map_bytes) {
		u64 start = pm->bank[i].start;
		u64 end = bank_end(&pm->bank[i++]);

		while (i < pm->nr_banks && pm->bank[i].start == end &&
		       end < pm->direct_map_bytes)
			end = bank_end(&pm->bank[i++]);
		if (map_frames(pm, pm->arena + start, start, end - start))
			return -ENOMEM;
	}
	return 0;
}

static void physmem_free(struct machine *m, struct physmem *pm)
{
	if (pm->arena)
		munmap(pm->arena, pm->arena_bytes);
	if (pm->memmap)
		munmap(pm->memmap, pm->memmap_bytes);
	if (pm->memfd >= 0)
		close(pm->memfd);
	hostmem_free(&m->hostmem, pm);
}

static int host_refuses(struct machine *m, const char *what, u64 bytes)
{
	config_error(m, "the host refuses %s of %llu MiB: %s", what,
		     (unsigned long long)(bytes >> 20), strerror(errno));
	return -ENOMEM;
}

/* Get from the host what the plan needs. */
static int physmem_map(struct machine *m, struct physmem *pm, const u64 offset[WINDOW_NR])
{
	u64 ram_bytes = (u64)pm->max_pfn << PAGE_SHIFT;

	pm->memfd = memfd_create("karc-ram", MFD_CLOEXEC);
	if (pm->memfd < 0 || ftruncate(pm->memfd, (off_t)ram_bytes))
		return host_refuses(m, "a memory file", ram_bytes);
	pm->arena = reserve_arena(pm->arena_bytes);
	if (!pm->arena)
		return host_refuses(m, "an address range", pm->arena_bytes);
	pm->memmap = reserve(NULL, pm->memmap_bytes, PROT_READ | PROT_WRITE);
	if (!pm->memmap)
		return host_refuses(m, "a memmap", pm->memmap_bytes);
	if (map_direct(pm))
		return host_refuses(m, "a direct map", pm->direct_map_bytes);
	for (unsigned int w = 0; w < WINDOW_NR; w++)
		pm->window[w].start = pm->arena + offset[w];
	return 0;
}

int physmem_init(struct machine *m)
{
	u64 offset[WINDOW_NR];
	struct physmem *pm;
	int err;

	err = physmem_plan(m, &pm);
	if (err)
		return err;
	err = physmem_layout(m, pm, offset);
	if (!err)
		err = physmem_map(m, pm, offset);
	if (err) {
		physmem_free(m, pm);
		return err;
	}
	m->physmem = pm;
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		m->cpus[i]->arena = pm->arena;
		m->cpus[i]->direct_map_bytes = pm->direct_map_bytes;
		m->cpus[i]->memmap = pm->memmap;
	}
	topology_place_cpus(m, &pm->topology);
	return 0;
}

void physmem_exit(struct machine *m)
{
	if (m->physmem)
		physmem_free(m, m->physmem);
	m->physmem = NULL;
}

const struct topology *physmem_topology(const struct machine *m)
{
	return &m->physmem->topology;
}

unsigned long physmem_max_pfn(const struct machine *m)
{
	return m->physmem->max_pfn;
}

unsigned long physmem_nr_frames(const struct machine *m)
{
	return m->physmem->nr_frames;
}

char *physmem_arena(const struct machine *m)
{
	return m->physmem->arena;
}

u64 physmem_arena_bytes(const struct machine *m)
{
	return m->physmem->arena_bytes;
}

u64 physmem_direct_map_bytes(const struct machine *m)
{
	return m->physmem->direct_map_bytes;
}

struct page *physmem_memmap(const struct machine *m)
{
	return m->physmem->memmap;
}

/* The bank that holds @pa, or NULL. The banks are few; a map of thousands is searched by halves. */
static const struct machine_bank *find_bank(const struct physmem *pm, phys_addr_t pa)
{
	unsigned int low = 0, high = pm->nr_banks;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (bank_end(&pm->bank[mid]) <= pa)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == pm->nr_banks || pa < pm->bank[low].start)
		return NULL;
	return &pm->bank[low];
}

bool physmem_pfn_is_ram(const struct machine *m, unsigned long pfn)
{
	return pfn < m->physmem->max_pfn && find_bank(m->physmem, (u64)pfn << PAGE_SHIFT);
}

bool physmem_pfn_is_highmem(const struct machine *m, unsigned long pfn)
{
	return pfn >= m->physmem->direct_map_bytes >> PAGE_SHIFT && physmem_pfn_is_ram(m, pfn);
}

bool physmem_bank(const struct machine *m, unsigned int i, struct machine_bank *bank)
{
	if (i >= m->physmem->nr_banks)
		return false;
	*bank = m->physmem->bank[i];
	return true;
}

char *physmem_window(const struct machine *m, enum physmem_window w, u64 *size_bytes)
{
	if (size_bytes)
		*size_bytes = m->physmem->window[w].bytes;
	return m->physmem->window[w].start;
}

/* Is all of physical [pa, pa + bytes) RAM? Banks that touch count as one. */
static bool range_is_ram(const struct physmem *pm, phys_addr_t pa, u64 bytes)
{
	const struct machine_bank *b = find_bank(pm, pa);
	const struct machine_bank *end = pm->bank + pm->nr_banks;

	if (!b || bytes > (1ULL << PHYSMEM_ADDR_BITS))
		return false;
	while (bank_end(b) < pa + bytes) {
		if (b + 1 == end || b[1].start != bank_end(b))
			return false;
		b++;
	}
	return true;
}

static void check_window_range(const struct physmem *pm, const char *addr, unsigned long nr_pages)
{
	for (unsigned int w = 0; w < WINDOW_NR; w++) {
		u64 offset = (u64)addr - (u64)pm->window[w].start;

		if (offset < pm->window[w].bytes && offset % PAGE_SIZE == 0 &&
		    nr_pages <= (pm->window[w].bytes - offset) >> PAGE_SHIFT)
			return;
	}
	BUG_MSG("physmem: window range of %lu pages is not inside a window", nr_pages);
}

/*
 * The system calls themselves and not the library's functions: a repair of a fault runs inside a
 * signal handler, and to a sanitizer the range has not changed hands by being shown again.
 */
static bool host_map(void *addr, u64 bytes, int prot, int flags, int fd, phys_addr_t pa)
{
	long at = syscall(SYS_mmap, addr, bytes, prot, flags | MAP_FIXED, fd, (off_t)pa);

	return at != -1 && !syscall(SYS_madvise, addr, bytes, MADV_DONTFORK);
}

bool physmem_window_show(const struct machine *m, void *addr, unsigned long pfn,
			 unsigned long nr_pages, unsigned int flags)
{
	int prot = flags & WINDOW_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;

	return host_map(addr, (u64)nr_pages << PAGE_SHIFT, prot,
			MAP_SHARED | (flags & WINDOW_POPULATE ? MAP_POPULATE : 0),
			m->physmem->memfd, (u64)pfn << PAGE_SHIFT);
}

bool physmem_window_hide(const struct machine *m, void *addr, unsigned long nr_pages)
{
	(void)m;
	return host_map(addr, (u64)nr_pages << PAGE_SHIFT, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int physmem_window_map(struct machine *m, void *addr, unsigned long pfn, unsigned long nr_pages)
{
	const struct physmem *pm = m->physmem;

	check_window_range(pm, addr, nr_pages);
	if (!nr_pages)
		return 0;
	if (!range_is_ram(pm, (u64)pfn << PAGE_SHIFT, (u64)nr_pages << PAGE_SHIFT))
		BUG_MSG("physmem: frames 0x%lx + %lu are not RAM", pfn, nr_pages);
	return map_frames(pm, addr, (u64)pfn << PAGE_SHIFT, (u64)nr_pages << PAGE_SHIFT);
}

void physmem_join(const struct machine *m, unsigned long pfn)
{
	u64 bytes = PHYSMEM_JOIN_FRAMES << PAGE_SHIFT;
	u64 start = ((u64)pfn << PAGE_SHIFT) / bytes * bytes;

	/* Where it is unknown, and where the range has a hole, that is an error and no more. */
	if (start + bytes <= m->physmem->direct_map_bytes)
		madvise(m->physmem->arena + start, bytes, HOST_MADV_COLLAPSE);
}

void physmem_window_unmap(struct machine *m, void *addr, unsigned long nr_pages)
{
	check_window_range(m->physmem, addr, nr_pages);
	if (!nr_pages)
		return;
	/* Only at the host's limit of mappings; a stale mapping left behind would be worse. */
	if (!reserve(addr, (u64)nr_pages << PAGE_SHIFT, PROT_NONE))
		BUG_MSG("physmem: the host refuses to unmap %lu pages of a window: %s", nr_pages,
			strerror(errno));
}

static void check_ram_range(const struct physmem *pm, phys_addr_t pa, u64 bytes)
{
	if (!range_is_ram(pm, pa, bytes))
		BUG_MSG("physmem: physical 0x%llx + %llu is not RAM", (unsigned long long)pa,
			(unsigned long long)bytes);
}

#define MAX_TOUCHES	16u

/*
 * The host's kernel refuses a buffer, or the rest of it, in a window that is mapped on access. Then
 * it is touched, as the program would, and the call may be made again: false when that did not help
 * for long.
 */
static bool touch_buffer(ssize_t moved, const void *buf, u64 bytes, unsigned int *nr)
{
	const volatile char *p = buf, *end = p + bytes;

	if ((moved < 0 && errno != EFAULT) || (*nr)++ == MAX_TOUCHES)
		return false;
	for (; p < end; p = (const volatile char *)(((u64)p & PAGE_MASK) + PAGE_SIZE))
		(void)*p;
	return true;
}

void physmem_read(const struct machine *m, phys_addr_t pa, void *buf, u64 bytes)
{
	const struct physmem *pm = m->physmem;
	unsigned int nr = 0;
	ssize_t moved;

	if (!bytes)
		return;
	check_ram_range(pm, pa, bytes);
	if (pa + bytes <= pm->direct_map_bytes) {
		memcpy(buf, pm->arena + pa, bytes);
		return;
	}
	while ((moved = pread(pm->memfd, buf, bytes, (off_t)pa)) != (ssize_t)bytes) {
		if (!touch_buffer(moved, buf, bytes, &nr))
			BUG_MSG("physmem: the host cannot read its memory file: %s",
				strerror(errno));
	}
}

void physmem_write(const struct machine *m, phys_addr_t pa, const void *buf, u64 bytes)
{
	const struct physmem *pm = m->physmem;
	unsigned int nr = 0;
	ssize_t moved;

	if (!bytes)
		return;
	check_ram_range(pm, pa, bytes);
	if (pa + bytes <= pm->direct_map_bytes) {
		memcpy(pm->arena + pa, buf, bytes);
		return;
	}
	while ((moved = pwrite(pm->memfd, buf, bytes, (off_t)pa)) != (ssize_t)bytes) {
		if (!touch_buffer(moved, buf, bytes, &nr))
			BUG_MSG("physmem: the host cannot write its memory file: %s",
				strerror(errno));
	}
}
