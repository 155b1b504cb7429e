/* SPDX-License-Identifier: MIT */
/*
 * What threads.trace records: eight threads that share one address space and work in it at the
 * same time: they allocate, map, protect, write and unmap, and end at different times.
 *
 *     cc -O2 -pthread -o threads threads.c
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NR_THREADS	8
#define ROUNDS		12

struct work {
	unsigned int number;
	unsigned long sum;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long total;

/* A list of words long enough to make malloc take more memory. */
static unsigned long count_words(unsigned int seed)
{
	unsigned long sum = 0;
	char *words[400];

	for (unsigned int i = 0; i < 400; i++) {
		size_t bytes = 16 + (seed * 7919 + i * 104729) % 3000;

		words[i] = malloc(bytes);
		if (!words[i])
			abort();
		memset(words[i], 'a' + (int)(i % 26), bytes);
		sum += bytes;
	}
	for (unsigned int i = 0; i < 400; i++)
		free(words[i]);
	return sum;
}

/* A mapping that is filled, made readable only, summed up and taken away. */
static unsigned long sum_mapping(unsigned int pages)
{
	size_t bytes = (size_t)pages * 4096;
	unsigned char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long sum = 0;

	if (map == MAP_FAILED)
		abort();
	for (size_t i = 0; i < bytes; i += 512)
		map[i] = (unsigned char)i;
	mprotect(map, bytes, PROT_READ);
	for (size_t i = 0; i < bytes; i += 512)
		sum += map[i];
	munmap(map, bytes);
	return sum;
}

static void *run(void *argument)
{
	struct work *work = argument;

	for (unsigned int round = 0; round < ROUNDS + work->number; round++) {
		work->sum += count_words(work->number + round);
		work->sum += sum_mapping(8 + (work->number * 5 + round) % 40);
	}
	pthread_mutex_lock(&lock);
	total += work->sum;
	pthread_mutex_unlock(&lock);
	return work;
}

int main(void)
{
	struct work work[NR_THREADS] = { { 0, 0 } };
	pthread_t threads[NR_THREADS];

	for (unsigned int i = 0; i < NR_THREADS; i++) {
		work[i].number = i;
		if (pthread_create(&threads[i], NULL, run, &work[i]))
			return 1;
	}
	for (unsigned int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("total %lu\n", total);
	return 0;
}
