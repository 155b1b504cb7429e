/* SPDX-License-Identifier: MIT */
/*
 * peer.h - what a peer of the benchmark exports
 *
 * A peer is a shared object of its own, opened when it is there. For each path it knows it exports
 *
 *	void *<path>_begin(unsigned long n, const unsigned int *order)	what the path needs, or NULL
 *	void <path>_run(void *state, unsigned long n)			what is timed
 *	void <path>_end(void *state)					undone; not after a path that
 *									tears down (run has consumed it)
 *
 * Paths: get_put (one object, n pairs), create (n objects, one after the other), list and tree
 * (begin builds n owners, run drops the only reference to them). get and put alone are for counting
 * instructions, after get_put_begin(). Allocators have the paths of alloc.h and alloc_peer.h.
 * @order: of list and tree, where the k-th object created goes (0 is the head; the children of i
 * are 2i+1 and 2i+2).
 */
#ifndef KARC_BENCH_PEER_H
#define KARC_BENCH_PEER_H

#ifdef __cplusplus
extern "C" {
#endif

/* The compiler must believe that somebody looks at *@p here. */
#define PEER_SEEN(p)	__asm__ volatile("" : : "r"(p) : "memory")

void *get_put_begin(unsigned long n, const unsigned int *order);
void get_put_run(void *state, unsigned long n);
void get_put_end(void *state);
void get_run(void *state, unsigned long n);
void put_run(void *state, unsigned long n);
void create_run(void *state, unsigned long n);
void *list_begin(unsigned long n, const unsigned int *order);
void list_run(void *state, unsigned long n);
void *tree_begin(unsigned long n, const unsigned int *order);
void tree_run(void *state, unsigned long n);

#ifdef __cplusplus
}
#endif

#endif
