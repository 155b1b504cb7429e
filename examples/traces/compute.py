# SPDX-License-Identifier: MIT
"""What python3.trace records: imports, then work that makes the memory of a process move.

    karc record -o python3.trace -- /usr/bin/python3 compute.py
"""
import decimal
import hashlib
import json
import re


def primes(limit):
    """A sieve in one large block."""
    sieve = bytearray([1]) * (limit + 1)
    sieve[0:2] = b"\0\0"
    for i in range(2, int(limit ** 0.5) + 1):
        if sieve[i]:
            sieve[i * i::i] = bytes(len(range(i * i, limit + 1, i)))
    return sum(sieve)


def pi(digits):
    """Machin's formula in many small objects."""
    decimal.getcontext().prec = digits + 5
    def arctan_inverse(x):
        power = total = decimal.Decimal(1) / x
        n, sign = 3, -1
        while power > decimal.Decimal(10) ** -(digits + 4):
            power /= x * x
            total += sign * power / n
            n, sign = n + 2, -sign
        return total
    return 4 * (4 * arctan_inverse(5) - arctan_inverse(239))


def words(count):
    """A table of strings, written out, read back and searched."""
    table = {"w%05d" % i: hashlib.sha256(b"%d" % i).hexdigest() for i in range(count)}
    again = json.loads(json.dumps(table))
    return sum(1 for digest in again.values() if re.match(r"(\d)\1", digest))


def matrix(side):
    """Three matrices that live at the same time, and die together."""
    a = [[(i * j) % 7 for j in range(side)] for i in range(side)]
    b = [list(column) for column in zip(*a)]
    c = [[sum(x * y for x, y in zip(row, column)) for column in b] for row in a]
    return sum(map(sum, c))


print("primes", primes(3000000))
print("pi", str(pi(300))[:40])
print("words", words(20000))
print("matrix", matrix(90))
blocks = [bytearray(1 << shift) for shift in range(12, 25)]
print("blocks", sum(len(block) for block in blocks))
del blocks[::2]
blocks += [bytes(3 << 20) for _ in range(4)]
print("blocks", sum(len(block) for block in blocks))
