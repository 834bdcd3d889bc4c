//! The topology in one screen: four stages and three channels; six and five with a network.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::budget::Capacities;
use super::control::Control;
use super::refining::{FrameHolder, FrameRefiner, Refined};
use super::registration::{FrameRegistrar, Registered};
use super::threads::{FirstCause, guarded, spawn};
use super::upscaler::Enlarged;
use super::window::FrameEnlarger;
use crate::cores::Work;
use crate::error::{Result, Stage};
use crate::frame::Frame;

/// What the stages between decoding and encoding work with.
pub(super) struct Workers {
    pub(super) registrar: FrameRegistrar,
    pub(super) enlarger: FrameEnlarger,
    /// Two stages more, if there is a network.
    pub(super) refining: Option<(FrameRefiner, FrameHolder)>,
}

/// Runs the stages until the source ends, one of them fails, or the job is stopped.
///
/// `source` gives frames until `None`; `sink` takes each enlarged frame in order, on the caller's thread.
pub(super) fn run(
    source: &mut (dyn FnMut() -> Result<Option<Frame>> + Send),
    Workers { registrar, enlarger, refining }: Workers,
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
        // Handed over one by one: those that were measured at once wait where they were.
        let (to_fuse, registered) = bounded(0);
        let (to_encode, finished) = bounded(capacities.enlarged);
        let (to_next, enlarged) = bounded(capacities.refined);
        let (to_next, refining) = match refining {
            Some(refining) => (to_next, Some((refining, to_encode))),
            None => (to_encode, None),
        };
        spawn(scope, Stage::Register, control, &cause, &failed, move || {
            register(registrar, &decoded, &to_fuse, capacities.registering, pool, control)
        });
        spawn(scope, Stage::Fuse, control, &cause, &failed, move || {
            fuse(enlarger, &registered, &to_next, pool, control)
        });
        if let Some(((refiner, holder), to_encode)) = refining {
            let (to_hold, refined) = bounded(capacities.refined);
            spawn(scope, Stage::Refine, control, &cause, &failed, move || {
                refine(refiner, &enlarged, &to_hold, pool, control)
            });
            spawn(scope, Stage::Hold, control, &cause, &failed, move || {
                hold(holder, &refined, &to_encode, pool, control)
            });
        }
        // Last, as it is at work at once: threads that are started beside one that works may have to wait for it.
        spawn(scope, Stage::Decode, control, &cause, &failed, move || decode(source, &to_register, halted, control));
        // The last stage runs here; when it returns, its receiver goes and the others stop.
        let ended = guarded(Stage::Encode, || encode(&finished, sink, halted, control));
        if let Err(error) = ended {
            cause.set(error);
            failed.store(true, Ordering::Release);
        }
        drop(finished);
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
        let next = control.timed(Stage::Decode, 1, || {
            let _here = Work::beside_a_pool();
            source()
        });
        let next = next.map_err(|e| e.at(Stage::Decode, Some(count)))?;
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
    at_once: usize,
    pool: &rayon::ThreadPool,
    control: &Control,
) -> Result<()> {
    for frame in input {
        let mut batch = vec![frame];
        batch.extend(input.try_iter().take(at_once - 1));
        let frames = batch.len() as u64;
        let registered = control.timed(Stage::Register, frames, || in_pool(pool, || registrar.push_all(batch)));
        for registered in registered? {
            if output.send(registered).is_err() {
                return Ok(());
            }
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
    let send_ready = |enlarger: &mut FrameEnlarger, last: Option<u64>| -> Result<bool> {
        let ended = last.is_none();
        while enlarger.is_ready(ended) {
            // Nothing may block inside the pool: a frame is made there and sent from here.
            let enlarged = control.timed(Stage::Fuse, 1, || in_pool(pool, || enlarger.enlarge_next()));
            let enlarged = enlarged.map_err(|e| e.at(Stage::Fuse, last))?;
            if output.send(enlarged).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    };
    for frame in input {
        let index = frame.frame.index;
        enlarger.push(frame);
        if !send_ready(&mut enlarger, Some(index))? {
            return Ok(());
        }
    }
    send_ready(&mut enlarger, None).map(drop)
}

fn refine(
    mut refiner: FrameRefiner,
    input: &Receiver<Enlarged>,
    output: &Sender<Refined>,
    pool: &rayon::ThreadPool,
    control: &Control,
) -> Result<()> {
    control.timed(Stage::Refine, 0, || pool.install(|| refiner.prepare()));
    for enlarged in input {
        let mut batch = vec![enlarged];
        batch.extend(input.iter().take(refiner.lanes() - 1));
        let frames = batch.len() as u64;
        let refined = control.timed(Stage::Refine, frames, || in_pool(pool, || refiner.refine(batch)));
        for refined in refined? {
            if output.send(refined).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn hold(
    mut holder: FrameHolder,
    input: &Receiver<Refined>,
    output: &Sender<Enlarged>,
    pool: &rayon::ThreadPool,
    control: &Control,
) -> Result<()> {
    for refined in input {
        let index = refined.enlarged.frame.index;
        let held = control.timed(Stage::Hold, 1, || in_pool(pool, || holder.hold(refined)));
        if output.send(held.map_err(|e| e.at(Stage::Hold, Some(index)))?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Does `work` in the pool, for which two of its threads are woken: the system wakes a thread where it ran last even if that core is
/// busy and another one idles, and a pool would wake one alone.
fn in_pool<T: Send>(pool: &rayon::ThreadPool, work: impl FnOnce() -> T + Send) -> T {
    if pool.current_num_threads() > 1 {
        pool.spawn(|| ());
    }
    pool.install(work)
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
        control.note(&enlarged);
        control.timed(Stage::Encode, 1, || sink(enlarged)).map_err(|e| e.at(Stage::Encode, Some(index)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use crate::frame::{PictureLayout, Plane, PlanePool};
    use crate::kernels::CpuLevel;
    use crate::pipeline::refining::refining;
    use crate::pipeline::{EnlargeOptions, Method, RefineOptions};
    use crate::refine::Network;
    use std::sync::Arc;

    /// Where a test job goes wrong.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fault {
        Nowhere,
        Error(Stage, u64),
        Panic(Stage, u64),
        StopAt(u64),
    }

    fn frame(index: u64) -> Frame {
        let value = |(y, x): (usize, usize)| ((x * 7 + y * 13 + index as usize) % 32 * 8) as f32;
        Frame {
            index,
            pts: 3 * index as i64,
            duration: 3,
            planes: vec![Plane::from_shape_fn((16, 24), value)],
            coding: None,
            carried: vec![],
        }
    }

    /// Runs 12 frames with `fault`; returns the result and the frames that came out.
    fn job(fault: Fault, capacity: usize, method: Method) -> (Result<()>, Vec<u64>) {
        job_with(fault, capacity, EnlargeOptions { method, ..Default::default() }, 2)
    }

    /// The same with a network after the method.
    fn refined(fault: Fault, capacity: usize, method: Method, threads: usize) -> (Result<()>, Vec<u64>) {
        let network = Arc::new(Network::builtin().expect("built in"));
        let refine = Some(RefineOptions::new(network));
        job_with(fault, capacity, EnlargeOptions { method, refine, ..Default::default() }, threads)
    }

    fn job_with(fault: Fault, capacity: usize, options: EnlargeOptions, threads: usize) -> (Result<()>, Vec<u64>) {
        let control = Control::default();
        let plan = options.resolve(&PictureLayout::gray(24, 16)).expect("plan");
        let registrar = FrameRegistrar::for_plan(&plan, CpuLevel::detect()).expect("registrar");
        let pools = (PlanePool::new(1), PlanePool::new(1));
        let enlarger = FrameEnlarger::new(&plan, pools.0, pools.1, CpuLevel::detect())
            .expect("enlarger")
            .with_registrar(registrar.registrar());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        let pools = [(); 3].map(|()| PlanePool::new(1));
        let refining = pool.install(|| refining(&plan, pools, None, CpuLevel::detect())).expect("refiner");
        let capacities =
            Capacities { decoded: capacity, registering: 1 + capacity, refined: capacity, enlarged: capacity };
        let strike = |stage: Stage, index: u64| match fault {
            Fault::Error(s, n) if (s, n) == (stage, index) => Err(Error::new(Kind::Io, "injected")),
            Fault::Panic(s, n) if (s, n) == (stage, index) => panic!("injected"),
            _ => Ok(()),
        };
        let mut next = 0;
        let mut source = || {
            let index = next;
            next += 1;
            strike(Stage::Decode, index)?;
            let mut made = frame(index);
            // A picture without numbers makes registration fail; one of a wrong size makes fusion panic.
            match fault {
                Fault::Error(Stage::Register | Stage::Hold, n) if n == index => made.planes[0].fill(f32::NAN),
                Fault::Panic(Stage::Fuse, n) if n == index => made.planes.clear(),
                _ => {}
            }
            Ok((index < 12).then_some(made))
        };
        let mut out = Vec::new();
        let mut sink = |enlarged: Enlarged| {
            if fault == Fault::StopAt(enlarged.frame.index) {
                control.stop(libc::SIGINT);
            }
            strike(Stage::Encode, enlarged.frame.index)?;
            out.push(enlarged.frame.index);
            Ok(())
        };
        let result =
            run(&mut source, Workers { registrar, enlarger, refining }, &mut sink, capacities, &pool, &control);
        (result, out)
    }

    #[test]
    fn every_frame_comes_out_in_order_whatever_the_channels() {
        for capacity in [0, 1, 5] {
            for method in Method::ALL {
                let (result, out) = job(Fault::Nowhere, capacity, method);
                assert!(result.is_ok(), "{method} with capacity {capacity}: {result:?}");
                assert_eq!(out, (0..12).collect::<Vec<_>>(), "{method} with capacity {capacity}");
            }
        }
    }

    #[test]
    fn an_error_in_a_stage_is_that_stages_error_at_its_frame() {
        for (stage, at) in
            [(Stage::Decode, 0), (Stage::Decode, 7), (Stage::Register, 5), (Stage::Encode, 0), (Stage::Encode, 9)]
        {
            for capacity in [0, 2] {
                let (result, out) = job(Fault::Error(stage, at), capacity, Method::default());
                let error = result.expect_err("injected");
                assert_eq!((error.stage(), error.frame()), (Some(stage), Some(at)), "{error:?}");
                assert!(out.len() < 12, "the job stopped early, {} frames came out", out.len());
            }
        }
    }

    #[test]
    fn a_panic_in_a_stage_is_that_stages_internal_error() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let decode = job(Fault::Panic(Stage::Decode, 3), 1, Method::default()).0;
        let fuse = job(Fault::Panic(Stage::Fuse, 4), 1, Method::ALL[4]).0;
        let encode = job(Fault::Panic(Stage::Encode, 2), 1, Method::default()).0;
        std::panic::set_hook(quiet);
        for (stage, result) in [(Stage::Decode, decode), (Stage::Fuse, fuse), (Stage::Encode, encode)] {
            let error = result.expect_err("injected");
            assert_eq!((error.stage(), error.kind()), (Some(stage), Kind::Bug), "{error:?}");
        }
    }

    #[test]
    fn networks_keep_the_order_whatever_is_refined_at_a_time() {
        for threads in [1, 2, 5] {
            for (capacity, method) in [(0, Method::None), (1, Method::default()), (2, Method::ALL[3])] {
                let (result, out) = refined(Fault::Nowhere, capacity, method, threads);
                assert!(result.is_ok(), "{method} by {threads} threads: {result:?}");
                assert_eq!(out, (0..12).collect::<Vec<_>>(), "{method} by {threads} threads");
            }
        }
    }

    #[test]
    fn an_error_behind_a_network_is_that_stages_error_at_its_frame() {
        for threads in [1, 3] {
            // What is no number passes method none and the network, and is found when it leaves.
            let (result, out) = refined(Fault::Error(Stage::Hold, 5), 1, Method::None, threads);
            let error = result.expect_err("no numbers");
            assert_eq!(
                (error.stage(), error.frame(), error.kind()),
                (Some(Stage::Hold), Some(5), Kind::Input),
                "{error:?}"
            );
            assert!(out.len() <= 5, "{} frames came out before frame 5", out.len());
            let (result, _) = refined(Fault::StopAt(2), 1, Method::default(), threads);
            assert_eq!(result.expect_err("stopped").kind(), Kind::Interrupted, "SIGINT");
            let (result, _) = refined(Fault::Error(Stage::Encode, 3), 0, Method::None, threads);
            assert_eq!(result.expect_err("injected").stage(), Some(Stage::Encode), "the cause");
        }
    }

    #[test]
    fn a_job_that_is_asked_to_stop_says_so() {
        let (result, out) = job(Fault::StopAt(3), 1, Method::default());
        assert_eq!(result.expect_err("stopped").kind(), Kind::Interrupted, "SIGINT");
        assert!(out.len() <= 5, "{} frames came out after the stop at frame 3", out.len());
    }
}
