/* SPDX-License-Identifier: MIT */
/*
 * usercopy.c - may these bytes of the kernel's memory be copied to or from a user?
 *
 * What it is      Copies between kernel and user memory name a kernel address and a size. When
 *                 they reach beyond one object, or into a part of it that its cache's creator did
 *                 not set aside for users (kmem_cache_create_usercopy), somebody's length is wrong
 *                 and the kernel is about to tell secrets or to be overwritten: the task ends.
 * Worst case      A look at one struct page and its cache.
 * Unlike Linux    Frames that are no compound block are not checked by their allocation's size, as
 *                 in Linux; nor is kernel text, which is the host program's.
 */
#include <karc/base/bug.h>
#include <karc/hw/param.h>
#include "internal.h"

static void usercopy_abort(const char *what, const char *name, bool to_user, unsigned long offset,
			   unsigned long n)
{
	karc_bug_msg(KARC_BUG_SITE(""), "usercopy: Kernel memory %s attempt detected %s %s%s%s%s "
		     "(offset %lu, size %lu)!", to_user ? "exposure" : "overwrite",
		     to_user ? "from" : "to", what, name ? " '" : "", name ? name : "",
		     name ? "'" : "", offset, n);
}

static void check_slab_object(const struct page *page, const char *ptr, unsigned long n,
			      bool to_user)
{
	const struct kmem_cache *cachep = page->slab_cache;
	unsigned int index = obj_to_index(cachep, page, ptr);
	unsigned long offset;

	if (ptr < (const char *)page->s_mem || index >= cachep->num)
		usercopy_abort("SLAB page", cachep->name, to_user, offset_in_page(ptr), n);
	offset = (unsigned long)(ptr - (const char *)index_to_obj(cachep, page, index));
	if (offset >= cachep->useroffset && offset - cachep->useroffset <= cachep->usersize &&
	    n <= cachep->useroffset - offset + cachep->usersize)
		return;
	usercopy_abort("SLAB object", cachep->name, to_user, offset, n);
}

void check_heap_object(const void *ptr, unsigned long n, bool to_user)
{
	const struct page *page;
	unsigned long offset;

	if (!virt_addr_valid(ptr) || !slab_here()->hardened_usercopy)
		return;
	page = virt_to_head_page(ptr);
	if (PageSlab(page)) {
		check_slab_object(page, ptr, n, to_user);
		return;
	}
	offset = (unsigned long)((const char *)ptr - (const char *)page_to_virt(page));
	if (PageHead(page) && n > page_size(page) - offset)
		usercopy_abort("page alloc", NULL, to_user, offset, n);
}
