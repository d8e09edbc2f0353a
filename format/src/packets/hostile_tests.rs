//! PACKETS payloads that lie although all their checksums are right: damage is found by checksums, malice is not.

use crate::batch::{PacketBatch, PacketRow};
use crate::compression::{Compression, Effort};
use crate::dictionary::DictionaryPool;
use crate::error::Fault;
use crate::limits::{BLOCK_RAW_LEN_MAX, PACKET_ROW_RAW_LEN};
use crate::packets::copies::encode_copy;
use crate::packets::decode::Stated;
use crate::packets::directory::{self, Section};
use crate::packets::{Encoding, PacketColumns, PacketEncoder, decode, directory_crc, section};

fn batch(len: u32) -> PacketBatch {
    let mut batch = PacketBatch::default();
    for i in 0..len {
        let row = PacketRow {
            time_ns: u64::from(i) * 1_000,
            socket_cookie: u64::from(i % 3),
            cpu: (i % 2) as u16,
            ..PacketRow::default()
        };
        // Every third packet is a copy of the one before it.
        let number = i - u32::from(i % 3 == 2);
        batch.push(&row, &(number * 77).to_be_bytes(), &vec![number as u8; (number % 50) as usize]);
    }
    batch
}

/// A payload of stored sections with right checksums.
fn payload(row_count: usize, class_count: usize, sections: &[(u16, Encoding, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut entries = Vec::new();
    for (id, encoding, raw) in sections {
        entries.push(Section {
            id: *id,
            encoding: *encoding as u8,
            codec: 0,
            offset: body.len() as u32,
            stored_len: raw.len() as u32,
            raw_len: raw.len() as u32,
            crc: crc32c::crc32c(raw),
        });
        body.extend_from_slice(raw);
    }
    directory::join(&entries, row_count, class_count, &body)
}

fn decode_all(payload: &[u8], rows: usize, raw_len: usize) -> Result<PacketBatch, Fault> {
    let mut batch = PacketBatch::default();
    let stated = Stated {
        record_count: rows as u32,
        raw_len: raw_len as u32,
        directory_crc: directory_crc(payload).unwrap(),
    };
    decode(payload, stated, PacketColumns::ALL, &|_| Err(Fault::Corrupt("no dictionary")), &mut batch)
        .map(|()| batch)
}

#[test]
fn sections_with_random_bytes_and_right_checksums_never_panic() {
    let batch = batch(60);
    let mut random = 7u64;
    let mut next = |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % limit
    };
    let encoded = [Effort::Stored, Effort::default()].map(|effort| {
        PacketEncoder::default()
            .encode(&batch, effort, &mut Compression::default(), &DictionaryPool::default())
            .payload
    });
    let mut refused = 0;
    for round in 0..20_000 {
        let encoded = &encoded[round % 2];
        let parsed = directory::Directory::parse(encoded, directory_crc(encoded).unwrap()).unwrap();
        let mut sections: Vec<Section> = parsed.sections().collect();
        let mut body = encoded[directory::directory_len(sections.len())..].to_vec();
        for _ in 0..=next(3) {
            let section = next(sections.len());
            let section = &mut sections[section];
            match next(7) {
                0 => section.encoding = next(7) as u8,
                1 => section.codec = next(3) as u8,
                2 => section.raw_len = next(1 << 25) as u32,
                3 => section.stored_len = next(section.stored_len as usize * 2 + 1) as u32,
                4 => section.id = next(20) as u16,
                5 => section.offset = next(body.len() * 2) as u32,
                _ => {
                    let at = next(body.len());
                    body[at] = next(256) as u8;
                }
            }
        }
        for section in &mut sections {
            let begin = section.offset as usize;
            if let Some(stored) = body.get(begin..begin + section.stored_len as usize) {
                section.crc = crc32c::crc32c(stored);
            }
        }
        let hostile = directory::join(&sections, batch.len - next(2), next(4), &body);
        match decode_all(&hostile, batch.len, batch.raw_len()) {
            Ok(read) => assert!(read.raw_len() <= BLOCK_RAW_LEN_MAX as usize),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 10_000, "only {refused} were refused");
}

#[test]
fn copies_cannot_grow_beyond_the_block() {
    let rows = 100_000;
    let header_len = 60_000u32;
    let mut copies = vec![0; rows];
    copies[1..].fill(encode_copy(1, true) as u8);
    let bomb = payload(
        rows,
        1,
        &[
            (section::HEADER_LEN, Encoding::Constant, header_len.to_le_bytes().to_vec()),
            (section::COPY_OF, Encoding::Planes, [vec![1], copies].concat()),
            (section::HEADER, Encoding::Plain, vec![0; header_len as usize]),
        ],
    );
    for raw_len in
        [0, BLOCK_RAW_LEN_MAX as usize, rows * (PACKET_ROW_RAW_LEN + header_len as usize) % (1 << 32)]
    {
        assert!(matches!(decode_all(&bomb, rows, raw_len), Err(Fault::Corrupt(_))));
    }
}

#[test]
fn copies_of_rows_that_are_not_there_are_refused() {
    let rows = |copies: [u8; 3], lens: [u8; 3], header: &[u8]| {
        let sections = [
            (section::HEADER_LEN, Encoding::Planes, [vec![1], lens.to_vec()].concat()),
            (section::COPY_OF, Encoding::Planes, [vec![1], copies.to_vec()].concat()),
            (section::HEADER, Encoding::Plain, header.to_vec()),
        ];
        let raw_len = 3 * PACKET_ROW_RAW_LEN + lens.iter().map(|&len| usize::from(len)).sum::<usize>();
        decode_all(&payload(3, 1, &sections), 3, raw_len)
    };
    let back = |distance| encode_copy(distance, false) as u8;
    let read = rows([0, 0, back(2)], [2, 1, 2], b"abc").unwrap();
    assert_eq!(read.header.get(2), Some(&b"ab"[..]));
    assert!(rows([0, 0, back(3)], [2, 1, 2], b"abc").is_err(), "before the first row");
    assert!(rows([back(1), 0, 0], [2, 1, 2], b"abc").is_err(), "before the first row");
    assert!(rows([0, 0, back(1)], [2, 1, 2], b"abc").is_err(), "another length");
    assert!(rows([0, 0, 1], [2, 1, 2], b"abcde").is_err(), "a copied payload of no row");
    assert!(rows([0, 0, 0], [2, 1, 2], b"abc").is_err(), "too few bytes");
}
