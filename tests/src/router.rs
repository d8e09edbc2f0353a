//! A network of the test's own: host A, a router, host B. Also taken in by the recorder's own tests, so nothing else of this
//! package is used here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Three namespaces: `a` and `b` each have `eth0`, the router `r` has `to-a` and `to-b`. Addresses are 198.18.1.2 and
/// 198.18.2.2, those of the router end in 1. Removed when dropped.
#[derive(Debug)]
pub struct RoutedNetwork {
    /// What the names of its parts begin with.
    pub name: String,
}

impl RoutedNetwork {
    /// Makes it; `test` tells the networks of one process apart.
    #[track_caller]
    pub fn new(test: &str) -> Self {
        let network = Self { name: format!("kcap-{}-{test}", std::process::id()) };
        let script = r#"
            for side in a r b; do
                ip netns add "$0-$side"
                for conf in all default; do
                    ip netns exec "$0-$side" sh -c "echo 1 > /proc/sys/net/ipv6/conf/$conf/disable_ipv6"
                done
            done
            ip netns exec "$0-r" sh -c "echo 1 > /proc/sys/net/ipv4/ip_forward"
            number=1
            for side in a b; do
                ip -n "$0-r" link add "to-$side" type veth peer name eth0 netns "$0-$side"
                ip -n "$0-r" addr add "198.18.$number.1/24" dev "to-$side"
                ip -n "$0-$side" addr add "198.18.$number.2/24" dev eth0
                ip -n "$0-r" link set "to-$side" up
                ip -n "$0-$side" link set eth0 up
                ip -n "$0-$side" route add default via "198.18.$number.1"
                number=2
            done
        "#;
        let made = Command::new("sh").args(["-ec", script, &network.name]).output().expect("sh");
        assert!(made.status.success(), "no network: {}", String::from_utf8_lossy(&made.stderr));
        network
    }

    /// The file of a namespace: `a`, `r` or `b`.
    pub fn path(&self, side: &str) -> PathBuf {
        Path::new("/run/netns").join(format!("{}-{side}", self.name))
    }

    /// A command in a namespace, with all other namespaces as they are here.
    pub fn command(&self, side: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path(side).display())).arg(program);
        command
    }
}

impl Drop for RoutedNetwork {
    fn drop(&mut self) {
        for side in ["a", "b", "r"] {
            let _ = Command::new("ip").args(["netns", "del", &format!("{}-{side}", self.name)]).output();
        }
    }
}
