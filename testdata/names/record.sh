#!/usr/bin/env bash
# Makes dns.pcap, dhcpv4.pcap and icmp.pcap here: dnsmasq with dig, dnsmasq with udhcpc, and ping, between two network
# namespaces of their own. What the clients printed goes to standard output: the golden files, written anew by the test with
# KCAP_UPDATE_GOLDEN=1, are to be read against it. As root; needs ip, tcpdump, dnsmasq, dig, busybox, ping.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" != inside ]; then
    exec unshare --net --mount "$0" inside
fi
work=$(mktemp -d)
far=kcap-names-$$
pids=()
capture_pid=
finish() {
    for pid in "${pids[@]}" $capture_pid; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    ip netns del "$far"
    rm -rf "$work"
}
trap finish EXIT
ip link set lo up
ip netns add "$far"
ip link add near type veth peer name eth0 netns "$far"
ip addr add 198.18.0.1/24 dev near
ip addr add fd00:6b63:6170::1/64 dev near nodad
ip link set near up
ip -n "$far" addr add fd00:6b63:6170::2/64 dev eth0 nodad
ip -n "$far" link set eth0 up
ip -n "$far" link set lo up
inside() { ip netns exec "$far" "$@"; }

capture_begin() { # name, filter
    : >"$work/tcpdump.log"
    tcpdump -i near -w "$here/$1.pcap" -s 0 --immediate-mode -U -n -Z root "$2" 2>"$work/tcpdump.log" &
    capture_pid=$!
    until grep -q 'listening on' "$work/tcpdump.log"; do sleep 0.1; done
}
capture_end() {
    sleep 1
    kill -INT "$capture_pid" && wait "$capture_pid"
    capture_pid=
}

long=$(printf 'x%.0s' $(seq 200))
dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --no-resolv --pid-file --user=root --log-facility=- \
    --interface=near --bind-interfaces --no-ping --local-ttl=300 --domain=kcap.test --local=/kcap.test/ \
    --host-record=www.kcap.test,192.0.2.1,2001:db8::1 --host-record=www.kcap.test,192.0.2.2 \
    --cname=alias.kcap.test,www.kcap.test --txt-record=text.kcap.test,'some text' \
    --txt-record="long.kcap.test,$long,$long,$long,$long,$long,$long" \
    --mx-host=kcap.test,mail.kcap.test,10 --srv-host=_sip._udp.kcap.test,sip.kcap.test,5060,3,7 \
    --ptr-record=1.2.0.192.in-addr.arpa,www.kcap.test --caa-record=kcap.test,0,issue,ca.example \
    --naptr-record=tel.kcap.test,100,10,u,E2U+sip,'!^.*$!sip:info@kcap.test!' \
    --dhcp-range=198.18.0.100,198.18.0.110,255.255.255.0,2h --dhcp-option=option:ntp-server,192.0.2.9 \
    --dhcp-option=option:classless-static-route,10.0.0.0/8,198.18.0.9 --dhcp-leasefile="$work/leases" 2>"$work/dnsmasq.log" &
pids+=($!)
until grep -q 'sockets bound exclusively' "$work/dnsmasq.log"; do sleep 0.1; done

# Writes what it was told; keeps the address for the tests that follow.
cat >"$work/script" <<'SCRIPT'
#!/bin/sh
case "$1" in bound | renew) echo "$1: $(env | grep -E '^(ip|subnet|router|dns|domain|lease|serverid|ntpsrv|staticroutes)=' | sort | tr '\n' ' ')" ;; esac
[ "$1" != bound ] || ip addr add "$ip/24" dev eth0
SCRIPT
chmod 755 "$work/script"
udhcpc=(busybox udhcpc -i eth0 -f -n -t 2 -T 1 -x hostname:monica -V 'kcap 1' -O ntpsrv -O staticroutes -s "$work/script")
capture_begin dhcpv4 'udp port 67 or udp port 68'
ip netns exec "$far" "${udhcpc[@]}" >"$work/udhcpc.log" 2>&1 &
client=$!
pids+=("$client")
touch "$work/udhcpc.log"
until grep -q '^bound' "$work/udhcpc.log"; do sleep 0.1; done
# The whole exchange, a renewal, and the address given back.
kill -USR1 "$client"
until grep -q '^renew' "$work/udhcpc.log"; do sleep 0.1; done
sleep 0.5
kill -USR2 "$client"
sleep 0.5
kill "$client"
wait "$client" || true
# An address that isn't to be had.
timeout 4 ip netns exec "$far" "${udhcpc[@]}" -q -r 198.18.7.7 >>"$work/udhcpc.log" 2>&1 || true
cat "$work/udhcpc.log"
capture_end
# Its address is the same again, since dnsmasq remembers the client.
address=$(ip -n "$far" -4 -o addr show dev eth0 | sed 's|.* inet \([0-9.]*\)/.*|\1|' | head -1)

capture_begin dns 'port 53'
ask() { inside dig @198.18.0.1 +tries=1 +timeout=2 +noall +comments +answer +stats "$@" | grep -vE '^;; (WHEN|SERVER|Query time|WARNING)|^$'; }
for question in 'www.kcap.test A' 'www.kcap.test AAAA' 'alias.kcap.test A' 'text.kcap.test TXT' 'kcap.test MX' \
    '_sip._udp.kcap.test SRV' 'kcap.test CAA' 'tel.kcap.test NAPTR' '-x 192.0.2.1' 'nothing.kcap.test A' \
    'www.example.org A' '+dnssec www.kcap.test A' '+noedns www.kcap.test A' '+subnet=192.0.2.0/24 www.kcap.test A' \
    '+tcp www.kcap.test A' '+bufsize=512 long.kcap.test TXT' '+notcp +ignore +bufsize=512 long.kcap.test TXT'; do
    # shellcheck disable=SC2086
    ask $question
done
# Two questions in one connection.
inside dig @198.18.0.1 +tcp +keepopen +noall +answer www.kcap.test A alias.kcap.test A
# Nobody answers at an address that nobody has.
ip -n "$far" neigh add 198.18.0.77 lladdr 02:00:00:00:00:77 dev eth0
inside dig @198.18.0.77 +tries=1 +timeout=1 www.kcap.test A || true
inside dig @fd00:6b63:6170::1 +noall +answer www.kcap.test AAAA
capture_end

capture_begin icmp '(icmp or icmp6 or udp port 33434) and not (icmp6[0] >= 130 and icmp6[0] <= 143)'
ping -n -c 3 -i 0.2 -s 100 "$address"
ping -n -6 -c 3 -i 0.2 fd00:6b63:6170::2
inside sh -c 'echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all'
ping -n -c 2 -i 0.2 -W 1 "$address" || true
# A closed port, on both versions of IP, and a hop too many.
for to in "$address" fd00:6b63:6170::2; do
    exec 3<>"/dev/udp/$to/33434"
    printf 'anybody there?' >&3
    exec 3>&-
    sleep 0.2
done
inside ip route add 203.0.113.0/24 via 198.18.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
ip route add 203.0.113.0/24 via 198.18.0.250
inside ping -n -c 1 -W 1 -t 1 203.0.113.1 || true
ip route replace unreachable 203.0.113.0/24
inside ping -n -c 1 -W 1 203.0.113.1 || true
capture_end
