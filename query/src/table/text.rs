//! Text of values that several tables show.

/// Text from the kernel, which allows any byte but NUL: what is not UTF-8 is replaced.
pub(super) fn kernel_text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// A device as `ls -l` and `/proc/self/mountinfo` show it.
pub(super) fn device_text(major: u32, minor: u32) -> String {
    format!("{major}:{minor}")
}

/// Types of files, as people name them.
pub(super) const FILE_TYPES: [&str; 7] =
    ["file", "directory", "character_device", "block_device", "pipe", "socket", "symlink"];

/// The place in [`FILE_TYPES`] of the type that is in `st_mode` (`S_IFMT` of inode(7)).
pub(super) fn file_type(mode: u32) -> Option<usize> {
    const TYPE_BITS: u32 = 0o170_000;
    let types = [0o100_000, 0o040_000, 0o020_000, 0o060_000, 0o010_000, 0o140_000, 0o120_000];
    types.iter().position(|bits| *bits == mode & TYPE_BITS)
}

/// Names of address families (`AF_*` of `linux/socket.h`); the number for others.
pub(super) fn family_name(family: u32) -> String {
    match family {
        1 => "unix".to_owned(),
        2 => "ipv4".to_owned(),
        10 => "ipv6".to_owned(),
        16 => "netlink".to_owned(),
        17 => "packet".to_owned(),
        other => other.to_string(),
    }
}

/// Names of socket types (`SOCK_*` of `linux/net.h`); the number for others.
pub(super) fn socket_type_name(socket_type: u32) -> String {
    match socket_type {
        1 => "stream".to_owned(),
        2 => "datagram".to_owned(),
        3 => "raw".to_owned(),
        5 => "seqpacket".to_owned(),
        other => other.to_string(),
    }
}

/// Names of IP protocols (IANA protocol numbers) that hosts usually speak; the number for others.
pub(super) fn ip_protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "icmp".to_owned(),
        2 => "igmp".to_owned(),
        4 => "ipip".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        41 => "ipv6".to_owned(),
        47 => "gre".to_owned(),
        50 => "esp".to_owned(),
        58 => "icmpv6".to_owned(),
        89 => "ospf".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// The name of a kernel program of a loss report.
pub(super) fn program_name(program: i32) -> String {
    kcap_format::proto::LossProgram::try_from(program)
        .map_or_else(|_| program.to_string(), |program| program.as_str_name().to_ascii_lowercase())
}
