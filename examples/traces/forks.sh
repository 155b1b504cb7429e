#!/bin/sh
# SPDX-License-Identifier: MIT
# What forks.trace records: a shell that forks 200 times, and waits for the children in groups.
i=0
while [ $i -lt 200 ]; do
	(exit $((i % 5))) &
	i=$((i + 1))
	[ $((i % 10)) -ne 0 ] || wait
done
echo "$i children"
