/* SPDX-License-Identifier: MIT */
/*
 * Goal: memory files have the size, the bytes, the pages and the promises that Linux gives them,
 * and whatever fails leaves them as they were.
 * Method: counts of pages and promises after each step, random calls against a flat buffer, every
 * allocation failed once, broken structures shown to the check.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include <karc/base/rand.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/vm_flags.h>
#include <karc/refcount/ledger.h>
#include "fixture.h"

#define P	((loff_t)PAGE_SIZE)

/* The error that stands for @file, or 0: no error. */
static long error_of(KARC_TAKES struct file *file)
{
	if (IS_ERR(file))
		return PTR_ERR(file);
	fput(file);
	return 0;
}

static struct file *memfd(unsigned int flags)
{
	struct file *file = ksys_memfd_create("m", flags);

	assert_false(IS_ERR(file));
	return file;
}

static void put_byte(struct file *file, loff_t pos, char c)
{
	assert_int_equal(kernel_write(file, &c, 1, &pos), 1);
}

static int byte_at(struct file *file, loff_t pos)
{
	unsigned char c;

	return kernel_read(file, &c, 1, &pos) == 1 ? c : -1;
}

static unsigned long nr_pages(struct file *file)
{
	return file->f_mapping->nrpages;
}

static void names_and_devices_are_linux(void **state)
{
	struct file *file = ksys_memfd_create("jit code", MFD_CLOEXEC);
	(void)state;

	assert_string_equal(file_name(file), "/memfd:jit code (deleted)");
	assert_int_equal(file_inode(file)->i_dev_id, 1);
	assert_int_equal(file_inode(file)->i_mode, S_IFREG | 0777);
	assert_int_equal(file_inode(file)->i_size, 0);
	assert_true(shmem_mapping(file->f_mapping));
	assert_true(shmem_internal(file_inode(file)));
	fput(file);
	file = shmem_file_setup("drm mm object", 5000, 0);
	assert_string_equal(file_name(file), "/drm mm object (deleted)");
	assert_int_equal(file_inode(file)->i_size, 5000);
	fput(file);
	file = shmem_create("/dev/shm/sem.x", 32, 0600);
	assert_string_equal(file_name(file), "/dev/shm/sem.x");
	assert_int_equal(file_inode(file)->i_mode, S_IFREG | 0600);
	assert_false(shmem_internal(file_inode(file)));
	fput(file);
	file = memfile_create("f", 1, 0600, NULL, NULL);
	assert_false(shmem_mapping(file->f_mapping));
	assert_false(shmem_internal(file_inode(file)));
	fput(file);
}

static void memfd_create_refuses_what_linux_refuses(void **state)
{
	char name[300];
	struct file *file;
	(void)state;

	memset(name, 'n', sizeof(name));
	name[249] = '\0';
	file = ksys_memfd_create(name, 0);
	assert_false(IS_ERR(file));
	assert_int_equal(strlen(file_name(file)), strlen("/memfd: (deleted)") + 249);
	fput(file);
	name[249] = 'n';
	name[250] = '\0';
	assert_int_equal(error_of(ksys_memfd_create(name, 0)), -EINVAL);
	assert_int_equal(error_of(ksys_memfd_create("m", 0x20)), -EINVAL);
	assert_int_equal(error_of(ksys_memfd_create("m", MFD_EXEC | MFD_NOEXEC_SEAL)), -EINVAL);
	assert_int_equal(error_of(ksys_memfd_create("m", MFD_HUGETLB)), -ENOSYS);
	assert_int_equal(error_of(ksys_memfd_create("m", MFD_HUGETLB | 21U << 26)), -ENOSYS);
	assert_int_equal(error_of(ksys_memfd_create("m", MFD_HUGETLB | 0x40)), -EINVAL);
	assert_int_equal(error_of(ksys_memfd_create("m", 21U << 26)), -EINVAL);
	assert_int_equal(error_of(shmem_file_setup("m", -1, 0)), -EINVAL);
}

static void a_hole_reads_as_zero_and_stays_one(void **state)
{
	struct file *file = memfd(0);
	(void)state;

	assert_int_equal(file_truncate(file, 10 * P), 0);
	assert_int_equal(byte_at(file, 9 * P), 0);
	assert_int_equal(nr_pages(file), 0);
	put_byte(file, 3 * P + 7, 'x');
	assert_int_equal(nr_pages(file), 1);
	assert_int_equal(byte_at(file, 3 * P + 7), 'x');
	assert_int_equal(byte_at(file, 3 * P + 6), 0);
	assert_int_equal(byte_at(file, 10 * P), -1);
	assert_int_equal(global_node_page_state(NR_SHMEM), 1);
	fput(file);
	assert_int_equal(global_node_page_state(NR_SHMEM), 0);
}

static void pages_are_not_reclaimed(void **state)
{
	struct file *file = memfd(0);
	struct page *page;
	(void)state;

	assert_int_equal(file_truncate(file, 2 * P), 0);
	page = read_cache_page(file->f_mapping, 1);
	assert_false(PageDirty(page));
	put_page(page);
	assert_int_equal(page_cache_shrink(~0UL), 0);
	assert_int_equal(invalidate_mapping_pages(file->f_mapping, 0, ~0UL, ~0UL), 0);
	assert_int_equal(nr_pages(file), 1);
	fput(file);
}

static void cut_off_bytes_do_not_come_back(void **state)
{
	struct file *file = memfd(0);
	unsigned long before;
	(void)state;

	before = phys_nr_free(this_machine());
	for (loff_t i = 0; i < 4; i++) {
		put_byte(file, i * P, 'a');
		put_byte(file, i * P + 100, 'b');
	}
	assert_int_equal(nr_pages(file), 4);
	assert_int_equal(file_truncate(file, P + 100), 0);
	assert_int_equal(nr_pages(file), 2);
	assert_true(phys_nr_free(this_machine()) + 2 + 8 >= before);
	assert_int_equal(file_truncate(file, 4 * P), 0);
	assert_int_equal(byte_at(file, P), 'a');
	assert_int_equal(byte_at(file, P + 100), 0);
	assert_int_equal(byte_at(file, 3 * P), 0);
	assert_int_equal(nr_pages(file), 2);
	assert_int_equal(file_truncate(file, -1), -EINVAL);
	fput(file);
}

static void fallocate_makes_pages_and_punches_holes(void **state)
{
	struct file *file = memfd(0), *reader;
	(void)state;

	assert_int_equal(vfs_fallocate(file, 0, 100, 2 * P), 0);
	assert_int_equal(file_inode(file)->i_size, 2 * P + 100);
	assert_int_equal(nr_pages(file), 3);
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_KEEP_SIZE, 4 * P, P), 0);
	assert_int_equal(file_inode(file)->i_size, 2 * P + 100);
	assert_int_equal(nr_pages(file), 4);
	put_byte(file, 10, 'a');
	put_byte(file, P - 1, 'b');
	put_byte(file, P, 'c');
	put_byte(file, 2 * P, 'd');
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 11,
				       2 * P - 11), 0);
	assert_int_equal(nr_pages(file), 3);
	assert_int_equal(byte_at(file, 10), 'a');
	assert_int_equal(byte_at(file, P - 1), 0);
	assert_int_equal(byte_at(file, P), 0);
	assert_int_equal(byte_at(file, 2 * P), 'd');
	assert_int_equal(vfs_fallocate(file, 0, -1, 1), -EINVAL);
	assert_int_equal(vfs_fallocate(file, 0, 0, 0), -EINVAL);
	assert_int_equal(vfs_fallocate(file, 0, LLONG_MAX, 1), -EFBIG);
	assert_int_equal(vfs_fallocate(file, 0x10, 0, 1), -EOPNOTSUPP);
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, 1), -EOPNOTSUPP);
	assert_int_equal(vfs_fallocate(file, 0, 0, 1LL << 50), -ENOSPC);
	assert_int_equal(file_inode(file)->i_size, 2 * P + 100);
	reader = file_open_inode(file_inode(file), O_RDONLY);
	assert_int_equal(vfs_fallocate(reader, 0, 0, 1), -EBADF);
	assert_int_equal(file_truncate(reader, 0), -EINVAL);
	fput(reader);
	fput(file);
}

static void described_files_punch_and_grow_too(void **state)
{
	struct file *file = memfile_create("f", 3 * P, 0600, NULL, NULL);
	(void)state;

	put_byte(file, P + 1, 'x');
	put_byte(file, 2 * P, 'y');
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, P, P), 0);
	assert_int_equal(byte_at(file, P + 1), 0);
	assert_int_equal(byte_at(file, 2 * P), 'y');
	assert_int_equal(vfs_fallocate(file, 0, 0, 5 * P), 0);
	assert_int_equal(file_inode(file)->i_size, 5 * P);
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 9 * P), 0);
	assert_int_equal(inode_truncate(file_inode(file), 4 * P), 0);
	assert_int_equal(file_inode(file)->i_size, 4 * P);
	assert_int_equal(inode_truncate(file_inode(file), -4), -EINVAL);
	fput(file);
}

static int fill_x(void *priv, pgoff_t index, void *kaddr)
{
	(void)priv;
	(void)index;
	memset(kaddr, 'x', PAGE_SIZE);
	return 0;
}

static void a_hole_in_a_described_file_is_not_filled_again(void **state)
{
	static const struct memfile_ops ops = { .fill = fill_x };
	struct file *file = memfile_create("f", 3 * P + 50, 0600, &ops, NULL);
	(void)state;

	assert_int_equal(vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, P - 1,
				       2 * P), 0);
	page_cache_shrink(~0UL);
	assert_int_equal(byte_at(file, P - 2), 'x');
	assert_int_equal(byte_at(file, P - 1), 0);
	assert_int_equal(byte_at(file, 2 * P), 0);
	assert_int_equal(byte_at(file, 3 * P - 2), 0);
	assert_int_equal(byte_at(file, 3 * P - 1), 'x');
	assert_int_equal(byte_at(file, 3 * P + 49), 'x');
	fput(file);
}

/* ---- seals ---- */

static void seals_refuse_what_they_name(void **state)
{
	struct file *file = memfd(MFD_ALLOW_SEALING), *reader;
	loff_t pos = 0;
	(void)state;

	assert_int_equal(memfd_fcntl(file, F_GET_SEALS, 0), 0);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, 0x100), -EINVAL);
	assert_int_equal(memfd_fcntl(file, 1, 0), -EINVAL);
	put_byte(file, P - 1, 'x');
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_int_equal(file_truncate(file, 2 * P), -EPERM);
	assert_int_equal(vfs_fallocate(file, 0, 0, 2 * P), -EPERM);
	pos = P - 1;
	/* What fits is written. */
	assert_int_equal(kernel_write(file, "yz", 2, &pos), 1);
	assert_int_equal(kernel_write(file, "z", 1, &pos), -EPERM);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(file_truncate(file, 1), -EPERM);
	assert_int_equal(file_truncate(file, P), 0);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL), 0);
	pos = 0;
	assert_int_equal(kernel_write(file, "z", 1, &pos), -EPERM);
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, P),
			 -EPERM);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), -EPERM);
	assert_int_equal(memfd_fcntl(file, F_GET_SEALS, 0), 0xf);
	reader = file_open_inode(file_inode(file), O_RDONLY);
	assert_int_equal(memfd_fcntl(reader, F_ADD_SEALS, 0), -EPERM);
	assert_int_equal(memfd_fcntl(reader, F_GET_SEALS, 0), 0xf);
	assert_int_equal(byte_at(reader, P - 1), 'y');
	fput(reader);
	fput(file);
}

static void only_those_who_ask_can_seal(void **state)
{
	struct file *file = memfd(0);
	(void)state;

	assert_int_equal(memfd_fcntl(file, F_GET_SEALS, 0), F_SEAL_SEAL);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_GROW), -EPERM);
	fput(file);
	file = memfd(MFD_NOEXEC_SEAL);
	assert_int_equal(memfd_fcntl(file, F_GET_SEALS, 0), F_SEAL_EXEC);
	assert_int_equal(file_inode(file)->i_mode, S_IFREG | 0666);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	assert_int_equal(kernel_write(file, "z", 1, &(loff_t){ 0 }), -EPERM);
	fput(file);
	file = memfile_create("f", 1, 0600, NULL, NULL);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_GROW), -EINVAL);
	assert_int_equal(memfd_fcntl(file, F_GET_SEALS, 0), -EINVAL);
	fput(file);
}

/* ---- promises ---- */

static long promised, promise_limit;

static int charge(struct mm_struct *mm, long pages)
{
	(void)mm;
	if (promised + pages > promise_limit)
		return -ENOMEM;
	promised += pages;
	return 0;
}

static void uncharge(long pages)
{
	promised -= pages;
}

static const struct cache_acct_ops acct_ops = { .charge = charge, .uncharge = uncharge };

static void promise_at_most(long pages)
{
	promised = 0;
	promise_limit = pages;
	cache_register_acct(&acct_ops);
}

static void a_reserved_file_promises_its_size(void **state)
{
	struct file *file;
	(void)state;

	promise_at_most(10);
	assert_int_equal(error_of(shmem_file_setup("f", 11 * P, 0)), -ENOMEM);
	assert_int_equal(promised, 0);
	file = shmem_file_setup("f", 3 * P + 1, 0);
	assert_int_equal(promised, 4);
	assert_int_equal(shmem_accounted_pages(), 4);
	put_byte(file, 0, 'x');
	assert_int_equal(promised, 4);
	assert_int_equal(file_truncate(file, 11 * P), -ENOMEM);
	assert_int_equal(file_inode(file)->i_size, 3 * P + 1);
	assert_int_equal(file_truncate(file, 10 * P), 0);
	assert_int_equal(promised, 10);
	assert_int_equal(vfs_fallocate(file, 0, 0, 11 * P), -ENOMEM);
	assert_int_equal(file_truncate(file, 2 * P), 0);
	assert_int_equal(promised, 2);
	assert_int_equal(vfs_fallocate(file, 0, 0, 5 * P), 0);
	assert_int_equal(promised, 5);
	put_byte(file, 6 * P, 'x');
	assert_int_equal(promised, 7);
	fput(file);
	assert_int_equal(promised, 0);
	assert_int_equal(shmem_accounted_pages(), 0);
}

static void an_unreserved_file_promises_page_by_page(void **state)
{
	struct file *file;
	loff_t pos;
	(void)state;

	promise_at_most(3);
	file = memfd(0);
	assert_int_equal(file_truncate(file, 100 * P), 0);
	assert_int_equal(promised, 0);
	put_byte(file, 50 * P, 'x');
	put_byte(file, 51 * P, 'x');
	assert_int_equal(promised, 2);
	assert_int_equal(vfs_fallocate(file, 0, 0, 2 * P), -ENOSPC);
	assert_int_equal(promised, 2);
	assert_int_equal(nr_pages(file), 2);
	put_byte(file, 99 * P, 'x');
	pos = 0;
	assert_int_equal(kernel_write(file, "x", 1, &pos), -ENOSPC);
	assert_int_equal(pos, 0);
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 50 * P, P),
			 0);
	assert_int_equal(promised, 2);
	put_byte(file, 0, 'x');
	assert_int_equal(file_truncate(file, 0), 0);
	assert_int_equal(promised, 0);
	put_byte(file, 0, 'x');
	fput(file);
	assert_int_equal(promised, 0);
}

/* ---- a file against a buffer ---- */

#define MODEL_PAGES	12
#define MODEL_BYTES	(MODEL_PAGES * PAGE_SIZE)

struct model {
	char bytes[MODEL_BYTES];
	bool page[MODEL_PAGES];		/* exists */
	loff_t size;
};

static void model_touch(struct model *m, loff_t start, loff_t end)
{
	for (loff_t i = start / P; i * P < end; i++)
		m->page[i] = true;
}

static void random_write(struct file *file, struct model *m, struct rnd *rnd)
{
	static char buf[3 * PAGE_SIZE];
	loff_t pos = (loff_t)(rnd_u64(rnd) % (MODEL_BYTES - 1)), start = pos;
	size_t n = rnd_u64(rnd) % min(sizeof(buf), (size_t)(MODEL_BYTES - (u64)pos)) + 1;

	n = min(n, (size_t)(MODEL_BYTES - (u64)pos));
	memset(buf, (int)rnd_u64(rnd), n);
	assert_int_equal(kernel_write(file, buf, n, &pos), n);
	memcpy(m->bytes + start, buf, n);
	model_touch(m, start, pos);
	m->size = max(m->size, pos);
}

static void random_truncate(struct file *file, struct model *m, struct rnd *rnd)
{
	loff_t size = (loff_t)(rnd_u64(rnd) % MODEL_BYTES);

	assert_int_equal(file_truncate(file, size), 0);
	if (size < m->size) {
		memset(m->bytes + size, 0, MODEL_BYTES - (size_t)size);
		for (loff_t i = (size + P - 1) / P; i < MODEL_PAGES; i++)
			m->page[i] = false;
	}
	m->size = size;
}

static void random_fallocate(struct file *file, struct model *m, struct rnd *rnd)
{
	loff_t start = (loff_t)(rnd_u64(rnd) % (MODEL_BYTES - 1));
	loff_t len = (loff_t)(rnd_u64(rnd) % (MODEL_BYTES - (u64)start)) + 1, end = start + len;
	unsigned int what = rnd_u64(rnd) % 4;

	if (what < 2) {
		assert_int_equal(vfs_fallocate(file, what ? FALLOC_FL_KEEP_SIZE : 0, start, len),
				 0);
		model_touch(m, start, end);
		if (!what)
			m->size = max(m->size, end);
		return;
	}
	assert_int_equal(vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start,
				       len), 0);
	memset(m->bytes + start, 0, (size_t)len);
	for (loff_t i = (start + P - 1) / P; i < end / P; i++)
		m->page[i] = false;
}

static void assert_equals_model(struct file *file, const struct model *m)
{
	static char buf[MODEL_BYTES + 1];
	unsigned long pages = 0;
	loff_t pos = 0;

	assert_int_equal(file_inode(file)->i_size, m->size);
	assert_int_equal(kernel_read(file, buf, sizeof(buf), &pos), m->size);
	if (m->size)
		assert_memory_equal(buf, m->bytes, (size_t)m->size);
	for (unsigned int i = 0; i < MODEL_PAGES; i++)
		pages += m->page[i];
	assert_int_equal(nr_pages(file), pages);
	assert_int_equal(promised, pages);
}

static void random_calls_agree_with_a_buffer(void **state)
{
	u64 seed = machine_random(this_machine());
	static struct model model;
	struct file *file;
	struct rnd rnd;
	(void)state;

	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	memset(&model, 0, sizeof(model));
	promise_at_most(MODEL_PAGES);
	file = memfd(0);
	for (unsigned int step = 0; step < 400; step++) {
		switch (rnd_u64(&rnd) % 4) {
		case 0:
			random_truncate(file, &model, &rnd);
			break;
		case 1:
			random_fallocate(file, &model, &rnd);
			break;
		default:
			random_write(file, &model, &rnd);
		}
		assert_equals_model(file, &model);
	}
	fput(file);
	assert_int_equal(promised, 0);
}

/* ---- failures ---- */

static void world(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct file *file = arg;

	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = ledger_live_total(this_machine());
	values[2] = page_cache_count();
	values[3] = (u64)shmem_accounted_pages();
	values[4] = file ? (u64)file_inode(file)->i_size : 0;
	values[5] = file ? nr_pages(file) : 0;
}

static long create_body(void *arg)
{
	struct file *file = shmem_file_setup("f", 3 * P, 0);
	(void)arg;

	if (IS_ERR(file))
		return PTR_ERR(file);
	fput(file);
	return 0;
}

static long fallocate_body(void *arg)
{
	return vfs_fallocate(arg, 0, 0, 9 * P);
}

static void fallocate_undo(void *arg)
{
	assert_int_equal(file_truncate(arg, P), 0);
}

static void a_failed_call_leaves_nothing_behind(void **state)
{
	struct file *file;
	(void)state;

	assert_true(fixture_fail_nth(create_body, NULL, world, NULL) >= 4);
	file = memfd(0);
	put_byte(file, P - 1, 'x');
	assert_int_equal(fallocate_body(file), 0);
	fallocate_undo(file);
	assert_true(fixture_fail_nth(fallocate_body, fallocate_undo, world, file) >= 8);
	fput(file);
}

static void the_check_finds_broken_sums_and_marks(void **state)
{
	struct file *file = shmem_file_setup("f", 3 * P, VM_NORESERVE);
	struct check_report report = { 0 };
	struct page *page;
	(void)state;

	put_byte(file, 0, 'x');
	shmem_check(file_inode(file), &report);
	assert_int_equal(report.nr_violations, 0);
	page = read_cache_page(file->f_mapping, 0);
	page->private = 1;
	shmem_check(file_inode(file), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I4"));
	page->private = 0;
	ClearPageSwapBacked(page);
	shmem_check(file_inode(file), &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "I1"));
	SetPageSwapBacked(page);
	put_page(page);
	fput(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(names_and_devices_are_linux),
		karc_unit_test(memfd_create_refuses_what_linux_refuses),
		KARC_TESTS(a_hole_reads_as_zero_and_stays_one),
		karc_unit_test(pages_are_not_reclaimed),
		karc_unit_test(cut_off_bytes_do_not_come_back),
		karc_unit_test(fallocate_makes_pages_and_punches_holes),
		karc_unit_test(described_files_punch_and_grow_too),
		karc_unit_test(a_hole_in_a_described_file_is_not_filled_again),
		karc_unit_test(seals_refuse_what_they_name),
		karc_unit_test(only_those_who_ask_can_seal),
		karc_unit_test(a_reserved_file_promises_its_size),
		karc_unit_test(an_unreserved_file_promises_page_by_page),
		KARC_TESTS(random_calls_agree_with_a_buffer),
		karc_unit_test(a_failed_call_leaves_nothing_behind),
		karc_unit_test(the_check_finds_broken_sums_and_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
