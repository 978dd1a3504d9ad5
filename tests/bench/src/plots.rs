//! The pictures of the page.

use std::ops::Range;

use plotters::coord::combinators::{LogCoord, WithKeyPoints};
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;
use preau::parts::thousands;
use sim::page::{Area, COLOURS, Drawn, FONT};

use crate::figures::{Figures, Row, Spread};
use crate::report::Layer;

/// Who was measured, in the order in which they came.
pub fn targets(rows: &[Row]) -> Vec<&str> {
    let mut targets: Vec<&str> = Vec::new();
    for row in rows {
        if !targets.contains(&row.target.as_str()) {
            targets.push(&row.target);
        }
    }
    targets
}

/// The colour of one of them.
pub fn colour_of(rows: &[Row], target: &str) -> (u8, u8, u8) {
    let at = targets(rows).iter().position(|known| *known == target);
    colour(at.unwrap_or(0))
}

/// The colour of whoever comes at this place.
pub fn colour(at: usize) -> (u8, u8, u8) {
    let RGBColor(r, g, b) = COLOURS[at % COLOURS.len()];
    (r, g, b)
}

/// One figure of everybody who did `what`, by how many clients there were.
pub fn by_clients(
    rows: &[Row],
    what: &str,
    caption: &str,
    figure: impl Fn(&Figures) -> f64,
    area: &Area<'_>,
) -> Drawn {
    let shown: Vec<(&Row, Spread)> = rows
        .iter()
        .filter(|row| row.what == what)
        // Nothing has no place on a logarithmic axis.
        .map(|row| (row, row.spread(|run| figure(run).max(1.0))))
        .collect();
    let mut clients: Vec<usize> = shown.iter().map(|(row, _)| row.clients).collect();
    clients.sort_unstable();
    clients.dedup();
    let place = |row: &Row| clients.partition_point(|n| *n < row.clients) as f64;
    let lowest = shown.iter().map(|(_, y)| y.lowest).fold(f64::MAX, f64::min);
    let highest = shown.iter().map(|(_, y)| y.highest).fold(1.0, f64::max);
    let (from, to) = (lowest.min(highest) / 1.6, highest * 1.6);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, (FONT, 15))
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(-0.4..clients.len() as f64 - 0.6, logarithmic(from..to))?;
    chart
        .configure_mesh()
        .x_desc("clients")
        .x_labels(clients.len())
        .x_label_formatter(&|x| label(*x, &clients))
        .y_label_formatter(&|y| thousands(y.round() as u64))
        .label_style((FONT, 13))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for target in targets(rows) {
        let (r, g, b) = colour_of(rows, target);
        let colour = RGBColor(r, g, b);
        let of = |(row, _): &&(&Row, Spread)| row.target == target;
        let points = shown.iter().filter(of).map(|(row, y)| (place(row), y));
        let mut line: Vec<(f64, f64)> = Vec::new();
        for (x, y) in points {
            line.push((x, y.median));
            let both_ends = vec![(x, y.lowest), (x, y.highest)];
            chart.draw_series([PathElement::new(both_ends, colour.stroke_width(3))])?;
            chart.draw_series([Circle::new((x, y.median), 4, colour.filled())])?;
        }
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart.draw_series(LineSeries::new(line, &colour))?;
    }
    Ok(())
}

/// The number of clients at a place on the axis, where there is one.
fn label(x: f64, clients: &[usize]) -> String {
    let near = x.round();
    if (x - near).abs() > 0.01 || near < 0.0 {
        return String::new();
    }
    let clients = clients.get(near as usize);
    clients.map_or(String::new(), |n| thousands(*n as u64))
}

/// Points over two axes.
#[derive(Debug, Clone)]
pub struct Picture {
    pub caption: String,
    /// What is to the right,
    pub x: &'static str,
    /// and what goes up.
    pub y: &'static str,
    /// Whether both axes are logarithmic; where not, what goes up begins at 0.
    pub log: bool,
    pub series: Vec<Series>,
}

/// Points that belong together.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Whether a line goes through them, in their order.
    pub line: bool,
}

/// What has no place on a logarithmic axis, and all that is smaller, is put here.
const LEAST: f64 = 1e-4;

/// A picture's points.
pub fn points(picture: &Picture, area: &Area<'_>) -> Drawn {
    let all = || picture.series.iter().flat_map(|series| &series.points);
    let xs = range(picture.log, all().map(|point| point.0));
    let ys = range(picture.log, all().map(|point| point.1));
    let mut builder = ChartBuilder::on(area);
    builder
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(80);
    if picture.log {
        fill(
            builder.build_cartesian_2d(logarithmic(xs), logarithmic(ys))?,
            picture,
        )
    } else {
        fill(builder.build_cartesian_2d(xs, 0.0..ys.end)?, picture)
    }
}

/// From below the lowest to above the highest.
fn range(log: bool, values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut lowest, mut highest) = (f64::MAX, f64::MIN);
    for value in values {
        lowest = lowest.min(value);
        highest = highest.max(value);
    }
    match (lowest > highest, log) {
        (true, _) => 1.0..10.0,
        (false, true) => lowest.max(LEAST) / 1.6..highest.max(LEAST) * 1.6,
        (false, false) => {
            let room = (0.08 * (highest - lowest)).max(0.5);
            lowest - room..highest + room
        }
    }
}

/// A logarithmic axis, with its round numbers: powers of ten, or 1, 2 and 5 of each where those are few.
fn logarithmic(range: Range<f64>) -> WithKeyPoints<LogCoord<f64>> {
    let marks = |of_ten: &'static [f64]| {
        let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
        let all = powers.flat_map(move |power| of_ten.iter().map(move |n| n * 10f64.powi(power)));
        all.filter(|mark| range.contains(mark)).collect()
    };
    let mut at: Vec<f64> = marks(&[1.0]);
    if at.len() < 3 {
        at = marks(&[1.0, 2.0, 5.0]);
    }
    if at.len() < 3 {
        at = marks(&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    }
    range.log_scale().with_key_points(at)
}

fn fill<X, Y>(
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    picture: &Picture,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(picture.x)
        .y_desc(picture.y)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .label_style((FONT, 13))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (at, series) in picture.series.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let place = |(x, y): &(f64, f64)| match picture.log {
            true => (x.max(LEAST), y.max(LEAST)),
            false => (*x, *y),
        };
        let points: Vec<(f64, f64)> = series.points.iter().map(place).collect();
        if series.line {
            chart.draw_series(LineSeries::new(points.clone(), &colour))?;
        }
        let dots = points.into_iter();
        chart.draw_series(dots.map(|at| Circle::new(at, 4, colour.filled())))?;
    }
    Ok(())
}

/// A number as axes have it.
fn short(value: f64) -> String {
    if value.abs() >= 10.0 {
        return thousands(value.round().max(0.0) as u64);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Layers on top of each other, from the left, and each by itself with its name.
pub fn stacked(layers: &[Layer], area: &Area<'_>) -> Drawn {
    const LEFT: f64 = 10.0;
    const WIDTH: f64 = 1_300.0;
    const HEIGHT: i32 = 34;
    let total: f64 = layers.iter().map(|layer| layer.us).sum();
    let place = |us: f64| (LEFT + WIDTH * us / total.max(1.0)).round() as i32;
    let mut before = 0.0;
    for (at, layer) in layers.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let (from, to) = (place(before), place(before + layer.us));
        let bar = |top: i32, height: i32| {
            Rectangle::new([(from, top), (to, top + height)], colour.filled())
        };
        area.draw(&bar(4, 32))?;
        let top = 50 + HEIGHT * i32::try_from(at)?;
        area.draw(&bar(top, 6))?;
        let percent = 100.0 * layer.us / total.max(1.0);
        let said = format!("{}: {:.0} µs, {percent:.0} %", layer.what, layer.us);
        // Where there is room for it.
        let left = from.min((LEFT + WIDTH) as i32 - 8 * i32::try_from(said.chars().count())?);
        let style = (FONT, 15).into_text_style(area);
        area.draw_text(&said, &style, (left.max(LEFT as i32), top + 9))?;
        before += layer.us;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_names_the_clients_that_there_were_and_nothing_between() {
        let clients = [1, 64, 1_024];
        let labels = [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0].map(|x| label(x, &clients));
        assert_eq!(labels, ["", "1", "", "64", "1,024", ""]);
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        let texts = [0.0, 0.001, 0.25, 2.0, 1_500.4].map(short);
        assert_eq!(texts, ["0", "0.001", "0.25", "2", "1,500"]);
    }

    #[test]
    fn a_logarithmic_axis_has_round_numbers_however_short_it_is() {
        let of = |range: Range<f64>| logarithmic(range).bold_points().to_vec();
        assert_eq!(of(5.0..20_000.0), [10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!(of(30.0..1_500.0), [50.0, 100.0, 200.0, 500.0, 1_000.0]);
        assert_eq!(of(3.9..15.5), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0]);
    }

    #[test]
    fn an_axis_reaches_beyond_all_that_is_on_it() {
        let of = |log, values: &[f64]| range(log, values.iter().copied());
        assert_eq!(of(true, &[]), 1.0..10.0);
        let logarithmic = of(true, &[0.0, 100.0]);
        assert!(logarithmic.start > 0.0 && logarithmic.start < LEAST);
        assert!((logarithmic.end - 160.0).abs() < 1e-9);
        assert_eq!(of(false, &[3.0]), 2.5..3.5);
        assert_eq!(of(false, &[0.0, 100.0]), -8.0..108.0);
    }
}
