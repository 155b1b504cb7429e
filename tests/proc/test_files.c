/* SPDX-License-Identifier: MIT */
/*
 * test_files.c - descriptors: lowest first, each one reference, all closed by the last owner
 *
 * Method: the count of one file tells how many descriptors hold it.
 */
#include "guests.h"
#include <karc/mm/cache/file.h>
#include <karc/proc/files.h>
#include <string.h>

static const struct machine_config restless = { .switch_every = 1 };

static struct file *some_file(void)
{
	struct file *file = memfile_create("f", 1, 0600, NULL, NULL);

	assert_false(IS_ERR(file));
	return file;
}

static void lowest_free_number_is_given(void **state)
{
	struct files_struct *files = files_alloc();
	struct file *file = some_file(), *got;
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		assert_int_equal(fd_alloc_install(files, 0, get_file(file), false), i);
	assert_int_equal(close_fd_of(files, 2), 0);
	assert_int_equal(close_fd_of(files, 2), -EBADF);
	assert_int_equal(fd_alloc_install(files, 3, get_file(file), false), 5);
	assert_int_equal(fd_alloc_install(files, 0, get_file(file), false), 2);
	got = fget_files(files, 4);
	assert_ptr_equal(got, file);
	fput(got);
	assert_null(fget_files(files, 63));
	assert_null(fget_files(files, 1u << 30));
	assert_int_equal(file_count(file), 7);
	put_files_struct(files);
	assert_int_equal(file_count(file), 1);
	fput(file);
}

static void table_grows_and_copies(void **state)
{
	struct files_struct *files = files_alloc(), *copy;
	struct file *file = some_file();
	int i;

	(void)state;
	for (i = 0; i < 300; i++)
		assert_int_equal(fd_alloc_install(files, 0, get_file(file), i % 2), i);
	assert_int_equal(fd_install_at(files, 5000, get_file(file), false), 0);
	copy = dup_fd(files);
	assert_non_null(copy);
	assert_int_equal(files_count(copy), 301);
	do_close_on_exec(copy);
	assert_int_equal(files_count(copy), 151);
	assert_int_equal(fd_install_at(copy, 1u << 24, get_file(file), false), -EMFILE);
	assert_int_equal(fd_alloc_install(copy, ~0u, get_file(file), false), -EMFILE);
	put_files_struct(files);
	put_files_struct(copy);
	assert_int_equal(file_count(file), 1);
	fput(file);
}

static void install_at_closes_what_was_there(void **state)
{
	struct files_struct *files = files_alloc();
	struct file *a = some_file(), *b = some_file();

	(void)state;
	assert_int_equal(fd_install_at(files, 7, get_file(a), false), 0);
	assert_int_equal(fd_install_at(files, 7, get_file(b), true), 0);
	assert_int_equal(file_count(a), 1);
	assert_int_equal(fd_set_cloexec(files, 7, false), 0);
	assert_int_equal(fd_set_cloexec(files, 8, false), -EBADF);
	do_close_on_exec(files);
	assert_int_equal(files_count(files), 1);
	put_files_struct(files);
	fput(a);
	fput(b);
}

struct nth {
	struct files_struct *files, *copy;
};

static long nth_dup(void *arg)
{
	struct nth *n = arg;

	n->copy = dup_fd(n->files);
	return n->copy ? 0 : -ENOMEM;
}

static void nth_put(void *arg)
{
	put_files_struct(((struct nth *)arg)->copy);
}

static void nth_look(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct file *file = fget_files(((struct nth *)arg)->files, 0);

	values[0] = file_count(file);
	fput(file);
}

static void failed_copy_takes_no_references(void **state)
{
	struct nth n = { .files = files_alloc() };

	(void)state;
	assert_int_equal(fd_alloc_install(n.files, 0, some_file(), false), 0);
	assert_true(fixture_fail_nth(.body = nth_dup, .undo = nth_put, .snapshot = nth_look,
				     .arg = &n) >= 2);
	put_files_struct(n.files);
}

static long nth_install(void *arg)
{
	struct nth *n = arg;
	int fd;

	n->copy = files_alloc();
	if (!n->copy)
		return -ENOMEM;
	fd = fd_alloc_install(n->copy, 1000, fget_files(n->files, 0), false);
	if (fd < 0)
		put_files_struct(n->copy);
	return fd < 0 ? fd : 0;
}

static void failed_install_takes_the_file_too(void **state)
{
	struct nth n = { .files = files_alloc() };

	(void)state;
	assert_int_equal(fd_alloc_install(n.files, 0, some_file(), false), 0);
	assert_true(fixture_fail_nth(.body = nth_install, .undo = nth_put, .snapshot = nth_look,
				     .arg = &n) >= 3);
	put_files_struct(n.files);
}

struct race {
	struct files_struct *files;
	struct file *file;
};

static long install_and_close(void *arg)
{
	struct race *r = arg;
	int i, fd;

	for (i = 0; i < 100; i++) {
		fd = fd_alloc_install(r->files, (unsigned int)i * 8, get_file(r->file), false);
		if (fd < 0)
			return fd;
		if (i % 2 && close_fd_of(r->files, (unsigned int)fd))
			return -EBADF;
		if (i % 16 == 0)
			put_files_struct(dup_fd(r->files));
		fiber_yield();
	}
	return 0;
}

static void tables_are_shared_between_cpus(void **state)
{
	struct race r = { .files = files_alloc(), .file = some_file() };
	unsigned int nr = 2 * machine_nr_cpus(fixture_machine()), i;
	struct fiber *fibers[2 * MACHINE_MAX_CPUS];

	(void)state;
	for (i = 0; i < nr; i++)
		fibers[i] = fiber_spawn(i / 2, "user", install_and_close, &r);
	join_all(fibers, nr);
	assert_int_equal(files_count(r.files), 50 * nr);
	assert_int_equal(file_count(r.file), 50 * nr + 1);
	put_files_struct(r.files);
	assert_int_equal(file_count(r.file), 1);
	fput(r.file);
}

static struct files_struct *left_behind;

static void body_leaks_a_table(void)
{
	left_behind = files_alloc();
	assert_int_equal(fd_alloc_install(left_behind, 0, some_file(), false), 0);
}

static void leaked_table_is_named_with_its_file(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_leaks_a_table);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "1 files_struct"));
	assert_non_null(strstr(v.reason, "1 file,"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(lowest_free_number_is_given),
		KARC_TESTS(table_grows_and_copies),
		KARC_TESTS(install_at_closes_what_was_there),
		KARC_TESTS(failed_copy_takes_no_references),
		KARC_TESTS(failed_install_takes_the_file_too),
		karc_unit_test_config(tables_are_shared_between_cpus, 1, &restless),
		karc_unit_test_config(tables_are_shared_between_cpus, 4, &restless),
		cmocka_unit_test(leaked_table_is_named_with_its_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
