/* SPDX-License-Identifier: MIT */
/*
 * The types that the corpus plays with: `file` is counted the karc way (get returns what it
 * acquired), `page` the Linux way (get counts on its argument).  Nothing here is ever run.
 */
#ifndef KARC_ANALYSIS_TOY_H
#define KARC_ANALYSIS_TOY_H

#include <karc/base/contract.h>
#include <karc/base/err.h>
#include <karc/base/types.h>

struct file {
	int mode;
	struct file *backing;
	struct {
		void (*release)(struct file *file);
	};
};

KARC_COUNTED(file);

KARC_GIVES struct file *file_new(int mode);
KARC_GIVES struct file *file_open(const char *name);	/* or an error pointer */
KARC_GIVES struct file *file_get(KARC_LENT(file) *file);
KARC_GIVES struct file *KARC_NULLABLE file_tryget(KARC_LENT(file) *file);
KARC_LENDS struct file *file_find(int fd);
void file_put(KARC_TAKES struct file *file) KARC_PUTS(1);
void table_install(int fd, KARC_TAKES struct file *file) KARC_HOLDS(2);
int file_use(KARC_LENT(file) *file);
int file_read(KARC_LENT(file) *file, char *buffer);

struct page {
	int flags;
};

KARC_COUNTED(page);

KARC_GIVES struct page *page_new(int order);
void put_page(KARC_TAKES struct page *page);
int page_use(KARC_LENT(page) *page);
#ifdef __clang_analyzer__
KARC_RETAINS(page);
#define get_page(page) KARC_RETAIN(page, page)
#endif

void plain_free(void *memory);
void *plain_alloc(size_t size) KARC_MALLOC(plain_free, 1);

#endif
