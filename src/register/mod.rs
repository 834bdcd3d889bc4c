//! Registration: how one frame has moved against another, to a hundredth of a pixel.

mod agreement;
mod correlate;
mod motion;
mod prepare;
mod refine;
mod spectrum;
mod trust;

pub use motion::{Estimate, Motion, Shift};
pub use prepare::Prepared;

use ndarray::ArrayView2;

use crate::error::{Error, Kind, Result, Stage};
use crate::kernels::CpuLevel;

use agreement::{best_candidates, chance_corrected, score};
use correlate::Search;
use prepare::{Level, gaussian};
use refine::{Aligner, State};

const SEARCH_PIXELS: usize = 160_000;
const FULL_PIXELS: usize = 1 << 19;
const SMALLEST_SIDE: usize = 16;
const CONFIDENCE_SAMPLES: usize = 16_384;

/// Options
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    pub reach: f64,
    pub smoothing: f64,
    pub iterations: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { reach: 0.6, smoothing: 0.8, iterations: 12 }
    }
}

pub struct Registrar {
    height: usize,
    width: usize,
    options: Options,
    cpu: CpuLevel,
    taps: Vec<f32>,
    search_level: usize,
    search: Search,
}

impl Registrar {
    pub fn new(height: usize, width: usize, options: Options, cpu: CpuLevel) -> Result<Self> {
        let mut search_level = 0;
        while (height >> search_level) * (width >> search_level) > SEARCH_PIXELS
            && (height.min(width) >> (search_level + 1)) >= SMALLEST_SIDE
        {
            search_level += 1;
        }
        let search = Search::new(height >> search_level, width >> search_level, options.reach);
        Ok(Self { height, width, options, cpu, taps: gaussian(std::env::var("SIG").ok().and_then(|s| s.parse().ok()).unwrap_or(options.smoothing)), search_level, search })
    }

    pub fn prepare(&self, luma: ArrayView2<'_, f32>) -> Result<Prepared> {
        if luma.dim() != (self.height, self.width) {
            return Err(Error::new(Kind::Bug, "size").at(Stage::Register, None));
        }
        let mut raw = Level { rows: self.height, columns: self.width, pixels: luma.iter().copied().collect() };
        let mut levels = Vec::new();
        let mut spectra = Vec::new();
        loop {
            levels.push(raw.smoothed(&self.taps, self.cpu));
            if levels.len() == self.search_level + 1 {
                spectra = self.search.spectra(&raw);
            }
            if raw.rows.min(raw.columns) / 2 < SMALLEST_SIDE {
                break;
            }
            raw = raw.halved(self.cpu);
        }
        let values = levels[self.search_level].sorted_sample(16384);
        Ok(Prepared { levels, spectra, values })
    }

    fn aligner<'a>(&self, a: &'a Prepared, b: &'a Prepared, level: usize, pixels: usize) -> Aligner<'a> {
        let (reference, moving) = (&a.levels[level], &b.levels[level]);
        let row_step = (reference.rows * reference.columns).div_ceil(pixels);
        Aligner { cpu: self.cpu, reference, moving, row_step, trust: None }
    }

    fn brightness(a: &Prepared, b: &Prepared) -> State {
        let spread = |p: &Prepared| p.quantile(0.8) - p.quantile(0.2);
        let gain = if spread(a) > 1.0 { (spread(b) / spread(a)).clamp(0.5, 2.0) } else { 1.0 };
        State { dx: 0.0, dy: 0.0, gain, level: b.quantile(0.5), center: a.quantile(0.5) }
    }

    pub fn estimate(&self, a: &Prepared, b: &Prepared) -> Estimate {
        if a.levels[0] == b.levels[0] {
            return Estimate::still(1.0);
        }
        let start = Self::brightness(a, b);
        let candidates = self.search.candidates(&a.spectra, &b.spectra);
        let l = self.search_level;
        let (best, scale) = best_candidates(&a.levels[l], &b.levels[l], &candidates, &start, 3);
        let aligner = self.aligner(a, b, l, 40_000);
        let mut chosen = (f64::INFINITY, start);
        for c in &best {
            let state = State { dx: c[1] as f64, dy: c[0] as f64, ..start };
            let state = aligner.refine(state, 8, 0.01, 3.0).unwrap_or(state);
            let s = score(&aligner.pairs(&state, 8192), &state, scale);
            if std::env::var("DBG").is_ok() { eprintln!("cand {c:?} {s:.4} {state:?}"); }
            if s < chosen.0 {
                chosen = (s, state);
            }
        }
        self.finish(a, b, self.descend(a, b, chosen.1))
    }

    fn descend(&self, a: &Prepared, b: &Prepared, mut state: State) -> State {
        let l = self.search_level;
        let aligner = self.aligner(a, b, l, FULL_PIXELS);
        let mut map = None;
        if std::env::var("NOTRUST").is_err() {
        map = aligner.trust(&state);
        let aligner = Aligner { trust: map.as_ref().map(|m| (m, 0)), ..aligner };
        state = aligner.refine(state, self.options.iterations, 0.005, 2.0).unwrap_or(state);
        map = aligner.trust(&state);
        }
        for level in (0..=l).rev() {
            let tol = if level == 0 { 1e-4 } else { 0.01 };
            let aligner = Aligner { trust: map.as_ref().map(|m| (m, l - level)), ..self.aligner(a, b, level, FULL_PIXELS) };
            state = aligner.refine(state, self.options.iterations, tol, 2.0).unwrap_or(state);
            if level > 0 {
                state.dx *= 2.0;
                state.dy *= 2.0;
            }
        }
        state
    }

    fn finish(&self, a: &Prepared, b: &Prepared, state: State) -> Estimate {
        let sample = self.aligner(a, b, 0, FULL_PIXELS).pairs(&state, CONFIDENCE_SAMPLES);
        Estimate {
            motion: Motion::translation(state.dx, state.dy),
            confidence: chance_corrected(&sample, &state),
            gain: state.gain,
            offset: state.level - state.gain * state.center,
            scene_cut: false,
        }
    }

    pub fn refine(&self, a: &Prepared, b: &Prepared, initial: &Motion) -> Estimate {
        let s = initial.global();
        let l = self.search_level;
        let f = 1.0 / (1u64 << l) as f64;
        let state = State { dx: s.dx * f, dy: s.dy * f, ..Self::brightness(a, b) };
        let state = self.aligner(a, b, l, FULL_PIXELS).refine(state, 8, 0.01, 3.0).unwrap_or(state);
        self.finish(a, b, self.descend(a, b, state))
    }
}
