//! Who may use whom, read from the sources and compared with the design (docs/architecture.md).
//!
//! Three rules: a module uses only modules below it; an outside crate is used only by its owner; `unsafe` stays in
//! `kernels` and `media`. Test code is held to the same rules, but for the arrows in [`IN_TESTS`]. And the
//! file table of docs/architecture.md names exactly the files there are.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod source;

use source::{Named, scan};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const BASE: &[&str] = &["frame", "color", "light", "kernels", "cores", "error"];
const STAGES: &[&str] = &["media", "resample", "register", "fuse", "refine", "metrics"];
const DRIVERS: &[&str] = &["pipeline", "report", "train"];

/// Whether `from` may use `to`, both modules of the crate's root.
fn may_use(from: &str, to: &str) -> bool {
    let any = |layers: &[&[&str]]| layers.iter().any(|layer| layer.contains(&to));
    match from {
        _ if from == to => true,
        "lib" => true,
        "main" => ["cli", "error"].contains(&to),
        "cli" => ["compare", "segment"].contains(&to) || any(&[DRIVERS, STAGES, BASE]),
        "compare" | "segment" => any(&[DRIVERS, STAGES, BASE]),
        _ if DRIVERS.contains(&from) => any(&[STAGES, BASE]),
        _ if STAGES.contains(&from) => any(&[BASE]),
        "frame" => ["color", "error"].contains(&to),
        "color" => ["frame", "error"].contains(&to),
        "light" => ["frame", "color", "error"].contains(&to),
        "kernels" => to == "error",
        _ => false,
    }
}

/// What `fuse` may take from `register`: how motion is told, not how it is found.
const MOTION_TYPES: &[&str] = &["motion", "Motion", "Shift", "Field"];

/// Arrows allowed in `#[cfg(test)]` modules only, as (from, to).
const IN_TESTS: &[(&str, &str)] = &[];

/// Where an outside crate may be used.
enum Owner {
    Anywhere,
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}
use Owner::{AllBut, Anywhere, Only};

/// Every dependency in Cargo.toml, as the name in the source; and parts of the standard library that have an owner.
const OWNERS: &[(&str, Owner)] = &[
    ("clap", Only(&["cli", "main"])),
    ("clap_complete", Only(&["cli", "main"])),
    ("clap_mangen", Only(&["cli", "main"])),
    ("indicatif", Only(&["cli", "main"])),
    ("signal_hook", Only(&["cli"])),
    ("bytesize", Only(&["cli"])),
    ("blake3", Only(&["segment"])),
    ("bytemuck", Only(&["segment"])),
    ("rustix", Only(&["cores", "segment"])),
    ("serde_json", Only(&["cli", "compare", "report", "segment", "refine", "train"])),
    ("crossbeam", Only(&["pipeline"])),
    ("ffmpeg_next", Only(&["media"])),
    ("csv", Only(&["cli"])),
    ("font8x8", Only(&["compare"])),
    ("image", Only(&["compare"])),
    ("shlex", Only(&["compare"])),
    ("minijinja", Only(&["report"])),
    ("plotters", Only(&["report"])),
    ("base64", Only(&["report"])),
    ("sha2", Only(&["report"])),
    ("rustfft", Only(&["register", "fuse"])),
    ("half", Only(&["refine"])),
    ("candle_core", Only(&["refine", "train"])),
    ("zip", Only(&["refine"])),
    ("std::arch", Only(&["kernels"])),
    ("core::arch", Only(&["kernels"])),
    // Kernels work on slices they are given; what runs them decides about threads.
    ("rayon", AllBut(&["kernels"])),
    ("libc", Only(&["cli", "kernels", "main", "media", "pipeline", "segment"])),
    // Special functions.
    ("libm", Only(&["metrics"])),
    ("same_file", Anywhere),
    ("tempfile", Anywhere),
    ("serde", Anywhere),
    ("ndarray", Anywhere),
];
const UNSAFE_IN: &[&str] = &["kernels", "media"];

/// The modules of the crate's root and the names its root hands on.
struct Root {
    modules: BTreeSet<String>,
    reexports: BTreeMap<String, String>,
}

impl Root {
    fn new(files: &[(PathBuf, String)]) -> Self {
        let modules = files.iter().map(|(path, _)| place(path)[0].clone()).collect();
        let lib = files.iter().find(|(path, _)| path == Path::new("src/lib.rs")).map_or("", |(_, text)| text);
        let reexports = scan(lib).paths.into_iter().filter_map(|path| {
            let module = path.segments.iter().find(|s| !["crate", "self"].contains(&s.as_str()))?.clone();
            Some((path.name, module))
        });
        Self { modules, reexports: reexports.collect() }
    }

    /// The root module that `path` (from the crate's root) is in, and the path within it.
    fn resolve<'a>(&self, path: &'a [String]) -> Result<(String, &'a [String]), String> {
        let Some(first) = path.first().filter(|s| *s != "*") else {
            return Err("takes in the crate's root; name the module".to_owned());
        };
        if self.modules.contains(first) {
            return Ok((first.clone(), &path[1..]));
        }
        match self.reexports.get(first) {
            Some(module) => Ok((module.clone(), path)),
            None => Err(format!("names crate::{first}, which is neither a module nor re-exported by name in lib.rs")),
        }
    }
}

/// The module path of a file, from the crate's root; the root files are `lib` and `main`.
fn place(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let mut place: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if place.len() > 1 && place.last().is_some_and(|last| last == "mod") {
        place.pop();
    }
    place
}

/// Everything in one file that breaks a rule, as `file:line: what`.
fn violations(file: &Path, text: &str, root: &Root) -> Vec<String> {
    let place = place(file);
    let from = place[0].as_str();
    let found = scan(text);
    let mut wrong = Vec::new();
    for path in &found.paths {
        if let Some(what) = broken_by(path, &place, root) {
            wrong.push(format!("{}:{}: {what}", file.display(), path.line));
        }
    }
    if !UNSAFE_IN.contains(&from) {
        wrong.extend(
            found
                .unsafe_lines
                .iter()
                .map(|line| format!("{}:{line}: unsafe outside {}", file.display(), UNSAFE_IN.join(" and "))),
        );
    }
    wrong
}

/// What rule a path breaks in the module `place`.
fn broken_by(path: &Named, place: &[String], root: &Root) -> Option<String> {
    let from = place[0].as_str();
    let first = path.segments.first()?.as_str();
    let mut here: Vec<String> = if ["lib", "main"].contains(&from) { Vec::new() } else { place.to_vec() };
    here.extend(path.inside.iter().cloned());
    let whole = path.segments.join("::");
    let target = match first {
        // The program is a crate of its own with one file; the library is outside it.
        "crate" | "self" | "super" if from == "main" => return None,
        "crate" => path.segments[1..].to_vec(),
        "subpel" if from == "main" => path.segments[1..].to_vec(),
        "self" | "super" => {
            let ups = path.segments.iter().skip_while(|s| *s == "self").take_while(|s| *s == "super").count();
            let rest = path.segments.iter().skip_while(|s| ["self", "super"].contains(&s.as_str())).cloned();
            here.truncate(here.len().saturating_sub(ups));
            here.into_iter().chain(rest).collect()
        }
        _ => return outside(from, &path.segments),
    };
    if from == "lib" {
        return None;
    }
    let (to, rest) = match root.resolve(&target) {
        Ok(resolved) => resolved,
        Err(what) => return Some(what),
    };
    let in_tests = path.inside.iter().any(|module| module == "tests");
    let motion = from == "fuse" && to == "register";
    if may_use(from, &to) || in_tests && IN_TESTS.contains(&(from, to.as_str())) {
        return None;
    }
    if motion && rest.first().is_some_and(|name| MOTION_TYPES.contains(&name.as_str())) {
        return None;
    }
    let only = if motion { format!(" (only its {})", MOTION_TYPES.join(", ")) } else { String::new() };
    Some(format!("{from} may not use {to}{only}: {whole}"))
}

/// What is wrong with using this outside path in `from`.
fn outside(from: &str, segments: &[String]) -> Option<String> {
    let names = [segments[0].clone(), segments.iter().take(2).cloned().collect::<Vec<_>>().join("::")];
    let (name, owner) = OWNERS.iter().find(|(name, _)| names.iter().any(|n| n == name))?;
    match owner {
        Only(owners) if !owners.contains(&from) => Some(format!("{name} belongs to {}, not {from}", owners.join(", "))),
        AllBut(barred) if barred.contains(&from) => Some(format!("{name} may not be used in {from}")),
        _ => None,
    }
}

/// All sources under src/, with paths relative to the project.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("entry is readable").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&project.join("src"), &mut files);
    files.sort();
    let relative = |path: &PathBuf| path.strip_prefix(project).expect("inside the project").to_owned();
    files.iter().map(|path| (relative(path), fs::read_to_string(path).expect("source is readable"))).collect()
}

#[test]
fn modules_use_only_what_is_below_them() {
    let files = sources();
    assert!(files.len() > 3, "only {} files found", files.len());
    let root = Root::new(&files);
    let wrong: Vec<String> = files.iter().flat_map(|(path, text)| violations(path, text, &root)).collect();
    assert!(wrong.is_empty(), "{} broken rules:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_dependency_has_an_owner_here() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("Cargo.toml");
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("build-");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| in_dependencies) {
            let name = name.trim().replace('-', "_");
            assert!(OWNERS.iter().any(|(owned, _)| *owned == name), "say in OWNERS who may use {name}");
        }
    }
}

#[test]
fn architecture_lists_exactly_the_files_there_are() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = fs::read_to_string(&page).expect("docs/architecture.md is readable");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `src/")?.split_once('`'));
    let files_only = rows.filter(|(name, _)| !name.ends_with('/'));
    let mut listed = BTreeSet::new();
    let twice: Vec<_> =
        files_only.map(|(name, _)| format!("src/{name}")).filter(|f| !listed.insert(f.clone())).collect();
    let files = sources();
    let there: BTreeSet<String> = files.iter().map(|(path, _)| path.display().to_string().replace('\\', "/")).collect();
    let gone: Vec<_> = listed.difference(&there).cloned().collect();
    let missing = there.difference(&listed).map(|file| {
        let prose = files.iter().find(|(path, _)| path == Path::new(file)).and_then(|(_, text)| text.lines().next());
        format!(
            "| `{file}` | {} |",
            prose.and_then(|line| line.strip_prefix("//! ")).unwrap_or("…").trim_end_matches('.')
        )
    });
    let missing: Vec<String> = missing.collect();
    assert!(twice.is_empty(), "docs/architecture.md lists files twice: {}", twice.join(", "));
    assert!(gone.is_empty(), "docs/architecture.md lists files that are gone: {}", gone.join(", "));
    assert!(missing.is_empty(), "docs/architecture.md lacks:\n{}", missing.join("\n"));
}

mod checker {
    //! The checker can fail: made-up sources with one fault each.

    use super::*;

    fn root() -> Root {
        let lib = "pub use error::Error; pub use register::Motion as Movement; pub use fuse::{Fuser, gate::Gate};";
        let names = ["lib", "error", "frame", "color", "kernels", "media", "resample", "register", "fuse", "pipeline"];
        let files = names.iter().map(|n| (PathBuf::from(format!("src/{n}.rs")), String::new()));
        let mut files: Vec<_> = files.collect();
        files[0].1 = lib.to_owned();
        Root::new(&files)
    }

    #[track_caller]
    fn clean(file: &str, text: &str) {
        assert_eq!(violations(Path::new(file), text, &root()), Vec::<String>::new(), "{text}");
    }

    #[track_caller]
    fn broken(file: &str, text: &str, at: &str, says: &str) {
        let wrong = violations(Path::new(file), text, &root());
        assert_eq!(wrong.len(), 1, "{wrong:?} for {text}");
        assert!(wrong[0].starts_with(&format!("{file}:{at}: ")) && wrong[0].contains(says), "{} for {text}", wrong[0]);
    }

    #[test]
    fn arrows_downwards_are_fine() {
        clean("src/main.rs", "use subpel::error::Kind; fn main() { subpel::Error::new() } mod t { use super::*; }");
        clean("src/pipeline/run.rs", "use crate::{media::{self, Reader}, fuse::Fuser, error::*};");
        clean("src/fuse/mod.rs", "use self::gate::Gate; use super::frame::Plane; mod a { use super::super::kernels; }");
        clean("src/lib.rs", "pub mod fuse; pub use fuse::Fuser; pub use crate::pipeline::Upscaler;");
    }

    #[test]
    fn arrows_upwards_and_sideways_are_found_with_file_and_line() {
        broken("src/fuse/mod.rs", "\n\nuse crate::pipeline::Plan;", "3", "fuse may not use pipeline");
        broken(
            "src/media.rs",
            "use crate::{\n    frame::Frame,\n    resample::Filter,\n};",
            "3",
            "media may not use resample",
        );
        broken("src/kernels/a.rs", "fn f() -> crate::frame::Plane {}", "1", "kernels may not use frame");
        broken("src/fuse/a/b.rs", "use super::super::super::media::Reader;", "1", "fuse may not use media");
        broken(
            "src/register/a.rs",
            "mod tests { use super::super::super::fuse::X; }",
            "1",
            "register may not use fuse",
        );
        broken("src/main.rs", "fn main() { subpel::media::probe() }", "1", "main may not use media");
        broken("src/error.rs", "use crate::frame as f;", "1", "error may not use frame");
        broken("src/kernels/mod.rs", "macro_rules! m { () => { $crate::fuse::f() } }", "1", "kernels may not use fuse");
        broken("src/new.rs", "use crate::error::Error;", "1", "new may not use error");
    }

    #[test]
    fn names_handed_on_by_the_root_count_as_their_module() {
        clean("src/media.rs", "use crate::Error;");
        broken("src/media.rs", "use crate::Fuser;", "1", "media may not use fuse");
        broken("src/media.rs", "use crate::Gate;", "1", "media may not use fuse");
        broken("src/media.rs", "use crate::Movement;", "1", "media may not use register");
        broken("src/media.rs", "use crate::Nothing;", "1", "neither a module nor re-exported");
        broken("src/media.rs", "use crate::*;", "1", "name the module");
        broken("src/media.rs", "use crate as all;", "1", "name the module");
    }

    #[test]
    fn fuse_takes_only_motion_types_from_register() {
        clean("src/fuse/mod.rs", "use crate::register::{Motion, motion::Shift};");
        broken("src/fuse/mod.rs", "use crate::register::Registrar;", "1", "only its motion, Motion, Shift, Field");
        broken("src/fuse/mod.rs", "use crate::register;", "1", "only its");
        broken("src/register/mod.rs", "use crate::fuse::Motion;", "1", "register may not use fuse");
    }

    #[test]
    fn outside_crates_stay_with_their_owner() {
        clean("src/media/a.rs", "use ffmpeg_next as ff; use ::ffmpeg_next::ffi;");
        broken("src/pipeline/a.rs", "use ffmpeg_next as ff;", "1", "ffmpeg_next belongs to media, not pipeline");
        broken("src/pipeline/a.rs", "fn f() { ::ffmpeg_next::init() }", "1", "ffmpeg_next belongs to media");
        broken("src/fuse/a.rs", "#[derive(clap::Args)] struct A;", "1", "clap belongs to cli, main");
        broken("src/fuse/a.rs", "extern crate crossbeam;", "1", "crossbeam belongs to pipeline");
        broken("src/fuse/a.rs", "use std::{fmt, arch::x86_64::*};", "1", "std::arch belongs to kernels");
        broken("src/fuse/a.rs", "fn f() { core::arch::x86_64::_mm_pause() }", "1", "core::arch belongs to kernels");
        broken("src/kernels/a.rs", "use rayon::prelude::*;", "1", "rayon may not be used in kernels");
    }

    #[test]
    fn unsafe_stays_in_kernels_and_media() {
        clean("src/kernels/avx2.rs", "unsafe fn f() {}");
        clean("src/media/ffi.rs", "fn f() { unsafe { g() } }");
        broken("src/fuse/a.rs", "fn f() {\n    unsafe { g() }\n}", "2", "unsafe outside kernels and media");
    }

    #[test]
    fn comments_strings_and_letters_are_not_code() {
        clean("src/fuse/a.rs", "//! [crate::media::Reader]\n/* unsafe /* crate::media::x */ unsafe */ fn f() {}");
        clean("src/fuse/a.rs", "const A: &str = \"use crate::media; \\\" unsafe\"; const B: &str = r#\"\" unsafe \"#;");
        clean("src/fuse/a.rs", "const C: [char; 3] = ['\"', '\\'', '{']; fn f<'a>(x: &'a str) -> &'a str { x }");
        broken("src/fuse/a.rs", "const C: char = '\"'; use crate::media::X; // \"", "1", "fuse may not use media");
        broken(
            "src/fuse/a.rs",
            "fn f<'a>() { let r#unsafe_ = b\"'\"; crate::media::x() }",
            "1",
            "fuse may not use media",
        );
        broken("src/fuse/a.rs", "/* \n */ const S: &str = \"a\nb\"; unsafe fn f() {}", "3", "unsafe outside");
    }

    #[test]
    fn modules_in_a_file_end_where_they_end() {
        clean("src/fuse/a.rs", "mod t { mod u { use super::super::super::grid; } } use super::grid;");
        broken("src/fuse/a.rs", "mod t { fn f() {} } use super::super::media::X;", "1", "fuse may not use media");
    }
}
