# The blocks of a kcap segment, for Kaitai Struct. segment.md is the normative description; this one is checked against
# it: a test generates a reader from it, and compares what that reads of the golden segments.
#
# Not said here, since it takes more than a grammar: checksums, zstd, the encodings of columns, and what readers make of
# damage. A `block` can be read at any offset at which there is one; `kcap_segment` is a file without damage.
meta:
  id: kcap_segment
  title: kcap segment
  file-extension: kcap
  endian: le
  bit-endian: le
seq:
  - id: blocks
    type: block
    repeat: eos
types:
  block:
    seq:
      - id: header
        type: block_header
      - id: payload
        size: header.stored_len
        type:
          switch-on: payload_kind
          cases:
            4: packets
            7: index
            8: seal
      - id: padding
        size: padding_len
    instances:
      payload_kind:
        # Encrypted payloads are bytes.
        value: 'header.cipher == 0 ? header.block_type : 0'
      padding_len:
        value: '_io.eof ? 0 : (8 - (header.header_len + header.stored_len) % 8) % 8'
  block_header:
    seq:
      - id: sync_marker
        contents: [0x93, 0x4b, 0x43, 0x41, 0x50, 0x0d, 0x0a, 0x1a]
      - id: header_crc32c
        type: u4
      - id: payload_crc32c
        type: u4
      - id: segment_id
        size: 16
      - id: offset
        type: u8
      - id: synced_offset
        type: u8
      - id: sequence
        type: u4
      - id: record_count
        type: u4
      - id: stored_len
        type: u4
      - id: raw_len
        type: u4
      - id: first_time_ns
        type: u8
      - id: last_time_ns
        type: u8
      - id: block_type
        type: u2
      - id: flags
        type: u2
      - id: codec
        type: u1
        enum: codec
      - id: cipher
        type: u1
      - id: version
        type: u2
      - id: header_len
        type: u2
      - id: reserved
        type: u2
      - id: directory_crc32c
        type: u4
      - id: later_fields
        size: header_len - 96
  packets:
    seq:
      - id: directory
        type: directory
      - id: body
        size-eos: true
  directory:
    seq:
      - id: section_count
        type: u2
      - id: reserved
        type: u2
      - id: row_count
        type: u4
      - id: class_count
        type: u4
      - id: directory_crc32c
        type: u4
      - id: sections
        type: section
        repeat: expr
        repeat-expr: section_count
  section:
    seq:
      - id: id
        type: u2
      - id: encoding
        type: u1
        enum: encoding
      - id: codec
        type: u1
        enum: codec
      - id: offset
        doc: counts from the end of the directory
        type: u4
      - id: stored_len
        type: u4
      - id: raw_len
        type: u4
      - id: crc32c
        type: u4
    instances:
      stored:
        io: _parent._parent._io
        pos: 16 + 20 * _parent.section_count + offset
        size: stored_len
  index:
    seq:
      - id: previous_offset
        type: u8
      - id: entry_count
        type: u4
      - id: reserved
        type: u4
      - id: entries
        type: entry
        repeat: expr
        repeat-expr: entry_count
  seal:
    seq:
      - id: digest
        size: 32
      - id: first_time_ns
        type: u8
      - id: last_time_ns
        type: u8
      - id: entry_count
        type: u4
      - id: type_count
        type: u4
      - id: counts
        type: type_count
        repeat: expr
        repeat-expr: type_count
      - id: entries
        type: entry
        repeat: expr
        repeat-expr: entry_count
      - id: seal_offset
        type: u8
      - id: end_marker
        contents: [0x93, 0x4b, 0x53, 0x45, 0x41, 0x4c, 0x0d, 0x0a]
  type_count:
    seq:
      - id: block_type
        type: u2
      - id: reserved
        type: u2
      - id: block_count
        type: u4
      - id: record_count
        type: u8
  entry:
    seq:
      - id: offset
        type: u8
      - id: first_time_ns
        type: u8
      - id: last_time_ns
        type: u8
      - id: sequence
        type: u4
      - id: record_count
        type: u4
      - id: stored_len
        type: u4
      - id: raw_len
        type: u4
      - id: header_crc32c
        type: u4
      - id: block_type
        type: u2
      - id: flags
        type: u2
  messages:
    doc: the payload of FILE, CLOCK, SNAPSHOT, EVENTS and LOSS, decompressed
    seq:
      - id: messages
        type: message
        repeat: eos
  message:
    seq:
      - id: len
        type: varint
      - id: body
        doc: a message of events.proto
        size: len.value
  varint:
    doc: at most 4 bytes, since a message has at most 1 MiB
    seq:
      - id: bytes
        type: u1
        repeat: until
        repeat-until: _ < 0x80 or bytes.size == 4
    instances:
      value:
        value: >-
          (bytes[0] & 0x7f)
          | (bytes.size > 1 ? (bytes[1] & 0x7f) << 7 : 0)
          | (bytes.size > 2 ? (bytes[2] & 0x7f) << 14 : 0)
          | (bytes.size > 3 ? (bytes[3] & 0x7f) << 21 : 0)
enums:
  codec:
    0: stored
    1: zstd
    2: zstd_dictionary
  encoding:
    0: plain
    1: delta
    2: constant
    3: planes
    4: transposed
    5: transposed_delta
