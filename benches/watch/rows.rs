//! What is published of each case: a row of `target/bench/watch.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bench::Measured;
use crate::subjects::Subject;
use crate::support::numbers::{medians, rounded};
use crate::support::stores::StoreKind;

/// The medians of the repeats of one subject. The names are those of the file.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// `idle`, `fanout`, `levels`, `hot`, `snapshot`, `storm`, `storm_killed`, `instances`;
    /// floors: `bare_idle`, `bare_fanout`; `hot_alone` is `hot` with nobody who watches.
    pub(crate) case: &'static str,
    /// `postgres`, `sqlite`; `none` for a floor.
    pub(crate) store: &'static str,
    pub(crate) streams: usize,
    pub(crate) connections: usize,
    /// How often it was measured.
    pub(crate) repeats: usize,
    /// Broken promises in all repeats together.
    pub(crate) violations: u64,
    /// Whether the books balanced after every repeat; none where nothing was ordered.
    pub(crate) books_ok: Option<bool>,
    /// `messages_per_s` over that of the bare stream; of `idle` its `bytes_per_stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_floor: Option<f64>,
    /// Orders that are lost because somebody watches, in percent of those without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) orders_lost_percent: Option<f64>,
    /// `messages_per_s` of the slowest repeat and of the fastest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages_per_s_min_max: Option<(f64, f64)>,
    /// What was measured, where it was: `messages_per_s` (and of one stream, while it was
    /// measured, `stream_messages_least`, `stream_messages_most`); `p50_ms` … `max_ms`,
    /// the lag from commit to reader (of `fanout` and `hot`, where values are folded: the
    /// age of those that came); `bytes_per_stream`; `orders_per_s`; `levels_per_s`;
    /// `synced_s`; `streams_opened`,
    /// those included that were refused or came back; and processor time, of a message in microseconds and in percent of a core.
    #[serde(flatten)]
    pub(crate) values: BTreeMap<&'static str, f64>,
}

impl Row {
    /// A value by its name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// All measurements, by what was measured, in the order in which it was first measured.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<(Subject, Vec<Measured>)>);

impl Results {
    /// Takes down one measurement.
    pub(crate) fn add(&mut self, subject: Subject, measured: Measured) {
        match self.0.iter_mut().find(|(known, _)| *known == subject) {
            Some((_, repeats)) => repeats.push(measured),
            None => self.0.push((subject, vec![measured])),
        }
    }

    /// Whatever is wrong: promises that were broken, books that do not balance.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (subject, repeats) in &self.0 {
            for measured in repeats {
                if measured.violations > 0 {
                    let count = measured.violations;
                    problems.push(format!("{subject}: {count} violations"));
                }
                let audit = measured.audit.iter().flat_map(|audit| &audit.problems);
                let found = measured.problems.iter().chain(audit);
                problems.extend(found.map(|problem| format!("{subject}: {problem}")));
            }
        }
        problems
    }

    /// One row for each subject.
    pub(crate) fn rows(&self, store: StoreKind) -> Vec<Row> {
        let rows = self.0.iter();
        rows.map(|(subject, repeats)| self.row(*subject, repeats, store))
            .collect()
    }

    fn row(&self, subject: Subject, repeats: &[Measured], store: StoreKind) -> Row {
        let (streams, connections) = subject.streams();
        let over = |floor, name| {
            let (own, floor) = (self.value(subject, name)?, self.value(floor, name)?);
            Some(rounded(own / floor, 3))
        };
        let rates = || {
            let rates = repeats.iter().map(|m| m.values.get("messages_per_s"));
            rates.flatten().copied()
        };
        let audits = || repeats.iter().filter_map(|m| m.audit.as_ref());
        Row {
            case: subject.name(),
            store: if subject.is_floor() {
                "none"
            } else {
                store.name()
            },
            streams,
            connections,
            repeats: repeats.len(),
            violations: repeats.iter().map(|m| m.violations).sum(),
            books_ok: audits()
                .next()
                .map(|_| audits().all(|audit| audit.problems.is_empty())),
            ratio_to_floor: match subject {
                Subject::Fanout => over(Subject::BareFanout, "messages_per_s"),
                Subject::Idle => over(Subject::BareIdle, "bytes_per_stream"),
                _ => None,
            },
            orders_lost_percent: match subject {
                Subject::Hot => over(Subject::HotAlone, "orders_per_s")
                    .map(|ratio| rounded((1.0 - ratio) * 100.0, 1)),
                _ => None,
            },
            messages_per_s_min_max: rates().next().map(|_| {
                let least = rates().fold(f64::INFINITY, f64::min);
                (rounded(least, 1), rounded(rates().fold(0.0, f64::max), 1))
            }),
            values: values(repeats),
        }
    }

    fn value(&self, subject: Subject, name: &str) -> Option<f64> {
        let (_, repeats) = self.0.iter().find(|(known, _)| *known == subject)?;
        values(repeats).get(name).copied()
    }
}

fn values(repeats: &[Measured]) -> BTreeMap<&'static str, f64> {
    medians(repeats.iter().map(|m| &m.values))
}
