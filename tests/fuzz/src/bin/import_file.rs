//! pcap and pcapng, plain and compressed, as they come from a stream. Whatever is read of them lies in the input.
#![no_main]

use std::io::Cursor;

use kcap_format::{BlockType, PacketColumns};
use kcap_import::CaptureFile;

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let is_compressed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let Ok(file) = CaptureFile::from_stream("fuzz", Cursor::new(data.to_vec()), 1) else { return };
    let Ok(blocks) = file.blocks() else { return };
    let mut captured_len = 0;
    for block in blocks.iter().filter(|block| block.block_type == BlockType::PACKETS) {
        let packets = file.packets(block, PacketColumns::ALL).expect("what was found can be read");
        assert_eq!(packets.batch.len, block.record_count as usize);
        captured_len += packets.batch.header.data_len() + packets.batch.payload.data_len();
    }
    assert!(is_compressed || captured_len <= data.len());
    let losses = file.losses().expect("the file was walked").unwrap_or_default();
    assert!(losses.seen >= losses.stored);
});
