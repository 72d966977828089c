"""The history of one run, and what it proves.

32 bytes for each message that was handled, little-endian: partition and number of the key (32 bits each), offset, start
and end of its handling in nanoseconds (64 bits each), in the order in which workers wrote them.
"""

import struct

RECORD = struct.Struct("<IIQQQ")
# Keys from here on are of messages that fail or hang: see Fill.java.
FAILING = 1_000_000


class History:
    """What was handled and when: of each message, the first handling counts."""

    def __init__(self, path):
        data = path.read_bytes()
        self.written = len(data) // RECORD.size
        self.messages = {}
        for partition, key, offset, start, end in RECORD.iter_unpack(data[: self.written * RECORD.size]):
            self.messages.setdefault((partition, offset), (key, start, end))

    def counted(self):
        """How many messages were handled that are not meant to fail."""
        return sum(key < FAILING for key, _, _ in self.messages.values())

    def twice(self):
        """Handlings of messages that had been handled before."""
        return self.written - len(self.messages)

    def out_of_order(self):
        """Messages that were begun before the one before them with the same key was done."""
        last_end, violations = {}, 0
        for (partition, _), (key, start, end) in sorted(self.messages.items()):
            violations += start < last_end.get((partition, key), 0)
            last_end[partition, key] = end
        return violations

    def seconds(self, chosen=lambda key: key < FAILING):
        """From the begin of the first handling to the end of the last one whose key is chosen."""
        ends = [end for key, _, end in self.messages.values() if chosen(key)]
        return (max(ends) - min(start for _, start, _ in self.messages.values())) / 1e9
