// SPDX-License-Identifier: MIT
//
// shared_ptr.cc - std::shared_ptr with std::make_shared; see peer.h for the functions
//
// With MAKE defined by mimalloc.cc, the same on another allocator. libstdc++ counts without locked
// instructions while a process has one thread; the benchmark keeps a second one for that reason.
#include "peer.h"
#include <memory>
#include <vector>

#ifndef MAKE
#define MAKE(type) std::make_shared<type>()
#endif

namespace {

// 64 bytes together with the control block.
struct object {
	char payload[48] = {};
};

struct node {
	std::shared_ptr<node> next;
	unsigned long payload = 0;
};

struct branch {
	std::shared_ptr<branch> left, right;
};

}

extern "C" {

void *get_put_begin(unsigned long, const unsigned int *)
{
	return new std::shared_ptr<object>(MAKE(object));
}

void get_put_run(void *state, unsigned long n)
{
	const auto &ptr = *static_cast<std::shared_ptr<object> *>(state);

	while (n--) {
		std::shared_ptr<object> another(ptr);

		PEER_SEEN(another.get());
	}
}

void get_put_end(void *state)
{
	delete static_cast<std::shared_ptr<object> *>(state);
}

void create_run(void *, unsigned long n)
{
	while (n--) {
		std::shared_ptr<object> ptr = MAKE(object);

		PEER_SEEN(ptr.get());
	}
}

void *list_begin(unsigned long n, const unsigned int *order)
{
	std::vector<std::shared_ptr<node>> places(n);
	auto head = new std::shared_ptr<node>;

	for (unsigned long k = 0; k < n; k++)
		places[order[k]] = MAKE(node);
	while (n--) {
		places[n]->next = std::move(*head);
		*head = std::move(places[n]);
	}
	return head;
}

// By hand, because dropping the head alone recurses.
void list_run(void *state, unsigned long)
{
	auto head = static_cast<std::shared_ptr<node> *>(state);

	while (*head) {
		std::shared_ptr<node> next = std::move((*head)->next);

		*head = std::move(next);
	}
	delete head;
}

void *tree_begin(unsigned long n, const unsigned int *order)
{
	std::vector<std::shared_ptr<branch>> places(n);

	for (unsigned long k = 0; k < n; k++)
		places[order[k]] = MAKE(branch);
	for (unsigned long i = n; i-- > 0;) {
		if (2 * i + 1 < n)
			places[i]->left = std::move(places[2 * i + 1]);
		if (2 * i + 2 < n)
			places[i]->right = std::move(places[2 * i + 2]);
	}
	return new std::shared_ptr<branch>(std::move(places[0]));
}

void tree_run(void *state, unsigned long)
{
	delete static_cast<std::shared_ptr<branch> *>(state);
}

}
