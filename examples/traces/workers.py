# SPDX-License-Identifier: MIT
"""What workers.trace records: three processes of a pool that share work and a block of memory."""
import multiprocessing
import multiprocessing.shared_memory


def count(numbers):
    first, last = numbers
    block = multiprocessing.shared_memory.SharedMemory(name="karc-example")
    try:
        for i in range(first, last):
            block.buf[i] = i % 7
        return sum(block.buf[first:last])
    finally:
        block.close()


def main():
    block = multiprocessing.shared_memory.SharedMemory("karc-example", create=True, size=100000)
    try:
        with multiprocessing.Pool(3) as pool:
            parts = pool.map(count, [(i, i + 10000) for i in range(0, 100000, 10000)])
        print("sum", sum(parts), sum(block.buf[:100000]))
    finally:
        block.close()
        block.unlink()


if __name__ == "__main__":
    main()
