/* SPDX-License-Identifier: MIT */
/*
 * recording_write.c - lines as the reader in recording.c wants them
 *
 * Both sides go by the letters in REC_CALLS(), so a call is written and read in one way.
 */
#include "recording.h"

#include <inttypes.h>

static const char *const thp_names[] = { "none", "never", "madvise", "always" };
static const char *const anon_align_names[] = { "none", "large", "exact" };

static void write_limit(FILE *out, uint64_t value)
{
	if (value == REC_UNLIMITED)
		fputs(" unlimited", out);
	else
		fprintf(out, " %" PRIu64, value);
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
	fprintf(out, "vdso %" PRIu64 "\n", info->vdso_bytes);
	fprintf(out, "auxv %u\n", info->auxv_entries);
	fprintf(out, "platform %u\n", info->platform_bytes);
	fprintf(out, "personality 0x%" PRIx64 "\n", info->personality);
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
}

/* Blanks, control characters, % and bytes beyond ASCII as %XX: a label is one word. */
static void write_label(FILE *out, const char *label)
{
	if (!*label)
		putc('-', out);
	for (; *label; label++) {
		unsigned char c = (unsigned char)*label;

		if (c <= ' ' || c >= 0x7f || c == '%')
			fprintf(out, "%%%02X", c);
		else
			putc(c, out);
	}
}

static void write_id(FILE *out, uint64_t id)
{
	if (id)
		fprintf(out, "@%" PRIu64, id);
	else
		fputs("@-", out);
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
	write_label(out, file->label);
	putc('\n', out);
	if (file->elf)
		write_elf(out, file->id, file->elf);
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
		fprintf(out, "signal %" PRIu64 " %" PRId64 " 0x%" PRIx64, call->args[0],
			(int64_t)call->args[1], call->args[2]);
		break;
	case REC_STOPPED:
		fprintf(out, "stopped %" PRIu64, call->args[0]);
		break;
	case REC_SUPERSEDED:
		fprintf(out, "superseded %u", call->other);
		break;
	case REC_RESIZED:
		fputs("resized ", out);
		write_id(out, call->args[0]);
		fprintf(out, " %" PRIu64, call->args[1]);
		break;
	case REC_MAPS_READ:
		fprintf(out, "readmaps %" PRIu64, call->args[0]);
		break;
	}
	putc('\n', out);
}

void recording_write_end(FILE *out, uint64_t nr_lines)
{
	fprintf(out, "end %" PRIu64 "\n", nr_lines);
}
