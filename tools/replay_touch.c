/* SPDX-License-Identifier: MIT */
/*
 * replay_touch.c - loads and stores that the program may have made
 *
 * A recording knows the calls, not the accesses in between. --touch some|all makes them up: after
 * each call that gives memory, pages of it are written where the mapping allows it and read
 * otherwise. What a read of a file page must show is known, so it is checked.
 */
#include "replay.h"
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/syscall.h>
#include <string.h>

struct span {
	unsigned long start, end;
	vm_flags_t flags;
	uint32_t file;			/* id, 0 = anonymous */
	pgoff_t pgoff;			/* of start */
};

static uint32_t file_id(struct replay *r, const struct vm_area_struct *vma)
{
	uint32_t id;

	for (id = 1; id <= r->info->nr_files; id++)
		if (r->files[id] && file_inode(r->files[id]) == file_inode(vma->vm_file))
			return id;
	return 0;
}

/* The next piece of [start, end) that can be touched; false when there is none. */
static bool next_span(struct replay *r, unsigned long start, unsigned long end, struct span *s)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool found = false;

	mmap_read_lock(mm);
	for (vma = find_vma(mm, start); vma && vma->vm_start < end; vma = vma_next(vma)) {
		unsigned long to = min(vma->vm_end, end);

		s->start = max(vma->vm_start, start);
		s->pgoff = vma->vm_pgoff + ((s->start - vma->vm_start) >> PAGE_SHIFT);
		s->flags = vma->vm_flags;
		s->file = 0;
		if (vma->vm_file) {
			u64 size = (u64)file_inode(vma->vm_file)->i_size;
			u64 last = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
			u64 room = last > s->pgoff ? last - s->pgoff : 0;

			if (room < (to - s->start) >> PAGE_SHIFT)
				to = s->start + (room << PAGE_SHIFT);
			s->file = file_id(r, vma);
		} else if (vma->vm_ops) {
			continue;	/* [vvar] and its like: nobody knows what is behind */
		}
		if (!(s->flags & (VM_READ | VM_WRITE)) || to <= s->start)
			continue;
		s->end = to;
		found = true;
		break;
	}
	mmap_read_unlock(mm);
	return found;
}

static bool touch_page(struct replay *r, const struct span *s, unsigned long addr)
{
	uint64_t word = addr ^ (uint64_t)current->pid << 48;
	uint64_t want = replay_page_word(s->file, s->pgoff + ((addr - s->start) >> PAGE_SHIFT));

	r->n.touched++;
	if (s->flags & VM_WRITE)
		return !user_write(addr + 8, &word, sizeof(word));
	if (user_read(addr, &word, sizeof(word)))
		return false;
	if (s->file && word != want) {
		replay_stop(r, r->n.lines, false,
			    "page at 0x%lx of file %u shows the contents of another page", addr,
			    s->file);
		return false;
	}
	return true;
}

bool replay_touch_range(struct replay *r, unsigned long start, unsigned long end)
{
	unsigned long addr, room = r->free_at_boot / 4;
	struct span s;

	if (r->opt.touch == TOUCH_NONE)
		return true;
	while (next_span(r, start, end, &s)) {
		if ((s.end - s.start) >> PAGE_SHIFT > room) {
			r->n.touch_skipped += (s.end - s.start) >> PAGE_SHIFT;
			start = s.end;
			continue;
		}
		for (addr = s.start; addr < s.end; addr += PAGE_SIZE) {
			if (r->opt.touch == TOUCH_SOME && rnd_below(&r->rnd, 4))
				continue;
			if (!touch_page(r, &s, addr)) {
				replay_stop(r, r->n.lines, false,
					    "access to 0x%lx ended in signal %d: %s", addr,
					    current->fault.signo,
					    "a program's own memory must be accessible");
				return false;
			}
		}
		start = s.end;
	}
	return true;
}
