//! What was promised, what was measured, and whether that is enough.

use crate::rows::Row;
use crate::support::promises::Verdict;

/// Every promise of which both sides were measured.
pub(crate) fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let rows = Rows(rows);
    let mut verdicts = Vec::new();
    for (case, at_least, beyond, batching) in
        [("hot", 0.5, 0.65, 12.0), ("spread", 0.42, 0.55, 5.0)]
    {
        verdicts.extend(rows.at_full_load(case, (at_least, beyond), batching));
    }
    verdicts.extend(rows.baskets());
    let sqlite = rows.find("hot", "sqlite", "optimistic", true, 1);
    let sqlite = sqlite.and_then(|row| row.ratio_to_echo);
    verdicts.extend(sqlite.map(|x| Verdict::least("SQLite `hot`", "× echo", x, 0.55, 0.75)));
    verdicts.extend(rows.two_instances());
    verdicts.extend(rows.latency());
    verdicts.extend(rows.unbatched());
    verdicts.extend(rows.overload());
    verdicts.extend(rows.fairness());
    verdicts.extend(rows.events());
    for case in ["hot", "spread"] {
        verdicts.extend(rows.holds(case));
    }
    verdicts
}

/// Rows to look up.
struct Rows<'a>(&'a [Row]);

impl<'a> Rows<'a> {
    /// The best row of this description.
    fn find(
        &self,
        case: &str,
        store: &str,
        strategy: &str,
        batching: bool,
        instances: usize,
    ) -> Option<&'a Row> {
        self.0.iter().find(|row| {
            row.case == case
                && row.store == store
                && row.strategy == strategy
                && row.batching == batching
                && row.instances == instances
                && row.best
        })
    }

    /// A row on PostgreSQL as it is by default.
    fn usual(&self, case: &str) -> Option<&'a Row> {
        self.find(case, "postgres", "optimistic", true, 1)
    }

    fn at_full_load(&self, case: &str, echo: (f64, f64), unbatched: f64) -> Vec<Verdict> {
        let Some(row) = self.usual(case) else {
            return Vec::new();
        };
        let what = || format!("`{case}`, batched");
        let bound = |ratio: Option<f64>, unit, at_least, beyond: Option<f64>| {
            ratio.map(|ratio| Verdict::least(what(), unit, ratio, at_least, beyond))
        };
        let verdicts = [
            bound(row.ratio_to_echo, "× echo", echo.0, Some(echo.1)),
            bound(row.ratio_to_unbatched, "× unbatched", unbatched, None),
            bound(row.ratio_to_limit, "× limit", 0.8, Some(0.95)),
        ];
        verdicts.into_iter().flatten().collect()
    }

    fn baskets(&self) -> Vec<Verdict> {
        let Some(row) = self.usual("baskets") else {
            return Vec::new();
        };
        let what = "`baskets`, lines a second";
        let bare = self.usual("bare_baskets").and_then(|bare| bare.lines_per_s);
        let bare = row.lines_per_s.zip(bare).map(|(lines, bare)| lines / bare);
        let verdicts = [
            bare.map(|ratio| Verdict::least(what, "× bare", ratio, 0.5, 0.8)),
            row.ratio_to_unbatched
                .map(|ratio| Verdict::least(what, "× unbatched", ratio, 5.0, None)),
        ];
        verdicts.into_iter().flatten().collect()
    }

    fn two_instances(&self) -> Vec<Verdict> {
        let one = self.usual("hot");
        let two = self.find("hot", "postgres", "optimistic", true, 2);
        let Some((one, two)) = one.zip(two) else {
            return Vec::new();
        };
        let what = "two instances, one hot SKU, together";
        let ratio = two.accepted_per_s / one.accepted_per_s;
        let calls = two.accepted_per_s + two.refused_per_s;
        let refused = two.refused_per_s / calls * 100.0;
        vec![
            Verdict::least(what, "× one instance", ratio, 0.8, 1.0),
            Verdict::most(format!("{what}: refused"), "%", refused, 1.0, None),
        ]
    }

    fn latency(&self) -> Vec<Verdict> {
        let Some(idle) = self.usual("hot_idle") else {
            return Vec::new();
        };
        let bare = self.find("bare_hot", "postgres", "optimistic", false, 1);
        let echo = self.find("echo_idle", "none", "none", false, 1);
        let floor = bare.zip(echo).map(|(bare, echo)| bare.p50_ms + echo.p50_ms);
        let half = self.usual("hot_at_50_percent");
        let verdicts = [
            floor.map(|floor| {
                let what = format!("idle p50, one caller (bare + echo: {floor:.3} ms)");
                Verdict::most(what, "ms", idle.p50_ms, floor + 0.2, floor + 0.1)
            }),
            half.map(|half| {
                let what = "p99 at half of peak, open loop";
                Verdict::most(what, "× idle p50", half.p99_ms / idle.p50_ms, 8.0, 4.0)
            }),
        ];
        verdicts.into_iter().flatten().collect()
    }

    fn unbatched(&self) -> Vec<Verdict> {
        let unbatched = self.0.iter().filter(|row| {
            let is_case = ["hot", "spread"].contains(&row.case.as_str());
            is_case && row.store == "postgres" && !row.batching && row.best
        });
        unbatched
            .filter_map(|row| {
                let what = format!("unbatched `{}`, {}: time an order", row.case, row.strategy);
                // A time over the sum of the floors' times is the limit's rate over the rate.
                let times = 1.0 / row.ratio_to_limit?;
                Some(Verdict::most(what, "× (bare + echo)", times, 1.2, None))
            })
            .collect()
    }

    fn overload(&self) -> Vec<Verdict> {
        let Some(row) = self.usual("overload") else {
            return Vec::new();
        };
        let detail = |name| row.details.get(name).copied().unwrap_or(f64::NAN);
        let accepted = row.accepted_per_s / detail("peak_per_s");
        let memory = detail("memory_last_third_bytes") / detail("memory_first_third_bytes");
        let silent = row.refused_for_good_per_s;
        let failed = detail("reads_failed") + detail("watch_interruptions");
        let what = |what: &str| format!("twice the peak: {what}");
        vec![
            Verdict::least(what("accepted"), "× peak", accepted, 0.9, None),
            Verdict::most(
                what("p99 of refusals"),
                "ms",
                row.refused_p99_ms.unwrap_or(f64::NAN),
                50.0,
                None,
            ),
            Verdict::most(
                what("refused without RetryInfo"),
                "a second",
                silent,
                0.0,
                None,
            ),
            Verdict::most(
                what("memory, last third"),
                "× first third",
                memory,
                1.1,
                None,
            ),
            Verdict::most(what("reads and watches that failed"), "", failed, 0.0, None),
            Verdict::most(
                what("slowest GetStock"),
                "ms",
                detail("read_worst_ms"),
                1_000.0,
                None,
            ),
            Verdict::most(
                what("longest wait for a change, WatchStock"),
                "ms",
                detail("watch_gap_worst_ms"),
                1_000.0,
                None,
            ),
        ]
    }

    fn events(&self) -> Option<Verdict> {
        let (off, on) = self.usual("hot").zip(self.usual("hot_events"))?;
        let broker = on.details.get("broker_cores_percent")?;
        let lost = 1.0 - on.accepted_per_s / off.accepted_per_s / (1.0 - broker / 100.0);
        let lost_in_all = (1.0 - on.accepted_per_s / off.accepted_per_s) * 100.0;
        let what = format!(
            "`hot`, Kafka told: lost beside the broker (lost in all: {lost_in_all:.1} %, the broker's share: {broker:.1} %)"
        );
        Some(Verdict::most(what, "%", lost * 100.0, 15.0, 10.0))
    }

    /// What confirms take is what is left of a second in which orders are made on hold and
    /// confirmed, when those that are made on hold have had theirs.
    fn holds(&self, case: &str) -> Vec<Verdict> {
        let plain = self.usual(case).map(|row| row.accepted_per_s);
        let holds = self.usual(&format!("{case}_holds"));
        let both = self.usual(&format!("{case}_holds_confirmed"));
        let Some((plain, holds)) = plain.zip(holds.map(|row| row.accepted_per_s)) else {
            return Vec::new();
        };
        let what = format!("`{case}`, created with a hold");
        let mut verdicts = vec![Verdict::least(what, "× plain", holds / plain, 0.9, None)];
        verdicts.extend(both.map(|both| {
            let confirms = 1.0 / (1.0 / both.accepted_per_s - 1.0 / holds);
            let what = format!("`{case}`, confirmed");
            Verdict::least(what, "× plain", confirms / plain, 0.9, None)
        }));
        verdicts
    }

    /// Nobody is starved who waits no longer than those that are in the way, and of
    /// whose orders none is lost.
    fn fairness(&self) -> Vec<Verdict> {
        let crowds = [
            ("beside_one_hot_sku", "others beside one hot SKU"),
            ("beside_1000_lines", "others beside orders of 1,000 lines"),
        ];
        let mut verdicts = Vec::new();
        for (case, what) in crowds {
            let Some(row) = self.usual(case) else {
                continue;
            };
            let crowd = row.details.get("crowd_p99_ms").copied();
            let ratio = row.p99_ms / crowd.unwrap_or(f64::NAN);
            let share = row.accepted_per_s / row.offered_per_s.unwrap_or(f64::NAN) * 100.0;
            verdicts.extend([
                Verdict::most(
                    format!("{what}: p99"),
                    "× p99 of the crowd",
                    ratio,
                    1.5,
                    None,
                ),
                Verdict::least(
                    format!("{what}: accepted"),
                    "% of those due",
                    share,
                    98.0,
                    None,
                ),
            ]);
        }
        verdicts
    }
}
