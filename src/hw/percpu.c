/* SPDX-License-Identifier: MIT */
/*
 * percpu.c - each machine's copies of the per-CPU sections
 *
 * What it is
 *	A table of images: the bounds of a DSO's section, and where the copy for CPU 0 lies; the
 *	others follow at a fixed stride. Each CPU remembers the image it asked for last, which makes
 *	the usual access a compare and an add.
 *
 * Objects
 *	struct machine - images[] - block: nr_cpus copies, each aligned as the template is
 *
 * Invariants
 *	I1 images do not overlap
 *	I2 a copy has the template's offset in a page, so every alignment up to a page holds
 *	I3 cpu->percpu_image names an image of the table or is NULL; the CPU itself changes it, and
 *	   whoever drops the image, which nobody uses then
 *
 * Locking
 *	machine->images_lock, a lock among host threads: the table, and what the CPUs remember. The
 *	usual access takes none. Another CPU's copy is looked up in the table, because what that CPU
 *	remembers changes under the reader.
 *
 * Worst case
 *	A program that alternates between the variables of several DSOs searches the table, at most
 *	PERCPU_IMAGES_MAX entries, at each change.
 *
 * Unlike Linux
 *	A copy is made at the first use, not at boot.
 */
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/hw/percpu.h>
#include "internal.h"

static struct percpu_image *find_image(struct machine *m, const char *address)
{
	for (unsigned int i = 0; i < m->nr_images; i++) {
		struct percpu_image *image = &m->images[i];

		if (address >= image->start && address < image->stop)
			return image;
	}
	return NULL;
}

static struct percpu_image *add_image(struct machine *m, const char *start, const char *stop)
{
	struct percpu_image *image = &m->images[m->nr_images];
	u64 size = (u64)(stop - start);
	char *copy;

	if (m->nr_images == PERCPU_IMAGES_MAX)
		return NULL;
	image->start = start;
	image->stop = stop;
	image->stride = ALIGN(size, PAGE_SIZE);
	image->block_bytes = PAGE_SIZE + image->stride * m->nr_cpus;
	image->block = hostmem_map(&m->hostmem, image->block_bytes);
	if (!image->block)
		return NULL;
	copy = image->block + offset_in_page(start);
	image->delta = (long)((unsigned long)copy - (unsigned long)start);
	for (unsigned int i = 0; i < m->nr_cpus; i++)
		memcpy(copy + i * image->stride, start, size);
	m->nr_images++;
	return image;
}

void *percpu_static(struct cpu *cpu, const volatile void *template_, const char *start,
		    const char *stop)
{
	struct machine *m = cpu->machine;
	const char *address = (const char *)template_;
	struct percpu_image *image;
	unsigned long copy = 0;

	if ((unsigned long)address - PERCPU_ROOM_BASE < PERCPU_ROOM_BYTES)
		return cpu->room_percpu + ((unsigned long)address - PERCPU_ROOM_BASE);
	host_lock(&m->images_lock);
	image = find_image(m, address);
	if (!image && start && address >= start && address < stop)
		image = add_image(m, start, stop);
	if (image) {
		long delta = image->delta + (long)(cpu->id * image->stride);

		copy = (unsigned long)address + (unsigned long)delta;
		if (cpu == karc_cpu) {
			WRITE_ONCE(cpu->percpu_image, image->start);
			cpu->percpu_delta = delta;
		}
	}
	host_unlock(&m->images_lock);
	if (!copy)
		karc_bug_msg(KARC_BUG_SITE(""), "no per-CPU variable, or of an object that has "
			     "not used its own on this machine, or no memory: %p", address);
	return (void *)copy;
}

bool is_kernel_percpu_address(unsigned long address)
{
	struct machine *m = karc_cpu->machine;
	bool found = false;

	host_lock(&m->images_lock);
	for (unsigned int i = 0; i < m->nr_images && !found; i++) {
		const struct percpu_image *image = &m->images[i];
		unsigned long copy = (unsigned long)image->start + (unsigned long)image->delta;
		unsigned long offset = address - copy;

		found = address >= copy && offset < image->stride * m->nr_cpus &&
			offset % image->stride < (u64)(image->stop - image->start);
	}
	host_unlock(&m->images_lock);
	return found;
}

/* A task that stays anyway, because it must or has nowhere to go, may do as it likes. */
void percpu_preemptible(const char *operation, const struct site *site)
{
	struct cpu *cpu = karc_cpu;
	struct machine *m = cpu->machine;
	bool outermost;

	if (!m->config.track || m->nr_cpus == 1 || cpu->fiber->migrate_disabled ||
	    fiber_flags(cpu->fiber) & (FIBER_HOST | FIBER_IDLE))
		return;
	machine_count(&m->counters.warnings);
	outermost = report_begin(m);
	report_line(m, LOGLEVEL_ERR, "BUG: using %s() in preemptible code at %s:%u %s", operation,
		    site->file, site->line, site->func);
	report_where(m, LOGLEVEL_ERR);
	report_trace_here(m, LOGLEVEL_ERR);
	if (outermost)
		report_end(m);
}

static void drop_image(struct machine *m, struct percpu_image *image)
{
	for (unsigned int i = 0; i < m->nr_cpus; i++) {
		if (m->cpus[i] && READ_ONCE(m->cpus[i]->percpu_image) == image->start)
			WRITE_ONCE(m->cpus[i]->percpu_image, NULL);
	}
	hostmem_unmap(&m->hostmem, image->block, image->block_bytes);
	*image = m->images[--m->nr_images];
}

void percpu_forget(struct machine *m, const void *address)
{
	struct percpu_image *image;

	host_lock(&m->images_lock);
	image = find_image(m, address);
	if (image)
		drop_image(m, image);
	host_unlock(&m->images_lock);
}

void percpu_exit(struct machine *m)
{
	while (m->nr_images)
		drop_image(m, &m->images[m->nr_images - 1]);
}
