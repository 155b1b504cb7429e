/* SPDX-License-Identifier: MIT */
/*
 * symbols.c - names of static functions, from the symbol table of the program's own file
 *
 * What it is
 *	The dynamic symbols that dladdr() knows hold exported functions only. The full table is in
 *	the file, unless it was stripped: map it, take the function symbol that covers the offset.
 *	For reports; nothing is kept.
 *
 * Worst case
 *	One pass over the table for each address. A file that is no ELF of this machine's word size,
 *	or whose tables point outside of it, has no names.
 */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

struct elf_file {
	const char *map;
	u64 bytes;
};

static bool elf_open(struct elf_file *elf, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) || st.st_size < (off_t)sizeof(ElfW(Ehdr))) {
		close(fd);
		return false;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return false;
	elf->map = map;
	elf->bytes = (u64)st.st_size;
	return true;
}

static const void *elf_at(const struct elf_file *elf, u64 offset, u64 bytes)
{
	if (offset > elf->bytes || bytes > elf->bytes - offset || offset % 8)
		return NULL;
	return elf->map + offset;
}

/* The section of type @type, or NULL; *@all gets the table of sections. */
static const ElfW(Shdr) *elf_section(const struct elf_file *elf, unsigned int type,
				     const ElfW(Shdr) **all, unsigned int *nr)
{
	const ElfW(Ehdr) *header = elf_at(elf, 0, sizeof(*header));

	if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) ||
	    header->e_ident[EI_CLASS] != ELFCLASS64 ||
	    header->e_shentsize != sizeof(ElfW(Shdr)))
		return NULL;
	*nr = header->e_shnum;
	*all = elf_at(elf, header->e_shoff, (u64)*nr * sizeof(ElfW(Shdr)));
	for (unsigned int i = 0; *all && i < *nr; i++) {
		if ((*all)[i].sh_type == type)
			return &(*all)[i];
	}
	return NULL;
}

static const ElfW(Sym) *symbol_covering(const ElfW(Sym) *symbols, u64 nr, u64 offset)
{
	for (u64 i = 0; i < nr; i++) {
		if ((symbols[i].st_info & 0xf) == STT_FUNC && offset >= symbols[i].st_value &&
		    offset - symbols[i].st_value < symbols[i].st_size)
			return &symbols[i];
	}
	return NULL;
}

static bool elf_name(const struct elf_file *elf, u64 offset, char *buf, size_t size)
{
	unsigned int nr = 0;
	const ElfW(Shdr) *sections = NULL, *table, *strings;
	const ElfW(Sym) *symbols, *symbol;
	const char *names;

	table = elf_section(elf, SHT_SYMTAB, &sections, &nr);
	if (!table || table->sh_link >= nr)
		return false;
	strings = &sections[table->sh_link];
	symbols = elf_at(elf, table->sh_offset, table->sh_size);
	if (!symbols || strings->sh_offset > elf->bytes ||
	    strings->sh_size > elf->bytes - strings->sh_offset)
		return false;
	symbol = symbol_covering(symbols, table->sh_size / sizeof(*symbols), offset - 1);
	if (!symbol || symbol->st_name >= strings->sh_size)
		return false;
	names = elf->map + strings->sh_offset;
	if (!memchr(names + symbol->st_name, 0, strings->sh_size - symbol->st_name))
		return false;
	snprintf(buf, size, "%s+0x%lx/0x%lx", names + symbol->st_name,
		 (unsigned long)(offset - symbol->st_value), (unsigned long)symbol->st_size);
	return true;
}

bool symbols_name(const char *path, u64 offset, char *buf, size_t size)
{
	struct elf_file elf;
	bool found;

	if (!elf_open(&elf, path))
		return false;
	found = elf_name(&elf, offset, buf, size);
	munmap((void *)elf.map, elf.bytes);
	return found;
}
