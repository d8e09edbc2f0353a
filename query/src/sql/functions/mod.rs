//! Functions of kcap for SQL, one a file.

mod arguments;
pub(super) mod bpf;
mod cidr;
mod community_id;
mod flags_str;
mod has_flag;
mod hex;
mod ip;
mod ip_text;
mod payload_text;
mod tcp_flags;

use datafusion::logical_expr::ScalarUDF;

/// Every function, ready to be registered.
#[must_use]
pub fn all_functions() -> Vec<ScalarUDF> {
    vec![
        ScalarUDF::from(bpf::Bpf::default()),
        ScalarUDF::from(cidr::Cidr::default()),
        ScalarUDF::from(community_id::CommunityId::default()),
        ScalarUDF::from(flags_str::FlagsStr::default()),
        ScalarUDF::from(has_flag::HasFlag::default()),
        ScalarUDF::from(hex::Hex::default()),
        ScalarUDF::from(ip::Ip::default()),
        ScalarUDF::from(ip_text::IpText::default()),
        ScalarUDF::from(payload_text::PayloadText::default()),
    ]
}
