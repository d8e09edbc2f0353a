"""What is asked, in the words of each program."""

import os

PORT = 443
# Counting them takes every column that people look at; the numbers can't come from anything but the whole table.
FLOWS = (
    "SELECT count(*), sum(client_packets + server_packets), sum(client_bytes + server_bytes), "
    "count(DISTINCT conn_state), sum(client_retransmissions + server_retransmissions) FROM flows"
)
TOP_TALKERS = "SELECT src_ip, count(*) AS packets, sum(len) AS bytes FROM packets GROUP BY src_ip ORDER BY bytes DESC LIMIT 10"


def questions(kcap, duckdb, paths, subject):
    """For each question the commands that answer it. `subject` has the address and the flow that are asked for."""
    pcap, segments, lake = paths["pcap"], paths["segments"], paths["parquet"]
    address, flow = subject["address"], subject["flow_id"]

    def sql(source, query):
        return [kcap, "sql", source, "--format", "csv", "-c", query]

    def everywhere(query):
        return {f"kcap {name}": sql(paths[name], query) for name in ("pcap", "segments", "parquet")}

    def duck(query):
        # Folders of one table are one table, as kcap wrote them.
        read = "FROM read_parquet('" + os.path.join(lake, "table={}", "**", "*.parquet") + "')"
        for table in ("packets", "flows", "streams"):
            query = query.replace(f"FROM {table}", read.format(table))
        return {"duckdb": duckdb + [query]} if duckdb else {}

    def tshark(*arguments):
        return {"tshark": ["tshark", "-n", "-r", pcap, *arguments]}

    def tcpdump(*arguments):
        return {"tcpdump": ["tcpdump", "-nr", pcap, "--count", *arguments]}

    fields = ("-T", "fields", "-e", "frame.number")
    by_port = f"SELECT count(*) FROM packets WHERE src_port = {PORT} OR dst_port = {PORT}"
    by_address = "SELECT count(*) FROM packets WHERE src_ip = {0} OR dst_ip = {0}"
    one_flow = f"SELECT count(*), sum(len) FROM streams WHERE flow_id = {flow}"
    return {
        "read": {"wc -c": ["sh", "-c", 'cat "$1" | wc -c', "sh", pcap]},
        "count": {
            **everywhere("SELECT count(*) FROM packets"),
            **duck("SELECT count(*) FROM packets"),
            "capinfos": ["capinfos", "-Mc", pcap],
            **tcpdump(),
            **tshark(*fields),
        },
        "filter by port": {
            **everywhere(by_port),
            **duck(by_port),
            **tcpdump(f"port {PORT}"),
            **tshark("-Y", f"tcp.port == {PORT} or udp.port == {PORT}", *fields),
        },
        "filter by address": {
            **everywhere(by_address.format(f"'{address}'")),
            **duck(by_address.format(f"unhex('{subject['address_hex']}')")),
            **tcpdump(f"host {address}"),
            **tshark("-Y", f"ip.addr == {address}", *fields),
        },
        "filter in tcpdump's language": {
            **{f"kcap {name}": sql(paths[name], f"SELECT count(*) FROM packets WHERE bpf('port {PORT}')")
               for name in ("pcap", "segments")},
            **tcpdump(f"port {PORT}"),
        },
        "top talkers": {**everywhere(TOP_TALKERS), **duck(TOP_TALKERS), **tshark("-q", "-z", "endpoints,ip")},
        "flows": {**everywhere(FLOWS), **duck(FLOWS), **tshark("-q", "-z", "conv,tcp")},
        "streams of one flow": {
            **everywhere(one_flow),
            **duck(one_flow),
            "kcap follow": [kcap, "follow", str(flow), pcap, "--format", "raw"],
            **tshark("-q", "-z", f"follow,tcp,raw,{subject['tshark_stream']}"),
        },
        "first ten packets": {
            "kcap pcap": sql(pcap, "SELECT ts, src_ip, dst_ip, len FROM packets LIMIT 10"),
            "kcap segments": sql(segments, "SELECT ts, src_ip, dst_ip, len FROM packets LIMIT 10"),
            "tcpdump": ["tcpdump", "-nr", pcap, "-c", "10"],
        },
    }
