//! The table and the plot of docs/cluster.md: how much quicker a film is made by so many workers, by the model and by
//! playing it event by event.
//!
//! ```sh
//! cargo run --release --example cluster_speedup -- docs/cluster.svg      # prints the table, writes the plot
//! ```

#![allow(clippy::print_stdout, reason = "the table is what this is for")]

use std::error::Error;
use std::path::PathBuf;

use plotters::prelude::*;
use subpel::segment::{Conditions, FrameCosts, Workload, simulate};

/// Two hours at 24 frames a second.
const FRAMES: u64 = 172_800;
const WORKERS: &[usize] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const PLAYS: u64 = 100;

/// One job under its conditions.
struct Case {
    name: &'static str,
    color: RGBColor,
    workload: Workload,
    conditions: Conditions,
}

/// Speed-ups with `workers`.
struct Row {
    workers: usize,
    told: f64,
    /// Lowest, mean and highest of all plays.
    played: [f64; 3],
}

fn film(make: f64, join: f64, frames: u64) -> Workload {
    let segments: Vec<_> = (0..FRAMES / frames).map(|n| (n * frames, (n + 1) * frames)).collect();
    Workload::planned(&segments, &FrameCosts { make, read: 0.02, join, overlap: 2, preroll: 72.0 })
}

fn cases() -> Vec<Case> {
    let usual = Conditions::default();
    let hard = Conditions { deaths_per_hour: 0.1, stragglers: 0.1, slowest: 4.0, ..usual };
    let case = |name, color, workload, conditions| Case { name, color, workload, conditions };
    vec![
        case("network, 60 frames a segment", RGBColor(27, 120, 55), film(4.0, 0.02, 60), usual),
        case("network, 240 frames", RGBColor(33, 102, 172), film(4.0, 0.02, 240), usual),
        case("network, 240, machines die and dawdle", RGBColor(178, 24, 43), film(4.0, 0.02, 240), hard),
        case("fusion, 240 frames", RGBColor(224, 130, 20), film(0.15, 0.02, 240), usual),
    ]
}

fn rows(case: &Case) -> Vec<Row> {
    let row = |&workers: &usize| {
        let seconds = (0..PLAYS).map(|seed| simulate(&case.workload, workers, &case.conditions, seed).seconds);
        let times: Vec<f64> = seconds.map(|s| s + case.workload.join).collect();
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let (quick, slow) = times.iter().fold((f64::MAX, 0.0), |(a, b), t| (t.min(a), t.max(b)));
        let told = case.workload.predict(workers, &case.conditions).speedup;
        Row { workers, told, played: [slow, mean, quick].map(|t| case.workload.alone / t) }
    };
    WORKERS.iter().map(row).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let cases: Vec<(Case, Vec<Row>)> =
        cases().into_iter().map(|case| (rows(&case), case)).map(|(r, c)| (c, r)).collect();
    for (case, rows) in &cases {
        println!("\n{} ({} tasks)\n", case.name, case.workload.tasks.len());
        println!("| workers | model | played, mean | lowest to highest | error of the model |");
        println!("|---|---|---|---|---|");
        for row in rows {
            let [low, mean, high] = row.played;
            let error = 100.0 * (row.told / mean - 1.0);
            println!("| {} | {:.1} | {mean:.1} | {low:.1} to {high:.1} | {error:+.1} % |", row.workers, row.told);
        }
    }
    if let Some(path) = std::env::args_os().nth(1) {
        draw(&PathBuf::from(path), &cases)?;
    }
    Ok(())
}

fn draw(path: &std::path::Path, cases: &[(Case, Vec<Row>)]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (760, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..1200.0f64).log_scale(), (0.5..1200.0f64).log_scale())?;
    let labels = ("sans-serif", 15);
    chart
        .configure_mesh()
        .light_line_style(RGBColor(240, 240, 240))
        .bold_line_style(RGBColor(215, 215, 215))
        .label_style(labels)
        .x_desc("workers")
        .y_desc("times quicker than one worker in one piece")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y}"))
        .draw()?;
    let ideal = [(1.0, 1.0), (1200.0, 1200.0)];
    chart
        .draw_series(LineSeries::new(ideal, RGBColor(150, 150, 150)))?
        .label("as many times as workers")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], RGBColor(150, 150, 150)));
    for (case, rows) in cases {
        let color = case.color;
        let many: Vec<usize> = (0..=120).map(|i| 10f64.powf(f64::from(i) / 40.0).round() as usize).collect();
        let model = many.iter().map(|&n| (n as f64, case.workload.predict(n, &case.conditions).speedup));
        chart
            .draw_series(LineSeries::new(model, color.stroke_width(2)))?
            .label(case.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        for row in rows {
            let [low, mean, high] = row.played;
            let at = row.workers as f64;
            chart.draw_series(LineSeries::new([(at, low), (at, high)], color))?;
            chart.draw_series([Circle::new((at, mean), 4, color.filled())])?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .label_font(labels)
        .draw()?;
    root.present()?;
    Ok(())
}
