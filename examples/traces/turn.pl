#!/usr/bin/perl
# SPDX-License-Identifier: MIT
print scalar reverse($ARGV[0]), "\n";
