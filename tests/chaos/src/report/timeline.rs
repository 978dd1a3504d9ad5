//! A run drawn: requests, faults and leaders over time.

use std::collections::BTreeMap;

use check::history::{Answer, Record};
use plotters::prelude::*;
use sim::page::{Area, Drawn, FONT};

use super::{SECOND, Summary};

const SERVED: RGBColor = RGBColor(0, 158, 115);
const UNKNOWN: RGBColor = RGBColor(213, 94, 0);
const LEADER: RGBColor = RGBColor(0, 114, 178);
const FAULT: RGBColor = RGBColor(230, 159, 0);

/// All three, over time.
pub fn timeline(summary: &Summary, records: &[Record], area: &Area<'_>) -> Drawn {
    let (requests, rest) = area.split_vertically(300);
    let (faults, leaders) = rest.split_vertically(300);
    let end = summary.seconds as f64 + 1.0;
    draw_requests(summary, records, &requests, end)?;
    draw_faults(summary, records, &faults, end)?;
    draw_leaders(records, &leaders, end)
}

fn draw_requests(summary: &Summary, records: &[Record], area: &Area<'_>, end: f64) -> Drawn {
    let seconds = usize::try_from(summary.seconds)? + 2;
    let (mut served, mut unknown) = (vec![0_u64; seconds], vec![0_u64; seconds]);
    for record in records {
        if let Record::Operation(operation) = record {
            let at = usize::try_from(operation.return_ns / SECOND)?.min(seconds - 1);
            if operation.carried_out() {
                served[at] += 1;
            } else if matches!(operation.answer, Answer::Unknown(_)) {
                unknown[at] += 1;
            }
        }
    }
    let most = served.iter().chain(&unknown).max().copied().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption(
            "carried out (green) and of unknown outcome (red), in a second",
            (FONT, 15),
        )
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..end, 0..most.max(1))?;
    chart.configure_mesh().label_style((FONT, 12)).draw()?;
    for (values, colour) in [(&served, SERVED), (&unknown, UNKNOWN)] {
        let points = values.iter().enumerate().map(|(at, y)| (at as f64, *y));
        chart.draw_series(LineSeries::new(points, &colour))?;
    }
    Ok(())
}

fn draw_faults(summary: &Summary, records: &[Record], area: &Area<'_>, end: f64) -> Drawn {
    let kinds: Vec<&String> = summary.faults.keys().collect();
    let mut chart = ChartBuilder::on(area)
        .caption("faults", (FONT, 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..end, 0.0..kinds.len().max(1) as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .label_style((FONT, 12))
        .draw()?;
    let mut begun: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let mut bars: Vec<(usize, f64, f64)> = Vec::new();
    for record in records {
        let Record::Fault(fault) = record else {
            continue;
        };
        let at = fault.at_ns as f64 / SECOND as f64;
        let key = (fault.kind.as_str(), fault.what.as_str());
        let row = kinds.iter().position(|kind| **kind == fault.kind);
        if fault.begins {
            begun.insert(key, at);
        } else if let (Some(from), Some(row)) = (begun.remove(&key), row) {
            bars.push((row, from, at));
        }
    }
    chart.draw_series(bars.iter().map(|(row, from, to)| {
        let row = *row as f64;
        let corners = [(*from, row + 0.15), (to.max(from + 0.5), row + 0.85)];
        Rectangle::new(corners, FAULT.filled())
    }))?;
    for (row, kind) in kinds.iter().enumerate() {
        let (_, y) = chart.backend_coord(&(0.0, row as f64 + 0.7));
        let (left, top) = area.get_base_pixel();
        area.draw_text(
            kind,
            &(FONT, 12).into_text_style(area),
            (8 - left.min(0), y - top),
        )?;
    }
    Ok(())
}

fn draw_leaders(records: &[Record], area: &Area<'_>, end: f64) -> Drawn {
    let mut leads: Vec<(f64, u64)> = Vec::new();
    for record in records {
        if let Record::Leads(one) = record {
            let at = one.at_ns as f64 / SECOND as f64;
            if let Some((_, before)) = leads.last().copied() {
                leads.push((at, before));
            }
            leads.push((at, one.node));
        }
    }
    if let Some((_, last)) = leads.last().copied() {
        leads.push((end, last));
    }
    let most = leads.iter().map(|(_, node)| *node).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption("the node that was last seen to lead", (FONT, 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..end, 0..most + 1)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .label_style((FONT, 12))
        .draw()?;
    chart.draw_series(LineSeries::new(leads, LEADER.stroke_width(2)))?;
    Ok(())
}
