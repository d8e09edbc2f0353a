//! Columns of table `dns`.

use crate::protocol::column::Column;

/// Fields of every record; those of its type are in the documents.
const RECORD: &[Column] = &[
    Column::text("name", "Name that the record belongs to"),
    Column::text("type", "Type: `A`, `MX`"),
    Column::text("class", "Class: `IN`"),
    Column::uint("ttl", "Time to live, in seconds"),
    Column::text("data", "Data, as in a zone file"),
];

pub(super) const COLUMNS: &[Column] = &[
    Column::uint("dns.id", "Number that the client chose for the query"),
    Column::text("dns.type", "`answer` when there is a response, else `query`"),
    Column::text("dns.op_code", "Kind of query: `QUERY`, `NOTIFY`, `UPDATE`"),
    Column::text("dns.response_code", "How it went: `NOERROR`, `NXDOMAIN`"),
    Column::text("dns.question.name", "Name asked for"),
    Column::text("dns.question.type", "Type asked for"),
    Column::text("dns.question.class", "Class asked for"),
    Column::text("dns.question.registered_domain", "The part of the name that somebody registered"),
    Column::text("dns.question.etld_plus_one", "As `dns.question.registered_domain`"),
    Column::text("dns.question.top_level_domain", "Public suffix of the name: `co.uk`"),
    Column::text("dns.question.subdomain", "What is before the registered part"),
    Column::texts("dns.header_flags", "Flags that are set: `AA`, `TC`, `RD`, `RA`, `AD`, `CD`"),
    Column::bool("dns.flags.authoritative", "The server is an authority for the name"),
    Column::bool("dns.flags.truncated_response", "The response was cut to fit"),
    Column::bool("dns.flags.recursion_desired", "The client asked the server to resolve the name"),
    Column::bool("dns.flags.recursion_available", "The server would resolve names"),
    Column::bool("dns.flags.authentic_data", "The server verified the signatures"),
    Column::bool("dns.flags.checking_disabled", "The client asked not to verify signatures"),
    Column::uint("dns.answers_count", "Number of answers"),
    Column::objects("dns.answers", RECORD, "Answers"),
    Column::texts("dns.resolved_ip", "Addresses among the answers"),
    Column::uint("dns.authorities_count", "Number of authority records"),
    Column::objects("dns.authorities", RECORD, "Authority records, with option `include_authorities`"),
    Column::uint("dns.additionals_count", "Number of additional records, without OPT"),
    Column::objects("dns.additionals", RECORD, "Additional records, with option `include_additionals`"),
    Column::text("dns.opt.version", "Version of EDNS"),
    Column::bool("dns.opt.do", "The client takes DNSSEC records"),
    Column::text("dns.opt.ext_rcode", "Response code with the bits of EDNS"),
    Column::uint("dns.opt.udp_size", "Size of UDP payloads that the sender takes, in bytes"),
    Column::text("dns.opt.subnet", "Client subnet: address, source and scope prefix"),
    Column::text("dns.opt.extended_error", "Extended error: code and text"),
];
