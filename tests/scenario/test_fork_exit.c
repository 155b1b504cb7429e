/* SPDX-License-Identifier: MIT */
/*
 * test_fork_exit.c - the whole house at once: a process and an object end, and every kind of
 * resource sees its destructor callbacks
 *
 * Method: two callbacks on an mm, a VMA, a slab page and a kobject; do_exit() and kobject_put() are
 * the only calls that end anything. Then the slabs of karc's own structs against those at boot.
 */
#include "../support/fixture.h"

#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/kobject/kobject.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/slab.h>
#include <karc/mm/space/vma.h>
#include <karc/refcount/ledger.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct note {
	struct arc_dtor dtor[2];
	char order[8];
	unsigned int nr;
};

static void note_first(void *obj, void *arg)
{
	struct note *n = arg;

	(void)obj;
	n->order[n->nr++] = '1';
}

static void note_second(void *obj, void *arg)
{
	struct note *n = arg;

	(void)obj;
	n->order[n->nr++] = '2';
}

static void note_arc(struct note *n, struct arc *arc)
{
	arc_on_drop(arc, &n->dtor[0], note_first, n);
	arc_on_drop(arc, &n->dtor[1], note_second, n);
}

static void note_slab(struct note *n, struct page *page)
{
	slab_on_destroy(page, &n->dtor[0], note_first, n);
	slab_on_destroy(page, &n->dtor[1], note_second, n);
}

static struct task_struct *start(struct task_struct **init)
{
	struct task_struct *child;
	long pid;

	*init = task_create_init("init");
	assert_false(IS_ERR(*init));
	pid = guest_fork(*init);
	assert_true(pid > 0);
	child = find_get_task_by_vpid((pid_t)pid);
	assert_non_null(child);
	return child;
}

static void do_exit_runs_callbacks_of_mm_vma_and_slab_page(void **state)
{
	struct note mm = { .nr = 0 }, vma = { .nr = 0 }, slab = { .nr = 0 };
	struct kmem_cache *cache = kmem_cache_create("boxes", 64, 0, 0, NULL);
	struct task_struct *init, *child = start(&init);
	struct page *page;
	void *box;
	long addr;

	(void)state;
	addr = guest_mmap(child, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1);
	assert_true(addr > 0);
	box = kmem_cache_alloc(cache, GFP_KERNEL);
	page = virt_to_head_page(box);
	note_arc(&mm, &child->mm->arc);
	note_arc(&vma, &vma_lookup(child->mm, (unsigned long)addr)->arc);
	note_slab(&slab, page);

	assert_int_equal(guest_exit(child, 0), 0);
	assert_string_equal(vma.order, "21");
	assert_int_equal(guest_wait(init, child->pid, NULL), child->pid);
	assert_string_equal(mm.order, "21");

	/* The last object of a slab leaves it when the array is flushed: then the page goes too. */
	kmem_cache_free(cache, box);
	assert_string_equal(slab.order, "");
	kmem_cache_shrink(cache);
	assert_string_equal(slab.order, "21");

	kmem_cache_destroy(cache);
	put_task_struct(child);
	guest_exit(init, 0);
	put_task_struct(init);
}

struct widget {
	struct kobject kobj;
	struct kmem_cache *cache;
	void *buffer;			/* of the cache, which dies with the widget */
};

static void widget_release(struct kobject *kobj)
{
	struct widget *w = container_of(kobj, struct widget, kobj);

	kmem_cache_free(w->cache, w->buffer);
	kmem_cache_destroy(w->cache);
	kfree(w);
}

static const struct kobj_type widget_type = { .release = widget_release };

static void kobject_put_runs_callbacks_of_kobject_and_its_slab_page(void **state)
{
	struct note object = { .nr = 0 }, slab = { .nr = 0 };
	struct widget *w = kzalloc(sizeof(*w), GFP_KERNEL);

	(void)state;
	w->cache = kmem_cache_create("widget_buffers", 256, 0, 0, NULL);
	w->buffer = kmem_cache_alloc(w->cache, GFP_KERNEL);
	assert_int_equal(kobject_init_and_add(&w->kobj, &widget_type, NULL, "widget"), 0);
	note_arc(&object, &w->kobj.arc);
	note_slab(&slab, virt_to_head_page(w->buffer));
	kobject_put(&w->kobj);
	assert_string_equal(object.order, "21");
	assert_string_equal(slab.order, "21");
}

static char *slabinfo(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	slabinfo_show(out);
	fclose(out);
	return text;
}

static void live_and_die(void)
{
	struct task_struct *init, *child = start(&init);
	struct file *file = memfile_create("f", 8 * PAGE_SIZE, 0644, NULL, NULL);
	unsigned long i;
	long addr, fd;
	char byte;

	assert_false(IS_ERR(file));
	fd = guest_install(child, file);
	addr = guest_mmap(child, 0, 8 * PAGE_SIZE, PROT_READ, MAP_PRIVATE, (int)fd);
	for (i = 0; i < 8; i++)
		assert_int_equal(guest_read(child, (unsigned long)addr + i * PAGE_SIZE, &byte, 1), 0);
	for (i = 0; i < 40; i++)
		guest_mmap(child, 0, (i + 1) * PAGE_SIZE,
			   i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1);
	guest_exit(child, 0);
	assert_int_equal(guest_wait(init, child->pid, NULL), child->pid);
	put_task_struct(child);
	guest_exit(init, 0);
	put_task_struct(init);
}

/* What is there now, without what was counted since boot. */
static void cut_statistics(char *text)
{
	char *to = text, *line = text, *end;

	for (; *line; line = end + (*end == '\n')) {
		const char *stats = strstr(line, " : globalstat");

		end = line + strcspn(line, "\n");
		if (stats && stats < end) {
			memmove(to, line, (size_t)(stats - line));
			to += stats - line;
			*to++ = '\n';
		}
	}
	*to = '\0';
}

static void slabs_and_frames_are_boots_again_after_the_last_exit(void **state)
{
	struct machine *m = fixture_machine();
	unsigned long nr_free, live;
	char *before, *after;

	(void)state;
	machine_quiesce(m);
	nr_free = phys_nr_free(m);
	live = ledger_live_total(m);
	before = slabinfo();
	live_and_die();
	machine_quiesce(m);
	after = slabinfo();
	assert_non_null(strstr(before, "mm_struct"));
	assert_non_null(strstr(before, "vm_area_struct"));
	assert_non_null(strstr(before, "task_struct"));
	assert_non_null(strstr(before, "filp"));
	assert_non_null(strstr(before, "pid"));
	cut_statistics(before);
	cut_statistics(after);
	assert_non_null(strstr(after, "mm_struct"));
	assert_string_equal(before, after);
	assert_int_equal(phys_nr_free(m), nr_free);
	assert_int_equal(ledger_live_total(m), live);
	free(before);
	free(after);
}

/* Whoever forgot a reference would be accused, and the test be red. */
static const struct machine_config tracked = { .holders = true };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(do_exit_runs_callbacks_of_mm_vma_and_slab_page),
		KARC_TESTS(kobject_put_runs_callbacks_of_kobject_and_its_slab_page),
		KARC_TESTS(slabs_and_frames_are_boots_again_after_the_last_exit),
		karc_unit_test_config(do_exit_runs_callbacks_of_mm_vma_and_slab_page, 4, &tracked),
		karc_unit_test_config(kobject_put_runs_callbacks_of_kobject_and_its_slab_page, 4,
				      &tracked),
		karc_unit_test_config(slabs_and_frames_are_boots_again_after_the_last_exit, 4,
				      &tracked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
