//! How much of `mlp`'s operands is on chip at a time.

/// SBUF bytes per partition that the kernel plans with: what the smallest target has, less room for the compiler's second
/// buffers of small tiles.
const BUDGET: usize = 160 << 10;

/// Block sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Tokens at a time: they are the moving operand of the first projections.
    pub tokens: usize,
    /// Columns of `w_up` and `w_gate` at a time, a multiple of 128.
    pub inner: usize,
    /// Columns of `w_down` at a time.
    pub hidden: usize,
}

impl Plan {
    /// Whether a few tokens fit as a whole, with what `Mode::Decode` keeps of them: as they arrive, transposed, and their inner
    /// activations, beside two pairs of rows of the weights.
    pub fn fits_decode(tokens: usize, hidden: usize, inner: usize, element: usize) -> bool {
        let resident = (hidden.div_ceil(128) + inner.div_ceil(128)) * tokens * element + 2 * hidden * element;
        resident + 4 * 2048 * element <= BUDGET
    }

    /// The largest blocks that fit. Tokens shrink last: every block of tokens reads all weights again. `None` if not even
    /// the smallest fit.
    pub fn new(tokens: usize, hidden: usize, inner: usize, element: usize) -> Option<Plan> {
        let (hidden_tiles, inner_tiles) = (hidden.div_ceil(128), inner.div_ceil(128));
        for t in [512, 256, 128, 64, 32, 16, 8, 4, 2, 1] {
            if t > 1 && t >= 2 * tokens {
                continue;
            }
            for columns in [512, 256, 128] {
                // Resident: x and the inner activations, transposed; 128 rows of x as they arrive.
                let resident = (hidden_tiles + inner_tiles) * t * element + hidden * element;
                // Double-buffered: a strip of the gate and of the up weight, or of the down weight.
                let strips = 2 * element * columns * (2 * hidden_tiles).max(inner_tiles);
                // Two pairs of f32 results on their way out.
                let results = 4 * 4 * t.max(columns);
                if resident + strips + results <= BUDGET {
                    return Some(Plan { tokens: t, inner: columns, hidden: columns });
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_layers_get_smaller_blocks_and_huge_ones_none() {
        let all = Plan { tokens: 512, inner: 512, hidden: 512 };
        assert_eq!(Plan::new(512, 1024, 2816, 2), Some(all));
        let wide = Plan::new(512, 4096, 14336, 2).unwrap();
        assert!(wide.tokens < 512 && wide.inner >= 128, "{wide:?}");
        assert_eq!(Plan::new(1, 1, 1, 4).map(|p| p.tokens), Some(1));
        assert_eq!(Plan::new(512, 1 << 20, 1 << 20, 4), None);
        assert!(Plan::fits_decode(96, 4096, 14336, 2) && !Plan::fits_decode(1, 1 << 20, 1 << 20, 4));
    }
}
