//! Any bytes in both directions of a connection that speaks TLS, with every option that looks at more of them.
#![no_main]

const OPTIONS: &str = r#"
[tls]
include_raw_certificates = true
fingerprints = ["md5", "sha1", "sha256"]
"#;

kcap_fuzz::fuzz_target!(|data: &[u8]| kcap_fuzz::stream::run("tls", OPTIONS, data));
