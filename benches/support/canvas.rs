//! What all charts have in common: their size, their colours, and the file they end in.

use std::path::PathBuf;

use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;

use super::files::folder;

pub(crate) const SIZE: (u32, u32) = (960, 540);
pub(crate) const CAPTION: (&str, i32) = ("sans-serif", 20);
pub(crate) const TEXT: (&str, i32) = ("sans-serif", 15);

/// Told apart by people who see colours differently, too (Okabe and Ito, 2008).
pub(crate) const COLOURS: [RGBColor; 3] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
];

/// What a chart is drawn on.
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Lets `chart` draw the file `name`. It says whether there was anything to draw; a
/// chart of nothing is not written.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn draw(
    name: &str,
    chart: impl FnOnce(&Canvas<'_>) -> anyhow::Result<bool>,
) -> anyhow::Result<Option<PathBuf>> {
    let path = folder()?.join(name);
    let mut text = String::new();
    let drawn = {
        let canvas = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        canvas.fill(&WHITE)?;
        let drawn = chart(&canvas)?;
        canvas.present()?;
        drawn
    };
    if !drawn {
        return Ok(None);
    }
    std::fs::write(&path, text)?;
    Ok(Some(path))
}

/// The colour of a line or bar beside its name.
pub(crate) fn swatch((x, y): (i32, i32), colour: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled())
}

/// Says in a corner of the chart what each colour is.
///
/// # Errors
/// It cannot be drawn.
pub(crate) fn legend<'a, 'b: 'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, SVGBackend<'b>, C>,
    corner: SeriesLabelPosition,
) -> anyhow::Result<()> {
    let mut labels = chart.configure_series_labels();
    let labels = labels.position(corner).background_style(WHITE);
    Ok(labels.border_style(BLACK).draw()?)
}
