//! Columns of table `http`.

use crate::protocol::Column;

/// Under the names that documents have.
pub(super) const COLUMNS: &[Column] = &[
    Column::text("http.version", "version of the request: `1.1`"),
    Column::text("http.request.method", "method"),
    Column::text("http.request.referrer", "header field `Referer`"),
    Column::uint("http.request.bytes", "bytes of the request with its head"),
    Column::uint("http.request.body.bytes", "bytes of the request's body, without transfer coding"),
    Column::text("http.request.body.content", "body, for media types of `include_request_body_for`"),
    Column::map(
        "http.request.headers",
        "length and type of the body; more with `send_headers` and `send_all_headers`",
    ),
    Column::uint("http.response.status_code", "status code"),
    Column::text("http.response.status_phrase", "what is said beside the status code, in lower case"),
    Column::uint("http.response.bytes", "bytes of the response with its head"),
    Column::uint("http.response.body.bytes", "bytes of the response's body, without transfer coding"),
    Column::text("http.response.body.content", "body, for media types of `include_response_body_for`"),
    Column::map(
        "http.response.headers",
        "length and type of the body; more with `send_headers` and `send_all_headers`",
    ),
    Column::text("url.original", "request target as it was sent"),
    Column::text("url.full", "whole URL, with the parameters of a form"),
    Column::text("url.scheme", "`http`"),
    Column::text("url.domain", "host that the request is for"),
    Column::uint("url.port", "port that the request is for, unless it is 80"),
    Column::text("url.path", "path, decoded"),
    Column::text("url.extension", "what follows the last dot of the path"),
    Column::text("url.query", "parameters of the query and of a form, sorted"),
    Column::text("user_agent.original", "header field `User-Agent`"),
    Column::text("network.forwarded_ip", "address in the header field that option `real_ip_header` names"),
];
