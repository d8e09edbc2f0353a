//! Link types whose headers the language knows: the numbers of <https://www.tcpdump.org/linktypes.html>.

/// BSD loopback: four bytes of address family.
pub const NULL: u16 = 0;
/// Ethernet.
pub const ETHERNET: u16 = 1;
/// IPv4 or IPv6 without a link header.
pub const RAW: u16 = 101;
/// OpenBSD loopback.
pub const LOOP: u16 = 108;
/// Linux cooked, version 1.
pub const LINUX_SLL: u16 = 113;
/// Linux cooked, version 2.
pub const LINUX_SLL2: u16 = 276;
