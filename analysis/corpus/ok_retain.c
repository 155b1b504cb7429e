/* SPDX-License-Identifier: MIT */
/* Pairs on one pointer: a put is not the end of it while another reference is held. */
// karc-no-diagnostics
#include "toy.h"

int two_references_two_puts(int order)
{
	struct page *page = page_new(order);
	int flags;

	if (!page)
		return -ENOMEM;
	get_page(page);
	put_page(page);
	flags = page->flags;
	put_page(page);
	return flags;
}

int pinned_while_used(KARC_LENT(page) *page)
{
	int ret;

	get_page(page);
	ret = page_use(page);
	put_page(page);
	return ret;
}

int result_of_get_used(KARC_LENT(page) *page)
{
	struct page *pinned = get_page(page);
	int ret = page_use(pinned);

	put_page(pinned);
	return ret;
}
