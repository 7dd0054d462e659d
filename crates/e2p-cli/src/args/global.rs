//! The options that every verb takes.

use clap::{Args, ValueEnum};

/// Options of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Where to compute: auto, flex, cpu, wgpu, vulkan, metal or cuda; `:N` picks device number N,
    /// from 0
    #[arg(
        long,
        global = true,
        env = "BURN_DEVICE",
        hide_env_values = true,
        default_value = "auto",
        value_name = "DEVICE"
    )]
    pub(crate) device: String,
    /// Data type of the weights, and of the computation except on the CPU, which computes in f32;
    /// int8 is for the CPU only
    #[arg(long, global = true, value_enum, default_value_t = Dtype::F32, value_name = "DTYPE")]
    pub(crate) dtype: Dtype,
    /// How precisely the CPU multiplies with the weights: medium rounds both factors to bf16 in
    /// products of several rows, on CPUs with AVX-512 BF16
    #[arg(long, global = true, value_enum, default_value_t = Precision::Highest, value_name = "PRECISION")]
    pub(crate) matmul_precision: Precision,
    /// CPU threads; by default all cores
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Seed of everything random; if not given, that of the recipe, and 0 without one
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Make the last line of stdout one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Only errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl GlobalArgs {
    /// The seed of what no recipe seeds.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }
}

/// `--dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    F32,
    F16,
    Bf16,
    Int8,
}

/// `--matmul-precision`, in PyTorch's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    Highest,
    Medium,
}
