//! One file a concern. Each program counts its run as seen, and exactly one fate for it.

mod bound;
mod capture;
mod cgroup;
mod condition;
mod count;
mod elide;
mod headers;
mod owner;
mod packet;
mod process;
mod ring;
mod settings;
mod socket;
mod switch;
mod task;
mod traffic;
