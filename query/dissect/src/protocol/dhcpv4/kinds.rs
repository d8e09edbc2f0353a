//! Names of numbers in messages.

/// Field `op`.
pub(super) fn operation_name(operation: u8) -> &'static str {
    if operation == 1 { "bootrequest" } else { "bootreply" }
}

/// Option 53 (RFC 2132, section 9.6; RFC 3203, RFC 4388, RFC 6926, RFC 7724).
pub(super) fn message_type_name(kind: u8) -> String {
    const NAMES: [&str; 18] = [
        "discover",
        "offer",
        "request",
        "decline",
        "ack",
        "nak",
        "release",
        "inform",
        "forcerenew",
        "leasequery",
        "leaseunassigned",
        "leaseunknown",
        "leaseactive",
        "bulkleasequery",
        "leasequerydone",
        "activeleasequery",
        "leasequerystatus",
        "tls",
    ];
    match usize::from(kind).checked_sub(1).and_then(|at| NAMES.get(at)) {
        Some(name) => (*name).to_owned(),
        None => kind.to_string(),
    }
}

/// Hardware types of ARP, by IANA's names.
pub(super) fn hardware_name(kind: u8) -> String {
    let name = match kind {
        1 => "Ethernet",
        2 => "Experimental Ethernet",
        3 => "Amateur Radio AX.25",
        4 => "Proteon ProNET Token Ring",
        5 => "Chaos",
        6 => "IEEE 802",
        7 => "ARCNET",
        8 => "Hyperchannel",
        9 => "Lanstar",
        10 => "Autonet Short Address",
        11 => "LocalTalk",
        12 => "LocalNet",
        13 => "Ultra link",
        14 => "SMDS",
        15 => "Frame Relay",
        16 => "ATM",
        17 => "HDLC",
        18 => "Fibre Channel",
        19 => "ATM 2",
        20 => "Serial Line",
        24 => "IEEE 1394",
        27 => "EUI-64",
        31 => "IPsec tunnel",
        32 => "Infiniband",
        other => return other.to_string(),
    };
    name.to_owned()
}
