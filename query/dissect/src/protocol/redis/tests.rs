//! Whole connections, from bytes to transactions.

use super::super::testing::{CLIENT, Event, SERVER, client, run, run_with, server, torture};
use super::super::{Incomplete, Sender, Status, Transaction, Value};
use super::PROTOCOL;

/// A command as clients send it.
fn command(line: &str) -> Vec<u8> {
    let words: Vec<_> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

fn word<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a str> {
    transaction.fields.value(path).and_then(Value::as_text)
}

fn returned(transactions: &[Transaction]) -> Vec<(&str, &str)> {
    (transactions.iter())
        .map(|one| (one.query.as_deref().unwrap_or("-"), word(one, "redis.return_value").unwrap_or("-")))
        .collect()
}

fn session() -> Vec<Event> {
    vec![
        client(&command("set key3 me")),
        server(b"+OK\r\n"),
        client(&[command("get key3"), command("llen key3"), command("lrange l 0 -1")].concat()),
        server(b"$2\r\nme\r\n-WRONGTYPE no list\r\n*2\r\n$1\r\na\r\n$-1\r\n"),
        client(b"PING\r\n"),
        server(b"+PONG\r\n"),
    ]
}

#[test]
fn commands_and_their_replies() {
    let all = run_with(&PROTOCOL, true, "send_request = true\nsend_response = true", &session());
    assert_eq!(
        returned(&all),
        [
            ("set key3 me", "OK"),
            ("get key3", "me"),
            ("llen key3", "-"),
            ("lrange l 0 -1", "[a, nil]"),
            ("PING", "PONG")
        ]
    );
    let [set, _, llen, lrange, ping] = &all[..] else { unreachable!() };
    assert_eq!((set.method.as_deref(), set.resource.as_deref()), (Some("SET"), Some("key3")));
    assert_eq!(set.request.unwrap().bytes, 31);
    assert_eq!(set.request_text.as_deref(), Some("set key3 me"));
    assert_eq!((llen.status, word(llen, "redis.error")), (Status::Error, Some("WRONGTYPE no list")));
    assert_eq!(lrange.response_text.as_deref(), Some("[a, nil]"));
    assert_eq!(ping.fields.value("redis.inline"), Some(&Value::Bool(true)));
    assert!(all.iter().all(|one| one.incomplete.is_none() && !one.table_only));
}

#[test]
fn cut_holed_and_joined_late() {
    torture(&PROTOCOL, &session());
    torture(&PROTOCOL, &subscribed());
    torture(&PROTOCOL, &replica());
}

fn subscribed() -> Vec<Event> {
    vec![
        client(&command("SUBSCRIBE a b")),
        server(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
        server(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
        server(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
        client(&command("PSUBSCRIBE n*")),
        server(b"*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:3\r\n"),
        server(b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\nx\r\n"),
        client(&command("UNSUBSCRIBE")),
        server(b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n"),
        client(&command("PUNSUBSCRIBE n*")),
        server(b"*3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:0\r\n"),
        client(&command("lrange l 0 -1")),
        server(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nno\r\n"),
    ]
}

#[test]
fn channels() {
    let all = run(&PROTOCOL, &subscribed());
    let methods: Vec<_> = all.iter().map(|one| one.method.as_deref().unwrap()).collect();
    assert_eq!(
        methods,
        ["MESSAGE", "SUBSCRIBE", "PSUBSCRIBE", "PMESSAGE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "LRANGE"]
    );
    let [message, subscribe, _, pmessage, _, _, lrange] = &all[..] else { unreachable!() };
    assert_eq!((message.resource.as_deref(), word(message, "redis.return_value")), (Some("a"), Some("hi")));
    assert_eq!((message.request, message.source), (None, SERVER));
    assert_eq!(word(subscribe, "redis.return_value"), Some("[[subscribe, a, 1], [subscribe, b, 2]]"));
    assert_eq!(word(pmessage, "redis.return_value"), Some("x"));
    assert_eq!(
        word(lrange, "redis.return_value"),
        Some("[message, a, no]"),
        "nothing is subscribed to any more"
    );
    assert!(all.iter().all(|one| one.incomplete.is_none()));
}

#[test]
fn version_3_pushes() {
    let events = [
        client(&command("HELLO 3")),
        server(b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
        client(&command("SUBSCRIBE a")),
        server(b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
        client(&command("GET k")),
        server(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"),
        server(b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n_\r\n"),
    ];
    let all = run(&PROTOCOL, &events);
    let methods: Vec<_> = all.iter().map(|one| one.method.as_deref().unwrap()).collect();
    assert_eq!(methods, ["HELLO", "SUBSCRIBE", "INVALIDATE", "MESSAGE", "GET"]);
    assert_eq!(all[2].resource.as_deref(), Some("[k]"));
    assert_eq!(word(&all[4], "redis.return_value"), Some("nil"));
}

#[test]
fn a_subscriber_that_is_joined_late() {
    let message = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
    for options in ["", "ports = [1]"] {
        let all =
            run_with(&PROTOCOL, false, options, &[server(b"middle\r\n"), server(message), server(message)]);
        assert_eq!(all.len(), 2, "{options}");
        assert_eq!(all[0].client, CLIENT);
    }
}

#[test]
fn monitors_see_the_commands_of_others() {
    let events = [
        client(&command("MONITOR")),
        server(b"+OK\r\n"),
        server(b"+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n"),
    ];
    let all = run(&PROTOCOL, &events);
    assert_eq!((all.len(), all[1].method.as_deref()), (2, Some("MONITOR")));
    assert_eq!(all[1].fields.value("redis.push"), Some(&Value::Bool(true)));
}

#[test]
fn replies_that_are_switched_off() {
    let all = [
        command("CLIENT REPLY OFF"),
        command("set a 1"),
        command("CLIENT REPLY ON"),
        command("CLIENT REPLY SKIP"),
        command("set b 1"),
        command("get b"),
    ];
    let all = run(&PROTOCOL, &[client(&all.concat()), server(b"+OK\r\n$1\r\n1\r\n")]);
    assert!(all.iter().all(|one| one.incomplete.is_none()));
    let answered: Vec<_> = returned(&all).into_iter().filter(|(_, value)| *value != "-").collect();
    assert_eq!(answered, [("CLIENT REPLY ON", "OK"), ("get b", "1")]);
    assert_eq!(all.len(), 6);
}

fn replica() -> Vec<Event> {
    vec![
        client(&command("PSYNC ? -1")),
        server(b"+FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 0\r\n"),
        server(b"\n\n$9\r\nREDIS0011"),
        server(&[command("SELECT 0"), command("set key3 me")].concat()),
        client(&command("REPLCONF ACK 55")),
        server(&command("REPLCONF GETACK *")),
        client(&command("REPLCONF ACK 99")),
    ]
}

#[test]
fn a_replica_is_told_of_changes() {
    let all = run(&PROTOCOL, &replica());
    let queries: Vec<_> = all.iter().map(|one| one.query.as_deref().unwrap_or("-")).collect();
    assert_eq!(
        queries,
        [
            "PSYNC ? -1",
            "-",
            "SELECT 0",
            "set key3 me",
            "REPLCONF ACK 55",
            "REPLCONF GETACK *",
            "REPLCONF ACK 99"
        ]
    );
    assert_eq!(word(&all[1], "redis.return_value"), Some("<database>"));
    assert!(all[1..4].iter().all(|one| one.table_only && one.source == Sender::Responder));
    assert!(all.iter().all(|one| one.incomplete.is_none()));
}

#[test]
fn the_queue_has_limits() {
    let commands = [command("get a"), command("get b"), command("get c")].concat();
    let replies = b"$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n";
    for options in ["queue_max_messages = 2", "queue_max_bytes = 600"] {
        let all = run_with(&PROTOCOL, true, options, &[client(&commands), server(replies)]);
        assert_eq!(returned(&all), [("get a", "-"), ("get b", "2"), ("get c", "3")], "{options}");
        assert_eq!(all[0].incomplete, Some(Incomplete::Limit));
    }
    let all = run_with(&PROTOCOL, true, "queue_max_messages = 0", &[client(&commands), server(replies)]);
    assert!(all.iter().all(|one| one.incomplete.is_none()));
}

#[test]
fn replies_that_come_too_late() {
    let events = [
        client(&command("blpop l 0")),
        Event::Pause(11_000_000_000),
        client(&command("get a")),
        server(b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n$1\r\n1\r\n"),
    ];
    let all = run(&PROTOCOL, &events);
    assert_eq!(returned(&all), [("blpop l 0", "-"), ("get a", "1")]);
    assert_eq!((all[0].incomplete, all[0].status), (Some(Incomplete::NoResponse), Status::ServerError));
}

#[test]
fn gaps() {
    let reply = b"$20\r\naaaaaaaaaabbbbbbbbbb\r\n";
    let events = |from: usize, to: usize| {
        [
            client(&command("get a")),
            server(&reply[..from]),
            Event::Gap(SERVER, (to - from) as u64),
            server(&reply[to..]),
            client(&command("get b")),
            server(b"$1\r\n2\r\n"),
        ]
    };
    for (from, to) in [(8, 12), (8, 26), (0, 10)] {
        let all = run(&PROTOCOL, &events(from, to));
        assert_eq!(
            (all[0].query.as_deref(), all[0].incomplete),
            (Some("get a"), Some(Incomplete::ResponseGap))
        );
        assert_eq!(all[0].errors, ["Packet loss while capturing the response"]);
        assert_eq!(
            (all[1].incomplete, word(&all[1], "redis.return_value")),
            (None, Some("2")),
            "{from} to {to}"
        );
    }
    let events = [
        client(&command("get a")[..9]),
        Event::Gap(CLIENT, 30),
        client(&command("get c")),
        server(b"$1\r\n3\r\n"),
    ];
    let all = run(&PROTOCOL, &events);
    assert_eq!((all[0].query.as_deref(), all[0].incomplete), (None, Some(Incomplete::RequestGap)));
    assert_eq!(returned(&all)[1], ("get c", "3"));
}

#[test]
fn a_reply_to_what_was_not_seen() {
    let all = run(&PROTOCOL, &[server(b"+OK\r\n"), client(&command("get a")), server(b"$1\r\n1\r\n")]);
    assert_eq!((all[0].incomplete, all[0].table_only), (Some(Incomplete::NoRequest), true));
    assert_eq!(returned(&all)[1], ("get a", "1"));
}
