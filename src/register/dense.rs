//! Dense motion: a [`Field`] between two frames, from a reduced copy up to full size.
//!
//! At each size `nodes` moves every node's window, and `smooth` compares it with its neighbours. Windows are large,
//! 16 x 16 pixels at full size: small ones fit aliasing, which looks like detail that moves otherwise. Smaller ones are
//! used only where the residual of the large ones asks for it. Method and measurements are in docs/registration.md.

use ndarray::ArrayView2;

use super::field::Field;
use super::nodes::{Acceptance, Found, Pass, Window};
use super::prepare::{Level, Prepared, sample_step};
use super::rank;
use super::rigid::{bind, costs};
use super::smooth::{Affine, median, smooth, spread};
use super::{Estimate, Registrar, Shift};
use crate::kernels::CpuLevel;

/// Pixels between nodes at all sizes, but for ...
const SPACING: usize = 8;
/// ... frames of at most so many pixels at full size, where a person is a few windows wide: 180 x 120 and 176 x 144 gain
/// by it, 352 x 288 of a rigid scene loses 0.07 dB, ...
const SMALL: usize = 40_000;
/// ... where they are this far apart.
const SMALL_SPACING: usize = 4;
/// Pixels between nodes of the fine stage.
const FINE_SPACING: usize = 4;
/// The shorter side of the smallest copy that is searched has at least so many pixels.
const SMALLEST_TOP: usize = 24;

/// How fine a field has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldDetail {
    /// Nodes every 8 pixels, windows of 16 x 16; cheapest.
    Coarse,
    /// Windows of 8 x 8 and nodes every 4 pixels where the residual asks for them.
    #[default]
    Normal,
    /// Smaller windows still where they fit clearly better: bodies that bend.
    Fine,
}

/// Steps of a node on smaller copies.
const COPY_STEPS: usize = 5;
/// Damping of steps, squared grey levels per squared pixel: keeps windows without texture where they are.
const DAMPING: f32 = 2.0;
/// Damping of the fine stage.
const FINE_DAMPING: f32 = 8.0;
/// Residual above which the fine stage looks at a node, grey levels, and as a multiple of that of the middle node, for
/// noise and aliasing.
const GATE: Gate = Gate { least: 2.5, share: 1.5 };
/// The same for [`FieldDetail::Fine`]: looks at far more nodes for a few hundredths of a decibel.
const FINE_GATE: Gate = Gate { least: 1.5, share: 1.2 };
/// What a small window's residual must be, as a share of that before, to be taken: what fits as well stays as it was.
const FINE_SHARE: f32 = 0.97;
/// Most steps of a node of the fine stage.
const FINE_ITERATIONS: usize = 3;
/// Residual from which the smallest windows are tried, ...
const BENT_GATE: Gate = Gate { least: 2.0, share: 1.2 };
/// ... what theirs must be as a share of that before, ...
const BENT_SHARE: f32 = 0.9;
/// ... and how strongly they are smoothed.
const BENT_STRENGTH: f32 = 20.0;
/// How strongly vectors are drawn towards their neighbours, squared grey levels per squared pixel.
const STRENGTH: f32 = 10.0;
/// Rounds of that.
const SWEEPS: usize = 4;

/// Confidence from which the brightness of an estimate is believed.
const TRUSTED: f64 = 0.6;
/// Pixels that brightness is fitted to.
const SAMPLES: usize = 2048;
/// Gains that are a change of light.
const GAINS: std::ops::Range<f64> = 0.5..2.0;

/// From which residual on a node is looked at again.
#[derive(Debug, Clone, Copy)]
struct Gate {
    /// Grey levels.
    least: f32,
    /// Of that of the middle node.
    share: f32,
}

/// Brightness between the frames: moving = gain * reference + offset.
#[derive(Debug, Clone, Copy)]
struct Light {
    gain: f32,
    offset: f32,
}

/// Two frames and what is the same at all their sizes.
struct Pair<'a> {
    registrar: &'a Registrar,
    reference: &'a Prepared,
    moving: &'a Prepared,
    light: Light,
}

impl Registrar {
    /// The dense motion of a pair, from the global motion of `estimate` (of the same two frames) by the pyramid.
    ///
    /// Frames with equal pixels, and frames with a side below 16, get the same vector everywhere. All vectors are
    /// finite; where the picture tells nothing they follow their surroundings, and what only one frame shows has
    /// the vector that fits least badly.
    ///
    /// # Panics
    /// If a frame was prepared for another size.
    pub fn field(&self, reference: &Prepared, moving: &Prepared, estimate: &Estimate, detail: FieldDetail) -> Field {
        let global = -estimate.motion.global();
        let size = (self.height, self.width);
        if self.equal(reference, moving) {
            return Field::uniform(size.0, size.1, Shift::default());
        }
        if self.search.is_none() {
            return Field::uniform(size.0, size.1, global);
        }
        let mut pair = Pair { registrar: self, reference, moving, light: Light::guessed(reference, moving, estimate) };
        let (field, found) = pair.searched([global.dy as f32, global.dx as f32], detail);
        pair.detailed(field, &found, detail, None)
    }

    /// The dense motion of a pair where `initial` is nearly right: a chain of the fields of adjacent frames.
    ///
    /// # Panics
    /// If a frame or the field is for another size.
    pub fn refine_field(&self, reference: &Prepared, moving: &Prepared, initial: &Field, detail: FieldDetail) -> Field {
        self.refined(reference, moving, initial, detail, settle_firmly)
    }

    /// [`Self::refine_field`] with the way to settle vectors.
    fn refined(
        &self,
        reference: &Prepared,
        moving: &Prepared,
        initial: &Field,
        detail: FieldDetail,
        settle: impl Fn(CpuLevel, &mut Field, &mut [Found], &Affine),
    ) -> Field {
        assert_eq!(initial.size(), (self.height, self.width), "the field is for another size");
        if self.equal(reference, moving) {
            return Field::uniform(self.height, self.width, Shift::default());
        }
        if self.search.is_none() {
            return initial.clone();
        }
        let light = Light::fitted(&reference.levels[0], &moving.levels[0], initial);
        let pair = Pair { registrar: self, reference, moving, light };
        let mut field = initial.with_spacing(full_spacing(initial.size()));
        let window = Window::gaussian(16, 4.0);
        let mut found = pair.pass(0, &window, full_steps(detail)[1]).run(&mut field, &|_, _, _| (), &[]);
        let model = Affine::fitted(&field, &found).unwrap_or(Affine::constant([0.0; 2]));
        settle(self.cpu, &mut field, &mut found, &model);
        pair.detailed(field, &found, detail, Some(initial))
    }

    /// Corrects `field` by what a picture made with its help foretells of the moving frame.
    ///
    /// `predicted` and `seen` are that frame as foretold and as it is, in the same light, 8-bit scale. Both are aliased
    /// alike, which the frames themselves are not: what differs between them is the error of the field (the alternation of
    /// estimating picture and motion in Hardie, Barnard and Armstrong 1997, doi:10.1109/83.650116).
    ///
    /// # Panics
    /// If a plane or the field is for another size.
    pub fn correct_field(
        &self,
        predicted: ArrayView2<'_, f32>,
        seen: ArrayView2<'_, f32>,
        field: &Field,
        detail: FieldDetail,
    ) -> Field {
        let prepared = |plane: ArrayView2<'_, f32>| {
            assert_eq!(plane.dim(), (self.height, self.width), "a plane of another size");
            Prepared::of_one_size(Level::of(plane).smoothed(&self.taps, self.cpu))
        };
        let still = Field::uniform(self.height, self.width, Shift::default());
        // Held to no motion of the frame as a whole: what is left to correct is none.
        self.refined(&prepared(predicted), &prepared(seen), &still, detail, settle).then(field)
    }
}

impl Registrar {
    /// Gain and offset (8-bit scale) of the moving frame's luma against the reference's, where they lie on each other
    /// by `field`: moving = gain * reference + offset.
    ///
    /// What a shift of the whole frame tells of them is wrong where the frame turns or its parts move apart: values that
    /// do not belong together pull the gain to zero.
    ///
    /// # Panics
    /// If a frame was prepared for another size.
    pub fn brightness_under(&self, reference: &Prepared, moving: &Prepared, field: &Field) -> (f64, f64) {
        if self.equal(reference, moving) {
            return (1.0, 0.0);
        }
        let light = Light::fitted(&reference.levels[0], &moving.levels[0], field);
        (f64::from(light.gain), f64::from(light.offset))
    }
}

impl Pair<'_> {
    fn pass<'a>(&'a self, level: usize, window: &'a Window, iterations: usize) -> Pass<'a> {
        Pass {
            cpu: self.registrar.cpu,
            reference: &self.reference.levels[level],
            moving: &self.moving.levels[level],
            gain: self.light.gain,
            offset: self.light.offset,
            window,
            iterations,
            damping: DAMPING,
            acceptance: Acceptance::Steps,
        }
    }

    /// From the smallest copy to full size, starting with the vector `global` everywhere.
    fn searched(&mut self, global: [f32; 2], detail: FieldDetail) -> (Field, Vec<Found>) {
        let levels = &self.moving.levels;
        let size = |level: usize| (levels[level].rows, levels[level].columns);
        let top = (0..levels.len()).rev().find(|&l| size(l).0.min(size(l).1) >= SMALLEST_TOP).unwrap_or(0);
        let at_level = |level: usize| global.map(|v| v / (1u32 << level) as f32);
        let mut field = Field::constant(size(top), SPACING, at_level(top));
        let (mut model, mut found) = (Affine::constant(at_level(top)), Vec::new());
        for level in (0..=top).rev() {
            if level < top {
                (field, model) = (field.doubled(size(level)), model.doubled());
                if level == 0 {
                    field = field.with_spacing(full_spacing(size(0)));
                }
            }
            let window = if level == 0 { Window::gaussian(16, 4.0) } else { Window::gaussian(8, 4.0) };
            let still = at_level(level);
            let candidates = |y: f32, x: f32, offers: &mut Vec<[f32; 2]>| {
                offers.extend([model.at(y, x), still, [0.0; 2]]);
                if level == top {
                    offers.extend(around(still));
                }
            };
            let steps = if level == 0 { full_steps(detail)[0] } else { COPY_STEPS };
            found = self.pass(level, &window, steps).run(&mut field, &candidates, &[]);
            model = Affine::fitted(&field, &found).unwrap_or(model);
            if level == 0 {
                settle_firmly(self.registrar.cpu, &mut field, &mut found, &model);
            } else {
                settle(self.registrar.cpu, &mut field, &mut found, &model);
                self.light = Light::fitted(&self.reference.levels[level], &self.moving.levels[level], &field);
            }
        }
        (field, found)
    }

    /// What `detail` asks for beyond the large windows; small ones also try the vectors of `before`.
    fn detailed(&self, field: Field, found: &[Found], detail: FieldDetail, before: Option<&Field>) -> Field {
        if detail == FieldDetail::Coarse {
            return field;
        }
        let gate = if detail == FieldDetail::Fine { FINE_GATE } else { GATE };
        let wanted = nodes_above(&field, found, gate);
        if !wanted.contains(&true) {
            return field;
        }
        let mut fine = field.with_spacing(FINE_SPACING);
        let window = Window::gaussian(8, 2.5);
        let pass = self.pass(0, &window, FINE_ITERATIONS);
        let pass = Pass { damping: FINE_DAMPING, acceptance: Acceptance::Share(FINE_SHARE), ..pass };
        let offers = |y: f32, x: f32, offers: &mut Vec<[f32; 2]>| {
            offers.extend(before.map(|before| before.at(y, x)));
            let reach = SPACING as f32;
            let around = [(-reach, 0.0), (reach, 0.0), (0.0, -reach), (0.0, reach)];
            offers.extend(around.map(|(dy, dx)| field.at(y + dy, x + dx)));
        };
        pass.run(&mut fine, &offers, &wanted);
        if detail == FieldDetail::Fine { self.bent(fine, &nodes_above(&field, found, BENT_GATE)) } else { fine }
    }

    /// Windows smaller still at the nodes that are `wanted`, kept where the residual around them is clearly lower.
    fn bent(&self, field: Field, wanted: &[bool]) -> Field {
        let (small, judge) = (Window::gaussian(8, 1.5), Window::gaussian(8, 2.5));
        let mut bent = field.clone();
        let found = self.pass(0, &small, FINE_ITERATIONS).run(&mut bent, &|_, _, _| (), wanted);
        smooth(self.registrar.cpu, &mut bent, &found, BENT_STRENGTH, SWEEPS);
        let pass = self.pass(0, &judge, 1);
        let [before, after] = [&field, &bent].map(|f| spread(&pass.errors(f, wanted), field.nodes().1));
        let mut field = field;
        for (i, v) in field.vectors.iter_mut().enumerate() {
            if wanted[i] && after[i] < BENT_SHARE * before[i] {
                *v = bent.vectors[i];
            }
        }
        field
    }
}

/// Steps of a node at full size, from the pyramid and from a field that is nearly right: the last one moves nodes by some
/// thousandths of a pixel, which `Coarse` does without.
fn full_steps(detail: FieldDetail) -> [usize; 2] {
    if detail == FieldDetail::Coarse { [2, 1] } else { [3, 2] }
}

/// Pixels between nodes of frames of `(height, width)` pixels.
fn full_spacing((height, width): (usize, usize)) -> usize {
    if height * width <= SMALL { SMALL_SPACING } else { SPACING }
}

/// Vectors two pixels around the given one, in steps of one.
fn around(vector: [f32; 2]) -> impl Iterator<Item = [f32; 2]> {
    (0..25).map(move |k| [vector[0] + (k / 5) as f32 - 2.0, vector[1] + (k % 5) as f32 - 2.0])
}

/// Removes vectors that stand alone and fills in where there is no texture, both in what differs from `model`: so a
/// rotation or a zoom is neither flattened nor bent at the edges.
fn settle(cpu: CpuLevel, field: &mut Field, found: &mut [Found], model: &Affine) {
    model.subtract(field, 1.0);
    median(cpu, field);
    smooth(cpu, field, found, STRENGTH, SWEEPS);
    model.subtract(field, -1.0);
}

/// [`settle`] at full size, where vectors that do not tell themselves from `model` are also taken to it.
fn settle_firmly(cpu: CpuLevel, field: &mut Field, found: &mut [Found], model: &Affine) {
    model.subtract(field, 1.0);
    let costs = costs(field, found);
    median(cpu, field);
    smooth(cpu, field, found, STRENGTH, SWEEPS);
    bind(field, &costs, found);
    model.subtract(field, -1.0);
}

/// For each node of the fine stage, whether a large window near it fitted badly: a residual above the `gate`, and a motion
/// that may be its own.
fn nodes_above(field: &Field, found: &[Found], gate: Gate) -> Vec<bool> {
    let errors: Vec<f32> = found.iter().map(|f| f.error).collect();
    let gate = gate.least.max(gate.share * rank::median(&errors));
    let (rows, columns) = field.nodes();
    let (height, width) = field.size();
    let is_bad = |node: &Found| node.error > gate && !node.bound;
    let bad = |row: i64, column: i64| {
        let inside = (0..rows as i64).contains(&row) && (0..columns as i64).contains(&column);
        inside && is_bad(&found[row as usize * columns + column as usize])
    };
    let share = (field.spacing() / FINE_SPACING) as i64;
    let mut wanted = Vec::new();
    for y in 0..height.div_ceil(FINE_SPACING) as i64 {
        for x in 0..width.div_ceil(FINE_SPACING) as i64 {
            // The large window this one is in, and the next one on its side.
            let (row, column, down, right) = (y / share, x / share, 2 * (y % 2) - 1, 2 * (x % 2) - 1);
            let near = [(0, 0), (down, 0), (0, right), (down, right)];
            wanted.push(near.iter().any(|(dy, dx)| bad(row + dy, column + dx)));
        }
    }
    wanted
}

impl Light {
    /// That of the estimate, or, where it did not match the frames, what brings their values together.
    fn guessed(reference: &Prepared, moving: &Prepared, estimate: &Estimate) -> Self {
        if estimate.confidence >= TRUSTED {
            return Self { gain: estimate.gain as f32, offset: estimate.offset as f32 };
        }
        let state = super::brightness(reference, moving);
        Self { gain: state.gain as f32, offset: (state.level - state.gain * state.center) as f32 }
    }

    /// Gain and offset under a field, from a grid of about [`SAMPLES`] pixels.
    fn fitted(reference: &Level, moving: &Level, field: &Field) -> Self {
        let (rows, columns) = field.nodes();
        let step = sample_step(rows * columns, SAMPLES);
        let mut pairs = Vec::with_capacity(rows.div_ceil(step) * columns.div_ceil(step));
        for row in (0..rows).step_by(step) {
            for column in (0..columns).step_by(step) {
                let (y, x) = (field.position(row), field.position(column));
                let v = field.vectors[row * columns + column];
                if let (Some(a), Some(b)) = (bilinear(reference, y + v[0], x + v[1]), bilinear(moving, y, x)) {
                    pairs.push([a, b]);
                }
            }
        }
        let mut light = Self { gain: 1.0, offset: 0.0 };
        for scale in [48.0, 24.0, 12.0, 12.0] {
            light = light.reweighted(&pairs, scale).unwrap_or(light);
        }
        light
    }

    /// Line through `pairs` (reference, moving), each weighted by its distance from `self`.
    fn reweighted(self, pairs: &[[f32; 2]], scale: f64) -> Option<Self> {
        let mut sums = [0f64; 6];
        for &[a, b] in pairs {
            let r = f64::from(b - self.gain * a - self.offset) / scale;
            let w = 1.0 / (1.0 + r * r).powi(2);
            let (a, b) = (f64::from(a), f64::from(b));
            sums.iter_mut().zip([1.0, a, b, a * a, b * b, a * b]).for_each(|(sum, v)| *sum += w * v);
        }
        let [n, a, b, aa, bb, ab] = sums;
        let (variance, other) = (aa - a * a / n, bb - b * b / n);
        // The symmetric line: both frames alias, and regression of one on the other would take that for less contrast.
        let gain = if variance > 25.0 * n && ab > a * b / n { (other / variance).sqrt() } else { 1.0 };
        let light = Self { gain: gain as f32, offset: ((b - gain * a) / n) as f32 };
        (GAINS.contains(&gain) && light.offset.is_finite()).then_some(light)
    }
}

/// The level at row `y`, column `x`; `None` outside.
fn bilinear(level: &Level, y: f32, x: f32) -> Option<f32> {
    let (top, left) = (y.floor(), x.floor());
    if !(top >= 0.0 && left >= 0.0) || top as usize + 1 >= level.rows || left as usize + 1 >= level.columns {
        return None;
    }
    let (a, b) = (level.row(top as usize), level.row(top as usize + 1));
    let (x, t) = (left as usize, x - left);
    let (upper, lower) = (a[x] + t * (a[x + 1] - a[x]), b[x] + t * (b[x + 1] - b[x]));
    Some(upper + (y - top) * (lower - upper))
}
