/* SPDX-License-Identifier: MIT */
/*
 * recording_write.c - lines as the reader in recording.c wants them
 *
 * Both sides go by the letters in REC_CALLS(), so a call is written and read in one way.
 */
#include "recording.h"

#include <inttypes.h>
#include <string.h>

static const char *const thp_names[] = { "none", "never", "madvise", "always" };
static const char *const vsyscall_names[] = { "none", "xonly", "readable" };
static const char *const anon_align_names[] = { "none", "large", "exact" };

static void write_limit(FILE *out, uint64_t value)
{
	if (value == REC_UNLIMITED)
		fputs(" unlimited", out);
	else
		fprintf(out, " %" PRIu64, value);
}

static void write_id(FILE *out, uint64_t id)
{
	if (id)
		fprintf(out, "@%" PRIu64, id);
	else
		fputs("@-", out);
}

void recording_write_info(FILE *out, const struct rec_info *info)
{
	fprintf(out, "karc-recording %d\n", REC_FORMAT_VERSION);
	fprintf(out, "kernel %u.%u.%u\n", info->kernel[0], info->kernel[1], info->kernel[2]);
	fprintf(out, "machine %s\n", info->machine);
	fprintf(out, "page %" PRIu64 "\n", info->page_size);
	fprintf(out, "huge %" PRIu64 "\n", info->huge_size);
	fprintf(out, "memory %" PRIu64 "\n", info->memory_bytes);
	fprintf(out, "swap %" PRIu64 "\n", info->swap_bytes);
	fprintf(out, "cpus %u\n", info->nr_cpus);
	fprintf(out, "overcommit %u %u %" PRIu64 "\n", info->overcommit, info->overcommit_ratio,
		info->overcommit_kbytes);
	fprintf(out, "map-max %" PRIu64 "\n", info->max_map_count);
	fprintf(out, "map-min 0x%" PRIx64 "\n", info->mmap_min_addr);
	fprintf(out, "legacy-layout %d\n", info->legacy_va_layout);
	fprintf(out, "thp %s\n", thp_names[info->thp]);
	fprintf(out, "thp-shmem %s\n", thp_names[info->thp_shmem]);
	fprintf(out, "vvar %" PRIu64 "\n", info->vvar_bytes);
	fprintf(out, "vvar-vclock %" PRIu64 "\n", info->vvar_clock_bytes);
	fprintf(out, "vdso %" PRIu64 "\n", info->vdso_bytes);
	fprintf(out, "vsyscall %s\n", vsyscall_names[info->vsyscall]);
	fprintf(out, "auxv %u\n", info->auxv_entries);
	fprintf(out, "platform %u\n", info->platform_bytes);
	fprintf(out, "personality 0x%" PRIx64 "\n", info->personality);
	fprintf(out, "capabilities 0x%" PRIx64 "\n", info->capabilities);
	fprintf(out, "ignored 0x%" PRIx64 "\n", info->ignored_signals);
	fprintf(out, "stack-top 0x%" PRIx64 "\n", info->stack_top);
	fprintf(out, "mmap-base 0x%" PRIx64 "\n", info->mmap_base);
	fprintf(out, "anon-align %s\n", anon_align_names[info->anon_align]);
	fprintf(out, "align-fit %s\n", info->align_snug ? "snug" : "loose");
	for (unsigned int i = 0; i < REC_NR_LIMITS; i++) {
		fprintf(out, "limit %s", rec_limit_name(i));
		write_limit(out, info->limits[i].cur);
		write_limit(out, info->limits[i].max);
		putc('\n', out);
	}
	fprintf(out, "tasks %u\n", info->nr_tasks);
	fprintf(out, "files %u\n", info->nr_files);
	fprintf(out, "fds %u\n", info->nr_born_fds);
	for (unsigned int i = 0; i < info->nr_born_fds; i++) {
		fprintf(out, "fd %" PRId32 " ", info->born_fds[i].fd);
		write_id(out, info->born_fds[i].file);
		putc('\n', out);
	}
}

/* What is no printable ASCII, and those of @others: as %XX. */
static void write_coded(FILE *out, const char *text, const char *others)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c >= 0x7f || strchr(others, c))
			fprintf(out, "%%%02X", c);
		else
			putc(c, out);
	}
}

/* One word; NULL is `-`, an empty text `""`. */
static void write_text(FILE *out, const char *text)
{
	if (!text)
		putc('-', out);
	else if (!*text)
		fputs("\"\"", out);
	else if (strcmp(text, "-") == 0)
		fputs("%2D", out);
	else
		write_coded(out, text, " %\"");
}

static void write_elf(FILE *out, uint32_t id, const struct rec_elf *elf)
{
	fprintf(out, "elf %u %s 0x%" PRIx64 " %d ", id, elf->type == 2 ? "exec" : "dyn",
		elf->entry, elf->gnu_stack);
	write_id(out, elf->interp);
	putc('\n', out);
	for (unsigned int i = 0; i < elf->nr_segments; i++) {
		const struct rec_segment *seg = &elf->segments[i];

		fprintf(out, "load %u 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64
			" %u 0x%" PRIx64 "\n", id, seg->offset, seg->vaddr, seg->file_bytes,
			seg->mem_bytes, seg->flags, seg->align);
	}
}

void recording_write_file(FILE *out, const struct rec_file *file)
{
	fprintf(out, "file %u %s 0%o ", file->id, rec_file_kind_name(file->kind), file->mode);
	if (file->size_bytes == REC_SIZE_UNKNOWN)
		putc('?', out);
	else
		fprintf(out, "%" PRIu64, file->size_bytes);
	fprintf(out, " %" PRIu64 " ", file->align_bytes);
	write_text(out, *file->label ? file->label : "?");
	putc('\n', out);
	if (file->elf)
		write_elf(out, file->id, file->elf);
	if (file->script) {
		fprintf(out, "script %u ", file->id);
		write_id(out, file->script->interp);
		fprintf(out, " %u %u\n", file->script->name_bytes, file->script->arg_bytes);
	}
}

void recording_write_body(FILE *out)
{
	fputs("calls\n", out);
}

static void write_value(FILE *out, char letter, uint64_t value)
{
	switch (letter) {
	case 'x':
		fprintf(out, "0x%" PRIx64, value);
		break;
	case 'u':
		fprintf(out, "%" PRIu64, value);
		break;
	case 'o':
		fprintf(out, "%#" PRIo64, value);
		break;
	case '@':
		write_id(out, value);
		break;
	case 'p':
	case 'q':
		if (value == REC_PID_UNKNOWN) {
			putc('?', out);
			break;
		}
		/* fall through */
	default:
		fprintf(out, "%" PRId64, (int64_t)value);
	}
}

static void write_result(FILE *out, const struct rec_call *call, char letter)
{
	int64_t result = call->result;

	if (!call->has_result) {
		putc('?', out);
	} else if (result < 0 && result >= -4095) {
		const char *name = rec_errno_name((int)-result);

		if (name)
			fprintf(out, "-%s", name);
		else
			fprintf(out, "-E%" PRId64, -result);
	} else if (letter == 'x' || result > INT32_MAX || result < 0) {
		fprintf(out, "0x%" PRIx64, (uint64_t)result);
	} else {
		fprintf(out, "%" PRId64, result);
	}
}

static void write_call(FILE *out, const struct rec_call *call)
{
	const struct rec_call_desc *desc = rec_call_desc(call->nr);

	if (call->kind != REC_CALL)
		fputs(call->kind == REC_BEGIN ? "> " : "< ", out);
	fputs(call->nr == REC_NR_OTHER ? call->name : desc->name, out);
	if (call->kind != REC_END)
		for (unsigned int i = 0; desc->args[i]; i++) {
			putc(' ', out);
			if (desc->args[i] == 's')
				write_text(out, call->args[i] ? call->text : NULL);
			else
				write_value(out, desc->args[i], call->args[i]);
		}
	if (call->kind == REC_BEGIN)
		return;
	fputs(" = ", out);
	write_result(out, call, desc->result);
	for (unsigned int i = 0; i < call->nr_out; i++) {
		putc(' ', out);
		write_value(out, desc->out[i], call->out[i]);
	}
}

static void write_maps(FILE *out, const struct rec_call *call)
{
	static const char *const pieces[] = { "inside", "begins", "ends", "line", "eof" };

	fprintf(out, "maps %u %" PRIu64 " %s", call->other, call->args[0],
		pieces[call->args[1] <= REC_MAPS_EOF ? call->args[1] : 0]);
	if (call->text_bytes) {
		putc(' ', out);
		write_coded(out, call->text, call->text[call->text_bytes - 1] == ' ' ? " %" : "%");
	}
}

static void write_file_event(FILE *out, const char *name, const struct rec_call *call)
{
	fputs(name, out);
	putc(' ', out);
	write_id(out, call->args[0]);
}

void recording_write_call(FILE *out, const struct rec_call *call)
{
	fprintf(out, "%u ", call->pid);
	switch (call->kind) {
	case REC_CALL:
	case REC_BEGIN:
	case REC_END:
		write_call(out, call);
		break;
	case REC_BORN:
		fprintf(out, "born %u", call->other);
		break;
	case REC_EXITED:
		fprintf(out, "exited %" PRIu64, call->args[0]);
		break;
	case REC_KILLED:
		fprintf(out, "killed %" PRIu64 "%s", call->args[0], call->args[1] ? " core" : "");
		break;
	case REC_SIGNAL:
		fprintf(out, "signal %" PRIu64 " %" PRId64 " 0x%" PRIx64 " %u", call->args[0],
			(int64_t)call->args[1], call->args[2], call->other);
		break;
	case REC_STOPPED:
		fprintf(out, "stopped %" PRIu64, call->args[0]);
		break;
	case REC_SUPERSEDED:
		fprintf(out, "superseded %u", call->other);
		break;
	case REC_RESIZED:
		write_file_event(out, "resized", call);
		fprintf(out, " %" PRIu64, call->args[1]);
		break;
	case REC_REMOVED:
		write_file_event(out, "removed", call);
		break;
	case REC_RENAMED:
		write_file_event(out, "renamed", call);
		putc(' ', out);
		write_text(out, call->text);
		break;
	case REC_RECEIVED:
		fprintf(out, "received %" PRIu64 " %" PRIu64 " ", call->args[0], call->args[1]);
		write_id(out, call->args[2]);
		break;
	case REC_MAPS_READ:
		write_maps(out, call);
		break;
	case REC_VIEW_READ:
		fprintf(out, "view %u ", call->other);
		write_text(out, call->text);
		fprintf(out, " %" PRIu64, call->args[0]);
		break;
	}
	putc('\n', out);
}

void recording_write_end(FILE *out, uint64_t nr_lines)
{
	fprintf(out, "end %" PRIu64 "\n", nr_lines);
}
