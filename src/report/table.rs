//! The table of one test: rows of methods, columns of figures, the best of each column.
//!
//! Columns that no method has a figure for are left out. Which value is best is told by what is printed: values that
//! look alike are equally good.

use super::columns::{Better, Figure, MEASURES, MEMORY, SPEED, WORST, worst};
use super::{MethodResult, Test};
use serde::Serialize;

/// A table, ready to be laid out.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Column {
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    better: Better,
    arrow: &'static str,
    about: &'static str,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    command: String,
    external: bool,
    failed: Option<String>,
    /// Whether this is the method the page recommends.
    advised: bool,
    /// Number of its colour.
    color: usize,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Serialize)]
struct Cell {
    /// As printed; empty where there is no figure.
    text: String,
    value: Option<f64>,
    best: bool,
    /// The frame it belongs to, where it is one.
    frame: Option<u64>,
}

/// A figure of a method, and the frame it belongs to where it is one's; nothing where there is none.
type Entry = Option<(f64, Option<u64>)>;

/// A column with its figures, one a method.
struct Filled {
    figure: Figure,
    values: Vec<Entry>,
}

impl Table {
    /// The table of `test`. `colors` has a number for each method, `advised` is the name of the recommended one.
    pub(super) fn of(test: &Test, colors: &[usize], advised: &str) -> Self {
        let mut filled = columns(&test.methods);
        filled.retain(|column| column.values.iter().any(Option::is_some));
        let cells: Vec<Vec<Cell>> = filled.iter().map(cells).collect();
        let row = |(n, method): (usize, &MethodResult)| Row {
            name: method.name.clone(),
            command: method.command.clone(),
            external: method.external,
            failed: method.failed.clone(),
            advised: method.name == advised && method.failed.is_none(),
            color: colors[n],
            cells: cells.iter().map(|column| column[n].clone()).collect(),
        };
        Self {
            rows: test.methods.iter().enumerate().map(row).collect(),
            columns: filled.iter().map(|column| Column::of(&column.figure)).collect(),
        }
    }
}

impl Column {
    fn of(figure: &Figure) -> Self {
        let Figure { key, label, unit, better, about, .. } = *figure;
        Self { key, label, unit, better, arrow: better.arrow(), about }
    }
}

/// Every column there may be, with the figures of all methods; those of failed methods are empty.
fn columns(methods: &[MethodResult]) -> Vec<Filled> {
    let column = |figure: Figure, of: &dyn Fn(&MethodResult) -> Entry| {
        let value = |m: &MethodResult| of(m).filter(|(v, _)| m.failed.is_none() && v.is_finite());
        Filled { figure, values: methods.iter().map(value).collect() }
    };
    let mut all: Vec<Filled> =
        MEASURES.iter().map(|m| column(m.figure, &|method| Some(((m.of)(&method.mean)?, None)))).collect();
    let after_psnr = all.iter().position(|c| c.figure.key == "ssim_y").unwrap_or(0);
    all.insert(after_psnr, column(WORST, &worst));
    let mut speed = column(SPEED, &|m| Some((m.frames_per_second?, None)));
    speed.figure.digits = digits_for(&speed.values);
    all.push(speed);
    all.push(column(MEMORY, &|m| Some((m.peak_memory? as f64 / 1e6, None))));
    all
}

/// Digits that leave two figures of the smallest value, at least one.
fn digits_for(values: &[Entry]) -> usize {
    let smallest = values.iter().flatten().map(|(v, _)| *v).filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
    match smallest {
        v if v < 0.1 => 3,
        v if v < 1.0 => 2,
        _ => 1,
    }
}

fn cells(column: &Filled) -> Vec<Cell> {
    let digits = column.figure.digits;
    let text = |value: f64| format!("{value:.digits$}");
    let better = |a: f64, b: f64| if column.figure.better.prefers(b, a) { b } else { a };
    let best = column.values.iter().flatten().map(|(value, _)| *value).reduce(better).map(text);
    // With one figure there is nothing to be better than.
    let several = column.values.iter().flatten().count() > 1;
    let cell = |value: &Entry| {
        let text = value.map_or(String::new(), |(v, _)| text(v));
        let best = several && best.as_ref() == Some(&text);
        Cell { best, text, value: value.map(|(v, _)| v), frame: value.and_then(|(_, frame)| frame) }
    };
    column.values.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Scores;
    use crate::report::{FrameScores, Truth};

    fn method(name: &str, psnr: Option<f64>, temporal: Option<f64>) -> MethodResult {
        MethodResult {
            name: name.to_owned(),
            command: String::new(),
            external: false,
            mean: Scores { psnr_y: psnr, temporal, ..Scores::default() },
            psnr_y_min: None,
            per_frame: Vec::new(),
            frames_per_second: None,
            peak_memory: None,
            failed: None,
        }
    }

    fn table(methods: Vec<MethodResult>) -> Table {
        let colors: Vec<usize> = (0..methods.len()).collect();
        let test = Test {
            key: "t".to_owned(),
            title: String::new(),
            explanation: String::new(),
            truth: Truth::Nothing,
            size: (8, 8),
            methods,
            shots: Vec::new(),
            crops: Vec::new(),
        };
        Table::of(&test, &colors, "b")
    }

    fn best(table: &Table, column: usize) -> Vec<bool> {
        table.rows.iter().map(|row| row.cells[column].best).collect()
    }

    #[test]
    fn columns_without_figures_are_left_out() {
        let keys = |table: &Table| table.columns.iter().map(|c| c.key).collect::<Vec<_>>();
        assert_eq!(keys(&table(vec![method("a", Some(30.0), None)])), ["psnr_y"]);
        let mut slow = method("a", None, Some(1.0));
        slow.frames_per_second = Some(0.04);
        let slow = table(vec![slow, method("b", None, None)]);
        assert_eq!(keys(&slow), ["temporal", "speed"]);
        assert_eq!(slow.rows[0].cells[1].text, "0.040");
        assert_eq!(slow.rows[1].cells[1].text, "");
    }

    #[test]
    fn the_best_of_a_column_is_what_looks_best_in_its_direction() {
        let table = table(vec![
            method("a", Some(30.001), Some(2.0)),
            method("b", Some(30.004), Some(3.0)),
            method("c", Some(29.0), None),
        ]);
        assert_eq!(best(&table, 0), [true, true, false]);
        assert_eq!(best(&table, 1), [true, false, false]);
        assert_eq!(table.rows.iter().map(|r| r.advised).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn failed_methods_have_no_figures_and_no_number_is_no_figure() {
        let mut failed = method("b", Some(40.0), None);
        failed.failed = Some("out of memory".to_owned());
        let table = table(vec![method("a", Some(30.0), Some(f64::NAN)), failed, method("c", Some(31.0), None)]);
        assert_eq!(table.columns.len(), 1);
        assert_eq!(best(&table, 0), [false, false, true]);
        assert!(!table.rows[1].advised);
    }

    #[test]
    fn the_worst_frame_is_named() {
        let mut one = method("a", Some(30.0), None);
        let frame = |frame, psnr| FrameScores {
            frame,
            scores: Scores { psnr_y: Some(psnr), ..Scores::default() },
            ..FrameScores::default()
        };
        one.per_frame = vec![frame(4, 31.0), frame(5, 28.5), frame(6, 30.0)];
        let table = table(vec![one]);
        assert_eq!((table.columns[1].key, table.rows[0].cells[1].frame), ("worst", Some(5)));
        assert_eq!((table.rows[0].cells[1].text.as_str(), table.rows[0].cells[1].best), ("28.50", false));
    }
}
