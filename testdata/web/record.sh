#!/usr/bin/env bash
# Makes http.pcap and tls.pcap here: nginx with curl, and openssl's server with its client, over loopback in a network
# namespace of their own; beside them http.log, what nginx logged, and tls.log, what the client said. As root; needs ip, tcpdump, nginx, curl, openssl.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" != inside ]; then
    exec unshare --net "$0" inside
fi
ip link set lo up
work=$(mktemp -d)
chmod 755 "$work"
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# Runs until the capture is stopped: packets are written as they come.
capture() {
    tcpdump -i lo -s 0 -B 8192 -U -w "$1" tcp 2>"$work/tcpdump.log" &
    capture_pid=$!
    until grep -q 'listening on' "$work/tcpdump.log"; do sleep 0.1; done
}
stop_capture() {
    sleep 1
    kill -INT "$capture_pid"
    wait "$capture_pid" || true
}

# --- HTTP ---
mkdir -p "$work/www/temp"
printf 'hello, world\n' >"$work/www/hello.txt"
for number in $(seq 200); do printf '<p>line %s of a page that compresses well</p>\n' "$number"; done >"$work/www/page.html"
head -c 3000 /dev/zero >"$work/www/zero.bin"
cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 64; }
http {
    log_format exact '\$request|\$status|\$request_length|\$bytes_sent|\$body_bytes_sent';
    access_log $work/access.log exact;
    types { text/plain txt; text/html html; application/octet-stream bin; }
    client_body_temp_path $work/www/temp;
    proxy_temp_path $work/www/temp;
    fastcgi_temp_path $work/www/temp;
    uwsgi_temp_path $work/www/temp;
    scgi_temp_path $work/www/temp;
    gzip_min_length 100;
    server {
        listen 127.0.0.1:8081;
        listen [::1]:8081;
        root $work/www;
        location /gzip/ { alias $work/www/; gzip on; gzip_http_version 1.0; }
        location /form { return 200 "thanks\n"; }
        location /cookie { add_header Set-Cookie "session=abc; Path=/; HttpOnly"; return 204; }
        location /moved { return 301 /hello.txt; }
        location /broken { return 503; }
        location /upload { client_max_body_size 1k; proxy_pass http://127.0.0.1:8081/form; }
    }
}
CONF
nginx -c "$work/nginx.conf" -e "$work/error.log" &
pids+=($!)
capture "$here/http.pcap"
until curl -s -o /dev/null http://127.0.0.1:8081/hello.txt; do sleep 0.1; done
base=http://127.0.0.1:8081
ask() { curl -sS -o /dev/null "$@"; }
# One connection, several requests.
ask "$base/hello.txt" -o /dev/null "$base/missing" -o /dev/null "$base/page.html?b=2&a=1"
ask -I "$base/page.html"
ask -H 'Host: web.example' -A 'test agent' -e 'http://referrer.example/' "$base/hello.txt"
ask --compressed "$base/gzip/page.html"
ask -d 'user=monica&password=secret' "$base/form?from=test"
ask -b 'session=abc; theme=dark' "$base/cookie"
ask "$base/moved"
ask "$base/broken"
ask -r 0-99 "$base/zero.bin"
ask -H "If-Modified-Since: $(date -u -R -d '+1 day' | sed 's/+0000/GMT/')" "$base/hello.txt"
ask -0 "$base/hello.txt"
ask -u monica:secret "http://[::1]:8081/hello.txt"
ask -H 'Expect: 100-continue' -d "$(head -c 500 /dev/zero | tr '\0' x)" "$base/form"
ask -d "$(head -c 2000 /dev/zero | tr '\0' x)" "$base/upload"
ask -X PURGE "$base/hello.txt"
# Three requests before the first response.
exec 3<>/dev/tcp/127.0.0.1/8081
printf 'GET /hello.txt HTTP/1.1\r\nHost: one\r\n\r\nHEAD /page.html HTTP/1.1\r\nHost: two\r\n\r\nGET /missing HTTP/1.1\r\nHost: three\r\nConnection: close\r\n\r\n' >&3
cat <&3 >/dev/null
exec 3>&-
# No HTTP.
exec 3<>/dev/tcp/127.0.0.1/8081
printf 'this is no request\r\n\r\n' >&3
cat <&3 >/dev/null
exec 3>&-
stop_capture
cp "$work/access.log" "$here/http.log"

# --- TLS ---
cd "$work"
make_certificate() { # name, issuer, further options
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" \
        -subj "/C=DE/O=Example/CN=$1.example" 2>/dev/null
    openssl x509 -req -in "$1.csr" -out "$1.pem" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 3650 \
        -extfile <(printf 'subjectAltName=DNS:%s.example,IP:127.0.0.1' "$1") 2>/dev/null
}
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj '/C=DE/O=Example/CN=Root' 2>/dev/null
make_certificate server ca
make_certificate client ca
cat server.pem ca.pem >chain.pem
serve() { # port, options
    local port=$1
    shift
    openssl s_server -accept "$port" -cert server.pem -key server.key -cert_chain ca.pem -quiet "$@" >>server.log 2>&1 &
    pids+=($!)
    until ss -ltn | grep -q ":$port "; do sleep 0.1; done
}
connect() { # port, options
    local port=$1
    shift
    { sleep 0.2; printf 'Q\n'; } | openssl s_client -connect "127.0.0.1:$port" "$@" >>client.log 2>&1 || true
}
serve 4431 -tls1_2 -alpn h2,http/1.1
serve 4432 -tls1_3 -alpn h2,http/1.1
serve 4433 -tls1_2 -Verify 1 -CAfile ca.pem
serve 4434 -tls1_2 -no_ticket
serve 4435 -tls1_3 -groups P-384
capture "$here/tls.pcap"
connect 4431 -servername server.example -alpn h2 -CAfile ca.pem
connect 4432 -servername server.example -alpn http/1.1 -CAfile ca.pem
# The client shows a certificate.
connect 4433 -servername server.example -cert client.pem -key client.key
# Sessions are resumed: by ticket, by id, by key.
connect 4431 -sess_out ticket.session
connect 4431 -sess_in ticket.session
connect 4434 -sess_out id.session
connect 4434 -sess_in id.session
connect 4432 -sess_out psk.session
connect 4432 -sess_in psk.session
# The server asks for another hello.
connect 4435 -groups X25519:P-384
# Nothing in common; a certificate that isn't trusted, told in the clear and encrypted.
connect 4432 -tls1_2
connect 4431 -servername server.example -verify_return_error -CAfile client.pem
connect 4432 -servername server.example -verify_return_error -CAfile client.pem
stop_capture
grep -E '^(New|Reused), |^Verify return code|^ALPN protocol|^No ALPN' client.log >"$here/tls.log"
