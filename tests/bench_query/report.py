"""The results as a person reads them."""

# Which program a question's ratios are to: what people use for it today.
REFERENCE = {"flows": "tshark", "top talkers": "tshark", "streams of one flow": "tshark"}


def show(record):
    """Prints a table for each capture, and how time grows from one to the next."""
    print(f"{record['processors']} processors, warm page cache, best of {record['rounds']} rounds (tshark: 1).")
    print("Captures are blends of small traces: figures on others will differ.")
    for capture in record["captures"]:
        _capture(capture)
    for smaller, larger in zip(record["captures"], record["captures"][1:]):
        _growth(smaller, larger)


def _capture(capture):
    megabytes = capture["bytes"] / 1e6
    print(f"\n{capture['name']}: {megabytes:.0f} MB as pcap")
    print(f"  {'':30} {'wall s':>8} {'CPU s':>8} {'MB/s':>8} {'own MiB':>8} {'RSS MiB':>8} {'faster':>8}")
    for question, programs in capture["results"].items():
        reference = programs.get(REFERENCE.get(question, "tcpdump"), {}).get("wall_s")
        print(f"  {question}")
        for program, result in programs.items():
            wall = result["wall_s"]
            ratio = f"{reference / wall:8.1f}" if reference else f"{'':8}"
            print(
                f"    {program:28} {wall:8.3f} {result['cpu_s']:8.3f} {megabytes / wall:8.0f} "
                f"{result['memory_anonymous_bytes'] / 2**20:8.0f} {result['memory_resident_bytes'] / 2**20:8.0f} {ratio}"
            )


def _growth(smaller, larger):
    times = larger["bytes"] / smaller["bytes"]
    print(f"\nFrom {smaller['name']} to {larger['name']} ({times:.1f} times the bytes)")
    print(f"  {'':46} {'time':>8} {'own memory':>11}")
    for question, programs in larger["results"].items():
        for program, result in programs.items():
            before = smaller["results"].get(question, {}).get(program)
            if before and program.startswith("kcap"):
                memory = result["memory_anonymous_bytes"] / max(before["memory_anonymous_bytes"], 1)
                print(f"  {question + ', ' + program:46} {result['wall_s'] / before['wall_s']:8.1f} {memory:11.2f}")
