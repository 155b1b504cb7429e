/* SPDX-License-Identifier: MIT */
/*
 * graph_sort.c - sorting numbers of nodes and rows: a merge sort from the bottom up
 *
 * Stable, n log n, without recursion, and its room comes from the caller, so that it cannot fail.
 */
#include <karc/base/math.h>
#include <string.h>

#include "graph_internal.h"

static void merge(const unsigned int *from, unsigned int *to, unsigned int start, unsigned int mid,
		  unsigned int end, graph_order_t order, const void *ctx)
{
	unsigned int a = start, b = mid, at;

	for (at = start; at < end; at++)
		if (a < mid && (b == end || order(ctx, from[a], from[b]) <= 0))
			to[at] = from[a++];
		else
			to[at] = from[b++];
}

unsigned int *graph_sort(unsigned int *items, unsigned int *room, unsigned int nr,
			 graph_order_t order, const void *ctx)
{
	unsigned int *from = items, *to = room, *swap;
	u64 width, start, mid, end;

	for (width = 1; width < nr; width *= 2) {
		for (start = 0; start < nr; start = end) {
			mid = min(start + width, (u64)nr);
			end = min(mid + width, (u64)nr);
			merge(from, to, (unsigned int)start, (unsigned int)mid, (unsigned int)end,
			      order, ctx);
		}
		swap = from;
		from = to;
		to = swap;
	}
	return from;
}

int order_numbers(u64 a, u64 b)
{
	return a < b ? -1 : a > b;
}

int order_sites(const struct site *a, const struct site *b)
{
	int diff;

	if (!a || !b)
		return (b == NULL) - (a == NULL);
	diff = strcmp(a->file, b->file);
	return diff ? diff : order_numbers(a->line, b->line);
}
