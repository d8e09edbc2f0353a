//! Any bytes in both directions of a connection that speaks PostgreSQL.
#![no_main]

const OPTIONS: &str = r#"
[pgsql]
send_request = true
send_response = true
max_rows = 3
max_row_length = 20
"#;

kcap_fuzz::fuzz_target!(|data: &[u8]| kcap_fuzz::stream::run("pgsql", OPTIONS, data));
