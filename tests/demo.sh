#!/usr/bin/env bash
# Makes real traffic on this host, records it, and shows who talked to whom. Usage: tests/demo.sh FOLDER-OF-BINARIES
#
# Where recording isn't allowed it says what is missing in one line, and goes on with a recording from testdata/.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly KCAP=$1/kcap RECORD=$1/kcap-record
readonly OUT=${CARGO_TARGET_DIR:-target}/demo
readonly NAME=www.kcap.test
# How long the traffic goes on, and how long everything that is started may live, in seconds.
readonly TRAFFIC_TIME_S=4 LIFE_TIME_MAX_S=60
export PATH="$PATH:/usr/sbin:/sbin"

scratch=$(mktemp -d)
processes=()

# Ends what was started here, by process id, and removes the scratch folder.
clean_up() {
    local process
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT

# Starts a command in the background that lives no longer than LIFE_TIME_MAX_S.
start() {
    timeout --signal=INT "$LIFE_TIME_MAX_S" "$@" &
    processes+=($!)
}

# A TCP port of 127.0.0.1 on which nothing listens.
free_port() {
    local port
    for port in $(shuf -i 20000-29999 -n 50); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
    done
    echo "demo: no free port found" >&2
    return 1
}

# Waits until a command succeeds, ten seconds at most.
wait_for() {
    local tries=100
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "demo: waited in vain for: $*" >&2; return 1; }
        sleep 0.1
    done
}

start_web_server() {
    mkdir -p "$scratch/www"
    echo '<h1>kcap</h1>' >"$scratch/www/index.html"
    seq 1 20000 >"$scratch/www/numbers.txt"
    chmod -R a+rX "$scratch"
    cat >"$scratch/nginx.conf" <<CONF
daemon off;
pid $scratch/nginx.pid;
error_log $scratch/nginx.log;
worker_processes 1;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path $scratch/body; proxy_temp_path $scratch/proxy; fastcgi_temp_path $scratch/fastcgi;
    uwsgi_temp_path $scratch/uwsgi; scgi_temp_path $scratch/scgi;
    server { listen 127.0.0.1:$web_port; root $scratch/www; }
}
CONF
    start nginx -c "$scratch/nginx.conf" -p "$scratch" -e "$scratch/nginx.log"
    wait_for curl -s -o /dev/null "http://127.0.0.1:$web_port/"
}

start_resolver() {
    start dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= \
        --listen-address=127.0.0.1 --bind-interfaces --port="$dns_port" \
        --host-record="$NAME,127.0.0.1" --txt-record="$NAME,recorded by kcap"
    wait_for resolve A
}

resolve() { dig @127.0.0.1 -p "$dns_port" +short +tries=1 +time=1 "$NAME" "$1" | grep .; }

# What a visitor does: looks the name up, fetches pages, and has a shell that forks and executes programs do the same.
make_traffic() {
    local end=$((SECONDS + TRAFFIC_TIME_S)) address
    while [ $SECONDS -lt $end ]; do
        address=$(resolve A)
        resolve TXT >/dev/null
        curl -s -o /dev/null --resolve "$NAME:$web_port:$address" "http://$NAME:$web_port/"
        curl -s -o /dev/null --resolve "$NAME:$web_port:$address" "http://$NAME:$web_port/numbers.txt"
        sh -c "for try in 1 2; do curl -s http://$address:$web_port/missing | wc -c; done" >/dev/null
        sleep 0.2
    done
}

# Records while there is traffic. Gives 1, after one line, where the kernel or the user's rights forbid it.
record() {
    timeout --signal=INT "$LIFE_TIME_MAX_S" "$RECORD" run -o "$OUT/capture" 2>"$scratch/record.log" &
    local recorder=$!
    processes+=("$recorder")
    # The first segment is there once everything is attached.
    until compgen -G "$OUT/capture/*.kcap" >/dev/null; do
        if ! kill -0 "$recorder" 2>/dev/null; then
            tail -1 "$scratch/record.log" >&2
            return 1
        fi
        sleep 0.1
    done
    make_traffic
    # Of `timeout`, which passes it on.
    kill -INT "$recorder"
    wait "$recorder" || { cat "$scratch/record.log" >&2; return 1; }
    cat "$scratch/record.log"
}

title() { printf '\n== %s\n' "$1"; }

sql() { "$KCAP" sql "$capture" -c "$1"; }

# ---- Record --------------------------------------------------------------------------------------------

rm -rf "$OUT"
mkdir -p "$OUT"
web_port=$(free_port)
dns_port=$(free_port)
capture=$OUT/capture

title "recording $TRAFFIC_TIME_S seconds of HTTP, DNS and processes"
start_web_server
start_resolver
if ! record; then
    capture=testdata/demo.kcap
    echo "Recording isn't possible here (see the line above): going on with $capture, recorded earlier on another host."
fi

# ---- Show ----------------------------------------------------------------------------------------------

title 'who talked to whom'
sql "SELECT ip_proto_name AS protocol, least(src_port, dst_port) AS port, src_process_name AS from_process,
            dst_process_name AS to_process, count(DISTINCT src_pid) AS processes, count(*) AS packets, sum(len) AS bytes
     FROM packets WHERE src_process_name IS NOT NULL
     GROUP BY 1, 2, 3, 4 ORDER BY bytes DESC LIMIT 12"

title 'what ran, and who started it'
sql "SELECT p.process_name, parent.process_name AS started_by, count(*) AS times, left(min(p.command_line), 72) AS a_command
     FROM processes p LEFT JOIN processes parent ON p.parent_proc_id = parent.proc_id
     WHERE p.process_name IN ('curl', 'dig', 'sh', 'wc', 'nginx', 'dnsmasq') GROUP BY 1, 2 ORDER BY times DESC, 1 LIMIT 12"

title 'the recording'
"$KCAP" info "$capture"

title 'for Wireshark'
"$KCAP" convert --to pcapng "$capture" "$OUT/demo.pcapng"
if command -v capinfos >/dev/null; then capinfos -M -t -c -d -u "$OUT/demo.pcapng" 2>/dev/null; fi

cat <<EOT

The recording is in $capture. Ask it yourself:
    $KCAP sql $capture
Wireshark opens $OUT/demo.pcapng
EOT
