/* SPDX-License-Identifier: MIT */
/*
 * stat_rows.c - the rows of a zone's strip
 *
 * What it is
 *	A strip cannot have a line for each frame, and most frames of most runs are free from
 *	beginning to end. So a row is a small range of frames of which at least one is used at some
 *	time; what is never used lies between as one thin row, however large; and the range is as
 *	small as the number of rows allows.
 *
 * Worst case
 *	A byte for each frame of the zone, looked at once for each power of two up to the zone's
 *	size, each time with half as many steps.
 */
#include "stat.h"
#include <stdlib.h>
#include <string.h>

#define GAPS_MOST	24u

/* What a frame is in all samples together; a cell is the highest of its frames'. */
enum { CELL_HOLE, CELL_FREE, CELL_USED };

/* @is_first: of all samples: it says which frames exist, and no other needs to say it again. */
static void mark_sample(u8 *cells, const struct use_zone *zone, const struct use_sample *s,
			bool is_first)
{
	unsigned int i;

	for (i = 0; i < s->nr_runs; i++) {
		unsigned long first = s->runs[i].first, end = first + s->runs[i].nr;
		u8 state = s->runs[i].use == USE_FREE ? CELL_FREE : CELL_USED;

		if (state == CELL_FREE && !is_first)
			continue;
		first = first > zone->first ? first : zone->first;
		end = end < zone->end ? end : zone->end;
		for (; first < end; first++)
			if (cells[first - zone->first] < state)
				cells[first - zone->first] = state;
	}
}

/* Cells of twice the size, in place; returns how many. */
static unsigned long halve(u8 *cells, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i += 2) {
		u8 a = cells[i], b = i + 1 < nr ? cells[i + 1] : CELL_HOLE;

		cells[i / 2] = a > b ? a : b;
	}
	return (nr + 1) / 2;
}

static bool few_enough(const u8 *cells, unsigned long nr)
{
	unsigned long i, used = 0, gaps = 0;

	for (i = 0; i < nr; i++) {
		if (cells[i] == CELL_USED)
			used++;
		else if (!i || cells[i] != cells[i - 1])
			gaps++;
	}
	return used <= USE_ROWS_MOST && gaps <= GAPS_MOST;
}

/* Rows of the cells: one for each that is used, one for each stretch of the others. */
static void make_rows(struct use_strip *strip, const u8 *cells, unsigned long nr)
{
	const struct use_zone *zone = strip->zone;
	unsigned long i, from, size = strip->frames_per_row;

	for (i = 0; i < nr; i++) {
		struct use_row *row = &strip->rows[strip->nr_rows++];

		from = i;
		while (cells[i] != CELL_USED && i + 1 < nr && cells[i + 1] == cells[i])
			i++;
		row->first = zone->first + from * size;
		row->nr = (i + 1 - from) * size;
		if (row->first + row->nr > zone->end)
			row->nr = zone->end - row->first;
		row->gap = cells[i] != CELL_USED;
		row->hole = cells[i] == CELL_HOLE;
	}
}

/* Frames that exist are those that the first sample has. */
static void count_present(struct use_strip *strip, const struct use_sample *s)
{
	unsigned int i, run = 0, use;

	for (i = 0; i < strip->nr_rows; i++) {
		unsigned long nr[NR_USES];

		use_row_count(&strip->rows[i], s, &run, nr);
		for (use = 0; use < NR_USES; use++)
			strip->rows[i].present += nr[use];
	}
}

bool use_strip_make(struct use_strip *strip, const struct use_history *h,
		    const struct use_zone *zone)
{
	unsigned long nr = zone->end - zone->first;
	u8 *cells = calloc(nr, 1);
	unsigned int i;

	memset(strip, 0, sizeof(*strip));
	strip->zone = zone;
	strip->frames_per_row = 1;
	strip->rows = calloc(USE_ROWS_MOST + GAPS_MOST, sizeof(*strip->rows));
	if (!cells || !strip->rows) {
		free(cells);
		free(strip->rows);
		return false;
	}
	for (i = 0; i < h->nr_samples; i++)
		mark_sample(cells, zone, &h->samples[i], !i);
	for (; !few_enough(cells, nr); strip->frames_per_row *= 2)
		nr = halve(cells, nr);
	make_rows(strip, cells, nr);
	count_present(strip, &h->samples[0]);
	free(cells);
	return true;
}

void use_strip_free(struct use_strip *strip)
{
	free(strip->rows);
}

void use_row_count(const struct use_row *row, const struct use_sample *s, unsigned int *run,
		   unsigned long nr[NR_USES])
{
	unsigned long end = row->first + row->nr;
	unsigned int i = *run;

	memset(nr, 0, NR_USES * sizeof(*nr));
	while (i < s->nr_runs && s->runs[i].first + (unsigned long)s->runs[i].nr <= row->first)
		i++;
	*run = i;
	for (; i < s->nr_runs && s->runs[i].first < end; i++) {
		unsigned long from = s->runs[i].first, to = from + s->runs[i].nr;

		from = from > row->first ? from : row->first;
		to = to < end ? to : end;
		nr[s->runs[i].use] += to - from;
	}
}
