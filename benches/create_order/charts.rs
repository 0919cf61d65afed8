//! Charts beside the numbers: `target/bench/create_order_*.svg`.
//!
//! What was not measured is not drawn; a chart of nothing is not written.

use std::path::PathBuf;

use plotters::prelude::*;

use crate::rows::Row;
use crate::setup::Guard;
use crate::support::canvas::{self, CAPTION, COLOURS, Canvas, SIZE, TEXT, legend, swatch};

/// Where bars begin: a scale of powers of ten has no zero.
const BARS_FROM: f64 = 100.0;

/// Cases of the first chart: from most contention to least, batched first.
const GROUPS: [(&str, bool, &str); 4] = [
    ("hot", true, "hot, batched"),
    ("spread", true, "spread, batched"),
    ("hot", false, "hot, unbatched"),
    ("spread", false, "spread, unbatched"),
];

/// Draws what there is of it; whether there was anything.
type Chart = fn(&Canvas<'_>, &[Row]) -> anyhow::Result<bool>;

/// Draws what `rows` have and returns the files.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn draw(rows: &[Row]) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let charts: [(&str, Chart); 3] = [
        ("strategies", strategies),
        ("latency", latency),
        ("orders_per_commit", orders_per_commit),
    ];
    for (name, chart) in charts {
        let name = format!("create_order_{name}.svg");
        written.extend(canvas::draw(&name, |canvas| chart(canvas, rows))?);
    }
    Ok(written)
}

/// Throughput by strategy and contention. Bars on a scale of powers of ten, since
/// batching makes a difference of one or two of them; each says its value.
fn strategies(canvas: &Canvas<'_>, rows: &[Row]) -> anyhow::Result<bool> {
    let mut bars = Vec::new();
    for (place, (case, batching, _)) in GROUPS.iter().enumerate() {
        for (nth, guard) in Guard::ALL.iter().enumerate() {
            let row = rows.iter().find(|row| {
                (row.case.as_str(), row.batching, row.strategy) == (*case, *batching, guard.name())
                    && (row.store, row.instances, row.best) == ("postgres", 1, true)
            });
            bars.extend(row.map(|row| (place, nth, row.accepted_per_s)));
        }
    }
    if bars.is_empty() {
        return Ok(false);
    }
    let mut chart = ChartBuilder::on(canvas)
        .caption(
            "Orders a second by strategy and contention, PostgreSQL",
            CAPTION,
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..GROUPS.len() as f64, (BARS_FROM..100_000.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc("orders a second")
        .y_label_formatter(&|value: &f64| format!("{value:.0}"))
        .draw()?;
    for (nth, guard) in Guard::ALL.iter().enumerate() {
        let colour = COLOURS[nth];
        let own = bars.iter().filter(|(_, other, _)| *other == nth);
        let left = |place: usize| place as f64 + 0.14 + nth as f64 * 0.24;
        let drawn = own.clone().map(|(place, _, value)| {
            let corners = [(left(*place), BARS_FROM), (left(*place) + 0.22, *value)];
            Rectangle::new(corners, colour.filled())
        });
        chart
            .draw_series(drawn)?
            .label(guard.name())
            .legend(move |at| swatch(at, colour));
        chart.draw_series(own.map(|(place, _, value)| {
            let at = (left(*place) + 0.02, *value * 1.2);
            Text::new(format!("{value:.0}"), at, ("sans-serif", 13))
        }))?;
    }
    for (place, (_, _, name)) in GROUPS.iter().enumerate() {
        let (x, _) = chart.backend_coord(&(place as f64 + 0.3, BARS_FROM));
        let below = SIZE.1.cast_signed() - 36;
        canvas.draw(&Text::new(*name, (x, below), TEXT))?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    Ok(true)
}

/// Latency against offered load.
fn latency(canvas: &Canvas<'_>, rows: &[Row]) -> anyhow::Result<bool> {
    let points = |value: fn(&Row) -> f64| offered(rows, value);
    let series = [
        ("p50", points(|row| row.p50_ms)),
        ("p99", points(|row| row.p99_ms)),
    ];
    lines(
        canvas,
        "Latency against offered load, hot on PostgreSQL",
        "ms",
        &series,
    )
}

/// Orders that share a commit against offered load.
fn orders_per_commit(canvas: &Canvas<'_>, rows: &[Row]) -> anyhow::Result<bool> {
    let points = offered(rows, |row| row.orders_per_commit.unwrap_or(0.0));
    let caption = "Orders in a commit against offered load, hot on PostgreSQL";
    lines(canvas, caption, "orders in a commit", &[("mean", points)])
}

/// `value` of each open loop by the orders due each second.
fn offered(rows: &[Row], value: fn(&Row) -> f64) -> Vec<(f64, f64)> {
    let open = rows.iter().filter(|row| row.case.starts_with("hot_at_"));
    let mut points: Vec<_> = open
        .map(|row| (row.offered_per_s.unwrap_or(0.0), value(row)))
        .collect();
    points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    points
}

/// Lines over offered load, on a scale of powers of ten.
fn lines(
    canvas: &Canvas<'_>,
    caption: &str,
    y_desc: &str,
    series: &[(&str, Vec<(f64, f64)>)],
) -> anyhow::Result<bool> {
    let points = || series.iter().flat_map(|(_, points)| points);
    if points().count() == 0 {
        return Ok(false);
    }
    let right = points().map(|(x, _)| *x).fold(0.0, f64::max) * 1.05;
    let top = points().map(|(_, y)| *y).fold(0.0, f64::max) * 1.5;
    let bottom = points().map(|(_, y)| *y).fold(f64::INFINITY, f64::min) / 1.5;
    let mut chart = ChartBuilder::on(canvas)
        .caption(caption, CAPTION)
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, (bottom.max(0.01)..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("orders due each second")
        .y_desc(y_desc)
        .x_label_formatter(&|value: &f64| format!("{value:.0}"))
        .draw()?;
    for ((name, points), colour) in series.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(*name)
            .legend(move |at| swatch(at, colour));
        let dots = points.iter().map(|at| Circle::new(*at, 4, colour.filled()));
        chart.draw_series(dots)?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    Ok(true)
}
