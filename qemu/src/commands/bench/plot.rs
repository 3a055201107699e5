//! A plot of what the hypervisor adds to each call, against what it may add and what Xen adds.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::report::{BenchReport, Judged};

/// Pixels.
const WIDTH: u32 = 960;
const ROW: u32 = 44;
const TOP: u32 = 90;
const LEFT: i32 = 260;
const RIGHT: i32 = 90;
/// What the axis shows, in percent of the target; longer bars are cut.
const AXIS_MAX: f64 = 200.0;

const MET: RGBColor = RGBColor(0x2e, 0x7d, 0x32);
const MISSED: RGBColor = RGBColor(0xc6, 0x28, 0x28);
const XEN: RGBColor = RGBColor(0xb0, 0xb0, 0xb0);

/// Draws the cases that have a target.
pub(super) fn draw(report: &BenchReport, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let cases: Vec<_> = report
        .cases
        .iter()
        .filter_map(|case| Some((case, case.measured()?, case.target.filter(|&t| t > 0.0)?)))
        .collect();
    let height = TOP + ROW * cases.len() as u32 + 30;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("the plot can't be drawn: {error}");
    area.fill(&WHITE).map_err(failed)?;
    let big = ("sans-serif", 18).into_font();
    let small = ("sans-serif", 13).into_font();
    let write = |text: String, font: &FontDesc<'_>, at| {
        area.draw(&Text::new(text, at, font.clone()))
            .map_err(failed)
    };
    write(
        "What was measured, in percent of what is allowed".to_owned(),
        &big,
        (20, 16),
    )?;
    write(
        "green: met, red: missed, grey: Xen (constants); bars end at 200 %".to_owned(),
        &small,
        (20, 42),
    )?;
    let scale = f64::from(WIDTH as i32 - LEFT - RIGHT) / AXIS_MAX;
    let x = |percent: f64| LEFT + (percent.clamp(0.0, AXIS_MAX) * scale) as i32;
    let bar = |percent: f64, top: i32, thick: i32, colour: RGBColor| {
        area.draw(&Rectangle::new(
            [(LEFT, top), (x(percent), top + thick)],
            colour.filled(),
        ))
        .map_err(failed)
    };
    for (row, (case, measured, target)) in cases.iter().enumerate() {
        let top = (TOP + ROW * row as u32) as i32;
        let percent = |value: f64| 100.0 * value / target;
        let label = |value: f64| match case.judged {
            Some(Judged::OverFloor) => case.signed(value),
            _ => case.shown(value),
        };
        write(case.name.clone(), &small, (20, top + 4))?;
        let colour = if case.met == Some(true) { MET } else { MISSED };
        bar(percent(*measured), top, 16, colour)?;
        write(
            label(*measured),
            &small,
            (x(percent(*measured)) + 4, top + 2),
        )?;
        if let Some(xen) = case.xen_over_floor {
            bar(percent(xen), top + 18, 10, XEN)?;
            write(label(xen), &small, (x(percent(xen)) + 4, top + 17))?;
        }
    }
    let bottom = (TOP + ROW * cases.len() as u32) as i32;
    area.draw(&PathElement::new(
        [(x(100.0), TOP as i32 - 8), (x(100.0), bottom)],
        BLACK.stroke_width(2),
    ))
    .map_err(failed)?;
    write("100 %".to_owned(), &small, (x(100.0) - 16, TOP as i32 - 24))?;
    area.present().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::{CaseReport, Unit};

    #[test]
    fn the_plot_has_each_case_with_a_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report/plot.svg");
        let case = |name: &str, judged| {
            CaseReport::new(
                name,
                Unit::Instructions,
                [None, Some(10.0), Some(1_250.0)],
                judged,
                Some(7_000.0),
            )
        };
        let report = BenchReport {
            cases: vec![
                case("first-case", Some((Judged::OverFloor, Some(1_000.0)))),
                case("unjudged", None),
            ],
        };
        draw(&report, &path).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        assert!(svg.contains("first-case") && svg.contains("+1,240") && svg.contains("+7,000"));
        assert!(!svg.contains("unjudged"));
    }
}
