/* SPDX-License-Identifier: MIT */
/* A put and a get whose bodies are in the same file, hidden so that their promises stand. */
// karc-no-diagnostics
#include "toy.h"

struct box {
	int count;
};

KARC_COUNTED(box);
KARC_GIVES struct box *box_get(KARC_LENT(box) *box);
void box_put(KARC_TAKES struct box *box) KARC_PUTS(1);

struct box *KARC_BODY(box_get)(KARC_LENT(box) *box)
{
	box->count++;
	return box;
}

void KARC_BODY(box_put)(struct box *box)
{
	if (box && --box->count == 0)
		plain_free(box);
}

int pair(KARC_LENT(box) *borrowed)
{
	struct box *box = box_get(borrowed);
	int count = box->count;

	box_put(box);
	return count;
}
