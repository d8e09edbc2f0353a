"""Reads kcap segments by spec/segment.md and spec/segment.ksy alone, and prints what is in them as JSON.

    python read.py FOLDER_OF_GENERATED_READER SEGMENT...

Prints one JSON object a line and segment. Nothing here knows the Rust code: where both read the same, the document says
enough. Reads in salvage mode, with all that the document says of damage.
"""

import json
import sys
from collections import Counter

import blake3
import zstandard

sys.path.insert(0, sys.argv[1])
from kaitaistruct import BytesIO, KaitaiStream  # noqa: E402
from kcap_segment import KcapSegment  # noqa: E402

FILE, PACKETS, EVENTS, INDEX, SEAL, DICTIONARY = 1, 4, 5, 7, 8, 10
KNOWN_TYPES = range(1, 11)
WITH_MESSAGES = {1, 2, 3, 5, 6}
CRITICAL = 1
SYNC_MARKER = bytes.fromhex("934b4341500d0a1a")
END_MARKER = bytes.fromhex("934b5345414c0d0a")
BLOCK_HEADER_LEN_MAX = 256
BLOCK_RAW_LEN_MAX = 16 << 20
BLOCK_STORED_LEN_MAX = BLOCK_RAW_LEN_MAX + (64 << 10)
BLOCK_RECORD_COUNT_MAX = 1 << 20
SEGMENT_BLOCK_COUNT_MAX = 1 << 16
DICTIONARY_TRY_COUNT_MAX = 32
SEAL_SAMPLE_COUNT = 16
TRANSPOSED_ROW_LEN_MAX = 128


class Damage(Exception):
    """There is no whole block, or its records can't be read."""


# ---- checksums ----------------------------------------------------------------------------------------

CRC_TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC_TABLE.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# ---- blocks -------------------------------------------------------------------------------------------


class Block:
    """A whole block: what the generated reader says of it, and its bytes."""

    def __init__(self, data, offset, segment_id=None):
        head = data[offset : offset + 96]
        if len(head) < 96 or head[:8] != SYNC_MARKER:
            raise Damage("no header")
        header = KcapSegment.BlockHeader(stream(data[offset : offset + BLOCK_HEADER_LEN_MAX]))
        if not 96 <= header.header_len <= BLOCK_HEADER_LEN_MAX:
            raise Damage("header length")
        if crc32c(data[offset + 12 : offset + header.header_len]) != header.header_crc32c:
            raise Damage("header checksum")
        in_limits = (
            header.offset == offset
            and header.synced_offset <= offset
            and header.sequence < SEGMENT_BLOCK_COUNT_MAX
            and header.record_count <= BLOCK_RECORD_COUNT_MAX
            and header.stored_len <= BLOCK_STORED_LEN_MAX
            and header.raw_len <= BLOCK_RAW_LEN_MAX
            and header.version == 1
        )
        if not in_limits:
            raise Damage("a field of the header")
        if segment_id is not None and header.segment_id != segment_id:
            raise Damage("another segment")
        self.header = header
        self.offset = offset
        self.end = offset + header.header_len + header.stored_len
        self.payload = data[offset + header.header_len : self.end]
        if len(self.payload) < header.stored_len:
            raise Damage("cut short")
        self.next_offset = (self.end + 7) // 8 * 8
        self.bytes = data[offset : self.end]

    def has_right_payload(self):
        return crc32c(self.payload) == self.header.payload_crc32c

    def entry(self):
        header = self.header
        return (
            header.offset, header.first_time_ns, header.last_time_ns, header.sequence, header.record_count,
            header.stored_len, header.raw_len, header.header_crc32c, header.block_type, header.flags,
        )  # fmt: skip

    def content(self):
        """The payload as the generated reader has it."""
        return KcapSegment.Block(stream(self.bytes)).payload


def stream(data):
    return KaitaiStream(BytesIO(data))


def whole_block(data, offset, segment_id=None, payload=False):
    try:
        block = Block(data, offset, segment_id)
    except (Damage, EOFError):
        return None
    return block if not payload or block.has_right_payload() else None


def search(data, begin, segment_id=None):
    """The next whole block with a right payload."""
    for offset in range((begin + 7) // 8 * 8, len(data), 8):
        if data[offset : offset + 8] == SYNC_MARKER:
            block = whole_block(data, offset, segment_id, payload=True)
            if block:
                return block
    return None


def identify(data):
    """The first block of the segment that most blocks name."""
    count, first, offset = Counter(), {}, 0
    while block := search(data, offset):
        offset = block.next_offset
        first.setdefault(block.header.segment_id, block)
        count[block.header.segment_id] += 1
    most = max(count.values())
    return next(block for segment_id, block in first.items() if count[segment_id] == most)


# ---- finding the blocks of a segment ------------------------------------------------------------------


def seal_at_end(data):
    if data[-8:] != END_MARKER or len(data) < 16:
        return None
    block = whole_block(data, int.from_bytes(data[-16:-8], "little"), payload=True)
    if not block or block.header.block_type != SEAL or block.next_offset != len(data):
        return None
    seal = block.content()
    entries = [entry_of(entry) for entry in seal.entries]
    next_offset = 0
    for sequence, entry in enumerate(entries):
        offset, stored_len, block_type, flags = entry[0], entry[5], entry[8], entry[9]
        refused = block_type not in KNOWN_TYPES and flags & CRITICAL
        is_first = sequence == 0
        if entry[3] != sequence or offset < next_offset or offset % 8 or (block_type == FILE) != is_first or refused:
            return None
        next_offset = offset + 96 + stored_len
    counts = Counter()
    records = Counter()
    for entry in entries:
        counts[entry[8]] += 1
        records[entry[8]] += entry[4]
    stated = [(count.block_type, count.block_count, count.record_count) for count in seal.counts]
    if stated != sorted((kind, counts[kind], records[kind]) for kind in counts):
        return None
    if next_offset > block.offset or block.header.sequence != len(entries):
        return None
    return block, seal, entries


def entry_of(entry):
    return (
        entry.offset, entry.first_time_ns, entry.last_time_ns, entry.sequence, entry.record_count,
        entry.stored_len, entry.raw_len, entry.header_crc32c, entry.block_type, entry.flags,
    )  # fmt: skip


def is_trusted(data, seal_block, entries):
    segment_id = seal_block.header.segment_id
    if not entries or not whole_block(data, 0, segment_id, payload=True):
        return False
    count = min(len(entries), SEAL_SAMPLE_COUNT)
    samples = [entries[at * (len(entries) - 1) // max(count - 1, 1)] for at in range(count)]
    blocks = [whole_block(data, entry[0], segment_id) for entry in samples]
    if all(block and block.entry() == entry for block, entry in zip(blocks, samples)):
        return True
    return identify(data).header.segment_id == segment_id


def walk(data, first):
    segment_id = first.header.segment_id
    found, damage, synced, offset = [], [], 0, first.offset
    if offset > 0:
        damage.append([0, offset])
    while offset < len(data):
        block = whole_block(data, offset, segment_id)
        if block and follows(block, found[-1] if found else None):
            synced = max(synced, block.header.synced_offset)
            found.append(block)
            offset = block.next_offset
        else:
            resumed = search(data, offset + 1, segment_id)
            end = resumed.offset if resumed else len(data)
            damage.append([offset, end])
            offset = end
    blocks = []
    for block in found:
        is_promised = block.offset < synced and block.header.block_type != FILE
        if not is_promised and not block.has_right_payload():
            damage.append([block.offset, min(block.next_offset, len(data))])
        elif block.header.block_type != SEAL:
            blocks.append(block)
    return blocks, sorted(damage), synced


def follows(block, before):
    header = block.header
    if header.block_type not in KNOWN_TYPES and header.flags & CRITICAL:
        return False
    if header.block_type == FILE and header.sequence > 0:
        return False
    if before is None:
        return block.offset > 0 or header.sequence == 0
    if before.header.block_type == SEAL:
        return False
    if before.next_offset == block.offset:
        return header.sequence == before.header.sequence + 1
    return header.sequence > before.header.sequence


def read(data):
    sealed = seal_at_end(data)
    if sealed and is_trusted(data, sealed[0], sealed[2]):
        block, seal, entries = sealed
        if blake3.blake3(data[: block.offset]).digest() == seal.digest:
            # The grammar of the whole file finds the same blocks.
            whole = [block.header.offset for block in KcapSegment(stream(data)).blocks]
            assert whole == [entry[0] for entry in entries] + [block.offset]
        return {
            "segment_id": block.header.segment_id.hex(),
            "state": "sealed",
            "synced_offset": len(data),
            "damage": [],
            "seal": seal_json(seal),
            "blocks": blocks_json(data, entries, block.header.segment_id),
        }
    first = whole_block(data, 0)
    owner = identify(data)
    if not first or first.header.segment_id != owner.header.segment_id:
        first = owner
    blocks, damage, synced = walk(data, first)
    state = "unsealed" if not damage else "corrupt" if damage[0][0] < synced else "torn"
    segment_id = first.header.segment_id
    seal = sealed[1] if sealed and sealed[0].header.segment_id == segment_id else None
    return {
        "segment_id": segment_id.hex(),
        "state": state,
        "synced_offset": synced,
        "damage": damage,
        "seal": seal and seal_json(seal),
        "blocks": blocks_json(data, [block.entry() for block in blocks], segment_id),
    }


def seal_json(seal):
    return {
        "digest": seal.digest.hex(),
        "first_time_ns": seal.first_time_ns,
        "last_time_ns": seal.last_time_ns,
        "counts": [[count.block_type, count.block_count, count.record_count] for count in seal.counts],
    }


def blocks_json(data, entries, segment_id):
    known = dictionaries(data, entries, segment_id)
    return [block_json(data, entry, segment_id, known) for entry in entries]


def block_json(data, entry, segment_id, known):
    names = "offset first_time_ns last_time_ns sequence record_count stored_len raw_len header_crc32c type flags"
    value = dict(zip(names.split(), entry))
    name = "packets" if entry[8] == PACKETS else "messages" if entry[8] in WITH_MESSAGES else "whole"
    try:
        block = whole_block(data, entry[0], segment_id)
        if not block or block.entry() != entry:
            raise Damage("not the block of the entry")
        if name == "packets":
            value[name] = packets(block, known)
        else:
            value[name] = {"messages": messages, "whole": Block.has_right_payload}[name](block)
    except Damage:
        value[name] = None
    return value


# ---- records ------------------------------------------------------------------------------------------


def decompress(codec, stored, raw_len, dictionary=None):
    if codec in (KcapSegment.Codec.zstd, KcapSegment.Codec.zstd_dictionary):
        if (codec == KcapSegment.Codec.zstd_dictionary) != (dictionary is not None):
            raise Damage("dictionary")
        try:
            decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
            stored = decompressor.decompress(stored, max_output_size=raw_len)
        except zstandard.ZstdError as error:
            raise Damage(error) from error
    if len(stored) != raw_len:
        raise Damage("raw length")
    return stored


def dictionaries(data, entries, segment_id):
    found = {}
    for entry in [entry for entry in entries if entry[8] == DICTIONARY][:DICTIONARY_TRY_COUNT_MAX]:
        block = whole_block(data, entry[0], segment_id)
        if not block or block.entry() != entry or not block.has_right_payload() or block.header.cipher:
            continue
        try:
            raw = decompress(block.header.codec, block.payload, block.header.raw_len)
        except Damage:
            continue
        content = zstandard.ZstdCompressionDict(raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        found.setdefault(blake3.blake3(raw).digest()[:8], content)
    return found


def messages(block):
    if not block.has_right_payload():
        raise Damage("payload checksum")
    if block.header.cipher:
        raise Damage("encrypted")
    raw = decompress(block.header.codec, block.payload, block.header.raw_len)
    bodies = [message.body.hex() for message in KcapSegment.Messages(stream(raw)).messages]
    if len(bodies) != block.header.record_count:
        raise Damage("record count")
    return bodies


COLUMNS = {  # id: name, bytes of its type, one value for each class instead of each row
    1: ("time_ns", 8, False), 2: ("class", 4, False), 3: ("socket_cookie", 8, True), 4: ("netns_cookie", 8, True),
    5: ("interface_index", 4, True), 6: ("link_type", 2, True), 7: ("direction", 1, True), 8: ("flags", 2, True),
    9: ("program", 1, True), 10: ("mark", 4, True), 11: ("cpu", 2, False), 12: ("gso_size", 2, False),
    13: ("gso_segments", 2, False), 14: ("header_len", 4, False), 15: ("payload_len", 4, False),
    16: ("uncaptured_len", 4, False), 17: ("copy_of", 4, False), 21: ("tasks", 4, True),
}  # fmt: skip
HEADER, PAYLOAD, DICTIONARY_ID = 18, 19, 20


def packets(block, known):
    if block.header.cipher:
        raise Damage("encrypted")
    section_count = int.from_bytes(block.payload[:2], "little")
    raw = block.payload[: 16 + 20 * section_count]
    checksum = crc32c(raw[:12] + raw[16:])
    if len(raw) != 16 + 20 * section_count or checksum != block.header.directory_crc32c:
        raise Damage("directory checksum")
    directory = block.content().directory
    if directory.directory_crc32c != checksum:
        raise Damage("directory checksum")
    if directory.row_count != block.header.record_count:
        raise Damage("row count")
    if any(crc32c(section.stored) != section.crc32c for section in directory.sections):
        raise Damage("section checksum")
    named = [known.get(section.stored) for section in directory.sections if section.id == DICTIONARY_ID]
    sections = {}
    for section in directory.sections:
        needed = named[0] if named and section.codec == KcapSegment.Codec.zstd_dictionary else None
        raw = decompress(section.codec, section.stored, section.raw_len, needed)
        sections[section.id] = (section.encoding, raw)
    rows, classes = directory.row_count, directory.class_count
    columns = {}
    for number, (name, width, by_class) in COLUMNS.items():
        count = classes if by_class else rows
        columns[name] = numbers(*sections[number], count, width) if number in sections else [0] * count
    class_of = columns.pop("class")
    for name, _, by_class in COLUMNS.values():
        if by_class:
            columns[name] = [columns[name][of_row] for of_row in class_of]
    copy_of, header_len = columns.pop("copy_of"), columns.pop("header_len")
    uncaptured = columns.pop("uncaptured_len")
    payload_len = columns["payload_len"]
    columns["wire_len"] = [sum(lens) % 2**32 for lens in zip(uncaptured, header_len, payload_len)]
    header_source = [row - (copy >> 1) for row, copy in enumerate(copy_of)]
    payload_source = [row - (copy >> 1) * (copy & 1) for row, copy in enumerate(copy_of)]
    for number, name, lens, source in (
        (HEADER, "header", header_len, header_source),
        (PAYLOAD, "payload", payload_len, payload_source),
    ):
        own = [row for row in range(rows) if source[row] == row]
        encoding, raw = sections.get(number, (KcapSegment.Encoding.plain, b""))
        values = dict(zip(own, byte_rows(encoding, raw, [lens[row] for row in own], [class_of[row] for row in own])))
        for row in range(rows):
            values[row] = values[source[row]] if source[row] != row else values[row]
        columns[name] = [values[row].hex() for row in range(rows)]
    if not any(columns["tasks"]):
        del columns["tasks"]  # readings that are older than the column
    return columns


def numbers(encoding, raw, count, width):
    kind = KcapSegment.Encoding
    if encoding == kind.constant:
        return [int.from_bytes(raw, "little")] * count
    if encoding == kind.planes:
        planes = [raw[1 + at * count :][:count] for at in range(raw[0])]
        return [sum(plane[row] << 8 * at for at, plane in enumerate(planes)) for row in range(count)]
    assert encoding == kind.delta
    values, value, at = [], 0, 0
    for _ in range(count):
        zigzag = shift = 0
        while True:
            byte = raw[at]
            at += 1
            zigzag |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        value = (value + (zigzag >> 1 ^ -(zigzag & 1))) % 2**64
        values.append(value % 2 ** (8 * width))
    assert at == len(raw)
    return values


def byte_rows(encoding, raw, lens, class_of):
    kind = KcapSegment.Encoding
    if encoding == kind.plain:
        values, at = [], 0
        for length in lens:
            values.append(raw[at : at + length])
            at += length
        assert at == len(raw)
        return values
    values, at = [b""] * len(lens), 0
    for length in sorted({length for length in lens if 0 < length <= TRANSPOSED_ROW_LEN_MAX}):
        group = [row for row in range(len(lens)) if lens[row] == length]
        columns = [raw[at + place * len(group) :][: len(group)] for place in range(length)]
        for position, row in enumerate(group):
            values[row] = bytes(column[position] for column in columns)
        at += length * len(group)
    for row, length in enumerate(lens):
        if length > TRANSPOSED_ROW_LEN_MAX:
            values[row] = raw[at : at + length]
            at += length
    assert at == len(raw)
    if encoding == kind.transposed_delta:
        last, last_of = b"", {}
        for row, length in enumerate(lens):
            if length > TRANSPOSED_ROW_LEN_MAX:
                continue
            reference = last_of.get(class_of[row], last)
            padded = reference[:length].ljust(length, b"\0")
            values[row] = bytes((a + b) % 256 for a, b in zip(values[row], padded))
            last = last_of[class_of[row]] = values[row]
    return values


for path in sys.argv[2:]:
    with open(path, "rb") as file:
        print(json.dumps(read(file.read())))
