//! Descriptions of interfaces take little memory, however long they are: compressed, they take no space in a file.

mod support;

use std::io::Write;

use kcap_import::CaptureFile;
use support::{Order, enhanced_packet, frame, interface, option, section, statistics};

const INTERFACES: usize = 1_500;
const NAME: u16 = 2;
const ADDRESS: u16 = 4;

fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most memory so far");
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// One test, since what others allocate meanwhile would be counted.
#[test]
fn long_descriptions_of_many_interfaces_take_little_memory() {
    let order = Order::Little;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("interfaces.pcapng.zst");
    let mut file = zstd::Encoder::new(std::fs::File::create_new(&path).unwrap(), 1).unwrap();
    file.write_all(&section(order, &[])).unwrap();
    let name = option(order, NAME, &[b'x'; 65_000]);
    let addresses = vec![option(order, ADDRESS, &[10, 0, 0, 1, 255, 0, 0, 0]); 1_000];
    let [long_name, many_addresses] =
        [&[name][..], &addresses].map(|options| interface(order, 1, 0, options));
    for number in 0..INTERFACES {
        file.write_all(if number % 2 == 0 { &long_name } else { &many_addresses }).unwrap();
        file.write_all(&enhanced_packet(order, number as u32, 0, &frame(1, 10), &[])).unwrap();
        file.write_all(&statistics(order, number as u32, &[(4, 1)])).unwrap();
    }
    file.finish().unwrap().sync_all().unwrap();
    let before = peak_kib();
    let capture = CaptureFile::open(&path, 1).unwrap();
    let events = capture.interface_events().unwrap();
    assert_eq!(
        (events.len(), capture.losses().unwrap().unwrap().kernel_seen),
        (INTERFACES, INTERFACES as u64)
    );
    let taken = peak_kib() - before;
    println!("{} bytes, {taken} KiB", path.metadata().unwrap().len());
    assert!(taken < 32 << 10, "{taken} KiB");
}
