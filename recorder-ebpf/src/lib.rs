//! What the kernel programs and `kcap-record` tell each other: ring records, map values and globals.
//!
//! All structs are `repr(C)` with explicit padding and no implicit one, so that the same bytes mean the same
//! on both sides. The programs themselves are in `main.rs` and `programs/`, built only for the BPF target.
#![no_std]

mod condition;
mod event;
mod file;
mod filter;
mod headers;
mod loss;
mod mapping;
mod packet;
mod process;
mod settings;

pub use condition::*;
pub use event::*;
pub use file::*;
pub use filter::*;
pub use headers::*;
pub use loss::*;
pub use mapping::*;
pub use packet::*;
pub use process::*;
pub use settings::*;

// Both sides are compiled apart from each other: what one writes must be what the other reads.
const _: () = {
    assert!(size_of::<PacketHead>() == 56);
    assert!(size_of::<EventHead>() == 64);
    assert!(size_of::<NamespaceFacts>() == 24);
    assert!(size_of::<FileFacts>() == 48);
    assert!(size_of::<StreamFacts>() == 96);
    assert!(size_of::<ForkEvent>() == 112);
    assert!(size_of::<ExecEvent>() == 480);
    assert!(size_of::<MappingEvent>() == 168);
    assert!(size_of::<ExitEvent>() == 72);
    assert!(size_of::<SocketEvent>() == 144);
    assert!(size_of::<CgroupEvent>() == 96);
    assert!(size_of::<Task>() == 48);
    assert!(size_of::<Verdict>() == 8);
    assert!(size_of::<WakeCall>() == 16);
    assert!(size_of::<FileKey>() == 16);
    assert!(size_of::<Counters>() == 72);
    assert!(size_of::<Settings>() == 4 * 115);
};
