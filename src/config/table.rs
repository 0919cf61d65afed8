//! What a key is: its name, its bounds, its default and its meaning.

use std::collections::HashSet;

use figment::value::Value;

use super::neighbours::{CacheConfig, EventsConfig, RedisConfig};
use super::sections::{
    EngineConfig, HoldsConfig, HttpConfig, LockingConfig, LogConfig, ServerConfig, StoreConfig,
    WatchConfig,
};

/// All sections, in the order in which they are shown.
pub(super) const SECTIONS: [&Section; 11] = [
    &ServerConfig::SECTION,
    &HttpConfig::SECTION,
    &StoreConfig::SECTION,
    &EngineConfig::SECTION,
    &HoldsConfig::SECTION,
    &LockingConfig::SECTION,
    &EventsConfig::SECTION,
    &RedisConfig::SECTION,
    &CacheConfig::SECTION,
    &WatchConfig::SECTION,
    &LogConfig::SECTION,
];

/// The keys under one heading of the file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) rows: &'static [Row],
}

/// One key.
#[derive(Debug)]
pub(super) struct Row {
    /// The section's name.
    pub(super) section: &'static str,
    /// The key's name within the section.
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// The field's comment, line by line.
    pub(super) doc: &'static [&'static str],
}

/// What a key takes, and its default.
#[derive(Debug)]
pub(super) enum Kind {
    /// A whole number from `min` to `max`.
    Int {
        default: u64,
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// A text that `accepts` says yes to; `bound` says the same in words.
    /// `shown` is how it may be printed.
    Text {
        default: &'static str,
        bound: &'static str,
        accepts: fn(&str) -> bool,
        shown: fn(&str) -> String,
    },
    /// One of `choices`. `true` and `false` may also be given as booleans.
    Choice {
        default: &'static str,
        choices: &'static [&'static str],
    },
    /// At most `max` texts, each of which `accepts` says yes to and comes once; `bound`
    /// says of one what `accepts` does. A variable or a flag separates them by commas.
    /// `shown` is how one may be printed.
    List {
        max: usize,
        bound: &'static str,
        accepts: fn(&str) -> bool,
        shown: fn(&str) -> String,
    },
}

/// The row of `section.name`.
pub(super) fn row(path: &str) -> Option<&'static Row> {
    let (section, name) = path.split_once('.')?;
    section_named(section)?
        .rows
        .iter()
        .find(|row| row.name == name)
}

/// The section of this name.
pub(super) fn section_named(name: &str) -> Option<&'static Section> {
    SECTIONS.into_iter().find(|section| section.name == name)
}

/// Every row, in the order in which they are shown.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.into_iter().flat_map(|section| section.rows)
}

impl Row {
    /// `section.name`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The first paragraph of the field's comment.
    pub(super) fn summary(&self) -> String {
        let lines = self.doc.iter().map(|line| line.trim());
        let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        first.join(" ")
    }
}

impl Kind {
    /// The default as a value.
    pub(super) fn default_value(&self) -> Value {
        match *self {
            Self::Int { default, .. } => Value::from(default),
            Self::Text { default, .. } | Self::Choice { default, .. } => Value::from(default),
            Self::List { .. } => Value::from(Vec::<Value>::new()),
        }
    }

    /// What a variable or a flag says, which both are text. A number that is
    /// none stays text, for `check` to refuse.
    pub(super) fn parse(&self, text: &str) -> Value {
        match self {
            Self::Int { .. } => match text.trim().parse::<i128>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::from(text),
            },
            Self::Text { .. } | Self::Choice { .. } => Value::from(text),
            Self::List { .. } => {
                let entries = text.split(',').map(str::trim);
                let entries = entries.filter(|entry| !entry.is_empty());
                Value::from(entries.map(Value::from).collect::<Vec<_>>())
            }
        }
    }

    /// The value in the form that the structs are made from; none when it
    /// breaks the bound.
    pub(super) fn check(&self, given: &Value) -> Option<Value> {
        match self {
            Self::Int { min, max, .. } => {
                let number = given.to_num()?.to_u128_lossy()?;
                let number = u64::try_from(number).ok()?;
                (min..=max).contains(&&number).then(|| Value::from(number))
            }
            Self::Text { accepts, .. } => {
                let text = given.as_str()?;
                accepts(text).then(|| Value::from(text))
            }
            Self::Choice { choices, .. } => {
                let word = match given.to_bool() {
                    Some(yes) => yes.to_string(),
                    None => given.as_str()?.to_owned(),
                };
                choices.contains(&word.as_str()).then(|| Value::from(word))
            }
            Self::List { max, accepts, .. } => {
                let entries = given.as_array()?;
                let texts: Option<Vec<&str>> = entries.iter().map(Value::as_str).collect();
                let texts = texts?;
                let unlike: HashSet<&str> = texts.iter().copied().collect();
                let fits = texts.len() <= *max && unlike.len() == texts.len();
                (fits && texts.iter().all(|text| accepts(text)))
                    .then(|| Value::from(texts.into_iter().map(Value::from).collect::<Vec<_>>()))
            }
        }
    }

    /// The bound in words.
    pub(super) fn bound(&self) -> String {
        match self {
            Self::Int { min, max, unit, .. } => format!("{min} to {max} {unit}"),
            Self::Text { bound, .. } => (*bound).to_owned(),
            Self::Choice { choices, .. } => choices.join(", "),
            Self::List { max, bound, .. } => format!("up to {max} of {bound}, each once"),
        }
    }

    /// A value as TOML writes it, with what is secret hidden.
    pub(super) fn show(&self, value: &Value) -> String {
        use figment::error::Actual;
        match (value.to_actual(), self) {
            (Actual::Bool(yes), _) => yes.to_string(),
            (Actual::Unsigned(number), _) => number.to_string(),
            (Actual::Signed(number), _) => number.to_string(),
            (Actual::Float(number), _) => number.to_string(),
            (Actual::Str(text), Self::Text { shown, .. } | Self::List { shown, .. }) => {
                quoted(shown(&text))
            }
            (Actual::Str(text), _) => quoted(text),
            (Actual::Seq, Self::List { .. }) => {
                let entries = value.as_array().unwrap_or_default();
                let entries: Vec<String> = entries.iter().map(|entry| self.show(entry)).collect();
                format!("[{}]", entries.join(", "))
            }
            (other, _) => format!("a {other}"),
        }
    }
}

fn quoted(text: String) -> String {
    toml::Value::String(text).to_string()
}

/// Declares a section: a struct that serde fills, and the rows of its keys.
///
/// A field reads `name: type = Kind { default: …, bounds }`; its comment's
/// first paragraph says what it means and is shown to users too, the rest
/// says why the default is what it is.
macro_rules! section {
    (
        $section:literal
        $(#[$attribute:meta])*
        pub struct $Struct:ident {$(
            $(#[doc = $doc:literal])+
            $name:ident: $Type:ty = $Kind:ident { $($bounds:tt)* },
        )+}
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $Struct {$(
            $(#[doc = $doc])+
            #[doc = ""]
            #[doc = concat!(
                "`", $section, ".", stringify!($name), "`: `", stringify!($($bounds)*), "`",
            )]
            pub $name: $Type,
        )+}

        impl $Struct {
            pub(super) const SECTION: Section = Section {
                name: $section,
                rows: &[$(Row {
                    section: $section,
                    name: stringify!($name),
                    kind: Kind::$Kind { $($bounds)* },
                    doc: &[$($doc),+],
                }),+],
            };
        }
    };
}
pub(super) use section;
