//! Attention of new tokens over a cache, in `f64` (kernels.md A.3).

/// Extents and rule.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub slots: usize,
    pub d: usize,
    pub scale: f64,
    pub window: Option<usize>,
}

/// The new tokens and the cache; layouts as the kernel's.
pub struct Tensors<'a> {
    pub q: &'a [f64],
    pub k: &'a [f64],
    pub v: &'a [f64],
    pub k_cache: &'a [f64],
    pub v_cache: &'a [f64],
    pub seen: Seen<'a>,
    pub sink: Option<&'a [f64]>,
}

/// What a token sees.
#[derive(Clone, Copy)]
pub enum Seen<'a> {
    /// So many slots of each sequence, and the new tokens up to itself, as far as the window goes.
    Lengths(&'a [f64]),
    /// What is not 0: slots, `[batch, slots, tokens, heads or 1]`, and new tokens, `[batch, key, token, heads or 1]`.
    Masks(&'a [f64], Option<&'a [f64]>),
}

/// A key: a slot of the cache, or a new token.
#[derive(Clone, Copy)]
enum Key {
    Slot(usize),
    New(usize),
}

impl Seen<'_> {
    /// Whether token `a` of sequence `b` sees a key with head `h`.
    fn sees(&self, s: &Shape, [b, a, h]: [usize; 3], key: Key) -> bool {
        // The heads of a mask are as many as its elements leave.
        let shown = |mask: &[f64], keys: usize, at: usize| {
            let heads = mask.len() / (s.batch * keys * s.tokens);
            mask[((b * keys + at) * s.tokens + a) * heads + h % heads] != 0.0
        };
        match (*self, key) {
            (Seen::Lengths(lengths), Key::Slot(j)) => {
                let length = lengths[b] as usize;
                j < length && s.window.is_none_or(|w| j + w > length + a)
            }
            (Seen::Masks(_, None) | Seen::Lengths(_), Key::New(c)) => {
                c <= a && s.window.is_none_or(|w| c + w > a)
            }
            (Seen::Masks(mask, _), Key::Slot(j)) => shown(mask, s.slots, j),
            (Seen::Masks(_, Some(mask)), Key::New(c)) => shown(mask, s.tokens, c),
        }
    }
}

/// `[batch, tokens, heads, d]`; zeros where a token sees nothing.
pub fn attention_decode(t: &Tensors, s: &Shape) -> Vec<f64> {
    let mut out = Vec::with_capacity(t.q.len());
    for at in 0..s.batch * s.tokens * s.heads {
        let (b, a, h) = (at / s.heads / s.tokens, at / s.heads % s.tokens, at % s.heads);
        let query = &t.q[at * s.d..][..s.d];
        let kv_head = h / (s.heads / s.kv_heads);
        // The elements of a key and those of its value.
        let pair = |key: Key| -> (Vec<f64>, &[f64]) {
            match key {
                Key::New(c) => {
                    let from = ((b * s.tokens + c) * s.kv_heads + kv_head) * s.d;
                    (t.k[from..from + s.d].to_vec(), &t.v[from..from + s.d])
                }
                Key::Slot(j) => {
                    let rows = (b * s.kv_heads + kv_head) * s.d * s.slots;
                    let key = (0..s.d).map(|i| t.k_cache[rows + i * s.slots + j]).collect();
                    (key, &t.v_cache[rows + j * s.d..rows + (j + 1) * s.d])
                }
            }
        };
        let all = (0..s.slots).map(Key::Slot).chain((0..s.tokens).map(Key::New));
        let keys: Vec<(f64, &[f64])> = all
            .filter(|key| t.seen.sees(s, [b, a, h], *key))
            .map(|key| {
                let (key, value) = pair(key);
                (s.scale * query.iter().zip(&key).map(|(a, b)| a * b).sum::<f64>(), value)
            })
            .collect();
        let sink = t.sink.map(|x| x[h]);
        let max = keys.iter().map(|k| k.0).chain(sink).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = keys.iter().map(|k| k.0).chain(sink).map(|l| (l - max).exp()).sum();
        let mean = |i: usize| keys.iter().map(|(l, v)| (l - max).exp() * v[i] / total).sum::<f64>();
        out.extend((0..s.d).map(mean));
    }
    out
}

/// Which block of a cache holds which slots: `[batch, n]` numbers of blocks of `length` slots, a negative one being no block.
pub struct Blocks<'a> {
    pub table: &'a [f64],
    pub length: usize,
    pub n: usize,
}

impl Blocks<'_> {
    /// A cache `[blocks · length, kv_heads, d]` as `[batch, kv_heads, slots, d]`, or with `columns` `[batch, kv_heads, d, slots]`.
    pub fn laid_out(&self, cache: &[f64], s: &Shape, columns: bool) -> Vec<f64> {
        let slots = self.n * self.length;
        let mut out = vec![0.0; s.batch * s.kv_heads * slots * s.d];
        for (i, x) in out.iter_mut().enumerate() {
            let (slot, e) = match columns {
                true => (i % slots, i / slots % s.d),
                false => (i / s.d % slots, i % s.d),
            };
            let (h, b) = (i / s.d / slots % s.kv_heads, i / s.d / slots / s.kv_heads);
            let block = self.table[b * self.n + slot / self.length];
            if block >= 0.0 {
                let row = block as usize * self.length + slot % self.length;
                *x = cache[(row * s.kv_heads + h) * s.d + e];
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let shape =
            Shape { batch: 1, tokens: 2, heads: 1, kv_heads: 1, slots: 2, d: 1, scale: 1.0, window: None };
        // One key in the cache; its slot 1 is not part of the sequence. All logits are 0.
        let t = Tensors {
            q: &[0.0, 0.0],
            k: &[1.0, 2.0],
            v: &[5.0, 9.0],
            k_cache: &[3.0, 99.0],
            v_cache: &[1.0, 99.0],
            seen: Seen::Lengths(&[1.0]),
            sink: None,
        };
        assert_eq!(attention_decode(&t, &shape), [3.0, 5.0]);
        assert_eq!(attention_decode(&t, &Shape { window: Some(1), ..shape }), [5.0, 9.0]);
        assert_eq!(attention_decode(&t, &Shape { window: Some(2), ..shape }), [3.0, 7.0]);
        let with_sink = Tensors { sink: Some(&[0.0]), ..t };
        assert_eq!(attention_decode(&with_sink, &shape), [2.0, 3.75]);
        // Token 0 sees slot 0 and token 1; token 1 sees nothing.
        let masks = Seen::Masks(&[1.0, 0.0, 0.0, 0.0], Some(&[0.0, 0.0, 1.0, 0.0]));
        let masked = Tensors { seen: masks, sink: None, ..with_sink };
        assert_eq!(attention_decode(&masked, &shape), [5.0, 0.0]);
    }

    #[test]
    fn slots_come_from_their_blocks() {
        let s =
            Shape { batch: 1, tokens: 1, heads: 2, kv_heads: 2, slots: 4, d: 1, scale: 1.0, window: None };
        let blocks = Blocks { table: &[1.0, -1.0], length: 2, n: 2 };
        // Two blocks of two slots of two heads.
        let cache = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(blocks.laid_out(&cache, &s, false), [5.0, 7.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0]);
        let wide = Shape { kv_heads: 1, d: 2, ..s };
        assert_eq!(blocks.laid_out(&cache, &wide, false), [5.0, 6.0, 7.0, 8.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(blocks.laid_out(&cache, &wide, true), [5.0, 7.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0]);
    }
}
