//! Pages of lists: how long they are, and the tokens that say where the next one begins.
//!
//! A token is the place of a page's last row and a digest of what the list was asked
//! for, so that it serves no other list. It names no server and never expires: whoever
//! has one goes on from there, on any instance.

use std::fmt::{self, Display};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use prost_types::Timestamp as PbTimestamp;
use sha2::{Digest as _, Sha256};

use super::convert::Fields;
use crate::domain::{Invalid, LevelKey, Location, Sku, Timestamp, Version};

/// Rows of a page for callers who do not say.
const PAGE_SIZE_DEFAULT: usize = 100;

/// Most rows of a page: a thousand orders of a few lines fit a message of 4 MiB, and take
/// a few milliseconds to read.
pub(super) const PAGE_SIZE_MAX: i32 = 1_000;

/// Bytes of the digest in a token. It is there to catch mistakes: a forged token shows
/// what the same list shows anyway.
const DIGEST_BYTES: usize = 8;

/// Times are from 0001 to 9999 in protobuf
/// (<https://protobuf.dev/reference/protobuf/google.protobuf/#timestamp>).
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Checks the size that was asked for.
pub(super) fn page_size(fields: &mut Fields, asked: i32) -> usize {
    match usize::try_from(asked) {
        Ok(0) => PAGE_SIZE_DEFAULT,
        Ok(size) if asked <= PAGE_SIZE_MAX => size,
        _ => {
            let description = format!("must be 0 to {PAGE_SIZE_MAX}, is {asked}");
            fields.refuse("page_size", description);
            PAGE_SIZE_DEFAULT
        }
    }
}

/// Checks the range of time that was asked for, cut to microseconds: nothing is told apart
/// more finely.
pub(super) fn times(
    fields: &mut Fields,
    start: Option<PbTimestamp>,
    end: Option<PbTimestamp>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let from = time(fields, "start_time", start);
    let until = time(fields, "end_time", end);
    if from.zip(until).is_some_and(|(from, until)| from >= until) {
        fields.refuse("end_time", "must be after start_time");
    }
    (from, until)
}

fn time(fields: &mut Fields, field: &str, time: Option<PbTimestamp>) -> Option<Timestamp> {
    let time = time?;
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        fields.refuse(field, "must be a time of the years 1 to 9999");
        return None;
    }
    let us = time.seconds * 1_000_000 + i64::from(time.nanos / 1_000);
    Some(Timestamp::from_us(us))
}

/// The tokens of one list.
pub(super) struct Tokens([u8; DIGEST_BYTES]);

impl Tokens {
    /// `filters` is the request with all fields at their default that are no filters: the
    /// page, and how it is read and shown, which may change from page to page. A new field
    /// counts as a filter until it is cleared; protobuf leaves it out where it is at its
    /// default, so it keeps old tokens.
    pub(super) fn of(list: &str, filters: &impl Message) -> Self {
        let mut digest = Sha256::new();
        digest.update(list);
        // No name has it.
        digest.update([0]);
        digest.update(filters.encode_to_vec());
        let mut bytes = [0; DIGEST_BYTES];
        bytes.copy_from_slice(&digest.finalize()[..DIGEST_BYTES]);
        Self(bytes)
    }

    /// The token of the page that begins after `place`.
    pub(super) fn after(&self, place: impl Display) -> String {
        URL_SAFE_NO_PAD.encode([&self.0, place.to_string().as_bytes()].concat())
    }

    /// The place in a request's `page_token`; none for the first page.
    pub(super) fn place<T>(
        &self,
        fields: &mut Fields,
        token: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        if token.is_empty() {
            return None;
        }
        let invalid = || Invalid("must be a next_page_token of the same request".to_owned());
        let place = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| {
            let place = bytes.strip_prefix(&self.0)?;
            parse(std::str::from_utf8(place).ok()?)
        });
        fields.take("page_token", place.ok_or_else(invalid))
    }
}

/// A level as [`LevelKey`] is shown.
pub(super) fn level_key(place: &str) -> Option<LevelKey> {
    let (sku, location) = place.split_once('@')?;
    Some(LevelKey {
        sku: Sku::new(sku).ok()?,
        location: Location::new(location).ok()?,
    })
}

/// A version that some movement made.
pub(super) fn version(place: &str) -> Option<Version> {
    let number = place.parse().ok().filter(|number| *number > 0);
    number.map(Version::new)
}

/// A movement in a token: its level and the version that it made.
pub(super) struct MovementPlace<'a>(pub(super) &'a LevelKey, pub(super) Version);

impl Display for MovementPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// A movement as [`MovementPlace`] is shown.
pub(super) fn movement(place: &str) -> Option<(LevelKey, Version)> {
    // No name has a colon.
    let (key, made) = place.split_once(':')?;
    Some((level_key(key)?, version(made)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ListProductsRequest, ListStockRequest};

    fn place(tokens: &Tokens, token: &str) -> Option<String> {
        let mut fields = Fields::default();
        let place = tokens.place(&mut fields, token, |place| Some(place.to_owned()));
        fields.finish(Some(place)).unwrap()
    }

    #[test]
    fn a_token_serves_the_list_that_gave_it_and_no_other() {
        let of = |prefix: &str| ListProductsRequest {
            sku_prefix: prefix.to_owned(),
            ..ListProductsRequest::default()
        };
        let tokens = Tokens::of("ListProducts", &of("85"));
        let token = tokens.after("85123A");
        assert_eq!(place(&tokens, &token).as_deref(), Some("85123A"));
        assert_eq!(place(&tokens, ""), None, "the first page");
        let stock = ListStockRequest {
            sku_prefix: "85".to_owned(),
            ..ListStockRequest::default()
        };
        for other in [
            Tokens::of("ListProducts", &of("8")),
            Tokens::of("ListStock", &of("85")),
            Tokens::of("ListStock", &stock),
        ] {
            let mut fields = Fields::default();
            assert_eq!(other.place(&mut fields, &token, |_| Some(())), None);
            assert!(fields.finish(Some(())).is_err());
        }
        for broken in ["?", "AAAA", &token[..8]] {
            let mut fields = Fields::default();
            assert_eq!(tokens.place(&mut fields, broken, |_| Some(())), None);
        }
    }
}
