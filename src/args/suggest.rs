//! "Did you mean": the closest of the known names.

/// The candidate closest to `name`, if any is close enough to be a slip of the finger.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count().max(3) / 3;
    let close = candidates.into_iter().map(|c| (distance(name, c), c)).filter(|(d, _)| *d <= limit);
    close.min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// `; did you mean ..?` or nothing, to end a message with.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, candidates).map_or(String::new(), |c| format!("; did you mean `{c}`?"))
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substitute = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = substitute.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["matmul", "mlp", "softmax", "rmsnorm"];
        assert_eq!(closest("matmlu", names), Some("matmul"));
        assert_eq!(closest("sofmax", names), Some("softmax"));
        assert_eq!(closest("mpl", names), Some("mlp"));
        assert_eq!(closest("attention", names), None);
        assert_eq!(did_you_mean("rmsnrom", names), "; did you mean `rmsnorm`?");
    }
}
