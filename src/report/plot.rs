//! Curves as SVG.
//!
//! What is drawn has no colours of its own: each curve has its number as one (`#000003`), and the style sheet gives
//! every number a colour, for light, for dark and for paper. The script finds places in a plot by the frame of its
//! drawing area, which is told beside it.

use super::curves::Curves;
use crate::error::{Error, Kind, Result};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use serde::Serialize;
use std::ops::Range;

/// Units of the drawing to one of its layout. Plotters counts whole ones, which would show as steps.
const FINE: i32 = 4;
const WIDTH: i32 = 460 * FINE;
const HEIGHT: i32 = 220 * FINE;
/// Room for the numbers at the left and below.
const LEFT: i32 = 52 * FINE;
const BELOW: i32 = 26 * FINE;
/// Size of letters. Plotters counts them from the lowest to the highest part, about a fourth more.
const LETTERS: i32 = 16 * FINE;

/// Usual steps between points beyond which a curve has a gap.
const GAP: u64 = 8;

/// "Colours" of what is no curve.
const GRID: RGBColor = RGBColor(238, 0, 0);
const AXIS: RGBColor = RGBColor(238, 0, 1);
const TEXT: RGBColor = RGBColor(238, 0, 2);
const MARK: RGBColor = RGBColor(238, 0, 3);
/// Numbers of curves' colours that the style sheet knows.
pub(super) const COLORS: usize = 20;

/// A plot and how its places are told.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    pub(super) svg: String,
    /// Left, top, right and bottom of the drawing area, as parts of the whole.
    pub(super) area: [f64; 4],
    /// First and last frame, at the left and right of the area.
    pub(super) frames: [u64; 2],
    /// Lowest and highest value, at the bottom and top of it.
    pub(super) values: [f64; 2],
}

/// Draws `curves` in `colors` (one for each method of the test); frames in `marks` have a mark on the axis.
///
/// # Errors
/// `Kind::Bug` if the plot library fails, which it has no reason to in memory.
pub(super) fn plot(curves: &Curves, colors: &[usize], marks: &[u64]) -> Result<Plot> {
    let (frames, values) = (frame_range(curves), value_range(curves));
    let mut svg = String::new();
    let area = draw(&mut svg, curves, colors, marks, (&frames, &values))
        .map_err(|cause| Error::new(Kind::Bug, format!("drawing the plot of {}: {cause}", curves.figure.label)))?;
    Ok(Plot { svg, area, frames: [frames.start, frames.end], values: [values.start, values.end] })
}

type Failure = Box<dyn std::error::Error>;

fn draw(
    svg: &mut String,
    curves: &Curves,
    colors: &[usize],
    marks: &[u64],
    (frames, values): (&Range<u64>, &Range<f64>),
) -> Result<[f64; 4], Failure> {
    let root = SVGBackend::with_string(svg, (WIDTH as u32, HEIGHT as u32)).into_drawing_area();
    let across = Axis::new(frames.start as f64..frames.end as f64, 1.0);
    let down = Axis::new(values.clone(), 0.0);
    let digits = label_digits(&down.ticks);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(8 * FINE)
        .margin_right(12 * FINE)
        .x_label_area_size(BELOW)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(across, down)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.stroke_width(FINE as u32))
        .axis_style(AXIS.stroke_width(FINE as u32))
        .label_style(("sans-serif", LETTERS).into_font().color(&TEXT))
        .x_label_formatter(&|frame| format!("{frame:.0}"))
        .y_label_formatter(&|value| format!("{value:.digits$}"))
        .draw()?;
    let (across, down) = chart.plotting_area().get_pixel_range();
    let top_of_marks = values.start + 0.035 * (values.end - values.start);
    for &frame in marks.iter().filter(|f| (frames.start..=frames.end).contains(f)) {
        let ends = [(frame as f64, values.start), (frame as f64, top_of_marks)];
        chart.draw_series(LineSeries::new(ends, MARK.stroke_width(3 * FINE as u32)))?;
    }
    for curve in &curves.curves {
        let color = RGBColor(0, 0, (colors[curve.method] % COLORS) as u8);
        for run in runs(&curve.points) {
            let points = run.iter().map(|&(frame, value)| (frame as f64, value.clamp(values.start, values.end)));
            if run.len() == 1 {
                chart.draw_series(points.map(|point| Circle::new(point, 3 * FINE, color.filled())))?;
            } else {
                chart.draw_series(LineSeries::new(points, color.stroke_width(3 * FINE as u32 / 2)))?;
            }
        }
    }
    root.present()?;
    let part = |at: i32, whole: i32| f64::from(at) / f64::from(whole);
    Ok([part(across.start, WIDTH), part(down.start, HEIGHT), part(across.end, WIDTH), part(down.end, HEIGHT)])
}

/// Points whose frames follow one another: a comparison may look at parts of a video, and there is nothing between them.
fn runs(points: &[(u64, f64)]) -> impl Iterator<Item = &[(u64, f64)]> {
    let step = |pair: &[(u64, f64)]| pair[1].0.saturating_sub(pair[0].0);
    let mut steps: Vec<u64> = points.windows(2).map(step).collect();
    steps.sort_unstable();
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(1).max(1);
    points.chunk_by(move |a, b| b.0.saturating_sub(a.0) <= GAP * usual)
}

fn frame_range(curves: &Curves) -> Range<u64> {
    let frames = || curves.curves.iter().flat_map(|c| c.points.iter().map(|p| p.0));
    let (first, last) = (frames().min().unwrap_or(0), frames().max().unwrap_or(0));
    first..last.max(first + 1)
}

/// From the lowest to the highest value with a little air. Parts of a whole are shown as such.
fn value_range(curves: &Curves) -> Range<f64> {
    if ["confidence", "multi_frame_share"].contains(&curves.figure.key) {
        return 0.0..1.0;
    }
    let values = || curves.curves.iter().flat_map(|c| c.points.iter().map(|p| p.1));
    // Identical pictures count as 99 dB, far from all others: they touch the top instead of flattening the rest.
    let usual = |v: &f64| curves.figure.unit != "dB" || *v < 99.0;
    let (low, high) = values().filter(usual).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if low > high {
        return 98.0..100.0;
    }
    let air = if high > low { 0.06 * (high - low) } else { (0.01 * high.abs()).max(0.01) };
    let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    (low - air).max(floor)..high + air
}

/// A straight axis with ticks of our own: the search of Plotters for those of whole numbers does not always end.
struct Axis {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(range: Range<f64>, least: f64) -> Self {
        Self { ticks: ticks(range.start, range.end, least), range }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        start + (part * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// Three to seven round places within a range, in steps of 1, 2 or 5 times a power of ten, of `least` at least.
fn ticks(low: f64, high: f64, least: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].iter().map(|step| step * power).find(|step| *step >= rough);
    let step = round.unwrap_or(rough).max(least);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|n| n as f64 * step).collect()
}

/// Digits that tell the ticks apart.
fn label_digits(ticks: &[f64]) -> usize {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    (0..6).find(|digits| step * 10f64.powi(*digits) > 0.999).unwrap_or(6) as usize
}

#[cfg(test)]
mod tests {
    use super::super::columns::MEASURES;
    use super::super::curves::Curve;
    use super::*;

    fn psnr(points: &[&[(u64, f64)]]) -> Curves {
        let curve = |(method, points): (usize, &&[(u64, f64)])| Curve { method, points: points.to_vec() };
        Curves { figure: MEASURES[0].figure, curves: points.iter().enumerate().map(curve).collect() }
    }

    #[test]
    fn a_plot_has_a_line_for_each_curve_in_its_number() {
        let plot = plot(&psnr(&[&[(3, 30.0), (9, 32.0)], &[(3, 31.0)]]), &[0, 7], &[3, 100]).unwrap();
        assert_eq!(plot.frames, [3, 9]);
        assert!(plot.values[0] < 30.0 && plot.values[1] > 32.0);
        assert!(plot.svg.contains("stroke=\"#000000\"") && plot.svg.contains("fill=\"#000007\""), "{}", plot.svg);
        assert_eq!(plot.svg.matches("#EE0003").count(), 1, "one mark is inside");
        let [left, top, right, bottom] = plot.area;
        assert!(0.0 < left && left < right && right < 1.0 && 0.0 < top && top < bottom && bottom < 1.0);
    }

    #[test]
    fn curves_have_gaps_where_nothing_was_measured() {
        let parts = |numbers: &[u64]| {
            let points: Vec<_> = numbers.iter().map(|n| (*n, 30.0)).collect();
            runs(&points).map(<[_]>::len).collect::<Vec<_>>()
        };
        assert_eq!(parts(&[1, 2, 3, 50, 51, 52, 99]), [3, 3, 1]);
        assert_eq!(parts(&[0, 40, 80, 121]), [4], "thinned out");
        assert_eq!(parts(&[3, 900]), [2], "too few to tell");
        assert_eq!(parts(&[]), [0; 0]);
    }

    #[test]
    fn identical_frames_do_not_flatten_the_rest() {
        let plot = plot(&psnr(&[&[(0, 30.0), (1, 99.0), (2, 31.0)]]), &[0], &[]).unwrap();
        assert!(plot.values[1] < 32.0, "{:?}", plot.values);
        let identical = super::plot(&psnr(&[&[(0, 99.0)]]), &[0], &[]).unwrap();
        assert_eq!(identical.values, [98.0, 100.0]);
    }

    #[test]
    fn ticks_are_round_few_and_inside() {
        assert_eq!(ticks(29.8, 34.1, 0.0), [30.0, 31.0, 32.0, 33.0, 34.0]);
        assert_eq!(ticks(0.0, 1.0, 1.0), [0.0, 1.0]);
        assert_eq!(ticks(0.0, 4999.0, 1.0), [0.0, 1000.0, 2000.0, 3000.0, 4000.0]);
        assert_eq!(label_digits(&ticks(0.9123, 0.9311, 0.0)), 3);
        for n in -40..40 {
            let (low, high) = (f64::from(n) * 0.37, f64::from(n) * 0.37 + 1.7f64.powi(n));
            let found = ticks(low, high, 0.0);
            assert!((2..=7).contains(&found.len()), "{low} to {high}: {found:?}");
            assert!(found.iter().all(|t| (low - 1e-6..=high + 1e-6).contains(t)));
        }
    }
}
