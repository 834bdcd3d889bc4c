//! What killed processes and older plans leave in a job folder, and taking it away.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, test_kill_process};

use super::index::{INDEX, SIDE};
use super::job::{MANIFEST, SegmentJob, Trust};
use super::publish::{failed, host, maker};
use super::receipt::State;
use crate::error::Result;

/// Age at which a temporary file is nobody's, whoever made it: no segment takes a day.
const OLD: Duration = Duration::from_secs(24 * 3600);

/// Age below which pictures without a receipt may still get one.
const NEW: Duration = Duration::from_secs(600);

/// Whether a name is one that this module gives to files of a job.
pub(super) fn is_ours(name: &str) -> bool {
    [MANIFEST, INDEX, SIDE].contains(&name) || stem(name).is_some() || maker(name).is_some()
}

/// The part of a segment's file name that tells the segment, `seg-NNNNN-KEY`. Pictures have the hash of their file behind it.
fn stem(name: &str) -> Option<&str> {
    let (whole, extension) = name.rsplit_once('.')?;
    let mut parts = whole.strip_prefix("seg-")?.split('-');
    let (number, key, content) = (parts.next()?, parts.next()?, parts.next());
    let digits = number.len() >= 5 && number.bytes().all(|b| b.is_ascii_digit());
    let hash = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let sound = digits && hash(key) && content.is_none_or(hash) && content.is_some() == (extension == "nut");
    let known = ["nut", "json", "failed", "conflict"].contains(&extension) && parts.next().is_none();
    (sound && known).then(|| &name[.."seg-".len() + number.len() + 1 + key.len()])
}

/// Whether the process that makes a temporary file of this name has ended, as far as that can be known here.
fn is_orphan(name: &str, age: Duration) -> bool {
    let Some((machine, process)) = maker(name) else { return false };
    let here = machine == host();
    let gone = || Pid::from_raw(process).is_none_or(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
    age > OLD || here && gone()
}

/// Removes what nobody needs: files of processes of this machine that have ended, or older than a day; files of other
/// plans; notes of failures that were made good; pictures that no receipt names, older than ten minutes, of segments that are whole. Returns the names.
///
/// # Errors
/// [`crate::Kind::Create`] or [`crate::Kind::Io`] if the folder cannot be read or changed.
pub fn collect_garbage(folder: &Path) -> Result<Vec<String>> {
    let job = SegmentJob::find(folder)?;
    let (mut done, mut kept) = (BTreeSet::new(), BTreeSet::new());
    let mut known = BTreeSet::new();
    if let Some(job) = &job {
        for number in 1..=job.segments() {
            known.insert(job.stem(number));
            if let State::Whole(receipt) = job.state(number, Trust::Receipt)? {
                done.insert(job.stem(number));
                kept.insert(receipt.data_name());
            }
        }
    }
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed("reading the job folder", folder))? {
        let entry = entry.map_err(failed("reading the job folder", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let about = entry.path().symlink_metadata();
        let changed = about.as_ref().ok().and_then(|about| about.modified().ok());
        let age = changed.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default();
        let useless = match stem(&name) {
            Some(stem) if job.is_some() && !known.contains(stem) => true,
            Some(_) if name.ends_with(".conflict") => true,
            Some(stem) if name.ends_with(".failed") => done.contains(stem),
            // Whoever has just made it may still write its receipt.
            Some(stem) => name.ends_with(".nut") && done.contains(stem) && !kept.contains(&name) && age > NEW,
            None => is_orphan(&name, age),
        };
        if useless {
            remove(&entry.path()).map_err(failed("removing", &entry.path()))?;
            removed.push(name);
        }
    }
    removed.sort();
    Ok(removed)
}

/// Removes a job folder with all that is of a job in it; what else lies there stays, and the folder with it.
pub(super) fn remove_job(folder: &Path) -> Result<()> {
    // Without its manifest the rest is no job any more, should this be cut short.
    let first = folder.join(MANIFEST);
    remove(&first).map_err(failed("removing", &first))?;
    let mut others = false;
    for entry in std::fs::read_dir(folder).map_err(failed("reading the job folder", folder))? {
        let entry = entry.map_err(failed("reading the job folder", folder))?;
        if is_ours(&entry.file_name().to_string_lossy()) {
            remove(&entry.path()).map_err(failed("removing", &entry.path()))?;
        } else {
            others = true;
        }
    }
    if others { Ok(()) } else { std::fs::remove_dir(folder).map_err(failed("removing", folder)) }
}

/// Removes a file or folder that may be gone already.
fn remove(path: &Path) -> std::io::Result<()> {
    let about = match path.symlink_metadata() {
        Ok(about) => about,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let removed = if about.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_job_are_its_own() {
        let own = [
            "manifest.json",
            "frames.idx",
            "seg-00012-0123456789abcdef-0123456789abcdef.nut",
            "seg-00012-0123456789abcdef.json",
            ".seg-1.host.12.aB3.tmp",
        ];
        let others = [
            "film.mkv",
            "seg-1.nut",
            "seg-00012-0123456789abcdef.mkv",
            "seg-00012-0123456789abcdef.nut",
            "seg-00012-0123456789abcdef-x.json",
            ".hidden",
            "notes.json",
        ];
        assert!(own.into_iter().all(is_ours), "own names");
        assert!(!others.into_iter().any(is_ours), "other names");
    }

    #[test]
    fn files_of_living_processes_are_nobody_elses_business() {
        let name = |host: &str, pid: u32| format!(".seg-00001.{host}.{pid}.x1.tmp");
        let young = Duration::from_secs(60);
        assert!(!is_orphan(&name(&host(), std::process::id()), young), "this process");
        assert!(is_orphan(&name(&host(), i32::MAX as u32), young), "one that never was");
        assert!(!is_orphan(&name("elsewhere", i32::MAX as u32), young), "another machine");
        assert!(is_orphan(&name("elsewhere", 1), 2 * OLD), "old");
        assert!(!is_orphan("film.tmp", 2 * OLD), "not ours");
    }
}
