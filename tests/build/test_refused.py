#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Goal: mistakes that Linux's headers refuse to compile do not compile here either.

Each mistake is compiled beside its right form: the right one must pass without a warning, the
wrong one must fail, with the words that say why.
"""

import sys

sys.dont_write_bytecode = True
import test_compat
from test_external import Failure

BODY = """#include <linux/highmem.h>
void f(struct page *page);
void f(struct page *page)
{
	(void)page;
	%s
}
"""

# name: right, wrong, and what the compiler says of the wrong one
MISTAKES = {
    "kunmap_atomic_takes_the_address_not_the_page":
        ("void *p = kmap_atomic(page); kunmap_atomic(p);",
         "kmap_atomic(page); kunmap_atomic(page);", "give the address, not the page"),
    "kunmap_local_takes_the_address_not_the_page":
        ("char *p = kmap_local_page(page); kunmap_local(p);",
         "kmap_local_page(page); kunmap_local(page);", "give the address, not the page"),
    "kunmap_takes_the_page_not_the_address":
        ("char *p = kmap(page); (void)p; kunmap(page);",
         "char *p = kmap(page); kunmap(p);", "incompatible"),
}


def check(right, wrong, words):
    for cc in test_compat.compilers():
        complaint = test_compat.accepts(cc, BODY % right)
        if complaint:
            raise Failure(complaint)
        complaint = test_compat.accepts(cc, BODY % wrong)
        if complaint is None:
            raise Failure(f"{cc} compiles: {wrong}")
        if words not in complaint:
            raise Failure(f"{cc} does not say '{words}' but:\n{complaint}")


def main():
    failed = 0
    for name, mistake in MISTAKES.items():
        print(f"[ RUN      ] {name}", flush=True)
        try:
            check(*mistake)
            print(f"[       OK ] {name}")
        except Failure as why:
            failed += 1
            print(f"[  FAILED  ] {name}\n{why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
