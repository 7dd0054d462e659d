//! Products of a few rows with a matrix in 8 bits, in whole numbers.
//!
//! Widening codes to `f32` takes more instructions than their sums. Here the rows become whole numbers instead: each is divided by a step, so
//! that its largest value becomes [`LARGEST`], and rounded; a number is three digits of base 256 from -128 to 127. `vpdpbusd` (AVX-512 VNNI)
//! multiplies 64 codes by 64 digits and adds them up, exactly. So 64 weights cost a row three instructions, where `f32` takes four and twelve
//! to widen them.
//!
//! What is lost is what rounding to steps loses: half a step is 2⁻²⁴ of the row's largest value, so that a product is off by some 2⁻²⁵ of that
//! value times the norm of the weights, about what the sum loses in `f32`.
//!
//! As in [`few_rows`](super::few_rows), a few rows are [`Dots`], and from half a vector of rows on a lane holds a row: [`Lanes`].

use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_cvtps_epi32,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps,
    _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32,
    _mm512_srai_epi32, _mm512_sub_epi32,
};

use bytemuck::cast;
use pulp::NullaryFnOnce;
use pulp::x86::V4;

use super::few_rows::{Next, by_blocks};
use super::turn::turn;
use crate::int8::Int8;

/// Lanes of a vector of sums.
const LANES: usize = 16;
/// Codes that one lane adds up at once.
const TERMS: usize = 4;
/// Digits of a number.
const DIGITS: usize = 3;
/// The largest number: what three digits of at most 127 hold, less one for rounding in `f32`.
const LARGEST: f32 = 127.0 * (65_536.0 + 256.0 + 1.0) - 1.0;
/// Rows that share a load of weights in [`Dots`], where there is more than one row.
const ROWS: usize = 4;
/// Rows of weights whose sums [`Lanes`] holds in registers.
const WEIGHTS: usize = 8;
/// The widest row whose sums no whole number of 32 bits overflows: 255 · 128 · 65,536 < 2³¹.
const WIDEST: usize = 65_536;

/// Digits, or codes: one of each term in every lane.
type Vector = [[i8; TERMS]; LANES];

pulp::simd_type!({
    /// AVX-512 with its products of whole numbers.
    struct Instructions {
        avx512f: target_feature!("avx512f"),
        avx512bw: target_feature!("avx512bw"),
        avx512cd: target_feature!("avx512cd"),
        avx512dq: target_feature!("avx512dq"),
        avx512vl: target_feature!("avx512vl"),
        avx512vnni: target_feature!("avx512vnni"),
    }
});

/// Proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub(crate) struct InDigits {
    instructions: Instructions,
    simd: V4,
}

impl InDigits {
    /// `None` where the CPU lacks the instructions, or the rows are too wide.
    pub(crate) fn try_new(d_in: usize) -> Option<Self> {
        if d_in > WIDEST {
            return None;
        }
        Some(Self {
            instructions: Instructions::try_new()?,
            simd: V4::try_new()?,
        })
    }
}

/// `y = x W^T`: `[rows, d_in]` to `[rows, d_out]`.
pub(crate) fn few_rows(in_digits: InDigits, x: &[f32], weights: &Int8, y: &mut [f32]) {
    let (d_in, d_out) = (weights.d_in, weights.scales.len());
    let n_rows = x.len() / d_in;
    let mut rows = vec![Row::default(); n_rows];
    for (row, x) in rows.iter_mut().zip(x.chunks_exact(d_in)) {
        in_digits.instructions.vectorize(Write { row, x });
    }
    let has_lanes = n_rows > LANES / 2;
    let groups = if has_lanes {
        let groups = rows.chunks(LANES);
        groups
            .map(|rows| Group::new(in_digits, rows, d_in))
            .collect()
    } else {
        Vec::new()
    };
    by_blocks(y, n_rows, d_out, WEIGHTS, |first, y| {
        let n = y.len() / n_rows;
        let block = Block {
            n_rows,
            codes: &weights.codes[first * d_in..][..n * d_in],
            scales: &weights.scales[first..][..n],
            d_in,
            y,
        };
        if has_lanes {
            let groups = &groups;
            in_digits.instructions.vectorize(Lanes { groups, block });
        } else {
            let rows = &rows;
            in_digits.instructions.vectorize(Dots { rows, block });
        }
    });
}

/// A row as digits.
#[derive(Clone, Default)]
struct Row {
    /// For each vector, each digit from the highest. What the last vector has room for beyond the row is zero.
    digits: Vec<[Vector; DIGITS]>,
    /// What each lane's sum of each digit begins with: what the code that means zero adds, taken off.
    begins: [[i32; LANES]; DIGITS],
    /// What one is worth.
    step: f32,
}

/// Writes a row.
struct Write<'a> {
    row: &'a mut Row,
    x: &'a [f32],
}

impl NullaryFnOnce for Write<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { row, x } = self;
        row.digits = vec![<_>::default(); x.len().div_ceil(TERMS * LANES)];
        // By their bits, infinity is larger than every number, and what is no number larger still.
        let magnitudes = x.iter().map(|value| value.abs().to_bits());
        let largest = f32::from_bits(magnitudes.max().unwrap_or(0));
        let inverse = LARGEST / largest;
        if !largest.is_finite() {
            row.step = f32::NAN;
        }
        // Of values so small that the quotient overflows nothing is left.
        if !largest.is_finite() || !inverse.is_finite() {
            return;
        }
        row.step = largest / LARGEST;
        for (x, vectors) in x.chunks(TERMS * LANES).zip(&mut row.digits) {
            write(x, inverse, vectors);
            for (begins, digits) in row.begins.iter_mut().zip(vectors) {
                take_zeros(begins, digits);
            }
        }
    }
}

/// The digits of up to a vector of values times `inverse`. From the lowest on each takes what is nearest, so that what is left has a digit less.
#[inline(always)]
#[allow(unsafe_code)]
fn write(x: &[f32], inverse: f32, vectors: &mut [Vector; DIGITS]) {
    for (part, x) in x.chunks(LANES).enumerate() {
        let mask = ((1_u32 << x.len()) - 1) as u16;
        // SAFETY: `vectorize` runs this where the CPU has the instructions; the values of the mask alone are read, which are those of the slice.
        let mut numbers = unsafe {
            let x = _mm512_maskz_loadu_ps(mask, x.as_ptr());
            _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)))
        };
        for vector in vectors.iter_mut().rev() {
            // SAFETY: as above. The last eight bits with their sign, and what is left without them.
            let digits = unsafe {
                let digits = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(numbers));
                numbers = _mm512_srai_epi32::<8>(_mm512_sub_epi32(numbers, digits));
                _mm512_cvtepi32_epi8(digits)
            };
            vector[part * LANES / TERMS..][..LANES / TERMS]
                .copy_from_slice(&cast::<_, [[i8; TERMS]; LANES / TERMS]>(digits));
        }
    }
}

/// Takes off `begins` what the code that means zero adds with these digits.
#[inline(always)]
#[allow(unsafe_code)]
fn take_zeros(begins: &mut [i32; LANES], digits: &Vector) {
    // SAFETY: as in `write`.
    let zeros = unsafe {
        let codes = _mm512_set1_epi8(Int8::ZERO as i8);
        _mm512_dpbusd_epi32(cast([0; LANES]), codes, cast(*digits))
    };
    for (begin, zeros) in begins.iter_mut().zip(cast::<_, [i32; LANES]>(zeros)) {
        *begin -= zeros;
    }
}

/// The products of a block of weight rows with all rows.
struct Block<'a> {
    n_rows: usize,
    codes: &'a [u8],
    scales: &'a [f32],
    d_in: usize,
    /// `[weight rows, rows]`
    y: &'a mut [f32],
}

/// A [`Block`] as dot products, one row of weights after the other.
struct Dots<'a> {
    rows: &'a [Row],
    block: Block<'a>,
}

impl NullaryFnOnce for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, block } = self;
        let y = block.y.chunks_exact_mut(block.n_rows);
        let codes = block.codes.chunks_exact(block.d_in);
        for ((codes, scale), y) in codes.zip(block.scales).zip(y) {
            let (y, y_left) = y.split_at_mut(y.len() - y.len() % ROWS);
            let (rows, rows_left) = rows.split_at(y.len());
            for (y, rows) in y.chunks_exact_mut(ROWS).zip(rows.as_chunks::<ROWS>().0) {
                dots(codes, *scale, rows, y);
            }
            for (y, row) in y_left.chunks_exact_mut(1).zip(rows_left.as_chunks::<1>().0) {
                dots(codes, *scale, row, y);
            }
        }
    }
}

/// Products of a row of codes with some rows. Loops: `array::map` is not always inlined, and vectors would go through memory.
#[inline(always)]
fn dots<const ROWS: usize>(codes: &[u8], scale: f32, rows: &[Row; ROWS], y: &mut [f32]) {
    let mut sums = [[zeros(); DIGITS]; ROWS];
    for (sums, row) in sums.iter_mut().zip(rows) {
        for (sum, begins) in sums.iter_mut().zip(&row.begins) {
            *sum = cast(*begins);
        }
    }
    let (vectors, left) = codes.as_chunks::<{ TERMS * LANES }>();
    let mut whole: [&[_]; ROWS] = [&[]; ROWS];
    for (whole, row) in whole.iter_mut().zip(rows) {
        *whole = &row.digits[..vectors.len()];
    }
    for (vector, codes) in vectors.iter().enumerate() {
        let codes = cast(*codes);
        for (sums, digits) in sums.iter_mut().zip(whole) {
            for (sum, digits) in sums.iter_mut().zip(&digits[vector]) {
                *sum = add(*sum, codes, digits);
            }
        }
    }
    if !left.is_empty() {
        let mut last = [0; TERMS * LANES];
        last[..left.len()].copy_from_slice(left);
        for (sums, row) in sums.iter_mut().zip(rows) {
            for (sum, digits) in sums.iter_mut().zip(&row.digits[vectors.len()]) {
                *sum = add(*sum, cast(last), digits);
            }
        }
    }
    for ((y, sums), row) in y.iter_mut().zip(sums).zip(rows) {
        *y = in_all(together(sums)) * row.step * scale;
    }
}

/// Up to [`LANES`] rows side by side.
struct Group {
    /// For each four codes, each digit: those of each row in its lane.
    digits: Vec<[Vector; DIGITS]>,
    begins: [[i32; LANES]; DIGITS],
    steps: [f32; LANES],
}

impl Group {
    fn new(in_digits: InDigits, rows: &[Row], d_in: usize) -> Self {
        let mut group = Self {
            digits: vec![<_>::default(); d_in.div_ceil(TERMS * LANES) * LANES],
            begins: <_>::default(),
            steps: <_>::default(),
        };
        for (lane, row) in rows.iter().enumerate() {
            group.steps[lane] = row.step;
            for (begins, lanes) in group.begins.iter_mut().zip(&row.begins) {
                begins[lane] = lanes.iter().sum();
            }
        }
        in_digits.instructions.vectorize(Turn {
            simd: in_digits.simd,
            rows,
            digits: &mut group.digits,
        });
        group
    }
}

/// Exchanges rows and lanes, a square at a time.
struct Turn<'a> {
    simd: V4,
    rows: &'a [Row],
    digits: &'a mut [[Vector; DIGITS]],
}

impl NullaryFnOnce for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (vector, out) in self
            .digits
            .as_chunks_mut::<LANES>()
            .0
            .iter_mut()
            .enumerate()
        {
            for digit in 0..DIGITS {
                let mut square = [cast([0_u32; LANES]); LANES];
                for (square, row) in square.iter_mut().zip(self.rows) {
                    *square = cast(row.digits[vector][digit]);
                }
                turn(self.simd, &mut square);
                for (out, square) in out.iter_mut().zip(square) {
                    out[digit] = cast(square);
                }
            }
        }
    }
}

/// A [`Block`] with a row in each lane.
struct Lanes<'a> {
    groups: &'a [Group],
    block: Block<'a>,
}

impl NullaryFnOnce for Lanes<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { groups, block } = self;
        let (n_rows, d_in) = (block.n_rows, block.d_in);
        let tile = WEIGHTS * d_in;
        let y = block.y.chunks_mut(WEIGHTS * n_rows);
        for (index, (y, scales)) in y.zip(block.scales.chunks(WEIGHTS)).enumerate() {
            let (codes, later) = block.codes[index * tile..].split_at(scales.len() * d_in);
            let next = Next::new(&later[..tile.min(later.len())], d_in.div_ceil(TERMS));
            for (group, first) in groups.iter().zip((0..).step_by(LANES)) {
                let sums = by_lanes(codes, d_in, group, next);
                let n = LANES.min(n_rows - first);
                for ((sums, scale), y) in
                    sums.into_iter().zip(scales).zip(y.chunks_exact_mut(n_rows))
                {
                    let mut lanes: [f32; LANES] = cast(together(sums));
                    for (lane, step) in lanes.iter_mut().zip(&group.steps) {
                        *lane *= step * scale;
                    }
                    y[first..first + n].copy_from_slice(&lanes[..n]);
                }
            }
        }
    }
}

/// The sums, a row in each lane, of up to [`WEIGHTS`] rows of codes. Sums of rows of codes that are not there say nothing.
#[inline(always)]
#[allow(unsafe_code)]
fn by_lanes(
    codes: &[u8],
    d_in: usize,
    group: &Group,
    next: Next<'_>,
) -> [[__m512i; DIGITS]; WEIGHTS] {
    let n = codes.len() / d_in;
    let mut rows: [&[[u8; TERMS]]; WEIGHTS] = [&[]; WEIGHTS];
    let mut left = [[0; TERMS]; WEIGHTS];
    for (i, (row, left)) in rows.iter_mut().zip(&mut left).enumerate() {
        let (words, end) = codes[i.min(n - 1) * d_in..][..d_in].as_chunks();
        *row = words;
        left[..end.len()].copy_from_slice(end);
    }
    let n_words = d_in / TERMS;
    for row in &mut rows {
        *row = &row[..n_words];
    }
    let mut sums = [[zeros(); DIGITS]; WEIGHTS];
    for sums in &mut sums {
        for (sum, begins) in sums.iter_mut().zip(&group.begins) {
            *sum = cast(*begins);
        }
    }
    let (digits, last) = group.digits.split_at(n_words);
    for (at, digits) in digits.iter().enumerate() {
        next.fetch(at);
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: as in `write`.
            let codes = unsafe { _mm512_set1_epi32(i32::from_ne_bytes(row[at])) };
            for (sum, digits) in sums.iter_mut().zip(digits) {
                *sum = add(*sum, codes, digits);
            }
        }
    }
    if !d_in.is_multiple_of(TERMS) {
        for (sums, left) in sums.iter_mut().zip(left) {
            // SAFETY: as in `write`.
            let codes = unsafe { _mm512_set1_epi32(i32::from_ne_bytes(left)) };
            for (sum, digits) in sums.iter_mut().zip(&last[0]) {
                *sum = add(*sum, codes, digits);
            }
        }
    }
    sums
}

#[inline(always)]
fn zeros() -> __m512i {
    cast([0_i32; LANES])
}

/// `sum` and the products of codes and digits, four in each lane.
#[inline(always)]
#[allow(unsafe_code)]
fn add(sum: __m512i, codes: __m512i, digits: &Vector) -> __m512i {
    // SAFETY: as in `write`.
    unsafe { _mm512_dpbusd_epi32(sum, codes, cast(*digits)) }
}

/// What the sums of each digit come to, in steps.
#[inline(always)]
#[allow(unsafe_code)]
fn together([high, middle, low]: [__m512i; DIGITS]) -> __m512 {
    // SAFETY: as in `write`.
    unsafe {
        let base = _mm512_set1_ps(256.0);
        let [high, middle, low] = [
            _mm512_cvtepi32_ps(high),
            _mm512_cvtepi32_ps(middle),
            _mm512_cvtepi32_ps(low),
        ];
        _mm512_fmadd_ps(_mm512_fmadd_ps(high, base, middle), base, low)
    }
}

#[inline(always)]
#[allow(unsafe_code)]
fn in_all(lanes: __m512) -> f32 {
    // SAFETY: as in `write`.
    unsafe { _mm512_reduce_add_ps(lanes) }
}
