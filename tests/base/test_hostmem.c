/* SPDX-License-Identifier: MIT */
/*
 * Goal: the door to host memory counts, limits and fails as told, and notices misuse.
 * Method: accounts watched over each call; BUGs are caught by this file's own hook.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>

static struct {
	jmp_buf back;
	bool expected;
} bug;

void karc_bug_hook(const struct bug_site *site, const char *msg)
{
	(void)msg;
	if (!bug.expected)
		fail_msg("BUG at %s:%u", site->site.file, site->site.line);
	longjmp(bug.back, 1);
}

static void blocks_are_counted_and_given_back(void **state)
{
	struct hostmem_account account = { 0 };
	char *a, *b;

	(void)state;
	a = hostmem_alloc(&account, 100);
	b = hostmem_zalloc(&account, 50);
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal((uintptr_t)a % 16, 0);
	assert_int_equal(account.bytes, 150);
	assert_int_equal(account.nr_blocks, 2);
	assert_int_equal(b[0] | b[49], 0);
	memset(a, 1, 100);
	hostmem_free(&account, a);
	hostmem_free(&account, b);
	hostmem_free(&account, NULL);
	assert_int_equal(account.bytes, 0);
	assert_int_equal(account.nr_blocks, 0);
	assert_int_equal(account.peak_bytes, 150);
}

static void maps_are_zero_page_aligned_and_counted(void **state)
{
	struct hostmem_account account = { 0 };
	size_t size = 3 * PAGE_SIZE + 1;
	unsigned char *map = hostmem_map(&account, size);

	(void)state;
	assert_non_null(map);
	assert_true(PAGE_ALIGNED(map));
	assert_int_equal(map[0] | map[size - 1], 0);
	map[size - 1] = 1;
	assert_int_equal(account.nr_maps, 1);
	assert_int_equal(account.bytes, size);
	hostmem_unmap(&account, map, size);
	hostmem_unmap(&account, NULL, size);
	assert_int_equal(account.nr_maps, 0);
	assert_int_equal(account.bytes, 0);
}

static void a_limit_refuses_and_leaves_the_account_alone(void **state)
{
	struct hostmem_account account = { .limit_bytes = 1000 };
	void *a = hostmem_alloc(&account, 600);

	(void)state;
	assert_non_null(a);
	assert_null(hostmem_alloc(&account, 401));
	assert_null(hostmem_map(&account, 401));
	assert_int_equal(account.bytes, 600);
	assert_int_equal(account.nr_blocks, 1);
	hostmem_free(&account, a);
}

static void the_nth_call_fails(void **state)
{
	struct hostmem_account account = { .fail_nth = 2 };
	void *a = hostmem_alloc(&account, 8), *b = hostmem_alloc(&account, 8);
	void *c = hostmem_map(&account, 8);

	(void)state;
	assert_non_null(a);
	assert_null(b);
	assert_non_null(c);
	assert_int_equal(account.fail_nth, 0);
	hostmem_free(&account, a);
	hostmem_unmap(&account, c, 8);
	assert_int_equal(account.bytes, 0);
}

static void absurd_sizes_fail_cleanly(void **state)
{
	struct hostmem_account account = { 0 };
	volatile size_t huge = SIZE_MAX;

	(void)state;
	assert_null(hostmem_alloc(&account, huge));
	assert_null(hostmem_alloc(&account, huge - 32));
	assert_null(hostmem_zalloc(NULL, huge / 2));
	assert_null(hostmem_map(&account, huge));
	assert_null(hostmem_map(&account, 0));
	assert_int_equal(account.bytes, 0);
}

static void a_block_of_no_bytes_can_be_freed(void **state)
{
	void *a = hostmem_alloc(NULL, 0);

	(void)state;
	assert_non_null(a);
	hostmem_free(NULL, a);
}

static void freeing_into_another_account_is_a_bug(void **state)
{
	struct hostmem_account account = { 0 }, other = { 0 };
	void *volatile a = hostmem_alloc(&account, 8);
	volatile bool bugged = true;

	(void)state;
	bug.expected = true;
	if (!setjmp(bug.back)) {
		hostmem_free(&other, a);
		bugged = false;
	}
	bug.expected = false;
	assert_true(bugged);
	hostmem_free(&account, a);
}

static void random_use_ends_at_zero(void **state)
{
	struct hostmem_account account = { .limit_bytes = 20000 };
	void *blocks[64] = { NULL };
	size_t sizes[64], total = 0;
	const u64 seed = 0x405;
	struct rnd rnd;
	int round, i;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (round = 0; round < 5000; round++) {
		i = rnd_below(&rnd, ARRAY_SIZE(blocks));
		if (blocks[i]) {
			hostmem_free(&account, blocks[i]);
			blocks[i] = NULL;
			total -= sizes[i];
		} else {
			sizes[i] = rnd_below(&rnd, 1000);
			blocks[i] = hostmem_alloc(&account, sizes[i]);
			assert_int_equal(blocks[i] != NULL, total + sizes[i] <= 20000);
			total += blocks[i] ? sizes[i] : 0;
		}
		assert_int_equal(account.bytes, total);
	}
	for (i = 0; i < (int)ARRAY_SIZE(blocks); i++)
		hostmem_free(&account, blocks[i]);
	assert_int_equal(account.bytes, 0);
	assert_int_equal(account.nr_blocks, 0);
}

#define THREADS 4

/* Blocks and maps of all sizes, under a limit that is met now and then. */
static void *use_account(void *arg)
{
	struct hostmem_account *account = arg;
	void *block[16] = { NULL }, *map;
	struct rnd rnd;

	rnd_seed(&rnd, (u64)pthread_self());
	for (int i = 0; i < 2000; i++) {
		int at = rnd_below(&rnd, ARRAY_SIZE(block));

		if (block[at])
			hostmem_free(account, block[at]);
		block[at] = block[at] ? NULL : hostmem_alloc(account, rnd_below(&rnd, 2000));
		if (i % 64)
			continue;
		map = hostmem_map(account, 5000);
		hostmem_unmap(account, map, 5000);
	}
	for (size_t i = 0; i < ARRAY_SIZE(block); i++)
		hostmem_free(account, block[i]);
	return NULL;
}

static void several_threads_share_an_account(void **state)
{
	struct hostmem_account account = { .limit_bytes = 40000 };
	pthread_t thread[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, use_account, &account), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(account.bytes, 0);
	assert_int_equal(account.nr_blocks, 0);
	assert_int_equal(account.nr_maps, 0);
	assert_true(account.peak_bytes <= 40000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_counted_and_given_back),
		cmocka_unit_test(maps_are_zero_page_aligned_and_counted),
		cmocka_unit_test(a_limit_refuses_and_leaves_the_account_alone),
		cmocka_unit_test(the_nth_call_fails),
		cmocka_unit_test(absurd_sizes_fail_cleanly),
		cmocka_unit_test(a_block_of_no_bytes_can_be_freed),
		cmocka_unit_test(freeing_into_another_account_is_a_bug),
		cmocka_unit_test(random_use_ends_at_zero),
		cmocka_unit_test(several_threads_share_an_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
