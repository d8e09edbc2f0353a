//! Any bytes in both directions of a connection that speaks HTTP, with every option that looks at more of them.
#![no_main]

const OPTIONS: &str = r#"
[http]
send_request = true
send_response = true
send_all_headers = true
split_cookie = true
include_body_for = [""]
hide_keywords = ["a"]
redact_authorization = true
redact_headers = ["x"]
real_ip_header = "x-forwarded-for"
max_message_size = 100000
"#;

kcap_fuzz::fuzz_target!(|data: &[u8]| kcap_fuzz::stream::run("http", OPTIONS, data));
