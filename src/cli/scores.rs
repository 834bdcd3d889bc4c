//! Figures of frames as a table for people, as JSON and as lines with commas.

use serde::Serialize;

use crate::compare::measure::Means;
use crate::metrics::{Metric, Scores};

/// Characters of a column, and what is between.
const WIDTH: usize = 8;

/// Figures of one frame.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Row {
    frame: u64,
    #[serde(flatten)]
    scores: Scores,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
    means: Means,
}

#[derive(Serialize)]
struct Json<'a> {
    frames: u64,
    #[serde(flatten)]
    mean: Scores,
    #[serde(skip_serializing_if = "Option::is_none")]
    psnr_y_min: Option<f64>,
    worst: Scores,
    per_frame: &'a [Row],
}

impl Report {
    pub(super) fn frames(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(super) fn push(&mut self, scores: Scores) {
        self.means.push(&scores);
        self.rows.push(Row { frame: self.frames(), scores });
    }

    /// Adds what came at the end.
    pub(super) fn finish(&mut self, vmaf: Option<Vec<f64>>) {
        let values = vmaf.unwrap_or_default();
        self.means.push_all(Metric::Vmaf, &values);
        self.rows.iter_mut().zip(values).for_each(|(row, value)| row.scores.vmaf = Some(value));
    }

    pub(super) fn json(&self) -> String {
        let (mean, worst) = (self.means.mean(), self.means.worst());
        let json = Json { frames: self.frames(), mean, psnr_y_min: worst.psnr_y, worst, per_frame: &self.rows };
        serde_json::to_string(&json).unwrap_or_default()
    }
}

/// The columns of a table: what is measured.
#[derive(Debug)]
pub(super) struct Columns(Vec<Metric>);

impl Columns {
    pub(super) fn new(metrics: Vec<Metric>) -> Self {
        Self(metrics)
    }

    /// Names and units.
    fn heading(&self) -> String {
        let line = |first: &str, cell: fn(Metric) -> &'static str| {
            let cells = self.0.iter().map(|metric| format!("  {:>WIDTH$}", cell(*metric)));
            format!("{first:>7}{}", cells.collect::<String>()).trim_end().to_owned()
        };
        format!("{}\n{}", line("frame", Metric::label), line("", Metric::unit))
    }

    /// A line a frame, means and worst figures.
    pub(super) fn table(&self, report: &Report) -> String {
        let mut lines = vec![self.heading()];
        lines.extend(report.rows.iter().map(|row| self.line(&row.frame.to_string(), &row.scores)));
        lines.push(self.line("mean", &report.means.mean()));
        lines.push(self.line("worst", &report.means.worst()));
        lines.push(format!("{} frames", report.frames()));
        lines.join("\n")
    }

    fn line(&self, first: &str, scores: &Scores) -> String {
        let cell = |metric: &Metric| match scores.get(*metric) {
            Some(value) => format!("  {value:WIDTH$.*}", metric.decimals()),
            None => format!("  {:>WIDTH$}", "-"),
        };
        format!("{first:>7}{}", self.0.iter().map(cell).collect::<String>())
    }
}

/// A heading, then a line a frame; a figure that was not measured is an empty field.
pub(super) fn csv(columns: &Columns, report: &Report) -> String {
    let names = columns.0.iter().map(|metric| metric.name().to_owned());
    let mut text = fields("frame".to_owned(), names);
    for row in &report.rows {
        let field = |metric: &Metric| row.scores.get(*metric).map_or(String::new(), |value| value.to_string());
        text += &fields(row.frame.to_string(), columns.0.iter().map(field));
    }
    text
}

fn fields(first: String, rest: impl Iterator<Item = String>) -> String {
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_the_terminal_and_lines_have_as_many_fields_as_the_heading() {
        let columns = Columns::new(Metric::ALL.to_vec());
        let mut report = Report::default();
        report.push(Scores { psnr_y: Some(31.25), edge_width: Some(2.0), ..Default::default() });
        report.push(Scores { psnr_y: Some(99.0), temporal: Some(123.456), ..Default::default() });
        report.finish(Some(vec![100.0, 97.5]));
        let table = columns.table(&report);
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
        let text = csv(&columns, &report);
        assert!(text.lines().all(|line| line.split(',').count() == 1 + Metric::ALL.len()), "{text}");
        assert!(text.starts_with("frame,psnr_y,psnr_rgb,") && text.contains("\n1,99,,,,,123.456,,,97.5\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
        assert_eq!(
            (&json["psnr_y"], &json["psnr_y_min"], &json["vmaf"]),
            (&65.125.into(), &31.25.into(), &98.75.into())
        );
        assert!(json.get("niqe").is_none() && json["per_frame"][0].get("temporal").is_none(), "{json}");
    }
}
