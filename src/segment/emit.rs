//! Scripts that hand a job to a scheduler: text to look at, change and submit. Nothing is started here.
//!
//! A path stands in a script once, as a literal of its language (a POSIX shell's single quotes, a JSON string in YAML); the
//! rest of what is filled in are integers, checked names and fixed words. So no name of a folder can become a command.

use std::path::{Path, PathBuf};

use super::job::{SegmentJob, Trust};
use super::receipt::{State, numbers_in_words};
use crate::error::{Error, Kind, Result};
use crate::kernels::CpuLevel;
use crate::pipeline::{MemoryPlan, open_for};

/// Highest index of a task that Slurm takes as it is usually set up (`MaxArraySize` 1001).
pub const MOST_SLURM_TASKS: usize = 1000;

/// Further memory for each core that the join has more than other tasks: encoders hold frames for every thread.
const ENCODER_MEBIBYTES: usize = 64;

/// Who is to run a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// An array job of Slurm, and one that joins.
    Slurm,
    /// Array jobs of HyperQueue.
    HyperQueue,
    /// An indexed Job of Kubernetes, and one that joins.
    Kubernetes,
    /// GNU parallel on one machine.
    Parallel,
}

/// How a job is to be run.
#[derive(Debug, Clone)]
pub struct Submission {
    /// This program, where workers find it; a name alone is looked up there.
    pub program: PathBuf,
    /// What the segments are joined to; nothing if `None`.
    pub output: Option<PathBuf>,
    /// Whether an output that exists is replaced.
    pub overwrite: bool,
    /// Cores of a task.
    pub cpus: usize,
    /// Cores of the join, which encodes all of the video.
    pub join_cpus: usize,
    /// Bytes of a task.
    pub memory: u64,
    /// Most tasks at once; as many as there is room for if `None`.
    pub workers: Option<usize>,
    /// Segments that a task of Slurm makes, one after the other; as few as [`MOST_SLURM_TASKS`] allows if `None`.
    pub pack: Option<usize>,
    /// How often a task is tried again.
    pub attempts: usize,
    /// Name of the container image, for Kubernetes.
    pub image: String,
    /// Name of the persistent volume claim, for Kubernetes.
    pub claim: String,
    /// Folder at which the volume is mounted in pods; the one above the job if `None`.
    pub mount: Option<PathBuf>,
    /// What to say of the time it takes.
    pub forecast: Option<String>,
}

/// Bytes that a task of `job` should be granted: what the pipeline is expected to hold, a fourth more as the estimate is none
/// of the operating system's, and what a program takes anyway. Looks at the input.
///
/// # Errors
/// Those of opening the input and of the options.
pub fn memory_of(job: &SegmentJob) -> Result<u64> {
    let options = job.manifest().params.options()?;
    let reader = open_for(&options, &job.input(None)?, 1, CpuLevel::detect())?;
    let expected = MemoryPlan::of(&options.resolve(&reader.info().layout)?, None)?.total();
    Ok((expected / 4 * 5 + (256 << 20)).next_multiple_of(64 << 20))
}

/// What is filled in, by name.
type Values = Vec<(&'static str, Vec<u8>)>;

/// The script that has `engine` make what is missing of `job`, as bytes: a path may be no UTF-8.
///
/// # Errors
/// [`Kind::Usage`] for paths that cannot be written down, and for numbers and names outside of what is allowed, with both;
/// [`Kind::Create`] if the output exists and may not be replaced; those of looking at the job.
pub fn emit(job: &SegmentJob, engine: Engine, how: &Submission) -> Result<Vec<u8>> {
    check(engine, how)?;
    let states = job.states(Trust::Receipt)?;
    let missing: Vec<usize> =
        (1..).zip(&states).filter(|(_, state)| !matches!(state, State::Whole(_))).map(|(n, _)| n).collect();
    let output = how.output.as_deref().map(|path| output_path(path, how.overwrite)).transpose()?;
    let folder = absolute(job.folder())?;
    for path in [Some(&folder), output.as_ref(), Some(&how.program)].into_iter().flatten() {
        refuse_line_breaks(path)?;
    }
    let mut values: Values = vec![
        ("SEGMENTS", number(job.segments())),
        ("MISSING", number(missing.len())),
        ("CPUS", number(how.cpus)),
        ("MEMORY", number(mebibytes(how.memory))),
        ("JOIN_CPUS", number(how.join_cpus)),
        ("JOIN_MEMORY", number(mebibytes(how.memory) + ENCODER_MEBIBYTES * how.join_cpus.saturating_sub(how.cpus))),
        ("ATTEMPTS", number(how.attempts)),
        ("TRIES", number(how.attempts + 1)),
        ("CRASHES", number(how.attempts + 1)),
        ("FORECAST", how.forecast.as_ref().map_or(Vec::new(), |words| format!("\n# {words}").into_bytes())),
    ];
    if engine == Engine::Kubernetes {
        values.extend(for_pods(job, how, &folder, output.as_deref())?);
        let join = if output.is_some() { include_str!("emit/k8s-join.yaml") } else { "" };
        return fill(&[include_str!("emit/k8s.yaml"), join].concat(), &values);
    }
    values.push(("PROGRAM", shell_literal(&how.program)?));
    values.push(("JOB", shell_literal(&folder)?));
    values.push(("OUTPUT", output.as_deref().map_or(Ok(b"''".to_vec()), shell_literal)?));
    values.push(("OVERWRITE", if how.overwrite { b"--overwrite ".to_vec() } else { Vec::new() }));
    let template = match engine {
        Engine::Slurm => {
            values.extend(for_slurm(&missing, job.segments(), how)?);
            include_str!("emit/slurm.sh")
        }
        Engine::Parallel => {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
            values.push(("WORKERS", number(how.workers.unwrap_or((cores / how.cpus).max(1)))));
            values.push(("RANGES", sequences(&missing).into_bytes()));
            include_str!("emit/parallel.sh")
        }
        Engine::HyperQueue | Engine::Kubernetes => include_str!("emit/hq.sh"),
    };
    fill(template, &values)
}

/// Refuses what no script can say.
fn check(engine: Engine, how: &Submission) -> Result<()> {
    let usage = |message: String| Err(Error::new(Kind::Usage, message));
    if how.pack.is_some() && engine != Engine::Slurm {
        return usage("--pack is for Slurm alone: the others take any number of tasks".to_owned());
    }
    if how.workers.is_some() && engine == Engine::HyperQueue {
        return usage("--workers is not for HyperQueue: it has as many as were started".to_owned());
    }
    let numbers = [
        ("--cpus", how.cpus),
        ("--join-cpus", how.join_cpus),
        ("--workers", how.workers.unwrap_or(1)),
        ("--pack", how.pack.unwrap_or(1)),
    ];
    for (name, value) in numbers {
        if !(1..=100_000).contains(&value) {
            return usage(format!("{name} {value} is not between 1 and 100000"));
        }
    }
    if how.attempts > 100 {
        return usage(format!("--attempts {} is more than 100", how.attempts));
    }
    Ok(())
}

/// The tasks of an array job: each makes `pack` segments in a row.
fn for_slurm(missing: &[usize], segments: usize, how: &Submission) -> Result<Values> {
    let least = segments.div_ceil(MOST_SLURM_TASKS);
    let pack = how.pack.unwrap_or(least);
    if pack < least {
        let message = format!(
            "--pack {pack} needs {} tasks for {segments} segments, but Slurm takes {MOST_SLURM_TASKS}",
            segments.div_ceil(pack)
        );
        return Err(Error::new(Kind::Usage, message).hint(format!("--pack {least} or more")));
    }
    let mut tasks: Vec<usize> = missing.iter().map(|n| (n - 1) / pack + 1).collect();
    tasks.dedup();
    if tasks.is_empty() {
        // Slurm has no empty arrays; what is whole ends at once.
        tasks.push(1);
    }
    let most = how.workers.map_or(String::new(), |n| format!("%{n}"));
    Ok(vec![
        ("TASKS", number(tasks.len())),
        ("PACK", number(pack)),
        ("ARRAY", format!("{}{most}", numbers_in_words(&tasks)).into_bytes()),
    ])
}

/// Numbers one a line, as commands of a shell.
fn sequences(missing: &[usize]) -> String {
    let words = numbers_in_words(missing);
    let runs = words.split(',').filter(|run| !run.is_empty()).map(|run| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        format!("seq {first} {last};")
    });
    let runs: Vec<String> = runs.collect();
    // Something has to stand there, even if there is nothing to do.
    if runs.is_empty() { ":;".to_owned() } else { runs.join(" ") }
}

/// What a Job of Kubernetes says.
fn for_pods(job: &SegmentJob, how: &Submission, folder: &Path, output: Option<&Path>) -> Result<Values> {
    let mount = match &how.mount {
        Some(mount) => absolute(mount)?,
        None => folder.parent().unwrap_or(folder).to_owned(),
    };
    for (what, path) in
        [("the job", Some(folder)), ("the output", output), ("the input", Some(Path::new(&job.manifest().source.path)))]
    {
        if path.is_some_and(|path| !path.starts_with(&mount)) {
            let message = format!("{what} is not below {}, which is all that pods will see", mount.display());
            return Err(Error::new(Kind::Usage, message)
                .hint("--mount names the folder at which the volume is mounted, here and in pods")
                .file(path.unwrap_or(folder)));
        }
    }
    if mount.as_os_str().as_encoded_bytes().contains(&b':') {
        return Err(Error::new(Kind::Usage, "Kubernetes mounts nothing at a path with a colon").file(&mount));
    }
    let name = format!("subpel-{}", &job.key(1)[..8]);
    let join_help = match output {
        Some(_) => format!(
            "#     kubectl patch job/{name}-join --patch '{{\"spec\":{{\"suspend\":false}}}}'     (lets the join begin)\n"
        ),
        None => String::new(),
    };
    Ok(vec![
        ("PROGRAM", argument(&how.program)?),
        ("JOB", argument(folder)?),
        ("OUTPUT", output.map_or(Ok(Vec::new()), argument)?),
        ("OVERWRITE", if how.overwrite { b"\"--overwrite\", ".to_vec() } else { Vec::new() }),
        ("MOUNT", yaml_literal(text(&mount)?)),
        ("NAME", name.into_bytes()),
        ("JOIN_HELP", join_help.into_bytes()),
        ("IMAGE", plain_name("--image", &how.image)?),
        ("CLAIM", plain_name("--claim", &how.claim)?),
        ("WORKERS", number(how.workers.unwrap_or(job.segments().min(100)))),
    ])
}

/// Where the output will be, if it may be made there.
fn output_path(path: &Path, overwrite: bool) -> Result<PathBuf> {
    if path.exists() && !overwrite {
        return Err(Error::new(Kind::Create, "exists already").hint("--overwrite replaces it").file(path));
    }
    absolute(path)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|e| Error::new(Kind::Usage, "this path means nothing here").file(path).caused_by(e))
}

fn mebibytes(bytes: u64) -> usize {
    bytes.div_ceil(1 << 20) as usize
}

fn number(n: usize) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// Refuses NUL, which no program can be given, and line breaks, which make a script something else than it looks.
fn refuse_line_breaks(path: &Path) -> Result<()> {
    if !path.as_os_str().as_encoded_bytes().iter().any(|b| [0, b'\n', b'\r'].contains(b)) {
        return Ok(());
    }
    let message = format!("{path:?} has a line break or NUL in it, which no script can hold");
    Err(Error::new(Kind::Usage, message).hint("give the folder another name"))
}

/// A path as one word of a POSIX shell.
fn shell_literal(path: &Path) -> Result<Vec<u8>> {
    refuse_line_breaks(path)?;
    let mut literal = vec![b'\''];
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\'' => literal.extend(br"'\''"),
            other => literal.push(other),
        }
    }
    literal.push(b'\'');
    Ok(literal)
}

fn text(path: &Path) -> Result<&str> {
    refuse_line_breaks(path)?;
    path.to_str().ok_or_else(|| Error::new(Kind::Usage, format!("{path:?} is no UTF-8, which YAML cannot hold")))
}

/// A path as a word of a container's command; Kubernetes would fill in `$(NAME)`, and takes `$$` for a dollar.
fn argument(path: &Path) -> Result<Vec<u8>> {
    Ok(yaml_literal(&text(path)?.replace('$', "$$")))
}

/// A string in double quotes, as JSON and YAML both read it: whatever YAML calls unprintable is escaped.
fn yaml_literal(text: &str) -> Vec<u8> {
    let mut literal = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                literal.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal.into_bytes()
}

/// A name of an image or claim, which is written as it is.
fn plain_name(option: &str, name: &str) -> Result<Vec<u8>> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if name.chars().all(fine) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && !name.ends_with(':') {
        // In quotes, as a name may look like a number.
        return Ok(format!("\"{name}\"").into_bytes());
    }
    let message = format!("{option} {name:?} is no name: letters, digits and . _ - / : @ are allowed");
    Err(Error::new(Kind::Usage, message))
}

/// `template` with each `@NAME@` replaced by its value, in one go: what is in a value stays as it is.
fn fill(template: &str, values: &Values) -> Result<Vec<u8>> {
    let mut filled = Vec::with_capacity(template.len() + 1024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('@') {
        filled.extend(before.as_bytes());
        let name = after.split_once('@').map(|(name, _)| name);
        let name = name.filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        let Some(name) = name else {
            filled.push(b'@');
            rest = after;
            continue;
        };
        let value = values.iter().find(|(known, _)| *known == name);
        let Some((_, value)) = value else {
            return Err(Error::new(Kind::Bug, format!("a script asks for {name}, which nobody gives")));
        };
        filled.extend(value);
        rest = &after[name.len() + 1..];
    }
    filled.extend(rest.as_bytes());
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission() -> Submission {
        Submission {
            program: "/bin/subpel".into(),
            output: None,
            overwrite: false,
            cpus: 2,
            join_cpus: 2,
            memory: 1 << 30,
            workers: None,
            pack: None,
            attempts: 3,
            image: "subpel:1".into(),
            claim: "video".into(),
            mount: None,
            forecast: None,
        }
    }

    fn array(missing: &[usize], segments: usize, how: &Submission) -> String {
        let values = for_slurm(missing, segments, how).expect("tasks");
        String::from_utf8(values.into_iter().find(|v| v.0 == "ARRAY").expect("array").1).expect("text")
    }

    #[test]
    fn tasks_of_slurm_hold_the_missing_segments_and_stay_below_its_limit() {
        let how = submission();
        assert_eq!(array(&[3, 7, 8, 9], 10, &how), "3,7-9", "one segment a task");
        assert_eq!(array(&[1, 2, 3, 2500], 2500, &how), "1,834", "three segments a task");
        assert_eq!(array(&(1..=100_000).collect::<Vec<_>>(), 100_000, &how), "1-1000", "a hundred");
        assert_eq!(array(&[], 10, &how), "1", "nothing missing");
        let four = Submission { pack: Some(4), workers: Some(2), ..submission() };
        assert_eq!(array(&[1, 2, 9, 10], 10, &four), "1,3%2", "as asked");
        let few = Submission { pack: Some(1), ..submission() };
        let error = for_slurm(&[1], 1001, &few).expect_err("too many");
        assert!(error.to_string().contains("1001 tasks") && error.remedy().is_some_and(|r| r.contains('2')), "{error}");
    }

    #[test]
    fn numbers_become_sequences() {
        assert_eq!(sequences(&[3, 7, 8, 9]), "seq 3 3; seq 7 9;", "two runs");
        assert_eq!(sequences(&[]), ":;", "none");
    }

    #[test]
    fn values_are_not_searched_for_names() {
        let values: Values = vec![("A", b"@B@ $@".to_vec()), ("B", b"b".to_vec())];
        assert_eq!(fill("x@A@@B@ \"$@\" a@b", &values).expect("filled"), b"x@B@ $@b \"$@\" a@b", "one pass");
        assert_eq!(fill("@C@", &values).expect_err("unknown").kind(), Kind::Bug, "unknown");
    }

    #[test]
    fn literals_hold_anything_but_line_breaks() {
        let literal = |text: &str| shell_literal(Path::new(text)).map(|l| String::from_utf8(l).expect("text"));
        assert_eq!(literal("/a b'$(c)`d`").expect("literal"), r"'/a b'\''$(c)`d`'", "quoted");
        for bad in ["/a\nb", "/a\0b", "/a\rb"] {
            assert_eq!(literal(bad).expect_err("refused").kind(), Kind::Usage, "{bad:?}");
            assert!(argument(Path::new(bad)).is_err(), "{bad:?} in YAML");
        }
        let yaml = |text: &str| String::from_utf8(argument(Path::new(text)).expect("argument")).expect("text");
        assert_eq!(yaml("/a\"\\$(HOME)\u{7}\u{85}"), r#""/a\"\\$$(HOME)\u0007\u0085""#, "escaped");
        for bad in ["", "a b", "$(x)", "-a", "a\nb", "a\"", "a:"] {
            assert!(plain_name("--image", bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            plain_name("--image", "host:5000/a/b@sha256:0f").expect("name"),
            b"\"host:5000/a/b@sha256:0f\"",
            "name"
        );
    }
}
