/* SPDX-License-Identifier: MIT */
/* What gcc.trace sees compiled. */
#include <stdio.h>

int main(void)
{
	puts("hello");
	return 0;
}
