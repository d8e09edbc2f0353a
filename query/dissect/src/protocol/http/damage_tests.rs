//! Connections of which something is missing or changed.

use super::tests::{Step, answers, number, one, queries, run, run_all, sends};
use crate::protocol::{Incomplete, Status};

use crate::protocol::Sender::{Originator as Client, Responder as Server};

#[test]
fn a_gap_may_have_had_the_response_that_was_given_up() {
    let steps = [
        sends("GET /1 HTTP/1.1\r\n\r\n"),
        Step::Wait(11),
        sends("GET /2 HTTP/1.1\r\n\r\n"),
        Step::Gap(Server, 500),
        sends("GET /3 HTTP/1.1\r\n\r\n"),
        answers("HTTP/1.1 204 x\r\n\r\n"),
    ];
    let transactions = run("", &steps);
    assert_eq!(queries(&transactions), [("GET /1", None), ("GET /2", None), ("GET /3", Some(204))]);
    assert_eq!(transactions[1].incomplete, Some(Incomplete::ResponseGap));
}

#[test]
fn gaps() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let request = sends("GET /1 HTTP/1.1\r\n\r\n");
    let next = [sends("GET /2 HTTP/1.1\r\n\r\n"), answers("HTTP/1.1 204 x\r\n\r\n")];
    let with = |steps: &[Step]| {
        run("include_body_for = [\"\"]", &[std::slice::from_ref(&request), steps, &next].concat())
    };
    for (steps, name) in [
        (vec![answers(head), Step::Gap(Server, 100)], "the whole body"),
        (
            vec![answers(head), answers("0123456789"), Step::Gap(Server, 80), answers("0123456789")],
            "within the body",
        ),
        (vec![answers(head), answers("0123456789"), Step::Gap(Server, 95)], "past the end of the body"),
    ] {
        let transactions = with(&steps);
        assert_eq!(queries(&transactions), [("GET /1", Some(200)), ("GET /2", Some(204))], "{name}");
        assert_eq!(transactions[0].incomplete, Some(Incomplete::ResponseGap), "{name}");
        assert_eq!(transactions[0].status, Status::Ok, "{name}");
        assert_eq!(transactions[0].errors, ["Packet loss while capturing the response"], "{name}");
        assert_eq!(transactions[1].incomplete, None, "{name}");
    }
    let lost_head = with(&[Step::Gap(Server, 60), answers("rest of the body")]);
    assert_eq!(queries(&lost_head), [("GET /1", None), ("GET /2", Some(204))]);
    assert_eq!(lost_head[0].incomplete, Some(Incomplete::ResponseGap));
    let cut_heads = with(&[answers("HTTP/1.1 404 Not Found\r\nServer: s\r\nDat"), Step::Gap(Server, 900)]);
    assert_eq!(queries(&cut_heads), [("GET /1", Some(404)), ("GET /2", Some(204))]);
    assert_eq!(
        (cut_heads[0].status, cut_heads[0].incomplete),
        (Status::Error, Some(Incomplete::ResponseGap))
    );
    assert_eq!(number(&cut_heads[0], "http.response.bytes"), 900 + 35);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n01";
    let within_chunk = with(&[answers(chunked), Step::Gap(Server, 3), answers("56789\r\n0\r\n\r\n")]);
    assert_eq!(queries(&within_chunk), [("GET /1", Some(200)), ("GET /2", Some(204))]);
    assert_eq!(number(&within_chunk[0], "http.response.body.bytes"), 10);
    let over_chunks = with(&[answers(chunked), Step::Gap(Server, 30), answers("56789\r\n0\r\n\r\n")]);
    assert_eq!(queries(&over_chunks), [("GET /1", Some(200)), ("GET /2", Some(204))]);
    let request_gap = run(
        "",
        &[
            sends("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"),
            Step::Gap(Client, 9),
            answers("HTTP/1.1 204 x\r\n\r\n"),
        ],
    );
    assert_eq!(request_gap[0].errors, ["Packet loss while capturing the request"]);
}

#[test]
fn a_tunnel_whose_answer_is_missing() {
    let connect = sends("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n");
    let with = |steps: &[Step]| run("", &[&[connect.clone(), Step::Gap(Server, 60)], steps].concat());
    let refused = with(&[
        sends("GET /2 HTTP/1.1\r\n\r\n"),
        sends("GET /3 HTTP/1.1\r\n\r\n"),
        answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]);
    let expected = [("CONNECT b.test:443", None), ("GET /2", Some(200)), ("GET /3", None)];
    assert_eq!(queries(&refused), expected);
    let tunnel = with(&[sends("\x16\x03\x01 no request"), answers("\x16\x03\x03 no response")]);
    assert_eq!(queries(&tunnel), expected[..1], "what isn't understood is passed over");
}

#[test]
fn joined_late() {
    let steps = [
        answers("middle of a body"),
        sends("GET /2 HTTP/1.1\r\n\r\n"),
        answers("its end"),
        answers("HTTP/1.1 204 x\r\n\r\n"),
    ];
    let (transactions, _) = run_all("", false, &steps);
    assert_eq!(queries(&transactions), [("GET /2", Some(204))]);
    let mut reversed = steps.to_vec();
    for step in &mut reversed {
        if let Step::Data(sender, _) = step {
            *sender = sender.other();
        }
    }
    let (transactions, _) = run_all("", false, &reversed);
    assert_eq!(transactions[0].client, Server, "who asks is seen from what is said");
}

#[test]
fn malformed_ones() {
    let garbage = one("", &[sends("GET /old\r\n\r\n"), answers("<html>")]);
    assert_eq!((garbage.status, garbage.incomplete), (Status::Error, Some(Incomplete::Malformed)));
    assert_eq!(garbage.errors, ["Malformed request: invalid start line"]);
    let chunk = one(
        "",
        &[
            sends("GET / HTTP/1.1\r\n\r\n"),
            answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz"),
        ],
    );
    assert_eq!(chunk.incomplete, Some(Incomplete::Malformed));
    assert_eq!(chunk.errors, ["Malformed response: invalid chunk"]);
}

fn session() -> Vec<Step> {
    vec![
        sends("POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
        answers(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: r\r\n\r\n",
        ),
        answers("HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nxxxxx"),
        sends("HEAD /3 HTTP/1.1\r\n\r\n"),
        answers("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        sends("GET /4 HTTP/1.0\r\n\r\n"),
        answers("HTTP/1.0 200 OK\r\n\r\nuntil close"),
    ]
}

#[test]
fn every_prefix_every_hole_every_late_join() {
    const OPTIONS: &str = "include_body_for = [\"\"]\nsend_all_headers = true\nsend_response = true";
    let steps = session();
    let count = run(OPTIONS, &steps).len();
    assert_eq!(count, 4);
    for (number, step) in steps.iter().enumerate() {
        let Step::Data(sender, bytes) = step else { continue };
        for cut in 0..bytes.len() {
            let head = Step::Data(*sender, bytes[..cut].to_vec());
            let prefix = [&steps[..number], std::slice::from_ref(&head)].concat();
            assert!(run(OPTIONS, &prefix).len() <= count);
            let late = [&[Step::Data(*sender, bytes[cut..].to_vec())], &steps[number + 1..]].concat();
            assert!(run_all(OPTIONS, false, &late).0.len() <= count + 1);
            for hole in [1, 20, bytes.len() - cut] {
                let hole = hole.min(bytes.len() - cut);
                let tail = Step::Data(*sender, bytes[cut + hole..].to_vec());
                let holed = [
                    &steps[..number],
                    &[head.clone(), Step::Gap(*sender, hole as u64), tail],
                    &steps[number + 1..],
                ];
                assert!(!run(OPTIONS, &holed.concat()).is_empty());
            }
        }
    }
}

#[test]
fn changed_bytes() {
    let steps = session();
    for (number, step) in steps.iter().enumerate() {
        let Step::Data(sender, bytes) = step else { continue };
        for at in 0..bytes.len() {
            for value in [b'\n', 0xff, bytes[at] ^ 1] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let mut steps = steps.clone();
                steps[number] = Step::Data(*sender, changed);
                run("include_body_for = [\"\"]", &steps);
            }
        }
    }
}
