//! Names and labels of what a kernel body creates. A name is unique in the kernel and is what diagnostics print; a label is
//! what the author wrote (`let acc`, `for ki`) in one kernel function and may stand for many things, because tails are
//! peeled and kernels are called more than once.

use crate::schedule::{Label, Labelled};
use std::collections::BTreeMap;

/// Hands out unique names: `acc`, `acc.1`, `acc.2`.
#[derive(Default)]
pub(crate) struct Names {
    used: BTreeMap<String, u32>,
}

impl Names {
    /// `wanted`, or `wanted.N` with the first free `N`.
    pub fn unique(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        loop {
            let n = self.used.get(wanted).copied().unwrap_or(0);
            if n > 0 {
                name = format!("{wanted}.{n}");
            }
            self.used.insert(wanted.to_string(), n + 1);
            if n == 0 || !self.used.contains_key(&name) {
                if n > 0 {
                    self.used.insert(name.clone(), 1);
                }
                return name;
            }
        }
    }
    /// Gives a name back, so that a temporary's default name leaves no gap.
    pub fn release(&mut self, name: &str) {
        if let Some((stem, n)) = name.rsplit_once('.')
            && let (Ok(n), Some(next)) = (n.parse::<u32>(), self.used.get(stem).copied())
        {
            self.used.remove(name);
            if next == n + 1 {
                self.used.insert(stem.to_string(), n);
            }
        } else if self.used.get(name) == Some(&1) {
            self.used.remove(name);
        }
    }
}

/// What each label stands for, in order of creation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    rows: BTreeMap<(&'static str, &'static str), Vec<super::Entity>>,
}

impl Labels {
    /// Adds `entity` to the label `name` of kernel `kernel`.
    pub fn add(&mut self, kernel: &'static str, name: &'static str, entity: super::Entity) {
        let row = self.rows.entry((kernel, name)).or_default();
        if row.last() != Some(&entity) {
            row.push(entity);
        }
    }
    /// All labels with the buffers and loops that they stand for.
    pub fn all(&self) -> Vec<Labelled> {
        let row = |(&(path, name), entities): (&(_, _), &Vec<super::Entity>)| {
            let mut row = Labelled { label: Label { path, name }, bufs: Vec::new(), loops: Vec::new() };
            for e in entities {
                match e {
                    super::Entity::Buf(b) => row.bufs.push(*b),
                    super::Entity::Loop(l) => row.loops.push(*l),
                    super::Entity::Reg(_) | super::Entity::Straight => {}
                }
            }
            row
        };
        self.rows.iter().map(row).collect()
    }
    /// Everything a label stands for; `None` if nothing was ever given it.
    pub fn get(&self, kernel: &'static str, name: &'static str) -> Option<&[super::Entity]> {
        self.rows.get(&(kernel, name)).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_come_back() {
        let mut names = Names::default();
        assert_eq!(names.unique("acc"), "acc");
        assert_eq!(names.unique("acc"), "acc.1");
        assert_eq!(names.unique("acc.2"), "acc.2");
        assert_eq!(names.unique("acc"), "acc.3");
        names.release("acc.3");
        assert_eq!(names.unique("acc"), "acc.3");
        assert_eq!(names.unique("load"), "load");
        names.release("load");
        assert_eq!(names.unique("load"), "load");
    }
}
