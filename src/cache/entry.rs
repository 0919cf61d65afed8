//! What lies in Redis of a level: six numbers as text, the version first, where the
//! script finds it. People can read it with redis-cli, and it is as short as integers of
//! eight bytes. Servers from before backorders write five, which are no entry here, and
//! read the first five of six. Of a level whose product was deleted it is the version and a
//! word, which for those who read is no entry, here and on servers from before that; the
//! script compares it with what comes later as any other.

use crate::domain::{LevelKey, StockLevel, Timestamp, Version};

/// Writes levels unless a later version is there; says how many were refused. Keys and
/// levels come in pairs. Lua's numbers are exact up to 2^53: a level that has a million
/// movements a second gets there in 285 years.
pub(super) const WRITE: &str = "\
local refused = 0
for i, key in ipairs(KEYS) do
  local held = redis.call('GETRANGE', key, 0, 19)
  local version = tonumber(string.match(held, '^%d+'))
  if version and version > tonumber(string.match(ARGV[i + 1], '^%d+')) then
    refused = refused + 1
  else
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
  end
end
return refused";

/// What is kept of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Level(StockLevel),
    /// Its product was deleted, with this version: what was said of it before holds no more,
    /// and what to say now is left to the database.
    Deleted(LevelKey, Version),
}

impl Entry {
    pub(super) fn key(&self) -> &LevelKey {
        match self {
            Self::Level(level) => &level.key,
            Self::Deleted(key, _) => key,
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Level(level) => level.version,
            Self::Deleted(_, version) => *version,
        }
    }

    /// What is shown of it.
    pub(super) fn into_level(self) -> Option<StockLevel> {
        match self {
            Self::Level(level) => Some(level),
            Self::Deleted(..) => None,
        }
    }

    pub(super) fn encode(&self) -> String {
        match self {
            Self::Level(level) => format!(
                "{} {} {} {} {} {}",
                level.version,
                level.on_hand,
                level.reserved,
                level.low_stock_threshold,
                level.updated.us(),
                level.backorder_limit
            ),
            Self::Deleted(_, version) => format!("{version} deleted"),
        }
    }
}

/// None for what shows no level.
pub(super) fn decode(key: &LevelKey, value: &[u8]) -> Option<StockLevel> {
    let text = std::str::from_utf8(value).ok()?;
    let mut numbers = text.split(' ').map(str::parse::<i64>);
    let mut next = || numbers.next()?.ok();
    let version = Version::new(next().filter(|version| *version > 0)?);
    let (on_hand, reserved) = (next()?, next()?);
    let (low_stock_threshold, updated_us, backorder_limit) = (next()?, next()?, next()?);
    Some(StockLevel {
        key: key.clone(),
        on_hand,
        reserved,
        version,
        low_stock_threshold,
        backorder_limit,
        updated: Timestamp::from_us(updated_us),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_anything_else_is_none() {
        let key = samples::key("a");
        let level = StockLevel {
            key: key.clone(),
            on_hand: -3,
            reserved: StockLevel::UNITS_MAX,
            version: Version::new(7),
            low_stock_threshold: 5,
            backorder_limit: 20,
            updated: Timestamp::from_us(1_764_000_000_123_456),
        };
        let text = Entry::Level(level.clone()).encode();
        assert_eq!(decode(&key, text.as_bytes()), Some(level));
        let deleted = Entry::Deleted(key.clone(), Version::new(7)).encode();
        for other in [
            "",
            "7",
            "7 1 0 5 9",
            "0 1 0 5 9 0",
            "a b c d e f",
            "-1 1 0 5 9 0",
            &deleted,
        ] {
            assert_eq!(decode(&key, other.as_bytes()), None, "{other}");
        }
    }
}
