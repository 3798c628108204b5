"""A line with delay, loss and a rate between two TUN devices, for kernels without netem; needs only Python 3 and root.

Makes the devices --a and --b in its network namespace, prints "ready" and carries packets between them until it is
ended; the devices go with it. Whoever started it moves them to where they belong, gives them addresses and takes them
up. Loss is decided by a generator with a seed, each way its own, so that the n-th packet has the same fate in each run.
"""

import argparse
import collections
import errno
import fcntl
import os
import random
import select
import signal
import struct
import sys
import time

# linux/if_tun.h
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM_TSO4_TSO6 = 0x01 | 0x02 | 0x04

# The largest packet with its virtio header.
MAX_PACKET_BYTES = 65535 + 10
# Packets taken from one end before the other has its turn.
BATCH = 64


def open_tun(name, offload):
    """The file of a new TUN device, which neither end's reads nor writes block."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | (IFF_VNET_HDR if offload else 0)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    if offload:
        fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM_TSO4_TSO6)
    return fd


class Direction:
    """What travels from one end to the other: a queue in order of arrival, bounded in bytes."""

    def __init__(self, source, target, options, seed):
        self.source = source
        self.target = target
        self.delay = options.delay_ms / 1000
        self.loss = options.loss_percent / 100
        self.seconds_per_byte = 8 / (options.mbit * 1e6) if options.mbit > 0 else 0.0
        self.max_wait = options.max_wait_ms / 1000
        self.max_bytes = options.max_bytes
        self.random = random.Random(seed)
        self.queue = collections.deque()
        self.bytes = 0
        self.free_at = 0.0
        self.carried = 0
        self.lost = 0
        self.overflowed = 0

    def take(self, now):
        """Reads what waits at the source."""
        for _ in range(BATCH):
            try:
                packet = os.read(self.source, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError as err:
                if err.errno in (errno.EIO, errno.EBADFD):  # the device is down
                    return
                raise
            size = len(packet)
            start = max(now, self.free_at)
            if self.random.random() < self.loss:
                self.lost += 1
            elif self.bytes + size > self.max_bytes or start - now > self.max_wait:
                self.overflowed += 1
            else:
                self.free_at = start + size * self.seconds_per_byte
                self.bytes += size
                self.queue.append((self.free_at + self.delay, packet))

    def deliver(self, now):
        """Writes what has arrived at the target; the seconds until more will have, None when nothing travels."""
        queue = self.queue
        while queue and queue[0][0] <= now:
            packet = queue.popleft()[1]
            self.bytes -= len(packet)
            try:
                os.write(self.target, packet)
                self.carried += 1
            except OSError as err:
                # Down, or without room: a packet that is lost.
                if err.errno not in (errno.EIO, errno.EBADFD, errno.EAGAIN, errno.ENOBUFS, errno.EINVAL):
                    raise
                self.lost += 1
        return max(0.0, queue[0][0] - now) if queue else None


def carry(directions):
    by_source = {direction.source: direction for direction in directions}
    while True:
        now = time.monotonic()
        waits = [wait for wait in (direction.deliver(now) for direction in directions) if wait is not None]
        # A single packet may keep select from sleeping to its end by its microseconds, so never less than 50 of them.
        readable, _, _ = select.select(by_source, [], [], max(min(waits), 5e-5) if waits else None)
        now = time.monotonic()
        for source in readable:
            by_source[source].take(now)


def main():
    parser = argparse.ArgumentParser(description="A slow line between two TUN devices; all figures are for one way.")
    parser.add_argument("--a", required=True, help="name of the device at one end")
    parser.add_argument("--b", required=True, help="name of the device at the other end")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--loss-percent", type=float, default=0.0)
    parser.add_argument("--mbit", type=float, default=0.0, help="megabits a second; 0 is as fast as it goes")
    parser.add_argument("--max-wait-ms", type=float, default=100.0, help="a packet that would wait longer for the line is dropped")
    parser.add_argument("--max-bytes", type=int, default=64 * 1024 * 1024, help="on the line and waiting; more is dropped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--offload", action="store_true", help="carry segments of up to 64 KiB whole; one of them is then what is lost")
    options = parser.parse_args()
    a = open_tun(options.a, options.offload)
    b = open_tun(options.b, options.offload)
    directions = [Direction(a, b, options, options.seed), Direction(b, a, options, options.seed + 1)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("ready", flush=True)
    try:
        carry(directions)
    finally:
        for name, each in zip("ab", directions):
            print(f"from {name}: {each.carried} carried, {each.lost} lost, {each.overflowed} without room", file=sys.stderr)


main()
