//! Every constant of the segment's bytes. The writer checks them before it writes, the reader after it read and
//! before it allocates. `spec/segment.md` lists the same names and values.

/// First bytes of every block. Not text, so that no transfer in text mode survives unnoticed.
pub const SYNC_MARKER: [u8; 8] = [0x93, b'K', b'C', b'A', b'P', 0x0D, 0x0A, 0x1A];

/// Last bytes of a sealed segment.
pub const END_MARKER: [u8; 8] = [0x93, b'K', b'S', b'E', b'A', b'L', 0x0D, 0x0A];

/// Version of the format that this crate writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

/// Blocks begin at multiples of this; zero bytes fill the gap.
pub const BLOCK_ALIGNMENT: u64 = 8;

/// Longest block header a reader accepts: room for fields that later versions append.
pub const BLOCK_HEADER_LEN_MAX: u16 = 256;

/// Most bytes that a block's records take before compression.
pub const BLOCK_RAW_LEN_MAX: u32 = 16 << 20;

/// Bytes before compression at which a writer should end a block.
pub const BLOCK_RAW_LEN_TARGET: u32 = 1 << 20;

/// Most bytes of a block's payload in the file: incompressible records and the section directory fit.
pub const BLOCK_STORED_LEN_MAX: u32 = BLOCK_RAW_LEN_MAX + (64 << 10);

/// Most records in a block: a [`PacketId`](crate::PacketId) has 20 bits for the row.
pub const BLOCK_RECORD_COUNT_MAX: u32 = 1 << 20;

/// Most blocks in a segment, so that the entries of all of them fit into the SEAL and into a reader's memory.
pub const SEGMENT_BLOCK_COUNT_MAX: u32 = 1 << 16;

/// Blocks after which the writer adds an INDEX.
pub const INDEX_BLOCK_COUNT: usize = 256;

/// Most sections of a PACKETS block.
pub const SECTION_COUNT_MAX: u16 = 64;

/// Rows of bytes that are longer than this are never transposed.
pub const TRANSPOSED_ROW_LEN_MAX: usize = 128;

/// Bytes that one packet's fixed-size values take before compression: they count towards [`BLOCK_RAW_LEN_MAX`].
pub const PACKET_ROW_RAW_LEN: usize = 54;

/// Most bytes of one protobuf message.
pub const MESSAGE_LEN_MAX: usize = 1 << 20;

/// Most bytes of the message of a FILE block, which stays in memory while the segment is open.
pub const FILE_MESSAGE_LEN_MAX: usize = 128 << 10;

/// Most messages in a block. With [`MESSAGES_RAW_LEN_MAX`] it bounds the memory that decoding takes, which is
/// much more than the bytes of the messages.
pub const MESSAGE_COUNT_MAX: u32 = 1 << 16;

/// Most bytes of all messages of a block with their length prefixes, before compression.
pub const MESSAGES_RAW_LEN_MAX: u32 = 2 << 20;

/// Most clock samples of a segment that a reader uses, which keeps all of them: twice as many as blocks, each of which has
/// one as the recorder writes them, once a second.
pub const CLOCK_SAMPLE_COUNT_MAX: u32 = 2 * SEGMENT_BLOCK_COUNT_MAX;

/// Bytes of messages at which `split_events` begins another block.
pub const MESSAGES_RAW_LEN_TARGET: usize = 512 << 10;

/// Bytes that are encrypted together, and vouched for by one tag: what a reader of one column decrypts at least.
pub const ENCRYPTED_CHUNK_LEN: usize = 16 << 10;

/// Most recipients of an encrypted segment.
pub const RECIPIENT_COUNT_MAX: u64 = 64;

/// Most bytes of a KEY block's payload: the key, encrypted to all recipients.
pub const WRAPPED_KEY_LEN_MAX: usize = 64 << 10;

/// KEY blocks that a reader tries. All hold the same key: more are there for when some are damaged.
pub const KEY_TRY_COUNT_MAX: usize = 16;

/// Longest file that is read for identities.
pub const IDENTITY_FILE_LEN_MAX: u64 = 1 << 20;

/// Most bytes of a dictionary.
pub const DICTIONARY_LEN_MAX: usize = 256 << 10;

/// Most dictionaries of a segment: a reader keeps all of them.
pub const DICTIONARY_COUNT_MAX: usize = 16;

/// DICTIONARY blocks that a reader looks at: each dictionary is there twice.
pub const DICTIONARY_TRY_COUNT_MAX: usize = 2 * DICTIONARY_COUNT_MAX;

/// Buffers that grew beyond this for one block are given back behind it.
pub const BUFFER_LEN_KEPT: usize = 4 << 20;

/// Bytes whose checksum a reader computes to find whole blocks behind damage, as a multiple of the file's length.
/// Twice what the damage of a file that a writer made can ask for.
pub const SEARCH_CHECKED_FILE_LENS_MAX: u64 = 2;

/// Segments between which a reader decides whose blocks most of a damaged file's are. Blocks of more segments in one
/// file are no accident, and don't count.
pub const IDENTITY_CANDIDATE_COUNT_MAX: usize = 64;

/// Blocks, spread over the segment, that must be where the SEAL says for it to be trusted without a look at the rest.
pub const SEAL_SAMPLE_COUNT: usize = 16;

/// Losses that a repaired segment lists, so that they fit into its FILE block; how many more there were is counted.
pub const REPAIR_LOST_COUNT_MAX: usize = 1_000;

/// Most bytes of the notes of a repair: some paths. Its FILE block has to have room for more than these.
pub const REPAIR_NOTES_LEN_MAX: usize = 16 << 10;
