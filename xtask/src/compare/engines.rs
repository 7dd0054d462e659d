//! Who computes the cases.

/// The engine that checksums and ratios refer to.
pub(super) const REFERENCE: &str = "pytorch-f32";

/// Someone's code that runs cases.
pub(super) struct Engine {
    pub(super) name: &'static str,
    pub(super) program: Program,
    /// How the weights are stored, the engine's first argument.
    pub(super) width: &'static str,
    /// Of the checksum, relative to the reference's.
    pub(super) tolerance: f64,
}

/// What is started for an engine.
#[derive(Clone, Copy)]
pub(super) enum Program {
    PyTorch,
    Own,
    Candle,
    LlamaCpp,
}

const ON_THE_CPU: [Engine; 10] = [
    engine(REFERENCE, Program::PyTorch, "f32", 0.0),
    engine("pytorch-bf16", Program::PyTorch, "bf16", 0.05),
    engine("candle-f32", Program::Candle, "f32", 1e-3),
    engine("llama.cpp-f32", Program::LlamaCpp, "f32", 1e-3),
    engine("llama.cpp-bf16", Program::LlamaCpp, "bf16", 1e-3),
    engine("llama.cpp-q8_0", Program::LlamaCpp, "q8_0", 0.01),
    engine("e2p-f32", Program::Own, "f32", 1e-3),
    engine("e2p-bf16-weights", Program::Own, "bf16", 1e-3),
    engine("e2p-bf16", Program::Own, "bf16-products", 5e-3),
    // Rounded weights give another model; the norm of its logits says that it is near the same one.
    engine("e2p-int8-weights", Program::Own, "int8", 0.01),
];

/// On another device, where 16 bits are what is computed in.
const ELSEWHERE: [Engine; 4] = [
    engine(REFERENCE, Program::PyTorch, "f32", 0.0),
    engine("pytorch-bf16", Program::PyTorch, "bf16", 0.05),
    engine("e2p-f32", Program::Own, "f32", 1e-3),
    engine("e2p-bf16", Program::Own, "bf16", 0.05),
];

/// The engines of a device, of which none is the CPU.
pub(super) fn engines(device: Option<&str>) -> &'static [Engine] {
    match device {
        None => &ON_THE_CPU,
        Some(_) => &ELSEWHERE,
    }
}

const fn engine(
    name: &'static str,
    program: Program,
    width: &'static str,
    tolerance: f64,
) -> Engine {
    Engine {
        name,
        program,
        width,
        tolerance,
    }
}

impl Program {
    /// Whether it has what a case of this kind needs: candle's Llama and llama.cpp give no
    /// gradients, llama.cpp has no projector.
    pub(super) fn has(self, kind: &str) -> bool {
        match self {
            Self::PyTorch | Self::Own => true,
            Self::Candle => kind != "train",
            Self::LlamaCpp => kind != "train" && kind != "project",
        }
    }

    /// The command line, without width, model and case.
    pub(super) fn command(self, python: &str) -> Vec<&str> {
        match self {
            Self::PyTorch => vec![python, "benches/compare/torch_engine.py", "run"],
            Self::LlamaCpp => vec![python, "benches/compare/llama_engine.py", "run"],
            Self::Candle => vec!["target/bench/candle/release/candle-engine"],
            Self::Own => vec!["target/release/e2p_engine"],
        }
    }
}

/// Each of our storages, the bytes of a weight in it, and llama.cpp at that width.
pub(super) const STORAGES: [(&str, f64, &str); 4] = [
    ("e2p-f32", 4.0, "llama.cpp-f32"),
    ("e2p-bf16-weights", 2.0, "llama.cpp-bf16"),
    ("e2p-bf16", 2.0, "llama.cpp-bf16"),
    ("e2p-int8-weights", 1.0, "llama.cpp-q8_0"),
];
