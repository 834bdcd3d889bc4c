//! Recovery "as the source was coded": the reduced input goes through an encoder again, as strongly as the source did.
//!
//! A reduced frame has lost the traces of the source's compression, so recovering it is easier than enlarging the
//! source. The decoder tells the source's quantisers, and with them the expected coding error ([`crate::frame::CodingError`]);
//! x264 is asked for the constant rate factor whose quantiser has the same error. Rate factors are no quantisers, so the
//! first excerpt is coded once, its own error is read back, and the rate factor is moved by the difference.

use super::reduce::{self, Copied, Reduction};
use super::source::{Part, Pictures};
use super::survey::Survey;
use super::task::{Piece, Session, Task, TestKind};
use crate::error::{Kind, Result};
use crate::media::{EncoderSpec, InputSpec};
use crate::report::Truth;

/// The encoder: that of nearly all videos that are enlarged, and the one whose errors are known best.
const ENCODER: &str = "libx264";

/// Expected error of H.264 with quantiser step s is `SCALE * s^POWER` (docs/compression.md); a step doubles every six
/// quantisers, and is 1 at 4.
const SCALE: f64 = 0.55;
const POWER: f64 = 0.70;

/// Errors below this are invisible and change nothing.
const LEAST: f64 = 0.6;

/// The quantiser of H.264 whose expected error is `deviation`, on the 8-bit scale.
fn quantiser(deviation: f64) -> f64 {
    4.0 + 6.0 * (deviation / SCALE).powf(1.0 / POWER).log2()
}

/// The test, or why there is none.
pub(super) fn task(session: &Session<'_>) -> Result<Result<Task, String>> {
    let (small, to, scale) = match session.small_size()? {
        Ok(sizes) => sizes,
        Err(why) => return Ok(Err(why)),
    };
    let reduced = session.reduced(TestKind::Coded, small, to, Reduction::Cubic)?;
    let Some(error) = mean_coding(&reduced) else {
        let codec = &session.survey.info.codec;
        return Ok(Err(format!("the decoder of {codec} does not tell how strongly frames were compressed")));
    };
    if error < LEAST {
        return Ok(Err(format!("the input was compressed too little to matter (error {error:.1} of 255)")));
    }
    let factor = match rate_factor(session, &reduced, error) {
        Ok(factor) => factor,
        Err(e) if e.kind() == Kind::Unavailable || e.kind() == Kind::Usage => {
            return Ok(Err(format!("{ENCODER} cannot code it: {e}")));
        }
        Err(e) => return Err(e),
    };
    let pieces = reduced.into_iter().map(|(piece, _)| coded(session, piece, factor));
    let pieces = pieces.collect::<Result<Vec<_>>>()?;
    Ok(Ok(Task {
        kind: TestKind::Coded,
        explanation: format!(
            "The input was made smaller ({}x{}, bicubic) and coded by {ENCODER} at crf {factor:.1}, as strongly as it had been \
             coded itself (expected error {error:.1} of 255); every method brings it back, and the input is the truth ({}).",
            small.0,
            small.1,
            Survey::words(&session.survey.excerpts)
        ),
        truth: Truth::Recovery(format!("the input, reduced and coded at crf {factor:.1}")),
        from: small,
        to,
        scale,
        pieces,
    }))
}

/// Mean over the frames whose decoder tells.
fn mean_coding(pieces: &[(Piece, Copied)]) -> Option<f64> {
    let told: Vec<f64> = pieces.iter().filter_map(|(_, copied)| copied.coding).collect();
    (!told.is_empty()).then(|| told.iter().sum::<f64>() / told.len() as f64)
}

/// The rate factor at which the first excerpt is coded with `error`.
fn rate_factor(session: &Session<'_>, pieces: &[(Piece, Copied)], error: f64) -> Result<f32> {
    let wanted = quantiser(error);
    let Some((piece, _)) = pieces.first() else { return Ok(wanted as f32) };
    let key = piece.identity.as_ref().map(|id| format!("{id} trial {wanted:.2}"));
    let (_, got) = session.workspace.file("recovery-coded-trial", key, |path| {
        session.watch.part("coding it as it was coded".into(), piece.frames, None);
        let copied =
            reduce::write(&piece.input, path, (size(piece)?, None), encoder(session, wanted as f32), session.watch)?;
        let trial = Piece { input: Part::whole(InputSpec::local(path)), identity: None, truth: None, ..*piece };
        Ok(Copied { coding: coding_of(session, &trial)?, ..copied })
    })?;
    let moved = got.coding.map_or(0.0, |coding| wanted - quantiser(coding));
    // In tenths, so that the figure that is told is the one that was used.
    Ok(((10.0 * (wanted + moved)).round() / 10.0).clamp(0.0, 51.0) as f32)
}

/// The coding error that the decoder tells of a piece.
fn coding_of(session: &Session<'_>, piece: &Piece) -> Result<Option<f64>> {
    let mut pictures = Pictures::open(&piece.input, true, session.request.threads)?;
    let (mut sum, mut told) = (0.0, 0u64);
    while let Some(frame) = pictures.next()? {
        session.watch.check()?;
        if let Some(coding) = frame.coding {
            sum += f64::from(coding.deviation);
            told += 1;
        }
    }
    Ok((told > 0).then(|| sum / told as f64))
}

/// The piece, coded with rate factor `factor`.
fn coded(session: &Session<'_>, piece: Piece, factor: f32) -> Result<Piece> {
    let key = piece.identity.as_ref().map(|id| format!("{id} {ENCODER} crf {factor}"));
    session.watch.part("coding it as it was coded".into(), piece.frames, None);
    let (path, _) = session.workspace.file(&format!("recovery-coded-crf-{}", piece.first), key.clone(), |path| {
        reduce::write(&piece.input, path, (size(&piece)?, None), encoder(session, factor), session.watch)
    })?;
    Ok(Piece { input: Part::whole(InputSpec::local(path)), identity: key, ..piece })
}

fn size(piece: &Piece) -> Result<(usize, usize)> {
    let layout = Pictures::open(&piece.input, false, 1)?.layout().clone();
    Ok((layout.width, layout.height))
}

fn encoder(session: &Session<'_>, factor: f32) -> EncoderSpec {
    EncoderSpec {
        codec: Some(ENCODER.into()),
        crf: Some(factor),
        threads: session.request.threads,
        ..EncoderSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantisers_and_errors_are_inverse() {
        for qp in [10, 22, 28, 40] {
            let error = SCALE * (f64::from(qp - 4) / 6.0).exp2().powf(POWER);
            assert!((quantiser(error) - f64::from(qp)).abs() < 1e-9, "{qp}: {}", quantiser(error));
        }
    }
}
