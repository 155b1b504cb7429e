/* SPDX-License-Identifier: MIT */
/*
 * Goal: a return address gets the name of the function it returns into, static or not; a file
 * that is no ELF, or a broken one, gives no name and does no harm. Method: this program's own
 * file; copies of it that are cut or scribbled over.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <link.h>

#include <karc/base/rand.h>

#include "hw/internal.h"

static noinline u64 here(void)
{
	return (u64)__builtin_return_address(0);
}

static noinline u64 a_static_function(void)
{
	u64 address = here();

	barrier();
	return address;
}

/* Where this program is loaded. */
static u64 load_address(void)
{
	extern const char __executable_start[] __attribute__((weak));
	const ElfW(Ehdr) *header = (const void *)__executable_start;

	return header->e_type == ET_EXEC ? 0 : (u64)__executable_start;
}

static void a_static_function_has_its_name(void **state)
{
	char name[100];

	(void)state;
	assert_true(symbols_name("/proc/self/exe", a_static_function() - load_address(), name,
				 sizeof(name)));
	assert_non_null(strstr(name, "a_static_function+0x"));
	assert_non_null(strstr(name, "/0x"));
}

static void what_is_no_elf_has_no_names(void **state)
{
	char name[100];

	(void)state;
	assert_false(symbols_name("/proc/self/cmdline", 100, name, sizeof(name)));
	assert_false(symbols_name("/no/such/file", 100, name, sizeof(name)));
	assert_false(symbols_name("/dev/null", 100, name, sizeof(name)));
	assert_false(symbols_name("/proc/self/exe", 1, name, sizeof(name)));
	assert_false(symbols_name("/proc/self/exe", 0, name, sizeof(name)));
	assert_false(symbols_name("/proc/self/exe", ~0ULL, name, sizeof(name)));
}

static void a_damaged_file_does_no_harm(void **state)
{
	static char path[] = "/tmp/karc-test-symbols-XXXXXX";
	static char image[1 << 16];
	u64 offset = a_static_function() - load_address();
	FILE *self = fopen("/proc/self/exe", "r");
	struct rnd rnd;
	char name[100];
	size_t bytes;
	int fd;

	(void)state;
	assert_non_null(self);
	bytes = fread(image, 1, sizeof(image), self);
	fclose(self);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	rnd_seed(&rnd, 1);
	for (int i = 0; i < 300; i++) {
		size_t keep = i % 3 ? bytes : rnd_below(&rnd, (u32)bytes);

		image[rnd_below(&rnd, sizeof(ElfW(Ehdr)))] ^= (char)(1 << rnd_below(&rnd, 8));
		memcpy(image, ELFMAG, SELFMAG);
		assert_int_equal(pwrite(fd, image, keep, 0), keep);
		assert_int_equal(ftruncate(fd, (off_t)keep), 0);
		symbols_name(path, offset, name, sizeof(name));
	}
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_static_function_has_its_name),
		cmocka_unit_test(what_is_no_elf_has_no_names),
		cmocka_unit_test(a_damaged_file_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
