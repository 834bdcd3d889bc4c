//! The topology in one screen: four stages, three channels.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::budget::Capacities;
use super::control::Control;
use super::registration::{FrameRegistrar, Registered};
use super::threads::{FirstCause, guarded, spawn};
use super::upscaler::Enlarged;
use super::window::FrameEnlarger;
use crate::error::{Result, Stage};
use crate::frame::Frame;

/// Runs the stages until the source ends, one of them fails, or the job is stopped.
///
/// `source` gives frames until `None`; `sink` takes each enlarged frame in order, on the caller's thread.
pub(super) fn run(
    source: &mut (dyn FnMut() -> Result<Option<Frame>> + Send),
    registrar: FrameRegistrar,
    enlarger: FrameEnlarger,
    sink: &mut dyn FnMut(Enlarged) -> Result<()>,
    capacities: Capacities,
    pool: &rayon::ThreadPool,
    control: &Control,
) -> Result<()> {
    let cause = FirstCause::default();
    let failed = AtomicBool::new(false);
    let halted = &|| control.is_stopped() || failed.load(Ordering::Acquire);
    std::thread::scope(|scope| {
        let (to_register, decoded) = bounded(capacities.decoded);
        let (to_fuse, registered) = bounded(capacities.registered);
        let (to_encode, enlarged) = bounded(capacities.enlarged);
        spawn(scope, Stage::Decode, control, &cause, &failed, move || decode(source, &to_register, halted, control));
        spawn(scope, Stage::Register, control, &cause, &failed, move || {
            register(registrar, &decoded, &to_fuse, pool, control)
        });
        spawn(scope, Stage::Fuse, control, &cause, &failed, move || {
            fuse(enlarger, &registered, &to_encode, pool, control)
        });
        // The last stage runs here; when it returns, its receiver goes and the others stop.
        let ended = guarded(Stage::Encode, || encode(&enlarged, sink, halted, control));
        if let Err(error) = ended {
            cause.set(error);
            failed.store(true, Ordering::Release);
        }
        drop(enlarged);
    });
    match cause.take() {
        Some(error) => Err(error),
        None if control.is_stopped() => Err(control.interruption()),
        None => Ok(()),
    }
}

fn decode(
    source: &mut (dyn FnMut() -> Result<Option<Frame>> + Send),
    output: &Sender<Frame>,
    halted: &dyn Fn() -> bool,
    control: &Control,
) -> Result<()> {
    let mut count = 0;
    while !halted() {
        let next = control.timed(Stage::Decode, 1, &mut *source).map_err(|e| e.at(Stage::Decode, Some(count)))?;
        let Some(frame) = next else { break };
        count += 1;
        if output.send(frame).is_err() {
            break;
        }
    }
    Ok(())
}

fn register(
    mut registrar: FrameRegistrar,
    input: &Receiver<Frame>,
    output: &Sender<Registered>,
    pool: &rayon::ThreadPool,
    control: &Control,
) -> Result<()> {
    for frame in input {
        let index = frame.index;
        let registered = control.timed(Stage::Register, 1, || pool.install(|| registrar.push(frame)));
        if output.send(registered.map_err(|e| e.at(Stage::Register, Some(index)))?).is_err() {
            break;
        }
    }
    Ok(())
}

fn fuse(
    mut enlarger: FrameEnlarger,
    input: &Receiver<Registered>,
    output: &Sender<Enlarged>,
    pool: &rayon::ThreadPool,
    control: &Control,
) -> Result<()> {
    let send_all = |enlarger: &mut FrameEnlarger, frame: Option<Registered>| -> Result<bool> {
        let mut ready = Vec::new();
        let index = frame.as_ref().map(|f| f.frame.index);
        // Nothing may block inside the pool: results are collected there and sent from here.
        let step = || {
            let mut collect = |enlarged| {
                ready.push(enlarged);
                true
            };
            pool.install(|| match frame {
                Some(frame) => enlarger.push(frame, &mut collect),
                None => enlarger.finish(&mut collect),
            })
        };
        control.timed(Stage::Fuse, 0, step).map_err(|e| e.at(Stage::Fuse, index))?;
        Ok(ready.into_iter().all(|enlarged| {
            control.timed(Stage::Fuse, 1, || ());
            output.send(enlarged).is_ok()
        }))
    };
    for frame in input {
        if !send_all(&mut enlarger, Some(frame))? {
            return Ok(());
        }
    }
    send_all(&mut enlarger, None).map(drop)
}

fn encode(
    input: &Receiver<Enlarged>,
    sink: &mut dyn FnMut(Enlarged) -> Result<()>,
    halted: &dyn Fn() -> bool,
    control: &Control,
) -> Result<()> {
    for enlarged in input {
        if halted() {
            break;
        }
        let index = enlarged.frame.index;
        control.timed(Stage::Encode, 1, || sink(enlarged)).map_err(|e| e.at(Stage::Encode, Some(index)))?;
    }
    Ok(())
}
