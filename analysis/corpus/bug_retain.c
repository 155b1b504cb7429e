/* SPDX-License-Identifier: MIT */
/* Types counted on the pointer itself, as Linux's get_page() does. */
#include "toy.h"

int get_without_put(int order)
{
	struct page *page = page_new(order);	// karc-warning{{Potential leak}}

	if (!page)
		return -ENOMEM;
	get_page(page);
	put_page(page);
	return 0;
}

int get_of_a_parameter_without_put(KARC_LENT(page) *page)	// karc-warning{{Potential leak}}
{
	get_page(page);
	return 0;
}

void one_put_too_many(KARC_LENT(page) *page)
{
	get_page(page);
	put_page(page);
	put_page(page);			// karc-warning{{not owned}}
}
