/* SPDX-License-Identifier: MIT */
/*
 * stat_plot.c - physical memory by use over time, as SVG
 *
 * What it is
 *	On top the frames in use by kind, stacked; below a strip for each zone: time from left to
 *	right, addresses from top to bottom. A cell has the colour of the use that most of its
 *	frames in use have, paler the more of them are free. Thin rows are memory that stays free
 *	all the time, whatever its size, so that what is used can be seen. Colours are classes, for
 *	light and for dark backgrounds.
 *
 * Worst case
 *	COLUMNS x rows cells; neighbours in time that look the same are one rectangle.
 */
#include "graph_text.h"
#include "stat.h"
#include <inttypes.h>
#include <karc/hw/physmem.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH		1180.0
#define LEFT		132.0
#define RIGHT		1156.0
#define COLUMNS		512u
#define TOTALS_HEIGHT	150.0
#define STRIP_HEIGHT	200.0		/* of the rows that are no gaps */
#define GAP_HEIGHT	15.0
#define LEVELS		4u		/* of paleness */
#define MARKS_SHOWN	24u
#define LINES_SHOWN	10u

static const struct use_look {
	const char *class, *name, *light, *dark;
} looks[NR_USES] = {
	[USE_FREE] = { "free", "free", "#eef1f4", "#22282f" },
	[USE_PCP] = { "pcp", "free, on a CPU's list", "#b9c4cf", "#4d5a68" },
	[USE_SLAB] = { "slab", "slab", "#3b6fb6", "#6ea3ea" },
	[USE_LARGE] = { "large", "large kmalloc", "#1b9aaa", "#4fd0de" },
	[USE_TABLE] = { "table", "page tables", "#8e4a9e", "#c98ad8" },
	[USE_ANON] = { "anon", "anonymous", "#d1495b", "#f2788a" },
	[USE_CACHE] = { "cache", "page cache", "#3f8f4f", "#79c98a" },
	[USE_VMALLOC] = { "vmalloc", "vmalloc", "#e08a1e", "#f5b45c" },
	[USE_OTHER] = { "other", "other pages", "#a38a00", "#dcc64a" },
	[USE_RESERVED] = { "reserved", "reserved", "#5b6570", "#8e99a5" },
	[USE_BAD] = { "bad", "damaged, out of use", "#000000", "#ffffff" },
};

/**
 * struct plot - the picture that is being drawn
 * @y:      so far
 * @column: by column: its sample
 */
struct plot {
	const struct use_history *h;
	FILE *out;
	double y;
	unsigned int column[COLUMNS], nr_columns;
	unsigned int mark[MARKS_SHOWN], nr_marks;	/* places in h->marks[] */
	struct use_strip *strips;
	unsigned long peak[NR_USES], peak_in_use;
};

static uint64_t last_tick(const struct use_history *h)
{
	return h->tick ? h->tick : 1;
}

static double x_of(const struct plot *p, uint64_t tick)
{
	return LEFT + (RIGHT - LEFT) * (double)tick / (double)last_tick(p->h);
}

static double column_x(const struct plot *p, unsigned int column)
{
	return LEFT + (RIGHT - LEFT) * column / p->nr_columns;
}

/* What a person reads: "132 frames", "1.5 MiB". */
static const char *size_text(unsigned long frames, char buf[32])
{
	double kib = (double)frames * (PAGE_SIZE >> 10);

	if (kib < 1024)
		snprintf(buf, 32, "%.0f KiB", kib);
	else if (kib < 1024 * 1024)
		snprintf(buf, 32, "%.4g MiB", kib / 1024);
	else
		snprintf(buf, 32, "%.4g GiB", kib / 1024 / 1024);
	return buf;
}

static bool is_in_use(unsigned int use)
{
	return use != USE_FREE && use != USE_PCP && use != USE_RESERVED;
}

/* ---- what is to be drawn ----------------------------------------------------------------- */

/* The last sample of each column's time. */
static void choose_columns(struct plot *p)
{
	const struct use_history *h = p->h;
	uint64_t last = last_tick(h);
	unsigned int c, i = 0;

	p->nr_columns = last < COLUMNS ? (unsigned int)last : COLUMNS;
	for (c = 0; c < p->nr_columns; c++) {
		while (i + 1 < h->nr_samples &&
		       h->samples[i + 1].tick * p->nr_columns < (c + 1) * last)
			i++;
		p->column[c] = i;
	}
	p->column[p->nr_columns - 1] = h->nr_samples - 1;
}

static void choose_marks(struct plot *p)
{
	const struct use_history *h = p->h;
	unsigned int most = h->recording ? LINES_SHOWN : MARKS_SHOWN, i;
	uint64_t from = 0;

	if (h->nr_marks <= most) {
		while (p->nr_marks < h->nr_marks)
			p->mark[p->nr_marks] = p->nr_marks, p->nr_marks++;
		return;
	}
	/* As far from each other as so many can be, and the last one. */
	for (i = 0; i < h->nr_marks && p->nr_marks < most; i++) {
		if (h->marks[i].tick < from && i + 1 < h->nr_marks)
			continue;
		p->mark[p->nr_marks++] = i;
		from = p->nr_marks * last_tick(h) / (most - 1);
	}
}

static unsigned long in_use(const struct use_sample *s)
{
	unsigned long nr = 0;
	unsigned int use;

	for (use = 0; use < NR_USES; use++)
		nr += is_in_use(use) ? s->total[use] : 0;
	return nr;
}

static void find_peaks(struct plot *p)
{
	unsigned int i, use;

	for (i = 0; i < p->h->nr_samples; i++) {
		const struct use_sample *s = &p->h->samples[i];

		for (use = 0; use < NR_USES; use++)
			if (s->total[use] > p->peak[use])
				p->peak[use] = s->total[use];
		if (in_use(s) > p->peak_in_use)
			p->peak_in_use = in_use(s);
	}
}

/* ---- texts ------------------------------------------------------------------------------- */

static void open_text(struct plot *p, double x, double y, const char *class)
{
	fprintf(p->out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
}

static void text(struct plot *p, double x, double y, const char *class, const char *words)
{
	open_text(p, x, y, class);
	text_html(p->out, words, 150);
	fputs("</text>\n", p->out);
}

static void write_style(FILE *out)
{
	unsigned int use;

	fputs("<style>\n"
	      "svg{background:#fff;color:#1d242b;font:13px system-ui,-apple-system,'Segoe UI',"
	      "Roboto,'DejaVu Sans',sans-serif}\n"
	      "text{fill:currentColor}\n.t{font-size:17px;font-weight:600}\n"
	      ".h{font-size:13px;font-weight:600}\n.s{font-size:12px;opacity:.75}\n"
	      ".r{font-size:11px;opacity:.75;text-anchor:end}\n"
	      ".a{font-size:11px;font-family:ui-monospace,'DejaVu Sans Mono',monospace;"
	      "opacity:.75;text-anchor:end}\n"
	      ".m{font-size:11px;opacity:.75;text-anchor:middle}\n"
	      ".n{font-size:11px;font-weight:600;text-anchor:middle}\n"
	      ".line{stroke:currentColor;stroke-opacity:.35;fill:none}\n"
	      ".grid{stroke:currentColor;stroke-opacity:.13;fill:none}\n"
	      ".mark{stroke:currentColor;stroke-opacity:.45;stroke-dasharray:2 3;fill:none}\n"
	      ".dot{fill:#fff;stroke:currentColor;stroke-opacity:.6}\n", out);
	for (use = 0; use < NR_USES; use++)
		fprintf(out, ".%s{fill:%s}\n", looks[use].class, looks[use].light);
	fputs(".l0{fill-opacity:.35}\n.l1{fill-opacity:.57}\n.l2{fill-opacity:.78}\n"
	      "@media (prefers-color-scheme:dark){\n"
	      "svg{background:#14181d;color:#e4e9ee}\n.dot{fill:#14181d}\n", out);
	for (use = 0; use < NR_USES; use++)
		fprintf(out, ".%s{fill:%s}\n", looks[use].class, looks[use].dark);
	fputs("}\n</style>\n"
	      "<defs><pattern id=\"hole\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
	      "patternTransform=\"rotate(45)\"><path d=\"M0 0V6\" stroke=\"#8b96a1\" "
	      "stroke-opacity=\".6\" stroke-width=\"1.5\"/></pattern></defs>\n", out);
}

static void write_heading(struct plot *p)
{
	const struct use_history *h = p->h;
	unsigned long present = 0;
	char line[200], size[32], peak[32];
	unsigned int i;

	for (i = 0; i < h->nr_zones; i++)
		present += h->zones[i].present;
	text(p, 16, 30, "t", h->title);
	snprintf(line, sizeof(line), "Physical memory by use: %s of RAM, at most %s of it in use",
		 size_text(present, size), size_text(p->peak_in_use, peak));
	text(p, 16, 50, "s", line);
	p->y = 60;
}

static void write_legend(struct plot *p)
{
	double x = 16;
	char line[96], size[32];
	unsigned int use;

	for (use = 0; use < NR_USES; use++) {
		double width;

		if (!p->peak[use])
			continue;
		if (is_in_use(use))
			snprintf(line, sizeof(line), "%s, at most %s", looks[use].name,
				 size_text(p->peak[use], size));
		else
			snprintf(line, sizeof(line), "%s", looks[use].name);
		width = 30 + 6.6 * (double)strlen(line);
		if (x + width > RIGHT) {
			x = 16;
			p->y += 20;
		}
		fprintf(p->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"13\" height=\"13\" rx=\"2\" "
			"class=\"%s\"/><rect x=\"%.1f\" y=\"%.1f\" width=\"13\" height=\"13\" "
			"rx=\"2\" class=\"line\"/>", x, p->y, looks[use].class, x, p->y);
		text(p, x + 19, p->y + 11, "s", line);
		x += width;
	}
	p->y += 26;
	text(p, 16, p->y + 6, "s", "Paler: some of the frames that a cell stands for are free. "
	     "Thin rows: memory that nobody uses all the time. Hatched: there is no RAM.");
	p->y += 26;
}

/* ---- frames in use, stacked -------------------------------------------------------------- */

/* A round number of frames not below @nr, a power of two or three quarters of one. */
static unsigned long round_up_nicely(unsigned long nr)
{
	unsigned long top = 4;

	while (top < nr)
		top = top / 3 * 3 == top ? top / 3 * 4 : top / 2 * 3;
	return top;
}

/* The stack's upper edge of uses below and with @use, in column @c. */
static unsigned long stacked(const struct plot *p, unsigned int c, unsigned int upto)
{
	const struct use_sample *s = &p->h->samples[p->column[c]];
	unsigned long nr = 0;
	unsigned int use;

	for (use = 0; use <= upto; use++)
		nr += is_in_use(use) ? s->total[use] : 0;
	return nr;
}

static void draw_layer(struct plot *p, unsigned int use, double y, double scale)
{
	unsigned int c;

	fprintf(p->out, "<path class=\"%s\" d=\"M%.1f %.1f", looks[use].class, LEFT,
		y - (double)stacked(p, 0, use) * scale);
	for (c = 0; c < p->nr_columns; c++) {
		double top = y - (double)stacked(p, c, use) * scale;

		if (c && stacked(p, c, use) != stacked(p, c - 1, use))
			fprintf(p->out, "V%.1f", top);
		if (c + 1 == p->nr_columns || stacked(p, c, use) != stacked(p, c + 1, use))
			fprintf(p->out, "H%.1f", column_x(p, c + 1));
	}
	for (c = p->nr_columns; c-- > 0;) {
		unsigned long below = use ? stacked(p, c, use - 1) : 0;

		if (c + 1 == p->nr_columns || below != stacked(p, c + 1, use ? use - 1 : 0))
			fprintf(p->out, "V%.1f", y - (double)below * scale);
		if (!c || below != stacked(p, c - 1, use ? use - 1 : 0))
			fprintf(p->out, "H%.1f", column_x(p, c));
	}
	fputs("Z\"/>\n", p->out);
}

static void draw_totals(struct plot *p)
{
	unsigned long top = round_up_nicely(p->peak_in_use + p->peak_in_use / 12);
	double scale = TOTALS_HEIGHT / (double)top, y;
	unsigned int use, i;
	char size[32];

	text(p, 16, p->y + 6, "h", "In use");
	p->y += 16;
	y = p->y + TOTALS_HEIGHT;
	for (use = 0; use < NR_USES; use++)
		if (is_in_use(use) && p->peak[use])
			draw_layer(p, use, y, scale);
	for (i = 0; i <= 4; i++) {
		double at = y - TOTALS_HEIGHT * i / 4;

		fprintf(p->out, "<path class=\"%s\" d=\"M%.1f %.1fH%.1f\"/>\n",
			i ? "grid" : "line", LEFT, at, RIGHT);
		text(p, LEFT - 8, at + 4, "r", size_text(top / 4 * i, size));
	}
	p->y = y + 30;
}

/* ---- strips ------------------------------------------------------------------------------ */

/*
 * How a cell looks: its use, and how much of it is in use; free is 0. What lies on CPUs' lists is
 * seen only where nothing is in use.
 */
static unsigned int cell_look(const unsigned long nr[NR_USES], unsigned long present)
{
	unsigned int use, best = USE_PCP;
	unsigned long taken = 0;

	for (use = USE_PCP + 1; use < NR_USES; use++) {
		taken += nr[use];
		if (nr[use] && (best == USE_PCP || nr[use] > nr[best]))
			best = use;
	}
	if (best == USE_PCP)
		taken = nr[USE_PCP];
	if (!taken)
		return 0;
	return best * LEVELS + (unsigned int)((taken * LEVELS - 1) / (present ? present : 1));
}

static double row_height(const struct use_strip *strip)
{
	unsigned int i, nr = 0;
	double height;

	for (i = 0; i < strip->nr_rows; i++)
		nr += !strip->rows[i].gap;
	height = STRIP_HEIGHT / (nr ? nr : 1);
	return height < 4 ? 4 : height > 14 ? 14 : height;
}

static void draw_cells(struct plot *p, const struct use_row *row, unsigned int *hints,
		       double height)
{
	unsigned int c, from = 0, look = 0, next;
	unsigned long nr[NR_USES];

	for (c = 0; c <= p->nr_columns; c++) {
		next = ~0u;
		if (c < p->nr_columns && c && p->column[c] == p->column[c - 1]) {
			next = look;
		} else if (c < p->nr_columns) {
			use_row_count(row, &p->h->samples[p->column[c]], &hints[p->column[c]], nr);
			next = cell_look(nr, row->present);
		}
		if (c && next != look) {
			if (look)
				fprintf(p->out, "<rect class=\"%s l%u\" x=\"%.1f\" y=\"%.1f\" "
					"width=\"%.2f\" height=\"%.2f\"/>",
					looks[look / LEVELS].class, look % LEVELS,
					column_x(p, from), p->y,
					column_x(p, c) - column_x(p, from), height);
			from = c;
		}
		look = next;
	}
}

static void draw_gap(struct plot *p, const struct use_row *row)
{
	char words[96], size[32];

	fprintf(p->out, "<rect class=\"free l0\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
		"height=\"%.1f\"/>", LEFT, p->y, RIGHT - LEFT, GAP_HEIGHT);
	if (row->hole)
		fprintf(p->out, "<rect fill=\"url(#hole)\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
			"height=\"%.1f\"/>", LEFT, p->y, RIGHT - LEFT, GAP_HEIGHT);
	snprintf(words, sizeof(words), row->hole ? "hole, %s" : "%s, free all the time",
		 size_text(row->hole ? row->nr : row->present, size));
	text(p, (LEFT + RIGHT) / 2, p->y + 11, "m", words);
}

static void draw_row(struct plot *p, const struct use_row *row, unsigned int *hints, double height)
{
	unsigned long first = row->first << PAGE_SHIFT;
	unsigned long last = ((row->first + row->nr) << PAGE_SHIFT) - 1;
	char size[32];

	fprintf(p->out, "<g><title>0x%lx to 0x%lx, %s</title>", first, last,
		size_text(row->nr, size));
	if (row->gap) {
		draw_gap(p, row);
	} else {
		fprintf(p->out, "<rect class=\"free\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
			"height=\"%.2f\"/>", LEFT, p->y, RIGHT - LEFT, height);
		draw_cells(p, row, hints, height);
	}
	fputs("</g>\n", p->out);
}

static void strip_heading(struct plot *p, const struct use_strip *strip)
{
	char line[160], size[32], cell[32];

	text(p, 16, p->y + 6, "h", strip->zone->name);
	snprintf(line, sizeof(line), "%s of RAM from 0x%lx to 0x%lx; a row is %s",
		 size_text(strip->zone->present, size), strip->zone->first << PAGE_SHIFT,
		 (strip->zone->end << PAGE_SHIFT) - 1, size_text(strip->frames_per_row, cell));
	text(p, LEFT + 60, p->y + 6, "s", line);
	p->y += 16;
}

/* A zone's strip; @hints has a place for each sample. */
static void draw_strip(struct plot *p, const struct use_strip *strip, unsigned int *hints)
{
	double height = row_height(strip), top, labelled = 0;
	unsigned int i;

	strip_heading(p, strip);
	top = p->y;
	memset(hints, 0, p->h->nr_samples * sizeof(*hints));
	for (i = 0; i < strip->nr_rows; i++) {
		const struct use_row *row = &strip->rows[i];
		char address[24];

		if (p->y - labelled >= 12) {
			snprintf(address, sizeof(address), "0x%08lx", row->first << PAGE_SHIFT);
			text(p, LEFT - 8, p->y + 9, "a", address);
			labelled = p->y;
		}
		draw_row(p, row, hints, height);
		p->y += row->gap ? GAP_HEIGHT : height;
	}
	fprintf(p->out, "<rect class=\"line\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
		"height=\"%.1f\"/>\n", LEFT, top, RIGHT - LEFT, p->y - top);
	p->y += 28;
}

/* ---- time -------------------------------------------------------------------------------- */

static uint64_t nice_step(uint64_t range)
{
	uint64_t step = 1;

	while (step * 8 < range) {
		if (step * 2 * 8 >= range)
			return step * 2;
		if (step * 5 * 8 >= range)
			return step * 5;
		step *= 10;
	}
	return step;
}

static void draw_time(struct plot *p)
{
	uint64_t tick, step = nice_step(last_tick(p->h));
	char number[32];

	p->y -= 12;
	for (tick = 0; tick <= last_tick(p->h); tick += step) {
		double x = x_of(p, tick);

		fprintf(p->out, "<path class=\"line\" d=\"M%.1f %.1fv5\"/>\n", x, p->y);
		snprintf(number, sizeof(number), "%" PRIu64, tick);
		text(p, x, p->y + 17, "m", number);
	}
	text(p, (LEFT + RIGHT) / 2, p->y + 36, "m", p->h->recording ?
	     "time: each line of the recording, each block of frames allocated and freed, is one" :
	     "time: each block of frames allocated and freed, each step of the story, is one");
	p->y += 60;
}

/* A numbered line through everything at each moment that has a name. */
static void draw_marks(struct plot *p, double top, double bottom)
{
	unsigned int i;
	double last = 0, up = 0;

	for (i = 0; i < p->nr_marks; i++) {
		double x = x_of(p, p->h->marks[p->mark[i]].tick);
		char number[16];

		up = x - last < 17 ? up + 15 : 0;	/* beside each other there is no room */
		if (up > 40)
			up = 0;
		last = x;
		fprintf(p->out, "<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/><circle class=\"dot\" "
			"cx=\"%.1f\" cy=\"%.1f\" r=\"8\"/>", x, top - up, bottom, x, top - up);
		snprintf(number, sizeof(number), "%u", i + 1);
		text(p, x, top - up + 4, "n", number);
	}
}

static void list_marks(struct plot *p)
{
	unsigned int i;
	char number[16];

	if (!p->nr_marks)
		return;
	text(p, 16, p->y, "h", p->h->recording ? "Lines" : "What has happened by then");
	p->y += 20;
	for (i = 0; i < p->nr_marks; i++) {
		fprintf(p->out, "<circle class=\"dot\" cx=\"26\" cy=\"%.1f\" r=\"8\"/>", p->y - 4);
		snprintf(number, sizeof(number), "%u", i + 1);
		text(p, 26, p->y, "n", number);
		text(p, 42, p->y, "s", p->h->marks[p->mark[i]].name);
		p->y += 19;
	}
}

/* ---- the whole --------------------------------------------------------------------------- */

static void draw(struct plot *p, unsigned int *hints)
{
	double top, bottom;
	unsigned int i;

	write_style(p->out);
	write_heading(p);
	write_legend(p);
	p->y += 34;			/* for the marks' numbers */
	top = p->y + 4;
	draw_totals(p);
	for (i = 0; i < p->h->nr_zones; i++)
		draw_strip(p, &p->strips[i], hints);
	bottom = p->y - 28;
	draw_time(p);
	draw_marks(p, top, bottom);
	list_marks(p);
	p->y += 10;
}

/* The height is known at the end, and stands in the first line. */
static bool write_svg(struct plot *p, FILE *out, unsigned int *hints)
{
	char *body = NULL;
	size_t bytes = 0;

	p->out = open_memstream(&body, &bytes);
	if (!p->out)
		return false;
	draw(p, hints);
	if (fclose(p->out)) {
		free(body);
		return false;
	}
	fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"viewBox=\"0 0 %.0f %.0f\">\n<title>", WIDTH, p->y, WIDTH, p->y);
	text_html(out, p->h->title, 200);
	fputs("</title>\n", out);
	fwrite(body, 1, bytes, out);
	fputs("</svg>\n", out);
	free(body);
	return true;
}

bool use_history_plot(const struct use_history *h, FILE *out)
{
	struct plot p = { .h = h };
	unsigned int *hints = calloc(h->nr_samples + 1, sizeof(*hints));
	unsigned int made = 0;
	bool ok;

	p.strips = calloc(h->nr_zones + 1, sizeof(*p.strips));
	ok = p.strips && hints && h->nr_samples;
	while (ok && made < h->nr_zones)
		ok = use_strip_make(&p.strips[made], h, &h->zones[made]) && ++made;
	if (ok) {
		choose_columns(&p);
		choose_marks(&p);
		find_peaks(&p);
		ok = write_svg(&p, out, hints);
	}
	while (made)
		use_strip_free(&p.strips[--made]);
	free(p.strips);
	free(hints);
	return ok;
}
