//! Names of buffers, registers and loop variables in the text: the author's where they are free, numbered otherwise.

use super::lexer::is_name_char;
use super::walk::{Step, Walk};
use crate::entity::{Buf, Entity, Reg, Var};
use crate::kernel::{BufKind, Kernel, LoopData, Node};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Write};

/// The text's names of a kernel's entities. Buffers and registers are unique in the kernel; a loop variable is unique among
/// those and the variables of the loops around it, so that one loop after another may use `%i`. Names that are already so are
/// kept, hence naming a printed kernel again gives the same names.
#[derive(Debug)]
pub struct Names {
    bufs: Vec<Option<String>>,
    regs: Vec<Option<String>>,
    vars: Vec<Option<String>>,
    /// Position of each variable's loop in program order.
    order: Vec<u32>,
}

#[derive(Default)]
struct Unique {
    taken: HashSet<String>,
    next: HashMap<String, u32>,
}

impl Unique {
    fn claim(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        while !self.taken.insert(name.clone()) {
            let n = self.next.entry(wanted.to_string()).or_insert(0);
            *n += 1;
            name = format!("{wanted}_{n}");
        }
        name
    }
}

impl Names {
    /// Names everything that the kernel's nodes and signature reach.
    pub fn new(k: &Kernel) -> Self {
        let mut names = Names {
            bufs: vec![None; k.bufs.len()],
            regs: Vec::new(),
            vars: vec![None; k.vars.len()],
            order: vec![u32::MAX; k.vars.len()],
        };
        let mut unique = Unique::default();
        for (b, data) in k.bufs.iter().filter(|(_, data)| data.kind != BufKind::Private) {
            names.bufs[b.index()] = Some(unique.claim(&data.name));
        }
        names.regs = k.regs.values().map(|r| Some(unique.claim(&r.name))).collect();
        for step in Walk::new(k) {
            if let Step::Node(Node::Alloc(b)) = step
                && let (Some(slot @ None), Some(data)) = (names.bufs.get_mut(b.index()), k.bufs.get(b))
            {
                *slot = Some(unique.claim(&data.name));
            }
        }
        names.name_vars(k, &unique.taken);
        names
    }

    fn name_vars(&mut self, k: &Kernel, globals: &HashSet<String>) {
        let mut open: Vec<Option<Var>> = Vec::new();
        let mut next = 0;
        for step in Walk::new(k) {
            match step {
                Step::Node(Node::Loop(l)) => {
                    let var = match k.loops.get(l) {
                        Some(LoopData::For { var, .. }) => *var,
                        _ => {
                            open.push(None);
                            continue;
                        }
                    };
                    let Some(data) = k.vars.get(var) else {
                        open.push(None);
                        continue;
                    };
                    let used = |name: &str| {
                        globals.contains(name)
                            || open.iter().flatten().any(|v| self.vars[v.index()].as_deref() == Some(name))
                    };
                    let numbered = (1..).map(|n| format!("{}_{n}", data.name));
                    let free = std::iter::once(data.name.clone()).chain(numbered).find(|name| !used(name));
                    self.vars[var.index()] = free;
                    self.order[var.index()] = next;
                    next += 1;
                    open.push(Some(var));
                }
                Step::End(_) => {
                    open.pop();
                }
                _ => {}
            }
        }
    }

    /// Name of a buffer.
    pub fn buf(&self, b: Buf) -> Value<'_> {
        value(&self.bufs, b)
    }
    /// Name of a register.
    pub fn reg(&self, r: Reg) -> Value<'_> {
        value(&self.regs, r)
    }
    /// Name of a loop variable.
    pub fn var(&self, v: Var) -> Value<'_> {
        value(&self.vars, v)
    }
    /// Position of `v` among the loop variables, in program order.
    pub fn var_order(&self, v: Var) -> u32 {
        self.order.get(v.index()).copied().unwrap_or(u32::MAX)
    }
}

fn value<K: Entity + Display>(names: &[Option<String>], k: K) -> Value<'_> {
    match names.get(k.index()) {
        Some(Some(name)) => Value::Named(name),
        _ => Value::Unknown(format!("{k}")),
    }
}

/// `%name` of an entity. One that the kernel does not define prints as `%?b7`, which does not parse.
pub enum Value<'n> {
    Named(&'n str),
    Unknown(String),
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Named(name) => write!(f, "%{}", Bare(name)),
            Value::Unknown(name) => write!(f, "%?{name}"),
        }
    }
}

/// A name after a sigil: bare if it can be, else quoted.
pub struct Bare<'a>(pub &'a str);

impl Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_name_char) {
            return f.write_str(self.0);
        }
        Display::fmt(&Quoted(self.0), f)
    }
}

/// A string in quotes, with escapes.
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                ' '..='~' => f.write_char(c)?,
                c if c.is_alphanumeric() => f.write_char(c)?,
                c => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        f.write_char('"')
    }
}
