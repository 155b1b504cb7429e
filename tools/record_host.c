/* SPDX-License-Identifier: MIT */
/*
 * record_host.c - measures what a replay needs to know about the host and its files
 *
 * Placement is measured and not derived from the kernel's version: distribution kernels carry
 * later changes, and whether large file mappings are put on huge page boundaries depends on
 * the file system. Each probe maps an odd-sized block first, so that a boundary hit by chance
 * in one round is missed in the next.
 */
#define _GNU_SOURCE
#include "record.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PROBE_ROUNDS	3
#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"

static uint64_t read_number(const char *path, uint64_t otherwise)
{
	FILE *in = fopen(path, "r");
	uint64_t value;

	if (!in)
		return otherwise;
	if (fscanf(in, "%" SCNu64, &value) != 1)
		value = otherwise;
	fclose(in);
	return value;
}

static uint64_t huge_page_bytes(void)
{
	return read_number(THP_DIR "hpage_pmd_size", 0);
}

/* ---- layout ------------------------------------------------------------------------------ */

static void *map(size_t bytes, int prot, int flags, int fd)
{
	return mmap(NULL, bytes, prot, flags | MAP_NORESERVE, fd, 0);
}

/* Moves the place of the next large mapping to an odd page; larger than any hole there is. */
static bool map_odd_block(uint64_t huge, unsigned int round)
{
	size_t bytes = 4 * huge + huge / 2 + (round + 1) * 3 * 4096;

	return map(bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1) != MAP_FAILED;
}

/* Whether mappings of @bytes land on huge page boundaries in every round. */
static bool is_aligned(uint64_t huge, size_t bytes, int prot, int flags, int fd)
{
	for (unsigned int round = 0; round < PROBE_ROUNDS; round++) {
		void *at;

		if (!map_odd_block(huge, round))
			return false;
		at = map(bytes, prot, flags, fd);
		if (at == MAP_FAILED || ((uintptr_t)at & (huge - 1)))
			return false;
	}
	return true;
}

static bool is_anon_aligned(uint64_t huge, size_t bytes)
{
	return is_aligned(huge, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static bool is_snug(uint64_t huge)
{
	char *first, *second;

	if (!map_odd_block(huge, 0))
		return false;
	first = map(2 * huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	second = map(2 * huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	return first != MAP_FAILED && second != MAP_FAILED && first - second == (long)(2 * huge);
}

static void measure_alignment(struct record_layout *layout)
{
	uint64_t huge = huge_page_bytes();

	layout->anon_align = REC_ANON_ALIGN_NONE;
	if (huge && is_anon_aligned(huge, huge + huge / 2))
		layout->anon_align = REC_ANON_ALIGN_LARGE;
	else if (huge && is_anon_aligned(huge, 2 * huge))
		layout->anon_align = REC_ANON_ALIGN_EXACT;
	layout->align_snug = layout->anon_align != REC_ANON_ALIGN_NONE && is_snug(huge);
}

static unsigned int count_auxv(void)
{
	unsigned long pair[2];
	unsigned int entries = 0;
	FILE *in = fopen("/proc/self/auxv", "r");

	if (!in)
		return 0;
	while (fread(pair, sizeof(pair), 1, in) == 1) {
		entries++;
		if (pair[0] == AT_NULL)
			break;
	}
	fclose(in);
	return entries;
}

/* This process has been executed like any other program, so it has what they begin with. */
static void read_status(struct record_layout *layout)
{
	FILE *in = fopen("/proc/self/status", "r");
	char line[128];

	while (in && fgets(line, sizeof(line), in)) {
		sscanf(line, "CapEff: %" SCNx64, &layout->capabilities);
		sscanf(line, "SigIgn: %" SCNx64, &layout->ignored_signals);
	}
	if (in)
		fclose(in);
}

/* Hints below the lowest address allowed are raised to it; nothing of a program lies there. */
static uint64_t measure_min_addr(void)
{
	void *at = mmap((void *)4096, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t low = (uintptr_t)at;

	if (at == MAP_FAILED || low > UINT64_C(0x400000))
		return read_number("/proc/sys/vm/mmap_min_addr", 65536);
	munmap(at, 4096);
	return low;
}

/*
 * The first thing mapped below the mmap base is the interpreter, the next one the vdso right
 * below it: the base is where the run of mappings from the vdso upwards ends. The highest
 * mapping of all may be the program itself, when the stack is unlimited.
 */
bool record_measure_layout(struct record_layout *layout)
{
	FILE *in = fopen("/proc/self/maps", "r");
	const char *platform = (const char *)getauxval(AT_PLATFORM);
	char line[512];

	memset(layout, 0, sizeof(*layout));
	if (!in)
		return false;
	while (fgets(line, sizeof(line), in)) {
		uint64_t start, end;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			continue;
		if (strstr(line, "[vvar"))
			layout->vvar_bytes += end - start;
		if (strstr(line, "[vvar_vclock]"))
			layout->vvar_clock_bytes = end - start;
		if (strstr(line, "[vsyscall]"))
			layout->vsyscall = strchr(line, ' ')[1] == 'r' ? REC_VSYSCALL_READABLE :
					   REC_VSYSCALL_XONLY;
		if (strstr(line, "[vdso]"))
			layout->vdso_bytes = end - start;
		if (strstr(line, "[vdso]") || start == layout->mmap_base)
			layout->mmap_base = end;
		if (strstr(line, "[stack]"))
			layout->stack_top = end;
	}
	fclose(in);
	layout->platform_bytes = platform ? (unsigned int)strlen(platform) + 1 : 0;
	layout->auxv_entries = count_auxv();
	read_status(layout);
	layout->mmap_min_addr = measure_min_addr();
	measure_alignment(layout);
	if (read_number("/proc/sys/vm/legacy_va_layout", 0) ||
	    (personality(0xffffffff) & ADDR_COMPAT_LAYOUT))
		layout->mmap_base = (layout->stack_top / 3 + 4095) & ~UINT64_C(4095);
	return layout->stack_top && layout->mmap_base;
}

/* ---- facts ------------------------------------------------------------------------------- */

/* The bracketed word of a sysfs switch. */
static void read_choice(const char *path, char *word, size_t bytes)
{
	char line[128] = "";
	FILE *in = fopen(path, "r");
	char *open, *close;

	word[0] = '\0';
	if (!in)
		return;
	if (fgets(line, sizeof(line), in)) {
		open = strchr(line, '[');
		close = open ? strchr(open, ']') : NULL;
		if (close && (size_t)(close - open) < bytes) {
			*close = '\0';
			strcpy(word, open + 1);
		}
	}
	fclose(in);
}

static enum rec_thp read_thp(const char *path)
{
	char word[16];

	read_choice(path, word, sizeof(word));
	if (!word[0])
		return REC_THP_NONE;
	if (strcmp(word, "always") == 0 || strcmp(word, "force") == 0)
		return REC_THP_ALWAYS;
	if (strcmp(word, "never") == 0 || strcmp(word, "deny") == 0)
		return REC_THP_NEVER;
	return REC_THP_MADVISE;
}

static void read_memory(struct rec_info *info)
{
	FILE *in = fopen("/proc/meminfo", "r");
	char line[128];
	uint64_t kilobytes;

	while (in && fgets(line, sizeof(line), in)) {
		if (sscanf(line, "MemTotal: %" SCNu64, &kilobytes) == 1)
			info->memory_bytes = kilobytes * 1024;
		else if (sscanf(line, "SwapTotal: %" SCNu64, &kilobytes) == 1)
			info->swap_bytes = kilobytes * 1024;
	}
	if (in)
		fclose(in);
}

static void read_kernel(struct rec_info *info)
{
	struct utsname name;

	if (uname(&name) != 0)
		return;
	sscanf(name.release, "%u.%u.%u", &info->kernel[0], &info->kernel[1], &info->kernel[2]);
	snprintf(info->machine, sizeof(info->machine), "%.15s", name.machine);
}

static void read_limits(struct rec_info *info)
{
	for (int i = 0; i < REC_NR_LIMITS; i++) {
		struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

		getrlimit(i, &limit);
		info->limits[i].cur = limit.rlim_cur == RLIM_INFINITY ? REC_UNLIMITED :
				      limit.rlim_cur;
		info->limits[i].max = limit.rlim_max == RLIM_INFINITY ? REC_UNLIMITED :
				      limit.rlim_max;
	}
}

void record_fill_info(struct rec_info *info, const struct record_layout *layout)
{
	memset(info, 0, sizeof(*info));
	info->version = REC_FORMAT_VERSION;
	read_kernel(info);
	read_memory(info);
	read_limits(info);
	info->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	info->huge_size = huge_page_bytes();
	info->nr_cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	info->overcommit = (unsigned int)read_number("/proc/sys/vm/overcommit_memory", 0);
	info->overcommit_ratio = (unsigned int)read_number("/proc/sys/vm/overcommit_ratio", 50);
	info->overcommit_kbytes = read_number("/proc/sys/vm/overcommit_kbytes", 0);
	info->max_map_count = read_number("/proc/sys/vm/max_map_count", 65530);
	info->mmap_min_addr = layout->mmap_min_addr;
	info->legacy_va_layout = read_number("/proc/sys/vm/legacy_va_layout", 0) != 0;
	info->thp = read_thp(THP_DIR "enabled");
	info->thp_shmem = read_thp(THP_DIR "shmem_enabled");
	info->vvar_bytes = layout->vvar_bytes;
	info->vdso_bytes = layout->vdso_bytes;
	info->vvar_clock_bytes = layout->vvar_clock_bytes;
	info->vsyscall = layout->vsyscall;
	info->capabilities = layout->capabilities;
	info->ignored_signals = layout->ignored_signals;
	info->auxv_entries = layout->auxv_entries;
	info->platform_bytes = layout->platform_bytes;
	info->personality = (unsigned int)personality(0xffffffff) | ADDR_NO_RANDOMIZE;
	info->stack_top = layout->stack_top;
	info->mmap_base = layout->mmap_base;
	info->anon_align = layout->anon_align;
	info->align_snug = layout->align_snug;
}

static int by_number(const void *left, const void *right)
{
	return *(const int32_t *)left < *(const int32_t *)right ? -1 : 1;
}

unsigned int record_born_fds(int32_t *fds, char **labels, unsigned int max)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	unsigned int nr = 0;

	while (dir && nr < max && (entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name), flags = fcntl(fd, F_GETFD);

		if (entry->d_name[0] != '.' && flags >= 0 && !(flags & FD_CLOEXEC))
			fds[nr++] = fd;
	}
	if (dir)
		closedir(dir);
	qsort(fds, nr, sizeof(*fds), by_number);
	for (unsigned int i = 0; i < nr; i++) {
		char path[64], target[PATH_MAX];
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%" PRId32, fds[i]);
		length = readlink(path, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = '\0';
		labels[i] = record_checked(strdup(target));
	}
	return nr;
}

/* ---- files ------------------------------------------------------------------------------- */

static bool is_pseudo_file(int fd)
{
	static const unsigned long magics[] = {
		0x9fa0,		/* proc */
		0x62656572,	/* sysfs */
		0x64626720,	/* debugfs */
		0x74726163,	/* tracefs */
		0x27e0eb,	/* cgroup */
		0x63677270,	/* cgroup2 */
		0x73636673,	/* securityfs */
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return false;
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if ((unsigned long)fs.f_type == magics[i])
			return true;
	return false;
}

static enum rec_file_kind kind_of(int fd, const struct stat *st, const char *label)
{
	if (strncmp(label, "anon_inode:", 11) == 0)
		return REC_FILE_ANON;
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return is_pseudo_file(fd) ? REC_FILE_PROC : REC_FILE_REGULAR;
	case S_IFDIR:
		return REC_FILE_DIRECTORY;
	case S_IFCHR:
		return st->st_rdev == makedev(1, 5) ? REC_FILE_ZERO : REC_FILE_CHARDEV;
	case S_IFBLK:
		return REC_FILE_BLOCKDEV;
	case S_IFIFO:
		return REC_FILE_FIFO;
	case S_IFSOCK:
		return REC_FILE_SOCKET;
	default:
		return REC_FILE_UNKNOWN;
	}
}

/* As is_aligned(), but leaves no mapping behind. */
static uint64_t probe_alignment(int fd)
{
	uint64_t huge = huge_page_bytes(), align = (uint64_t)sysconf(_SC_PAGESIZE);
	const int flags = MAP_PRIVATE;
	void *blocks[2 * PROBE_ROUNDS];
	size_t sizes[2 * PROBE_ROUNDS];
	bool aligned = huge != 0;

	memset(sizes, 0, sizeof(sizes));
	for (unsigned int round = 0; huge && round < PROBE_ROUNDS; round++) {
		sizes[2 * round] = 4 * huge + huge / 2 + (round + 1) * 3 * 4096;
		blocks[2 * round] = map(sizes[2 * round], PROT_NONE, flags | MAP_ANONYMOUS, -1);
		sizes[2 * round + 1] = huge + huge / 2;
		blocks[2 * round + 1] = map(sizes[2 * round + 1], PROT_READ, flags, fd);
		if (blocks[2 * round + 1] == MAP_FAILED ||
		    ((uintptr_t)blocks[2 * round + 1] & (huge - 1)))
			aligned = false;
	}
	for (unsigned int i = 0; i < 2 * PROBE_ROUNDS; i++)
		if (sizes[i] && blocks[i] != MAP_FAILED)
			munmap(blocks[i], sizes[i]);
	return aligned ? huge : align;
}

bool record_probe_file(struct record_file *file, const char *path)
{
	struct stat st;
	int fd = -1;

	if (stat(path, &st) != 0)
		return false;
	if (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 5)))
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->file.kind != REC_FILE_MEMFD)
		file->file.kind = kind_of(fd, &st, file->label);
	file->file.mode = st.st_mode & 07777;
	if (S_ISREG(st.st_mode) && file->file.kind != REC_FILE_PROC)
		file->file.size_bytes = (uint64_t)st.st_size;
	if (fd >= 0) {
		file->file.align_bytes = probe_alignment(fd);
		close(fd);
	}
	return true;
}

static bool read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
	return pread(fd, to, bytes, (off_t)offset) == (ssize_t)bytes;
}

static bool take_header(struct record_file *file, int fd, const Elf64_Phdr *header, char *interp,
			size_t interp_bytes)
{
	struct rec_elf *elf = &file->elf;

	if (header->p_type == PT_GNU_STACK) {
		elf->gnu_stack = (int)(header->p_flags & 7);
	} else if (header->p_type == PT_INTERP) {
		if (!header->p_filesz || header->p_filesz > interp_bytes ||
		    !read_at(fd, interp, header->p_filesz, header->p_offset))
			return false;
		interp[header->p_filesz - 1] = '\0';
	} else if (header->p_type == PT_LOAD) {
		if (elf->nr_segments == REC_SEGMENTS_MAX)
			return false;
		file->segments[elf->nr_segments++] = (struct rec_segment){
			.offset = header->p_offset, .vaddr = header->p_vaddr,
			.file_bytes = header->p_filesz, .mem_bytes = header->p_memsz,
			.flags = header->p_flags & 7, .align = header->p_align,
		};
	}
	return true;
}

enum record_elf_state record_probe_elf(struct record_file *file, int fd, char *interp,
				       size_t interp_bytes)
{
	Elf64_Ehdr head;
	Elf64_Phdr header;

	interp[0] = '\0';
	if (!read_at(fd, &head, sizeof(head), 0) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return RECORD_ELF_NONE;
	if (head.e_ident[EI_CLASS] != ELFCLASS64)
		return RECORD_ELF_32BIT;
	if ((head.e_type != ET_EXEC && head.e_type != ET_DYN) ||
	    head.e_phentsize != sizeof(header))
		return RECORD_ELF_BAD;
	if (!file->segments)
		file->segments = calloc(REC_SEGMENTS_MAX, sizeof(*file->segments));
	if (!file->segments)
		return RECORD_ELF_BAD;
	memset(&file->elf, 0, sizeof(file->elf));
	file->elf.gnu_stack = -1;
	for (unsigned int i = 0; i < head.e_phnum; i++)
		if (!read_at(fd, &header, sizeof(header), head.e_phoff + i * sizeof(header)) ||
		    !take_header(file, fd, &header, interp, interp_bytes))
			return RECORD_ELF_BAD;
	file->elf.type = head.e_type;
	file->elf.entry = head.e_entry;
	file->elf.segments = file->segments;
	file->file.elf = &file->elf;
	return RECORD_ELF_OK;
}
