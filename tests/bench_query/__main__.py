"""How fast kcap answers, beside the programs that people use today.

usage: python3 tests/bench_query [KCAP]        (make bench-query)

KCAP_BENCH_MB         sizes of the captures, in megabytes: 100,1000 unless set; 4000 too shows how time grows
KCAP_BENCH_CAPTURES   capture files to use instead of captures that are made
KCAP_BENCH_EXPAND     folder of expand_capture.py and base.pcap.zst, which captures are made with
KCAP_BENCH_ROUNDS     how often each command runs; the best counts (3)

Everything is asked of a warm page cache. Results go to standard output and to target/bench/query.json.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import measure  # noqa: E402
from questions import questions  # noqa: E402
from report import show  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "bench" / "query"
EXPAND = Path(os.environ.get("KCAP_BENCH_EXPAND", ROOT.parent / "shared" / "bench"))
ROUNDS = int(os.environ.get("KCAP_BENCH_ROUNDS", "3"))
# Programs that take minutes are asked once.
SLOW = ("tshark",)


def say(text):
    print(f"bench-query: {text}", file=sys.stderr, flush=True)


def captures():
    """Capture files with names, smallest first."""
    if named := os.environ.get("KCAP_BENCH_CAPTURES"):
        return [(Path(path).name, Path(path)) for path in named.split(",")]
    script, base = EXPAND / "expand_capture.py", EXPAND / "base.pcap.zst"
    if not script.exists():
        sys.exit(f"bench-query: no {script}: name captures with KCAP_BENCH_CAPTURES, or the folder with KCAP_BENCH_EXPAND")
    made = []
    for megabytes in os.environ.get("KCAP_BENCH_MB", "100,1000").split(","):
        path = WORK / f"{megabytes}.pcap"
        if not path.exists():
            say(f"making a capture of {megabytes} MB")
            partial = path.with_suffix(".partial")
            subprocess.run([sys.executable, script, base, partial, megabytes], check=True, stdout=subprocess.DEVNULL)
            partial.rename(path)
        made.append((f"{megabytes} MB", path))
    return made


def duckdb():
    """A command that answers a query with DuckDB, where it is installed."""
    python = TARGET / "venv" / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import duckdb"], capture_output=True).returncode:
        say("no DuckDB in target/venv: left out (.ci/setup test installs it)")
        return []
    program = "import duckdb, sys\nfor row in duckdb.sql(sys.argv[1]).fetchall(): print(*row, sep=',')"
    return [str(python), "-c", program]


def warm(path):
    """Brings files into the page cache."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            with open(file, "rb") as opened:
                while opened.read(1 << 20):
                    pass


def convert(kcap, to, source, output):
    """The best of the rounds, each into a new folder; the last one stays."""
    results = []
    for _ in range(ROUNDS):
        shutil.rmtree(output, ignore_errors=True)
        results.append(measure.run([kcap, "convert", "--to", to, str(source), str(output)]))
    result = min(results, key=lambda result: result["wall_s"])
    result["written_bytes"] = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    return result


def choose(kcap, pcap):
    """The address with most packets, and the TCP conversation with most payload."""

    def ask(query):
        answer = measure.run([kcap, "sql", str(pcap), "--format", "csv", "-c", query])["answer"]
        return answer.split(",")

    address, digits = ask(
        "SELECT ip_text(src_ip), hex(src_ip), count(*) AS packets FROM packets WHERE ip_version = 4 "
        "GROUP BY src_ip ORDER BY packets DESC LIMIT 1"
    )[:2]
    flow_id, client, client_port, server, server_port = ask(
        "SELECT flow_id, ip_text(client_ip), client_port, ip_text(server_ip), server_port FROM flows "
        "WHERE ip_proto = 6 AND ip_version = 4 AND client_port IS NOT NULL "
        "ORDER BY client_payload_bytes + server_payload_bytes DESC LIMIT 1"
    )
    return {
        "address": address,
        "address_hex": digits,
        "flow_id": int(flow_id),
        # tshark takes the ends of a stream too.
        "tshark_stream": f"{client}:{client_port},{server}:{server_port}",
    }


def ask_all(kcap, name, pcap):
    """Everything about one capture."""
    folder = WORK / name.replace(" ", "-")
    paths = {"pcap": str(pcap), "segments": str(folder / "segments"), "parquet": str(folder / "parquet")}
    folder.mkdir(parents=True, exist_ok=True)
    warm(pcap)
    results = {}
    say(f"{name}: conversions")
    results["to segments"] = {"kcap pcap": convert(kcap, "segments", pcap, Path(paths["segments"]))}
    warm(Path(paths["segments"]))
    results["to Parquet"] = {
        "kcap segments": convert(kcap, "parquet", paths["segments"], Path(paths["parquet"])),
        "kcap pcap": convert(kcap, "parquet", pcap, Path(paths["parquet"])),
    }
    warm(Path(paths["parquet"]))
    subject = choose(kcap, pcap)
    for question, commands in questions(kcap, duckdb(), paths, subject).items():
        results[question] = {}
        for program, command in commands.items():
            if shutil.which(command[0]) is None:
                say(f"no {command[0]}: left out")
                continue
            say(f"{name}: {question}: {program}")
            results[question][program] = measure.run(command, 1 if program in SLOW else ROUNDS)
    return {"name": name, "bytes": pcap.stat().st_size, "subject": subject, "results": results}


def main():
    kcap = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else TARGET / "release" / "kcap")
    WORK.mkdir(parents=True, exist_ok=True)
    record = {"processors": os.cpu_count(), "rounds": ROUNDS, "captures": []}
    for name, path in captures():
        record["captures"].append(ask_all(kcap, name, path))
        (TARGET / "bench" / "query.json").write_text(json.dumps(record, indent=1) + "\n")
    show(record)


main()
