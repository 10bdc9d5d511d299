//! The selective scan in `f64` (kernels.md 4.4).

/// Extents.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batch: usize,
    pub channels: usize,
    pub states: usize,
    pub length: usize,
}

/// What is scanned; see the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    pub x: &'a [f64],
    pub dt: &'a [f64],
    pub a: &'a [f64],
    pub in_: &'a [f64],
    pub out: &'a [f64],
    pub skip: Option<&'a [f64]>,
    pub initial: Option<&'a [f64]>,
}

/// `y` and the last states.
pub fn selective_scan(o: &Operands, s: Shape) -> [Vec<f64>; 2] {
    let (mut y, mut last) = (Vec::new(), Vec::new());
    for b in 0..s.batch {
        for c in 0..s.channels {
            let lane = b * s.channels + c;
            let from = |all: &[f64]| all[lane * s.states..][..s.states].to_vec();
            let mut state = o.initial.map_or(vec![0.0; s.states], from);
            for t in 0..s.length {
                let (x, dt) = (o.x[lane * s.length + t], o.dt[lane * s.length + t]);
                let mut sum = o.skip.map_or(0.0, |skip| skip[c] * x);
                for (n, s_n) in state.iter_mut().enumerate() {
                    let at = (b * s.states + n) * s.length + t;
                    *s_n = (dt * o.a[c * s.states + n]).exp() * *s_n + dt * x * o.in_[at];
                    sum += o.out[at] * *s_n;
                }
                y.push(sum);
            }
            last.extend(state);
        }
    }
    [y, last]
}

#[test]
fn all_ones_have_a_closed_form() {
    let (s, ones) = (Shape { batch: 1, channels: 1, states: 16, length: 20 }, [1.0; 16 * 20]);
    let o = Operands {
        x: &ones[..20],
        dt: &ones[..20],
        a: &[-1.0; 16],
        in_: &ones,
        out: &ones,
        skip: None,
        initial: None,
    };
    for (t, y) in selective_scan(&o, s)[0].iter().enumerate() {
        let want = 16.0 * (1.0 - (-(t as f64 + 1.0)).exp()) / (1.0 - (-1f64).exp());
        assert!((y - want).abs() < 1e-12, "{t}: {y} {want}");
    }
}
