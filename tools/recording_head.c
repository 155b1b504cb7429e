/* SPDX-License-Identifier: MIT */
/*
 * recording_head.c - reads the head of a recording: facts, limits, files, program headers
 *
 * Facts come in any order but each exactly once; files count up, and a file's program headers
 * follow it. At `calls` everything must be there.
 */
#include "recording_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC	"karc-recording "

/* ---- the head: facts --------------------------------------------------------------------- */

static const char *const thp_names[] = { "none", "never", "madvise", "always" };
static const char *const anon_align_names[] = { "none", "large", "exact" };
static const char *const vsyscall_names[] = { "none", "xonly", "readable" };
static const char *const fit_names[] = { "loose", "snug" };

static int parse_kernel(struct rec_words *words, struct rec_info *info)
{
	size_t length;
	const char *word = rec_next_word(words, &length);
	const char *at = word;

	for (unsigned int i = 0; i < 3; i++) {
		size_t digits = strcspn(at, ". ");
		uint64_t part;

		if (!rec_parse_digits(at, digits, 10, &part) || part > 65535 ||
		    at[digits] != (i < 2 ? '.' : word[length]))
			return rec_bad_word(words, word, length, "a kernel version like 6.1.0");
		info->kernel[i] = (unsigned int)part;
		at += digits + 1;
	}
	return 1;
}

static int parse_machine(struct rec_words *words, struct rec_info *info)
{
	size_t length;
	const char *word = rec_next_word(words, &length);

	if (!length || length >= sizeof(info->machine))
		return rec_bad_word(words, word, length, "a machine name");
	memcpy(info->machine, word, length);
	return 1;
}

static int parse_page(struct rec_words *words, struct rec_info *info)
{
	if (rec_take_u64(words, 65536, "a page size", &info->page_size) < 0)
		return -1;
	if (info->page_size < 4096 || (info->page_size & (info->page_size - 1)))
		return rec_fail(words->rec, "%" PRIu64 " is no page size", info->page_size);
	return 1;
}

static int parse_huge(struct rec_words *words, struct rec_info *info)
{
	if (rec_take_u64(words, 1 << 30, "a huge page size", &info->huge_size) < 0)
		return -1;
	if (info->huge_size & (info->huge_size - 1))
		return rec_fail(words->rec, "%" PRIu64 " is no huge page size", info->huge_size);
	return 1;
}

static int parse_memory(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, REC_SIZE_MAX, "a memory size", &info->memory_bytes);
}

static int parse_swap(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, REC_SIZE_MAX, "a swap size", &info->swap_bytes);
}

static int parse_cpus(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u32(words, 8192, "a number of CPUs", &info->nr_cpus);
}

static int parse_overcommit(struct rec_words *words, struct rec_info *info)
{
	if (rec_take_u32(words, 2, "an overcommit mode", &info->overcommit) < 0 ||
	    rec_take_u32(words, 1000000, "an overcommit ratio", &info->overcommit_ratio) < 0)
		return -1;
	return rec_take_u64(words, REC_SIZE_MAX, "overcommit kilobytes", &info->overcommit_kbytes);
}

static int parse_map_max(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, INT32_MAX, "a number of mappings", &info->max_map_count);
}

static int parse_map_min(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, REC_SIZE_MAX, "an address", &info->mmap_min_addr);
}

static int parse_legacy(struct rec_words *words, struct rec_info *info)
{
	uint32_t flag;

	if (rec_take_u32(words, 1, "0 or 1", &flag) < 0)
		return -1;
	info->legacy_va_layout = flag;
	return 1;
}

static int parse_thp_name(struct rec_words *words, enum rec_thp *thp)
{
	unsigned int index;

	if (rec_take_name(words, thp_names, 4, "none, never, madvise or always", &index) < 0)
		return -1;
	*thp = (enum rec_thp)index;
	return 1;
}

static int parse_vvar_clock(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, 1 << 20, "a vvar_vclock size", &info->vvar_clock_bytes);
}

static int parse_vsyscall(struct rec_words *words, struct rec_info *info)
{
	unsigned int index;

	if (rec_take_name(words, vsyscall_names, 3, "none, xonly or readable", &index) < 0)
		return -1;
	info->vsyscall = (enum rec_vsyscall)index;
	return 1;
}

static int parse_capabilities(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, UINT64_MAX, "a set of capabilities", &info->capabilities);
}

static int parse_ignored(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, UINT64_MAX, "a set of signals", &info->ignored_signals);
}

static int parse_nr_born_fds(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u32(words, REC_BORN_FDS_MAX, "a number of descriptors",
			    &info->nr_born_fds);
}

static int parse_thp(struct rec_words *words, struct rec_info *info)
{
	return parse_thp_name(words, &info->thp);
}

static int parse_thp_shmem(struct rec_words *words, struct rec_info *info)
{
	return parse_thp_name(words, &info->thp_shmem);
}

static int parse_vvar(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, 1 << 20, "the size of vvar", &info->vvar_bytes);
}

static int parse_vdso(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, 1 << 20, "the size of vdso", &info->vdso_bytes);
}

static int parse_auxv(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u32(words, 64, "a number of auxv entries", &info->auxv_entries);
}

static int parse_platform(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u32(words, 64, "the size of the platform name", &info->platform_bytes);
}

static int parse_personality(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, UINT32_MAX, "a personality", &info->personality);
}

static int parse_stack_top(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, UINT64_C(1) << 57, "an address", &info->stack_top);
}

static int parse_mmap_base(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u64(words, UINT64_C(1) << 57, "an address", &info->mmap_base);
}

static int parse_anon_align(struct rec_words *words, struct rec_info *info)
{
	unsigned int index;

	if (rec_take_name(words, anon_align_names, 3, "none, large or exact", &index) < 0)
		return -1;
	info->anon_align = (enum rec_anon_align)index;
	return 1;
}

static int parse_align_fit(struct rec_words *words, struct rec_info *info)
{
	unsigned int index;

	if (rec_take_name(words, fit_names, 2, "loose or snug", &index) < 0)
		return -1;
	info->align_snug = index;
	return 1;
}

static int parse_nr_tasks(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u32(words, REC_TASKS_MAX, "a number of tasks", &info->nr_tasks);
}

static int parse_nr_files(struct rec_words *words, struct rec_info *info)
{
	return rec_take_u32(words, REC_FILES_MAX, "a number of files", &info->nr_files);
}

static const struct fact {
	const char *key;
	int (*parse)(struct rec_words *words, struct rec_info *info);
} facts[] = {
	{ "kernel", parse_kernel }, { "machine", parse_machine }, { "page", parse_page },
	{ "huge", parse_huge }, { "memory", parse_memory }, { "swap", parse_swap },
	{ "cpus", parse_cpus }, { "overcommit", parse_overcommit }, { "map-max", parse_map_max },
	{ "map-min", parse_map_min }, { "legacy-layout", parse_legacy }, { "thp", parse_thp },
	{ "thp-shmem", parse_thp_shmem }, { "vvar", parse_vvar }, { "vdso", parse_vdso },
	{ "auxv", parse_auxv }, { "platform", parse_platform },
	{ "personality", parse_personality }, { "stack-top", parse_stack_top },
	{ "mmap-base", parse_mmap_base }, { "anon-align", parse_anon_align },
	{ "align-fit", parse_align_fit }, { "vvar-vclock", parse_vvar_clock },
	{ "vsyscall", parse_vsyscall }, { "capabilities", parse_capabilities },
	{ "ignored", parse_ignored },
	{ "tasks", parse_nr_tasks }, { "files", parse_nr_files },
	{ "fds", parse_nr_born_fds },
};

#define NR_FACTS (sizeof(facts) / sizeof(facts[0]))

static int take_limit_value(struct rec_words *words, uint64_t *value)
{
	if (strncmp(words->at, "unlimited", 9) == 0 && (words->at[9] == ' ' || !words->at[9])) {
		words->at += 9 + (words->at[9] == ' ');
		*value = REC_UNLIMITED;
		return 1;
	}
	return rec_take_u64(words, UINT64_MAX, "a limit", value);
}

static int parse_limit(struct rec_words *words)
{
	struct recording *rec = words->rec;
	size_t length;
	const char *word = rec_next_word(words, &length);

	for (unsigned int i = 0; i < REC_NR_LIMITS; i++) {
		if (!rec_same(word, length, rec_limit_name(i)))
			continue;
		if (rec->limits_seen & (1u << i))
			return rec_fail(rec, "limit %s is given twice", rec_limit_name(i));
		rec->limits_seen |= 1u << i;
		if (take_limit_value(words, &rec->info.limits[i].cur) < 0)
			return -1;
		return take_limit_value(words, &rec->info.limits[i].max);
	}
	return rec_bad_word(words, word, length, "the name of a limit");
}

/* ---- the head: files --------------------------------------------------------------------- */

static int grow_files(struct recording *rec)
{
	uint32_t max = rec->max_files ? rec->max_files * 2 : 64;
	struct rec_file_slot *files = realloc(rec->files, max * sizeof(*files));

	if (!files)
		return rec_fail(rec, "out of memory");
	rec->files = files;
	rec->max_files = max;
	return 1;
}

static int take_size(struct rec_words *words, uint64_t *size)
{
	if (words->at[0] == '?' && words->at[1] == ' ') {
		words->at += 2;
		*size = REC_SIZE_UNKNOWN;
		return 1;
	}
	return rec_take_u64(words, REC_SIZE_MAX, "a file size", size);
}

static int take_mode(struct rec_words *words, unsigned int *mode)
{
	size_t length;
	const char *word = rec_next_word(words, &length);
	uint64_t value;

	if (!rec_parse_digits(word, length, 8, &value) || value > 07777)
		return rec_bad_word(words, word, length, "a file mode");
	*mode = (unsigned int)value;
	return 1;
}

static int take_kind(struct rec_words *words, enum rec_file_kind *kind)
{
	size_t length;
	const char *word = rec_next_word(words, &length);

	for (unsigned int i = 0; i < REC_NR_FILE_KINDS; i++)
		if (rec_same(word, length, rec_file_kind_name((enum rec_file_kind)i))) {
			*kind = (enum rec_file_kind)i;
			return 1;
		}
	return rec_bad_word(words, word, length, "a kind of file");
}

static int parse_file(struct rec_words *words)
{
	struct recording *rec = words->rec;
	struct rec_file_slot slot = { .file.id = rec->nr_files + 1 };
	const char *label;
	size_t length;
	uint32_t id;

	if (rec_take_u32(words, REC_FILES_MAX, "a file number", &id) < 0)
		return -1;
	if (id != slot.file.id)
		return rec_fail(rec, "file %u where file %u belongs", id, slot.file.id);
	if (take_kind(words, &slot.file.kind) < 0 || take_mode(words, &slot.file.mode) < 0 ||
	    take_size(words, &slot.file.size_bytes) < 0 ||
	    rec_take_u64(words, 1 << 30, "an alignment", &slot.file.align_bytes) < 0)
		return -1;
	if (!slot.file.align_bytes || (slot.file.align_bytes & (slot.file.align_bytes - 1)))
		return rec_fail(rec, "%" PRIu64 " is no alignment", slot.file.align_bytes);
	label = rec_next_word(words, &length);
	if (!length)
		return rec_bad_word(words, label, length, "a label");
	if (rec_decode_text(rec, label, length) < 0)
		return -1;
	if (rec->nr_files == rec->max_files && grow_files(rec) < 0)
		return -1;
	slot.label = strdup(rec->decoded);
	if (!slot.label)
		return rec_fail(rec, "out of memory");
	rec->files[rec->nr_files++] = slot;
	return 1;
}

/* The program headers follow their file, so they belong to the last one declared. */
static struct rec_file_slot *last_file(struct rec_words *words, const char *what)
{
	struct recording *rec = words->rec;
	uint32_t id;

	if (rec_take_u32(words, REC_FILES_MAX, "a file number", &id) < 0)
		return NULL;
	if (!id || id != rec->nr_files) {
		rec_fail(rec, "%s of file %u does not follow that file", what, id);
		return NULL;
	}
	return &rec->files[id - 1];
}

static int parse_elf(struct rec_words *words)
{
	static const char *const types[] = { "exec", "dyn" };
	struct rec_file_slot *slot = last_file(words, "elf");
	size_t length;
	const char *word;
	unsigned int type;
	int64_t stack;

	if (!slot)
		return -1;
	if (slot->elf.type || slot->is_script)
		return rec_fail(words->rec, "second elf or script of file %u", slot->file.id);
	if (rec_take_name(words, types, 2, "exec or dyn", &type) < 0 ||
	    rec_take_u64(words, REC_SIZE_MAX, "an entry address", &slot->elf.entry) < 0)
		return -1;
	word = rec_next_word(words, &length);
	if (!rec_parse_signed(word, length, &stack) || stack < -1 || stack > 7)
		return rec_bad_word(words, word, length, "stack flags (-1 .. 7)");
	slot->elf.gnu_stack = (int)stack;
	if (rec_take_file_id(words, REC_FILES_MAX, &slot->elf.interp) < 0)
		return -1;
	slot->elf.type = type + 2;
	return 1;
}

static int parse_script(struct rec_words *words)
{
	struct rec_file_slot *slot = last_file(words, "script");

	if (!slot)
		return -1;
	if (slot->elf.type || slot->is_script)
		return rec_fail(words->rec, "second elf or script of file %u", slot->file.id);
	slot->is_script = true;
	if (rec_take_file_id(words, REC_FILES_MAX, &slot->script.interp) < 0 ||
	    rec_take_u32(words, 4096, "bytes of a name", &slot->script.name_bytes) < 0)
		return -1;
	return rec_take_u32(words, 4096, "bytes of an argument", &slot->script.arg_bytes);
}

static int check_segment(struct recording *rec, const struct rec_segment *seg)
{
	if (seg->file_bytes > seg->mem_bytes)
		return rec_fail(rec, "a segment with more bytes in the file than in memory");
	if (seg->vaddr + seg->mem_bytes > REC_SIZE_MAX)
		return rec_fail(rec, "a segment that ends beyond user space");
	if (seg->align & (seg->align - 1))
		return rec_fail(rec, "0x%" PRIx64 " is no alignment", seg->align);
	return 1;
}

static int parse_load(struct rec_words *words)
{
	struct rec_file_slot *slot = last_file(words, "load");
	struct recording *rec = words->rec;
	struct rec_segment seg, *segments;

	if (!slot)
		return -1;
	if (!slot->elf.type)
		return rec_fail(rec, "load before elf of file %u", slot->file.id);
	if (slot->elf.nr_segments == REC_SEGMENTS_MAX ||
	    rec->nr_segments == REC_SEGMENTS_TOTAL_MAX)
		return rec_fail(rec, "too many program headers (limit %d of a file)",
				REC_SEGMENTS_MAX);
	if (rec_take_u64(words, REC_SIZE_MAX, "an offset", &seg.offset) < 0 ||
	    rec_take_u64(words, REC_SIZE_MAX, "an address", &seg.vaddr) < 0 ||
	    rec_take_u64(words, REC_SIZE_MAX, "a size", &seg.file_bytes) < 0 ||
	    rec_take_u64(words, REC_SIZE_MAX, "a size", &seg.mem_bytes) < 0 ||
	    rec_take_u32(words, 7, "segment flags", &seg.flags) < 0 ||
	    rec_take_u64(words, 1 << 30, "an alignment", &seg.align) < 0 ||
	    check_segment(rec, &seg) < 0)
		return -1;
	segments = realloc(slot->segments, (slot->elf.nr_segments + 1) * sizeof(seg));
	if (!segments)
		return rec_fail(rec, "out of memory");
	slot->segments = segments;
	segments[slot->elf.nr_segments++] = seg;
	rec->nr_segments++;
	return 1;
}

/* ---- the head: descriptors --------------------------------------------------------------- */

static int parse_born_fd(struct rec_words *words)
{
	struct recording *rec = words->rec;
	struct rec_born_fd born, *fds;
	uint32_t fd;

	if (rec_take_u32(words, INT32_MAX, "a descriptor", &fd) < 0 ||
	    rec_take_file_id(words, REC_FILES_MAX, &born.file) < 0)
		return -1;
	born.fd = (int32_t)fd;
	if (rec->nr_born_fds && rec->born_fds[rec->nr_born_fds - 1].fd >= born.fd)
		return rec_fail(rec, "descriptor %u does not follow the one before", fd);
	if (rec->nr_born_fds == REC_BORN_FDS_MAX)
		return rec_fail(rec, "more than %d descriptors", REC_BORN_FDS_MAX);
	fds = realloc(rec->born_fds, (rec->nr_born_fds + 1) * sizeof(*fds));
	if (!fds)
		return rec_fail(rec, "out of memory");
	rec->born_fds = fds;
	fds[rec->nr_born_fds++] = born;
	return 1;
}

/* ---- the head: whole --------------------------------------------------------------------- */

static int check_pointers(struct recording *rec, const struct rec_file *file)
{
	const struct rec_file *interp;

	if (file->script && file->script->interp > rec->nr_files)
		return rec_fail(rec, "interpreter @%u of file %u is not declared",
				file->script->interp, file->id);
	if (!file->elf || !file->elf->interp)
		return 1;
	interp = recording_file(rec, file->elf->interp);
	if (!interp || !interp->elf)
		return rec_fail(rec, "interpreter @%u of file %u is no declared program",
				file->elf->interp, file->id);
	return 1;
}

/* At `calls`: nothing is missing, and what points somewhere points at something. */
static int check_head(struct recording *rec)
{
	for (unsigned int i = 0; i < NR_FACTS; i++)
		if (!(rec->facts_seen & (UINT64_C(1) << i)))
			return rec_fail(rec, "the head does not say \"%s\"", facts[i].key);
	for (unsigned int i = 0; i < REC_NR_LIMITS; i++)
		if (!(rec->limits_seen & (1u << i)))
			return rec_fail(rec, "the head does not give limit %s", rec_limit_name(i));
	if (rec->info.vvar_clock_bytes > rec->info.vvar_bytes)
		return rec_fail(rec, "vvar_vclock is larger than vvar as a whole");
	if (rec->nr_files != rec->info.nr_files)
		return rec_fail(rec, "%u files declared, %u announced", rec->nr_files,
				rec->info.nr_files);
	if (rec->nr_born_fds != rec->info.nr_born_fds)
		return rec_fail(rec, "%u descriptors declared, %u announced", rec->nr_born_fds,
				rec->info.nr_born_fds);
	for (uint32_t i = 0; i < rec->nr_born_fds; i++)
		if (rec->born_fds[i].file > rec->nr_files)
			return rec_fail(rec, "descriptor %d is of file @%u, which is not declared",
					rec->born_fds[i].fd, rec->born_fds[i].file);
	rec->info.born_fds = rec->born_fds;
	if (!rec->info.nr_tasks)
		return rec_fail(rec, "a recording without tasks");
	for (uint32_t i = 0; i < rec->nr_files; i++) {
		struct rec_file_slot *slot = &rec->files[i];

		slot->file.label = slot->label;
		slot->elf.segments = slot->segments;
		slot->file.elf = slot->elf.type ? &slot->elf : NULL;
		slot->file.script = slot->is_script ? &slot->script : NULL;
	}
	for (uint32_t i = 0; i < rec->nr_files; i++)
		if (check_pointers(rec, &rec->files[i].file) < 0)
			return -1;
	return 1;
}

static int parse_fact(struct rec_words *words, const char *key, size_t length)
{
	struct recording *rec = words->rec;

	for (unsigned int i = 0; i < NR_FACTS; i++) {
		if (!rec_same(key, length, facts[i].key))
			continue;
		if (rec->facts_seen & (UINT64_C(1) << i))
			return rec_fail(rec, "\"%s\" is given twice", facts[i].key);
		rec->facts_seen |= UINT64_C(1) << i;
		return facts[i].parse(words, &rec->info);
	}
	return rec_bad_word(words, key, length, "a line of the head");
}

static int parse_head_line(struct rec_words *words)
{
	size_t length;
	const char *key = rec_next_word(words, &length);
	int ok;

	if (rec_same(key, length, "limit"))
		ok = parse_limit(words);
	else if (rec_same(key, length, "file"))
		ok = parse_file(words);
	else if (rec_same(key, length, "elf"))
		ok = parse_elf(words);
	else if (rec_same(key, length, "load"))
		ok = parse_load(words);
	else if (rec_same(key, length, "script"))
		ok = parse_script(words);
	else if (rec_same(key, length, "fd"))
		ok = parse_born_fd(words);
	else
		ok = parse_fact(words, key, length);
	return ok < 0 ? -1 : rec_take_end(words);
}

static int parse_magic(struct recording *rec)
{
	struct rec_words words = { rec, rec->text + strlen(MAGIC) };
	uint64_t version;

	if (strncmp(rec->text, MAGIC, strlen(MAGIC)) != 0)
		return rec_fail(rec, "not a recording: it does not begin with \"karc-recording\"");
	if (rec_take_u64(&words, UINT64_MAX, "a format version", &version) < 0 ||
	    rec_take_end(&words) < 0)
		return -1;
	if (version != REC_FORMAT_VERSION)
		return rec_fail(rec, "format version %" PRIu64 ", this program reads version %d",
				version, REC_FORMAT_VERSION);
	rec->info.version = (unsigned int)version;
	return 1;
}

int rec_parse_head(struct recording *rec)
{
	int got = rec_next_raw_line(rec);

	if (got == 0)
		return rec_fail(rec, "not a recording: the file is empty");
	if (got < 0) {
		if (rec->line == 1 && strncmp(rec->pos, MAGIC, strlen(MAGIC)) != 0)
			rec_fail(rec, "not a recording: the first line is no text line");
		return -1;
	}
	if (parse_magic(rec) < 0)
		return -1;
	while ((got = rec_next_line(rec)) > 0) {
		struct rec_words words = { rec, rec->text };

		if (strcmp(rec->text, "calls") == 0)
			return check_head(rec);
		if (parse_head_line(&words) < 0)
			return -1;
	}
	return got < 0 ? -1 : rec_fail(rec, "the recording is truncated: its head does not end");
}

