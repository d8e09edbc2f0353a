#!/usr/bin/env bash
# Records mysql.pcap, pgsql.pcap and redis.pcap beside this file: MariaDB, PostgreSQL and Redis with their own clients, over
# loopback. Needs root for tcpdump; the servers run as nobody, with their data in a temporary folder. What the clients
# printed goes to standard output: the golden files, written anew by the test with KCAP_UPDATE_GOLDEN=1, are to be read against it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
readonly here work MYSQL_PORT=21306 REDIS_PORT=21379 PGSQL_PORT=21432
server=
capture=
trap '[ -z "$capture" ] || kill $capture; [ -z "$server" ] || kill $server; wait; rm -rf "$work"' EXIT
chown nobody "$work"
cd "$work"

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$work")
until_true() { until "$@" >/dev/null 2>&1; do sleep 0.1; done; }

capture_begin() {
    : >tcpdump.log
    tcpdump -i lo -w "$here/$1.pcap" -s 0 -B 65536 --immediate-mode -U -n -Z root "tcp port $2" 2>tcpdump.log &
    capture=$!
    until_true grep -q 'listening on' tcpdump.log
}

capture_end() {
    sleep 1
    kill -INT $capture && wait $capture
    capture=
    grep -q '^0 packets dropped by kernel' tcpdump.log || { echo 'tcpdump lost packets: record again' >&2; exit 1; }
    kill $server && wait $server || true
    server=
}

record_mysql() {
    local client="mariadb --no-defaults --skip-ssl -h 127.0.0.1 -P $MYSQL_PORT -u root"
    "${as_nobody[@]}" mariadb-install-db --no-defaults --datadir="$work/mysql" --auth-root-authentication-method=normal \
        --skip-test-db >mysql.log 2>&1
    "${as_nobody[@]}" mariadbd --no-defaults --datadir="$work/mysql" --socket="$work/mysql.sock" --port=$MYSQL_PORT \
        --bind-address=127.0.0.1 --pid-file="$work/mysql.pid" --local-infile=1 2>>mysql.log &
    server=$!
    until_true $client -e 'select 1'
    capture_begin mysql $MYSQL_PORT
    printf '7,quince,4.5\n8,medlar,5.5\n' >in.csv
    $client -v -v --local-infile=1 --force <<'SQL' || true
create database shop;
use shop;
create table fruit (id int auto_increment primary key, name varchar(40), price decimal(8,2), seen datetime);
insert into fruit (name, price) values ('apple', 1.25), ('pear', 2.50);
select * from fruit order by id;
select * from nowhere;
update fruit set price = price * 2;
load data local infile 'in.csv' into table fruit fields terminated by ',' (id, name, price);
show warnings;
prepare p from 'select name from fruit where id = ?';
set @id = 2;
execute p using @id;
delimiter //
create procedure both_ends() begin
    select min(id) from fruit; select max(id) from fruit; update fruit set price = 1 where id = 1;
end//
delimiter ;
call both_ends();
delete from fruit where id > 6;
SQL
    perl -MDBI - "$MYSQL_PORT" <<'PERL'
my $db = DBI->connect("DBI:MariaDB:database=shop;host=127.0.0.1;port=$ARGV[0]", "root", "",
    { RaiseError => 0, PrintError => 0, mariadb_server_prepare => 1 });
my $insert = $db->prepare("insert into fruit (name, price, seen) values (?, ?, ?)");
print "rows ", $insert->execute(@$_), "\n"
    for ["plum", 0.75, "2024-02-29 12:30:00"], ["fig", undef, undef], ["caf\x{e9}", 3, "2001-01-01 00:00:00"];
my $select = $db->prepare("select id, name, price, seen from fruit where id > ? order by id");
$select->execute(1);
while (my @row = $select->fetchrow_array) { print join("|", map { $_ // "NULL" } @row), "\n" }
$db->prepare("select * from nowhere where x = ?");
print "error ", $db->err, "\n";
undef $select;
undef $insert;
$db->disconnect;
PERL
    $client --compress shop -e "select repeat('x', 5000) as x; select count(*) from fruit"
    $client -unobody_there -pwrong -e 'select 1' 2>&1 || true
    capture_end
}

record_pgsql() {
    local bin mode
    bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
    "${as_nobody[@]}" "$bin/initdb" -D "$work/pgsql" -U kcap -A trust -N >pgsql.log
    "${as_nobody[@]}" "$bin/postgres" -D "$work/pgsql" -p $PGSQL_PORT -k "$work" -c listen_addresses=127.0.0.1 2>>pgsql.log &
    server=$!
    export PGHOST=127.0.0.1 PGPORT=$PGSQL_PORT PGUSER=kcap PGDATABASE=postgres
    until_true "$bin/pg_isready" -q
    capture_begin pgsql $PGSQL_PORT
    "$bin/psql" -X 2>&1 <<'SQL'
create table fruit (id int primary key, name text, price numeric(8,2));
insert into fruit values (1, 'apple', 1.25), (2, 'pear; or so', 2.50);
select * from fruit order by id;
select 1 \; select 'two;' as t \; selct \; select 4;
select 1 \; select 1 / 0 \; select 3;
update fruit set price = price * 2 where id = 1;
select * from nowhere;
begin \; delete from fruit where id = 2 \; rollback;
copy fruit to stdout;
copy fruit from stdin;
3	plum	0.75
4	fig	\N
\.
select count(*) from fruit;
SQL
    "$bin/psql" -X -c 'select generate_series(1, 300)' | tail -1
    printf '%s\n' '\set id random(1, 3)' 'select name from fruit where id = :id;' \
        'select price, id from fruit where id < :id;' >bench.sql
    for mode in simple extended prepared; do
        "$bin/pgbench" -n -M $mode -f bench.sql -t 5 -c 1 2>&1 | grep processed
    done
    capture_end
}

record_redis() {
    local client="redis-cli -p $REDIS_PORT"
    "${as_nobody[@]}" redis-server --port $REDIS_PORT --bind 127.0.0.1 --dir "$work" --save '' --logfile "$work/redis.log" &
    server=$!
    until_true $client ping
    capture_begin redis $REDIS_PORT
    $client SET greeting 'hello world'
    $client GET greeting
    $client LPUSH list a b c
    $client LRANGE list 0 -1
    $client GET list
    $client HSET h f 1 g 2
    $client GET nothing
    $client EVAL 'return {1,{2,{3}}}' 0
    $client NOSUCH x
    $client -3 HGETALL h
    $client ZADD z 1.5 m
    $client -3 ZSCORE z m
    exec 5<>/dev/tcp/127.0.0.1/$REDIS_PORT
    printf 'SUBSCRIBE news\r\n' >&5
    sleep 0.3
    $client PUBLISH news first
    $client PUBLISH news second
    sleep 0.3
    printf 'UNSUBSCRIBE\r\nQUIT\r\n' >&5
    cat <&5
    exec 5<>/dev/tcp/127.0.0.1/$REDIS_PORT
    printf 'HELLO 3\r\nCLIENT TRACKING on\r\nGET greeting\r\n' >&5
    sleep 0.3
    $client SET greeting changed
    sleep 0.3
    printf 'MULTI\r\nINCR n\r\nINCR n\r\nEXEC\r\nSET inline "a b"\r\nQUIT\r\n' >&5
    cat <&5
    exec 5>&-
    redis-benchmark -p $REDIS_PORT -q -n 20 -c 1 -P 20 -t set,get
    capture_end
}

record_mysql
record_pgsql
record_redis
