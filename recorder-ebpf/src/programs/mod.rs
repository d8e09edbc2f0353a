//! One file a concern. Each program counts its run as seen, and exactly one fate for it.

mod bound;
mod capture;
mod cgroup;
mod change;
mod condition;
mod count;
mod elide;
mod exec;
mod file;
mod filter;
mod flow;
mod headers;
mod interface;
mod mapping;
mod namespace;
mod owner;
mod packet;
mod process;
mod ring;
mod scratch;
mod settings;
mod socket;
mod stream;
mod switch;
mod task;
mod traffic;
