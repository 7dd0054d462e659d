//! Rows of embeddings of unequal length become one batch.

use burn::tensor::Tensor;

use crate::decoder::Padding;
use crate::error::{ModelError, Result};

/// Fills rows up with zeros on one side and stacks them.
///
/// # Shapes
/// - every row: `[seq_len, d_model]`
/// - output: `[batch_size, longest, d_model]`, and the slot at which each row begins (all 0 for
///   [`Padding::Right`])
///
/// # Errors
/// [`ModelError::EmptyPrompt`] when there is no row or one of no length.
pub fn pad_rows(rows: &[Tensor<2>], padding: Padding) -> Result<(Tensor<3>, Vec<usize>)> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.dims()[0]).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    if rows.is_empty() || lengths.contains(&0) {
        return Err(ModelError::EmptyPrompt);
    }
    let padded = rows.iter().zip(&lengths).map(|(row, length)| {
        if *length == longest {
            return row.clone();
        }
        let shape = [longest - length, row.dims()[1]];
        let zeros = Tensor::zeros(shape, (&row.device(), row.dtype()));
        match padding {
            Padding::Left => Tensor::cat(vec![zeros, row.clone()], 0),
            Padding::Right => Tensor::cat(vec![row.clone(), zeros], 0),
        }
    });
    let row_starts = lengths.iter().map(|length| match padding {
        Padding::Left => longest - length,
        Padding::Right => 0,
    });
    Ok((Tensor::stack(padded.collect(), 0), row_starts.collect()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn row(values: &[f32]) -> Tensor<2> {
        Tensor::<1>::from_floats(values, &Device::default()).reshape([values.len() / 2, 2])
    }

    fn values(tensor: Tensor<3>) -> Vec<f32> {
        tensor.into_data().try_to_vec().expect("f32")
    }

    #[test]
    fn rows_end_or_begin_together() {
        let rows = [row(&[1.0, 2.0]), row(&[3.0, 4.0, 5.0, 6.0])];
        let (left, starts) = pad_rows(&rows, Padding::Left).expect("rows");
        assert_eq!(values(left), [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(starts, [1, 0]);
        let (right, starts) = pad_rows(&rows, Padding::Right).expect("rows");
        assert_eq!(values(right), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(starts, [0, 0]);
    }

    #[test]
    fn no_rows_are_an_error() {
        assert!(matches!(
            pad_rows(&[], Padding::Left),
            Err(ModelError::EmptyPrompt)
        ));
    }
}
