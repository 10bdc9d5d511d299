//! Tokens sorted into blocks, on the host.

/// Blocks of tokens, each for one expert: what `moe` takes as `ids` and `experts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Tokens, `block` of them for each expert in `experts`; -1 is padding, which is behind the last token of a block.
    pub ids: Vec<i32>,
    pub experts: Vec<i32>,
}

/// Sorts tokens into blocks: `chosen` holds the `k` experts of each token, of which there are `experts`; every expert's tokens fill
/// blocks of `block`, in order.
///
/// ```
/// let blocks = nki_kernels::moe::blocks(&[1, 0, 1, 1], 1, 3, 2);
/// assert_eq!(blocks.experts, [0, 1, 1]);
/// assert_eq!(blocks.ids, [1, -1, 0, 2, 3, -1]);
/// ```
///
/// # Panics
/// If `k` or `block` is 0, or an expert is not one of `experts`.
pub fn blocks(chosen: &[u32], k: usize, experts: usize, block: usize) -> Blocks {
    assert!(k > 0 && block > 0, "{k} experts of a token, {block} tokens of a block");
    assert!(chosen.iter().all(|&e| (e as usize) < experts), "an expert of {experts}");
    let mut all = Blocks { ids: Vec::new(), experts: Vec::new() };
    for e in 0..experts {
        let has = |t: &usize| chosen[t * k..(t + 1) * k].contains(&(e as u32));
        let tokens: Vec<i32> = (0..chosen.len() / k).filter(has).map(|t| t as i32).collect();
        for part in tokens.chunks(block) {
            all.ids.extend(part);
            all.ids.resize(all.ids.len() + block - part.len(), -1);
            all.experts.push(e as i32);
        }
    }
    all
}
