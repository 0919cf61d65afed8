//! Messages as they go to the transport: made once, shared by all streams.
//!
//! A frame is gRPC's prefix (a byte for no compression, four for the length) and
//! a `WatchStockResponse`. That of a single level is kept with the feed's value
//! of it. One of several levels is put together from pieces of theirs, because
//! repeated fields are written one after the other.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use crate::domain::StockLevel;
use crate::feed::Update;
use crate::proto;
use crate::proto::watch_stock_response::Event;

/// gRPC's prefix of a message.
const PREFIX_BYTES: usize = 5;

/// The tags of the fields that are written by hand; the test below holds them
/// against the generated code.
const TAG_CHANGES: u8 = 2 << 3 | 2;
const TAG_LEVELS: u8 = 1 << 3 | 2;
const TAG_RESET: u8 = 2 << 3;

/// A message that says anything but levels.
pub(super) fn frame(event: Event) -> Bytes {
    let message = proto::WatchStockResponse { event: Some(event) };
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    put_prefix(&mut bytes, length);
    message
        .encode(&mut bytes)
        .expect("there is room for what was measured");
    bytes.freeze()
}

/// A message that says levels: at least one.
pub(super) fn changes(updates: &[Arc<Update>], reset: bool) -> Bytes {
    if let ([update], false) = (updates, reset) {
        return update.wire(single);
    }
    let pieces: Vec<Bytes> = updates.iter().map(|it| piece(&it.wire(single))).collect();
    let levels: usize = pieces.iter().map(Bytes::len).sum();
    let changes = levels + if reset { 2 } else { 0 };
    let mut bytes = begin_changes(changes);
    for piece in &pieces {
        bytes.extend_from_slice(piece);
    }
    if reset {
        bytes.extend_from_slice(&[TAG_RESET, 1]);
    }
    bytes.freeze()
}

/// The frame of one level.
fn single(level: &StockLevel) -> Bytes {
    let level = proto::StockLevel::from(level);
    let length = level.encoded_len();
    let mut bytes = begin_changes(1 + prost::length_delimiter_len(length) + length);
    bytes.put_u8(TAG_LEVELS);
    level
        .encode_length_delimited(&mut bytes)
        .expect("there is room for what was measured");
    bytes.freeze()
}

/// The field `levels` within the frame of one level.
fn piece(frame: &Bytes) -> Bytes {
    let length = &frame[PREFIX_BYTES + 1..];
    // A varint ends with the first byte below 128.
    let length_bytes = length.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    frame.slice(PREFIX_BYTES + 1 + length_bytes..)
}

/// A frame up to the contents of `WatchChanges`, with room for them.
fn begin_changes(changes: usize) -> BytesMut {
    let message = 1 + prost::length_delimiter_len(changes) + changes;
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message);
    put_prefix(&mut bytes, message);
    bytes.put_u8(TAG_CHANGES);
    prost::encode_length_delimiter(changes, &mut bytes)
        .expect("there is room for what was measured");
    bytes
}

fn put_prefix(bytes: &mut BytesMut, length: usize) {
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("a message has at most 1,000 levels"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::samples::level;

    fn update(sku: &str, version: i64) -> Arc<Update> {
        Arc::new(Update::new(StockLevel {
            updated: Timestamp::from_us(1_700_000_000_000_000),
            low_stock_threshold: 2_000_000,
            ..level(sku, version, 1_000_000)
        }))
    }

    #[test]
    fn what_is_written_by_hand_is_what_generated_code_writes() {
        let long = "x".repeat(64);
        let updates = [update("a", 0), update("b", 1), update(&long, i64::MAX)];
        for count in 1..=3 {
            for reset in [false, true] {
                let updates = &updates[..count];
                let levels = updates.iter().map(|it| (&it.level).into()).collect();
                let generated = frame(Event::Changes(proto::WatchChanges { levels, reset }));
                assert_eq!(changes(updates, reset), generated, "{count} {reset}");
            }
        }
    }

    #[test]
    fn a_level_is_encoded_once_for_all_streams() {
        let update = update("a", 1);
        let streams = [(); 2].map(|()| changes(std::slice::from_ref(&update), false));
        assert!(std::ptr::eq(&*streams[0], &*streams[1]));
    }
}
