//! A second host: a network namespace of the test's own, joined to the first by a veth pair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::command::run;

/// A network namespace with one interface, whose other end is in the namespace of the test. Removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Name of the interface on the test's side.
    pub interface: String,
    subnet: u8,
}

/// Counts the namespaces of this process, so that each has its own names and addresses.
static COUNT: AtomicU8 = AtomicU8::new(1);

impl Namespace {
    /// Makes the namespace and the veth pair, with IPv4 and IPv6 addresses that can be used at once.
    #[track_caller]
    pub fn new() -> Self {
        let subnet = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let space =
            Self { name: format!("kcap-{id}-{subnet}"), interface: format!("kc{id}-{subnet}"), subnet };
        let (name, near, far) = (&space.name, &space.interface, "eth0");
        ip(&format!("netns add {name}"));
        ip(&format!("link add {near} type veth peer name {far} netns {name}"));
        for (prefix, device, v4, v6) in [
            (String::new(), near.as_str(), space.near_v4().to_string(), space.near_v6().to_string()),
            (format!("-n {name} "), far, space.far_v4().to_string(), space.far_v6().to_string()),
        ] {
            ip(&format!("{prefix}addr add {v4}/24 dev {device}"));
            // Without duplicate address detection, which takes a second.
            ip(&format!("{prefix}addr add {v6}/64 dev {device} nodad"));
            ip(&format!("{prefix}link set {device} up"));
        }
        ip(&format!("-n {name} link set lo up"));
        space
    }

    /// A command that runs in the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Address of the namespace's interface.
    pub fn far(&self, v6: bool) -> IpAddr {
        if v6 { self.far_v6().into() } else { self.far_v4().into() }
    }

    /// Address of the interface on the test's side.
    pub fn near(&self, v6: bool) -> IpAddr {
        if v6 { self.near_v6().into() } else { self.near_v4().into() }
    }

    // 198.18.0.0/15 is for tests between hosts (RFC 2544); fd00::/8 is for private use (RFC 4193).
    fn near_v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.subnet, 1)
    }

    fn far_v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.subnet, 2)
    }

    fn near_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x6b63, 0x6170, u16::from(self.subnet), 0, 0, 0, 1)
    }

    fn far_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x6b63, 0x6170, u16::from(self.subnet), 0, 0, 0, 2)
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Removing the namespace removes the pair once its last process and socket are gone; the near end goes now.
        let _ = Command::new("ip").args(["link", "del", &self.interface]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[track_caller]
fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split_whitespace())).success();
}
