//! Threads of the stages: named, their panics caught, the first cause kept.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope};

use super::control::Control;
use crate::error::{Error, Kind, Result, Stage};

/// The first error of a job; later ones only follow from it.
#[derive(Debug, Default)]
pub(super) struct FirstCause(Mutex<Option<Error>>);

impl FirstCause {
    pub(super) fn set(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs `work` and turns a panic into that stage's error.
pub(super) fn guarded(stage: Stage, work: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&panic))).map_err(|e| e.at(stage, None))
}

fn panicked(panic: &Box<dyn Any + Send>) -> Error {
    let text =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    Error::new(Kind::Bug, format!("internal error: {}", text.unwrap_or_else(|| "unknown".into())))
        .hint("please report it with the file, if you can")
}

/// Starts a stage on a thread of its own name. Its error is kept if it is the first, and stops the job.
pub(super) fn spawn<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    stage: Stage,
    control: &'env Control,
    cause: &'env FirstCause,
    failed: &'env std::sync::atomic::AtomicBool,
    work: impl FnOnce() -> Result<()> + Send + 'scope,
) {
    let started = Builder::new().name(stage.name().into()).spawn_scoped(scope, move || {
        if let Err(error) = guarded(stage, work) {
            cause.set(error);
            failed.store(true, std::sync::atomic::Ordering::Release);
        }
    });
    if let Err(error) = started {
        cause.set(Error::new(Kind::Resource, "no thread could be started").caused_by(error).at(stage, None));
        failed.store(true, std::sync::atomic::Ordering::Release);
        control.stop(0);
    }
}
