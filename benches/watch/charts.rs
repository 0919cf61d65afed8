//! Charts beside the numbers: `target/bench/watch_*.svg`.
//!
//! What was not measured is not drawn; a chart of nothing is not written.

use std::path::PathBuf;

use plotters::prelude::*;

use crate::rows::Row;
use crate::support::canvas::{self, CAPTION, COLOURS, Canvas, SIZE, TEXT, legend, swatch};

/// The lines of the chart of lags.
const LAGS: [(&str, &str); 3] = [
    ("levels", "1,000 levels, one instance"),
    ("instances", "1,000 levels, from another instance"),
    ("hot", "10,000 streams on the hot SKU, paced: age"),
];

/// Its points.
const PERCENTILES: [(&str, &str); 5] = [
    ("p50_ms", "p50"),
    ("p90_ms", "p90"),
    ("p99_ms", "p99"),
    ("p99_9_ms", "p99.9"),
    ("max_ms", "longest"),
];

/// The bars of the chart of fan-out.
const BARS: [(&str, &str); 2] = [("bare_fanout", "bare stream"), ("fanout", "WatchStock")];

/// Room below the axis for names, in pixels.
const NAMES_HEIGHT: u32 = 40;

/// Draws what `rows` have and returns the files.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn draw(rows: &[Row]) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    written.extend(canvas::draw("watch_lag.svg", |canvas| lag(canvas, rows))?);
    written.extend(canvas::draw("watch_fanout.svg", |canvas| {
        fanout(canvas, rows)
    })?);
    Ok(written)
}

/// From commit to reader by percentile, on a scale of powers of ten.
fn lag(canvas: &Canvas<'_>, rows: &[Row]) -> anyhow::Result<bool> {
    let mut lines = Vec::new();
    for (case, name) in LAGS {
        let Some(row) = rows.iter().find(|row| row.case == case) else {
            continue;
        };
        let values = PERCENTILES.iter().filter_map(|(name, _)| row.value(name));
        let points: Vec<(f64, f64)> = (0..).map(f64::from).zip(values).collect();
        if !points.is_empty() {
            lines.push((name, points));
        }
    }
    let values = || lines.iter().flat_map(|(_, points)| points).map(|(_, y)| *y);
    if lines.is_empty() {
        return Ok(false);
    }
    let top = values().fold(0.0, f64::max) * 3.0;
    let bottom = values().fold(f64::INFINITY, f64::min) / 1.5;
    let right = PERCENTILES.len() as f64 - 0.5;
    let mut chart = ChartBuilder::on(canvas)
        .caption("From commit to reader", CAPTION)
        .margin(12)
        .x_label_area_size(NAMES_HEIGHT)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..right, (bottom.max(0.01)..top).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc("ms")
        .draw()?;
    for ((name, points), colour) in lines.into_iter().zip(COLOURS) {
        let dots: Vec<_> = points
            .iter()
            .map(|at| Circle::new(*at, 4, colour.filled()))
            .collect();
        let texts: Vec<_> = points
            .iter()
            .map(|(x, y)| {
                Text::new(
                    format!("{y:.1}"),
                    (*x + 0.04, *y * 1.12),
                    ("sans-serif", 13),
                )
            })
            .collect();
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |at| swatch(at, colour));
        chart.draw_series(dots)?;
        chart.draw_series(texts)?;
    }
    let places: Vec<i32> = (0..PERCENTILES.len())
        .map(|place| chart.backend_coord(&(place as f64, bottom.max(0.01))).0)
        .collect();
    names(canvas, PERCENTILES.iter().map(|(_, name)| *name), &places)?;
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    Ok(true)
}

/// Messages a second of the server and of the bare stream, with the slowest repeat and
/// the fastest.
fn fanout(canvas: &Canvas<'_>, rows: &[Row]) -> anyhow::Result<bool> {
    let mut bars = Vec::new();
    for (case, name) in BARS {
        let row = rows.iter().find(|row| row.case == case);
        let median = row.and_then(|row| row.value("messages_per_s"));
        let spread = row.and_then(|row| row.messages_per_s_min_max);
        bars.extend(
            median
                .zip(spread)
                .map(|(median, spread)| (name, median, spread)),
        );
    }
    if bars.is_empty() {
        return Ok(false);
    }
    let top = bars.iter().map(|(_, _, (_, max))| *max).fold(0.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(canvas)
        .caption("One level to 10,000 streams", CAPTION)
        .margin(12)
        .x_label_area_size(NAMES_HEIGHT)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..bars.len() as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc("messages a second")
        .y_label_formatter(&|value: &f64| format!("{value:.0}"))
        .draw()?;
    let mut places = Vec::new();
    for ((place, (_, median, (min, max))), colour) in bars.iter().enumerate().zip(COLOURS) {
        let middle = place as f64 + 0.5;
        let corners = [(middle - 0.25, 0.0), (middle + 0.25, *median)];
        chart.draw_series([Rectangle::new(corners, colour.filled())])?;
        let whisker = [(middle, *min), (middle, *max)];
        chart.draw_series([PathElement::new(whisker, BLACK.stroke_width(2))])?;
        let above = (middle + 0.02, *max + top * 0.04);
        chart.draw_series([Text::new(format!("{median:.0}"), above, TEXT)])?;
        places.push(chart.backend_coord(&(middle, 0.0)).0);
    }
    names(canvas, bars.iter().map(|(name, ..)| *name), &places)?;
    Ok(true)
}

/// What stands below the axis.
fn names<'a>(
    canvas: &Canvas<'_>,
    names: impl Iterator<Item = &'a str>,
    places: &[i32],
) -> anyhow::Result<()> {
    let below = (SIZE.1 - NAMES_HEIGHT).cast_signed();
    for (name, place) in names.zip(places) {
        // About half the width of the text to the left.
        let left = place - name.len() as i32 * 4;
        canvas.draw(&Text::new(name.to_owned(), (left, below), TEXT))?;
    }
    Ok(())
}
