/* SPDX-License-Identifier: MIT */
/*
 * The text of /proc/PID/maps: one line per mapping, columns as Linux prints them, the name (if any)
 * from column 74 on.
 */
#include <karc/mm/space/maps.h>
#include <karc/mm/space/profile.h>
#include <stdio.h>
#include <string.h>

#include "vma_internal.h"

#define MAPS_GIVEN_MAX	96	/* a name of 79 characters, and what is around it */
#define MAPS_PAD_WIDTH	72	/* 25 + 6 * sizeof(void *) - 1; one more space follows */

static bool is_heap(const struct vm_area_struct *vma, const struct mm_struct *mm)
{
	if (mm->profile->heap_strict)
		return vma->vm_start < mm->brk && vma->vm_end > mm->start_brk;
	return vma_is_initial_heap(vma, mm);
}

/* "[anon:name]" into text[MAPS_GIVEN_MAX]. */
static const char *given_name(const struct vm_area_struct *vma, char *text)
{
	snprintf(text, MAPS_GIVEN_MAX, "[%s:%s]", vma->vm_file ? "anon_shmem" : "anon",
		 vma->anon_name->text);
	return text;
}

static const char *maps_name(struct vm_area_struct *vma, char *text)
{
	struct mm_struct *mm = vma->vm_mm;

	if (vma->vm_file)
		return vma->anon_name ? given_name(vma, text) : file_name(vma->vm_file);
	if (vma->vm_ops && vma->vm_ops->name)
		return vma->vm_ops->name(vma);
	if (is_heap(vma, mm))
		return "[heap]";
	if (vma_is_initial_stack(vma, mm))
		return "[stack]";
	return vma->anon_name ? given_name(vma, text) : NULL;
}

/* A newline in a file's name would look like a new line of the text. */
static size_t put_name(char *buf, size_t at, const char *name)
{
	for (; *name && at < MAPS_LINE_MAX - 6; name++) {
		if (*name == '\n')
			at += (size_t)sprintf(buf + at, "\\012");
		else
			buf[at++] = *name;
	}
	return at;
}

size_t maps_line(struct vm_area_struct *vma, char *buf)
{
	const struct inode *inode = vma->vm_file ? file_inode(vma->vm_file) : NULL;
	unsigned int dev = inode ? inode->i_dev_id : 0;
	unsigned long long offset = vma->vm_file ? (u64)vma->vm_pgoff << PAGE_SHIFT : 0;
	char given[MAPS_GIVEN_MAX];
	const char *name = maps_name(vma, given);
	size_t at;

	at = (size_t)snprintf(buf, MAPS_LINE_MAX, "%08lx-%08lx %c%c%c%c %08llx %02x:%02x %lu ",
			      vma->vm_start, vma->vm_end, vma->vm_flags & VM_READ ? 'r' : '-',
			      vma->vm_flags & VM_WRITE ? 'w' : '-',
			      vma->vm_flags & VM_EXEC ? 'x' : '-',
			      vma->vm_flags & VM_MAYSHARE ? 's' : 'p', offset, dev >> 20,
			      dev & 0xfffff, inode ? inode->i_ino : 0UL);
	if (name) {
		while (at < MAPS_PAD_WIDTH)
			buf[at++] = ' ';
		buf[at++] = ' ';
		at = put_name(buf, at, name);
	}
	buf[at++] = '\n';
	buf[at] = '\0';
	return at;
}

void maps_for_each(struct mm_struct *mm, void (*fn)(void *arg, const char *line, size_t len),
		   void *arg)
{
	struct vm_area_struct *vma;
	char line[MAPS_LINE_MAX];
	size_t len;

	mmap_read_lock(mm);
	for_each_vma_of(mm, vma) {
		len = maps_line(vma, line);
		fn(arg, line, len);
	}
	mmap_read_unlock(mm);
}

struct maps_buffer {
	char *buf;
	size_t size, length;
};

static void maps_append(void *arg, const char *line, size_t len)
{
	struct maps_buffer *out = arg;
	size_t room;

	if (out->length + 1 < out->size) {
		room = min(len, out->size - out->length - 1);
		memcpy(out->buf + out->length, line, room);
		out->buf[out->length + room] = '\0';
	}
	out->length += len;
}

size_t maps_text(struct mm_struct *mm, char *buf, size_t size)
{
	struct maps_buffer out = { .buf = buf, .size = size };

	if (size)
		buf[0] = '\0';
	maps_for_each(mm, maps_append, &out);
	return out.length;
}
