/* SPDX-License-Identifier: MIT */
/*
 * replay_report.c - what came of a replay: one screen for people, or JSON
 */
#include "replay.h"
#include <karc/base/math.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#define DEATHS_SHOWN	6

const char *const replay_kind_names[NR_REPLAY_KINDS] = {
	"mm_struct", "vm_area_struct", "anon_vma", "pgtable", "file", "frames",
};

static const char *touch_name(enum replay_touch touch)
{
	return touch == TOUCH_NONE ? "none" : touch == TOUCH_SOME ? "some" : "all";
}

static const char *mode_name(const struct replay *r)
{
	return r->opt.machine.mode == MACHINE_PARALLEL ? "parallel" : "deterministic";
}

static const char *colour(const struct replay *r, bool good)
{
	return !r->opt.colour ? "" : good ? "\033[32m" : "\033[31m";
}

static const char *plain(const struct replay *r)
{
	return r->opt.colour ? "\033[0m" : "";
}

#define PROGRESS_LINES	4096	/* between two looks at the clock */
#define PROGRESS_AFTER	1.0	/* seconds; what is over sooner needs none */
#define PROGRESS_EVERY	0.2

static double since(const struct timespec *then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

static void show_progress(struct replay *r)
{
	uint64_t total = recording_bytes_total(r->rec);
	double seconds = since(&r->began);

	if (seconds < PROGRESS_AFTER || (r->progress_on && since(&r->shown) < PROGRESS_EVERY))
		return;
	clock_gettime(CLOCK_MONOTONIC, &r->shown);
	r->progress_on = true;
	fputs("\rreplaying", stderr);
	if (total)
		fprintf(stderr, " %3" PRIu64 " %%,", recording_bytes_read(r->rec) * 100 / total);
	fprintf(stderr, " %" PRIu64 " calls, %.0f a second\033[K",
		r->n.replayed + r->n.fd_calls, (double)(r->n.replayed + r->n.fd_calls) / seconds);
	fflush(stderr);
}

void replay_progress(struct replay *r, bool done)
{
	if (done && r->progress_on)
		fputs("\r\033[K", stderr);
	if (done || r->n.lines - r->checked_line < PROGRESS_LINES)
		return;
	r->checked_line = r->n.lines;
	show_progress(r);
}

static void print_size(FILE *out, uint64_t bytes)
{
	if (bytes < 10 << 20)
		fprintf(out, "%" PRIu64 " KiB", bytes >> 10);
	else if (bytes < 10ULL << 30)
		fprintf(out, "%" PRIu64 " MiB", bytes >> 20);
	else
		fprintf(out, "%.1f GiB", (double)bytes / (1 << 30));
}

/* ---- for people -------------------------------------------------------------------------- */

static void print_death(const struct replay *r, const struct replay_death *d)
{
	FILE *out = r->opt.out;
	int shown = 0, kind;

	fprintf(out, "  pid %u %s, ", d->pid, d->comm);
	if (d->threads > 1)
		fprintf(out, "%u threads, ", d->threads);
	if (d->killed_by_us)
		fputs("alive when the recording ends, killed\n", out);
	else if (WIFSIGNALED(d->status))
		fprintf(out, "killed by %s\n", rec_signal_name(WTERMSIG(d->status)));
	else
		fprintf(out, "exited %d\n", WEXITSTATUS(d->status));
	if (d->shared_mm)
		fputs("  ├─ exit_mm: other users keep the address space\n", out);
	else
		fprintf(out, "  ├─ exit_mm → mmput → exit_mmap: %d mappings, %lu anonymous + %lu file "
			"pages unmapped, %ld page tables\n", d->mappings, d->anon_pages,
			d->file_pages, d->pgtable_bytes / (long)PAGE_SIZE);
	fprintf(out, "  ├─ exit_files: %u open\n", d->files);
	fputs("  └─ freed:", out);
	for (kind = 0; kind < NR_REPLAY_KINDS; kind++)
		if (d->freed[kind])
			fprintf(out, "%s %ld %s", shown++ ? "," : "", d->freed[kind],
				replay_kind_names[kind]);
	fputs(shown ? "\n" : " nothing yet\n", out);
}

static void print_deaths(const struct replay *r)
{
	size_t i, shown = r->opt.verbose || r->nr_deaths <= DEATHS_SHOWN + 1 ? r->nr_deaths :
			  DEATHS_SHOWN;

	fputs("teardown\n", r->opt.out);
	for (i = 0; i < shown; i++)
		print_death(r, &r->deaths[i]);
	if (shown < r->nr_deaths)
		fprintf(r->opt.out, "  ... and %zu more (--verbose shows them)\n",
			r->nr_deaths - shown);
	if (r->deaths_untold)
		fprintf(r->opt.out, "  ... and %" PRIu64 " more, not kept\n", r->deaths_untold);
}

static void print_calls(const struct replay *r)
{
	const struct replay_counts *n = &r->n;
	bool good = !n->mismatched && !r->stop;

	fprintf(r->opt.out, "calls      %" PRIu64 " replayed, %s%" PRIu64 " matched (%.1f %%)%s",
		n->replayed, colour(r, good), n->matched,
		n->replayed ? 100.0 * (double)n->matched / (double)n->replayed : 100.0, plain(r));
	if (n->mismatched)
		fprintf(r->opt.out, ", %s%" PRIu64 " different%s", colour(r, false),
			n->mismatched, plain(r));
	fprintf(r->opt.out, "; %" PRIu64 " with nothing to compare, %" PRIu64
		" of other families skipped\n", n->noted, n->skipped);
	if (n->fd_calls)
		fprintf(r->opt.out, "           on descriptors %" PRIu64 " more, %" PRIu64
			" answered as recorded\n", n->fd_calls, n->fd_same);
	if (n->reordered)
		fprintf(r->opt.out, "order      %" PRIu64 " calls took effect before one that ended "
			"earlier\n", n->reordered);
	if (n->maps_reads)
		fprintf(r->opt.out, "maps       read %" PRIu64 " times, %s%" PRIu64
			" lines, %" PRIu64 " the same%s\n", n->maps_reads,
			colour(r, n->maps_lines == n->maps_same), n->maps_lines, n->maps_same,
			plain(r));
}

static void print_cpus(const struct replay *r)
{
	unsigned int cpu;

	if (r->opt.machine.cpus == 1)
		return;
	fputs("by CPU    ", r->opt.out);
	for (cpu = 0; cpu < r->opt.machine.cpus; cpu++)
		fprintf(r->opt.out, " %" PRIu64, r->n.per_cpu[cpu]);
	if (r->n.touched_aside)
		fprintf(r->opt.out, "; %" PRIu64 " times memory was touched while others went on",
			r->n.touched_aside);
	fputc('\n', r->opt.out);
}

static void print_faults(const struct replay *r)
{
	FILE *out = r->opt.out;
	int kind, shown = 0;

	fputs("faults    ", out);
	for (kind = 0; kind < NR_FAULT_KINDS; kind++)
		if (r->n.faults[kind])
			fprintf(out, "%s %" PRIu64 " %s", shown++ ? "," : "", r->n.faults[kind],
				fault_kind_name((enum fault_kind)kind));
	fputs(shown ? "\n" : " none\n", out);
	if (r->opt.touch != TOUCH_NONE) {
		fprintf(out, "touched    %" PRIu64 " pages", r->n.touched);
		if (r->n.touch_skipped)
			fprintf(out, "; %" PRIu64 " in mappings too large for this machine left out",
				r->n.touch_skipped);
		fputc('\n', out);
	}
}

static void print_live(const struct replay *r)
{
	char text[96];
	int column = 0, length;

	for (unsigned int i = 0; i < r->nr_live; i++) {
		length = snprintf(text, sizeof(text), "%s %ld%s", r->live[i].kind,
				  r->live[i].at_end - r->live[i].at_boot,
				  i + 1 < r->nr_live ? "," : "");
		if (!column || column + 1 + length > 100)
			column = fprintf(r->opt.out, "\n           %s", text) - 1;
		else
			column += fprintf(r->opt.out, " %s", text);
	}
	fputc('\n', r->opt.out);
}

static void print_left(const struct replay *r)
{
	bool good = !r->machine_left && r->free_at_boot == r->free_at_end &&
		    !replay_live_delta(r);
	unsigned int i;

	fprintf(r->opt.out, "left       %s%s%s: frames free %lu at boot, %lu at the end; live objects "
		"by type", colour(r, good), good ? "nothing" : "LEAK", plain(r), r->free_at_boot,
		r->free_at_end);
	print_live(r);
	for (i = 0; i < r->nr_left; i++)
		fprintf(r->opt.out, "           %lu %s, %" PRIu64 " bytes%s%s\n", r->left[i].count,
			r->left[i].kind, r->left[i].bytes, r->left[i].site[0] ? ", from " : "",
			r->left[i].site);
}

static void report_text(const struct replay *r)
{
	FILE *out = r->opt.out;

	fprintf(out, "recording  %s: Linux %u.%u.%u, %u task%s\n", r->opt.path, r->info->kernel[0],
		r->info->kernel[1], r->info->kernel[2], r->info->nr_tasks,
		r->info->nr_tasks == 1 ? "" : "s");
	fprintf(out, "machine    %u CPU%s, ", r->opt.machine.cpus,
		r->opt.machine.cpus == 1 ? "" : "s");
	print_size(out, r->opt.machine.mem_bytes);
	fprintf(out, ", %s, seed %" PRIu64 ", touch %s\n", mode_name(r), r->opt.machine.seed,
		touch_name(r->opt.touch));
	print_calls(r);
	print_cpus(r);
	fprintf(out, "processes  %" PRIu64, r->n.processes);
	if (r->n.threads)
		fprintf(out, " and %" PRIu64 " more threads", r->n.threads);
	fprintf(out, ", at most %u at once; %" PRIu64 " programs executed\n", r->n.most_alive,
		r->n.execs);
	print_faults(r);
	fprintf(out, "memory     peak ");
	print_size(out, (uint64_t)(r->free_at_boot - r->least_free) * PAGE_SIZE);
	fprintf(out, " in %lu frames\n", r->free_at_boot - r->least_free);
	print_deaths(r);
	print_left(r);
	if (r->stop && r->error_line)
		fprintf(stderr, "%s:%" PRIu64 ": %s\n", r->opt.path, r->error_line, r->error);
	else if (r->stop)
		fprintf(stderr, "%s: %s: %s\n", r->opt.who, r->opt.path, r->error);
}

/* ---- for machines ------------------------------------------------------------------------ */

static void json_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void json_deaths(const struct replay *r)
{
	FILE *out = r->opt.out;
	size_t i;
	int kind;

	fputs("  \"teardown\": [", out);
	for (i = 0; i < r->nr_deaths; i++) {
		const struct replay_death *d = &r->deaths[i];

		fprintf(out, "%s\n    {\"pid\": %u, \"comm\": ", i ? "," : "", d->pid);
		json_string(out, d->comm);
		fprintf(out, ", \"status\": %d, \"threads\": %u, \"mappings\": %d, \"anon_pages\": %lu, "
			"\"file_pages\": %lu, \"pgtables_bytes\": %ld, \"files\": %u, "
			"\"shared_mm\": %s, \"freed\": {", d->status, d->threads, d->mappings,
			d->anon_pages, d->file_pages, d->pgtable_bytes, d->files, d->shared_mm ? "true" : "false");
		for (kind = 0; kind < NR_REPLAY_KINDS; kind++)
			fprintf(out, "%s\"%s\": %ld", kind ? ", " : "", replay_kind_names[kind],
				d->freed[kind]);
		fputs("}}", out);
	}
	fprintf(out, "%s],\n", r->nr_deaths ? "\n  " : "");
	if (r->deaths_untold)
		fprintf(out, "  \"teardown_not_kept\": %" PRIu64 ",\n", r->deaths_untold);
}

static void json_left(const struct replay *r)
{
	FILE *out = r->opt.out;
	unsigned int i;

	fprintf(out, "  \"frames_free_at_boot\": %lu,\n  \"frames_free_at_end\": %lu,\n"
		"  \"live_objects\": %ld,\n  \"live_by_type\": {", r->free_at_boot, r->free_at_end,
		replay_live_delta(r));
	for (i = 0; i < r->nr_live; i++)
		fprintf(out, "%s\"%s\": %ld", i ? ", " : "", r->live[i].kind,
			r->live[i].at_end - r->live[i].at_boot);
	fputs("},\n  \"left\": [", out);
	for (i = 0; i < r->nr_left; i++) {
		fprintf(out, "%s{\"kind\": ", i ? ", " : "");
		json_string(out, r->left[i].kind);
		fprintf(out, ", \"count\": %lu, \"bytes\": %" PRIu64 ", \"site\": ",
			r->left[i].count, r->left[i].bytes);
		json_string(out, r->left[i].site);
		fputc('}', out);
	}
	fputs("]", out);
}

static void json_calls(const struct replay *r)
{
	const struct replay_counts *n = &r->n;
	FILE *out = r->opt.out;
	unsigned int cpu;

	fprintf(out, "  \"calls\": {\"replayed\": %" PRIu64 ", \"matched\": %" PRIu64
		", \"different\": %" PRIu64 ", \"not_compared\": %" PRIu64 ", \"skipped\": %"
		PRIu64 ", \"descriptors\": %" PRIu64 ", \"descriptors_matched\": %" PRIu64
		", \"reordered\": %" PRIu64 "},\n",
		n->replayed, n->matched, n->mismatched, n->noted, n->skipped, n->fd_calls,
		n->fd_same, n->reordered);
	fprintf(out, "  \"maps\": {\"reads\": %" PRIu64 ", \"lines\": %" PRIu64
		", \"same\": %" PRIu64 "},\n", n->maps_reads, n->maps_lines, n->maps_same);
	fputs("  \"calls_by_cpu\": [", out);
	for (cpu = 0; cpu < r->opt.machine.cpus; cpu++)
		fprintf(out, "%s%" PRIu64, cpu ? ", " : "", n->per_cpu[cpu]);
	fputs("],\n", out);
}

static void json_processes(const struct replay *r)
{
	const struct replay_counts *n = &r->n;
	FILE *out = r->opt.out;
	int kind;

	fprintf(out, "  \"processes\": %" PRIu64 ",\n  \"threads\": %" PRIu64
		",\n  \"most_alive\": %u,\n  \"execs\": %" PRIu64
		",\n  \"touched_pages\": %" PRIu64 ",\n  \"touched_aside\": %" PRIu64
		",\n  \"faults\": {", n->processes, n->threads, n->most_alive, n->execs,
		n->touched, n->touched_aside);
	for (kind = 0; kind < NR_FAULT_KINDS; kind++) {
		fputs(kind ? ", " : "", out);
		json_string(out, fault_kind_name((enum fault_kind)kind));
		fprintf(out, ": %" PRIu64, n->faults[kind]);
	}
	fprintf(out, "},\n  \"peak_bytes\": %" PRIu64 ",\n",
		(uint64_t)(r->free_at_boot - r->least_free) * PAGE_SIZE);
}

static void report_json(const struct replay *r)
{
	FILE *out = r->opt.out;

	fputs("{\n  \"recording\": ", out);
	json_string(out, r->opt.path);
	fprintf(out, ",\n  \"kernel\": \"%u.%u.%u\",\n  \"cpus\": %u,\n  \"mode\": \"%s\",\n"
		"  \"mem_bytes\": %" PRIu64 ",\n  \"seed\": %" PRIu64 ",\n  \"touch\": \"%s\",\n",
		r->info->kernel[0], r->info->kernel[1], r->info->kernel[2], r->opt.machine.cpus,
		mode_name(r), r->opt.machine.mem_bytes, r->opt.machine.seed, touch_name(r->opt.touch));
	json_calls(r);
	json_processes(r);
	json_deaths(r);
	json_left(r);
	if (r->stop) {
		fprintf(out, ",\n  \"error\": {\"line\": %" PRIu64 ", \"what\": ", r->error_line);
		json_string(out, r->error);
		fputs("}", out);
	}
	fputs("\n}\n", out);
}

void replay_report(const struct replay *r)
{
	if (r->opt.json)
		report_json(r);
	else
		report_text(r);
}
