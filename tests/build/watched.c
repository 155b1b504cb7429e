/* SPDX-License-Identifier: MIT */
/*
 * A harness with one mistake in its kernel code, for test_watched.py: what a sanitizer or Valgrind
 * says about it must name the cache and both places.
 *
 *	watched use_after_free | overflow | underflow | double_free | uninitialised | race | none
 */
#include <stdio.h>
#include <string.h>

#include <karc/hw/fiber.h>
#include <karc/karc.h>
#include <karc/mm/slab/kmalloc.h>

struct thing {
	long before;
	long value[7];
};

/* The compiler sees many of these mistakes itself. */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static long use_after_free(void *arg)
{
	struct thing *t = hidden(kzalloc(sizeof(*t), GFP_KERNEL));

	(void)arg;
	kfree(t);
	return READ_ONCE(t->value[0]);		/* used */
}

static long overflow(void *arg)
{
	struct thing *t = hidden(kzalloc(sizeof(*t), GFP_KERNEL));
	struct thing *neighbour = hidden(kzalloc(sizeof(*t), GFP_KERNEL));

	(void)arg;
	WRITE_ONCE(t->value[sizeof(t->value) / sizeof(long) + !neighbour], 1);	/* used */
	kfree(neighbour);
	kfree(t);
	return 0;
}

static long underflow(void *arg)
{
	struct kmem_cache *things = kmem_cache_create("things", sizeof(struct thing), 0, 0, NULL);
	struct thing *t = hidden(kmem_cache_zalloc(things, GFP_KERNEL));
	struct thing *u = hidden(kmem_cache_zalloc(things, GFP_KERNEL));

	(void)arg;
	if (t > u)
		swap(t, u);
	WRITE_ONCE(((long *)hidden(u))[-2], 1);	/* used */
	kmem_cache_free(things, u);
	kmem_cache_free(things, t);
	kmem_cache_destroy(things);
	return 0;
}

static long double_free(void *arg)
{
	struct thing *t = hidden(kzalloc(sizeof(*t), GFP_KERNEL));

	(void)arg;
	kfree(t);
	kfree(t);				/* used */
	return 0;
}

static long uninitialised(void *arg)
{
	struct thing *t = kmalloc(sizeof(*t), GFP_KERNEL);
	long seen = t->value[0] == 42;

	(void)arg;
	if (seen)
		puts("by chance");
	kfree(t);
	return 0;
}

static int has_read;

static long reads(void *arg)
{
	struct thing *t = arg;
	long value = t->value[3];		/* read */

	__atomic_store_n(&has_read, 1 + (int)(value & 1), __ATOMIC_RELAXED);
	return 0;
}

/* The reader has read, but nothing tells the one who frees that it has. */
static long race(void *arg)
{
	struct thing *t = hidden(kzalloc(sizeof(*t), GFP_KERNEL));
	struct fiber *reader = fiber_spawn(1, "reader", reads, t);
	struct machine_result r;

	(void)arg;
	while (!__atomic_load_n(&has_read, __ATOMIC_RELAXED))
		;
	kfree(t);				/* used */
	fiber_join(reader, &r);
	return 0;
}

static long none(void *arg)
{
	void *p[100];

	(void)arg;
	for (int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = kmalloc(8 + 77 * i, GFP_KERNEL);
			memset(p[i], 1, 8 + 77 * i);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			kfree(p[i]);
	}
	return 0;
}

static const struct {
	const char *name;
	long (*fn)(void *arg);
} mistakes[] = {
	{ "use_after_free", use_after_free }, { "overflow", overflow },
	{ "underflow", underflow }, { "double_free", double_free },
	{ "uninitialised", uninitialised }, { "race", race }, { "none", none },
};

int main(int argc, char **argv)
{
	struct machine_config config = {
		.mem_bytes = 32 << 20, .arena_bytes = 1 << 30, .track = true, .nr_cpus = 1,
	};
	struct machine *m;

	if (argc > 1 && !strcmp(argv[1], "race")) {
		config.nr_cpus = 2;
		config.mode = MACHINE_PARALLEL;
	}
	m = machine_boot(&config);
	if (IS_ERR(m))
		return 2;
	for (unsigned int i = 0; argc > 1 && i < ARRAY_SIZE(mistakes); i++) {
		if (!strcmp(argv[1], mistakes[i].name))
			machine_call(m, 0, mistakes[i].fn, NULL);
	}
	return machine_shutdown(m) != 0;
}
