"""What a task prints, as bounded log lines. Pure: bytes in, lines out."""

from __future__ import annotations

MAX_LINE = 4 * 1024


class OutputLines:
    """Cuts printed bytes into lines, at most `budget` bytes a task; what is over is counted, not kept."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._left = budget
        self._partial = b""
        self.dropped = 0
        """Bytes over the budget since the last `renew`."""

    def feed(self, data: bytes) -> list[str]:
        """Add bytes and give the lines that are complete now."""
        kept = data[: self._left]
        self._left -= len(kept)
        self.dropped += len(data) - len(kept)
        *lines, self._partial = (self._partial + kept).split(b"\n")
        if len(self._partial) > MAX_LINE:
            lines.append(self._partial)
            self._partial = b""
        return [_shown(line) for line in lines if line]

    def renew(self) -> list[str]:
        """Begin with another task: give what is left of the last one's output, and a full budget."""
        lines = [_shown(self._partial)] if self._partial else []
        if self.dropped:
            lines.append(f"… {self.dropped} bytes more were printed and left out")
        self._partial, self._left, self.dropped = b"", self._budget, 0
        return lines


def _shown(line: bytes) -> str:
    return line[:MAX_LINE].decode("utf-8", errors="replace").rstrip("\r")
