/* SPDX-License-Identifier: MIT */
/*
 * dtor.h - destructor callbacks of one object, latest registered first
 *
 * Objects with a struct arc use arc_on_drop(). Those that exist in millions have the small form:
 * one `struct arc_dtor *` (struct page: slab and page-table pages), pushed and run by their room.
 */
#ifndef KARC_REFCOUNT_DTOR_H
#define KARC_REFCOUNT_DTOR_H

#include <karc/base/types.h>

/**
 * struct arc_dtor - one destructor callback of one object, memory from the caller
 * @fn:  called once when the object dies, before the type's drop; latest registered first
 * @arg: handed to @fn
 *
 * Must stay valid until it has run; it may live inside the object or in the caller's memory,
 * and @fn may free it.
 */
struct arc_dtor {
	struct arc_dtor *next;
	struct {
		void (*fn)(void *obj, void *arg);
	} ops;
	void *arg;
};

/**
 * arc_dtor_push - register a callback on an object of the small form
 * @head: the object's list; NULL is the empty one
 * @dtor: caller's memory
 *
 * Context: any; the caller holds a reference or the lock that keeps the object alive.
 */
void arc_dtor_push(struct arc_dtor **head, struct arc_dtor *dtor,
		   void (*fn)(void *obj, void *arg), void *arg);

/**
 * arc_dtor_run - run and forget every callback, latest first
 * @obj: handed to each
 *
 * Context: the object is dying and only the caller sees it. A callback pushed by a callback runs
 * next. Returns: how many ran.
 */
unsigned int arc_dtor_run(struct arc_dtor **head, void *obj);

#endif
