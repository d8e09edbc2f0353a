"""Runs a command and tells what it took."""

import os
import subprocess
import threading
import time

POLL_S = 0.01


def _anonymous_bytes(pid):
    """Memory of a process that is its own: no mapped files, no page cache."""
    try:
        with open(f"/proc/{pid}/status") as status:
            kib = [int(line.split()[1]) for line in status if line.startswith(("RssAnon", "RssShmem"))]
            return sum(kib) * 1024
    except (OSError, ValueError):
        return 0


def run(command, rounds=1):
    """The best of some rounds: seconds of wall and processor time, bytes of memory, last line of output."""
    return min((_once(command) for _ in range(rounds)), key=lambda result: result["wall_s"])


def _once(command):
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(POLL_S):
            peak[0] = max(peak[0], _anonymous_bytes(child.pid))

    # Answers go through a pipe and are counted, as a consumer would have them; only the last bytes are kept.
    tail, length, errors = b"", 0, []
    watcher = threading.Thread(target=watch)
    reader = threading.Thread(target=lambda: errors.append(child.stderr.read()))
    watcher.start()
    reader.start()
    while piece := child.stdout.read(1 << 16):
        tail, length = (tail + piece)[-4096:], length + len(piece)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    watcher.join()
    reader.join()
    if child.returncode != 0:
        message = errors[0].decode(errors="replace").strip()
        raise SystemExit(f"bench-query: {' '.join(command)}: exit {child.returncode}: {message}")
    # tcpdump tells its count on stderr.
    text = (tail or errors[0]).decode(errors="replace").strip()
    return {
        "command": command,
        "wall_s": round(wall, 4),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 4),
        "memory_anonymous_bytes": peak[0],
        "memory_resident_bytes": usage.ru_maxrss * 1024,
        "output_bytes": length,
        "answer": text.splitlines()[-1] if text else "",
    }
