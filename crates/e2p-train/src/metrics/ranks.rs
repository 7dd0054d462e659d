//! One right item among many: figures of its rank, counted from 1.

/// 1 if the right item is among the first `k`, else 0: HR@k, which is recall@k with one right item.
pub fn hit_rate(rank: usize, k: usize) -> f64 {
    f64::from(u8::from(rank <= k))
}

/// NDCG@k with one right item: `1 / log2(rank + 1)` within the first `k`, else 0 (scikit-learn's
/// `ndcg_score` without ties).
pub fn ndcg(rank: usize, k: usize) -> f64 {
    if rank <= k {
        1.0 / (rank as f64 + 1.0).log2()
    } else {
        0.0
    }
}

/// `1 / rank`; its mean is MRR.
pub fn reciprocal_rank(rank: usize) -> f64 {
    1.0 / rank as f64
}
