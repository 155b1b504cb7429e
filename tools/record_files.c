/* SPDX-License-Identifier: MIT */
/*
 * record_files.c - the files a recorded program opens, maps and executes
 *
 * Known by path and inode; measured when first mapped or executed. All this runs beside the
 * program, a few lines behind it, so a file may be gone or replaced: then its facts stay
 * unknown rather than wrong.
 */
#define _GNU_SOURCE
#include "record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NR_HASH		(sizeof(((struct record_files *)0)->hash) / sizeof(uint32_t))
#define LABEL_MAX	1000	/* the reader takes 1024 */
#define SCRIPT_DEPTH	5	/* interpreters that are scripts themselves: the kernel's limit */
#define SCRIPT_LINE	256

void *record_checked(void *memory)
{
	if (!memory) {
		fputs("karc record: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

static void free_file(struct record_file *file)
{
	if (!file)
		return;
	free(file->segments);
	free(file->label);
	free(file->first_label);
	free(file);
}

void record_files_free(struct record_files *files)
{
	for (uint32_t i = 0; i < files->nr; i++)
		free_file(files->files[i]);
	free(files->files);
}

struct record_file *record_file_get(struct record_files *files, uint64_t id)
{
	return id && id <= files->nr ? files->files[id - 1] : NULL;
}

static uint32_t label_slot(const char *label)
{
	uint32_t hash = 5381;

	while (*label)
		hash = hash * 33 + (unsigned char)*label++;
	return (hash ^ (hash >> 12)) & (NR_HASH - 1);
}

/* Of a longer one the end. */
static char *copy_label(const char *label)
{
	size_t length = strlen(label);

	if (length > LABEL_MAX)
		label += length - LABEL_MAX;
	return record_checked(strdup(length ? label : "?"));
}

uint32_t record_file_new(struct record_files *files, const char *label)
{
	struct record_file *file = record_checked(calloc(1, sizeof(*file)));
	uint32_t slot;

	if (files->nr == files->max) {
		files->max = files->max ? files->max * 2 : 256;
		files->files = record_checked(realloc(files->files,
						      files->max * sizeof(*files->files)));
	}
	files->files[files->nr++] = file;
	file->label = copy_label(label);
	slot = label_slot(file->label);
	file->file.id = files->nr;
	file->file.size_bytes = REC_SIZE_UNKNOWN;
	file->size_now = REC_SIZE_UNKNOWN;
	file->size_followed = REC_SIZE_UNKNOWN;
	file->file.align_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	file->next = files->hash[slot];
	files->hash[slot] = file->file.id;
	return file->file.id;
}

uint32_t record_file_by_path(struct record_files *files, const char *label)
{
	struct record_file *file = NULL;
	struct stat st;
	bool there = label[0] == '/' && stat(label, &st) == 0;
	uint32_t id;

	for (id = files->hash[label_slot(label)]; id; id = file->next) {
		file = files->files[id - 1];
		if (file->file.kind == REC_FILE_MEMFD || strcmp(file->label, label) != 0)
			continue;
		if (!there || !file->has_inode ||
		    (file->dev == st.st_dev && file->ino == st.st_ino))
			break;
	}
	if (!id)
		id = record_file_new(files, label);
	file = files->files[id - 1];
	if (there && !file->has_inode) {
		file->dev = st.st_dev;
		file->ino = st.st_ino;
		file->has_inode = true;
	}
	if (there && S_ISREG(st.st_mode) && !file->changed)
		file->size_followed = (uint64_t)st.st_size;
	return id;
}

/* Same file still? The path may name another one by now. */
static bool is_same_inode(const struct record_file *file, const struct stat *st)
{
	return !file->has_inode || (st->st_dev == file->dev && st->st_ino == file->ino);
}

/* The state of @file now, by its path or else by a descriptor of the program, which may be gone. */
static const char *find_path(const struct record_file *file, int host_pid, int64_t fd,
			     char *by_fd, size_t bytes, struct stat *st)
{
	if (file->label[0] == '/' && stat(file->label, st) == 0 && is_same_inode(file, st))
		return file->label;
	snprintf(by_fd, bytes, "/proc/%d/fd/%" PRId64, host_pid, fd);
	return fd >= 0 && stat(by_fd, st) == 0 && is_same_inode(file, st) ? by_fd : NULL;
}

void record_file_note_inode(struct record_file *file, int host_pid, int64_t fd)
{
	char by_fd[64];
	struct stat st;

	snprintf(by_fd, sizeof(by_fd), "/proc/%d/fd/%" PRId64, host_pid, fd);
	if (stat(by_fd, &st) != 0)
		return;
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	file->has_inode = true;
}

static void unhash(struct record_files *files, uint32_t id)
{
	const struct record_file *file = files->files[id - 1];
	uint32_t *link = &files->hash[label_slot(file->label)];

	while (*link != id)
		link = &files->files[*link - 1]->next;
	*link = file->next;
}

void record_file_hold(struct record_files *files, uint32_t id)
{
	struct record_file *file = record_file_get(files, id);

	if (file)
		file->nr_fds++;
}

void record_file_drop(struct record_files *files, uint32_t id)
{
	struct record_file *file = record_file_get(files, id);

	if (!file || --file->nr_fds || file->used || file->kept)
		return;
	unhash(files, id);
	free_file(file);
	files->files[id - 1] = NULL;
}

uint32_t record_file_by_inode(struct record_files *files, int host_pid, int64_t fd)
{
	struct record_file key = { .has_inode = false };

	record_file_note_inode(&key, host_pid, fd);
	for (uint32_t i = files->nr; key.has_inode && i; i--) {
		const struct record_file *file = files->files[i - 1];

		if (file && file->file.kind == REC_FILE_MEMFD && file->has_inode &&
		    file->dev == key.dev && file->ino == key.ino)
			return i;
	}
	return 0;
}

uint32_t record_file_find(const struct record_files *files, const char *label)
{
	uint32_t id = files->hash[label_slot(label)];

	while (id && strcmp(files->files[id - 1]->label, label) != 0)
		id = files->files[id - 1]->next;
	return id;
}

void record_file_rename(struct record_files *files, uint32_t id, const char *label)
{
	struct record_file *file = files->files[id - 1];
	uint32_t *link;

	unhash(files, id);
	free(file->label);
	file->label = copy_label(label);
	link = &files->hash[label_slot(file->label)];
	file->next = *link;
	*link = id;
}

/* At the first mapping: what the head will say. A size that calls gave it before must agree. */
static enum record_size measure_first(struct record_file *file, const char *path)
{
	uint64_t told = file->size_now;

	file->probed = true;
	if (path)
		record_probe_file(file, path);
	if (file->changed && file->size_followed != REC_SIZE_UNKNOWN)
		file->file.size_bytes = file->size_followed;
	else if (file->file.size_bytes == REC_SIZE_UNKNOWN)
		file->file.size_bytes = told;
	file->size_now = file->file.size_bytes;
	return told == REC_SIZE_UNKNOWN || told == file->size_now ? RECORD_SIZE_KNOWN :
	       RECORD_SIZE_CHANGED;
}

/*
 * This runs behind the program, so a look at the file may show what later calls will do. Where the
 * program's own calls are followed they decide; a look is for files that others change.
 */
enum record_size record_file_measure(struct record_files *files, uint32_t id, int host_pid,
				     int64_t fd)
{
	struct record_file *file = files->files[id - 1];
	uint64_t told = file->size_now, size = file->size_followed;
	char by_fd[64];
	struct stat st;
	const char *path = find_path(file, host_pid, fd, by_fd, sizeof(by_fd), &st);

	if (!file->probed)
		return measure_first(file, path);
	if (!file->changed || size == REC_SIZE_UNKNOWN) {
		if (!path || !S_ISREG(st.st_mode) || file->file.kind == REC_FILE_PROC)
			return RECORD_SIZE_KNOWN;
		size = (uint64_t)st.st_size;
	}
	if (size == told)
		return RECORD_SIZE_KNOWN;
	file->size_now = size;
	return told == REC_SIZE_UNKNOWN ? RECORD_SIZE_KNOWN : RECORD_SIZE_CHANGED;
}

static void use(struct record_file *file)
{
	if (!file || file->used)
		return;
	file->used = true;
	file->first_label = record_checked(strdup(file->label));
}

void record_file_use(struct record_files *files, uint64_t id)
{
	struct record_file *file = record_file_get(files, id);

	for (unsigned int depth = 0; file && depth < SCRIPT_DEPTH; depth++) {
		use(file);
		use(record_file_get(files, file->elf.interp));
		file = record_file_get(files, file->script.interp);
	}
}

void record_join_path(char *to, size_t bytes, const char *dir, const char *name)
{
	int length;

	if (name[0] == '/' || !dir[0])
		length = snprintf(to, bytes, "%s", name);
	else
		length = snprintf(to, bytes, "%s/%s", dir, name);
	if (length < 0 || (size_t)length >= bytes)
		to[0] = '\0';
}

static uint32_t program_file(struct record_files *files, const char *path)
{
	char real[PATH_MAX];
	uint32_t id;

	if (!path[0] || !realpath(path, real))
		return 0;
	id = record_file_by_path(files, real);
	files->files[id - 1]->kept = true;
	return id;
}

/* Reads a program's headers; @interp gets the path of its interpreter. */
static const char *load_program(struct record_files *files, uint32_t id, const char *path,
				char *interp, size_t interp_bytes)
{
	struct record_file *file = files->files[id - 1];
	enum record_elf_state state;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	interp[0] = '\0';
	if (!file->probed)
		file->probed = record_probe_file(file, path);
	if (fd < 0)
		return NULL;
	state = record_probe_elf(file, fd, interp, interp_bytes);
	close(fd);
	if (state == RECORD_ELF_32BIT)
		return "is a 32-bit program; only 64-bit ones can be recorded";
	return state == RECORD_ELF_BAD ? "has program headers that cannot be read" : NULL;
}

static const char *load_with_interpreter(struct record_files *files, uint32_t id,
					 const char *path)
{
	char interp[PATH_MAX], ignored[PATH_MAX];
	const char *wrong;
	uint32_t interp_id;

	if (files->files[id - 1]->file.elf)
		return NULL;
	wrong = load_program(files, id, path, interp, sizeof(interp));
	interp_id = wrong ? 0 : program_file(files, interp);
	if (interp_id && !files->files[interp_id - 1]->file.elf)
		wrong = load_program(files, interp_id, interp, ignored, sizeof(ignored));
	files->files[id - 1]->elf.interp = interp_id;
	return wrong;
}

/* The interpreter and its one argument from "#!"; false: @path is no script. */
static bool read_script_line(const char *path, char *interp, char *arg)
{
	char line[SCRIPT_LINE + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : pread(fd, line, SCRIPT_LINE, 0);
	char *at, *end;

	if (fd >= 0)
		close(fd);
	if (got < 3 || line[0] != '#' || line[1] != '!')
		return false;
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	for (end = line + strlen(line); end[-1] == ' ' || end[-1] == '\t'; end--)
		end[-1] = '\0';
	at = line + 2 + strspn(line + 2, " \t");
	end = at + strcspn(at, " \t");
	memcpy(interp, at, (size_t)(end - at));
	interp[end - at] = '\0';
	strcpy(arg, end + strspn(end, " \t"));
	return interp[0] != '\0';
}

/* What a script's interpreter gets: its own name, the argument, the script, the rest of argv. */
static void apply_script(struct record_exec *exec, const char *interp, const char *arg)
{
	if (exec->argc) {
		exec->argc--;
		exec->arg_bytes -= exec->first_length + 1;
	}
	exec->argc += 2 + (arg[0] != '\0');
	exec->arg_bytes += strlen(exec->name) + 1 + strlen(interp) + 1;
	if (arg[0])
		exec->arg_bytes += strlen(arg) + 1;
	exec->first_length = strlen(interp);
	strcpy(exec->name, interp);
}

const char *record_resolve_image(struct record_files *files, const char *cwd,
				 struct record_exec *exec, uint64_t *named, uint64_t *image)
{
	char interp[SCRIPT_LINE + 1], arg[SCRIPT_LINE + 1];
	uint32_t id = program_file(files, exec->path);
	struct record_file *script;
	const char *wrong;

	*named = id;
	*image = 0;
	for (unsigned int depth = 0; id && depth < SCRIPT_DEPTH; depth++) {
		wrong = load_with_interpreter(files, id, exec->path);
		if (wrong)
			return wrong;
		if (files->files[id - 1]->file.elf) {
			*image = id;
			return NULL;
		}
		if (!read_script_line(exec->path, interp, arg))
			return NULL;
		apply_script(exec, interp, arg);
		record_join_path(exec->path, sizeof(exec->path), cwd, interp);
		script = files->files[id - 1];
		id = program_file(files, exec->path);
		script->script.interp = id;
		script->script.name_bytes = (unsigned int)strlen(interp) + 1;
		script->script.arg_bytes = arg[0] ? (unsigned int)strlen(arg) + 1 : 0;
		script->file.script = &script->script;
	}
	return NULL;
}
