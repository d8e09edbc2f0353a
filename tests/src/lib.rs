//! What the end-to-end tests and benches share: starting the binaries, making traffic, hosts in network namespaces,
//! and the peers that results are compared with. Nothing here is a stand-in for something that can be run.

pub mod answer;
pub mod binary;
pub mod books;
pub mod command;
pub mod complaint;
pub mod containerd;
pub mod containers;
pub mod database;
pub mod docker;
pub mod exclusive_program;
pub mod isolated;
pub mod kcap;
pub mod kernel;
pub mod ledger;
pub mod namespace;
pub mod owners;
pub mod packets;
pub mod pcap;
pub mod recorder;
pub mod router;
pub mod slow_disk;
pub mod small_disk;
pub mod tcpdump;
pub mod traffic;
pub mod web;
