//! Products of a few rows with a matrix in 8 bits, in whole numbers.
//!
//! Widening codes to `f32` takes more instructions than their sums. Here the rows are quantized
//! instead: each is divided by a step, so that its largest value becomes [`LARGEST`], and rounded;
//! a number is three signed bytes, digits of base 256. `vpdpbusd` (AVX-512 VNNI) multiplies 64
//! codes by 64 bytes and adds them up, exactly. So 64 weights cost a row three instructions, where
//! `f32` takes four and twelve to widen them.
//!
//! What is lost is what rounding to steps loses: half a step is 2⁻²⁴ of the row's largest value, so
//! that a product is off by some 2⁻²⁵ of that value times the norm of the weights, about what the
//! sum loses in `f32`.
//!
//! As in [`few_rows`](super::few_rows), a few rows are [`Int8Dots`], and from half a vector of rows
//! on a lane holds a row: [`Int8RowPerLane`].

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
use super::transpose::transpose;
use crate::int8::Int8;

/// Int8RowPerLane of a vector of sums.
const LANES: usize = 16;
/// Codes that one lane adds up at once.
const TERMS: usize = 4;
/// Digits of a number.
const BYTES: usize = 3;
/// The largest number: what three bytes of at most 127 hold, less one for rounding in `f32`.
const LARGEST: f32 = 127.0 * (65_536.0 + 256.0 + 1.0) - 1.0;
/// Rows that share a load of weights in [`Int8Dots`], where there is more than one row.
const ROWS: usize = 4;
/// Rows of weights whose sums [`Int8RowPerLane`] holds in registers.
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
pub(crate) struct Vnni {
    instructions: Instructions,
    simd: V4,
}

impl Vnni {
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
pub(crate) fn few_rows(vnni: Vnni, x: &[f32], weights: &Int8, y: &mut [f32]) {
    let (d_in, d_out) = (weights.d_in, weights.scales.len());
    let n_rows = x.len() / d_in;
    let mut rows = vec![QuantizedRow::default(); n_rows];
    for (row, x) in rows.iter_mut().zip(x.chunks_exact(d_in)) {
        vnni.instructions.vectorize(Quantize { row, x });
    }
    let has_lanes = n_rows > LANES / 2;
    let groups = if has_lanes {
        let groups = rows.chunks(LANES);
        groups
            .map(|rows| QuantizedGroup::new(vnni, rows, d_in))
            .collect()
    } else {
        Vec::new()
    };
    by_blocks(y, n_rows, d_out, WEIGHTS, |first, y| {
        let n = y.len() / n_rows;
        let task = Int8Task {
            n_rows,
            codes: &weights.codes[first * d_in..][..n * d_in],
            scales: &weights.scales[first..][..n],
            d_in,
            y,
        };
        if has_lanes {
            let groups = &groups;
            vnni.instructions.vectorize(Int8RowPerLane { groups, task });
        } else {
            let rows = &rows;
            vnni.instructions.vectorize(Int8Dots { rows, task });
        }
    });
}

/// A row as bytes.
#[derive(Clone, Default)]
struct QuantizedRow {
    /// For each vector, each byte from the highest. What the last vector has room for beyond the
    /// row is zero.
    bytes: Vec<[Vector; BYTES]>,
    /// What each lane's sum of each byte offsets with: what the code that means zero adds, taken
    /// off.
    offsets: [[i32; LANES]; BYTES],
    /// What one is worth.
    step: f32,
}

/// Writes a row.
struct Quantize<'a> {
    row: &'a mut QuantizedRow,
    x: &'a [f32],
}

impl NullaryFnOnce for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { row, x } = self;
        row.bytes = vec![<_>::default(); x.len().div_ceil(TERMS * LANES)];
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
        for (x, vectors) in x.chunks(TERMS * LANES).zip(&mut row.bytes) {
            split_into_bytes(x, inverse, vectors);
            for (offsets, bytes) in row.offsets.iter_mut().zip(vectors) {
                subtract_zero_point(offsets, bytes);
            }
        }
    }
}

/// The bytes of up to a vector of values times `inverse`. From the lowest on each takes what is
/// nearest, so that what is left has a byte less.
#[inline(always)]
#[allow(unsafe_code)]
fn split_into_bytes(x: &[f32], inverse: f32, vectors: &mut [Vector; BYTES]) {
    for (part, x) in x.chunks(LANES).enumerate() {
        let mask = ((1_u32 << x.len()) - 1) as u16;
        // SAFETY: `vectorize` runs this where the CPU has the instructions; the values of the mask
        // alone are read, which are those of the slice.
        let mut numbers = unsafe {
            let x = _mm512_maskz_loadu_ps(mask, x.as_ptr());
            _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)))
        };
        for vector in vectors.iter_mut().rev() {
            // SAFETY: as above. The last eight bits with their sign, and what is left without them.
            let bytes = unsafe {
                let bytes = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(numbers));
                numbers = _mm512_srai_epi32::<8>(_mm512_sub_epi32(numbers, bytes));
                _mm512_cvtepi32_epi8(bytes)
            };
            vector[part * LANES / TERMS..][..LANES / TERMS]
                .copy_from_slice(&cast::<_, [[i8; TERMS]; LANES / TERMS]>(bytes));
        }
    }
}

/// Takes off `offsets` what the code that means zero adds with these bytes.
#[inline(always)]
#[allow(unsafe_code)]
fn subtract_zero_point(offsets: &mut [i32; LANES], bytes: &Vector) {
    // SAFETY: as in `split_into_bytes`.
    let zeros = unsafe {
        let codes = _mm512_set1_epi8(Int8::ZERO as i8);
        _mm512_dpbusd_epi32(cast([0; LANES]), codes, cast(*bytes))
    };
    for (offset, zeros) in offsets.iter_mut().zip(cast::<_, [i32; LANES]>(zeros)) {
        *offset -= zeros;
    }
}

/// The products of a block of weight rows with all rows.
struct Int8Task<'a> {
    n_rows: usize,
    codes: &'a [u8],
    scales: &'a [f32],
    d_in: usize,
    /// `[weight rows, rows]`
    y: &'a mut [f32],
}

/// A [`Int8Task`] as dot products, one row of weights after the other.
struct Int8Dots<'a> {
    rows: &'a [QuantizedRow],
    task: Int8Task<'a>,
}

impl NullaryFnOnce for Int8Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, task } = self;
        let y = task.y.chunks_exact_mut(task.n_rows);
        let codes = task.codes.chunks_exact(task.d_in);
        for ((codes, scale), y) in codes.zip(task.scales).zip(y) {
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

/// Products of a row of codes with some rows. Loops: `array::map` is not always inlined, and
/// vectors would go through memory.
#[inline(always)]
fn dots<const ROWS: usize>(codes: &[u8], scale: f32, rows: &[QuantizedRow; ROWS], y: &mut [f32]) {
    let mut sums = [[zeros(); BYTES]; ROWS];
    for (sums, row) in sums.iter_mut().zip(rows) {
        for (sum, offsets) in sums.iter_mut().zip(&row.offsets) {
            *sum = cast(*offsets);
        }
    }
    let (vectors, left) = codes.as_chunks::<{ TERMS * LANES }>();
    let mut whole: [&[_]; ROWS] = [&[]; ROWS];
    for (whole, row) in whole.iter_mut().zip(rows) {
        *whole = &row.bytes[..vectors.len()];
    }
    for (vector, codes) in vectors.iter().enumerate() {
        let codes = cast(*codes);
        for (sums, bytes) in sums.iter_mut().zip(whole) {
            for (sum, bytes) in sums.iter_mut().zip(&bytes[vector]) {
                *sum = add(*sum, codes, bytes);
            }
        }
    }
    if !left.is_empty() {
        let mut last = [0; TERMS * LANES];
        last[..left.len()].copy_from_slice(left);
        for (sums, row) in sums.iter_mut().zip(rows) {
            for (sum, bytes) in sums.iter_mut().zip(&row.bytes[vectors.len()]) {
                *sum = add(*sum, cast(last), bytes);
            }
        }
    }
    for ((y, sums), row) in y.iter_mut().zip(sums).zip(rows) {
        *y = sum_of_lanes(combine_bytes(sums)) * row.step * scale;
    }
}

/// Up to [`LANES`] rows side by side.
struct QuantizedGroup {
    /// For each four codes, each byte: those of each row in its lane.
    bytes: Vec<[Vector; BYTES]>,
    offsets: [[i32; LANES]; BYTES],
    steps: [f32; LANES],
}

impl QuantizedGroup {
    fn new(vnni: Vnni, rows: &[QuantizedRow], d_in: usize) -> Self {
        let mut group = Self {
            bytes: vec![<_>::default(); d_in.div_ceil(TERMS * LANES) * LANES],
            offsets: <_>::default(),
            steps: <_>::default(),
        };
        for (lane, row) in rows.iter().enumerate() {
            group.steps[lane] = row.step;
            for (offsets, lanes) in group.offsets.iter_mut().zip(&row.offsets) {
                offsets[lane] = lanes.iter().sum();
            }
        }
        vnni.instructions.vectorize(Transpose {
            simd: vnni.simd,
            rows,
            bytes: &mut group.bytes,
        });
        group
    }
}

/// Exchanges rows and lanes, a square at a time.
struct Transpose<'a> {
    simd: V4,
    rows: &'a [QuantizedRow],
    bytes: &'a mut [[Vector; BYTES]],
}

impl NullaryFnOnce for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (vector, out) in self.bytes.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for byte in 0..BYTES {
                let mut square = [cast([0_u32; LANES]); LANES];
                for (square, row) in square.iter_mut().zip(self.rows) {
                    *square = cast(row.bytes[vector][byte]);
                }
                transpose(self.simd, &mut square);
                for (out, square) in out.iter_mut().zip(square) {
                    out[byte] = cast(square);
                }
            }
        }
    }
}

/// A [`Int8Task`] with a row in each lane.
struct Int8RowPerLane<'a> {
    groups: &'a [QuantizedGroup],
    task: Int8Task<'a>,
}

impl NullaryFnOnce for Int8RowPerLane<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { groups, task } = self;
        let (n_rows, d_in) = (task.n_rows, task.d_in);
        let tile = WEIGHTS * d_in;
        let y = task.y.chunks_mut(WEIGHTS * n_rows);
        for (index, (y, scales)) in y.zip(task.scales.chunks(WEIGHTS)).enumerate() {
            let (codes, later) = task.codes[index * tile..].split_at(scales.len() * d_in);
            let next = Next::new(&later[..tile.min(later.len())], d_in.div_ceil(TERMS));
            for (group, first) in groups.iter().zip((0..).step_by(LANES)) {
                let sums = by_lanes(codes, d_in, group, next);
                let n = LANES.min(n_rows - first);
                for ((sums, scale), y) in
                    sums.into_iter().zip(scales).zip(y.chunks_exact_mut(n_rows))
                {
                    let mut lanes: [f32; LANES] = cast(combine_bytes(sums));
                    for (lane, step) in lanes.iter_mut().zip(&group.steps) {
                        *lane *= step * scale;
                    }
                    y[first..first + n].copy_from_slice(&lanes[..n]);
                }
            }
        }
    }
}

/// The sums, a row in each lane, of up to [`WEIGHTS`] rows of codes. Sums of rows of codes that are
/// not there say nothing.
#[inline(always)]
#[allow(unsafe_code)]
fn by_lanes(
    codes: &[u8],
    d_in: usize,
    group: &QuantizedGroup,
    next: Next<'_>,
) -> [[__m512i; BYTES]; WEIGHTS] {
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
    let mut sums = [[zeros(); BYTES]; WEIGHTS];
    for sums in &mut sums {
        for (sum, offsets) in sums.iter_mut().zip(&group.offsets) {
            *sum = cast(*offsets);
        }
    }
    let (bytes, last) = group.bytes.split_at(n_words);
    for (at, bytes) in bytes.iter().enumerate() {
        next.fetch(at);
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: as in `split_into_bytes`.
            let codes = unsafe { _mm512_set1_epi32(i32::from_ne_bytes(row[at])) };
            for (sum, bytes) in sums.iter_mut().zip(bytes) {
                *sum = add(*sum, codes, bytes);
            }
        }
    }
    if !d_in.is_multiple_of(TERMS) {
        for (sums, left) in sums.iter_mut().zip(left) {
            // SAFETY: as in `split_into_bytes`.
            let codes = unsafe { _mm512_set1_epi32(i32::from_ne_bytes(left)) };
            for (sum, bytes) in sums.iter_mut().zip(&last[0]) {
                *sum = add(*sum, codes, bytes);
            }
        }
    }
    sums
}

#[inline(always)]
fn zeros() -> __m512i {
    cast([0_i32; LANES])
}

/// `sum` and the products of codes and bytes, four in each lane.
#[inline(always)]
#[allow(unsafe_code)]
fn add(sum: __m512i, codes: __m512i, bytes: &Vector) -> __m512i {
    // SAFETY: as in `split_into_bytes`.
    unsafe { _mm512_dpbusd_epi32(sum, codes, cast(*bytes)) }
}

/// What the sums of each byte come to, in steps.
#[inline(always)]
#[allow(unsafe_code)]
fn combine_bytes([high, middle, low]: [__m512i; BYTES]) -> __m512 {
    // SAFETY: as in `split_into_bytes`.
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
fn sum_of_lanes(lanes: __m512) -> f32 {
    // SAFETY: as in `split_into_bytes`.
    unsafe { _mm512_reduce_add_ps(lanes) }
}
