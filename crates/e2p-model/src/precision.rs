//! How exactly products with frozen matrices are computed.

/// How exactly products with frozen matrices are computed, in PyTorch's words
/// (`torch.set_float32_matmul_precision`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatmulPrecision {
    /// In `f32`, or in the data type of the weights on devices that compute in it.
    #[default]
    Highest,
    /// Where a CPU multiplies bf16 (AVX-512 BF16), both factors of products with the weights are
    /// rounded to bf16 and the sums are `f32`. Everything else stays as it is: forward products of
    /// up to eight rows, which wait for memory, those of up to 96 rows with 8-bit weights where the
    /// CPU has AVX-512 VNNI, norms, attention, and every product on other devices and CPUs.
    Medium,
}

impl MatmulPrecision {
    /// Its name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Highest => "highest",
            Self::Medium => "medium",
        }
    }
}
