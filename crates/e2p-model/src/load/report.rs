//! Everything that does not fit, in one list.

use std::fmt;

/// What loading found, beside the weights themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors that the model needs and the files lack.
    pub missing: Vec<String>,
    /// Tensors of another shape than the configuration asks for.
    pub wrong_shape: Vec<WrongShape>,
    /// Tensors that hold a NaN or an infinity, or that overflow the chosen data type.
    pub non_finite: Vec<String>,
    /// Tensors whose data type on disk is none of f32, f16, bf16.
    pub wrong_dtype: Vec<String>,
    /// Tensors in the files that the model does not use.
    pub unused: Vec<String>,
    /// Data types on disk, each once.
    pub dtypes_on_disk: Vec<String>,
    /// Bytes of weight files.
    pub bytes_on_disk: u64,
}

/// A tensor of another shape than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongShape {
    /// Its name in the files.
    pub name: String,
    /// Its shape there.
    pub found: Vec<usize>,
    /// The shape that follows from the configuration.
    pub expected: Vec<usize>,
}

impl LoadReport {
    /// Whether the model can be used: everything it needs was there, of the right shape and finite.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.wrong_shape.is_empty()
            && self.non_finite.is_empty()
            && self.wrong_dtype.is_empty()
    }
}

/// Names listed before the rest is only counted.
const LISTED: usize = 8;

fn list(f: &mut fmt::Formatter<'_>, first: &mut bool, what: &str, items: &[String]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    let shown = items
        .iter()
        .take(LISTED)
        .map(|item| format!("`{item}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let rest = items.len().saturating_sub(LISTED);
    let separator = if std::mem::take(first) { "" } else { "; " };
    write!(f, "{separator}{} {what}: {shown}", items.len())?;
    if rest > 0 {
        write!(f, " and {rest} more")
    } else {
        Ok(())
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong_shape: Vec<String> = self
            .wrong_shape
            .iter()
            .map(|wrong| {
                format!(
                    "{}` has shape {:?}, expected `{:?}",
                    wrong.name, wrong.found, wrong.expected
                )
            })
            .collect();
        let mut first = true;
        list(f, &mut first, "missing", &self.missing)?;
        list(f, &mut first, "of the wrong shape", &wrong_shape)?;
        list(f, &mut first, "not finite", &self.non_finite)?;
        list(
            f,
            &mut first,
            "of an unsupported data type",
            &self.wrong_dtype,
        )?;
        list(f, &mut first, "unused", &self.unused)?;
        if first { write!(f, "complete") } else { Ok(()) }
    }
}
