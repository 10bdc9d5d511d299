//! Lints of a kernel body. A device loop's body is recorded once for all turns, so Rust control flow that leaves it, and Rust
//! variables that change from turn to turn, would silently mean something else. What the syntax alone can show is an error
//! here; the trace and the verifier catch the rest.

use crate::naming::bound;
use proc_macro2::Ident;
use quote::ToTokens;
use std::collections::HashSet;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ExprForLoop, ItemFn, Lifetime};

/// What the lints find.
pub struct Findings {
    /// In source order.
    pub errors: Vec<syn::Error>,
    /// Where, in a device loop, `x += ..` changes an outer `x`: right for a tile, wrong for a Rust number. Types decide, which
    /// only rustc knows.
    pub changed_in_place: HashSet<Position>,
}

/// Line and column.
pub type Position = (usize, usize);

/// Where an expression starts.
pub fn position(e: &Expr) -> Position {
    let start = e.span().start();
    (start.line, start.column)
}

pub fn check(function: &ItemFn) -> Findings {
    let core = function.sig.inputs.first().and_then(|i| match i {
        syn::FnArg::Typed(p) => bound(&p.pat).first().cloned(),
        syn::FnArg::Receiver(_) => None,
    });
    let mut lint = Lint { core, ..Lint::default() };
    let params = function.sig.inputs.iter().flat_map(|i| match i {
        syn::FnArg::Typed(p) => bound(&p.pat),
        syn::FnArg::Receiver(_) => Vec::new(),
    });
    lint.scopes.push(Scope::block(params.map(|i| i.to_string()).collect()));
    lint.visit_block(&function.block);
    Findings { errors: lint.errors, changed_in_place: lint.changed_in_place }
}

/// What a scope is, as far as leaving it goes.
#[derive(PartialEq)]
enum What {
    Block,
    DeviceLoop,
    /// A plain Rust loop: unrolled.
    PlainLoop,
    /// Ends what `break`, `return` and `?` can reach.
    Closure,
}

struct Scope {
    what: What,
    names: HashSet<String>,
    label: Option<String>,
    /// The loop variables, of a device loop.
    variables: HashSet<String>,
}

impl Scope {
    fn block(names: HashSet<String>) -> Scope {
        Scope { what: What::Block, names, label: None, variables: HashSet::new() }
    }
}

#[derive(Default)]
struct Lint {
    /// The kernel's `nc`.
    core: Option<Ident>,
    scopes: Vec<Scope>,
    /// Variables that hold a device loop not yet run: `let blocks = nc.tiles(..)`.
    device_iterators: HashSet<String>,
    changed_in_place: HashSet<Position>,
    errors: Vec<syn::Error>,
}

/// The methods of `Nc` that return device loops.
const DEVICE_LOOPS: [&str; 3] = ["tiles", "range", "range_dyn"];

/// Its methods that take bodies of loops and branches on registers as closures.
const RECORDED_CLOSURES: [&str; 2] = ["when", "while_loop"];

impl Lint {
    fn error(&mut self, at: impl ToTokens, message: &str, help: &str) {
        self.errors.push(syn::Error::new_spanned(at, format!("{message}\nhelp: {help}")));
    }

    fn is_device_loop(&self, e: &Expr) -> bool {
        match e {
            Expr::MethodCall(m) => {
                let core = matches!(&*m.receiver, Expr::Path(p) if p.path.get_ident() == self.core.as_ref());
                (core && DEVICE_LOOPS.iter().any(|d| m.method == d)) || self.is_device_loop(&m.receiver)
            }
            Expr::Paren(p) => self.is_device_loop(&p.expr),
            Expr::Path(p) => {
                p.path.get_ident().is_some_and(|i| self.device_iterators.contains(&i.to_string()))
            }
            _ => false,
        }
    }

    /// Iterator adaptors on a device loop.
    fn adaptors(&mut self, e: &Expr) {
        let Expr::MethodCall(m) = e else { return };
        if !self.is_device_loop(&m.receiver) || ["enumerate", "from", "step"].iter().any(|a| m.method == a) {
            return;
        }
        let message =
            format!("`{}` acts on recordings of a device loop's body, not on turns of the loop", m.method);
        self.error(&m.method, &message, "run over the loop itself; the number of a block is `block.index()`");
    }

    /// Whether `name` was bound outside the innermost device loop that encloses this point.
    fn outside_device_loop(&self, name: &str) -> bool {
        let mut in_loop = false;
        for scope in self.scopes.iter().rev() {
            if scope.names.contains(name) {
                return in_loop;
            }
            in_loop |= scope.what == What::DeviceLoop;
        }
        false
    }

    /// Whether a `break` or `continue` (with an optional label) leaves a device loop or skips part of one.
    fn leaves_device_loop(&self, label: Option<&Lifetime>) -> bool {
        let label = label.map(|l| l.ident.to_string());
        for scope in self.scopes.iter().rev() {
            match scope.what {
                What::Closure => return false,
                What::DeviceLoop => return true,
                What::PlainLoop if label.is_none() || label == scope.label => return false,
                What::PlainLoop | What::Block => {}
            }
        }
        false
    }

    /// Whether a `return` or `?` leaves a device loop.
    fn inside_device_loop(&self) -> bool {
        let reach = self.scopes.iter().rev().take_while(|s| s.what != What::Closure);
        reach.into_iter().any(|s| s.what == What::DeviceLoop)
    }

    /// A variable of a device loop, possibly inside arithmetic: `i`, `i + 1`, `2 * i`.
    fn device_position(&self, e: &Expr) -> Option<String> {
        match e {
            Expr::Path(p) => {
                let name = p.path.get_ident()?.to_string();
                for scope in self.scopes.iter().rev() {
                    if scope.variables.contains(&name) {
                        return Some(name);
                    }
                    if scope.names.contains(&name) {
                        return None;
                    }
                }
                None
            }
            Expr::Paren(p) => self.device_position(&p.expr),
            Expr::Binary(b) => self.device_position(&b.left).or_else(|| self.device_position(&b.right)),
            _ => None,
        }
    }

    fn assigned(&mut self, at: impl ToTokens, target: &Expr) {
        let Some(name) = root(target) else { return };
        if self.outside_device_loop(&name) {
            self.error(
                at,
                &format!(
                    "`{name}` is rebound inside a device loop, whose body is recorded only once: the new value would not \
                     reach the next turn"
                ),
                &format!(
                    "keep what changes from turn to turn in a tile allocated outside the loop and write into it \
                     (`nc.tensor_copy({name}, ..)`, `{name} += ..`), or unroll with a plain `for _ in 0..n`"
                ),
            );
        }
    }
}

/// The variable that a place expression starts from: `x`, `x.field`, `x[i]`.
fn root(e: &Expr) -> Option<String> {
    match e {
        Expr::Path(p) => p.path.get_ident().map(|i| i.to_string()),
        Expr::Field(f) => root(&f.base),
        Expr::Index(i) => root(&i.expr),
        Expr::Paren(p) => root(&p.expr),
        Expr::Unary(u) if matches!(u.op, syn::UnOp::Deref(_)) => root(&u.expr),
        _ => None,
    }
}

/// `+=` and its like.
pub fn is_assignment(op: &BinOp) -> bool {
    use BinOp::*;
    matches!(
        op,
        AddAssign(_)
            | SubAssign(_)
            | MulAssign(_)
            | DivAssign(_)
            | RemAssign(_)
            | BitXorAssign(_)
            | BitAndAssign(_)
            | BitOrAssign(_)
            | ShlAssign(_)
            | ShrAssign(_)
    )
}

fn is_comparison(op: &BinOp) -> bool {
    matches!(op, BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_))
}

impl<'a> Visit<'a> for Lint {
    fn visit_block(&mut self, b: &'a syn::Block) {
        self.scopes.push(Scope::block(HashSet::new()));
        visit::visit_block(self, b);
        self.scopes.pop();
    }

    fn visit_local(&mut self, l: &'a syn::Local) {
        visit::visit_local(self, l);
        let names = bound(&l.pat);
        if let (Some(init), [name]) = (&l.init, names.as_slice())
            && self.is_device_loop(&init.expr)
        {
            self.device_iterators.insert(name.to_string());
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.names.extend(names.iter().map(|n| n.to_string()));
        }
    }

    fn visit_expr_for_loop(&mut self, f: &'a ExprForLoop) {
        self.visit_expr(&f.expr);
        self.adaptors(&f.expr);
        let names: HashSet<String> = bound(&f.pat).iter().map(|n| n.to_string()).collect();
        let device = self.is_device_loop(&f.expr);
        self.scopes.push(Scope {
            what: if device { What::DeviceLoop } else { What::PlainLoop },
            variables: if device { names.clone() } else { HashSet::new() },
            names,
            label: f.label.as_ref().map(|l| l.name.ident.to_string()),
        });
        self.visit_block(&f.body);
        self.scopes.pop();
    }

    fn visit_expr_while(&mut self, w: &'a syn::ExprWhile) {
        self.visit_expr(&w.cond);
        let label = w.label.as_ref().map(|l| l.name.ident.to_string());
        self.scopes.push(Scope { what: What::PlainLoop, label, ..Scope::block(HashSet::new()) });
        self.visit_block(&w.body);
        self.scopes.pop();
    }

    fn visit_expr_loop(&mut self, l: &'a syn::ExprLoop) {
        let label = l.label.as_ref().map(|l| l.name.ident.to_string());
        self.scopes.push(Scope { what: What::PlainLoop, label, ..Scope::block(HashSet::new()) });
        self.visit_block(&l.body);
        self.scopes.pop();
    }

    fn visit_expr_method_call(&mut self, m: &'a syn::ExprMethodCall) {
        let on_core = |e: &Expr| matches!(e, Expr::Path(p) if p.path.get_ident() == self.core.as_ref());
        let branch =
            |e: &Expr| matches!(e, Expr::MethodCall(w) if w.method == "when" && on_core(&w.receiver));
        let recorded = (on_core(&m.receiver) && RECORDED_CLOSURES.iter().any(|r| m.method == r))
            || (m.method == "otherwise" && branch(&m.receiver));
        if !recorded {
            return visit::visit_expr_method_call(self, m);
        }
        self.visit_expr(&m.receiver);
        for arg in &m.args {
            match arg {
                Expr::Closure(c) => {
                    self.scopes.push(Scope { what: What::DeviceLoop, ..Scope::block(HashSet::new()) });
                    self.visit_expr_closure(c);
                    self.scopes.pop();
                }
                arg => self.visit_expr(arg),
            }
        }
    }

    fn visit_expr_closure(&mut self, c: &'a syn::ExprClosure) {
        let names = c.inputs.iter().flat_map(bound).map(|n| n.to_string()).collect();
        self.scopes.push(Scope { what: What::Closure, ..Scope::block(names) });
        self.visit_expr(&c.body);
        self.scopes.pop();
    }

    fn visit_arm(&mut self, a: &'a syn::Arm) {
        self.scopes.push(Scope::block(bound(&a.pat).iter().map(|n| n.to_string()).collect()));
        visit::visit_arm(self, a);
        self.scopes.pop();
    }

    fn visit_expr_if(&mut self, i: &'a syn::ExprIf) {
        let names = match &*i.cond {
            Expr::Let(l) => bound(&l.pat).iter().map(|n| n.to_string()).collect(),
            _ => HashSet::new(),
        };
        self.scopes.push(Scope::block(names));
        visit::visit_expr_if(self, i);
        self.scopes.pop();
    }

    fn visit_expr_assign(&mut self, a: &'a syn::ExprAssign) {
        self.assigned(a, &a.left);
        visit::visit_expr_assign(self, a);
    }

    fn visit_expr_reference(&mut self, r: &'a syn::ExprReference) {
        if r.mutability.is_some()
            && let Some(name) = root(&r.expr)
            && self.outside_device_loop(&name)
        {
            self.error(
                r,
                &format!(
                    "`{name}` is lent for change inside a device loop, whose body is recorded only once: a change would not \
                     reach the next turn"
                ),
                "keep what changes from turn to turn in a tile allocated outside the loop, or unroll with a plain `for _ in \
                 0..n`",
            );
        }
        visit::visit_expr_reference(self, r);
    }

    fn visit_expr_binary(&mut self, b: &'a syn::ExprBinary) {
        if is_assignment(&b.op)
            && let Some(name) = root(&b.left)
            && self.outside_device_loop(&name)
        {
            self.changed_in_place.insert(position(&b.left));
        }
        if is_comparison(&b.op)
            && let Some(name) = self.device_position(&b.left).or_else(|| self.device_position(&b.right))
        {
            self.error(
                b,
                &format!("`{name}` is a position in a device loop and cannot be compared: the body is recorded once for every turn"),
                "peel the turn that differs, unroll with a plain `for i in 0..n`, or use `nc.when(..)` on a register",
            );
        }
        visit::visit_expr_binary(self, b);
    }

    fn visit_expr_break(&mut self, b: &'a syn::ExprBreak) {
        if self.leaves_device_loop(b.label.as_ref()) {
            self.error(
                b,
                "`break` cannot leave a device loop: its body is recorded once, for all turns",
                "compute the number of turns before the loop, or unroll with a plain `for i in 0..n`",
            );
        }
        visit::visit_expr_break(self, b);
    }

    fn visit_expr_continue(&mut self, c: &'a syn::ExprContinue) {
        if self.leaves_device_loop(c.label.as_ref()) {
            self.error(
                c,
                "`continue` cannot skip part of a device loop: its body is recorded once, for all turns",
                "put the rest of the body in an `if` on a value known while tracing, or use `nc.when(..)` on a register",
            );
        }
    }

    fn visit_expr_return(&mut self, r: &'a syn::ExprReturn) {
        if self.inside_device_loop() {
            self.error(
                r,
                "`return` inside a device loop would end the kernel after recording one turn",
                "return after the loop",
            );
        }
        visit::visit_expr_return(self, r);
    }

    fn visit_expr_try(&mut self, t: &'a syn::ExprTry) {
        if self.inside_device_loop() {
            self.error(
                t,
                "`?` inside a device loop would end the kernel after recording one turn",
                "compute the fallible value before the loop, or use `ensure!(nc, ..)`",
            );
        }
        visit::visit_expr_try(self, t);
    }

    // Items inside the body are not part of the kernel.
    fn visit_item(&mut self, _: &'a syn::Item) {}
}
