//! Ctrl-C and SIGTERM: asked once, the job stops and tidies up; asked twice, or after four seconds, the process ends.

use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Kind, Result};
use crate::media::remove_unfinished;
use crate::pipeline::Control;

/// Longest wait for the stages to stop by themselves: a decoder may hang in a read.
const PATIENCE: Duration = Duration::from_secs(4);

/// Makes signals stop `control`'s job.
///
/// # Errors
/// [`Kind::Resource`] if the handlers cannot be set.
pub(super) fn stop_on_signals(control: &Arc<Control>) -> Result<()> {
    let failed = |e| Error::new(Kind::Resource, "signal handlers could not be set").caused_by(e);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, libc::SIGXFSZ]).map_err(failed)?;
    let control = Arc::clone(control);
    let watch = move || {
        let mut asked = false;
        for signal in signals.forever() {
            // A limit on the size of files then shows as a failed write, which says what happened.
            if signal == libc::SIGXFSZ {
                continue;
            }
            if asked {
                end_now(signal);
            }
            asked = true;
            control.stop(signal);
            std::thread::spawn(move || {
                std::thread::sleep(PATIENCE);
                end_now(signal);
            });
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(drop).map_err(failed)
}

/// Removes what is unfinished and ends the process with the signal's code.
fn end_now(signal: i32) -> ! {
    remove_unfinished();
    std::process::exit(if signal == SIGINT { 130 } else { 143 });
}
