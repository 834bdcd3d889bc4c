//! Puts the page together: what the template and the script are given, and the policy that keeps it to itself.

use super::curves::{Curves, curves};
use super::pictures::Pictures;
use super::plot::{Plot, plot};
use super::table::Table;
use super::{Advice, Clip, Comparison, Crop, Shot, Test, Truth};
use crate::error::{Error, Kind, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Bytes a page should stay below, so that it can be sent, kept and opened on a phone: 30 MB.
pub const PAGE_LIMIT: u64 = 30_000_000;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In the order they need each other.
const SCRIPTS: [&str; 5] = [
    include_str!("page/view.js"),
    include_str!("page/viewer.js"),
    include_str!("page/table.js"),
    include_str!("page/plots.js"),
    include_str!("page/page.js"),
];

/// What the template lays out.
#[derive(Serialize)]
struct View<'a> {
    policy: String,
    style: &'static str,
    scripts: [&'static str; SCRIPTS.len()],
    program: &'a str,
    input: &'a Clip,
    /// What the input is and what was made of it, a few words each.
    facts: Vec<String>,
    advice: &'a Advice,
    /// The crop beside the advice: name, number and area, of a plain method, the advised one and the truth.
    example: Option<Example<'a>>,
    tests: Vec<TestView<'a>>,
    data: Data<'a>,
    pictures: Vec<String>,
}

#[derive(Serialize)]
struct Example<'a> {
    test: usize,
    frame: u64,
    area: (usize, usize, usize, usize),
    pictures: Vec<Named<'a>>,
}

#[derive(Serialize, Clone)]
struct Named<'a> {
    name: &'a str,
    picture: usize,
}

#[derive(Serialize)]
struct TestView<'a> {
    key: &'a str,
    title: &'a str,
    explanation: &'a str,
    /// What results are compared with, as a sentence.
    against: String,
    table: Table,
    plots: Vec<PlotView>,
    crops: Vec<CropView<'a>>,
    shots: Vec<u64>,
}

#[derive(Serialize)]
struct PlotView {
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    arrow: &'static str,
    about: &'static str,
    plot: Plot,
}

#[derive(Serialize)]
struct CropView<'a> {
    frame: u64,
    area: (usize, usize, usize, usize),
    pictures: Vec<Named<'a>>,
}

/// What the script works with.
#[derive(Serialize)]
struct Data<'a> {
    tests: Vec<TestData<'a>>,
    advised: &'a str,
}

#[derive(Serialize)]
struct TestData<'a> {
    size: (usize, usize),
    /// Names of the methods, then `truth` and `input` where there are pictures of them.
    names: Vec<&'a str>,
    shots: Vec<ShotData<'a>>,
    plots: Vec<PlotData>,
}

#[derive(Serialize)]
struct ShotData<'a> {
    frame: u64,
    pictures: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct PlotData {
    digits: usize,
    curves: Vec<CurveData>,
}

#[derive(Serialize)]
struct CurveData {
    method: usize,
    frames: Vec<u64>,
    values: Vec<f64>,
}

/// Writes the comparison as one file of HTML that needs no other.
///
/// Takes time and memory in proportion to its pictures: about three times their bytes while it is written.
///
/// # Errors
/// `Kind::Io` or `Kind::Resource` if `out` does not take it; `Kind::Bug` if a picture is neither PNG nor JPEG.
pub fn page(comparison: &Comparison, out: &mut dyn Write) -> Result<()> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let broken = |cause| Error::new(Kind::Bug, "laying out the comparison page").caused_by(cause);
    let lines = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(broken)?;
    environment.set_syntax(lines);
    environment.add_template("page.html", TEMPLATE).map_err(broken)?;
    let template = environment.get_template("page.html").map_err(broken)?;
    let view = Value::from(Serde(view(comparison)?));
    let mut out = Watched { out, failed: None };
    let done = template.render_captured_to(view, &mut out);
    match (done, out.failed) {
        (_, Some(cause)) => Err(Error::new(Kind::of_io(&cause), "writing the comparison page").caused_by(cause)),
        (done, None) => done.map(|_| ()).map_err(broken),
    }
}

/// How many bytes [`page`] would write. Costs what writing does; the pictures are nearly all of it.
///
/// # Errors
/// As [`page`].
pub fn page_size(comparison: &Comparison) -> Result<u64> {
    struct Counted(u64);
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    page(comparison, &mut counted)?;
    Ok(counted.0)
}

/// A writer that remembers why it failed; the template engine does not tell.
struct Watched<'a> {
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes).map_err(|cause| {
            let kind = cause.kind();
            self.failed.get_or_insert(cause);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn view(comparison: &Comparison) -> Result<View<'_>> {
    let colors = colors(comparison);
    let mut pictures = Pictures::default();
    let (mut tests, mut data) = (Vec::new(), Vec::new());
    for (test, colors) in comparison.tests.iter().zip(&colors) {
        let curves = curves(test);
        data.push(test_data(test, &curves, &mut pictures)?);
        tests.push(test_view(test, &curves, colors, &comparison.advice, &mut pictures)?);
    }
    Ok(View {
        policy: policy(),
        style: STYLE,
        scripts: SCRIPTS,
        program: &comparison.program,
        input: &comparison.input,
        facts: facts(comparison),
        advice: &comparison.advice,
        example: example(comparison, &tests),
        tests,
        data: Data { tests: data, advised: &comparison.advice.method },
        pictures: pictures.into_addresses(),
    })
}

fn facts(comparison: &Comparison) -> Vec<String> {
    let Comparison { input, scale, .. } = comparison;
    let size = |width: f64, height: f64| format!("{width:.0} × {height:.0}");
    let (width, height) = (input.width as f64, input.height as f64);
    // At most three digits after the point, and none that say nothing.
    let short = |value: f64| (value * 1000.0).round() / 1000.0;
    let plural = if input.frames == 1 { "" } else { "s" };
    let mut facts = vec![
        format!("{} → {} (× {})", size(width, height), size(width * scale, height * scale), short(*scale)),
        format!("{} frame{plural}", input.frames),
        format!("{} a second", short(input.rate)),
        input.format.clone(),
    ];
    facts.retain(|fact| !fact.is_empty());
    facts
}

fn against(test: &Test) -> String {
    let (width, height) = test.size;
    match &test.truth {
        Truth::Reference(file) => format!("Results of {width} × {height}, compared with {file}."),
        Truth::Recovery(how) => {
            format!("Results of {width} × {height}, compared with the input before it was reduced ({how}).")
        }
        Truth::Nothing => format!("Results of {width} × {height}. There is no truth to compare with."),
    }
}

/// A number for each method of each test; a name has the same one everywhere.
fn colors(comparison: &Comparison) -> Vec<Vec<usize>> {
    let mut names: Vec<&str> = Vec::new();
    let mut number = |name| {
        names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        })
    };
    comparison.tests.iter().map(|t| t.methods.iter().map(|m| number(m.name.as_str())).collect()).collect()
}

fn test_view<'a>(
    test: &'a Test,
    curves: &[Curves],
    colors: &[usize],
    advice: &Advice,
    pictures: &mut Pictures<'a>,
) -> Result<TestView<'a>> {
    let shots: Vec<u64> = test.shots.iter().map(|shot| shot.frame).collect();
    let plot_view = |curves: &Curves| {
        let figure = curves.figure;
        Ok(PlotView {
            key: figure.key,
            label: figure.label,
            unit: figure.unit,
            arrow: figure.better.arrow(),
            about: figure.about,
            plot: plot(curves, colors, &shots)?,
        })
    };
    let crop = |crop: &'a Crop| {
        Ok(CropView { frame: crop.frame, area: crop.area, pictures: named(&crop.pictures, pictures)? })
    };
    Ok(TestView {
        key: &test.key,
        title: &test.title,
        explanation: &test.explanation,
        against: against(test),
        table: Table::of(test, colors, &advice.method),
        plots: curves.iter().map(plot_view).collect::<Result<_>>()?,
        crops: test.crops.iter().map(crop).collect::<Result<_>>()?,
        shots,
    })
}

fn test_data<'a>(test: &'a Test, curves: &[Curves], pictures: &mut Pictures<'a>) -> Result<TestData<'a>> {
    let shot = |shot: &'a Shot| Ok(ShotData { frame: shot.frame, pictures: named(&shot.pictures, pictures)? });
    Ok(TestData {
        size: test.size,
        names: test.methods.iter().map(|m| m.name.as_str()).collect(),
        shots: test.shots.iter().map(shot).collect::<Result<_>>()?,
        plots: curves.iter().map(plot_data).collect(),
    })
}

fn plot_data(curves: &Curves) -> PlotData {
    // Two digits more than are shown, so that the script rounds as the table does.
    let unit = 10f64.powi(curves.figure.digits as i32 + 2);
    let curve = |curve: &super::curves::Curve| CurveData {
        method: curve.method,
        frames: curve.points.iter().map(|p| p.0).collect(),
        values: curve.points.iter().map(|p| (p.1 * unit).round() / unit).collect(),
    };
    PlotData { digits: curves.figure.digits, curves: curves.curves.iter().map(curve).collect() }
}

fn named<'a>(shown: &'a [(String, Vec<u8>)], pictures: &mut Pictures<'a>) -> Result<Vec<Named<'a>>> {
    shown.iter().map(|(name, bytes)| Ok(Named { name, picture: pictures.add(bytes)? })).collect()
}

/// Of the first crop that shows the advised method: the first other method, the advised one, the truth.
fn example<'a>(comparison: &'a Comparison, tests: &[TestView<'a>]) -> Option<Example<'a>> {
    let advised = comparison.advice.method.as_str();
    let (number, crop) = tests.iter().enumerate().find_map(|(number, test)| {
        Some((number, test.crops.iter().find(|crop| crop.pictures.iter().any(|p| p.name == advised))?))
    })?;
    let of = |name: &str| crop.pictures.iter().find(|p| p.name == name).cloned();
    let plain = comparison.tests[number].methods.iter().find(|m| m.name != advised && of(&m.name).is_some());
    let names = [plain.map(|m| m.name.as_str()), Some(advised), Some("truth")];
    let pictures: Vec<Named<'a>> = names.into_iter().flatten().filter_map(of).collect();
    (pictures.len() > 1).then_some(Example { test: number, frame: crop.frame, area: crop.area, pictures })
}

/// The content security policy: nothing may be fetched; only this style, these scripts and pictures in the page.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let scripts: Vec<String> = SCRIPTS.iter().map(|text| hash(text)).collect();
    format!(
        "default-src 'none'; img-src data:; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        scripts.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::MethodResult;

    const HOSTILE: &str = "</script><script>hit()</script>\"'&<!--\u{2028}";

    fn hostile() -> Comparison {
        let picture = || (HOSTILE.to_owned(), b"\xff\xd8\xff".to_vec());
        let method = MethodResult {
            name: HOSTILE.to_owned(),
            command: HOSTILE.to_owned(),
            external: true,
            mean: Default::default(),
            psnr_y_min: None,
            per_frame: Vec::new(),
            frames_per_second: Some(1.0),
            peak_memory: None,
            failed: None,
        };
        let test = Test {
            key: "t".to_owned(),
            title: HOSTILE.to_owned(),
            explanation: HOSTILE.to_owned(),
            truth: Truth::Reference(HOSTILE.to_owned()),
            size: (2, 2),
            methods: vec![method.clone(), MethodResult { failed: Some(HOSTILE.to_owned()), ..method }],
            shots: vec![Shot { frame: 0, pictures: vec![picture()] }],
            crops: vec![Crop { frame: 0, area: (0, 0, 2, 2), pictures: vec![picture()] }],
        };
        let input = Clip {
            name: HOSTILE.to_owned(),
            width: 1,
            height: 1,
            frames: 1,
            rate: 30000.0 / 1001.0,
            format: HOSTILE.to_owned(),
        };
        let advice =
            Advice { method: HOSTILE.to_owned(), command: HOSTILE.to_owned(), reasons: vec![HOSTILE.to_owned()] };
        Comparison { program: HOSTILE.to_owned(), input, scale: 2.0, tests: vec![test], advice, notes: Vec::new() }
    }

    fn text(comparison: &Comparison) -> String {
        let mut bytes = Vec::new();
        page(comparison, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_are_text_wherever_they_are() {
        let text = text(&hostile());
        assert_eq!(text.matches("<script").count(), SCRIPTS.len() + 2, "our scripts and the two blocks of data");
        assert!(!text.contains("hit()</script") && !text.contains("<!--"));
        assert!(text.contains("&lt;script&gt;hit()") && text.contains("\\u003cscript\\u003ehit()"));
        assert_eq!(
            text.matches("data:image/jpeg;base64,/9j/").count(),
            1,
            "a picture that is shown twice is held once"
        );
        assert!(text.contains("29.97 a second"));
    }

    #[test]
    fn the_policy_names_what_is_in_the_page() {
        let text = text(&hostile()).replace("&#x27;", "'").replace("&#x2f;", "/");
        for part in SCRIPTS.iter().chain([&STYLE]) {
            let hash = STANDARD.encode(Sha256::digest(part));
            assert!(text.contains(&format!("'sha256-{hash}'")) && text.contains(*part));
        }
        assert!(policy().starts_with("default-src 'none'; img-src data:;"), "{}", policy());
    }

    #[test]
    fn the_size_is_that_of_the_page_and_a_full_disk_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(page_size(&hostile()).unwrap(), text(&hostile()).len() as u64);
        assert_eq!(page(&hostile(), &mut Full).unwrap_err().kind(), Kind::Resource);
    }
}
