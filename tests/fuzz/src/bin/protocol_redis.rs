//! Any bytes in both directions of a connection that speaks Redis.
#![no_main]

const OPTIONS: &str = r#"
[redis]
send_request = true
send_response = true
queue_max_messages = 100
queue_max_bytes = 20000
"#;

kcap_fuzz::fuzz_target!(|data: &[u8]| kcap_fuzz::stream::run("redis", OPTIONS, data));
