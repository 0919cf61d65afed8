//! The generated messages and services of `proto/stockroom/v1`.
//!
//! Only the edge names them: `grpc/` and `server/` on the server's side, `client/` and
//! through it `cli/` on the caller's, and `events/`, where bodies for Kafka are encoded.
#![expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::too_many_lines,
    reason = "generated code; the comments are in proto/"
)]

include!(concat!(env!("OUT_DIR"), "/stockroom.v1.rs"));

/// The compiled `proto/` with its comments, as server reflection tells it.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/stockroom_descriptor.bin"));
