//! What a search chooses from.

/// A setting and the values it may take, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    pub name: String,
    pub values: Vec<String>,
}

/// Every combination of the values of some settings. Points are numbered, the last axis counting fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    axes: Vec<Axis>,
    size: u64,
}

impl Space {
    /// The space of `axes`. `None` without a point (an axis without values) and beyond 2^63 points.
    pub fn new(axes: Vec<Axis>) -> Option<Space> {
        let size = axes.iter().try_fold(1u64, |n, a| n.checked_mul(a.values.len() as u64))?;
        (size > 0 && size < 1 << 63).then_some(Space { axes, size })
    }

    /// The axes, in order.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// How many points there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The values of a point by name, in the order of the axes.
    pub fn values(&self, point: u64) -> Vec<(String, String)> {
        let value = |(a, i): (&Axis, usize)| (a.name.clone(), a.values[i].clone());
        self.axes.iter().zip(self.digits(point)).map(value).collect()
    }

    /// The point with these values, of which there must be one for every axis.
    pub fn point(&self, values: &[(String, String)]) -> Option<u64> {
        if values.len() != self.axes.len() {
            return None;
        }
        self.axes.iter().try_fold(0u64, |point, axis| {
            let (_, text) = values.iter().find(|(name, _)| *name == axis.name)?;
            let i = axis.values.iter().position(|v| v == text)?;
            Some(point * axis.values.len() as u64 + i as u64)
        })
    }

    /// The points that differ from `point` in one axis, in order.
    pub(super) fn neighbours(&self, point: u64) -> Vec<u64> {
        let digits = self.digits(point);
        let mut all = Vec::new();
        let mut stride = self.size;
        for (axis, &digit) in self.axes.iter().zip(&digits) {
            let n = axis.values.len() as u64;
            stride /= n;
            let base = point - digit as u64 * stride;
            all.extend((0..n).filter(|&i| i != digit as u64).map(|i| base + i * stride));
        }
        all
    }

    /// For each axis the number of its value.
    fn digits(&self, mut point: u64) -> Vec<usize> {
        let mut digits: Vec<usize> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            let n = axis.values.len() as u64;
            digits.push((point % n) as usize);
            point /= n;
        }
        digits.reverse();
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(sizes: &[usize]) -> Option<Space> {
        let axis = |(i, &n): (usize, &usize)| Axis {
            name: format!("a{i}"),
            values: (0..n).map(|v| v.to_string()).collect(),
        };
        Space::new(sizes.iter().enumerate().map(axis).collect())
    }

    #[test]
    fn points_and_values_are_the_same_thing() {
        let space = space(&[2, 1, 3]).unwrap();
        assert_eq!(space.size(), 6);
        for point in 0..6 {
            assert_eq!(space.point(&space.values(point)), Some(point));
        }
        let other = vec![("a0".into(), "2".into()), ("a1".into(), "0".into()), ("a2".into(), "0".into())];
        assert_eq!(space.point(&other), None);
        assert_eq!(space.point(&other[..2]), None);
    }

    #[test]
    fn neighbours_differ_in_one_value() {
        let space = space(&[2, 1, 3]).unwrap();
        for point in 0..6 {
            let mine = space.values(point);
            let near = space.neighbours(point);
            assert_eq!(near.len(), 3);
            for n in near {
                let differing = mine.iter().zip(space.values(n)).filter(|(a, b)| *a != b).count();
                assert_eq!(differing, 1, "{point} {n}");
            }
        }
    }

    #[test]
    fn spaces_without_points_and_beyond_counting_are_none() {
        assert_eq!(space(&[2, 0]), None);
        assert_eq!(space(&[1 << 20; 4]), None);
        assert_eq!(space(&[]).map(|s| s.size()), Some(1));
    }
}
