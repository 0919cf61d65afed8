//! Reading a row of the outbox.

use bytes::Buf as _;
use prost::encoding::decode_varint;
use uuid::Uuid;

use super::Topic;
use crate::domain::Trace;

/// The form of rows, their first byte: a program that finds another one must not guess.
pub(super) const FORM: u8 = 1;

/// The events of one commit.
#[derive(Debug)]
pub struct Row<'a> {
    /// In the order in which they are to be sent.
    pub events: Vec<Event<'a>>,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Where it goes.
    pub topic: Topic,
    /// Which events it must not overtake.
    pub key: Key<'a>,
    /// Who asked for it.
    pub trace: Trace,
    /// The encoded message.
    pub body: &'a [u8],
}

/// A key, as short as the outbox has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// A SKU.
    Sku(&'a str),
    /// An order's id.
    Order(Uuid),
}

/// A row is of a form that this program does not know, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of the outbox cannot be read")]
pub struct Corrupt;

impl<'a> Row<'a> {
    /// Reads a row.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let (&FORM, mut rest) = bytes.split_first().ok_or(Corrupt)? else {
            return Err(Corrupt);
        };
        let mut events = Vec::new();
        while !rest.is_empty() {
            events.push(event(&mut rest)?);
        }
        Ok(Self { events })
    }
}

fn event<'a>(rest: &mut &'a [u8]) -> Result<Event<'a>, Corrupt> {
    let (&topic, after) = rest.split_first().ok_or(Corrupt)?;
    let topic = Topic::from_number(topic).ok_or(Corrupt)?;
    let (trace, after) = after.split_first_chunk().ok_or(Corrupt)?;
    *rest = after;
    let key = counted(rest)?;
    let key = match topic {
        Topic::OrderCreated
        | Topic::OrderConfirmed
        | Topic::OrderCancelled
        | Topic::OrderExpired => Key::Order(Uuid::from_slice(key).map_err(|_| Corrupt)?),
        Topic::StockUpdated | Topic::StockLow => {
            Key::Sku(str::from_utf8(key).map_err(|_| Corrupt)?)
        }
    };
    Ok(Event {
        topic,
        key,
        trace: Trace::from_bytes(trace),
        body: counted(rest)?,
    })
}

/// Bytes after their length.
fn counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Corrupt> {
    let length = decode_varint(rest).map_err(|_| Corrupt)?;
    let length = usize::try_from(length).map_err(|_| Corrupt)?;
    let (bytes, _) = rest.split_at_checked(length).ok_or(Corrupt)?;
    rest.advance(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{MovementKind, StockLevel, Timestamp, Version};
    use crate::events::{Causes, Draft, StockChange, updated_level};
    use crate::samples;

    fn level(on_hand: i64) -> StockLevel {
        StockLevel {
            low_stock_threshold: 10,
            backorder_limit: 50,
            updated: Timestamp::from_us(1_700_000_000_123_456),
            ..samples::level("85123A", 7, on_hand)
        }
    }

    fn row(level: &StockLevel, low_before: bool) -> Vec<u8> {
        let mut causes = Causes::default();
        causes.add(MovementKind::Ordered);
        let mut draft = Draft::new();
        draft.stock_changed(&StockChange {
            level,
            first: Version::new(5),
            available_before: 11,
            low_before,
            causes,
            trace: Trace::of_id([3; 16]),
        });
        draft.finish().expect("it has an event")
    }

    #[test]
    fn what_has_no_event_is_no_row() {
        assert_eq!(Draft::new().finish(), None);
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        for units in [20, -50] {
            is_read_as_it_was_written(level(units));
        }
        // No level is like this.
        assert_eq!(
            updated_level(Row::parse(&row(&level(-51), true)).unwrap().events[0].body),
            None
        );
    }

    fn is_read_as_it_was_written(level: StockLevel) {
        let bytes = row(&level, true);
        let row = Row::parse(&bytes).unwrap();
        let [event] = row.events[..] else {
            panic!("{row:?}");
        };
        assert_eq!(event.topic, Topic::StockUpdated);
        assert_eq!(event.key, Key::Sku("85123A"));
        assert_eq!(event.trace, Trace::of_id([3; 16]));
        assert_eq!(updated_level(event.body), Some(level));
    }

    #[test]
    fn a_level_becomes_low_once() {
        let topics = |bytes: &[u8]| -> Vec<Topic> {
            let events = Row::parse(bytes).unwrap().events;
            events.iter().map(|event| event.topic).collect()
        };
        let both = [Topic::StockUpdated, Topic::StockLow];
        assert_eq!(topics(&row(&level(10), false)), both);
        assert_eq!(topics(&row(&level(10), true)), both[..1]);
        assert_eq!(topics(&row(&level(11), false)), both[..1]);
    }

    #[test]
    fn a_damaged_row_is_refused_and_not_guessed_at() {
        let whole = row(&level(10), false);
        assert!(Row::parse(&[]).is_err());
        for length in 2..whole.len() - 1 {
            // A row may end between its events.
            if let Ok(row) = Row::parse(&whole[..length]) {
                assert_eq!(row.events.len(), 1);
            }
        }
        let mut other = whole;
        other[0] = 2;
        assert!(Row::parse(&other).is_err());
    }
}
