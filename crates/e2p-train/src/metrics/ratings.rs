//! Ratings of one to five stars, written as text.

/// The rating that a generated answer to LaMP-3 counts as: its number, or, where it is none, the
/// farther of 1 and 5 from `truth`.
///
/// LaMP's own script (`create_metric_mae_rmse`) does the same with Python's `float`; infinities and
/// NaN, which Python would accept, count as no number here.
pub fn lamp_rating(answer: &str, truth: f64) -> f64 {
    match answer.trim().parse::<f64>() {
        Ok(rating) if rating.is_finite() => rating,
        _ if (1.0 - truth).abs() > (5.0 - truth).abs() => 1.0,
        _ => 5.0,
    }
}
