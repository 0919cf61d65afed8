//! Which trace a change belongs to, as W3C Trace Context writes it.

use std::fmt;
use std::str::FromStr;

use super::OrderId;

/// A `traceparent` (<https://www.w3.org/TR/trace-context/>): the trace and the span that
/// asked for a change. It is handed on unchanged; Stockroom adds no span of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: [u8; 16],
    parent: [u8; 8],
    flags: u8,
}

/// A text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct NoTrace;

impl Trace {
    /// How many bytes [`Trace::to_bytes`] makes.
    pub const BYTES: usize = 25;

    /// The trace of an order whose caller named none: its id says which order it is, and
    /// nobody has sampled it.
    pub fn of_order(order_id: OrderId) -> Self {
        Self::of_id(*order_id.0.as_bytes())
    }

    /// A trace of this id, which is not all zeros, that nobody has sampled.
    pub fn of_id(id: [u8; 16]) -> Self {
        let mut parent = [0; 8];
        parent.copy_from_slice(&id[8..]);
        Self {
            id,
            parent,
            flags: 0,
        }
    }

    /// The short form, for the outbox.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.parent);
        bytes[24] = self.flags;
        bytes
    }

    /// From the short form.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (mut id, mut parent) = ([0; 16], [0; 8]);
        id.copy_from_slice(&bytes[..16]);
        parent.copy_from_slice(&bytes[16..24]);
        Self {
            id,
            parent,
            flags: bytes[24],
        }
    }
}

impl FromStr for Trace {
    type Err = NoTrace;

    /// Takes version 00, and of later versions the part that they share with it.
    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let bytes = text.as_bytes();
        let (version, rest) = bytes.split_at_checked(2).ok_or(NoTrace)?;
        let later = version != b"00";
        let known = rest.get(..53).ok_or(NoTrace)?;
        let ends = match rest.get(53) {
            None => true,
            Some(b'-') => later,
            Some(_) => false,
        };
        let dashes = [0, 33, 50].iter().all(|at| known[*at] == b'-');
        let (mut number, mut id, mut parent, mut flags) = ([0; 1], [0; 16], [0; 8], [0; 1]);
        hex(version, &mut number)?;
        hex(&known[1..33], &mut id)?;
        hex(&known[34..50], &mut parent)?;
        hex(&known[51..53], &mut flags)?;
        if !ends || !dashes || number == [0xff] || id == [0; 16] || parent == [0; 8] {
            return Err(NoTrace);
        }
        Ok(Self {
            id,
            parent,
            flags: flags[0],
        })
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, parent) = (
            u128::from_be_bytes(self.id),
            u64::from_be_bytes(self.parent),
        );
        write!(f, "00-{id:032x}-{parent:016x}-{:02x}", self.flags)
    }
}

/// Lower case alone, as the standard has it.
fn hex(digits: &[u8], into: &mut [u8]) -> Result<(), NoTrace> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(NoTrace),
    };
    for (byte, pair) in into.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Trace;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_handed_on_as_it_came() {
        let trace: Trace = GIVEN.parse().unwrap();
        assert_eq!(trace.to_string(), GIVEN);
        assert_eq!(Trace::from_bytes(&trace.to_bytes()), trace);
        let later = format!("cc{}-what-the-future-brings", &GIVEN[2..]);
        assert_eq!(later.parse(), Ok(trace));
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        for text in [
            "",
            "00",
            &GIVEN[1..],
            &GIVEN.to_uppercase(),
            &format!("{GIVEN}-"),
            &format!("ff{}", &GIVEN[2..]),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(text.parse::<Trace>().is_err(), "{text}");
        }
    }
}
